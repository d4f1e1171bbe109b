//! `close_notify` from another thread: the owner learns it, and nothing follows it.

use std::io;
use std::task::{Context, Waker};

use pgtls_tls::buffer::Buffer;
use pgtls_tls::session::SessionError;
use pgtls_tls::stream::TlsScratch;

use crate::Session;

const CLOSE_NOTIFY: [u8; 2] = [1, 0];

fn has_attention(session: &Session) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    session.stream.poll_attention(&mut cx).is_ready()
}

#[test]
fn calls_the_owner_also_when_no_residue_is_left() {
    let mut session = Session::new();
    assert!(!has_attention(&session));
    session
        .socket()
        .close_notify(&mut Buffer::default())
        .unwrap();
    assert!(has_attention(&session));
    assert!(!has_attention(&session), "once");
    assert!(session.read().is_empty());
    assert_eq!(session.peer.alert, Some(CLOSE_NOTIFY));
}

#[test]
fn refuses_what_the_owner_or_another_thread_writes_after_it() {
    let mut session = Session::new();
    let mut scratch = Buffer::default();
    session.socket().close_notify(&mut scratch).unwrap();
    let owner = session.stream.send(b"late", &mut TlsScratch::default());
    let other = session.socket().offer(b"late", &mut scratch).map(|_| ());
    for result in [owner, other] {
        let Err(SessionError::Io(error)) = result else {
            panic!("{result:?}");
        };
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
    assert!(session.read().is_empty());
    assert_eq!(session.peer.alert, Some(CLOSE_NOTIFY));
}

#[test]
fn is_sent_once_whoever_asks_and_whether_or_not_the_peer_closed() {
    let mut session = Session::new();
    let mut scratch = TlsScratch::default();
    session
        .socket()
        .close_notify(&mut Buffer::default())
        .unwrap();
    session.stream.send_close_notify(&mut scratch).unwrap();
    session.read();

    let alert = session.peer.close_notify();
    session.wire.push(&alert);
    let mut cx = Context::from_waker(Waker::noop());
    let end = session
        .stream
        .poll_receive(&mut cx, &mut scratch, &mut Buffer::default());
    assert!(end.is_ready());
    session.stream.send_close_notify(&mut scratch).unwrap();
    assert!(session.wire.take_sent().is_empty());
}

#[test]
fn still_receives_after_it() {
    let mut session = Session::new();
    session
        .socket()
        .close_notify(&mut Buffer::default())
        .unwrap();
    let data = session.peer.data_record(b"last words");
    session.wire.push(&data);
    assert_eq!(session.receive().unwrap(), b"last words");
}
