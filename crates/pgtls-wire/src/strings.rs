//! The protocol's NUL-terminated strings, taken off the front of a byte slice.

/// Splits `bytes` behind its first NUL: the string without its terminator, and what follows it.
/// `None` when there is no NUL.
pub(crate) fn split_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let terminator = bytes.iter().position(|&byte| byte == 0)?;
    let (string, rest) = bytes.split_at_checked(terminator)?;
    Some((string, rest.get(1..)?))
}

#[cfg(test)]
mod tests {
    use super::split_string;

    #[test]
    fn splits_behind_the_first_terminator() {
        assert_eq!(split_string(b"a\0b\0"), Some((&b"a"[..], &b"b\0"[..])));
        assert_eq!(split_string(b"\0"), Some((&b""[..], &b""[..])));
    }

    #[test]
    fn finds_no_string_without_a_terminator() {
        assert_eq!(split_string(b"abc"), None);
        assert_eq!(split_string(b""), None);
    }
}
