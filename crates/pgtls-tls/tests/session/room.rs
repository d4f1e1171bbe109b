//! How much other writers may leave, and how they wait for room.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use pgtls_tls::buffer::Buffer;
use pgtls_tls::outbox::OUTBOX_LIMIT_BYTES;
use pgtls_tls::socket_source::Offer;
use pgtls_tls::stream::TlsScratch;

use crate::{Session, Wakes};

const MESSAGE: [u8; 10_000] = [7; 10_000];

/// Offers until there is no room; returns how many messages were taken.
fn fill(session: &Session) -> usize {
    let socket = session.socket();
    let mut scratch = Buffer::default();
    let mut taken = 0;
    while socket.offer(&MESSAGE, &mut scratch).unwrap() == Offer::Taken {
        taken += 1;
    }
    taken
}

#[test]
fn refuses_a_message_at_the_limit_without_encrypting_it() {
    let mut session = Session::new();
    session.wire.set_room(0);
    let taken = fill(&session);
    let waiting = session.stream.session().lock().unwrap().outbox().len();
    assert!((OUTBOX_LIMIT_BYTES..OUTBOX_LIMIT_BYTES + MESSAGE.len() + 100).contains(&waiting));

    session.wire.set_room(usize::MAX);
    assert!(session.flush());
    assert_eq!(session.read(), vec![MESSAGE.to_vec(); taken]);
    assert_eq!(
        session
            .socket()
            .offer(b"next", &mut Buffer::default())
            .unwrap(),
        Offer::Taken
    );
    assert_eq!(session.read(), [b"next"]);
}

#[test]
fn the_owner_itself_is_never_refused() {
    let session = Session::new();
    session.wire.set_room(0);
    fill(&session);
    session
        .stream
        .send(&MESSAGE, &mut TlsScratch::default())
        .unwrap();
}

#[test]
fn a_flush_below_half_of_the_limit_wakes_a_writer_that_waits() {
    let mut session = Session::new();
    session.wire.set_room(0);
    let taken = fill(&session);
    let (socket, mut scratch) = (session.socket(), Buffer::default());
    let mut sending = pin!(socket.send(b"waited", &mut scratch));
    let wakes = Arc::new(Wakes::default());
    let task = Waker::from(wakes.clone());
    let mut cx = Context::from_waker(&task);
    assert!(sending.as_mut().poll(&mut cx).is_pending());

    session.wire.set_room(OUTBOX_LIMIT_BYTES / 4);
    assert!(!session.flush());
    assert_eq!(wakes.count(), 0, "too little for it to be worth a wake");
    session.wire.set_room(OUTBOX_LIMIT_BYTES / 2);
    assert!(!session.flush());
    assert_eq!(wakes.count(), 1);
    assert!(matches!(
        sending.as_mut().poll(&mut cx),
        Poll::Ready(Ok(()))
    ));

    session.wire.set_room(usize::MAX);
    assert!(session.flush());
    let records = session.read();
    assert_eq!(records.len(), taken + 1);
    assert_eq!(records.last().unwrap(), b"waited");
}

#[test]
fn a_cancelled_send_has_sent_nothing() {
    let mut session = Session::new();
    session.wire.set_room(0);
    let taken = fill(&session);
    let (socket, mut scratch) = (session.socket(), Buffer::default());
    {
        let mut sending = pin!(socket.send(b"given up", &mut scratch));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(sending.as_mut().poll(&mut cx).is_pending());
    }
    session.wire.set_room(usize::MAX);
    assert!(session.flush());
    assert_eq!(session.read().len(), taken);
}
