//! Reading PEM files: certificate chains and private keys, with `PostgreSQL`'s rule on who may read a key.
//!
//! May import error only. Nothing here judges a certificate's content.

use std::fs::{File, Metadata};
use std::io::Read;
use std::path::Path;

use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs8KeyDer,
};
use zeroize::Zeroizing;

use crate::error::{RevocationListError, TlsConfigError};

const ENCRYPTED_LABEL: &[u8] = b"BEGIN ENCRYPTED PRIVATE KEY";

/// Reads every certificate of a PEM file, in the file's order; never empty.
pub(crate) fn read_certificates(
    key: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsConfigError> {
    let (_, text) = read(key, path)?;
    let certificates = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| malformed(key, path, &error))?;
    if certificates.is_empty() {
        return Err(TlsConfigError::NoCertificate {
            key,
            path: path.to_owned(),
        });
    }
    Ok(certificates)
}

/// A private key as it stands in a PEM file.
pub(crate) enum KeySection {
    /// PKCS#8, PKCS#1 or SEC1.
    Plain(PrivateKeyDer<'static>),
    /// PKCS#8's `EncryptedPrivateKeyInfo`; `None` is OpenSSL's own, older form with a `Proc-Type` header.
    Encrypted(Option<Vec<u8>>),
}

/// Reads every certificate revocation list of a PEM file, in the file's order; never empty.
pub(crate) fn read_revocation_lists(
    key: &'static str,
    path: &Path,
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsConfigError> {
    let (_, text) = read(key, path)?;
    let lists = CertificateRevocationListDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| malformed(key, path, &error))?;
    if lists.is_empty() {
        return Err(TlsConfigError::RevocationList {
            key,
            path: path.to_owned(),
            source: RevocationListError::Missing,
        });
    }
    Ok(lists)
}

/// Reads the first private key of a PEM file that only its owner may read.
pub(crate) fn read_private_key(
    key: &'static str,
    path: &Path,
) -> Result<KeySection, TlsConfigError> {
    let (metadata, text) = read(key, path)?;
    check_permissions(key, path, &metadata)?;
    if is_encrypted(&text) {
        return read_encrypted(&text)
            .map(KeySection::Encrypted)
            .map_err(|error| malformed(key, path, &error));
    }
    let text = Zeroizing::new(text);
    match PrivateKeyDer::from_pem_slice(&text) {
        Ok(private_key) => Ok(KeySection::Plain(private_key)),
        Err(pem::Error::NoItemsFound) => Err(TlsConfigError::NoPrivateKey {
            key,
            path: path.to_owned(),
        }),
        Err(error) => Err(malformed(key, path, &error)),
    }
}

/// Opens, checks and reads in that order on one descriptor, so that the file judged is the file read.
pub(crate) fn read(key: &'static str, path: &Path) -> Result<(Metadata, Vec<u8>), TlsConfigError> {
    let unreadable = |source| TlsConfigError::FileUnreadable {
        key,
        path: path.to_owned(),
        source,
    };
    // Looked at before it is opened as well: opening a FIFO would wait for its writer.
    if !path.metadata().map_err(unreadable)?.is_file() {
        return Err(TlsConfigError::NotAFile {
            key,
            path: path.to_owned(),
        });
    }
    let mut file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    let mut text = Vec::new();
    file.read_to_end(&mut text).map_err(unreadable)?;
    Ok((metadata, text))
}

fn malformed(key: &'static str, path: &Path, error: &pem::Error) -> TlsConfigError {
    TlsConfigError::PemMalformed {
        key,
        path: path.to_owned(),
        detail: error.to_string(),
    }
}

/// Both ways to encrypt a PEM key: PKCS#8's own label, and the older `Proc-Type` header.
fn is_encrypted(text: &[u8]) -> bool {
    contains(text, ENCRYPTED_LABEL) || contains(text, b"Proc-Type: 4,ENCRYPTED")
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// The structure under PKCS#8's label. The PEM reader doesn't know that label, so it is shown the one of a plain key.
fn read_encrypted(text: &[u8]) -> Result<Option<Vec<u8>>, pem::Error> {
    if !contains(text, ENCRYPTED_LABEL) {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(text).replace("ENCRYPTED PRIVATE KEY", "PRIVATE KEY");
    let key = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes())?;
    Ok(Some(key.secret_pkcs8_der().to_vec()))
}

/// `PostgreSQL`'s rule (libpq-ssl, "Client Certificates"): 0600 or less, or 0640 or less when root owns the file.
#[cfg(unix)]
pub(crate) fn check_permissions(
    key: &'static str,
    path: &Path,
    metadata: &Metadata,
) -> Result<(), TlsConfigError> {
    use std::os::unix::fs::MetadataExt;

    let mode = metadata.mode() & 0o7777;
    if permits_strangers(metadata.uid(), mode) {
        return Err(TlsConfigError::KeyPermissions {
            key,
            path: path.to_owned(),
            mode,
        });
    }
    Ok(())
}

#[cfg(not(unix))]
pub(crate) fn check_permissions(
    _: &'static str,
    _: &Path,
    _: &Metadata,
) -> Result<(), TlsConfigError> {
    Ok(())
}

#[cfg(unix)]
const fn permits_strangers(owner: u32, mode: u32) -> bool {
    let forbidden = if owner == 0 { 0o037 } else { 0o077 };
    mode & forbidden != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_key_of_root_may_be_read_by_its_group_and_by_nobody_else() {
        for mode in [0o400, 0o600, 0o440, 0o640] {
            assert!(!permits_strangers(0, mode), "{mode:o}");
        }
        for mode in [0o644, 0o660, 0o604, 0o650, 0o641] {
            assert!(permits_strangers(0, mode), "{mode:o}");
        }
    }

    #[cfg(unix)]
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
    fn both_ways_to_encrypt_a_key_are_recognised() {
        assert!(is_encrypted(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
        assert!(is_encrypted(
            b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"
        ));
        assert!(!is_encrypted(b"-----BEGIN PRIVATE KEY-----\n"));
    }
}
