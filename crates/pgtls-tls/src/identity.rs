//! [`Identity`]: a certificate chain with its private key, loaded from two PEM files and known to belong together, and the OCSP
//! response about it, if there is one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use rustls::SignatureAlgorithm;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use crate::config_key as keys;
use crate::encrypted_key::{KeyDecryptionError, decrypt};
use crate::error::TlsConfigError;
use crate::identity_error::IdentityError;
use crate::leaf::{LeafInfo, parse};
use crate::opened_keys::{Closed, forget_unused, open_once};
use crate::passphrase_command::passphrase;
use crate::pem_file::{KeySection, read_certificates, read_private_key};
use crate::staple::Staple;

/// A certificate chain and its private key.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The certificate file it came from.
    pub file: PathBuf,
    /// The leaf, described.
    pub leaf: LeafInfo,
    /// The chain and key as rustls takes them.
    pub certified_key: Arc<CertifiedKey>,
    /// The OCSP response about the leaf.
    pub staple: Option<Staple>,
}

/// The files of one identity.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IdentityFiles<'a> {
    /// PEM, the leaf first.
    pub(crate) certificate: &'a Path,
    /// PEM.
    pub(crate) key: &'a Path,
    /// An OCSP response in DER.
    pub(crate) staple: Option<&'a Path>,
}

/// What opens an encrypted key.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unlock<'a> {
    /// Nothing: there is no key for it on this side.
    Never,
    /// The listener's `ssl_passphrase_command`, if it is set.
    Listener(Option<&'a str>),
}

/// Where an identity is configured: the keys its errors name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdentityKeys {
    /// The certificate file's key.
    pub certificate: &'static str,
    /// The private key file's key.
    pub private_key: &'static str,
}

impl IdentityKeys {
    /// A listener's.
    pub const LISTENER: Self = Self {
        certificate: keys::LISTENER_CERT,
        private_key: keys::LISTENER_KEY,
    };
    /// The one shown to a backend.
    pub const BACKEND: Self = Self {
        certificate: keys::BACKEND_CERT,
        private_key: keys::BACKEND_KEY,
    };
}

impl Identity {
    /// Loads both files; every problem of both at once. Dates are not judged: see [`LeafInfo::validity_at`].
    pub fn load(
        keys: IdentityKeys,
        certificate_file: &Path,
        key_file: &Path,
        provider: &CryptoProvider,
    ) -> Result<Self, Vec<TlsConfigError>> {
        let files = IdentityFiles {
            certificate: certificate_file,
            key: key_file,
            staple: None,
        };
        Self::load_from(keys, files, Unlock::Never, provider)
    }

    /// Loads every file, opening an encrypted key with `unlock`; every problem of all of them at once.
    pub(crate) fn load_from(
        keys: IdentityKeys,
        files: IdentityFiles<'_>,
        unlock: Unlock<'_>,
        provider: &CryptoProvider,
    ) -> Result<Self, Vec<TlsConfigError>> {
        let (certificate_file, key_file) = (files.certificate, files.key);
        let chain = read_chain(keys.certificate, certificate_file);
        let signing_key = read_signing_key(keys.private_key, key_file, unlock, provider);
        let (chain, leaf, signing_key) = match (chain, signing_key) {
            (Ok((chain, leaf)), Ok(signing_key)) => (chain, leaf, signing_key),
            (chain, signing_key) => {
                return Err(chain.err().into_iter().chain(signing_key.err()).collect());
            }
        };
        if !belongs_to(&signing_key, chain.first()) {
            return Err(vec![TlsConfigError::KeyMismatch {
                key: keys.private_key,
                path: key_file.to_owned(),
                certificate: certificate_file.to_owned(),
                hint: mismatch_hint(&signing_key, &chain),
            }]);
        }
        let staple = files.staple.map(|path| read_staple(path, &chain));
        Ok(Self {
            file: certificate_file.to_owned(),
            leaf,
            certified_key: Arc::new(CertifiedKey::new(chain, signing_key)),
            staple: staple.transpose().map_err(|error| vec![error])?,
        })
    }

    /// The leaf as DER.
    #[must_use]
    pub fn leaf_der(&self) -> Option<&CertificateDer<'static>> {
        self.certified_key.cert.first()
    }

    /// The kind of its key.
    #[must_use]
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.certified_key.key.algorithm()
    }
}

type ChainAndLeaf = (Vec<CertificateDer<'static>>, LeafInfo);

fn read_chain(key: &'static str, path: &Path) -> Result<ChainAndLeaf, TlsConfigError> {
    let chain = read_certificates(key, path)?;
    let invalid = |index: usize, detail: String| TlsConfigError::CertificateInvalid {
        key,
        path: path.to_owned(),
        position: index + 1,
        detail,
    };
    for (index, certificate) in chain.iter().enumerate() {
        parse(certificate).map_err(|error| invalid(index, error.to_string()))?;
    }
    let leaf = LeafInfo::from_chain(&chain).map_err(|error| invalid(0, error.to_string()))?;
    Ok((chain, leaf))
}

fn read_signing_key(
    key: &'static str,
    path: &Path,
    unlock: Unlock<'_>,
    provider: &CryptoProvider,
) -> Result<Arc<dyn SigningKey>, TlsConfigError> {
    let unsupported = |error: rustls::Error| TlsConfigError::KeyUnsupported {
        key,
        path: path.to_owned(),
        detail: error.to_string(),
    };
    forget_unused(Instant::now());
    match read_private_key(key, path)? {
        KeySection::Plain(private_key) => provider
            .key_provider
            .load_private_key(private_key)
            .map_err(unsupported),
        KeySection::Encrypted(encrypted) => unlock.open(key, path, encrypted.as_deref()),
    }
}

impl Unlock<'_> {
    /// The key in a PKCS#8 structure; `None` stands for OpenSSL's own, older form.
    fn open(
        self,
        key: &'static str,
        path: &Path,
        encrypted: Option<&[u8]>,
    ) -> Result<Arc<dyn SigningKey>, TlsConfigError> {
        let owned = path.to_owned();
        let command = match self {
            Self::Never => return Err(TlsConfigError::KeyEncrypted { key, path: owned }),
            Self::Listener(None) => {
                return Err(IdentityError::PassphraseCommandMissing { key, path: owned }.into());
            }
            Self::Listener(Some(command)) => command,
        };
        let opened = match encrypted {
            None => Err(Closed::Decryption(KeyDecryptionError::Unsupported)),
            Some(encrypted) => open_once(command, path, encrypted, || {
                decrypt_with(command, path, encrypted)
            }),
        };
        opened.map_err(|closed| closed_key(closed, key, owned))
    }
}

fn decrypt_with(
    command: &str,
    path: &Path,
    encrypted: &[u8],
) -> Result<Arc<dyn SigningKey>, Closed> {
    let passphrase = passphrase(command, path).map_err(Closed::Command)?;
    let decrypted = decrypt(encrypted, &passphrase).map_err(Closed::Decryption)?;
    // Borrowed, so that the only copy is the one that is wiped.
    let private_key = PrivatePkcs8KeyDer::from(decrypted.as_slice());
    any_supported_type(&private_key.into()).map_err(|error| Closed::Unsupported(error.to_string()))
}

fn closed_key(closed: Closed, key: &'static str, path: PathBuf) -> TlsConfigError {
    match closed {
        Closed::Command(source) => IdentityError::PassphraseCommand {
            key: keys::LISTENER_PASSPHRASE_COMMAND,
            path,
            source,
        }
        .into(),
        Closed::Decryption(source) => IdentityError::KeyDecryption { key, path, source }.into(),
        Closed::Unsupported(detail) => TlsConfigError::KeyUnsupported { key, path, detail },
    }
}

fn read_staple(path: &Path, chain: &[CertificateDer<'_>]) -> Result<Staple, TlsConfigError> {
    Staple::read(path, chain).map_err(|source| {
        let path = path.to_owned();
        let key = keys::LISTENER_OCSP;
        IdentityError::Staple { key, path, source }.into()
    })
}

/// Whether `certificate` holds the public half of `signing_key`; X.509 version 1 is fine, unlike with rustls' own check.
fn belongs_to(
    signing_key: &Arc<dyn SigningKey>,
    certificate: Option<&CertificateDer<'static>>,
) -> bool {
    let (Some(public_key), Some(certificate)) = (signing_key.public_key(), certificate) else {
        return false;
    };
    parse(certificate).is_ok_and(|certificate| certificate.public_key().raw == public_key.as_ref())
}

fn mismatch_hint(signing_key: &Arc<dyn SigningKey>, chain: &[CertificateDer<'static>]) -> String {
    let position = chain
        .iter()
        .position(|other| belongs_to(signing_key, Some(other)));
    position.map_or_else(
        || "; give the key that certificate was issued for".to_owned(),
        |index| {
            format!(
                ", but to certificate {} in that file; put the server's own certificate first, then its issuers",
                index + 1
            )
        },
    )
}
