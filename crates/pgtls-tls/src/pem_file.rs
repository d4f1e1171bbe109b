//! Reading PEM files: certificate chains and private keys, with `PostgreSQL`'s rule on who may read a key.
//!
//! May import error and `regular_file` only. Nothing here judges a certificate's content.

use std::fs::Metadata;
use std::io::Read;
use std::path::Path;

use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs8KeyDer,
};
use zeroize::Zeroizing;

use crate::error::{RevocationListError, TlsConfigError};
use crate::regular_file::{OpenError, forbidden_mode, open_regular};

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
    if let Some(mode) = forbidden_mode(&metadata) {
        return Err(TlsConfigError::KeyPermissions {
            key,
            path: path.to_owned(),
            mode,
        });
    }
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

/// Reads a file as it is, and what it was when it was opened.
pub(crate) fn read(key: &'static str, path: &Path) -> Result<(Metadata, Vec<u8>), TlsConfigError> {
    let unreadable = |source| TlsConfigError::FileUnreadable {
        key,
        path: path.to_owned(),
        source,
    };
    let (mut file, metadata) = open_regular(path).map_err(|error| match error {
        OpenError::Io(source) => unreadable(source),
        OpenError::NotAFile => TlsConfigError::NotAFile {
            key,
            path: path.to_owned(),
        },
    })?;
    let mut text = Vec::new();
    file.read_to_end(&mut text).map_err(unreadable)?;
    Ok((metadata, text))
}

fn malformed(key: &'static str, path: &Path, error: &pem::Error) -> TlsConfigError {
    TlsConfigError::PemMalformed {
        key,
        path: path.to_owned(),
        detail: words_of(error).to_owned(),
    }
}

/// What is wrong, without the lines it is wrong in: a key whose line breaks got lost is one of them, and the error's own words quote
/// it.
fn words_of(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => {
            "a section has no END line of its own; were its line breaks lost?"
        }
        pem::Error::IllegalSectionStart { .. } => {
            "a BEGIN line does not end with five dashes; were its line breaks lost?"
        }
        pem::Error::Base64Decode(_) => "what stands between BEGIN and END is not base64",
        pem::Error::SectionTooLarge => "a section is longer than 10 MB",
        pem::Error::Io(_) | pem::Error::NoItemsFound | _ => "it cannot be read as such",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_encrypt_a_key_are_recognised() {
        assert!(is_encrypted(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
        assert!(is_encrypted(
            b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"
        ));
        assert!(!is_encrypted(b"-----BEGIN PRIVATE KEY-----\n"));
    }

    #[test]
    fn no_error_quotes_a_key_whose_line_breaks_got_lost() {
        for text in [
            "-----BEGIN PRIVATE KEY----- MIGHc2VjcmV0 -----END PRIVATE KEY-----\n",
            "-----BEGIN PRIVATE KEY----- MIGHc2VjcmV0\n-----END PRIVATE KEY-----\n",
            "-----BEGIN PRIVATE KEY-----\nMIGHc2VjcmV0-\n-----END PRIVATE KEY-----\n",
            "-----BEGIN PRIVATE KEY-----\nMIGHc2VjcmV0\n",
        ] {
            let error = PrivateKeyDer::from_pem_slice(text.as_bytes()).unwrap_err();
            let words = malformed("ssl_key_file", Path::new("server.key"), &error).to_string();
            assert!(words.contains("server.key: is not valid PEM"), "{words}");
            // Neither the key nor its bytes, 77 being the first one's number.
            assert!(!words.contains("MIGH") && !words.contains("77"), "{words}");
        }
    }
}
