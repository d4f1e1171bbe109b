//! A program that embeds the crate chooses the protocol of each connection, however its ClientHello comes.

use std::sync::{Arc, Mutex};

use pgtls_tls::alpn_chooser::AlpnChooser;
use pgtls_tls::buffer::Buffer;
use pgtls_tls::client_config::{BackendHost, ClientTls, build_client_config};
use pgtls_tls::client_facing::ClientFacing;
use pgtls_tls::client_hello_reader::ClientHelloInfo;
use pgtls_tls::ops::{TlsConnectionOps as _, Write};
use pgtls_tls::options::{BackendTlsOptions, BackendVerification, ListenerTlsOptions, TlsVersion};
use pgtls_tls::server_config::{ServerTls, build_server_config};
use rustls::ClientConnection;
use rustls::HandshakeKind::{Full, Resumed};

use crate::resumption_support::{VERSIONS, resuming};
use crate::support::Pki;
use crate::unbuffered::{Ends, converse};

/// Chooses by server name, and remembers what it was asked.
#[derive(Debug, Default)]
struct ByName(Mutex<Vec<(ClientHelloInfo, Vec<String>)>>);

impl AlpnChooser for ByName {
    fn choose<'a>(&self, hello: &ClientHelloInfo, candidates: &[&'a str]) -> Option<&'a str> {
        let names = candidates.iter().map(|&name| name.to_owned()).collect();
        self.0.lock().unwrap().push((hello.clone(), names));
        match hello.server_name.as_deref() {
            Some("first.example") => candidates.first().copied(),
            Some("last.example") => candidates.last().copied(),
            Some("wrong.example") => Some("no candidate"),
            _ => None,
        }
    }
}

struct Setting {
    pki: Pki,
    chooser: Arc<ByName>,
    server: ServerTls,
}

impl Setting {
    fn new(alpn: &[&str]) -> Self {
        let (pki, chooser) = (Pki::new(), Arc::<ByName>::default());
        let names = [
            "first.example",
            "last.example",
            "wrong.example",
            "no.example",
        ];
        let files = pki.issue("all", &crate::support::leaf_params(&names));
        let options = ListenerTlsOptions {
            alpn: alpn.iter().map(|&name| name.to_owned()).collect(),
            alpn_chooser: Some(Arc::<ByName>::clone(&chooser)),
            ..resuming(&[&files])
        };
        let server = build_server_config(&options).unwrap();
        Self {
            pki,
            chooser,
            server,
        }
    }

    fn client(&self, version: TlsVersion, alpn: &[&str]) -> ClientTls {
        let mut client = build_client_config(&BackendTlsOptions {
            min_version: version,
            max_version: Some(version),
            ..self.pki.backend(BackendVerification::Full)
        })
        .unwrap();
        let config = Arc::make_mut(&mut client.config);
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        client
    }

    /// Shakes hands, the client's bytes arriving `piece` at a time.
    fn connect(&self, client: &ClientTls, host: &str, piece: usize) -> Ends {
        let name = client.server_name(BackendHost::Tcp(host)).unwrap();
        converse(&self.server, client, name, piece)
    }
}

fn agreed(ends: &Ends) -> Option<&str> {
    assert_eq!(ends.error, None);
    let protocol = ends.client.alpn_protocol();
    protocol.map(|name| std::str::from_utf8(name).unwrap())
}

#[test]
fn the_chosen_protocol_is_agreed_on_however_the_hello_is_cut() {
    let setting = Setting::new(&["postgresql", "pgtls-a", "pgtls-b"]);
    for version in VERSIONS {
        let client = setting.client(version, &["pgtls-b", "other", "pgtls-a"]);
        for piece in [usize::MAX, 1, 100] {
            let ends = setting.connect(&client, "first.example", piece);
            assert_eq!(agreed(&ends), Some("pgtls-a"), "{version}");
            let ends = setting.connect(&client, "last.example", piece);
            assert_eq!(agreed(&ends), Some("pgtls-b"), "{version}");
        }
        let asked = std::mem::take(&mut *setting.chooser.0.lock().unwrap());
        assert_eq!(asked.len(), 6, "once per connection");
        let (hello, candidates) = &asked[0];
        assert_eq!(hello.server_name.as_deref(), Some("first.example"));
        assert_eq!(hello.alpn, ["pgtls-b", "other", "pgtls-a"]);
        assert_eq!(candidates, &["pgtls-a", "pgtls-b"]);
    }
}

#[test]
fn a_client_without_a_choice_or_with_none_of_the_candidates_is_refused() {
    let setting = Setting::new(&["postgresql", "pgtls-a"]);
    for version in VERSIONS {
        let client = setting.client(version, &["postgresql"]);
        for host in ["no.example", "wrong.example"] {
            let ends = setting.connect(&client, host, usize::MAX);
            assert_eq!(ends.error, Some(rustls::Error::NoApplicationProtocol));
            assert_eq!(ends.alert.as_deref(), Some("no_application_protocol"));
        }
    }
}

#[test]
fn where_there_is_nothing_to_choose_nobody_is_asked() {
    let setting = Setting::new(&["postgresql"]);
    for version in VERSIONS {
        let ends = setting.connect(&setting.client(version, &[]), "no.example", usize::MAX);
        assert_eq!(agreed(&ends), None);
        let other = setting.client(version, &["other"]);
        let ends = setting.connect(&other, "first.example", usize::MAX);
        assert_eq!(ends.error, Some(rustls::Error::NoApplicationProtocol));
    }
    assert!(setting.chooser.0.lock().unwrap().is_empty());
}

#[test]
fn a_resumed_session_has_the_protocol_chosen_for_its_connection() {
    let setting = Setting::new(&["pgtls-a", "pgtls-b"]);
    for version in VERSIONS {
        let client = setting.client(version, &["pgtls-a", "pgtls-b"]);
        for expected in [Full, Resumed] {
            let ends = setting.connect(&client, "last.example", usize::MAX);
            assert_eq!(ends.client.handshake_kind(), Some(expected));
            assert_eq!(agreed(&ends), Some("pgtls-b"));
        }
    }
    assert_eq!(setting.chooser.0.lock().unwrap().len(), 4);
}

#[test]
fn what_is_no_client_hello_fails_as_without_a_chooser() {
    let setting = Setting::new(&["pgtls-a"]);
    let (error, alert) = crate::unbuffered::answer_to(&setting.server, b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(alert.as_deref(), Some("decode_error"));
    assert!(matches!(error, rustls::Error::InvalidMessage(_)), "{error}");
}

/// What of a ClientHello is not shown to the chooser, for it is spread over more bytes than are looked at, is not accepted either.
#[test]
fn nobody_gets_past_the_chooser_by_the_length_of_a_client_hello() {
    let setting = Setting::new(&["postgresql"]);
    let filler = |number: usize| format!("{number:0>250}");
    let fillers: Vec<String> = (0..60).map(filler).collect();
    let mut offered = vec!["postgresql"];
    offered.extend(fillers.iter().map(String::as_str));
    let client = setting.client(TlsVersion::Tls13, &offered);
    for record_bytes in [1, 7, 100] {
        let hello = in_records_of(record_bytes, &client_hello(&client, "no.example"));
        let mut server = ClientFacing::of(&setting.server).unwrap();
        let (mut plaintext, mut outgoing) = (Buffer::default(), Buffer::default());
        let mut incoming = hello.clone();
        let driven = server.drive(&mut incoming, Write::Nothing, &mut plaintext, &mut outgoing);
        assert!(driven.is_err(), "{} bytes on the wire", hello.len());
    }
}

fn client_hello(client: &ClientTls, host: &str) -> Vec<u8> {
    let name = client.server_name(BackendHost::Tcp(host)).unwrap();
    let mut connection = ClientConnection::new(client.dialling_config(), name).unwrap();
    let mut hello = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut hello).unwrap();
    }
    hello
}

/// The same handshake messages in records of so many bytes.
fn in_records_of(record_bytes: usize, records: &[u8]) -> Vec<u8> {
    let (mut payload, mut rest) = (Vec::new(), records);
    while let Some((header, behind)) = rest.split_at_checked(5) {
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        payload.extend_from_slice(&behind[..length]);
        rest = &behind[length..];
    }
    let mut cut = Vec::new();
    for part in payload.chunks(record_bytes) {
        cut.extend([22, 3, 1]);
        cut.extend(u16::try_from(part.len()).unwrap().to_be_bytes());
        cut.extend(part);
    }
    cut
}
