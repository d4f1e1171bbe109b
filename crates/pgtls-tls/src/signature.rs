//! [`is_signature`]: whether a bare public key signed some bytes, where webpki's own path building doesn't ask it.

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls_pki_types::SubjectPublicKeyInfoDer;
use webpki::RawPublicKeyEntity;
use x509_parser::certificate::X509Certificate;

/// Whether `signature` over `message` was made with the key that `signer` certifies. Each algorithm refuses a key that isn't
/// its own, and all of them are strong: the one that fits decides.
pub(crate) fn is_signature(
    signer: &X509Certificate<'_>,
    message: &[u8],
    signature: &[u8],
    algorithms: &WebPkiSupportedAlgorithms,
) -> bool {
    let key = SubjectPublicKeyInfoDer::from(signer.public_key().raw);
    let Ok(key) = RawPublicKeyEntity::try_from(&key) else {
        return false;
    };
    let mut all = algorithms.all.iter();
    all.any(|algorithm| key.verify_signature(*algorithm, message, signature).is_ok())
}

/// Whether the key of `issuer` signed `certificate`; names and dates are not looked at.
pub(crate) fn is_certified_by(
    certificate: &X509Certificate<'_>,
    issuer: &X509Certificate<'_>,
    algorithms: &WebPkiSupportedAlgorithms,
) -> bool {
    let signature = certificate.signature_value.data.as_ref();
    let message = certificate.tbs_certificate.as_ref();
    is_signature(issuer, message, signature, algorithms)
}
