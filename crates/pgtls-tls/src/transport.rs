//! [`Transport`]: what a leg asks of a socket, with TLS or without, and what its readers are told.

use std::io;
use std::task::{Context, Poll};

/// How much is read from a socket at once, behind a partial record: four full TLS records.
pub const READ_BYTES: usize = 64 * 1024;

/// Something that takes bytes without blocking.
pub trait TrySend {
    /// Sends at once what the kernel takes; `WouldBlock` when it takes nothing. Registers no waker.
    fn try_send(&self, bytes: &[u8]) -> io::Result<usize>;
}

/// A non-blocking byte stream.
pub trait Transport: TrySend {
    /// Receives into `into`; 0 is the end of the stream.
    fn poll_receive(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>>;
    /// Sends, or registers the waker for when the kernel has room.
    fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;
    /// Tells the peer that nothing more will be sent.
    fn shutdown_write(&self) -> io::Result<()>;
}

/// How a peer ended its direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndOfStream {
    /// By the TLS alert `close_notify`.
    CloseNotify,
    /// By closing the socket only; over TLS this may be a truncation.
    Fin,
}

/// What a reader got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// Plaintext was appended.
    Data,
    /// Nothing more will come.
    End(EndOfStream),
}
