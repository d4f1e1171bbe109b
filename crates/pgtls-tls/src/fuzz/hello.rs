//! ClientHellos: the reader that a hook decides by, beside the connection that answers.

use std::sync::Arc;

use pgtls_testkit::fuzz::{Fuzz, Random};
use pgtls_testkit::{CertificateSpec, StepwiseTls, TestCa, TlsClient};
use rustls::server::UnbufferedServerConnection;

use super::conversation::{HELLO_WORDS, Received, plain_alert, reason_of, receive};
use super::peers::Stage;
use crate::client_hello::take_answered_hello;
use crate::client_hello_reader::{ClientHelloProgress, ClientHelloReader};
use crate::failure::TlsFailureReason;
use crate::options::NoServerName;
use crate::session::SharedSession;

fn hellos() -> Vec<Vec<u8>> {
    let ca = TestCa::new("Hello CA");
    let client = || TlsClient::trusting(&ca);
    let identity = ca.issue(&CertificateSpec::client("alice"));
    let mut hellos: Vec<_> = [
        client(),
        client().tls_1_2_only(),
        client().tls_1_3_only(),
        client().without_sni(),
        client().with_alpn(&["h2", "postgresql"]),
        client().with_alpn(&[]),
        client().with_server_name("other.example"),
        client().with_identity(identity),
    ]
    .iter()
    .map(|client| StepwiseTls::new(client).outgoing())
    .collect();
    // The same hello in two records.
    let (header, body) = hellos[0].split_at(5);
    let (first, second) = body.split_at(100);
    let record = |part: &[u8]| {
        [
            &header[..3],
            &u16::try_from(part.len()).unwrap().to_be_bytes(),
            part,
        ]
        .concat()
    };
    hellos.push([record(first), record(second)].concat());
    hellos
}

/// Gives `input` to a reader in pieces of a size that `random` chooses.
fn read(stage: &Stage, input: &[u8], mut random: Option<Random>) -> (ClientHelloProgress, usize) {
    let mut reader = ClientHelloReader::of(&stage.listener);
    let mut pushed = 0;
    loop {
        let rest = &input[pushed..];
        let size = random
            .as_mut()
            .map_or(rest.len(), |random| 1 + random.below(90));
        let piece = &rest[..size.min(rest.len())];
        let progress = reader.push(piece);
        pushed += piece.len();
        if progress != ClientHelloProgress::Incomplete || pushed == input.len() {
            assert_eq!(
                reader.into_received(),
                &input[..pushed],
                "the connection gets every byte"
            );
            return (progress, pushed);
        }
    }
}

#[test]
fn a_client_hello_is_read_the_same_in_pieces_and_as_the_connection_reads_it() {
    let stage = Stage::new(|listener| listener.no_server_name = NoServerName::Refuse);
    Fuzz::new("client-hello", 25_000)
        .from(hellos())
        .with_words(HELLO_WORDS)
        .run(|input| {
            let (whole, _) = read(&stage, input, None);
            let seed = u64::try_from(input.len()).unwrap();
            let (in_pieces, _) = read(&stage, input, Some(Random::new(seed)));
            // Behind a whole hello there may be anything, which a reader of pieces doesn't see.
            let is_early = matches!(in_pieces, ClientHelloProgress::Complete(_));
            assert!(is_early || in_pieces == whole, "{in_pieces:?} {whole:?}");
            if let (ClientHelloProgress::Complete(cut), ClientHelloProgress::Complete(whole)) =
                (&in_pieces, &whole)
            {
                assert_eq!(cut, whole);
            }
            let reason = answer(&stage, input, &whole);
            (std::mem::discriminant(&whole), reason)
        });
}

/// What nobody could be asked about is answered as for nobody.
fn assert_refused(stage: &Stage, input: &[u8]) {
    let config = stage.listener.refusing().config;
    let connection = UnbufferedServerConnection::new(config).unwrap();
    let session = SharedSession::new(connection, Vec::new());
    let Received { outgoing, .. } = receive(&session, input);
    assert!(
        outgoing.is_empty() || plain_alert(&outgoing).is_some(),
        "{outgoing:02x?}"
    );
    let hello = take_answered_hello();
    assert!(hello.is_none_or(|hello| hello.identity.is_none()));
    assert!(session.lock().unwrap().is_handshaking());
}

/// What the connection itself makes of it, and that it agrees with the reader.
fn answer(stage: &Stage, input: &[u8], read: &ClientHelloProgress) -> Option<TlsFailureReason> {
    let connection = UnbufferedServerConnection::new(Arc::clone(&stage.listener.config)).unwrap();
    let session = SharedSession::new(connection, Vec::new());
    let Received {
        plaintext,
        outgoing,
        error,
    } = receive(&session, input);
    assert!(plaintext.is_empty(), "nobody has the keys yet");
    assert!(outgoing.len() < 16 * 1024);
    let hello = take_answered_hello();
    match read {
        ClientHelloProgress::Complete(info) => {
            if let Some(hello) = hello {
                assert_eq!(hello.server_name, info.server_name);
            }
        }
        ClientHelloProgress::Incomplete => assert!(hello.is_none() && error.is_none()),
        // The connection may take what the reader doesn't, such as a warning in front.
        ClientHelloProgress::Invalid => assert_refused(stage, input),
    }
    error.map(|error| reason_of(&error, &outgoing, None))
}
