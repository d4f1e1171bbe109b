//! The file of `ticket_key_file`: one base64 key of 64 bytes a line, which instances share.
//!
//! The first key encrypts, all decrypt: a new key goes to the end of every instance's file first, then to its top, and
//! the old one goes after the life of a ticket. The rule on who may read a private key holds.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::regular_file::{forbidden_mode, open_regular};

/// How long a key of the file is.
pub(crate) const KEY_BYTES: usize = 64;

/// One key of the file; what encrypts is derived from it.
pub(crate) type FileKey = Zeroizing<[u8; KEY_BYTES]>;

/// A ticket key file that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TicketKeyError {
    /// The file can't be opened or read.
    #[error("{}: cannot be read: {source}; give a readable file of ticket keys", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// Others may read the file.
    #[error(
        "{}: the ticket keys have group or world access (mode {mode:04o}); use mode 0600 or less, or 0640 or less when root owns the file (for a Kubernetes Secret: `defaultMode: 0440` with fsGroup)",
        path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// The file's permission bits.
        mode: u32,
    },
    /// The file has no key.
    #[error("{}: contains no key; make one with `openssl rand -base64 64 | tr -d '\\n'`", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A line is no key.
    #[error("{}:{line}: {problem}; expected 64 random bytes in base64 (88 characters), made with `openssl rand -base64 64 | tr -d '\\n'`", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Which line, counted from 1.
        line: usize,
        /// What is wrong with it; never the key.
        problem: String,
    },
}

impl TicketKeyError {
    /// The stable code, one of [`crate::error::CODES`].
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "PGTLS_TLS_FILE_UNREADABLE",
            Self::Exposed { .. } => "PGTLS_TLS_KEY_PERMISSIONS",
            Self::Empty { .. } | Self::Invalid { .. } => "PGTLS_TLS_KEY_INVALID",
        }
    }
}

/// Reads every key of the file, in its order; never empty, none twice. Empty lines and lines that begin with `#` are passed over.
pub(crate) fn read_ticket_keys(path: &Path) -> Result<Vec<FileKey>, TicketKeyError> {
    let text = read_secret(path)?;
    let mut keys: Vec<FileKey> = Vec::new();
    for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let invalid = |problem| TicketKeyError::Invalid {
            path: path.to_owned(),
            line: index + 1,
            problem,
        };
        let key = key_of(line).map_err(invalid)?;
        if keys.contains(&key) {
            return Err(invalid("the key is there twice".to_owned()));
        }
        keys.push(key);
    }
    if keys.is_empty() {
        return Err(TicketKeyError::Empty {
            path: path.to_owned(),
        });
    }
    Ok(keys)
}

fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, TicketKeyError> {
    let unreadable = |source| TicketKeyError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let (mut file, metadata) = open_regular(path).map_err(|error| unreadable(error.into()))?;
    if let Some(mode) = forbidden_mode(&metadata) {
        return Err(TicketKeyError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    let mut text = Zeroizing::new(Vec::new());
    file.read_to_end(&mut text).map_err(unreadable)?;
    Ok(text)
}

fn key_of(line: &[u8]) -> Result<FileKey, String> {
    let bytes = decode_base64(line).ok_or("not base64")?;
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    if bytes.len() != KEY_BYTES {
        return Err(format!("{} bytes instead of 64", bytes.len()));
    }
    key.copy_from_slice(&bytes);
    Ok(key)
}

/// RFC 4648 section 4, padding optional. Bits behind the last byte must be zero, so that every key has one spelling.
fn decode_base64(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let padding = text.iter().rev().take_while(|&&byte| byte == b'=').count();
    if padding > 2 || (padding > 0 && !text.len().is_multiple_of(4)) {
        return None;
    }
    let digits = text.get(..text.len() - padding)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(digits.len() / 4 * 3 + 3));
    for quad in digits.chunks(4) {
        let mut bits: u32 = 0;
        for &digit in quad {
            bits = bits << 6 | sextet(digit)?;
        }
        bits <<= 6 * (4 - quad.len());
        let [_, group @ ..] = bits.to_be_bytes();
        let (taken, rest) = group.split_at(quad.len() - 1);
        if quad.len() == 1 || rest.iter().any(|&byte| byte != 0) {
            return None;
        }
        bytes.extend_from_slice(taken);
    }
    Some(bytes)
}

fn sextet(digit: u8) -> Option<u32> {
    Some(u32::from(match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_as_rfc_4648_writes_it() {
        let vectors: [(&[u8], &[u8]); 7] = [
            (b"", b""),
            (b"Zg==", b"f"),
            (b"Zm8=", b"fo"),
            (b"Zm9v", b"foo"),
            (b"Zm9vYg", b"foob"),
            (b"Zm9vYmE=", b"fooba"),
            (b"+/+/", &[0xfb, 0xff, 0xbf]),
        ];
        for (text, bytes) in vectors {
            let decoded = decode_base64(text);
            assert_eq!(decoded.as_ref().map(|found| found.as_slice()), Some(bytes));
        }
    }

    #[test]
    fn what_is_no_base64_or_has_two_spellings_is_refused() {
        let wrong: [&[u8]; 7] = [b"Z", b"Zm9vY", b"Zg=", b"Z===", b"Zm 9", b"Zh==", b"=Zg="];
        for text in wrong {
            assert!(decode_base64(text).is_none(), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn a_key_has_64_bytes() {
        assert_eq!(key_of(b"Zm9v").unwrap_err(), "3 bytes instead of 64");
        assert_eq!(key_of(b"no key").unwrap_err(), "not base64");
        let key = key_of(&[b'A'; 86]).unwrap();
        assert_eq!(*key, [0; KEY_BYTES]);
    }
}
