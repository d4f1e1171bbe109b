//! Loading chains and keys, and choosing among several identities.

use std::fs;
use std::sync::Arc;

use pgtls_tls::options::{BackendTlsOptions, BackendVerification, TlsVersion};
use pgtls_tls::server_config::build_server_config;
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConnection, ServerConnection, SignatureScheme};

use crate::support::{Files, Pki, connect, drive, leaf_params, listener, pem};

/// The DER of the leaf that a client which understands only `schemes` is shown.
fn leaf_shown_to(files: &[&Files], schemes: Option<&[SignatureScheme]>) -> Vec<u8> {
    let server = build_server_config(&listener(files)).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Arc::new(OnlySchemes {
        schemes: schemes.map_or_else(
            || {
                provider
                    .signature_verification_algorithms
                    .supported_schemes()
            },
            <[_]>::to_vec,
        ),
        provider: Arc::clone(&provider),
    });
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    let client = ClientConnection::new(Arc::new(client), "db.example".try_into().unwrap()).unwrap();
    let server = ServerConnection::new(server.config).unwrap();
    let established = drive(client, server).unwrap();
    established.client.peer_certificates().unwrap()[0].to_vec()
}

/// Accepts every certificate, but signatures of some schemes only.
#[derive(Debug)]
struct OnlySchemes {
    schemes: Vec<SignatureScheme>,
    provider: Arc<rustls::crypto::CryptoProvider>,
}

mod only_schemes {
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{DigitallySignedStruct, Error, SignatureScheme};

    impl ServerCertVerifier for super::OnlySchemes {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            leaf: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            let algorithms = &self.provider.signature_verification_algorithms;
            verify_tls12_signature(message, leaf, signed, algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            leaf: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            let algorithms = &self.provider.signature_verification_algorithms;
            verify_tls13_signature(message, leaf, signed, algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.schemes.clone()
        }
    }
}

fn der(files: &Files) -> Vec<u8> {
    use rustls::pki_types::pem::PemObject as _;
    rustls::pki_types::CertificateDer::from_pem_file(&files.certificate)
        .unwrap()
        .to_vec()
}

#[test]
fn every_kind_of_key_serves_both_versions_where_it_can() {
    let pki = Pki::new();
    let kinds = [
        &PKCS_ECDSA_P256_SHA256,
        &PKCS_ECDSA_P384_SHA384,
        &PKCS_ED25519,
        &PKCS_RSA_SHA256,
    ];
    for (index, kind) in kinds.into_iter().enumerate() {
        let files = pki.issue_with(
            &format!("kind-{index}"),
            &leaf_params(&["db.example"]),
            kind,
        );
        for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
            let backend = BackendTlsOptions {
                min_version: version,
                max_version: Some(version),
                ..pki.backend(BackendVerification::Full)
            };
            assert!(
                connect(&listener(&[&files]), &backend, "db.example").is_ok(),
                "{index}"
            );
        }
    }
}

#[test]
fn rsa_and_ecdsa_side_by_side_serve_clients_of_either() {
    let pki = Pki::new();
    let params = leaf_params(&["db.example"]);
    let ecdsa = pki.issue_with("ecdsa", &params, &PKCS_ECDSA_P256_SHA256);
    let rsa = pki.issue_with("rsa", &params, &PKCS_RSA_SHA256);
    for files in [[&ecdsa, &rsa], [&rsa, &ecdsa]] {
        let only_rsa = [SignatureScheme::RSA_PSS_SHA256];
        let only_ecdsa = [SignatureScheme::ECDSA_NISTP256_SHA256];
        assert_eq!(leaf_shown_to(&files, Some(&only_rsa)), der(&rsa));
        assert_eq!(leaf_shown_to(&files, Some(&only_ecdsa)), der(&ecdsa));
        assert_eq!(
            leaf_shown_to(&files, None),
            der(files[0]),
            "the first configured is preferred"
        );
    }
}

#[test]
fn the_leaves_are_told_in_the_order_configured() {
    let pki = Pki::new();
    let (a, b) = (pki.good(), pki.issue("b", &leaf_params(&["b.example"])));
    let server = build_server_config(&listener(&[&a, &b])).unwrap();
    assert_eq!(server.leaves[0].to_vec(), der(&a));
    assert_eq!(server.leaf_infos[1].sans, ["b.example"]);
    assert_eq!(server.leaf_infos[0].issuer, "CN=Test CA");
}

#[test]
fn keys_are_read_in_every_pem_form() {
    let pki = Pki::new();
    for (kind, label) in [
        (&PKCS_ECDSA_P256_SHA256, "EC PRIVATE KEY"),
        (&PKCS_RSA_SHA256, "RSA PRIVATE KEY"),
    ] {
        let key = KeyPair::generate_for(kind).unwrap();
        let mut files = pki.issue_with_key("older", &leaf_params(&["db.example"]), &key);
        assert!(build_server_config(&listener(&[&files])).is_ok(), "PKCS#8");
        files.key = pki.directory.write("older.key", &older_pem(&key, label));
        assert!(build_server_config(&listener(&[&files])).is_ok(), "{label}");
    }
}

#[test]
fn one_file_may_hold_both_chain_and_key() {
    let pki = Pki::new();
    let files = pki.good();
    let text = [&files.key, &files.certificate].map(|path| fs::read_to_string(path).unwrap());
    let both = pki.directory.write("both.pem", &text.concat());
    let files = Files {
        certificate: both.clone(),
        key: both,
    };
    assert!(build_server_config(&listener(&[&files])).is_ok());
}

/// SEC1 and PKCS#1 structures lie in the OCTET STRING of a PKCS#8 key (RFC 5958, RFC 5915, RFC 8017).
fn older_pem(key: &KeyPair, label: &str) -> String {
    let pkcs8 = key.serialize_der();
    let (_, structure) = x509_parser::der_parser::parse_der(&pkcs8).unwrap();
    let inner = structure.as_sequence().unwrap()[2].as_slice().unwrap();
    pem(label, inner)
}
