//! X.509 version 1 leaves: what `openssl x509 -req` made until OpenSSL 3.2, and so what `PostgreSQL`'s own documentation led to.
//!
//! webpki parses version 3 only. A version 1 certificate has no extensions, so all there is to check is its dates and one
//! signature by a root; a chain through an intermediate is not supported. Handshake signatures use the bare public key.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::{CertificateError, DigitallySignedStruct, Error, PeerMisbehaved};
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use webpki::RawPublicKeyEntity;
use x509_parser::certificate::X509Certificate;
use x509_parser::x509::X509Version;

use crate::leaf::parse;
use crate::signature::is_certified_by;

/// Whether `der` is a certificate older than version 3.
pub(crate) fn is_older_than_three(der: &CertificateDer<'_>) -> bool {
    parse(der).is_ok_and(|certificate| certificate.version() != X509Version::V3)
}

/// Whether `root` signed `leaf`; never for a leaf with extensions, which nothing here would heed.
pub(crate) fn is_signed_by(
    leaf: &X509Certificate<'_>,
    root: &X509Certificate<'_>,
    algorithms: &WebPkiSupportedAlgorithms,
) -> bool {
    let is_plain = leaf.extensions().is_empty();
    if !is_plain || leaf.issuer().as_raw() != root.subject().as_raw() || constrains_names(root) {
        return false;
    }
    is_certified_by(leaf, root, algorithms)
}

/// Name constraints can't be judged here, so a root that has them signs no version 1 leaf.
fn constrains_names(root: &X509Certificate<'_>) -> bool {
    !matches!(root.name_constraints(), Ok(None))
}

/// Verifies a TLS 1.2 handshake signature with the certificate's bare key (RFC 5246 section 7.4.3).
pub(crate) fn verify_tls12_signature(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let key = public_key(certificate)?;
    let key = RawPublicKeyEntity::try_from(&key).map_err(|_| CertificateError::BadEncoding)?;
    let candidates = algorithms
        .mapping
        .iter()
        .find(|(scheme, _)| *scheme == signed.scheme)
        .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?
        .1;
    candidates
        .iter()
        .any(|algorithm| {
            key.verify_signature(*algorithm, message, signed.signature())
                .is_ok()
        })
        .then(HandshakeSignatureValid::assertion)
        .ok_or_else(|| CertificateError::BadSignature.into())
}

/// Verifies a TLS 1.3 handshake signature with the certificate's bare key (RFC 8446 section 4.4.3).
pub(crate) fn verify_tls13_signature(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let key = public_key(certificate)?;
    verify_tls13_signature_with_raw_key(message, &key, signed, algorithms)
}

fn public_key(
    certificate: &CertificateDer<'_>,
) -> Result<SubjectPublicKeyInfoDer<'static>, CertificateError> {
    let certificate = parse(certificate).map_err(|_| CertificateError::BadEncoding)?;
    Ok(SubjectPublicKeyInfoDer::from(
        certificate.public_key().raw.to_vec(),
    ))
}
