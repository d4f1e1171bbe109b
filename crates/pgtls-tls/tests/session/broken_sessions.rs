//! Sessions that fail, by the peer's doing or by a panic: every user gets an error, and no other session is touched.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;

use pgtls_tls::buffer::Buffer;
use pgtls_tls::endpoint::ClientFacing;
use pgtls_tls::ops::{Driven, TlsConnectionOps, Write};
use pgtls_tls::outbox::OUTBOX_LIMIT_BYTES;
use pgtls_tls::session::SessionError;
use pgtls_tls::socket_source::Offer;
use pgtls_tls::stream::TlsScratch;
use rustls::{CommonState, Error};

use crate::{Session, Wakes};

/// A connection that panics when it is to encrypt "panic".
struct Fragile(ClientFacing);

impl TlsConnectionOps for Fragile {
    fn drive(
        &mut self,
        incoming: &mut [u8],
        write: Write<'_>,
        plaintext: &mut Buffer,
        outgoing: &mut Buffer,
    ) -> Result<Driven, Error> {
        assert!(!matches!(write, Write::Data(b"panic")), "as asked");
        self.0.drive(incoming, write, plaintext, outgoing)
    }

    fn state(&self) -> &CommonState {
        self.0.state()
    }
}

#[test]
fn a_panic_under_the_lock_costs_one_session_and_wakes_its_owner_and_its_writers() {
    let broken = Session::over(Fragile);
    let mut sound = Session::over(Fragile);
    let owner = Arc::new(Wakes::default());
    let owner_waker = Waker::from(owner.clone());
    let mut owner_cx = Context::from_waker(&owner_waker);
    assert!(broken.stream.poll_attention(&mut owner_cx).is_pending());

    let socket = broken.socket();
    let panicked = thread::spawn(move || socket.offer(b"panic", &mut Buffer::default()));
    panicked.join().unwrap_err();
    assert_eq!(owner.count(), 1);
    let Poll::Ready(Err(SessionError::Poisoned)) = broken.stream.poll_attention(&mut owner_cx)
    else {
        panic!("the owner has to learn it");
    };
    let offer = broken.socket().offer(b"x", &mut Buffer::default());
    assert!(matches!(offer, Err(SessionError::Poisoned)));

    let offer = sound.socket().offer(b"unharmed", &mut Buffer::default());
    assert_eq!(offer.unwrap(), Offer::Taken);
    assert_eq!(sound.read(), [b"unharmed"]);
}

#[test]
fn the_owner_of_a_poisoned_session_wakes_writers_that_wait_when_it_leaves() {
    let session = Session::over(Fragile);
    session.wire.set_room(0);
    let full = vec![0; OUTBOX_LIMIT_BYTES];
    session
        .stream
        .send(&full, &mut TlsScratch::default())
        .unwrap();
    let waiting = session.socket();
    let mut scratch = Buffer::default();
    let mut sending = pin!(waiting.send(b"x", &mut scratch));
    let wakes = Arc::new(Wakes::default());
    let task = Waker::from(wakes.clone());
    let mut cx = Context::from_waker(&task);
    assert!(sending.as_mut().poll(&mut cx).is_pending());

    let shared = session.stream.session().clone();
    thread::spawn(move || {
        let _state = shared.lock().unwrap();
        panic!("under the lock");
    })
    .join()
    .unwrap_err();
    drop(session.stream);
    assert_eq!(wakes.count(), 1);
    let polled = sending.as_mut().poll(&mut cx);
    assert!(matches!(polled, Poll::Ready(Err(SessionError::Poisoned))));
}

/// Pieces of a handshake message, then a record that nobody encrypted: rustls has processed more than the session kept.
#[test]
fn a_writer_between_the_peers_failure_and_the_owners_leaving_gets_the_error() {
    let mut session = Session::new();
    for piece in [&[24, 0, 0][..], &[9, 1], &[1]] {
        let record = session.peer.handshake_record(piece);
        session.wire.push(&record);
    }
    session.wire.push(&[23, 3, 3, 0, 20]);
    session.wire.push(&[0; 20]);
    let mut scratch = TlsScratch::default();
    let mut cx = Context::from_waker(Waker::noop());
    let received = session
        .stream
        .poll_receive(&mut cx, &mut scratch, &mut Buffer::default());
    let Poll::Ready(Err(SessionError::Tls(Error::DecryptError))) = received else {
        panic!("{received:?}");
    };

    let socket = session.socket();
    let offer = thread::spawn(move || socket.offer(b"x", &mut Buffer::default()));
    let offer = offer.join().expect("no panic");
    assert!(matches!(offer, Err(SessionError::Tls(Error::DecryptError))));
    let sent = session.stream.send(b"x", &mut scratch);
    assert!(matches!(sent, Err(SessionError::Tls(Error::DecryptError))));
    assert!(session.read().is_empty(), "nothing behind the alert");
    assert_eq!(session.peer.alert, Some([2, 20]), "bad_record_mac");
}
