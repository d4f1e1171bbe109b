//! [`OcspResponse`]: an OCSP response (RFC 6960), read; one of our own is stapled ([`crate::staple`]), a backend's is heeded
//! (`stapled_revocation.rs`).
//!
//! Bytes come from the network or from a file: whatever is malformed is an error. Signatures are not verified here. Pure.

use aws_lc_rs::digest;
use rustls_pki_types::CertificateDer;
use x509_parser::asn1_rs::GeneralizedTime;
use x509_parser::certificate::X509Certificate;

use crate::der::{Reader, tag, without_leading_zeros};

/// How far apart clocks may be.
const CLOCK_SKEW_SECONDS: i64 = 300;

/// id-pkix-ocsp-basic, 1.3.6.1.5.5.7.48.1.1.
const BASIC_RESPONSE: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1];
const SHA1: &[u8] = &[0x2b, 0x0e, 3, 2, 0x1a];
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];
const SHA384: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2];
const SHA512: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3];

/// CertStatus: `[0] IMPLICIT NULL`, `[1] IMPLICIT RevokedInfo`, `[2] IMPLICIT NULL`.
const GOOD: u8 = 0x80;
const REVOKED: u8 = 0xa1;
const UNKNOWN: u8 = 0x82;

/// Why bytes are no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OcspError {
    /// They are no basic OCSP response in DER.
    #[error("not a basic OCSP response in DER")]
    Malformed,
    /// The responder had no answer.
    #[error("an OCSP response without an answer (responseStatus {0})")]
    Unsuccessful(u8),
}

/// A successful basic response; its signature has not been verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OcspResponse {
    /// Who says that he signed it.
    pub responder: ResponderId,
    /// producedAt, Unix seconds.
    pub produced_at: i64,
    /// What is said of each certificate.
    pub responses: Vec<SingleResponse>,
    /// Certificates that came along, the responder's among them if it is not the issuer itself.
    pub certificates: Vec<CertificateDer<'static>>,
    /// The bytes that are signed: the ResponseData, DER.
    pub(crate) signed: Vec<u8>,
    pub(crate) signature: Vec<u8>,
}

/// Who signed a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResponderId {
    /// The subject of his certificate, DER.
    ByName(Vec<u8>),
    /// SHA-1 of his public key.
    ByKey(Vec<u8>),
}

/// What is said of one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SingleResponse {
    /// Of which one.
    pub cert_id: CertId,
    /// What.
    pub status: CertStatus,
    /// Known to be right from here on, Unix seconds.
    pub this_update: i64,
    /// Newer information is there by then, Unix seconds; none when there is always newer information.
    pub next_update: Option<i64>,
}

/// Names a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertId {
    /// How the two hashes are made.
    pub hash_algorithm: HashAlgorithm,
    /// Of the issuer's name, DER.
    pub issuer_name_hash: Vec<u8>,
    /// Of the issuer's public key.
    pub issuer_key_hash: Vec<u8>,
    /// The serial number's content bytes, as they were written.
    pub serial: Vec<u8>,
}

/// The hash in a [`CertId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashAlgorithm {
    /// What nearly all responders use; it names here and protects nothing.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
    /// One that names nobody here.
    Other,
}

/// The state of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertStatus {
    /// Not revoked.
    Good,
    /// Revoked.
    Revoked {
        /// When, Unix seconds.
        at: i64,
    },
    /// The responder doesn't know it.
    Unknown,
}

impl CertStatus {
    /// RFC 6960's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Revoked { .. } => "revoked",
            Self::Unknown => "unknown",
        }
    }
}

impl OcspResponse {
    /// Reads a response that answers.
    pub fn parse(der: &[u8]) -> Result<Self, OcspError> {
        let mut response = Reader::only(der, tag::SEQUENCE).ok_or(OcspError::Malformed)?;
        match response.take(tag::ENUMERATED) {
            Some([0]) => Self::read(response).ok_or(OcspError::Malformed),
            Some([status]) => Err(OcspError::Unsuccessful(*status)),
            _ => Err(OcspError::Malformed),
        }
    }

    /// From the responseBytes on.
    fn read(mut response: Reader<'_>) -> Option<Self> {
        let mut bytes = Reader::only(response.take(tag::CONTEXT_0)?, tag::SEQUENCE)?;
        if bytes.take(tag::OID)? != BASIC_RESPONSE {
            return None;
        }
        let mut basic = Reader::only(bytes.take(tag::OCTET_STRING)?, tag::SEQUENCE)?;
        let data = basic.element(tag::SEQUENCE)?;
        // signatureAlgorithm: the key says which it can be.
        basic.sequence()?;
        let signature = basic.whole_bytes()?.to_vec();
        let certificates = match basic.take(tag::CONTEXT_0) {
            None => Vec::new(),
            Some(list) => read_certificates(list)?,
        };
        let signed = data.whole.to_vec();
        let mut data = Reader::new(data.body);
        let _version = data.take(tag::CONTEXT_0);
        Some(Self {
            responder: ResponderId::read(&mut data)?,
            produced_at: read_time(&mut data)?,
            responses: read_responses(data.sequence()?)?,
            certificates,
            signed,
            signature,
        })
    }
}

fn read_certificates(list: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let mut list = Reader::only(list, tag::SEQUENCE)?;
    let mut certificates = Vec::new();
    while !list.is_empty() {
        let certificate = list.element(tag::SEQUENCE)?;
        certificates.push(CertificateDer::from(certificate.whole.to_vec()));
    }
    Some(certificates)
}

/// One at least: an answer about nothing is none.
fn read_responses(mut list: Reader<'_>) -> Option<Vec<SingleResponse>> {
    let mut responses = vec![SingleResponse::read(list.sequence()?)?];
    while !list.is_empty() {
        responses.push(SingleResponse::read(list.sequence()?)?);
    }
    Some(responses)
}

/// A GeneralizedTime in Unix seconds.
fn read_time(reader: &mut Reader<'_>) -> Option<i64> {
    let time = GeneralizedTime::from_bytes(reader.take(tag::GENERALIZED_TIME)?).ok()?;
    Some(time.utc_datetime().ok()?.unix_timestamp())
}

/// Whether what is said from `this_update` on holds at `now`, both Unix seconds, as far as clocks can be trusted.
pub(crate) const fn has_begun(this_update: i64, now: i64) -> bool {
    this_update <= now.saturating_add(CLOCK_SKEW_SECONDS)
}

impl ResponderId {
    fn read(data: &mut Reader<'_>) -> Option<Self> {
        if let Some(name) = data.take(tag::CONTEXT_1) {
            return Some(Self::ByName(name.to_vec()));
        }
        let mut hash = Reader::new(data.take(tag::CONTEXT_2)?);
        Some(Self::ByKey(hash.take(tag::OCTET_STRING)?.to_vec()))
    }
}

impl SingleResponse {
    fn read(mut reader: Reader<'_>) -> Option<Self> {
        let cert_id = CertId::read(reader.sequence()?)?;
        let status = reader.next()?;
        let status = match status.tag {
            GOOD => CertStatus::Good,
            REVOKED => CertStatus::Revoked {
                at: read_time(&mut Reader::new(status.body))?,
            },
            UNKNOWN => CertStatus::Unknown,
            _ => return None,
        };
        let this_update = read_time(&mut reader)?;
        let next_update = match reader.take(tag::CONTEXT_0) {
            None => None,
            Some(next) => Some(read_time(&mut Reader::new(next))?),
        };
        Some(Self {
            cert_id,
            status,
            this_update,
            next_update,
        })
    }

    /// Whether it holds at `now`, give or take the difference of two clocks.
    #[must_use]
    pub fn is_current(&self, now: i64) -> bool {
        has_begun(self.this_update, now)
            && self
                .next_update
                .is_none_or(|next| now <= next.saturating_add(CLOCK_SKEW_SECONDS))
    }
}

impl CertId {
    fn read(mut reader: Reader<'_>) -> Option<Self> {
        let algorithm = reader.sequence()?.take(tag::OID)?;
        Some(Self {
            hash_algorithm: HashAlgorithm::of(algorithm),
            issuer_name_hash: reader.take(tag::OCTET_STRING)?.to_vec(),
            issuer_key_hash: reader.take(tag::OCTET_STRING)?.to_vec(),
            serial: reader.take(tag::INTEGER)?.to_vec(),
        })
    }

    /// Whether it has the serial number of `leaf`, however that is spelled, and the name of its issuer. Another authority
    /// may have the same name: [`Self::names_key_of`] tells.
    pub(crate) fn names(&self, leaf: &X509Certificate<'_>) -> bool {
        without_leading_zeros(&self.serial) == without_leading_zeros(leaf.raw_serial())
            && self.is_hash(&self.issuer_name_hash, leaf.issuer().as_raw())
    }

    /// Whether it has the public key of `issuer`.
    pub(crate) fn names_key_of(&self, issuer: &X509Certificate<'_>) -> bool {
        let key = &issuer.public_key().subject_public_key.data;
        self.is_hash(&self.issuer_key_hash, key)
    }

    fn is_hash(&self, hash: &[u8], of: &[u8]) -> bool {
        let digest = self.hash_algorithm.digest(of);
        digest.is_some_and(|digest| digest.as_ref() == hash)
    }
}

impl HashAlgorithm {
    fn of(object_identifier: &[u8]) -> Self {
        match object_identifier {
            SHA1 => Self::Sha1,
            SHA256 => Self::Sha256,
            SHA384 => Self::Sha384,
            SHA512 => Self::Sha512,
            _ => Self::Other,
        }
    }

    fn digest(self, bytes: &[u8]) -> Option<digest::Digest> {
        let algorithm = match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
            Self::Other => return None,
        };
        Some(digest::digest(algorithm, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn garbage_is_unreadable() {
        for bytes in [
            &b""[..],
            b"\x30",
            b"\x30\x80",
            b"\x30\x03\x0a\x01\x00",
            b"\x30\x03\x0a\x01\x06",
            b"\x30\x84\xff\xff\xff\xff",
            b"\x02\x01\x00",
        ] {
            assert!(OcspResponse::parse(bytes).is_err(), "{bytes:02x?}");
        }
    }

    #[test]
    fn a_responder_without_an_answer_is_told_from_garbage() {
        let parsed = |status: u8| OcspResponse::parse(&[0x30, 0x03, 0x0a, 0x01, status]);
        assert_eq!(parsed(0), Err(OcspError::Malformed), "no answer in it");
        for status in [1, 2, 3, 5, 6] {
            assert_eq!(parsed(status), Err(OcspError::Unsuccessful(status)));
        }
    }

    #[test]
    fn a_hash_that_is_not_known_names_nobody() {
        for (oid, known) in [(SHA1, true), (SHA512, true), (BASIC_RESPONSE, false)] {
            let digest = HashAlgorithm::of(oid).digest(b"a name");
            assert_eq!(digest.is_some(), known, "{oid:02x?}");
        }
    }

    #[test]
    fn clocks_may_differ_by_minutes() {
        assert!(has_begun(1300, 1000));
        assert!(!has_begun(1301, 1000));
        assert!(has_begun(i64::MAX, i64::MAX));
    }
}
