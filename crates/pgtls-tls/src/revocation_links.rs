//! Chains on which one name stands for two keys: an authority that changed its key and signed the new one with the old (RFC 4210
//! section 4.4).
//!
//! Each key has its own list, and webpki takes one list by name for all of them. So it is asked about the leaf alone, with the lists
//! of the key that signed that; the certificates above are looked up here, by the rules that webpki has: a list of the issuer's name,
//! signed by the issuer's key, that has not expired, from an issuer that may sign lists. Whatever is less plain proves nothing: a list
//! for a distribution point is not taken here, and neither is an older one beside it.

use std::time::Duration;

use rustls_pki_types::{SignatureVerificationAlgorithm, UnixTime};
use webpki::{Cert, Error, VerifiedPath};

use crate::date::unix_seconds;
use crate::leaf::parse;
use crate::revocation::Revocation;
use crate::revocation_keys::{IssuerKey, Namesakes};

type Algorithms<'a> = &'a [&'a dyn SignatureVerificationAlgorithm];

/// Whether two of `keys`, as of a chain, share a name.
pub(crate) fn share_a_name(keys: &[IssuerKey]) -> bool {
    keys.iter().enumerate().any(|(place, (name, key))| {
        let before = keys.get(..place).unwrap_or_default();
        before
            .iter()
            .any(|(other, other_key)| other == name && other_key != key)
    })
}

/// Checks every certificate of `path` between the leaf and the root; `keys` are its issuers', from the leaf's on.
pub(crate) fn check_intermediates(
    revocation: &Revocation,
    path: &VerifiedPath<'_>,
    keys: &[IssuerKey],
    now: UnixTime,
    algorithms: Algorithms<'_>,
) -> Result<(), Error> {
    let certificates: Vec<_> = path.intermediate_certificates().collect();
    for (place, certificate) in certificates.iter().enumerate() {
        let above = place.saturating_add(1);
        let key = keys.get(above).ok_or(Error::UnknownRevocationStatus)?;
        // None is the root, of which webpki asks nothing either.
        if let Some(issuer) = certificates.get(above) {
            check_may_sign_lists(issuer)?;
        }
        check_certificate(revocation, certificate, key, now, algorithms)?;
    }
    Ok(())
}

fn check_certificate(
    revocation: &Revocation,
    certificate: &Cert<'_>,
    key: &IssuerKey,
    now: UnixTime,
    algorithms: Algorithms<'_>,
) -> Result<(), Error> {
    let namesakes: &Namesakes = &revocation.namesakes;
    let keys = std::slice::from_ref(key);
    let mut speaking = revocation
        .lists
        .iter()
        .zip(&revocation.infos)
        .enumerate()
        .filter(|(index, (list, _))| {
            list.issuer() == certificate.issuer()
                && namesakes.speaks(*index, list.issuer(), keys, algorithms)
        })
        .peekable();
    let is_partial = |(list, _): (&webpki::CertRevocationList<'_>, _)| {
        list.issuing_distribution_point().is_some()
    };
    let Some(&(index, (newest, info))) = speaking.peek() else {
        return Err(Error::UnknownRevocationStatus);
    };
    if speaking.any(|(_, list)| is_partial(list)) {
        return Err(Error::UnknownRevocationStatus);
    }
    if certificate.issuer() != key.0 || !namesakes.is_by(index, &key.1, algorithms) {
        return Err(Error::InvalidCrlSignatureForPublicKey);
    }
    if unix_seconds(now) >= info.next_update {
        let seconds = u64::try_from(info.next_update).unwrap_or(0);
        let next_update = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        return Err(Error::CrlExpired {
            time: now,
            next_update,
        });
    }
    match newest.find_serial(certificate.serial())? {
        None => Ok(()),
        Some(_) => Err(Error::CertRevoked),
    }
}

/// RFC 5280 section 4.2.1.3: where a key usage is given, it must name the signing of lists.
fn check_may_sign_lists(issuer: &Cert<'_>) -> Result<(), Error> {
    let der = issuer.der();
    let issuer = parse(&der).map_err(|_| Error::UnknownRevocationStatus)?;
    match issuer.key_usage() {
        Ok(None) => Ok(()),
        Ok(Some(usage)) if usage.value.crl_sign() => Ok(()),
        Ok(Some(_)) | Err(_) => Err(Error::IssuerNotCrlSigner),
    }
}
