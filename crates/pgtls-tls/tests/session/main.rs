//! The shared session with real TLS over a socket in memory: writers beside the owner, and peers that misbehave.

#![cfg(not(feature = "loom"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "outside #[test] functions, too, a helper's panic is how a test fails"
)]

mod broken_sessions;
mod client_socket;
mod close_notify;
mod configs;
mod fragments;
mod peer;
mod room;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use pgtls_tls::buffer::Buffer;
use pgtls_tls::endpoint::ClientFacing;
use pgtls_tls::ops::TlsConnectionOps;
use pgtls_tls::socket_source::ClientSocket;
use pgtls_tls::stream::{Received, TlsScratch, TlsStream};

use crate::peer::Peer;
use crate::wire::Wire;

/// An established session over a [`Wire`] and everybody who uses it.
struct Session<C: TlsConnectionOps = ClientFacing> {
    peer: Peer,
    wire: Wire,
    stream: TlsStream<C, Wire>,
}

impl Session {
    fn new() -> Self {
        Self::over(|tls| tls)
    }
}

impl<C: TlsConnectionOps> Session<C> {
    /// A session over what `wrap` makes of the connection.
    fn over(wrap: impl FnOnce(ClientFacing) -> C) -> Self {
        let (peer, tls) = peer::handshake();
        let wire = Wire::default();
        let stream = TlsStream::new(wrap(tls), Vec::new(), wire.clone());
        Self { peer, wire, stream }
    }

    fn socket(&self) -> ClientSocket<C, Wire> {
        ClientSocket::new(self.stream.session().clone(), self.wire.clone())
    }

    /// What the peer reads, by record.
    fn read(&mut self) -> Vec<Vec<u8>> {
        self.peer.open(&self.wire.take_sent())
    }

    /// What the owner reads; none when nothing is there.
    fn receive(&self) -> Option<Vec<u8>> {
        let mut plaintext = Buffer::default();
        let mut scratch = TlsScratch::default();
        let mut cx = Context::from_waker(Waker::noop());
        match self
            .stream
            .poll_receive(&mut cx, &mut scratch, &mut plaintext)
        {
            Poll::Pending => None,
            Poll::Ready(received) => {
                assert_eq!(received.unwrap(), Received::Data);
                Some(plaintext.filled().to_vec())
            }
        }
    }

    fn flush(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.stream
            .poll_flush(&mut cx)
            .map(Result::unwrap)
            .is_ready()
    }
}

/// A waker that counts.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wakes {
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}
