//! [`IdentityError`]: what can be wrong with encrypted keys, staples and the rows that choose by server name, beside what can be
//! wrong with every file ([`crate::error::TlsConfigError`], which holds it).

use std::path::PathBuf;

use crate::encrypted_key::KeyDecryptionError;
use crate::passphrase_command::PassphraseError;
use crate::staple::StapleError;

/// An encrypted key, a staple or a row that can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// An encrypted key, and nothing that gives its passphrase.
    #[error(
        "{}: the private key is encrypted with a passphrase; set ssl_passphrase_command on the listener, or write a decrypted copy with `openssl pkey -in {} -out …` and protect it with mode 0600",
        path.display(), path.display()
    )]
    PassphraseCommandMissing {
        /// The configuration key.
        key: &'static str,
        /// The key file.
        path: PathBuf,
    },
    /// The command gave no passphrase.
    #[error("the command for {} {source}", path.display())]
    PassphraseCommand {
        /// The configuration key.
        key: &'static str,
        /// The key file.
        path: PathBuf,
        /// What happened.
        source: PassphraseError,
    },
    /// The key can't be decrypted.
    #[error("{}: the private key cannot be decrypted: {source}", path.display())]
    KeyDecryption {
        /// The configuration key.
        key: &'static str,
        /// The key file.
        path: PathBuf,
        /// Why.
        source: KeyDecryptionError,
    },
    /// The staple can't be used.
    #[error("{}: {source}", path.display())]
    Staple {
        /// The configuration key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: StapleError,
    },
    /// Certificate files and staples come in different numbers.
    #[error(
        "{certificates} certificate file(s) but {staples} OCSP file(s); give one OCSP file for each certificate file, in the same order, or none"
    )]
    StaplesUnpaired {
        /// The configuration key.
        key: &'static str,
        /// How many certificate files there are.
        certificates: usize,
        /// How many staples there are.
        staples: usize,
    },
    /// A row or rule names a backend that isn't there.
    #[error("there is no backend \"{name}\"; name one of [proxy.backends]")]
    BackendUnknown {
        /// The configuration key.
        key: &'static str,
        /// As written.
        name: String,
    },
}

impl IdentityError {
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::PassphraseCommandMissing { .. }
            | Self::PassphraseCommand { .. }
            | Self::KeyDecryption { .. } => "PGTLS_TLS_KEY_INVALID",
            Self::Staple {
                source: StapleError::Unreadable(_),
                ..
            } => "PGTLS_TLS_FILE_UNREADABLE",
            Self::Staple { .. } => "PGTLS_TLS_CERTIFICATE_INVALID",
            Self::StaplesUnpaired { .. } | Self::BackendUnknown { .. } => {
                "PGTLS_TLS_CONFIG_INVALID"
            }
        }
    }

    pub(crate) const fn key(&self) -> &'static str {
        match self {
            Self::PassphraseCommandMissing { key, .. }
            | Self::PassphraseCommand { key, .. }
            | Self::KeyDecryption { key, .. }
            | Self::Staple { key, .. }
            | Self::StaplesUnpaired { key, .. }
            | Self::BackendUnknown { key, .. } => key,
        }
    }
}
