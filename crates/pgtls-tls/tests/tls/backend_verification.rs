//! What pgtls, as a client, accepts from a backend: libpq's sslmode require, verify-ca and verify-full.

use std::sync::Arc;

use pgtls_tls::client_config::{BackendHost, build_client_config};
use pgtls_tls::options::BackendVerification::{Ca, Full, None as Unverified};
use pgtls_tls::options::{BackendTlsOptions, BackendVerification, RootCert, TlsVersion};
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair, PKCS_RSA_SHA256, date_time_ymd};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConnection, ServerConfig, ServerConnection};

use crate::support::{
    Files, Pki, authority, authority_params, connect, drive, leaf_params, listener, named,
};

/// Shakes hands with a backend that shows `files`, and says why the client refused.
fn refusal(
    pki: &Pki,
    files: &Files,
    verification: BackendVerification,
    host: &str,
) -> (&'static str, Option<&'static str>) {
    connect(&listener(&[files]), &pki.backend(verification), host)
        .unwrap_err()
        .client_labels()
}

fn accepts(pki: &Pki, files: &Files, verification: BackendVerification, host: &str) -> bool {
    connect(&listener(&[files]), &pki.backend(verification), host).is_ok()
}

fn dated(from: i32, until: i32) -> CertificateParams {
    let mut params = leaf_params(&["db.example"]);
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    params
}

#[test]
fn a_good_certificate_is_accepted_in_every_mode_and_version() {
    let pki = Pki::new();
    let files = pki.good();
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

#[test]
fn a_wrong_name_is_refused_by_verify_full_only() {
    let pki = Pki::new();
    let files = pki.good();
    assert_eq!(
        refusal(&pki, &files, Full, "x.example"),
        ("name_mismatch", Some("bad_certificate"))
    );
    assert!(accepts(&pki, &files, Ca, "x.example"));
    assert!(accepts(&pki, &files, Unverified, "x.example"));
}

#[test]
fn the_message_of_a_wrong_name_says_both_names() {
    let pki = Pki::new();
    let failed = connect(&listener(&[&pki.good()]), &pki.backend(Full), "x.example").unwrap_err();
    let message = failed.client.unwrap().message;
    assert!(
        message.contains("x.example") && message.contains("db.example"),
        "{message}"
    );
}

#[test]
fn the_other_end_learns_of_a_refusal_by_an_alert() {
    let pki = Pki::new();
    let failed = connect(&listener(&[&pki.good()]), &pki.backend(Full), "x.example").unwrap_err();
    assert_eq!(
        failed.server_labels(),
        ("peer_alert", Some("bad_certificate"))
    );
}

#[test]
fn an_expired_certificate_is_refused_where_chains_are_checked() {
    let pki = Pki::new();
    let files = pki.issue("expired", &dated(2000, 2001));
    for verification in [Ca, Full] {
        assert_eq!(
            refusal(&pki, &files, verification, "db.example"),
            ("certificate_expired", Some("certificate_expired"))
        );
    }
    assert!(accepts(&pki, &files, Unverified, "db.example"));
}

#[test]
fn a_certificate_of_the_future_is_refused() {
    let pki = Pki::new();
    let files = pki.issue("future", &dated(4000, 4001));
    assert_eq!(
        refusal(&pki, &files, Full, "db.example"),
        ("certificate_not_yet_valid", Some("certificate_expired"))
    );
}

#[test]
fn a_root_past_its_dates_is_no_root() {
    let mut pki = Pki::new();
    let mut params = authority_params("Old CA");
    params.not_before = date_time_ymd(2000, 1, 1);
    params.not_after = date_time_ymd(2001, 1, 1);
    pki.authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let both = format!("{}{}", authority("Other CA").pem(), pki.authority.pem());
    pki.ca_file = pki.directory.write("roots.crt", &both);
    let files = pki.good();
    assert_eq!(
        refusal(&pki, &files, Ca, "db.example"),
        ("certificate_expired", Some("certificate_expired"))
    );
}

#[test]
fn an_expired_root_beside_a_good_one_does_no_harm() {
    let mut pki = Pki::new();
    let mut params = authority_params("Old CA");
    params.not_after = date_time_ymd(2001, 1, 1);
    let old = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let both = format!("{}{}", old.pem(), pki.authority.pem());
    pki.ca_file = pki.directory.write("roots.crt", &both);
    assert!(accepts(&pki, &pki.good(), Full, "db.example"));
}

#[test]
fn an_unknown_authority_is_refused_where_chains_are_checked() {
    let (pki, other) = (Pki::new(), Pki::new());
    let files = other.good();
    for verification in [Ca, Full] {
        assert_eq!(
            refusal(&pki, &files, verification, "db.example"),
            ("unknown_ca", Some("unknown_ca"))
        );
    }
    assert!(accepts(&pki, &files, Unverified, "db.example"));
}

#[test]
fn an_authority_of_the_same_name_with_a_key_of_another_kind_is_unknown() {
    let (pki, mut impostor) = (Pki::new(), Pki::new());
    let key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
    impostor.authority = CertifiedIssuer::self_signed(authority_params("Test CA"), key).unwrap();
    let files = impostor.good();
    assert_eq!(
        refusal(&pki, &files, Ca, "db.example"),
        ("unknown_ca", Some("unknown_ca"))
    );
}

#[test]
fn an_authority_of_another_name_is_unknown() {
    let (pki, mut other) = (Pki::new(), Pki::new());
    other.authority = authority("Other CA");
    let files = other.good();
    assert_eq!(
        refusal(&pki, &files, Ca, "db.example"),
        ("unknown_ca", Some("unknown_ca"))
    );
}

#[test]
fn an_intermediate_completes_the_chain_and_its_absence_breaks_it() {
    let pki = Pki::new();
    let intermediate = CertifiedIssuer::signed_by(
        authority_params("Intermediate"),
        KeyPair::generate().unwrap(),
        &pki.authority,
    )
    .unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = leaf_params(&["db.example"])
        .signed_by(&key, &intermediate)
        .unwrap();
    let whole = pki.write(
        "whole",
        &format!("{}{}", leaf.pem(), intermediate.pem()),
        &key,
    );
    let broken = pki.write("broken", &leaf.pem(), &key);
    assert!(accepts(&pki, &whole, Full, "db.example"));
    assert_eq!(
        refusal(&pki, &broken, Full, "db.example"),
        ("unknown_ca", Some("unknown_ca"))
    );
}

#[test]
fn a_self_signed_certificate_is_refused_unless_it_is_the_root_itself() {
    let mut pki = Pki::new();
    let mut authority = leaf_params(&["db.example"]);
    authority.is_ca = authority_params("").is_ca;
    for (name, params) in [
        ("plain", leaf_params(&["db.example"])),
        ("authority", authority),
    ] {
        let files = pki.self_signed(name, &params);
        assert_eq!(
            refusal(&pki, &files, Full, "db.example"),
            ("unknown_ca", Some("unknown_ca"))
        );
        let before = std::mem::replace(&mut pki.ca_file, files.certificate.clone());
        assert!(accepts(&pki, &files, Full, "db.example"), "{name}");
        assert!(accepts(&pki, &files, Ca, "x.example"), "{name}");
        assert_eq!(refusal(&pki, &files, Full, "x.example").0, "name_mismatch");
        pki.ca_file = before;
    }
}

#[test]
fn a_trusted_self_signed_certificate_still_needs_its_dates_and_its_purpose() {
    let mut pki = Pki::new();
    let expired = pki.self_signed("expired", &dated(2000, 2001));
    pki.ca_file = expired.certificate.clone();
    assert_eq!(
        refusal(&pki, &expired, Ca, "db.example").0,
        "certificate_expired"
    );
    let future = pki.self_signed("future", &dated(4000, 4001));
    pki.ca_file = future.certificate.clone();
    assert_eq!(
        refusal(&pki, &future, Ca, "db.example").0,
        "certificate_not_yet_valid"
    );
    let mut params = leaf_params(&["db.example"]);
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let for_clients = pki.self_signed("for-clients", &params);
    pki.ca_file = for_clients.certificate.clone();
    assert_eq!(
        refusal(&pki, &for_clients, Ca, "db.example"),
        ("wrong_purpose", Some("unsupported_certificate"))
    );
}

#[test]
fn a_trusted_self_signed_certificate_shown_without_its_key_is_refused() {
    let mut pki = Pki::new();
    let files = pki.self_signed("victim", &leaf_params(&["db.example"]));
    pki.ca_file = files.certificate.clone();
    let other = pki.self_signed("other", &leaf_params(&["db.example"]));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let server = impostor(&files, &other, version);
        for verification in [Unverified, Ca, Full] {
            let client = build_client_config(&pki.backend(verification)).unwrap();
            let host = client.server_name(BackendHost::Tcp("db.example")).unwrap();
            let client = ClientConnection::new(client.config, host).unwrap();
            let server = ServerConnection::new(Arc::clone(&server)).unwrap();
            assert_eq!(
                drive(client, server).unwrap_err().client_labels(),
                ("bad_certificate", Some("decrypt_error"))
            );
        }
    }
}

/// A server that shows one certificate and signs with the key of another.
fn impostor(
    shown: &Files,
    held: &Files,
    version: &'static rustls::SupportedProtocolVersion,
) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain = vec![CertificateDer::from_pem_file(&shown.certificate).unwrap()];
    let key = PrivateKeyDer::from_pem_file(&held.key).unwrap();
    let key = provider.key_provider.load_private_key(key).unwrap();
    let resolver = SingleCertAndKey::from(CertifiedKey::new(chain, key));
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    Arc::new(config)
}

#[test]
fn a_wildcard_stands_for_one_label() {
    let pki = Pki::new();
    let files = pki.issue("wildcard", &leaf_params(&["*.example"]));
    assert!(accepts(&pki, &files, Full, "db.example"));
    assert_eq!(
        refusal(&pki, &files, Full, "a.db.example").0,
        "name_mismatch"
    );
    assert_eq!(refusal(&pki, &files, Full, "example").0, "name_mismatch");
}

#[test]
fn an_address_is_checked_against_addresses() {
    let pki = Pki::new();
    let files = pki.issue("address", &leaf_params(&["10.0.0.1", "::1"]));
    assert!(accepts(&pki, &files, Full, "10.0.0.1"));
    assert!(accepts(&pki, &files, Full, "::1"));
    assert_eq!(refusal(&pki, &files, Full, "10.0.0.2").0, "name_mismatch");
}

#[test]
fn the_common_name_alone_is_accepted_and_noted() {
    let pki = Pki::new();
    let files = pki.issue("cn", &named("db.example"));
    assert_eq!(refusal(&pki, &files, Full, "x.example").0, "name_mismatch");
    let established = connect(&listener(&[&files]), &pki.backend(Full), "db.example").unwrap();
    let leaf = established.client.peer_certificates().unwrap()[0].clone();
    let host = "db.example".try_into().unwrap();
    let full = build_client_config(&pki.backend(Full)).unwrap();
    assert!(full.used_common_name(&leaf, &host));
    let authority_only = build_client_config(&pki.backend(Ca)).unwrap();
    assert!(!authority_only.used_common_name(&leaf, &host));
}

#[test]
fn the_server_name_is_sent_when_wanted_and_never_for_an_address() {
    let pki = Pki::new();
    let files = pki.issue("both", &leaf_params(&["db.example", "10.0.0.1"]));
    let silent = BackendTlsOptions {
        send_server_name: false,
        ..pki.backend(Full)
    };
    let sni = |backend: &BackendTlsOptions, host: &str| {
        let established = connect(&listener(&[&files]), backend, host).unwrap();
        established.server.server_name().map(str::to_owned)
    };
    assert_eq!(
        sni(&pki.backend(Full), "db.example"),
        Some("db.example".to_owned())
    );
    assert_eq!(sni(&silent, "db.example"), None);
    assert_eq!(sni(&pki.backend(Full), "10.0.0.1"), None);
}

#[test]
fn the_roots_of_the_system_can_be_taken_or_their_absence_is_said() {
    let options = BackendTlsOptions {
        verification: Full,
        root_cert: Some(RootCert::System),
        ..BackendTlsOptions::default()
    };
    if let Err(problem) = build_client_config(&options) {
        assert!(
            problem.to_string().contains("install ca-certificates"),
            "{problem}"
        );
    }
}

#[test]
fn nothing_is_resumed() {
    let pki = Pki::new();
    let server = pgtls_tls::server_config::build_server_config(&listener(&[&pki.good()])).unwrap();
    let client = build_client_config(&pki.backend(Full)).unwrap();
    for _ in 0..2 {
        let mut established = crate::support::handshake(&server, &client, "db.example").unwrap();
        assert_eq!(
            established.client.handshake_kind(),
            Some(rustls::HandshakeKind::Full)
        );
        assert_eq!(established.client.tls13_tickets_received(), 0);
        assert!(established.server.early_data().is_none());
    }
}
