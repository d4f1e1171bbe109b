//! `OcspAnswer`: what an authority's OCSP responder (RFC 6960) says about a certificate, signed by the authority itself.

use aws_lc_rs::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, SHA512, digest};
use rcgen::SigningKey;
use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::der::{element, generalized_time, octets, oid, sequence};

const BASIC_RESPONSE: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];
const SHA1_OID: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1a];
const SHA256_OID: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
const SHA384_OID: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02];
const SHA512_OID: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03];
const ECDSA_WITH_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];

/// What a responder says about a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OcspStatus {
    /// Not revoked.
    Good,
    /// Revoked at that time, seconds since 1970.
    Revoked(i64),
    /// Not known.
    Unknown,
}

/// The hash that names the issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OcspHash {
    /// What nearly all responders use.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl OcspHash {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512];

    const fn algorithm(self) -> (&'static Algorithm, &'static [u8]) {
        match self {
            Self::Sha1 => (&SHA1_FOR_LEGACY_USE_ONLY, SHA1_OID),
            Self::Sha256 => (&SHA256, SHA256_OID),
            Self::Sha384 => (&SHA384, SHA384_OID),
            Self::Sha512 => (&SHA512, SHA512_OID),
        }
    }
}

/// An answer; the times are seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OcspAnswer {
    /// What it says.
    pub status: OcspStatus,
    /// From when on it holds.
    pub this_update_seconds: i64,
    /// Until when; none leaves it out.
    pub next_update_seconds: Option<i64>,
    /// How the certificate's issuer is named.
    pub hash: OcspHash,
    /// Whether a needless zero stands in front of the serial number.
    pub has_padded_serial: bool,
}

impl OcspAnswer {
    /// An answer of a minute ago that holds for an hour.
    #[must_use]
    pub fn now(status: OcspStatus) -> Self {
        let now = time::OffsetDateTime::now_utc().unix_timestamp();
        Self {
            status,
            this_update_seconds: now - 60,
            next_update_seconds: Some(now + 3600),
            hash: OcspHash::Sha1,
            has_padded_serial: false,
        }
    }

    /// The OCSPResponse in DER for `leaf`, issued by `issuer`, whose P-256 key signs.
    #[must_use]
    pub fn sign(
        &self,
        leaf: &CertificateDer<'_>,
        issuer: &CertificateDer<'_>,
        key: &impl SigningKey,
    ) -> Vec<u8> {
        let issuer = certificate(issuer);
        let key_hash = digest(
            &SHA1_FOR_LEGACY_USE_ONLY,
            &issuer.public_key().subject_public_key.data,
        );
        let by_key = element(0xa2, &[&octets(key_hash.as_ref())]);
        let produced_at = generalized_time(self.this_update_seconds);
        let answers = sequence(&[&self.single_response(&certificate(leaf), &issuer)]);
        let data = sequence(&[&by_key, &produced_at, &answers]);
        let signature = key.sign(&data).expect("a signature");
        let basic = sequence(&[
            &data,
            &sequence(&[&oid(ECDSA_WITH_SHA256)]),
            &element(0x03, &[&[0], &signature]),
        ]);
        let bytes = sequence(&[&oid(BASIC_RESPONSE), &octets(&basic)]);
        sequence(&[&element(0x0a, &[&[0]]), &element(0xa0, &[&bytes])])
    }

    fn single_response(&self, leaf: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> Vec<u8> {
        let (algorithm, name) = self.hash.algorithm();
        let padding: &[u8] = if self.has_padded_serial { &[0] } else { &[] };
        let hash = |bytes: &[u8]| octets(digest(algorithm, bytes).as_ref());
        let id = sequence(&[
            &sequence(&[&oid(name), &[0x05, 0x00]]),
            &hash(issuer.subject().as_raw()),
            &hash(&issuer.public_key().subject_public_key.data),
            &element(0x02, &[padding, leaf.raw_serial()]),
        ]);
        let status = match self.status {
            OcspStatus::Good => element(0x80, &[]),
            OcspStatus::Revoked(at) => element(0xa1, &[&generalized_time(at)]),
            OcspStatus::Unknown => element(0x82, &[]),
        };
        let next = self
            .next_update_seconds
            .map(|next| element(0xa0, &[&generalized_time(next)]))
            .unwrap_or_default();
        let this = generalized_time(self.this_update_seconds);
        sequence(&[&id, &status, &this, &next])
    }
}

fn certificate<'a>(der: &'a CertificateDer<'_>) -> X509Certificate<'a> {
    X509Certificate::from_der(der).expect("a certificate").1
}
