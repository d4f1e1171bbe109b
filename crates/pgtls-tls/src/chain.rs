//! [`Roots`] and the one way a peer's chain is checked against them, for both peers.
//!
//! webpki builds the chain; this adds what OpenSSL does and webpki doesn't: a leaf that is itself a trusted certificate is
//! accepted, a root past its dates isn't, and a leaf of X.509 version 1 may be signed by a root directly.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::CryptoProvider;
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{CertificateError, Error, ExtendedKeyPurpose, OtherError, RootCertStore};
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::certificate::{Validity, X509Certificate};

use crate::config_key as keys;
use crate::date::unix_seconds;
use crate::error::TlsConfigError;
use crate::leaf::parse;
use crate::pem_file::read_certificates;
use crate::version_one;

/// What a peer's certificate is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A backend proves who it is.
    Server,
    /// A client proves who it is.
    Client,
}

/// Trusted certificates, and the store webpki makes of them.
#[derive(Debug)]
pub(crate) struct Roots {
    store: Arc<RootCertStore>,
    certificates: Vec<Root>,
}

#[derive(Debug)]
struct Root {
    der: CertificateDer<'static>,
    not_before: i64,
    not_after: i64,
}

impl Root {
    const fn is_current(&self, now: i64) -> bool {
        self.not_before <= now && now <= self.not_after
    }
}

impl Roots {
    /// Reads a PEM file of authorities; every certificate in it must be usable.
    pub(crate) fn from_file(key: &'static str, path: &Path) -> Result<Self, TlsConfigError> {
        let mut roots = Self::empty();
        for (index, der) in read_certificates(key, path)?.into_iter().enumerate() {
            roots
                .add(der)
                .map_err(|detail| TlsConfigError::CertificateInvalid {
                    key,
                    path: path.to_owned(),
                    position: index + 1,
                    detail,
                })?;
        }
        Ok(roots)
    }

    /// Takes the operating system's roots; single ones that can't be used are passed over.
    pub(crate) fn from_system() -> Result<Self, TlsConfigError> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = Self::empty();
        for der in found.certs {
            // An odd certificate in a distribution's bundle is no reason to trust none of the others.
            let _ = roots.add(der);
        }
        if roots.certificates.is_empty() {
            let detail = found
                .errors
                .first()
                .map_or_else(|| "none".to_owned(), ToString::to_string);
            return Err(TlsConfigError::SystemRootsMissing {
                key: keys::BACKEND_ROOT,
                detail,
            });
        }
        Ok(roots)
    }

    fn empty() -> Self {
        Self {
            store: Arc::new(RootCertStore::empty()),
            certificates: Vec::new(),
        }
    }

    fn add(&mut self, der: CertificateDer<'static>) -> Result<(), String> {
        let validity = parse(&der)
            .map_err(|error| error.to_string())?
            .validity()
            .clone();
        Arc::make_mut(&mut self.store)
            .add(der.clone())
            .map_err(|error| error.to_string())?;
        self.certificates.push(Root {
            der,
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
        });
        Ok(())
    }

    /// Whether a certificate with this subject (DER) is among them.
    pub(crate) fn have_subject(&self, subject: &[u8]) -> bool {
        let mut parsed = self
            .certificates
            .iter()
            .filter_map(|root| parse(&root.der).ok());
        parsed.any(|root| root.subject().as_raw() == subject)
    }

    /// The certificates themselves.
    pub(crate) fn certificates(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        self.certificates.iter().map(|root| &root.der)
    }

    /// The store of those whose dates hold.
    pub(crate) fn store_at(&self, now: UnixTime) -> Arc<RootCertStore> {
        self.current_store(unix_seconds(now))
            .unwrap_or_else(|| Arc::clone(&self.store))
    }

    /// The store, for the names sent in a `CertificateRequest`.
    pub(crate) const fn store(&self) -> &Arc<RootCertStore> {
        &self.store
    }

    /// Every certificate trusted, DER.
    pub(crate) fn ders(&self) -> impl Iterator<Item = &[u8]> {
        self.certificates.iter().map(|root| root.der.as_ref())
    }

    /// When each of them ends, Unix seconds.
    pub(crate) fn ends(&self) -> impl Iterator<Item = i64> {
        self.certificates.iter().map(|root| root.not_after)
    }

    /// Checks that `leaf` is trusted for `purpose` at `now`; names are not looked at.
    pub(crate) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        purpose: Purpose,
        now: UnixTime,
        provider: &Arc<CryptoProvider>,
    ) -> Result<(), Error> {
        if self.certificates.iter().any(|root| root.der == *leaf) {
            return verify_trusted_leaf(leaf, purpose, now);
        }
        if version_one::is_older_than_three(leaf) {
            return self.verify_version_one(leaf, now, provider);
        }
        let chain = Chain {
            leaf,
            intermediates,
            purpose,
            now,
            provider,
        };
        chain
            .verify(&self.store)
            .map_err(|error| explain(error, leaf))?;
        match self.current_store(unix_seconds(now)) {
            None => Ok(()),
            // The chain holds, but only through a root whose own dates don't.
            Some(store) => chain
                .verify(&store)
                .map_err(|_| CertificateError::Expired.into()),
        }
    }

    /// A store without the roots whose dates don't hold, or nothing when all do.
    fn current_store(&self, now: i64) -> Option<Arc<RootCertStore>> {
        if self.certificates.iter().all(|root| root.is_current(now)) {
            return None;
        }
        let mut store = RootCertStore::empty();
        let current = self.certificates.iter().filter(|root| root.is_current(now));
        store.add_parsable_certificates(current.map(|root| root.der.clone()));
        Some(Arc::new(store))
    }

    fn verify_version_one(
        &self,
        leaf: &CertificateDer<'_>,
        now: UnixTime,
        provider: &Arc<CryptoProvider>,
    ) -> Result<(), Error> {
        let leaf = parse(leaf).map_err(|_| CertificateError::BadEncoding)?;
        check_dates(leaf.validity(), now)?;
        let algorithms = &provider.signature_verification_algorithms;
        let current = self
            .certificates
            .iter()
            .filter(|root| root.is_current(unix_seconds(now)));
        current
            .filter_map(|root| parse(&root.der).ok())
            .any(|root| version_one::is_signed_by(&leaf, &root, algorithms))
            .then_some(())
            .ok_or_else(|| CertificateError::UnknownIssuer.into())
    }
}

/// A chain as the peer sent it, with what it is to be checked for.
struct Chain<'a> {
    leaf: &'a CertificateDer<'a>,
    intermediates: &'a [CertificateDer<'a>],
    purpose: Purpose,
    now: UnixTime,
    provider: &'a Arc<CryptoProvider>,
}

impl Chain<'_> {
    fn verify(&self, store: &Arc<RootCertStore>) -> Result<(), Error> {
        if store.is_empty() {
            return Err(CertificateError::UnknownIssuer.into());
        }
        match self.purpose {
            Purpose::Server => verify_server_cert_signed_by_trust_anchor(
                &ParsedCertificate::try_from(self.leaf)?,
                store,
                self.intermediates,
                self.now,
                self.provider.signature_verification_algorithms.all,
            ),
            Purpose::Client => client_chain_verifier(store, self.provider)?
                .verify_client_cert(self.leaf, self.intermediates, self.now)
                .map(|_| ()),
        }
    }
}

/// rustls' verifier of client chains over `store`, for its chain check only.
fn client_chain_verifier(
    store: &Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, Error> {
    WebPkiClientVerifier::builder_with_provider(Arc::clone(store), Arc::clone(provider))
        .build()
        .map_err(|error| Error::Other(OtherError(Arc::new(error))))
}

/// Says "nobody we trust signed this" where webpki says something true but less useful, and sends that alert, as OpenSSL
/// does: a root of the same name with another key, and a self-signed leaf that may sign others, which webpki refuses as
/// such before it looks for an issuer.
fn explain(error: Error, leaf: &CertificateDer<'_>) -> Error {
    let Error::InvalidCertificate(certificate_error) = &error else {
        return error;
    };
    if has_other_issuer_key(certificate_error)
        || (is_authority(certificate_error) && is_self_issued(leaf))
    {
        return CertificateError::UnknownIssuer.into();
    }
    error
}

const fn has_other_issuer_key(error: &CertificateError) -> bool {
    matches!(
        error,
        CertificateError::BadSignature
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. }
    )
}

fn is_authority(error: &CertificateError) -> bool {
    let CertificateError::Other(other) = error else {
        return false;
    };
    matches!(
        other.0.downcast_ref(),
        Some(webpki::Error::CaUsedAsEndEntity)
    )
}

fn is_self_issued(leaf: &CertificateDer<'_>) -> bool {
    parse(leaf).is_ok_and(|leaf| leaf.issuer().as_raw() == leaf.subject().as_raw())
}

/// A leaf that is byte for byte a trusted certificate: only its dates and purpose are left to check.
fn verify_trusted_leaf(
    leaf: &CertificateDer<'_>,
    purpose: Purpose,
    now: UnixTime,
) -> Result<(), Error> {
    let leaf = parse(leaf).map_err(|_| CertificateError::BadEncoding)?;
    check_dates(leaf.validity(), now)?;
    if !allows(&leaf, purpose) {
        return Err(CertificateError::InvalidPurposeContext {
            required: match purpose {
                Purpose::Server => ExtendedKeyPurpose::ServerAuth,
                Purpose::Client => ExtendedKeyPurpose::ClientAuth,
            },
            presented: Vec::new(),
        }
        .into());
    }
    Ok(())
}

/// Whether the extended key usage, where there is one, allows `purpose` (RFC 5280 section 4.2.1.12).
fn allows(leaf: &X509Certificate<'_>, purpose: Purpose) -> bool {
    match leaf.extended_key_usage() {
        Ok(None) => true,
        Ok(Some(usage)) => match purpose {
            Purpose::Server => usage.value.any || usage.value.server_auth,
            Purpose::Client => usage.value.any || usage.value.client_auth,
        },
        Err(_) => false,
    }
}

fn check_dates(validity: &Validity, now: UnixTime) -> Result<(), CertificateError> {
    let (not_before, not_after) = (
        validity.not_before.timestamp(),
        validity.not_after.timestamp(),
    );
    if unix_seconds(now) < not_before {
        return Err(CertificateError::NotValidYetContext {
            time: now,
            not_before: unix_time(not_before),
        });
    }
    if unix_seconds(now) > not_after {
        return Err(CertificateError::ExpiredContext {
            time: now,
            not_after: unix_time(not_after),
        });
    }
    Ok(())
}

fn unix_time(seconds: i64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}
