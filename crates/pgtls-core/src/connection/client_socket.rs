//! [`ClientSocket`]: what a thread that does not own a session writes to its client through, over TLS or without.

use std::future::poll_fn;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, MutexGuard};

use pgtls_tls::buffer::Buffer;
use pgtls_tls::endpoint::ClientFacing;
use pgtls_tls::outbox::Outbox;
use pgtls_tls::session::SessionError;
use pgtls_tls::socket_source::{self as tls, Offer};
use pgtls_tls::stream::TrySend;

use crate::connection::peer::SharedOutbox;
use crate::connection::socket::Socket;

/// Makes [`ClientSocket`]s on demand; captured by the session's worker, used by any thread.
pub(crate) enum ClientSocketSource {
    Plain {
        outbox: SharedOutbox,
        socket: Socket,
    },
    Tls(tls::ClientSocketSource<ClientFacing, Socket>),
}

/// Another thread's way to a client, with a duplicated descriptor of its own. Sends whole messages.
pub(crate) struct ClientSocket(Kind);

enum Kind {
    Plain(PlainSocket),
    Tls(tls::ClientSocket<ClientFacing>),
}

struct PlainSocket {
    outbox: SharedOutbox,
    descriptor: tls::Descriptor,
}

impl ClientSocketSource {
    /// Duplicates the descriptor.
    pub(crate) fn client_socket(&self) -> io::Result<ClientSocket> {
        let kind = match self {
            Self::Plain { outbox, socket } => Kind::Plain(PlainSocket {
                outbox: Arc::clone(outbox),
                descriptor: tls::Descriptor::new(socket.as_fd().try_clone_to_owned()?),
            }),
            Self::Tls(source) => Kind::Tls(source.client_socket()?),
        };
        Ok(ClientSocket(kind))
    }
}

impl ClientSocket {
    /// Sends `messages` whole, waiting for room if too much waits for this client already. Cancel-safe. `scratch` is the
    /// calling thread's and stays empty.
    pub(crate) async fn send(
        &self,
        messages: &[u8],
        scratch: &mut Buffer,
    ) -> Result<(), SessionError> {
        match &self.0 {
            Kind::Tls(socket) => socket.send(messages, scratch).await,
            Kind::Plain(socket) => socket.send(messages).await,
        }
    }

    /// Sends `messages` whole and at once, or says that there is no room.
    pub(crate) fn offer(
        &self,
        messages: &[u8],
        scratch: &mut Buffer,
    ) -> Result<Offer, SessionError> {
        match &self.0 {
            Kind::Tls(socket) => socket.offer(messages, scratch),
            Kind::Plain(socket) => socket.offer(messages),
        }
    }

    /// Sends `close_notify` where there is TLS. Nothing may be sent after it by anybody.
    pub(crate) fn close_notify(&self, scratch: &mut Buffer) -> Result<(), SessionError> {
        match &self.0 {
            Kind::Tls(socket) => socket.close_notify(scratch),
            Kind::Plain(socket) => {
                socket.lock()?.call_owner();
                Ok(())
            }
        }
    }
}

impl PlainSocket {
    fn offer(&self, messages: &[u8]) -> Result<Offer, SessionError> {
        let mut outbox = self.lock()?;
        outbox.check_open()?;
        if !outbox.has_room() {
            return Ok(Offer::NoRoom);
        }
        let sent = outbox.send(messages, |bytes| self.descriptor.try_send(bytes));
        if !outbox.is_empty() {
            outbox.call_owner();
        }
        sent.map_err(SessionError::Io).map(|()| Offer::Taken)
    }

    async fn send(&self, messages: &[u8]) -> Result<(), SessionError> {
        while self.offer(messages)? == Offer::NoRoom {
            poll_fn(|cx| self.lock()?.poll_room(cx).map(Ok::<_, SessionError>)).await?;
        }
        Ok(())
    }

    fn lock(&self) -> Result<MutexGuard<'_, Outbox>, SessionError> {
        self.outbox.lock().map_err(|_| SessionError::Poisoned)
    }
}
