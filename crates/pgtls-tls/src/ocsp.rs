//! [`OcspResponse`]: an OCSP response (RFC 6960) as a server staples it, and whether it says that a certificate is revoked.
//!
//! Invariant: nothing a response says counts before its signature was verified, by the key of the certificate's issuer or by
//! a responder whom that issuer certified for OCSP signing. Bytes come from the network: whatever is malformed is an error.

use aws_lc_rs::digest;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use webpki::RawPublicKeyEntity;
use x509_parser::certificate::X509Certificate;

use crate::leaf::parse;
use crate::ocsp_der::{Reader, Unreadable};

/// How far apart clocks may be.
const CLOCK_SKEW_SECONDS: i64 = 300;

const BASIC_RESPONSE: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1];
const SHA1: &[u8] = &[0x2b, 0x0e, 3, 2, 0x1a];
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];
const SHA384: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2];
const SHA512: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3];

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
    signed: Vec<u8>,
    signature: Vec<u8>,
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
    /// The serial number's content bytes.
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

impl OcspResponse {
    /// Reads a response. One that tells of an error of the responder is [`Unreadable`], too.
    pub fn parse(der: &[u8]) -> Result<Self, Unreadable> {
        let response = Reader::only(der)?.sequence()?;
        response.end()?;
        let mut response = response.content();
        if response.enumerated()? != [0] {
            return Err(Unreadable("the responder reports an error"));
        }
        let mut bytes = response.context(0)?.single()?.expect_sequence()?;
        if bytes.object_identifier()? != BASIC_RESPONSE {
            return Err(Unreadable("not a basic response"));
        }
        Self::parse_basic(bytes.octet_string()?)
    }

    fn parse_basic(der: &[u8]) -> Result<Self, Unreadable> {
        let basic = Reader::only(der)?.sequence()?;
        basic.end()?;
        let mut basic = basic.content();
        let data = basic.sequence()?;
        basic.sequence()?;
        let signature = basic.bit_string()?.to_vec();
        let mut certificates = Vec::new();
        if let Some(tagged) = basic.optional_context(0)? {
            let mut list = tagged.single()?.expect_sequence()?;
            while !list.is_empty() {
                certificates.push(CertificateDer::from(list.sequence()?.raw.to_vec()));
            }
        }
        let signed = data.raw.to_vec();
        let mut data = data.content();
        data.optional_context(0)?;
        let responder = match data.optional_context(1)? {
            Some(name) => ResponderId::ByName(name.content.to_vec()),
            None => ResponderId::ByKey(data.context(2)?.content().octet_string()?.to_vec()),
        };
        let produced_at = data.time()?;
        let mut list = data.sequence()?.content();
        let mut responses = Vec::new();
        while !list.is_empty() {
            responses.push(SingleResponse::read(list.sequence()?.content())?);
        }
        Ok(Self {
            responder,
            produced_at,
            responses,
            certificates,
            signed,
            signature,
        })
    }

    /// What is said of `leaf`, issued by `issuer`; none when nothing is, when it is stale or from the future at `now`, or
    /// when nobody signed it who may.
    #[must_use]
    pub fn status_of(
        &self,
        leaf: &CertificateDer<'_>,
        issuer: &CertificateDer<'_>,
        now: UnixTime,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> Option<CertStatus> {
        let (leaf, issuer) = (parse(leaf).ok()?, parse(issuer).ok()?);
        let now = i64::try_from(now.as_secs()).ok()?;
        let single = self
            .responses
            .iter()
            .find(|single| single.cert_id.names(&leaf, &issuer) && single.is_current(now))?;
        self.is_signed_for(&issuer, now, algorithms)
            .then_some(single.status)
    }

    /// Whether the issuer signed it, or a responder of the issuer's.
    fn is_signed_for(
        &self,
        issuer: &X509Certificate<'_>,
        now: i64,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> bool {
        let signed_by = |certificate: &X509Certificate<'_>| {
            let key = certificate.public_key().raw;
            is_signature(key, &self.signed, &self.signature, algorithms)
        };
        let mut responders = self.certificates.iter().filter_map(|der| parse(der).ok());
        signed_by(issuer)
            || responders.any(|responder| {
                is_responder(&responder, issuer, now, algorithms) && signed_by(&responder)
            })
    }
}

/// Whether a staple says, in a way that counts, that `leaf` is revoked; `issuers` are all certificates that may be its issuer's.
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
    let mut statuses = issuers
        .iter()
        .filter_map(|issuer| response.status_of(leaf, issuer, now, algorithms));
    statuses.find_map(|status| match status {
        CertStatus::Revoked { at } => Some(at),
        CertStatus::Good | CertStatus::Unknown => None,
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
        && is_signature(
            issuer.public_key().raw,
            responder.tbs_certificate.as_ref(),
            responder.signature_value.data.as_ref(),
            algorithms,
        )
}

/// Whether `signature` is one of the key's over `message`. Each algorithm refuses a key that isn't its own, and all of them
/// are strong: the one that fits decides.
fn is_signature(
    key: &[u8],
    message: &[u8],
    signature: &[u8],
    algorithms: &WebPkiSupportedAlgorithms,
) -> bool {
    let key = SubjectPublicKeyInfoDer::from(key);
    let Ok(key) = RawPublicKeyEntity::try_from(&key) else {
        return false;
    };
    let mut all = algorithms.all.iter();
    all.any(|algorithm| key.verify_signature(*algorithm, message, signature).is_ok())
}

impl SingleResponse {
    fn read(mut reader: Reader<'_>) -> Result<Self, Unreadable> {
        let cert_id = CertId::read(reader.sequence()?.content())?;
        let status = if reader.optional_context(0)?.is_some() {
            CertStatus::Good
        } else if let Some(info) = reader.optional_context(1)? {
            CertStatus::Revoked {
                at: info.content().time()?,
            }
        } else {
            reader.context(2)?;
            CertStatus::Unknown
        };
        let this_update = reader.time()?;
        let next_update = match reader.optional_context(0)? {
            Some(tagged) => Some(tagged.content().time()?),
            None => None,
        };
        Ok(Self {
            cert_id,
            status,
            this_update,
            next_update,
        })
    }

    /// Whether it holds at `now`, give or take the difference of two clocks.
    #[must_use]
    pub fn is_current(&self, now: i64) -> bool {
        self.this_update <= now.saturating_add(CLOCK_SKEW_SECONDS)
            && self
                .next_update
                .is_none_or(|next| now <= next.saturating_add(CLOCK_SKEW_SECONDS))
    }
}

impl CertId {
    fn read(mut reader: Reader<'_>) -> Result<Self, Unreadable> {
        let algorithm = reader.sequence()?.content().object_identifier()?;
        Ok(Self {
            hash_algorithm: HashAlgorithm::of(algorithm),
            issuer_name_hash: reader.octet_string()?.to_vec(),
            issuer_key_hash: reader.octet_string()?.to_vec(),
            serial: reader.integer()?.to_vec(),
        })
    }

    fn names(&self, leaf: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> bool {
        let is_hash = |hash: &[u8], of: &[u8]| {
            self.hash_algorithm
                .digest(of)
                .is_some_and(|digest| digest.as_ref() == hash)
        };
        self.serial == leaf.raw_serial()
            && leaf.issuer().as_raw() == issuer.subject().as_raw()
            && is_hash(&self.issuer_name_hash, issuer.subject().as_raw())
            && is_hash(
                &self.issuer_key_hash,
                &issuer.public_key().subject_public_key.data,
            )
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
}
