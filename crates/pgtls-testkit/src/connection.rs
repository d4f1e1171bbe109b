//! `Connection`: a transport, plain or inside TLS, and how the peer ended it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::CommonState;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_rustls::TlsStream;

use crate::transport::Transport;

/// Either end of a connection under test.
#[derive(Debug)]
pub enum Connection {
    /// Without TLS.
    Plain(Transport),
    /// Inside TLS.
    Tls(Box<TlsStream<Transport>>),
}

/// How the peer ended its direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// TLS: close_notify, as it should be.
    CloseNotify,
    /// Plaintext: FIN, as it should be.
    Fin,
    /// TLS: FIN without a close_notify.
    TruncatedTls,
    /// RST, or EPIPE while writing.
    Reset,
    /// Anything else, for instance a TLS alert.
    Failed(io::ErrorKind),
}

impl Connection {
    /// The socket below.
    #[must_use]
    pub fn transport(&self) -> &Transport {
        match self {
            Self::Plain(transport) => transport,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }

    /// The socket below.
    pub fn transport_mut(&mut self) -> &mut Transport {
        match self {
            Self::Plain(transport) => transport,
            Self::Tls(stream) => stream.get_mut().0,
        }
    }

    /// What TLS agreed upon; `None` without TLS.
    #[must_use]
    pub fn tls(&self) -> Option<&CommonState> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => Some(stream.get_ref().1),
        }
    }

    /// Reads what there is into `buffer`; the ending in place of bytes.
    ///
    /// # Errors
    /// The [`Ending`], when no more bytes come.
    pub async fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, Ending> {
        match self.read(buffer).await {
            Ok(0) if matches!(self, Self::Tls(_)) => Err(Ending::CloseNotify),
            Ok(0) => Err(Ending::Fin),
            Ok(count) => Ok(count),
            Err(error) => Err(Ending::from(&error)),
        }
    }

    /// Renews our keys and asks the peer to renew its own (KeyUpdate, RFC 8446 section 4.6.3); the
    /// message goes out with the next write.
    ///
    /// # Errors
    /// When this is no TLS 1.3.
    pub fn update_keys(&mut self) -> io::Result<()> {
        let Self::Tls(stream) = self else {
            return Err(io::Error::other("no TLS"));
        };
        match &mut **stream {
            TlsStream::Client(client) => client.get_mut().1.refresh_traffic_keys(),
            TlsStream::Server(server) => server.get_mut().1.refresh_traffic_keys(),
        }
        .map_err(io::Error::other)
    }

    /// FIN without a close_notify before it.
    ///
    /// # Errors
    /// When the socket is gone already.
    pub async fn fin_without_close_notify(&mut self) -> io::Result<()> {
        self.transport_mut().shutdown().await
    }
}

impl From<&io::Error> for Ending {
    fn from(error: &io::Error) -> Self {
        #[allow(
            clippy::wildcard_enum_match_arm,
            reason = "io::ErrorKind is non-exhaustive"
        )]
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::TruncatedTls,
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::Reset,
            kind => Self::Failed(kind),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(transport) => Pin::new(transport).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(transport) => Pin::new(transport).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(transport) => Pin::new(transport).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(transport) => Pin::new(transport).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
