//! The seam for a thread that answers clients itself, such as a cache of query results: none is built in.
//!
//! A worker holds the channel to the responder it was started with. When that responder dies, its workers pass everything
//! through, get no new connections, and end with the last of those they serve; a fresh responder behind a fresh channel
//! is there for the workers started from then on.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pgtls_tls::buffer::Buffer;
use pgtls_tls::session::SessionError;
use tokio::sync::{mpsc, oneshot};

use crate::connection::client_socket::ClientSocket;

/// Requests that wait for the responder. A full queue passes the request through to the backend.
pub(crate) const RESPONDER_QUEUE: usize = 1024;

/// Answers requests of clients on a thread of its own.
pub trait Responder: Send + Sync + 'static {
    /// Whether these bytes of a client, read while its backend stood between two messages, are for the responder.
    fn claims(&self, bytes: &[u8]) -> bool;

    /// The thread's body: answers until the channel is closed. Started anew behind a fresh channel if it ends or panics.
    fn run(&self, requests: mpsc::Receiver<Request>) -> Pin<Box<dyn Future<Output = ()> + '_>>;
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
        self.answer.begin();
        self.socket.send(messages, scratch).await
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

/// Whether an answer has begun: then nobody else can give it any more.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer(Arc<AtomicBool>);

impl Answer {
    fn begin(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether the client may have been sent part of it.
    pub(crate) fn has_begun(&self) -> bool {
        self.0.load(Ordering::Acquire)
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
