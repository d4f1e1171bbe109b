//! Every interleaving (up to a bound on preemptions) of the owner, other writers and the peer over one shared session, by loom:
//! no byte lost, no wake lost, records in the order of their encryption, and nobody left waiting after a close.
//!
//! What is checked is the real session, outbox, stream and client socket; only TLS (records stamped with their number) and the
//! kernel (a counter of free bytes) are modelled. Run by
//! `cargo test --release -p pgtls-tls --features loom --test session_model`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "outside #[test] functions, too, a helper's panic is how a test fails"
)]

mod attention;
mod closing;
mod kernel;
mod room;
mod stamp;
mod wrong_writers;

use std::future::poll_fn;

use loom::future::block_on;
use loom::model::Builder;
use pgtls_tls::socket_source::ClientSocket;
use pgtls_tls::stream::{TlsScratch, TlsStream};

use crate::kernel::Kernel;
use crate::stamp::Stamp;

type Stream = TlsStream<Stamp, Kernel>;
type Foreign = ClientSocket<Stamp, Kernel>;

fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

fn stream(kernel: &Kernel) -> Stream {
    TlsStream::new(Stamp::default(), Vec::new(), kernel.clone())
}

fn foreign(stream: &Stream, kernel: &Kernel) -> Foreign {
    ClientSocket::new(stream.session().clone(), kernel.clone())
}

/// What a connection's owner does until `expected_bytes` are on the wire: it flushes what it left itself, and what it is called
/// for, but does not look for residue otherwise.
fn own(stream: &Stream, kernel: &Kernel, expected_bytes: usize) {
    let mut is_flushing = true;
    block_on(poll_fn(|cx| {
        while stream.poll_attention(cx).map(Result::unwrap).is_ready() {
            is_flushing = true;
        }
        if is_flushing {
            is_flushing = stream.poll_flush(cx).map(Result::unwrap).is_pending();
        }
        kernel.poll_wire(cx, expected_bytes)
    }));
}

/// The owner's own write.
fn owner_sends(stream: &Stream, payload: &[u8]) {
    stream.send(payload, &mut TlsScratch::default()).unwrap();
}
