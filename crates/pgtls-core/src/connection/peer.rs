//! [`Peer`]: one side of a session, with or without TLS, and the worker's [`Scratch`] it works in.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use pgtls_tls::buffer::Buffer;
use pgtls_tls::endpoint::{BackendFacing, ClientFacing};
use pgtls_tls::ops::TlsConnectionOps;
use pgtls_tls::outbox::Outbox;
use pgtls_tls::session::SessionError;
use pgtls_tls::stream::{
    EndOfStream, READ_BYTES, Received, TlsScratch, TlsStream, Transport, TrySend,
};

use crate::connection::client_socket::ClientSocketSource;
use crate::connection::socket::Socket;

/// Memory of one worker that its sessions use in turn, never across an await.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// What the last receive got.
    pub(crate) plaintext: Buffer,
    pub(crate) tls: TlsScratch,
}

/// A client or a backend.
#[derive(Debug)]
pub(crate) enum Peer<C: TlsConnectionOps> {
    Plain(PlainStream),
    Tls(TlsStream<C, Socket>),
}

/// The client's side of a session.
pub(crate) type ClientPeer = Peer<ClientFacing>;

impl ClientPeer {
    /// What another thread writes to this client through.
    pub(crate) fn socket_source(&self) -> ClientSocketSource {
        match self {
            Self::Plain(stream) => ClientSocketSource::Plain {
                outbox: stream.shared_outbox(),
                socket: stream.socket.clone(),
            },
            Self::Tls(stream) => ClientSocketSource::Tls(stream.socket_source()),
        }
    }
}

/// The backend's side of a session.
pub(crate) type BackendPeer = Peer<BackendFacing>;

/// A socket without TLS.
#[derive(Debug)]
pub(crate) struct PlainStream {
    socket: Socket,
    waiting: RefCell<Waiting>,
}

/// What waits at a socket without TLS: nothing, in an idle session.
#[derive(Debug, Default)]
struct Waiting {
    /// Read before this stream existed; the first reader gets it.
    received: Vec<u8>,
    /// What waits for the kernel, there while something does, or while another thread may write. The mutex guards it against
    /// that thread; under it run non-blocking writes.
    outbox: Option<SharedOutbox>,
}

/// An outbox that another thread may write through.
pub(crate) type SharedOutbox = Arc<Mutex<Outbox>>;

impl PlainStream {
    pub(crate) fn new(socket: Socket, received: Vec<u8>) -> Self {
        Self {
            socket,
            waiting: RefCell::new(Waiting {
                received,
                outbox: None,
            }),
        }
    }

    /// The socket, once the stream turns out to speak TLS from here on.
    pub(crate) fn into_socket(self) -> Socket {
        self.socket.clone()
    }

    /// The outbox, from now on there for another thread, too.
    fn shared_outbox(&self) -> SharedOutbox {
        Arc::clone(self.waiting.borrow_mut().outbox.get_or_insert_default())
    }

    fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        plaintext: &mut Buffer,
    ) -> Poll<Result<Received, SessionError>> {
        let received = mem::take(&mut self.waiting.borrow_mut().received);
        if !received.is_empty() {
            plaintext.extend(&received);
            return Poll::Ready(Ok(Received::Data));
        }
        let count = ready!(
            self.socket
                .poll_receive(cx, plaintext.spare_mut(READ_BYTES))
        )?;
        plaintext.commit(count);
        Poll::Ready(Ok(if count == 0 {
            Received::End(EndOfStream::Fin)
        } else {
            Received::Data
        }))
    }

    fn send(&self, bytes: &[u8]) -> Result<(), SessionError> {
        let try_send = |part: &[u8]| self.socket.try_send(part);
        let waiting = &mut *self.waiting.borrow_mut();
        if let Some(outbox) = &waiting.outbox {
            let sent = lock(outbox)?.send(bytes, try_send);
            return sent.map_err(SessionError::Io);
        }
        let mut outbox = Outbox::default();
        let sent = outbox.send(bytes, try_send);
        if !outbox.is_empty() {
            waiting.outbox = Some(Arc::new(Mutex::new(outbox)));
        }
        sent.map_err(SessionError::Io)
    }

    fn has_residue(&self) -> Result<bool, SessionError> {
        match &self.waiting.borrow().outbox {
            Some(outbox) => Ok(!lock(outbox)?.is_empty()),
            None => Ok(false),
        }
    }

    fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        let kept = &mut self.waiting.borrow_mut().outbox;
        let Some(shared) = kept else {
            return Poll::Ready(Ok(()));
        };
        {
            let mut outbox = lock(shared)?;
            while !outbox.is_empty() {
                let sent = ready!(self.socket.poll_send(cx, outbox.pending()))?;
                outbox.advance(sent);
            }
        }
        if Arc::strong_count(shared) == 1 {
            *kept = None;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_attention(&self, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        let outbox = self.shared_outbox();
        let mut outbox = lock(&outbox)?;
        outbox.poll_attention(cx).map(Ok)
    }
}

fn lock(outbox: &SharedOutbox) -> Result<MutexGuard<'_, Outbox>, SessionError> {
    outbox.lock().map_err(|_| SessionError::Poisoned)
}

impl<C: TlsConnectionOps> Peer<C> {
    /// Receives into `scratch.plaintext`, which it empties first. Cancel-safe.
    ///
    /// Like the others no `async fn`: those would take twice the room in every session.
    pub(crate) fn receive(
        &self,
        scratch: &RefCell<Scratch>,
    ) -> impl Future<Output = Result<Received, SessionError>> {
        poll_fn(move |cx| {
            let Scratch { plaintext, tls } = &mut *scratch.borrow_mut();
            plaintext.clear();
            match self {
                Self::Plain(stream) => stream.poll_receive(cx, plaintext),
                Self::Tls(stream) => stream.poll_receive(cx, tls, plaintext),
            }
        })
    }

    /// Sends what the kernel takes and keeps the rest: see [`Peer::has_residue`].
    pub(crate) fn send(&self, bytes: &[u8], tls: &mut TlsScratch) -> Result<(), SessionError> {
        match self {
            Self::Plain(stream) => stream.send(bytes),
            Self::Tls(stream) => stream.send(bytes, tls),
        }
    }

    /// Whether bytes wait for the kernel: then nothing more must be sent.
    pub(crate) fn has_residue(&self) -> Result<bool, SessionError> {
        match self {
            Self::Plain(stream) => stream.has_residue(),
            Self::Tls(stream) => stream.has_residue(),
        }
    }

    /// Waits until the kernel took everything. Cancel-safe.
    pub(crate) fn flush(&self) -> impl Future<Output = Result<(), SessionError>> {
        poll_fn(move |cx| match self {
            Self::Plain(stream) => stream.poll_flush(cx),
            Self::Tls(stream) => stream.poll_flush(cx),
        })
    }

    /// Waits until another writer left something to be done. Cancel-safe.
    pub(crate) fn attention(&self) -> impl Future<Output = Result<(), SessionError>> {
        poll_fn(move |cx| match self {
            Self::Plain(stream) => stream.poll_attention(cx),
            Self::Tls(stream) => stream.poll_attention(cx),
        })
    }

    /// Sends `close_notify` where there is TLS; [`Peer::shutdown_write`] follows once nothing waits any more.
    pub(crate) fn send_close_notify(&self, tls: &mut TlsScratch) -> Result<(), SessionError> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(stream) => stream.send_close_notify(tls),
        }
    }

    /// Waits until the socket has failed in both directions, by a reset or a timeout, without a read. Cancel-safe.
    pub(crate) async fn failed(&self) {
        self.socket().failed().await;
    }

    /// What the socket has failed of; nobody else meets that failure any more.
    pub(crate) fn failure(&self) -> SessionError {
        SessionError::Io(self.socket().take_failure())
    }

    fn socket(&self) -> &Socket {
        match self {
            Self::Plain(stream) => &stream.socket,
            Self::Tls(stream) => stream.socket(),
        }
    }

    /// Receives raw bytes and forgets them; 0 is the end of the stream. Cancel-safe.
    pub(crate) async fn discard(&self, scratch: &RefCell<Scratch>) -> io::Result<usize> {
        let socket = self.socket();
        poll_fn(|cx| {
            let plaintext = &mut scratch.borrow_mut().plaintext;
            plaintext.clear();
            socket.poll_receive(cx, plaintext.spare_mut(READ_BYTES))
        })
        .await
    }

    /// Ends our direction on the socket.
    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.socket.shutdown_write(),
            Self::Tls(stream) => stream.shutdown_write(),
        }
    }
}

impl Drop for PlainStream {
    fn drop(&mut self) {
        if let Some(outbox) = &self.waiting.get_mut().outbox {
            // From a poisoned one, too: nobody shall wait for room in it.
            let mut outbox = outbox.lock().unwrap_or_else(PoisonError::into_inner);
            outbox.close();
        }
    }
}
