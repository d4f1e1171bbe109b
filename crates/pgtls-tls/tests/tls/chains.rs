//! Chains are sent whole, with every kind of key, and compressed where the client asks for it.

use std::sync::Arc;

use pgtls_testkit::{CertificateSpec, KeyKind, TlsClient};
use pgtls_tls::options::ListenerTlsOptions;
use pgtls_tls::server_config::build_server_config;
use rustls::{ClientConnection, ServerConnection};

use crate::observer::{Shelf, listener_of, shown_in};

#[test]
fn a_chain_is_sent_whole_with_every_kind_of_key() {
    let shelf = Shelf::new();
    let issuing = shelf.ca.intermediate("upper").intermediate("lower");
    for key in [
        KeyKind::Ed25519,
        KeyKind::EcdsaP256,
        KeyKind::EcdsaP384,
        KeyKind::Rsa2048,
        KeyKind::Rsa4096,
    ] {
        let spec = CertificateSpec::server(&["a.example"]).with_key(key);
        let stored = shelf.issue_from(&issuing, "leaf", &spec);
        let chain = stored.issued.chain();
        assert_eq!(chain.len(), 3);
        for version in rustls::ALL_VERSIONS {
            let shown = shown_in(&listener_of(&[&stored]), "a.example", version).unwrap();
            assert_eq!(shown.chain, chain, "{key:?} {version:?}");
        }
    }
}

/// How many bytes the server sends until the client, which verifies, is satisfied.
fn flight_bytes(shelf: &Shelf, options: &ListenerTlsOptions, asks_for_compression: bool) -> usize {
    let mut client = TlsClient::trusting(&shelf.ca).tls_1_3_only().config();
    if !asks_for_compression {
        client.cert_decompressors = Vec::new();
    }
    let mut client =
        ClientConnection::new(Arc::new(client), "a.example".try_into().unwrap()).unwrap();
    let mut server = ServerConnection::new(build_server_config(options).unwrap().config).unwrap();
    let (mut hello, mut flight) = (Vec::new(), Vec::new());
    client.write_tls(&mut hello).unwrap();
    server.read_tls(&mut hello.as_slice()).unwrap();
    server.process_new_packets().unwrap();
    while server.wants_write() {
        server.write_tls(&mut flight).unwrap();
    }
    let mut rest = flight.as_slice();
    while !rest.is_empty() {
        client.read_tls(&mut rest).unwrap();
        client.process_new_packets().unwrap();
    }
    assert!(!client.is_handshaking());
    flight.len()
}

#[test]
fn a_chain_is_compressed_for_a_client_that_asks_and_for_no_other() {
    let shelf = Shelf::new();
    let issuing = shelf.ca.intermediate("an issuing authority");
    let spec = CertificateSpec::server(&["a.example", "b.a.example", "c.a.example"]);
    let stored = shelf.issue_from(&issuing, "leaf", &spec);
    let options = listener_of(&[&stored]);
    let plain = flight_bytes(&shelf, &options, false);
    let compressed = flight_bytes(&shelf, &options, true);
    assert!(compressed < plain, "{compressed} of {plain} bytes");
}
