//! [`ClientSocketSource`] and [`ClientSocket`]: how a thread that does not own a connection writes to its client.
//!
//! The source shares the session and its socket; each [`ClientSocket`] made from it has a duplicated descriptor of its own and may
//! outlive the owner's. It encrypts and writes under the session's lock, never blocks, and leaves what the kernel does not
//! take to the owner, whom it wakes. What it sends are whole messages: the owner lets it in only between two messages.

use std::future::poll_fn;
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::AsFd;
use std::thread;

use crate::buffer::Buffer;
pub use crate::descriptor::{Descriptor, Offer};
use crate::ops::TlsConnectionOps;
use crate::session::{SessionError, SessionState, SharedSession};
use crate::stream::TrySend;
use crate::sync::MutexGuard;

/// Makes [`ClientSocket`]s on demand. Captured by the owner, used by any thread.
#[derive(Debug)]
pub struct ClientSocketSource<C, S> {
    session: SharedSession<C>,
    socket: S,
}

impl<C: TlsConnectionOps, S: AsFd> ClientSocketSource<C, S> {
    /// A source for `session` over `socket`, which it shares with the owner.
    pub fn new(session: SharedSession<C>, socket: S) -> Self {
        Self { session, socket }
    }

    /// A socket of the caller's own: the descriptor is duplicated and closed with it.
    pub fn client_socket(&self) -> io::Result<ClientSocket<C>> {
        let descriptor = Descriptor::new(self.socket.as_fd().try_clone_to_owned()?);
        Ok(ClientSocket::new(self.session.clone(), descriptor))
    }
}

/// Another thread's way to a client.
#[derive(Debug)]
pub struct ClientSocket<C, S = Descriptor> {
    session: SharedSession<C>,
    socket: S,
}

impl<C: TlsConnectionOps, S: TrySend> ClientSocket<C, S> {
    /// Writes to `session`'s client through `socket`, which leads to the same peer as the owner's.
    pub fn new(session: SharedSession<C>, socket: S) -> Self {
        Self { session, socket }
    }

    /// Encrypts and writes `messages` at once, or says that there is no room. `scratch` is the calling thread's.
    pub fn offer(&self, messages: &[u8], scratch: &mut Buffer) -> Result<Offer, SessionError> {
        scratch.clear();
        let mut state = self.lock()?;
        state.outbox().check_open()?;
        if !state.outbox().has_room() {
            return Ok(Offer::NoRoom);
        }
        let encrypted = state.encrypt(messages, scratch);
        let delivered = state.deliver(&self.socket, scratch);
        if state.has_residue() {
            state.outbox().call_owner();
        }
        encrypted.and(delivered).map(|()| Offer::Taken)
    }

    /// Like [`ClientSocket::offer`], but waits for room. Cancel-safe: a message is sent whole or not at all.
    pub async fn send(&self, messages: &[u8], scratch: &mut Buffer) -> Result<(), SessionError> {
        while self.offer(messages, scratch)? == Offer::NoRoom {
            poll_fn(|cx| {
                self.session
                    .lock()?
                    .outbox()
                    .poll_room(cx)
                    .map(Ok::<_, SessionError>)
            })
            .await?;
        }
        Ok(())
    }

    /// Encrypts and writes `close_notify`: nothing may be sent after it by anybody.
    pub fn close_notify(&self, scratch: &mut Buffer) -> Result<(), SessionError> {
        scratch.clear();
        let mut state = self.lock()?;
        state.outbox().check_open()?;
        let encrypted = state.close_notify(scratch);
        let delivered = state.deliver(&self.socket, scratch);
        state.outbox().call_owner();
        encrypted.and(delivered)
    }

    fn lock(&self) -> Result<ForeignGuard<'_, C>, SessionError> {
        self.session.lock().map(ForeignGuard)
    }
}

/// The lock in a foreign writer's hands. A panic under it poisons the session, which an idle owner would not learn by itself.
struct ForeignGuard<'a, C: TlsConnectionOps>(MutexGuard<'a, SessionState<C>>);

impl<C: TlsConnectionOps> Drop for ForeignGuard<'_, C> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.outbox().call_owner();
        }
    }
}

impl<C: TlsConnectionOps> Deref for ForeignGuard<'_, C> {
    type Target = SessionState<C>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<C: TlsConnectionOps> DerefMut for ForeignGuard<'_, C> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}
