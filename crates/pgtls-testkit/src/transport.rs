//! `Transport`: the socket below a connection, TCP or unix, which can write byte by byte and reset.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A connected socket.
#[derive(Debug)]
pub struct Transport {
    socket: Socket,
    dribble: Dribble,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Whether a write takes one byte only, and whether the peer was given a chance to run since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dribble {
    Off,
    Write,
    Yield,
}

impl Transport {
    /// Over TCP, with TCP_NODELAY so that every write is a segment.
    ///
    /// # Errors
    /// When the socket refuses the option.
    pub fn tcp(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self {
            socket: Socket::Tcp(stream),
            dribble: Dribble::Off,
        })
    }

    /// Over a unix socket.
    #[must_use]
    pub fn unix(stream: UnixStream) -> Self {
        Self {
            socket: Socket::Unix(stream),
            dribble: Dribble::Off,
        }
    }

    /// From now on every byte is a write of its own (or no longer).
    pub fn set_byte_by_byte(&mut self, byte_by_byte: bool) {
        self.dribble = if byte_by_byte {
            Dribble::Write
        } else {
            Dribble::Off
        };
    }

    /// Makes the drop of a TCP socket a reset (RST) instead of a FIN. A unix socket knows no reset
    /// but that of unread bytes.
    ///
    /// # Errors
    /// When the socket refuses the option.
    pub fn reset_on_drop(&self) -> io::Result<()> {
        match &self.socket {
            Socket::Tcp(stream) => SockRef::from(stream).set_linger(Some(Duration::ZERO)),
            Socket::Unix(_) => Ok(()),
        }
    }

    /// Our own TCP address; `None` for a unix socket.
    #[must_use]
    pub fn local_address(&self) -> Option<std::net::SocketAddr> {
        match &self.socket {
            Socket::Tcp(stream) => stream.local_addr().ok(),
            Socket::Unix(_) => None,
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Socket::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.dribble == Dribble::Yield {
            self.dribble = Dribble::Write;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let bytes = match self.dribble {
            Dribble::Off => bytes,
            Dribble::Write | Dribble::Yield => bytes.get(..1).unwrap_or(bytes),
        };
        let written = ready!(match &mut self.socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Socket::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        });
        if self.dribble == Dribble::Write {
            self.dribble = Dribble::Yield;
        }
        Poll::Ready(written)
    }

    /// Several records in one write, as over a bare socket: a TLS library that gives up writes only once.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.dribble != Dribble::Off {
            let first = parts.iter().find(|part| !part.is_empty());
            return self.poll_write(context, first.map_or(&[], |part| part));
        }
        match &mut self.socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_write_vectored(context, parts),
            Socket::Unix(stream) => Pin::new(stream).poll_write_vectored(context, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Socket::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
