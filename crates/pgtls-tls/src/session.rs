//! [`SharedSession`]: the TLS state of one connection behind a std mutex, apart from its socket.
//!
//! The one rule: **the order of records on the wire is the order of their encryption.** Encrypting and
//! writing-or-queueing are therefore one critical section. The mutex guards the rustls connection, ciphertext
//! that is not decrypted yet, plaintext that nobody took yet, and the [`Outbox`]. Under it runs encryption, decryption,
//! and non-blocking reads and writes; never an await. A poisoned lock means that a thread died in the middle of
//! a record: the session is lost, and only that session. Once TLS failed, rustls is not asked again: it holds positions in
//! ciphertext that was given up, and would encrypt behind its own fatal alert.

use std::io;
use std::sync::PoisonError;

use rustls::Error;

use crate::buffer::Buffer;
use crate::ops::{Driven, TlsConnectionOps, Write};
use crate::outbox::Outbox;
use crate::refusal::RefusedCertificate;
use crate::stream::TrySend;
use crate::sync::{Arc, Mutex, MutexGuard};

/// Why a TLS session cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The socket failed.
    #[error("socket: {0}")]
    Io(#[from] io::Error),
    /// The peer or we broke off the TLS protocol.
    #[error("TLS: {0}")]
    Tls(#[from] Error),
    /// We refused the peer's certificate.
    #[error("TLS: {0}")]
    Certificate(Box<RefusedCertificate>),
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
    has_sent_close_notify: bool,
    /// What TLS failed with. Every later call meets the same error.
    failure: Option<Box<Error>>,
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
            has_sent_close_notify: false,
            failure: None,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Takes the lock. The guard must not live across an await.
    pub fn lock(&self) -> Result<MutexGuard<'_, SessionState<C>>, SessionError> {
        self.state.lock().map_err(|_| SessionError::Poisoned)
    }

    /// The owner leaves: writers that wait learn it, from a poisoned session too.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.outbox.close();
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
        self.check_sound()?;
        let result = self
            .tls
            .drive(ciphertext, Write::Nothing, plaintext, outgoing);
        let driven = self.note(result)?;
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

    /// Encrypts `plaintext` behind `outgoing`; the caller sends that before it releases the lock. `BrokenPipe` after
    /// [`SessionState::close_notify`].
    pub fn encrypt(&mut self, plaintext: &[u8], outgoing: &mut Buffer) -> Result<(), SessionError> {
        if self.has_sent_close_notify {
            return Err(SessionError::Io(io::ErrorKind::BrokenPipe.into()));
        }
        self.write(Write::Data(plaintext), outgoing)
    }

    /// Appends the `close_notify` alert to `outgoing`, once: whoever calls this again has nothing left to say.
    pub fn close_notify(&mut self, outgoing: &mut Buffer) -> Result<(), SessionError> {
        if self.has_sent_close_notify {
            return Ok(());
        }
        self.write(Write::CloseNotify, outgoing)?;
        self.has_sent_close_notify = true;
        Ok(())
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
        self.check_sound()?;
        let result = self
            .tls
            .drive(&mut self.incoming, write, plaintext, outgoing);
        let driven = self.note(result)?;
        if driven.consumed > 0 {
            self.incoming
                .drain(..driven.consumed.min(self.incoming.len()));
        }
        Ok(driven.is_written)
    }

    fn check_sound(&self) -> Result<(), SessionError> {
        match &self.failure {
            Some(error) => Err(SessionError::Tls(Error::clone(error))),
            None => Ok(()),
        }
    }

    fn note(&mut self, result: Result<Driven, Error>) -> Result<Driven, SessionError> {
        match &result {
            Ok(driven) => self.has_peer_closed |= driven.peer_closed,
            Err(error) => self.failure = Some(Box::new(error.clone())),
        }
        result.map_err(SessionError::Tls)
    }
}
