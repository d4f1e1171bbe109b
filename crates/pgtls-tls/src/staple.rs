//! [`Staple`]: an OCSP response (RFC 6960) for one of our own certificates, which is sent along with it (RFC 6066 section 8).
//!
//! Parsed as far as it takes not to send something useless: it is successful, it is about this certificate, and it has not
//! expired. Its signature is the client's to verify, who trusts none but its own roots anyway.

use std::fmt;
use std::io::{self, Read as _};
use std::path::Path;

use rustls_pki_types::CertificateDer;

use crate::leaf::parse;
use crate::ocsp::{CertStatus, OcspError, OcspResponse, has_begun};
use crate::regular_file::open_regular;

/// Responses have one or two kilobytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// A response that is about one certificate.
#[derive(Clone, PartialEq, Eq)]
pub struct Staple {
    /// As in the file.
    pub(crate) der: Vec<u8>,
    /// What it says.
    pub status: CertStatus,
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

impl From<OcspError> for StapleError {
    fn from(error: OcspError) -> Self {
        match error {
            OcspError::Malformed => Self::Malformed,
            OcspError::Unsuccessful(status) => Self::Unsuccessful(status),
        }
    }
}

impl Staple {
    /// Reads the response in `path` for the first certificate of `chain`.
    pub(crate) fn read(path: &Path, chain: &[CertificateDer<'_>]) -> Result<Self, StapleError> {
        let unreadable = |error: io::Error| StapleError::Unreadable(error.to_string());
        let (file, _) = open_regular(path).map_err(|error| unreadable(error.into()))?;
        let mut der = Vec::new();
        let mut limited = file.take(MAX_FILE_BYTES + 1);
        let length = limited.read_to_end(&mut der).map_err(unreadable)?;
        if u64::try_from(length).is_ok_and(|length| length <= MAX_FILE_BYTES) {
            Self::parse(der, chain)
        } else {
            Err(StapleError::Malformed)
        }
    }

    /// Finds what `der` says about the first certificate of `chain`. The issuer's key is compared when the chain holds the
    /// issuer; the root seldom is in it.
    pub(crate) fn parse(der: Vec<u8>, chain: &[CertificateDer<'_>]) -> Result<Self, StapleError> {
        let response = OcspResponse::parse(&der)?;
        let leaf = chain.first().and_then(|leaf| parse(leaf).ok());
        let leaf = leaf.ok_or(StapleError::OtherCertificate)?;
        let mut issuers: Vec<_> = chain.iter().filter_map(|der| parse(der).ok()).collect();
        issuers.retain(|certificate| certificate.subject().as_raw() == leaf.issuer().as_raw());
        let found = response.responses.into_iter().find(|single| {
            let id = &single.cert_id;
            let is_issuers = issuers.is_empty() || issuers.iter().any(|one| id.names_key_of(one));
            is_issuers && id.names(&leaf)
        });
        let single = found.ok_or(StapleError::OtherCertificate)?;
        Ok(Self {
            der,
            status: single.status,
            this_update: single.this_update,
            next_update: single.next_update,
        })
    }

    /// Whether it is sent at `now`, Unix seconds: neither expired nor from the future, and with something to say.
    pub(crate) const fn is_current(&self, now: i64) -> bool {
        has_begun(self.this_update, now)
            && !self.is_expired(now)
            && !matches!(self.status, CertStatus::Unknown)
    }

    /// Whether nextUpdate has passed at `now`.
    pub(crate) const fn is_expired(&self, now: i64) -> bool {
        matches!(self.next_update, Some(next) if next <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn staple(this_update: i64, next_update: Option<i64>, status: CertStatus) -> Staple {
        Staple {
            der: Vec::new(),
            status,
            this_update,
            next_update,
        }
    }

    #[test]
    fn a_staple_is_current_between_its_dates() {
        let good = staple(1000, Some(2000), CertStatus::Good);
        let at = [500, 700, 1000, 1999, 2000].map(|now| good.is_current(now));
        assert_eq!(at, [false, true, true, true, false]);
        assert!(staple(1000, None, CertStatus::Good).is_current(i64::MAX));
    }

    #[test]
    fn a_revocation_is_told_and_ignorance_is_not() {
        assert!(staple(0, None, CertStatus::Revoked { at: 0 }).is_current(10));
        assert!(!staple(0, None, CertStatus::Unknown).is_current(10));
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
