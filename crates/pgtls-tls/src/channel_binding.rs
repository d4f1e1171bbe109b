//! [`server_end_point`]: what SCRAM-SHA-256-PLUS binds an authentication to, for the logins that pgtls does itself.

use rustls::SupportedCipherSuite;
use rustls::crypto::aws_lc_rs::cipher_suite::{TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384};
use rustls_pki_types::CertificateDer;

use crate::leaf::parse;

/// Signature algorithms by what `tls-server-end-point` hashes their certificates with (RFC 5929, section 4.1): MD5 and SHA-1 are
/// replaced by SHA-256. Those with SHA-512 or without a hash of their own are left out.
const SHA_256: [&str; 5] = [
    "1.2.840.113549.1.1.4",
    "1.2.840.113549.1.1.5",
    "1.2.840.113549.1.1.11",
    "1.2.840.10045.4.1",
    "1.2.840.10045.4.3.2",
];
const SHA_384: [&str; 2] = ["1.2.840.113549.1.1.12", "1.2.840.10045.4.3.3"];

/// The hash of the server's leaf certificate (DER) for the channel binding `tls-server-end-point`; none for a kind of certificate
/// that it is not defined for, or that we do not hash.
#[must_use]
pub fn server_end_point(leaf: &[u8]) -> Option<Vec<u8>> {
    let leaf = CertificateDer::from(leaf);
    let certificate = parse(&leaf).ok()?;
    let algorithm = certificate.signature_algorithm.algorithm.to_id_string();
    let suite = if SHA_256.contains(&algorithm.as_str()) {
        TLS13_AES_128_GCM_SHA256
    } else if SHA_384.contains(&algorithm.as_str()) {
        TLS13_AES_256_GCM_SHA384
    } else {
        return None;
    };
    // The provider's own hash, reached through a suite that has it.
    let hash = match suite {
        SupportedCipherSuite::Tls13(suite) => suite.common.hash_provider.hash(&leaf),
        SupportedCipherSuite::Tls12(suite) => suite.common.hash_provider.hash(&leaf),
    };
    Some(hash.as_ref().to_vec())
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::leaf::sha256_hex;

    fn leaf(algorithm: &'static rcgen::SignatureAlgorithm) -> Vec<u8> {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let params = rcgen::CertificateParams::new(vec!["db.example".to_owned()]).unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn the_hash_is_that_of_the_certificates_signature() {
        let leaf_256 = leaf(&rcgen::PKCS_ECDSA_P256_SHA256);
        let hash = server_end_point(&leaf_256).unwrap();
        let hex = hash.iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        });
        assert_eq!(hex, sha256_hex(&leaf_256));
        let leaf_384 = leaf(&rcgen::PKCS_ECDSA_P384_SHA384);
        assert_eq!(server_end_point(&leaf_384).unwrap().len(), 48);
    }

    #[test]
    fn a_certificate_without_a_hash_of_its_own_and_no_certificate_have_none() {
        assert_eq!(server_end_point(&leaf(&rcgen::PKCS_ED25519)), None);
        assert_eq!(server_end_point(b"no certificate"), None);
    }
}
