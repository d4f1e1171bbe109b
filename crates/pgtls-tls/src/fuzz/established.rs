//! Established sessions whose peer changes records, on the wire or before it encrypts them. The input is a list of edits.

use std::io::Write as _;
use std::rc::Rc;

use pgtls_testkit::fuzz::{EDIT_BYTES, Edit, Fuzz, Sent, with_tampering};
use rustls::{Connection, ContentType, Error};

use super::conversation::{
    HELLO_WORDS, assert_over, begin, give, kind_of, reason_of, receive, take, write,
};
use super::handshake::{Tampering, scripts};
use super::peers::Stage;
use crate::ops::TlsConnectionOps;
use crate::session::SharedSession;

const MAX_EDITS: usize = 6;
const INSIDE: u8 = 0x80;
/// A record more than what is read, for KeyUpdates and alerts.
const MAX_ANSWER_BYTES: usize = 2 * 1024;

fn establish<C: TlsConnectionOps>(ours: &SharedSession<C>, peer: &mut Connection) {
    let hello = begin(ours);
    assert_eq!(give(peer, &hello).1, None);
    loop {
        let flight = take(peer);
        if flight.is_empty() {
            break;
        }
        let received = receive(ours, &flight);
        assert_eq!(received.error, None);
        assert_eq!(give(peer, &received.outgoing).1, None);
    }
    assert!(!ours.lock().unwrap().is_handshaking() && !peer.is_handshaking());
}

/// What the peer says: small and large writes, a change of keys, and its end.
fn speak(peer: &mut Connection) -> Vec<u8> {
    let mut wire = Vec::new();
    let mut say = |peer: &mut Connection, byte: u8, count: usize| {
        peer.writer().write_all(&vec![byte; count]).unwrap();
        wire.extend(take(peer));
    };
    say(peer, b'a', 50);
    say(peer, b'b', 1);
    let _ = peer.refresh_traffic_keys();
    say(peer, b'c', 700);
    say(peer, b'd', 20_000);
    say(peer, b'e', 30);
    peer.send_close_notify();
    wire.extend(take(peer));
    wire
}

/// The data that was encrypted up to the peer's close_notify.
fn data_of(sent: &[Sent]) -> Vec<u8> {
    let is_end = |record: &&Sent| {
        record.content_type == ContentType::Alert && record.payload.get(1) == Some(&0)
    };
    sent.iter()
        .take_while(|record| !is_end(record))
        .filter(|record| record.content_type == ContentType::ApplicationData)
        .flat_map(|record| record.payload.iter().copied())
        .collect()
}

/// Only what was encrypted is read, in its order, up to the first error; nothing is read or sent behind that.
fn check<C: TlsConnectionOps>(
    ours: &SharedSession<C>,
    peer: &mut Connection,
    input: &[u8],
) -> (usize, Option<String>) {
    establish(ours, peer);
    let edits = Edit::list(input, MAX_EDITS);
    let tampering = Tampering::new(&edits);
    let sent = Rc::clone(&tampering.sent);
    let mut wire = with_tampering(move |record| tampering.tamper(record), || speak(peer));
    for edit in edits.iter().filter(|edit| edit.place & INSIDE == 0) {
        edit.apply(&mut wire, HELLO_WORDS);
    }
    let (plaintext, error) = listen(ours, peer, &wire, &edits);
    let expected = data_of(&sent.borrow());
    assert!(expected.starts_with(&plaintext), "only what was encrypted");
    let has_closed = ours.lock().unwrap().has_peer_closed();
    assert!(has_closed || !edits.is_empty(), "honesty suffices");
    if has_closed && error.is_none() {
        assert_eq!(plaintext.len(), expected.len(), "all of it before the end");
    }
    (plaintext.len().min(5), error.as_ref().map(kind_of))
}

/// Reads `wire` in pieces, answering each; the plaintext and the error.
fn listen<C: TlsConnectionOps>(
    ours: &SharedSession<C>,
    peer: &mut Connection,
    wire: &[u8],
    edits: &[Edit],
) -> (Vec<u8>, Option<Error>) {
    let piece = edits
        .first()
        .map_or(4_000, |edit| 40 + 60 * usize::from(edit.place));
    let mut plaintext = Vec::new();
    for piece in wire.chunks(piece) {
        let received = receive(ours, piece);
        plaintext.extend(received.plaintext);
        assert!(received.outgoing.len() <= MAX_ANSWER_BYTES);
        let (heard, mut peer_error) = give(peer, &received.outgoing);
        assert!(heard.is_empty());
        if let Some(error) = received.error {
            // The peer reads the alert, unless something else we said stopped it.
            peer_error = peer_error.filter(|error| matches!(error, Error::AlertReceived(_)));
            reason_of(&error, &received.outgoing, peer_error.as_ref());
            assert_over(ours, &error);
            return (plaintext, Some(error));
        }
        let answer = write(ours, b"answer").unwrap();
        let (heard, peer_error) = give(peer, &answer);
        assert!(
            peer_error.is_some() || heard == b"answer",
            "what we say is heard"
        );
    }
    (plaintext, None)
}

fn fuzz(target: &'static str) -> Fuzz<'static> {
    Fuzz::new(target, 1_500)
        .from(scripts())
        .at_most(MAX_EDITS * EDIT_BYTES)
}

#[test]
fn a_clients_tls_1_3_session_yields_what_was_encrypted_or_an_error() {
    let stage = Stage::new(|_| ());
    let peer = stage.peer(&rustls::version::TLS13);
    fuzz("listener-session-1.3")
        .run(|input| check(&stage.accept(), &mut peer.client(false), input));
}

#[test]
fn a_clients_tls_1_2_session_yields_what_was_encrypted_or_an_error() {
    let stage = Stage::new(|_| ());
    let peer = stage.peer(&rustls::version::TLS12);
    fuzz("listener-session-1.2")
        .run(|input| check(&stage.accept(), &mut peer.client(false), input));
}

#[test]
fn a_backends_tls_1_3_session_yields_what_was_encrypted_or_an_error() {
    let stage = Stage::new(|_| ());
    let peer = stage.peer(&rustls::version::TLS13);
    fuzz("backend-session-1.3").run(|input| check(&stage.dial(), &mut peer.server(), input));
}

#[test]
fn a_backends_tls_1_2_session_yields_what_was_encrypted_or_an_error() {
    let stage = Stage::new(|_| ());
    let peer = stage.peer(&rustls::version::TLS12);
    fuzz("backend-session-1.2").run(|input| check(&stage.dial(), &mut peer.server(), input));
}
