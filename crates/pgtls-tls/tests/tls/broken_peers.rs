//! Peers that don't speak TLS, or not well.

use std::sync::Arc;

use pgtls_tls::failure::TlsFailure;
use pgtls_tls::server_config::build_server_config;
use rustls::ServerConnection;

use crate::support::{Pki, listener};

/// What a listener says about a client that begins with `bytes`.
fn failure_for(bytes: &[u8]) -> (&'static str, Option<&'static str>) {
    let pki = Pki::new();
    let server = build_server_config(&listener(&[&pki.good()])).unwrap();
    let mut connection = ServerConnection::new(Arc::clone(&server.config)).unwrap();
    connection.read_tls(&mut &*bytes).unwrap();
    let failure = TlsFailure::from(connection.process_new_packets().unwrap_err());
    let mut sent = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut sent).unwrap();
    }
    // An alert record, in the clear: type 21, version, length 2, level fatal (2), description.
    assert_eq!((sent[0], sent[5]), (21, 2));
    let description = rustls::AlertDescription::from(sent[6]);
    let alert = failure.alert.map(|alert| alert.description);
    assert_eq!(alert, Some(pgtls_tls::alert::alert_name(description)));
    (failure.reason.as_str(), alert)
}

#[test]
fn what_is_no_tls_is_said_so() {
    assert_eq!(
        failure_for(b"GET / HTTP/1.1\r\n\r\n"),
        ("not_tls", Some("decode_error"))
    );
    let ssl_request = [0, 0, 0, 8, 4, 210, 22, 47];
    assert_eq!(failure_for(&ssl_request), ("not_tls", Some("decode_error")));
}

#[test]
fn a_message_out_of_turn_is_misbehaviour() {
    let application_data = [23, 3, 3, 0, 1, 0];
    assert_eq!(failure_for(&application_data).0, "peer_misbehaved");
}

#[test]
fn a_client_hello_that_ends_early_is_misbehaviour() {
    let truncated = [22, 3, 1, 0, 6, 1, 0, 0, 2, 3, 3];
    assert_eq!(
        failure_for(&truncated),
        ("peer_misbehaved", Some("decode_error"))
    );
}
