//! One regular message: a type byte, a length that counts itself but not the type, a body.

/// Type byte and length.
pub(crate) const HEADER_BYTES: usize = 5;
/// The smallest value of the length field: the field itself.
const MIN_LENGTH_FIELD: u32 = 4;
/// The length field is a signed 32-bit number on the wire.
const MAX_LENGTH_FIELD: u32 = 0x7fff_ffff;

/// A stream that isn't one of regular messages. It can't be re-synchronised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// A length field below 4, or negative.
    #[error("invalid message length {length} (message type 0x{tag:02x})")]
    InvalidLength {
        /// The message's type byte.
        tag: u8,
        /// The length field as sent.
        length: i32,
    },
    /// A message longer than the caller's limit.
    #[error("message of {length} bytes exceeds {max_length} (message type 0x{tag:02x})")]
    TooLong {
        /// The message's type byte.
        tag: u8,
        /// The whole message's length in bytes, header included.
        length: usize,
        /// The caller's limit.
        max_length: usize,
    },
}

/// One whole message, borrowing from the bytes it was found in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// The type byte; [`crate::tag`] names some.
    pub tag: u8,
    /// What follows the header.
    pub body: &'a [u8],
    /// The whole message's length in bytes, header included.
    pub length: usize,
}

/// The message at the beginning of `bytes`; `None` while it is incomplete. `max_length` bounds the
/// whole message, header included, and with it what a caller has to buffer.
///
/// # Errors
/// [`FramingError`] as soon as the header shows it.
pub fn next_message(bytes: &[u8], max_length: usize) -> Result<Option<Message<'_>>, FramingError> {
    let Some((header, _)) = bytes.split_first_chunk() else {
        return Ok(None);
    };
    let length = message_length(*header)?;
    let [tag, ..] = *header;
    if length > max_length {
        return Err(FramingError::TooLong {
            tag,
            length,
            max_length,
        });
    }
    Ok(bytes
        .get(HEADER_BYTES..length)
        .map(|body| Message { tag, body, length }))
}

/// The length in bytes, header included, of the message that begins with `header`; at least 5.
#[inline]
pub(crate) fn message_length(header: [u8; HEADER_BYTES]) -> Result<usize, FramingError> {
    let [tag, a, b, c, d] = header;
    let field = u32::from_be_bytes([a, b, c, d]);
    if !(MIN_LENGTH_FIELD..=MAX_LENGTH_FIELD).contains(&field) {
        let length = i32::from_be_bytes([a, b, c, d]);
        return Err(FramingError::InvalidLength { tag, length });
    }
    Ok(usize::try_from(field)
        .unwrap_or(usize::MAX)
        .saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_message_and_leaves_what_follows() {
        let message = next_message(b"Z\0\0\0\x05Imore", 100).expect("valid framing");
        assert_eq!(
            message,
            Some(Message {
                tag: b'Z',
                body: b"I",
                length: 6
            })
        );
    }

    #[test]
    fn waits_for_the_whole_message() {
        let bytes = b"Z\0\0\0\x05I";
        for end in 0..bytes.len() {
            assert_eq!(next_message(&bytes[..end], 100), Ok(None), "{end}");
        }
    }

    #[test]
    fn refuses_lengths_below_4_and_negative_ones() {
        for length in [0, 3, -1, i32::MIN] {
            let bytes = [&b"D"[..], &length.to_be_bytes()].concat();
            let expected = FramingError::InvalidLength { tag: b'D', length };
            assert_eq!(next_message(&bytes, usize::MAX), Err(expected));
        }
    }

    #[test]
    fn refuses_a_message_over_the_limit_from_its_header() {
        let expected = FramingError::TooLong {
            tag: b'R',
            length: 101,
            max_length: 100,
        };
        assert_eq!(next_message(b"R\0\0\0\x64", 100), Err(expected));
        assert_eq!(next_message(b"R\0\0\0\x63", 100), Ok(None));
    }
}
