//! Application protocols (RFC 7301): `postgresql` on both legs.

use pgtls_tls::options::{BackendVerification, ListenerTlsOptions};

use crate::support::{Pki, connect, listener};

fn accepting(pki: &Pki, alpn: &[&str]) -> ListenerTlsOptions {
    let alpn = alpn.iter().map(|&name| name.to_owned()).collect();
    ListenerTlsOptions {
        alpn,
        ..listener(&[&pki.good()])
    }
}

#[test]
fn postgresql_is_agreed_upon() {
    let pki = Pki::new();
    let backend = pki.backend(BackendVerification::Full);
    let listener = accepting(&pki, &["other", "postgresql"]);
    let established = connect(&listener, &backend, "db.example").unwrap();
    assert_eq!(established.server.alpn_protocol(), Some(&b"postgresql"[..]));
    assert_eq!(established.client.alpn_protocol(), Some(&b"postgresql"[..]));
}

#[test]
fn a_client_with_other_protocols_is_refused() {
    let pki = Pki::new();
    let backend = pki.backend(BackendVerification::Full);
    let failed = connect(&accepting(&pki, &["h2"]), &backend, "db.example").unwrap_err();
    assert_eq!(
        failed.server_labels(),
        ("no_application_protocol", Some("no_application_protocol"))
    );
    assert_eq!(
        failed.client_labels(),
        ("peer_alert", Some("no_application_protocol"))
    );
}

#[test]
fn a_listener_without_protocols_takes_any_client() {
    let pki = Pki::new();
    let backend = pki.backend(BackendVerification::Full);
    let established = connect(&accepting(&pki, &[]), &backend, "db.example").unwrap();
    assert_eq!(established.server.alpn_protocol(), None);
}
