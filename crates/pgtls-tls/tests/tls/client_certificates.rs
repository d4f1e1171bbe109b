//! What a listener makes of the certificates its clients show, or don't.

use pgtls_tls::options::{
    BackendTlsOptions, BackendVerification, ClientCertificate, ListenerTlsOptions, TlsVersion,
};
use rcgen::date_time_ymd;

use crate::support::{Files, Pki, connect, leaf_params, listener, named};

const VERSIONS: [TlsVersion; 2] = [TlsVersion::Tls12, TlsVersion::Tls13];

fn asking(pki: &Pki, client_certificate: ClientCertificate) -> ListenerTlsOptions {
    ListenerTlsOptions {
        client_certificate,
        ca_file: Some(pki.ca_file.clone()),
        ..listener(&[&pki.good()])
    }
}

fn showing(pki: &Pki, files: Option<&Files>, version: TlsVersion) -> BackendTlsOptions {
    BackendTlsOptions {
        cert_file: files.map(|files| files.certificate.clone()),
        key_file: files.map(|files| files.key.clone()),
        min_version: version,
        max_version: Some(version),
        ..pki.backend(BackendVerification::Full)
    }
}

fn refusal(
    pki: &Pki,
    client_certificate: ClientCertificate,
    shown: Option<&Files>,
    version: TlsVersion,
) -> (&'static str, Option<&'static str>) {
    let listener = asking(pki, client_certificate);
    connect(&listener, &showing(pki, shown, version), "db.example")
        .unwrap_err()
        .server_labels()
}

/// How many certificates the server saw.
fn seen(
    pki: &Pki,
    client_certificate: ClientCertificate,
    shown: Option<&Files>,
    version: TlsVersion,
) -> Option<usize> {
    let listener = asking(pki, client_certificate);
    let established = connect(&listener, &showing(pki, shown, version), "db.example").unwrap();
    established.server.peer_certificates().map(<[_]>::len)
}

#[test]
fn a_demanded_certificate_that_is_missing_ends_the_handshake() {
    let pki = Pki::new();
    for version in VERSIONS {
        assert_eq!(
            refusal(&pki, ClientCertificate::Require, None, version),
            ("certificate_required", Some("certificate_required"))
        );
    }
}

#[test]
fn a_demanded_certificate_that_is_good_is_seen() {
    let pki = Pki::new();
    let alice = pki.issue("alice", &named("alice"));
    for version in VERSIONS {
        assert_eq!(
            seen(&pki, ClientCertificate::Require, Some(&alice), version),
            Some(1)
        );
    }
}

#[test]
fn a_requested_certificate_may_be_missing() {
    let pki = Pki::new();
    let alice = pki.issue("alice", &named("alice"));
    for version in VERSIONS {
        assert_eq!(seen(&pki, ClientCertificate::Request, None, version), None);
        assert_eq!(
            seen(&pki, ClientCertificate::Request, Some(&alice), version),
            Some(1)
        );
    }
}

#[test]
fn a_requested_certificate_that_is_shown_must_be_good() {
    let (pki, other) = (Pki::new(), Pki::new());
    let mallory = other.issue("mallory", &named("mallory"));
    let stranger = pki.self_signed("stranger", &named("stranger"));
    for version in VERSIONS {
        for client_certificate in [ClientCertificate::Request, ClientCertificate::Require] {
            // Named like the trusted authority, but signed by another key.
            assert_eq!(
                refusal(&pki, client_certificate, Some(&mallory), version),
                ("unknown_ca", Some("unknown_ca"))
            );
            assert_eq!(
                refusal(&pki, client_certificate, Some(&stranger), version),
                ("unknown_ca", Some("unknown_ca"))
            );
        }
    }
}

#[test]
fn a_certificate_is_not_asked_for_unless_configured() {
    let pki = Pki::new();
    let alice = pki.issue("alice", &named("alice"));
    for version in VERSIONS {
        assert_eq!(
            seen(&pki, ClientCertificate::None, Some(&alice), version),
            None
        );
    }
}

#[test]
fn an_expired_client_certificate_is_refused() {
    let pki = Pki::new();
    let mut params = named("alice");
    params.not_after = date_time_ymd(2001, 1, 1);
    let alice = pki.issue("alice", &params);
    assert_eq!(
        refusal(
            &pki,
            ClientCertificate::Request,
            Some(&alice),
            TlsVersion::Tls13
        ),
        ("certificate_expired", Some("certificate_expired"))
    );
}

#[test]
fn a_certificate_for_servers_only_is_refused_from_a_client() {
    let pki = Pki::new();
    let mut params = leaf_params(&["db.example"]);
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let server_only = pki.issue("server-only", &params);
    assert_eq!(
        refusal(
            &pki,
            ClientCertificate::Require,
            Some(&server_only),
            TlsVersion::Tls13
        ),
        ("wrong_purpose", Some("unsupported_certificate"))
    );
}

#[test]
fn a_self_signed_client_certificate_is_accepted_when_it_is_the_authority_file() {
    let pki = Pki::new();
    let alice = pki.self_signed("alice", &named("alice"));
    let mut listener = asking(&pki, ClientCertificate::Require);
    listener.ca_file = Some(alice.certificate.clone());
    let backend = showing(&pki, Some(&alice), TlsVersion::Tls13);
    assert!(connect(&listener, &backend, "db.example").is_ok());
}
