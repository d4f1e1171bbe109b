//! [`revocation_time`]: whether the OCSP response that a backend staples says, in a way that counts, that it is revoked.
//!
//! Invariant: nothing a response says counts before its signature was verified, by the key of the certificate's issuer or by
//! a responder whom that issuer certified for OCSP signing. Bytes come from the network.

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::certificate::X509Certificate;

use crate::date::unix_seconds;
use crate::leaf::parse;
use crate::ocsp::{CertStatus, OcspResponse};
use crate::signature::{is_certified_by, is_signature};

/// When `leaf` was revoked, Unix seconds, if `staple` says so; `issuers` are all certificates that may be its issuer's.
///
/// A staple that is malformed, stale, about another certificate or not properly signed is as good as none, as for libpq. A peer
/// that makes up an issuer gets nothing from it but its own refusal.
pub(crate) fn revocation_time(
    staple: &[u8],
    leaf: &CertificateDer<'_>,
    issuers: &[&CertificateDer<'_>],
    now: UnixTime,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Option<i64> {
    if staple.is_empty() {
        return None;
    }
    let response = OcspResponse::parse(staple).ok()?;
    let leaf = parse(leaf).ok()?;
    let now = unix_seconds(now);
    let mut statuses = issuers.iter().filter_map(|issuer| {
        let issuer = parse(issuer).ok()?;
        status_of(&response, &leaf, &issuer, now, algorithms)
    });
    statuses.find_map(|status| match status {
        CertStatus::Revoked { at } => Some(at),
        CertStatus::Good | CertStatus::Unknown => None,
    })
}

/// What is said of `leaf`, issued by `issuer`; none when nothing is, when it is stale or from the future at `now`, or when
/// nobody signed it who may.
fn status_of(
    response: &OcspResponse,
    leaf: &X509Certificate<'_>,
    issuer: &X509Certificate<'_>,
    now: i64,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Option<CertStatus> {
    if leaf.issuer().as_raw() != issuer.subject().as_raw() {
        return None;
    }
    let single = response.responses.iter().find(|single| {
        let id = &single.cert_id;
        id.names(leaf) && id.names_key_of(issuer) && single.is_current(now)
    })?;
    is_signed_for(response, issuer, now, algorithms).then_some(single.status)
}

/// Whether the issuer signed it, or a responder of the issuer's.
fn is_signed_for(
    response: &OcspResponse,
    issuer: &X509Certificate<'_>,
    now: i64,
    algorithms: &WebPkiSupportedAlgorithms,
) -> bool {
    let signed_by = |certificate: &X509Certificate<'_>| {
        is_signature(
            certificate,
            &response.signed,
            &response.signature,
            algorithms,
        )
    };
    let along = response.certificates.iter();
    let mut responders = along.filter_map(|der| parse(der).ok());
    signed_by(issuer)
        || responders.any(|responder| {
            is_responder(&responder, issuer, now, algorithms) && signed_by(&responder)
        })
}

/// RFC 6960 section 4.2.2.2: certified by the issuer itself, for OCSP signing, and within its dates.
fn is_responder(
    responder: &X509Certificate<'_>,
    issuer: &X509Certificate<'_>,
    now: i64,
    algorithms: &WebPkiSupportedAlgorithms,
) -> bool {
    let validity = responder.validity();
    let is_current =
        validity.not_before.timestamp() <= now && now <= validity.not_after.timestamp();
    let may_sign =
        matches!(responder.extended_key_usage(), Ok(Some(usage)) if usage.value.ocsp_signing);
    is_current
        && may_sign
        && responder.issuer().as_raw() == issuer.subject().as_raw()
        && is_certified_by(responder, issuer, algorithms)
}
