//! [`TlsStream`]: a [`SharedSession`] joined to its socket, for both peers and any [`Transport`].
//!
//! Everything but the handshake takes `&self`, so that one task reads and writes at once. Poll functions register the task's waker with the socket and are cancel-safe: whatever was read or encrypted stands in the
//! session when they return. Scratch memory belongs to the worker, so an idle stream holds none.

use std::io;
use std::ops::Deref;
use std::os::fd::AsFd;
use std::task::{Context, Poll};

use rustls::Error;

use crate::buffer::Buffer;
use crate::client_hello::{AnsweredHello, take_answered_hello};
use crate::ops::TlsConnectionOps;
use crate::refusal;
use crate::session::{SessionError, SharedSession};
use crate::socket_source::ClientSocketSource;
use crate::summary::TlsSummary;
pub use crate::transport::{EndOfStream, READ_BYTES, Received, Transport, TrySend};

/// Ciphertext scratch of one worker. Every call begins by emptying what it uses, so nothing of one session, not even after an error
/// or a panic, can reach another.
#[derive(Debug, Default)]
pub struct TlsScratch {
    ciphertext: Buffer,
    outgoing: Buffer,
}

/// A TLS connection over a socket, and the owner of its session: other writers give up when it is dropped.
#[derive(Debug)]
pub struct TlsStream<C: TlsConnectionOps, S> {
    session: OwnedSession<C>,
    socket: S,
    /// Boxed: a session has no use for it any more.
    hello: Option<Box<AnsweredHello>>,
}

/// The owner's hold on a session: it is closed for other writers when this is dropped.
#[derive(Debug)]
struct OwnedSession<C: TlsConnectionOps>(SharedSession<C>);

impl<C: TlsConnectionOps> Deref for OwnedSession<C> {
    type Target = SharedSession<C>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<C: TlsConnectionOps> Drop for OwnedSession<C> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl<C: TlsConnectionOps, S> TlsStream<C, S> {
    /// The same session over what `convert` makes of its socket, such as one on another thread's reactor. Nothing is left of either
    /// when that fails.
    pub fn map_socket<T>(
        self,
        convert: impl FnOnce(S) -> io::Result<T>,
    ) -> io::Result<TlsStream<C, T>> {
        Ok(TlsStream {
            session: self.session,
            socket: convert(self.socket)?,
            hello: self.hello,
        })
    }
}

impl<C: TlsConnectionOps, S: Transport> TlsStream<C, S> {
    /// Joins a fresh connection and its socket. `received` is ciphertext that was already read.
    pub fn new(tls: C, received: Vec<u8>, socket: S) -> Self {
        Self {
            session: OwnedSession(SharedSession::new(tls, received)),
            socket,
            hello: None,
        }
    }

    /// The shared session.
    pub fn session(&self) -> &SharedSession<C> {
        &self.session
    }

    /// What another thread makes its own sockets to this peer from.
    pub fn socket_source(&self) -> ClientSocketSource<C, S>
    where
        S: AsFd + Clone,
    {
        ClientSocketSource::new(self.session.clone(), self.socket.clone())
    }

    /// The socket below, for a peer whose TLS is over.
    pub fn socket(&self) -> &S {
        &self.socket
    }

    /// The client's hello and the identity it was answered with, once; none on the side that dials.
    pub fn take_answered_hello(&mut self) -> Option<AnsweredHello> {
        self.hello.take().map(|hello| *hello)
    }

    /// What the finished handshake agreed on.
    pub fn summary(&self) -> Result<TlsSummary, SessionError> {
        Ok(TlsSummary::of(self.session.lock()?.tls().state()))
    }

    /// Keeps plaintext that was received for the next reader.
    pub fn put_back(&self, plaintext: &[u8]) -> Result<(), SessionError> {
        self.session.lock()?.put_back_decrypted(plaintext);
        Ok(())
    }

    /// Whether ciphertext waits for the kernel.
    pub fn has_residue(&self) -> Result<bool, SessionError> {
        Ok(self.session.lock()?.has_residue())
    }

    /// Drives the handshake to its end. Plaintext that came with the peer's Finished is kept for the first reader.
    pub fn poll_handshake(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut TlsScratch,
    ) -> Poll<Result<(), SessionError>> {
        let result = self.poll_handshake_steps(cx, scratch);
        // The slot is this thread's: it must be empty before another connection's handshake is driven.
        if let Some(hello) = take_answered_hello() {
            self.hello = Some(Box::new(hello));
        }
        match (result, refusal::take()) {
            (Poll::Ready(Err(SessionError::Tls(_))), Some(refused)) => {
                Poll::Ready(Err(SessionError::Certificate(refused)))
            }
            (result, _) => result,
        }
    }

    fn poll_handshake_steps(
        &self,
        cx: &mut Context<'_>,
        scratch: &mut TlsScratch,
    ) -> Poll<Result<(), SessionError>> {
        let mut early = Buffer::default();
        self.handshake_with_kept(scratch, &mut early)?;
        loop {
            let mut state = self.session.lock()?;
            if !state.is_handshaking() {
                state.put_back_decrypted(early.filled());
                return Poll::Ready(Ok(()));
            }
            drop(state);
            // Not being able to send yet does not keep us from reading; both wakers get registered.
            let _ = self.poll_flush(cx)?;
            match self.poll_read(cx, scratch, &mut early)? {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(_)) if self.session.lock()?.is_handshaking() => {
                    return Poll::Ready(Err(SessionError::ClosedInHandshake));
                }
                // An end that came along with the peer's Finished is for the first reader to see.
                Poll::Ready(_) => {}
            }
        }
    }

    /// Processes what came before the first read; makes a client send its hello.
    fn handshake_with_kept(
        &self,
        scratch: &mut TlsScratch,
        early: &mut Buffer,
    ) -> Result<(), SessionError> {
        scratch.outgoing.clear();
        let mut state = self.session.lock()?;
        let result = state.receive_kept(early, &mut scratch.outgoing);
        let delivered = state.deliver(&self.socket, &mut scratch.outgoing);
        result.and(delivered)
    }

    /// Appends received plaintext, or tells how the peer ended its direction.
    pub fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        scratch: &mut TlsScratch,
        plaintext: &mut Buffer,
    ) -> Poll<Result<Received, SessionError>> {
        loop {
            {
                let mut state = self.session.lock()?;
                if state.take_decrypted(plaintext) {
                    return Poll::Ready(Ok(Received::Data));
                }
                if state.has_peer_closed() {
                    return Poll::Ready(Ok(Received::End(EndOfStream::CloseNotify)));
                }
            }
            let before = plaintext.len();
            let Poll::Ready(end) = self.poll_read(cx, scratch, plaintext)? else {
                return Poll::Pending;
            };
            if plaintext.len() > before {
                return Poll::Ready(Ok(Received::Data));
            }
            if let Some(end) = end {
                return Poll::Ready(Ok(Received::End(end)));
            }
        }
    }

    /// Ready when another writer left something for the owner to do: residue to flush, or a session it closed.
    pub fn poll_attention(&self, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        self.session.lock()?.outbox().poll_attention(cx).map(Ok)
    }

    /// Encrypts and sends `plaintext`; what the kernel does not take stays as residue, to be flushed.
    pub fn send(&self, plaintext: &[u8], scratch: &mut TlsScratch) -> Result<(), SessionError> {
        scratch.outgoing.clear();
        let mut state = self.session.lock()?;
        let encrypted = state.encrypt(plaintext, &mut scratch.outgoing);
        let delivered = state.deliver(&self.socket, &mut scratch.outgoing);
        encrypted.and(delivered)
    }

    /// Sends `close_notify`; flush, then shut the socket's write side down.
    pub fn send_close_notify(&self, scratch: &mut TlsScratch) -> Result<(), SessionError> {
        scratch.outgoing.clear();
        let mut state = self.session.lock()?;
        let encrypted = state.close_notify(&mut scratch.outgoing);
        let delivered = state.deliver(&self.socket, &mut scratch.outgoing);
        encrypted.and(delivered)
    }

    /// Sends what waits; ready when nothing is left.
    pub fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        let mut state = self.session.lock()?;
        while state.has_residue() {
            match self.socket.poll_send(cx, state.outbox().pending()) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(Err(io::Error::from(io::ErrorKind::WriteZero).into()));
                }
                Poll::Ready(Ok(sent)) => state.outbox().advance(sent),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Ends our direction on the socket.
    pub fn shutdown_write(&self) -> io::Result<()> {
        self.socket.shutdown_write()
    }

    /// One read from the socket, decrypted; `Some` when the stream ended.
    fn poll_read(
        &self,
        cx: &mut Context<'_>,
        scratch: &mut TlsScratch,
        plaintext: &mut Buffer,
    ) -> Poll<Result<Option<EndOfStream>, SessionError>> {
        scratch.outgoing.clear();
        let mut state = self.session.lock()?;
        let ciphertext = &mut scratch.ciphertext;
        ciphertext.clear();
        ciphertext.extend(state.incoming());
        let room = ciphertext.spare_mut(READ_BYTES);
        let received = match self.socket.poll_receive(cx, room) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
            Poll::Ready(Ok(0)) => return Poll::Ready(Ok(Some(EndOfStream::Fin))),
            Poll::Ready(Ok(received)) => received,
        };
        ciphertext.commit(received);
        let result = state.receive(ciphertext.filled_mut(), plaintext, &mut scratch.outgoing);
        let delivered = state.deliver(&self.socket, &mut scratch.outgoing);
        // What broke the session counts more than that the alert could not be sent.
        result.and(delivered)?;
        Poll::Ready(Ok(state
            .has_peer_closed()
            .then_some(EndOfStream::CloseNotify)))
    }
}

impl SessionError {
    /// The rustls error behind this one, if TLS itself failed.
    #[must_use]
    pub fn tls(&self) -> Option<&Error> {
        match self {
            Self::Tls(error) => Some(error),
            Self::Certificate(refused) => Some(&refused.error),
            Self::Io(_) | Self::ClosedInHandshake | Self::Poisoned => None,
        }
    }
}
