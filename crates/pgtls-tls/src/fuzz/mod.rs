//! Fuzz targets of this crate (`npm run fuzz`): what it reads itself, and TLS with peers that tamper with what they send.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails; clippy exempts cfg(test), but not cfg(all(test, …))"
)]

mod certificates;
mod conversation;
mod established;
mod files;
mod handshake;
mod hello;
mod kept_sessions;
mod names;
mod peers;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use pgtls_testkit::TempDir;

/// A file that holds one input after the other, readable by its owner only.
struct InputFile {
    path: PathBuf,
    _directory: TempDir,
}

impl InputFile {
    fn new() -> Self {
        // In memory where there is such a place.
        let directory = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new());
        let directory = directory.unwrap();
        let path = directory.path().join("input");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        Self {
            path,
            _directory: directory,
        }
    }

    fn hold(&self, input: &[u8]) -> &Path {
        fs::write(&self.path, input).unwrap();
        &self.path
    }
}

/// PEM armour around `der` (RFC 7468), on one line.
fn pem(label: &str, der: &[u8]) -> String {
    let text = base64(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

/// RFC 4648 section 4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let [a, b, c] = [0, 1, 2].map(|index| group.get(index).copied().unwrap_or(0));
        let bits = u32::from_be_bytes([0, a, b, c]);
        for (index, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let sextet = usize::try_from(bits >> shift & 63).unwrap();
            let is_padding = index > group.len();
            text.push(if is_padding {
                '='
            } else {
                char::from(ALPHABET[sextet])
            });
        }
    }
    text
}
