//! [`SharedSession`]: the TLS state of one connection behind a std mutex, apart from its socket.
//!
//! The one rule: **the order of records on the wire is the order of their encryption.** Encrypting and
//! writing-or-queueing are therefore one critical section. The mutex guards the rustls connection, ciphertext
//! that is not decrypted yet, plaintext that nobody took yet, and the [`Outbox`]. Under it runs encryption, decryption,
//! and non-blocking reads and writes; never an await. A poisoned lock means that a thread died in the middle of
//! a record: the session is lost, and only that session.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use rustls::Error;

use crate::buffer::Buffer;
use crate::ops::{TlsConnectionOps, Write};
use crate::outbox::Outbox;
use crate::stream::TrySend;

/// Why a TLS session cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The socket failed.
    #[error("socket: {0}")]
    Io(#[from] io::Error),
    /// The peer or we broke off the TLS protocol.
    #[error("TLS: {0}")]
    Tls(#[from] Error),
    /// The peer ended the connection in the middle of the handshake.
    #[error("connection closed during the TLS handshake")]
    ClosedInHandshake,
    /// A thread panicked while it held the session.
    #[error("the session's lock is poisoned")]
    Poisoned,
}

/// A TLS connection that several threads may use. Cloning shares it.
#[derive(Debug)]
pub struct SharedSession<C> {
    state: Arc<Mutex<SessionState<C>>>,
}

impl<C> Clone for SharedSession<C> {
    fn clone(&self) -> Self {
        Self {
            state: Arc::clone(&self.state),
        }
    }
}

/// What stands under the lock.
#[derive(Debug)]
pub struct SessionState<C> {
    tls: C,
    /// Ciphertext received but not consumed: at most one partial record, or the fragments of one handshake message.
    /// rustls remembers positions in it, so every call passes it again.
    incoming: Vec<u8>,
    /// Decrypted while somebody else was writing; the next reader gets it first.
    decrypted: Vec<u8>,
    outbox: Outbox,
    has_peer_closed: bool,
}

impl<C: TlsConnectionOps> SharedSession<C> {
    /// A session around a fresh connection. `received` is ciphertext that was read before, in order.
    pub fn new(tls: C, received: Vec<u8>) -> Self {
        let state = SessionState {
            tls,
            incoming: received,
            decrypted: Vec::new(),
            outbox: Outbox::default(),
            has_peer_closed: false,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Takes the lock. The guard must not live across an await.
    pub fn lock(&self) -> Result<MutexGuard<'_, SessionState<C>>, SessionError> {
        self.state.lock().map_err(|_| SessionError::Poisoned)
    }
}

impl<C: TlsConnectionOps> SessionState<C> {
    /// The rustls connection, to look at what was negotiated.
    pub fn tls(&self) -> &C {
        &self.tls
    }

    /// Whether the handshake goes on.
    pub fn is_handshaking(&self) -> bool {
        self.tls.state().is_handshaking()
    }

    /// Whether the peer's `close_notify` was received.
    pub fn has_peer_closed(&self) -> bool {
        self.has_peer_closed
    }

    /// Ciphertext that waits for the kernel.
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// Whether ciphertext waits for the kernel.
    pub fn has_residue(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// Ciphertext not consumed yet, which a reader copies in front of what it reads.
    pub fn incoming(&self) -> &[u8] {
        &self.incoming
    }

    /// Moves plaintext that nobody took yet into `plaintext`; true if there was any.
    pub fn take_decrypted(&mut self, plaintext: &mut Buffer) -> bool {
        if self.decrypted.is_empty() {
            return false;
        }
        plaintext.extend(&self.decrypted);
        self.decrypted = Vec::new();
        true
    }

    /// Keeps plaintext for the next reader.
    pub fn put_back_decrypted(&mut self, plaintext: &[u8]) {
        self.decrypted.extend_from_slice(plaintext);
    }

    /// Decrypts `ciphertext`, which begins with [`SessionState::incoming`], into `plaintext`, and keeps what is incomplete.
    ///
    /// Answers (handshake, key update, alert) are appended to `outgoing`, also on an error: send them.
    pub fn receive(
        &mut self,
        ciphertext: &mut [u8],
        plaintext: &mut Buffer,
        outgoing: &mut Buffer,
    ) -> Result<(), SessionError> {
        let driven = self
            .tls
            .drive(ciphertext, Write::Nothing, plaintext, outgoing)?;
        self.has_peer_closed |= driven.peer_closed;
        let rest = ciphertext.get(driven.consumed..).unwrap_or_default();
        if rest.is_empty() {
            self.incoming = Vec::new();
        } else {
            self.incoming.clear();
            self.incoming.extend_from_slice(rest);
        }
        Ok(())
    }

    /// Processes what is kept, without new input: starts a client handshake, or consumes bytes given to [`SharedSession::new`].
    pub fn receive_kept(
        &mut self,
        plaintext: &mut Buffer,
        outgoing: &mut Buffer,
    ) -> Result<(), SessionError> {
        self.drive_kept(Write::Nothing, plaintext, outgoing)
            .map(|_| ())
    }

    /// Encrypts `plaintext` behind `outgoing`; the caller sends that before it releases the lock.
    pub fn encrypt(&mut self, plaintext: &[u8], outgoing: &mut Buffer) -> Result<(), SessionError> {
        self.write(Write::Data(plaintext), outgoing)
    }

    /// Appends the `close_notify` alert to `outgoing`; nothing may be encrypted after it.
    pub fn close_notify(&mut self, outgoing: &mut Buffer) -> Result<(), SessionError> {
        self.write(Write::CloseNotify, outgoing)
    }

    /// Sends `outgoing` behind the outbox and empties it; what the kernel does not take stays in the outbox.
    pub fn deliver(
        &mut self,
        socket: &impl TrySend,
        outgoing: &mut Buffer,
    ) -> Result<(), SessionError> {
        if outgoing.is_empty() {
            return Ok(());
        }
        let result = self
            .outbox
            .send(outgoing.filled(), |bytes| socket.try_send(bytes));
        outgoing.clear();
        result.map_err(SessionError::Io)
    }

    fn write(&mut self, write: Write<'_>, outgoing: &mut Buffer) -> Result<(), SessionError> {
        let mut surprise = Buffer::default();
        let is_written = self.drive_kept(write, &mut surprise, outgoing)?;
        self.decrypted.extend_from_slice(surprise.filled());
        if is_written {
            Ok(())
        } else {
            Err(SessionError::Tls(Error::HandshakeNotComplete))
        }
    }

    fn drive_kept(
        &mut self,
        write: Write<'_>,
        plaintext: &mut Buffer,
        outgoing: &mut Buffer,
    ) -> Result<bool, SessionError> {
        let driven = self
            .tls
            .drive(&mut self.incoming, write, plaintext, outgoing)?;
        self.has_peer_closed |= driven.peer_closed;
        if driven.consumed > 0 {
            self.incoming
                .drain(..driven.consumed.min(self.incoming.len()));
        }
        Ok(driven.is_written)
    }
}
