//! The seam for a thread that answers clients itself, such as a cache of query results: none is built in.
//!
//! A worker holds the channel to the responder it was started with. When that responder dies, its workers pass everything
//! through, get no new connections, and end with the last of those they serve; a fresh responder behind a fresh channel
//! is there for the workers started from then on.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use pgtls_tls::buffer::Buffer;
use pgtls_tls::session::SessionError;
use tokio::sync::{mpsc, oneshot};

use crate::connection::client_socket::ClientSocket;

/// Requests that wait for the responder, unless it says otherwise. A full queue passes the request through to the backend.
const RESPONDER_QUEUE: usize = 1024;

/// Answers requests of clients on a thread of its own.
pub trait Responder: Send + Sync + 'static {
    /// Whether these bytes of a client, read while its backend stood between two messages, are for the responder.
    fn claims(&self, bytes: &[u8]) -> bool;

    /// The thread's body: answers until the channel is closed. Started anew behind a fresh channel if it ends or panics.
    fn run(&self, requests: mpsc::Receiver<Request>) -> Pin<Box<dyn Future<Output = ()> + '_>>;

    /// How many requests may wait, at least 1: those above pass through to the backend.
    fn queue_length(&self) -> usize {
        RESPONDER_QUEUE
    }
}

/// What a client asked, and the way to answer it.
pub struct Request {
    bytes: Vec<u8>,
    socket: ClientSocket,
    answer: Answer,
    done: oneshot::Sender<()>,
}

impl Request {
    /// What the client sent.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Sends whole messages to the client, waiting for room. `scratch` is the responder's.
    pub async fn send(&self, messages: &[u8], scratch: &mut Buffer) -> Result<(), SessionError> {
        self.answer.begin_part();
        self.socket.send(messages, scratch).await?;
        self.answer.add_bytes(messages.len());
        Ok(())
    }

    /// The answer is complete: the worker relays again. Dropping a request says that it was not answered.
    pub fn finish(self) {
        // The session may be over.
        let _ = self.done.send(());
    }
}

/// A worker's way to its responder.
#[derive(Clone)]
pub(crate) struct ResponderHandle {
    pub(crate) responder: Arc<dyn Responder>,
    pub(crate) requests: mpsc::Sender<Request>,
}

/// A request on its way: what the worker keeps of it.
pub(crate) struct Asked {
    pub(crate) done: oneshot::Receiver<()>,
    pub(crate) answer: Answer,
}

/// How much of an answer was sent: once it has begun, nobody else can give it any more.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer(Arc<Sent>);

#[derive(Debug, Default)]
struct Sent {
    /// Parts that were begun.
    parts: AtomicU64,
    /// Of the parts that were taken whole.
    bytes: AtomicUsize,
}

impl Answer {
    fn begin_part(&self) {
        self.0.parts.fetch_add(1, Ordering::Release);
    }

    fn add_bytes(&self, bytes: usize) {
        self.0.bytes.fetch_add(bytes, Ordering::Release);
    }

    /// Plaintext bytes that the client was sent, or will be from the outbox.
    pub(crate) fn bytes(&self) -> usize {
        self.0.bytes.load(Ordering::Acquire)
    }

    /// How often its thread set about sending.
    pub(crate) fn sent(&self) -> u64 {
        self.0.parts.load(Ordering::Acquire)
    }

    /// Whether the client may have been sent part of it.
    pub(crate) fn has_begun(&self) -> bool {
        self.sent() > 0
    }
}

impl ResponderHandle {
    /// Whether `bytes` are for the responder; never once it is dead.
    pub(crate) fn claims(&self, bytes: &[u8]) -> bool {
        !self.requests.is_closed() && self.responder.claims(bytes)
    }

    /// Hands a request over; none if the responder is dead or its queue is full.
    pub(crate) fn ask(&self, bytes: Vec<u8>, socket: ClientSocket) -> Option<Asked> {
        let (done, receiver) = oneshot::channel();
        let answer = Answer::default();
        let request = Request {
            bytes,
            socket,
            answer: answer.clone(),
            done,
        };
        self.requests.try_send(request).ok()?;
        Some(Asked {
            done: receiver,
            answer,
        })
    }
}
