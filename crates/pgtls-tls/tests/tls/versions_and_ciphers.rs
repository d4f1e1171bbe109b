//! What is negotiated under a policy, and what two policies without anything in common say.

use pgtls_tls::options::{BackendTlsOptions, BackendVerification, ListenerTlsOptions, TlsVersion};
use pgtls_tls::policy::cipher_name;
use rustls::{NamedGroup, ProtocolVersion};

use crate::support::{Established, Pki, connect, listener};

fn only(version: TlsVersion, pki: &Pki) -> BackendTlsOptions {
    BackendTlsOptions {
        min_version: version,
        max_version: Some(version),
        ..pki.backend(BackendVerification::Full)
    }
}

fn listening(pki: &Pki, min: TlsVersion, max: Option<TlsVersion>) -> ListenerTlsOptions {
    ListenerTlsOptions {
        min_version: min,
        max_version: max,
        ..listener(&[&pki.good()])
    }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn cipher(established: &Established) -> &'static str {
    cipher_name(established.client.negotiated_cipher_suite().unwrap())
}

fn group(established: &Established) -> NamedGroup {
    established
        .client
        .negotiated_key_exchange_group()
        .unwrap()
        .name()
}

#[test]
fn the_newest_version_and_group_are_taken_by_default() {
    let pki = Pki::new();
    let backend = pki.backend(BackendVerification::Full);
    let established = connect(&listener(&[&pki.good()]), &backend, "db.example").unwrap();
    assert_eq!(
        established.server.protocol_version(),
        Some(ProtocolVersion::TLSv1_3)
    );
    assert_eq!(group(&established), NamedGroup::X25519MLKEM768);
}

#[test]
fn a_client_of_tls12_alone_is_refused_by_a_listener_of_tls13_alone() {
    let pki = Pki::new();
    let listener = listening(&pki, TlsVersion::Tls13, None);
    let failed = connect(&listener, &only(TlsVersion::Tls12, &pki), "db.example").unwrap_err();
    assert_eq!(
        failed.server_labels(),
        ("no_shared_version", Some("protocol_version"))
    );
    assert_eq!(
        failed.client_labels(),
        ("peer_alert", Some("protocol_version"))
    );
}

#[test]
fn a_client_of_tls13_alone_is_refused_by_a_listener_of_tls12_alone() {
    let pki = Pki::new();
    let listener = listening(&pki, TlsVersion::Tls12, Some(TlsVersion::Tls12));
    let failed = connect(&listener, &only(TlsVersion::Tls13, &pki), "db.example").unwrap_err();
    assert_eq!(
        failed.server_labels(),
        ("no_shared_version", Some("protocol_version"))
    );
}

#[test]
fn a_bound_on_versions_is_kept() {
    let pki = Pki::new();
    let listener = listening(&pki, TlsVersion::Tls12, Some(TlsVersion::Tls12));
    let backend = pki.backend(BackendVerification::Full);
    let established = connect(&listener, &backend, "db.example").unwrap();
    assert_eq!(
        established.server.protocol_version(),
        Some(ProtocolVersion::TLSv1_2)
    );
}

#[test]
fn the_listeners_order_of_ciphers_decides() {
    let pki = Pki::new();
    let mut options = listening(&pki, TlsVersion::Tls12, None);
    let backend = pki.backend(BackendVerification::Full);
    for name in ["TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"] {
        options.ciphers = names(&[
            name,
            "TLS_AES_256_GCM_SHA384",
            "ECDHE-ECDSA-AES128-GCM-SHA256",
        ]);
        assert_eq!(
            cipher(&connect(&options, &backend, "db.example").unwrap()),
            name
        );
    }
    let tls12 = only(TlsVersion::Tls12, &pki);
    assert_eq!(
        cipher(&connect(&options, &tls12, "db.example").unwrap()),
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"
    );
}

#[test]
fn only_the_configured_groups_are_taken() {
    let pki = Pki::new();
    let backend = pki.backend(BackendVerification::Full);
    for (name, expected) in [
        ("X25519", NamedGroup::X25519),
        ("prime256v1", NamedGroup::secp256r1),
        ("P-384", NamedGroup::secp384r1),
    ] {
        let options = ListenerTlsOptions {
            groups: names(&[name]),
            ..listener(&[&pki.good()])
        };
        assert_eq!(
            group(&connect(&options, &backend, "db.example").unwrap()),
            expected
        );
    }
}
