//! [`open_regular`]: files that the configuration names, and the rule on who may read a secret.

use std::fs::{File, Metadata};
use std::io;
use std::path::Path;

/// Why a file can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It is a directory, a FIFO or the like.
    #[error("not a regular file")]
    NotAFile,
    /// The operating system's reason.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<OpenError> for io::Error {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::NotAFile => Self::other(error),
            OpenError::Io(error) => error,
        }
    }
}

/// Opens a file to read; the metadata are those of what was opened, so that the file judged is the file read.
pub fn open_regular(path: &Path) -> Result<(File, Metadata), OpenError> {
    // Looked at before it is opened as well: opening a FIFO would wait for its writer.
    if !path.metadata()?.is_file() {
        return Err(OpenError::NotAFile);
    }
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    Ok((file, metadata))
}

/// `PostgreSQL`'s rule for private keys (libpq-ssl, "Client Certificates"): 0600 or less, or 0640 or less when root owns the
/// file. The permission bits of a file that breaks it.
#[cfg(unix)]
#[must_use]
pub fn forbidden_mode(metadata: &Metadata) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;

    let mode = metadata.mode() & 0o7777;
    permits_strangers(metadata.uid(), mode).then_some(mode)
}

/// Other systems have no such bits.
#[cfg(not(unix))]
#[must_use]
pub fn forbidden_mode(_: &Metadata) -> Option<u32> {
    None
}

#[cfg(unix)]
const fn permits_strangers(owner: u32, mode: u32) -> bool {
    let forbidden = if owner == 0 { 0o037 } else { 0o077 };
    mode & forbidden != 0
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_root_may_be_read_by_its_group_and_by_nobody_else() {
        for mode in [0o400, 0o600, 0o440, 0o640] {
            assert!(!permits_strangers(0, mode), "{mode:o}");
        }
        for mode in [0o644, 0o660, 0o604, 0o650, 0o641] {
            assert!(permits_strangers(0, mode), "{mode:o}");
        }
    }

    #[test]
    fn a_key_of_another_user_may_be_read_by_that_user_only() {
        for mode in [0o400, 0o600, 0o700] {
            assert!(!permits_strangers(1000, mode), "{mode:o}");
        }
        for mode in [0o440, 0o640, 0o644, 0o604] {
            assert!(permits_strangers(1000, mode), "{mode:o}");
        }
    }

    #[test]
    fn what_is_no_file_is_told_from_what_is_not_there() {
        let directory = std::env::temp_dir();
        assert!(matches!(open_regular(&directory), Err(OpenError::NotAFile)));
        let nowhere = directory.join("pgtls-nowhere").join("nothing");
        assert!(matches!(open_regular(&nowhere), Err(OpenError::Io(_))));
    }
}
