//! [`LeafInfo`]: what logs, reports and `validate` say about a certificate chain.

use std::fmt::Write as _;
use std::net::IpAddr;

use rustls::SupportedCipherSuite;
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// The leaf of a certificate chain, described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafInfo {
    /// The subject, e.g. `CN=db.example, O=Example`.
    pub subject: String,
    /// The issuer, spelled alike.
    pub issuer: String,
    /// subjectAltName: DNS names and IP addresses plain, others with their kind before (`email:`, `URI:`).
    pub sans: Vec<String>,
    /// How many certificates the chain has, the leaf included.
    pub chain_length: usize,
    /// notBefore, Unix seconds.
    pub not_before: i64,
    /// notAfter, Unix seconds.
    pub not_after: i64,
    /// SHA-256 of the leaf's DER, lower-case hex.
    pub sha256: String,
}

/// Where a moment lies relative to a certificate's dates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// Before notBefore.
    NotYetValid,
    /// Between both, ends included.
    Valid,
    /// After notAfter.
    Expired,
}

/// A chain without a leaf, or with one that isn't a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeafUnreadable {
    /// The chain is empty.
    #[error("the chain is empty")]
    Empty,
    /// The DER can't be parsed.
    #[error("not an X.509 certificate: {0}")]
    Malformed(String),
}

impl LeafInfo {
    /// Describes the first certificate of `chain`.
    pub fn from_chain(chain: &[CertificateDer<'_>]) -> Result<Self, LeafUnreadable> {
        let leaf = chain.first().ok_or(LeafUnreadable::Empty)?;
        let certificate = parse(leaf)?;
        Ok(Self {
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            sans: subject_alternative_names(&certificate),
            chain_length: chain.len(),
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
            sha256: sha256_hex(leaf),
        })
    }

    /// Whether the certificate's dates hold at `unix_seconds`.
    #[must_use]
    pub const fn validity_at(&self, unix_seconds: i64) -> Validity {
        if unix_seconds < self.not_before {
            Validity::NotYetValid
        } else if unix_seconds > self.not_after {
            Validity::Expired
        } else {
            Validity::Valid
        }
    }
}

/// Parses one certificate of any X.509 version.
pub(crate) fn parse<'a>(
    der: &'a CertificateDer<'_>,
) -> Result<X509Certificate<'a>, LeafUnreadable> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(LeafUnreadable::Malformed("bytes follow it".to_owned())),
        Err(error) => Err(LeafUnreadable::Malformed(error.to_string())),
    }
}

/// SHA-256 of `bytes`, lower-case hex.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    // The provider's own hash, reached through a suite that has it: no further dependency for a fingerprint.
    let digest = match TLS13_AES_128_GCM_SHA256 {
        SupportedCipherSuite::Tls13(suite) => suite.common.hash_provider.hash(bytes),
        SupportedCipherSuite::Tls12(suite) => suite.common.hash_provider.hash(bytes),
    };
    hex(digest.as_ref())
}

/// Lower-case hex of `bytes`.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
            // Writing to a String can't fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

fn subject_alternative_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    extension.value.general_names.iter().map(describe).collect()
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "kinds that no database certificate uses"
)]
fn describe(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(name) => (*name).to_owned(),
        GeneralName::IPAddress(bytes) => ip_address(bytes)
            .map_or_else(|| format!("IP:{bytes:02x?}"), |address| address.to_string()),
        GeneralName::RFC822Name(name) => format!("email:{name}"),
        GeneralName::URI(uri) => format!("URI:{uri}"),
        other => other.to_string(),
    }
}

/// The address an iPAddress SAN holds, or nothing when its length is neither 4 nor 16 bytes.
pub(crate) fn ip_address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(bytes));
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_is_the_well_known_one() {
        assert_eq!(
            sha256_hex(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn an_address_has_four_or_sixteen_bytes() {
        assert_eq!(
            ip_address(&[127, 0, 0, 1]),
            Some(IpAddr::from([127, 0, 0, 1]))
        );
        assert_eq!(ip_address(&[0; 16]), Some(IpAddr::from([0; 16])));
        assert_eq!(ip_address(&[1, 2, 3]), None);
    }

    #[test]
    fn describes_a_certificate() {
        let key = rcgen::KeyPair::generate().unwrap();
        let names = vec![
            "db.example".to_owned(),
            "*.b.example".to_owned(),
            "10.0.0.1".to_owned(),
        ];
        let mut params = rcgen::CertificateParams::new(names.clone()).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 2);
        let certificate = params.self_signed(&key).unwrap();
        let info = LeafInfo::from_chain(&[certificate.der().clone()]).unwrap();
        assert_eq!(info.sans, names);
        assert_eq!(info.chain_length, 1);
        assert_eq!(info.not_before, 1_577_836_800);
        assert_eq!(info.sha256.len(), 64);
        assert_eq!(info.validity_at(info.not_before - 1), Validity::NotYetValid);
        assert_eq!(info.validity_at(info.not_after), Validity::Valid);
        assert_eq!(info.validity_at(info.not_after + 1), Validity::Expired);
    }

    #[test]
    fn says_when_a_chain_is_empty_or_no_certificate() {
        assert_eq!(LeafInfo::from_chain(&[]), Err(LeafUnreadable::Empty));
        let garbage = CertificateDer::from(vec![1, 2, 3]);
        assert!(matches!(
            LeafInfo::from_chain(&[garbage]),
            Err(LeafUnreadable::Malformed(_))
        ));
    }
}
