//! [`Descriptor`]: a second way to a client's socket, for a thread that does not own it, and how that thread is answered.

use std::io;
use std::os::fd::OwnedFd;

use crate::transport::TrySend;

/// What became of a message offered to a [`ClientSocket`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// It is on its way, in order.
    Taken,
    /// Too much waits for this client: nothing was encrypted.
    NoRoom,
}

/// A duplicated descriptor; non-blocking, since that is a property of what it shares with the owner's.
#[derive(Debug)]
pub struct Descriptor {
    socket: socket2::Socket,
}

impl Descriptor {
    /// Takes the descriptor of a connected stream socket over.
    #[must_use]
    pub fn new(descriptor: OwnedFd) -> Self {
        Self {
            socket: socket2::Socket::from(descriptor),
        }
    }
}

impl TrySend for Descriptor {
    fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.send(bytes)
    }
}
