//! [`read_password_file`]: the probes' password, from a file that only its owner may read.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use pgtls_tls::regular_file::{OpenError, forbidden_mode, open_regular};

/// More than this is no password; PostgreSQL itself takes at most 65,535 bytes in a message.
const MAX_BYTES: u64 = 4096;

/// A password file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PasswordFileError {
    /// It could not be opened or read.
    #[error("{}: cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// It is a directory, a FIFO or the like.
    #[error("{}: is not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// Others than its owner may read it.
    #[error(
        "{}: the password file has group or world access (mode {mode:04o}); use mode 0600 or less, or 0640 or less when \
         root owns the file (for a Kubernetes Secret: `defaultMode: 0440` with fsGroup)",
        path.display()
    )]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It holds no password, or more than one line.
    #[error("{}: expected one line with the password and nothing else, of at most 4096 bytes", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
}

impl PasswordFileError {
    /// The stable code for `validate` and the log.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } | Self::NotAFile { .. } => "PGTLS_PASSWORD_FILE_UNREADABLE",
            Self::Permissions { .. } => "PGTLS_PASSWORD_FILE_PERMISSIONS",
            Self::Malformed { .. } => "PGTLS_PASSWORD_FILE_INVALID",
        }
    }
}

/// Reads the password; a line end behind it is not part of it.
pub fn read_password_file(path: &Path) -> Result<Vec<u8>, PasswordFileError> {
    let unreadable = |source| PasswordFileError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let (file, metadata) = open_regular(path).map_err(|error| match error {
        OpenError::Io(source) => unreadable(source),
        OpenError::NotAFile => PasswordFileError::NotAFile {
            path: path.to_owned(),
        },
    })?;
    if let Some(mode) = forbidden_mode(&metadata) {
        return Err(PasswordFileError::Permissions {
            path: path.to_owned(),
            mode,
        });
    }
    let mut text = Vec::new();
    let mut limited = file.take(MAX_BYTES.saturating_add(1));
    limited.read_to_end(&mut text).map_err(unreadable)?;
    let password = text.strip_suffix(b"\n").unwrap_or(&text);
    let password = password.strip_suffix(b"\r").unwrap_or(password);
    let is_one_line = !password.iter().any(|byte| matches!(byte, b'\n' | b'\0'));
    let is_short = u64::try_from(text.len()).is_ok_and(|length| length <= MAX_BYTES);
    if password.is_empty() || !is_one_line || !is_short {
        return Err(PasswordFileError::Malformed {
            path: path.to_owned(),
        });
    }
    Ok(password.to_vec())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use pgtls_testkit::TempDir;

    use super::*;

    fn read(content: &[u8], mode: u32) -> Result<Vec<u8>, PasswordFileError> {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("password");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        read_password_file(&path)
    }

    #[test]
    fn the_line_end_is_no_part_of_the_password() {
        for content in [&b"a secret "[..], b"a secret \n", b"a secret \r\n"] {
            assert_eq!(read(content, 0o600).unwrap(), b"a secret ");
        }
    }

    #[test]
    fn a_file_without_a_password_or_with_more_is_refused() {
        let long = vec![b'x'; 5000];
        for content in [&b""[..], b"\n", b"one\ntwo\n", b"one\n\n", b"a\0b", &long] {
            let error = read(content, 0o600).unwrap_err();
            assert!(
                matches!(error, PasswordFileError::Malformed { .. }),
                "{error}"
            );
        }
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let error = read(b"secret", 0o604).unwrap_err();
        assert!(error.to_string().contains("mode 0604"), "{error}");
        assert_eq!(error.code(), "PGTLS_PASSWORD_FILE_PERMISSIONS");
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let directory = TempDir::new().unwrap();
        let error = read_password_file(directory.path()).unwrap_err();
        assert!(matches!(error, PasswordFileError::NotAFile { .. }));
        let error = read_password_file(&directory.path().join("nope")).unwrap_err();
        assert!(matches!(error, PasswordFileError::Unreadable { .. }));
    }
}
