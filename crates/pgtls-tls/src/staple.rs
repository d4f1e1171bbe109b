//! [`Staple`]: an OCSP response (RFC 6960) for one of our own certificates, which is sent along with it (RFC 6066 section 8).
//!
//! Parsed as far as it takes not to send something useless: it is successful, it is about this certificate, and it has not
//! expired. Its signature is the client's to verify, who trusts none but its own roots anyway.

use std::fmt;
use std::path::Path;

use aws_lc_rs::digest;
use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::time::ASN1Time;

use crate::der::{Reader, tag, without_leading_zeros};
use crate::leaf::parse;

/// id-pkix-ocsp-basic, 1.3.6.1.5.5.7.48.1.1.
const BASIC_RESPONSE: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];
const SHA1: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1a];
/// `2.16.840.1.101.3.4.2`; the last byte of an OID below it says which SHA-2.
const NIST_HASH: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02];
/// Clocks differ; a response from our future is accepted when it is that near.
const CLOCK_SKEW_SECONDS: i64 = 300;
/// Responses have one or two kilobytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// What the issuer says about the certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StapleStatus {
    /// Not revoked.
    Good,
    /// Revoked.
    Revoked,
    /// The responder doesn't know it.
    Unknown,
}

impl StapleStatus {
    /// RFC 6960's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Revoked => "revoked",
            Self::Unknown => "unknown",
        }
    }
}

/// A response that is about one certificate.
#[derive(Clone, PartialEq, Eq)]
pub struct Staple {
    /// As in the file.
    pub(crate) der: Vec<u8>,
    /// What it says.
    pub status: StapleStatus,
    /// thisUpdate, Unix seconds.
    pub this_update: i64,
    /// nextUpdate, Unix seconds; without one it doesn't expire.
    pub next_update: Option<i64>,
}

impl fmt::Debug for Staple {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Staple")
            .field("status", &self.status)
            .field("this_update", &self.this_update)
            .field("next_update", &self.next_update)
            .finish_non_exhaustive()
    }
}

/// Why a file is of no use as a staple.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StapleError {
    /// It can't be read.
    #[error("cannot be read: {0}; give a readable file with an OCSP response in DER")]
    Unreadable(String),
    /// It is no OCSP response in DER.
    #[error("is not an OCSP response in DER; write it with `openssl ocsp -respout …`")]
    Malformed,
    /// The responder had no answer.
    #[error("is an OCSP response without an answer (responseStatus {0}); ask the responder again")]
    Unsuccessful(u8),
    /// It is about another certificate.
    #[error("is an OCSP response about another certificate; ask the responder about this one")]
    OtherCertificate,
}

impl Staple {
    /// Reads the response in `path` for the first certificate of `chain`.
    pub(crate) fn read(path: &Path, chain: &[CertificateDer<'_>]) -> Result<Self, StapleError> {
        let unreadable = |error: std::io::Error| StapleError::Unreadable(error.to_string());
        let metadata = path.metadata().map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(StapleError::Unreadable("not a regular file".to_owned()));
        }
        if metadata.len() > MAX_FILE_BYTES {
            return Err(StapleError::Malformed);
        }
        Self::parse(std::fs::read(path).map_err(unreadable)?, chain)
    }

    /// Finds what `der` says about the first certificate of `chain`.
    pub(crate) fn parse(der: Vec<u8>, chain: &[CertificateDer<'_>]) -> Result<Self, StapleError> {
        let responses = single_responses(&der)?;
        let leaf = chain.first().and_then(|leaf| parse(leaf).ok());
        let leaf = leaf.ok_or(StapleError::OtherCertificate)?;
        let mut about_others = Err(StapleError::Malformed);
        let mut reader = responses;
        while let Some(response) = reader.sequence() {
            let response = SingleResponse::parse(response).ok_or(StapleError::Malformed)?;
            if response.id.names(&leaf, chain) {
                let (status, this_update) = (response.status, response.this_update);
                let next_update = response.next_update;
                return Ok(Self {
                    der,
                    status,
                    this_update,
                    next_update,
                });
            }
            about_others = Err(StapleError::OtherCertificate);
        }
        about_others
    }

    /// Whether it is sent at `now`, Unix seconds: neither expired nor from the future, and with something to say.
    pub(crate) const fn is_current(&self, now: i64) -> bool {
        let has_begun = self.this_update <= now.saturating_add(CLOCK_SKEW_SECONDS);
        has_begun && !self.is_expired(now) && !matches!(self.status, StapleStatus::Unknown)
    }

    /// Whether nextUpdate has passed at `now`.
    pub(crate) const fn is_expired(&self, now: i64) -> bool {
        matches!(self.next_update, Some(next) if next <= now)
    }
}

/// The list of SingleResponses in an OCSPResponse.
fn single_responses(der: &[u8]) -> Result<Reader<'_>, StapleError> {
    let malformed = StapleError::Malformed;
    let mut response = Reader::only(der, tag::SEQUENCE).ok_or(malformed.clone())?;
    match response.take(tag::ENUMERATED) {
        Some([0]) => {}
        Some([status]) => return Err(StapleError::Unsuccessful(*status)),
        _ => return Err(malformed),
    }
    let basic = (|| {
        let mut bytes = Reader::only(response.take(tag::CONTEXT_0)?, tag::SEQUENCE)?;
        let is_basic = bytes.take(tag::OID)? == BASIC_RESPONSE;
        let basic = is_basic.then(|| bytes.take(tag::OCTET_STRING)).flatten()?;
        let mut data = Reader::only(basic, tag::SEQUENCE)?.sequence()?;
        // version, responderID (byName or byKey)
        let _ = data.take(tag::CONTEXT_0);
        data.next()?;
        data.take(tag::GENERALIZED_TIME)?;
        data.sequence()
    })();
    basic.ok_or(malformed)
}

struct SingleResponse<'a> {
    id: CertId<'a>,
    status: StapleStatus,
    this_update: i64,
    next_update: Option<i64>,
}

impl<'a> SingleResponse<'a> {
    fn parse(mut response: Reader<'a>) -> Option<Self> {
        let id = CertId::parse(response.sequence()?)?;
        let status = match response.next()?.tag {
            0x80 => StapleStatus::Good,
            0xa1 => StapleStatus::Revoked,
            0x82 => StapleStatus::Unknown,
            _ => return None,
        };
        let this_update = time(response.next()?.whole)?;
        let next_update = match response.take(tag::CONTEXT_0) {
            None => None,
            Some(explicit) => Some(time(explicit)?),
        };
        Some(Self {
            id,
            status,
            this_update,
            next_update,
        })
    }
}

/// Unix seconds of a GeneralizedTime.
fn time(der: &[u8]) -> Option<i64> {
    let (rest, time) = ASN1Time::from_der(der).ok()?;
    rest.is_empty().then(|| time.timestamp())
}

/// Which certificate an answer is about (RFC 6960 section 4.1.1).
struct CertId<'a> {
    hash: &'static digest::Algorithm,
    issuer_name_hash: &'a [u8],
    issuer_key_hash: &'a [u8],
    serial: &'a [u8],
}

impl<'a> CertId<'a> {
    fn parse(mut id: Reader<'a>) -> Option<Self> {
        let hash = match id.sequence()?.take(tag::OID)? {
            SHA1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            oid => match oid.split_last()? {
                (1, NIST_HASH) => &digest::SHA256,
                (2, NIST_HASH) => &digest::SHA384,
                (3, NIST_HASH) => &digest::SHA512,
                _ => return None,
            },
        };
        Some(Self {
            hash,
            issuer_name_hash: id.take(tag::OCTET_STRING)?,
            issuer_key_hash: id.take(tag::OCTET_STRING)?,
            serial: id.take(tag::INTEGER)?,
        })
    }

    /// Whether this is about `leaf`. The issuer's key is compared when the chain holds the issuer; the root seldom is in it.
    fn names(&self, leaf: &X509Certificate<'_>, chain: &[CertificateDer<'_>]) -> bool {
        let digest = |bytes: &[u8]| digest::digest(self.hash, bytes);
        let is_issuer_key = |issuer: X509Certificate<'_>| {
            let key = &issuer.public_key().subject_public_key.data;
            digest(key).as_ref() == self.issuer_key_hash
        };
        let mut issuers = chain
            .iter()
            .filter_map(|certificate| parse(certificate).ok())
            .filter(|certificate| certificate.subject().as_raw() == leaf.issuer().as_raw())
            .peekable();
        without_leading_zeros(self.serial) == without_leading_zeros(leaf.raw_serial())
            && digest(leaf.issuer().as_raw()).as_ref() == self.issuer_name_hash
            && (issuers.peek().is_none() || issuers.any(is_issuer_key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn staple(this_update: i64, next_update: Option<i64>, status: StapleStatus) -> Staple {
        Staple {
            der: Vec::new(),
            status,
            this_update,
            next_update,
        }
    }

    #[test]
    fn a_staple_is_current_between_its_dates() {
        let good = staple(1000, Some(2000), StapleStatus::Good);
        let at = [500, 700, 1000, 1999, 2000].map(|now| good.is_current(now));
        assert_eq!(at, [false, true, true, true, false]);
        assert!(staple(1000, None, StapleStatus::Good).is_current(i64::MAX));
    }

    #[test]
    fn a_revocation_is_told_and_ignorance_is_not() {
        assert!(staple(0, None, StapleStatus::Revoked).is_current(10));
        assert!(!staple(0, None, StapleStatus::Unknown).is_current(10));
    }

    #[test]
    fn what_is_no_response_is_refused() {
        for der in [
            &b"-----BEGIN"[..],
            &[],
            &[0x30, 0x00],
            &[0x30, 0x03, 0x0a, 0x01, 0x00],
        ] {
            assert_eq!(
                Staple::parse(der.to_vec(), &[]),
                Err(StapleError::Malformed)
            );
        }
        let try_later = [0x30, 0x03, 0x0a, 0x01, 0x03];
        assert_eq!(
            Staple::parse(try_later.to_vec(), &[]),
            Err(StapleError::Unsuccessful(3))
        );
    }
}
