//! X.509 version 1 certificates: what following `PostgreSQL`'s documentation with OpenSSL before 3.2 gives.

use pgtls_tls::options::BackendVerification::{Ca, Full, None as Unverified};
use pgtls_tls::options::{BackendTlsOptions, ClientCertificate, TlsVersion};
use pgtls_tls::server_config::build_server_config;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SigningKey as _};
use rcgen::{SignatureAlgorithm, date_time_ymd};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::support::{Files, Pki, connect, listener, named, pem};

/// Issues what rcgen can't: the certificate it would make, without the version and the extensions, signed anew.
fn issue(
    pki: &Pki,
    name: &str,
    params: &CertificateParams,
    algorithm: &'static SignatureAlgorithm,
) -> Files {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let template = params.signed_by(&key, &pki.authority).unwrap();
    let (_, parsed) = X509Certificate::from_der(template.der()).unwrap();
    let whole = parsed.tbs_certificate.as_ref();
    let public_key = parsed.public_key().raw;
    let end = whole
        .windows(public_key.len())
        .position(|part| part == public_key)
        .unwrap();
    // What follows the header and `[0] { INTEGER 2 }`, up to the extensions.
    let version = [0xa0, 3, 2, 1, 2];
    let start = whole.windows(5).position(|part| part == version).unwrap() + version.len();
    let to_be_signed = der(0x30, &whole[start..end + public_key.len()]);
    let signature = pki.authority.key().sign(&to_be_signed).unwrap();
    let algorithm = der(0x30, &der(6, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]));
    let signature = der(3, &[&[0], signature.as_slice()].concat());
    let certificate = der(0x30, &[to_be_signed, algorithm, signature].concat());
    pki.write(name, &pem("CERTIFICATE", &certificate), &key)
}

/// A DER element (X.690 section 8.1).
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    let header = match content.len() {
        0..=127 => vec![tag, length[1]],
        128..=255 => vec![tag, 0x81, length[1]],
        _ => vec![tag, 0x82, length[0], length[1]],
    };
    [header.as_slice(), content].concat()
}

const KINDS: [&SignatureAlgorithm; 2] = [&PKCS_ECDSA_P256_SHA256, &PKCS_RSA_SHA256];

#[test]
fn such_a_leaf_is_accepted_in_every_mode_and_version() {
    let pki = Pki::new();
    for kind in KINDS {
        let files = issue(&pki, "one", &named("db.example"), kind);
        for verification in [Unverified, Ca, Full] {
            for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
                let backend = BackendTlsOptions {
                    min_version: version,
                    max_version: Some(version),
                    ..pki.backend(verification)
                };
                assert!(connect(&listener(&[&files]), &backend, "db.example").is_ok());
            }
        }
    }
}

#[test]
fn such_a_leaf_is_refused_for_its_name_its_dates_and_its_authority() {
    let (pki, other) = (Pki::new(), Pki::new());
    let reason = |files: &Files, host: &str| {
        let failed = connect(&listener(&[files]), &pki.backend(Full), host).unwrap_err();
        failed.client_labels().0
    };
    let good = issue(&pki, "one", &named("db.example"), &PKCS_ECDSA_P256_SHA256);
    assert_eq!(reason(&good, "x.example"), "name_mismatch");
    let mut params = named("db.example");
    params.not_after = date_time_ymd(2001, 1, 1);
    let expired = issue(&pki, "expired", &params, &PKCS_ECDSA_P256_SHA256);
    assert_eq!(reason(&expired, "db.example"), "certificate_expired");
    let foreign = issue(&other, "one", &named("db.example"), &PKCS_ECDSA_P256_SHA256);
    assert_eq!(reason(&foreign, "db.example"), "unknown_ca");
}

#[test]
fn such_a_leaf_is_accepted_from_a_client() {
    let pki = Pki::new();
    let alice = issue(&pki, "alice", &named("alice"), &PKCS_ECDSA_P256_SHA256);
    let mut options = listener(&[&pki.good()]);
    options.ca_file = Some(pki.ca_file.clone());
    options.client_certificate = ClientCertificate::Require;
    for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
        let backend = BackendTlsOptions {
            cert_file: Some(alice.certificate.clone()),
            key_file: Some(alice.key.clone()),
            min_version: version,
            max_version: Some(version),
            ..pki.backend(Full)
        };
        assert!(connect(&options, &backend, "db.example").is_ok());
    }
}

#[test]
fn a_leaf_that_another_key_signed_in_the_authoritys_name_is_refused() {
    let (pki, impostor) = (Pki::new(), Pki::new());
    let forged = issue(
        &impostor,
        "forged",
        &named("db.example"),
        &PKCS_ECDSA_P256_SHA256,
    );
    let failed = connect(&listener(&[&forged]), &pki.backend(Ca), "db.example").unwrap_err();
    assert_eq!(failed.client_labels(), ("unknown_ca", Some("unknown_ca")));
}

#[test]
fn such_a_leaf_can_be_a_listeners() {
    let pki = Pki::new();
    let files = issue(&pki, "one", &named("db.example"), &PKCS_RSA_SHA256);
    let server = build_server_config(&listener(&[&files])).unwrap();
    assert_eq!(server.leaf_infos[0].subject, "CN=db.example");
}
