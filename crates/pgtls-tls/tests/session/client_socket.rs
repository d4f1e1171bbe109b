//! What becomes of other writers when the owner leaves or the socket fails.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use pgtls_tls::buffer::Buffer;
use pgtls_tls::outbox::OUTBOX_LIMIT_BYTES;
use pgtls_tls::session::SessionError;
use pgtls_tls::stream::TlsScratch;

use crate::{Session, Wakes};

fn assert_kind(result: Result<(), SessionError>, kind: io::ErrorKind) {
    let Err(SessionError::Io(error)) = result else {
        panic!("{result:?}");
    };
    assert_eq!(error.kind(), kind);
}

#[test]
fn an_owner_that_leaves_wakes_a_writer_that_waits_and_refuses_later_ones() {
    let session = Session::new();
    session.wire.set_room(0);
    let full = vec![0; OUTBOX_LIMIT_BYTES];
    session
        .stream
        .send(&full, &mut TlsScratch::default())
        .unwrap();
    let (waiting, late) = (session.socket(), session.socket());
    let mut scratch = Buffer::default();
    let mut sending = pin!(waiting.send(b"x", &mut scratch));
    let wakes = Arc::new(Wakes::default());
    let task = Waker::from(wakes.clone());
    let mut cx = Context::from_waker(&task);
    assert!(sending.as_mut().poll(&mut cx).is_pending());

    drop(session.stream);
    assert_eq!(wakes.count(), 1);
    let Poll::Ready(result) = sending.as_mut().poll(&mut cx) else {
        panic!("waits for nobody");
    };
    assert_kind(result, io::ErrorKind::NotConnected);
    let mut scratch = Buffer::default();
    assert_kind(
        late.offer(b"x", &mut scratch).map(|_| ()),
        io::ErrorKind::NotConnected,
    );
    assert_kind(late.close_notify(&mut scratch), io::ErrorKind::NotConnected);
}

#[test]
fn a_write_that_fails_leaves_its_records_to_the_owner() {
    let mut session = Session::new();
    session.wire.fail_once(io::ErrorKind::OutOfMemory);
    let mut scratch = Buffer::default();
    assert_kind(
        session.socket().offer(b"first", &mut scratch).map(|_| ()),
        io::ErrorKind::OutOfMemory,
    );
    let mut cx = Context::from_waker(Waker::noop());
    assert!(session.stream.poll_attention(&mut cx).is_ready());
    session
        .stream
        .send(b"second", &mut TlsScratch::default())
        .unwrap();
    assert_eq!(session.read(), [&b"first"[..], b"second"]);
}
