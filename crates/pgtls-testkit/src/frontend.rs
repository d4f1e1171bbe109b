//! `Frontend`: a client that does each step of a connection when told, and any of them wrongly.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use pgtls_wire::{SSL_REQUEST, next_message, tag};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::DEADLINE;
use crate::checksum::Checksum;
use crate::connection::{Connection, Ending};
use crate::messages::{startup_message, terminate};
use crate::tls::TlsClient;
use crate::transport::Transport;

/// The longest message the client takes.
const MAX_MESSAGE_BYTES: usize = 1 << 30;

/// A client's connection. Every method that waits fails with `TimedOut` by [`DEADLINE`].
#[derive(Debug)]
pub struct Frontend {
    connection: Connection,
    /// Read from the connection; the first `given` bytes were given to the caller.
    buffered: Vec<u8>,
    given: usize,
}

/// A message of the backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedMessage {
    /// Type byte.
    pub tag: u8,
    /// What follows the header.
    pub body: Vec<u8>,
}

impl OwnedMessage {
    /// The text of one field, if this is an ErrorResponse: `b'C'` = SQLSTATE, `b'M'` = message.
    #[must_use]
    pub fn error_field(&self, field: u8) -> Option<String> {
        let value = pgtls_wire::error_field(&self.body, field)?;
        (self.tag == tag::ERROR_RESPONSE).then(|| String::from_utf8_lossy(value).into_owned())
    }
}

/// The outcome of a COPY out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyOut {
    /// Payload bytes.
    pub payload_bytes: u64,
    /// Checksum over them.
    pub checksum: u64,
}

impl Frontend {
    /// A TCP connection, nothing sent.
    ///
    /// # Errors
    /// When it can't be made.
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = within(TcpStream::connect(address)).await?;
        Ok(Self::over(Connection::Plain(Transport::tcp(stream)?)))
    }

    /// A connection over a unix socket, nothing sent.
    ///
    /// # Errors
    /// When it can't be made.
    pub async fn connect_unix(path: &Path) -> io::Result<Self> {
        let stream = within(UnixStream::connect(path)).await?;
        Ok(Self::over(Connection::Plain(Transport::unix(stream))))
    }

    /// A client over a connection made elsewhere, for instance one end of a socket pair.
    #[must_use]
    pub fn over(connection: Connection) -> Self {
        Self {
            connection,
            buffered: Vec::new(),
            given: 0,
        }
    }

    /// Connects, asks for TLS, does the handshake and logs in as `user`.
    ///
    /// # Errors
    /// When a step fails; an ErrorResponse is named.
    pub async fn login(address: SocketAddr, tls: &TlsClient, user: &str) -> io::Result<Self> {
        let mut frontend = Self::connect(address).await?.negotiate_tls(tls).await?;
        frontend.startup(&[("user", user)]).await?;
        frontend.read_until_ready().await?;
        Ok(frontend)
    }

    /// The connection below.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The connection below.
    pub fn connection_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// The connection itself, once nothing more is to be read by messages; what was read ahead goes
    /// along.
    #[must_use]
    pub fn into_connection(self) -> (Connection, Vec<u8>) {
        let read_ahead = self.unread().to_vec();
        (self.connection, read_ahead)
    }

    /// From now on every byte (below TLS) is a write of its own (or no longer).
    pub fn set_byte_by_byte(&mut self, byte_by_byte: bool) {
        self.connection
            .transport_mut()
            .set_byte_by_byte(byte_by_byte);
    }

    /// Sends an SSLRequest and gives the byte that answers it.
    ///
    /// # Errors
    /// When none comes.
    pub async fn request_tls(&mut self) -> io::Result<u8> {
        self.send(&SSL_REQUEST).await?;
        let connection = &mut self.connection;
        within(connection.read_u8()).await
    }

    /// Sends an SSLRequest, expects `S` and does the handshake.
    ///
    /// # Errors
    /// When TLS is refused or the handshake fails.
    pub async fn negotiate_tls(mut self, tls: &TlsClient) -> io::Result<Self> {
        match self.request_tls().await? {
            b'S' => self.start_tls(tls).await,
            answer => Err(io::Error::other(format!("0x{answer:02x} in place of S"))),
        }
    }

    /// Does the TLS handshake on what is plaintext so far.
    ///
    /// # Errors
    /// When it fails. With TLS 1.3 a refused client certificate shows at the first read only.
    pub async fn start_tls(self, tls: &TlsClient) -> io::Result<Self> {
        let Connection::Plain(transport) = self.connection else {
            return Err(io::Error::other("inside TLS already"));
        };
        Ok(Self::over(within(tls.connect(transport)).await?))
    }

    /// Sends a StartupMessage of protocol 3.0.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn startup(&mut self, parameters: &[(&str, &str)]) -> io::Result<()> {
        self.send(&startup_message(0, parameters)).await
    }

    /// Sends raw bytes and flushes them.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let connection = &mut self.connection;
        within(async {
            connection.write_all(bytes).await?;
            connection.flush().await
        })
        .await
    }

    /// The next message of the backend.
    ///
    /// # Errors
    /// `UnexpectedEof` at the end, `InvalidData` when it is no message.
    pub async fn read_message(&mut self) -> io::Result<OwnedMessage> {
        loop {
            let found = next_message(self.unread(), MAX_MESSAGE_BYTES)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            if let Some(message) = found {
                let owned = OwnedMessage {
                    tag: message.tag,
                    body: message.body.to_vec(),
                };
                let length = message.length;
                self.given += length;
                return Ok(owned);
            }
            self.read_more().await.map_err(|ending| {
                io::Error::new(io::ErrorKind::UnexpectedEof, format!("ended: {ending:?}"))
            })?;
        }
    }

    /// The messages up to and including the next ReadyForQuery.
    ///
    /// # Errors
    /// As [`Self::read_message`]; an ErrorResponse FATAL is an error that names it.
    pub async fn read_until_ready(&mut self) -> io::Result<Vec<OwnedMessage>> {
        let mut messages = Vec::new();
        loop {
            let message = self.read_message().await?;
            if message.error_field(b'V').as_deref() == Some("FATAL") {
                let sqlstate = message.error_field(b'C').unwrap_or_default();
                let text = message.error_field(b'M').unwrap_or_default();
                return Err(io::Error::other(format!("FATAL {sqlstate}: {text}")));
            }
            let is_ready = message.tag == tag::READY_FOR_QUERY;
            messages.push(message);
            if is_ready {
                return Ok(messages);
            }
        }
    }

    /// Reads a COPY out up to ReadyForQuery.
    ///
    /// # Errors
    /// As [`Self::read_message`].
    pub async fn read_copy_out(&mut self) -> io::Result<CopyOut> {
        let mut checksum = Checksum::default();
        let mut payload_bytes = 0;
        loop {
            let message = self.read_message().await?;
            match message.tag {
                b'd' => {
                    checksum.update(&message.body);
                    payload_bytes += u64::try_from(message.body.len()).map_err(io::Error::other)?;
                }
                tag::READY_FOR_QUERY => {
                    return Ok(CopyOut {
                        payload_bytes,
                        checksum: checksum.value(),
                    });
                }
                _ => {}
            }
        }
    }

    /// Exactly `count` raw bytes.
    ///
    /// # Errors
    /// `UnexpectedEof` when fewer come.
    pub async fn read_exact(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.unread().len() < count {
            self.read_more().await.map_err(|ending| {
                io::Error::new(io::ErrorKind::UnexpectedEof, format!("ended: {ending:?}"))
            })?;
        }
        let bytes = self.unread().iter().take(count).copied().collect();
        self.given += count;
        Ok(bytes)
    }

    /// Everything up to the end, and how the end came.
    pub async fn read_to_end(&mut self) -> (Vec<u8>, Ending) {
        loop {
            if let Err(ending) = self.read_more().await {
                let rest = self.unread().to_vec();
                self.given = self.buffered.len();
                return (rest, ending);
            }
        }
    }

    /// Ends our direction: close_notify inside TLS, then FIN. Reading goes on.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn half_close(&mut self) -> io::Result<()> {
        let connection = &mut self.connection;
        within(connection.shutdown()).await
    }

    /// Terminate, then our end as [`Self::half_close`], then everything up to the peer's end.
    ///
    /// # Errors
    /// When the connection is gone before that.
    pub async fn close(mut self) -> io::Result<Ending> {
        self.send(&terminate()).await?;
        self.half_close().await?;
        Ok(self.read_to_end().await.1)
    }

    /// Vanishes with a reset (RST).
    ///
    /// # Errors
    /// When the socket refuses the option.
    pub fn reset(self) -> io::Result<()> {
        self.connection.transport().reset_on_drop()
    }

    fn unread(&self) -> &[u8] {
        self.buffered.get(self.given..).unwrap_or_default()
    }

    async fn read_more(&mut self) -> Result<(), Ending> {
        let mut buffer = vec![0; 64 * 1024];
        let read = timeout(DEADLINE, self.connection.read_some(&mut buffer)).await;
        let count = read.unwrap_or(Err(Ending::Failed(io::ErrorKind::TimedOut)))?;
        self.buffered.drain(..self.given);
        self.given = 0;
        self.buffered.extend(buffer.iter().take(count));
        Ok(())
    }
}

/// `future`'s outcome, or `TimedOut` by the deadline.
async fn within<T>(future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let timed_out = |_| io::Error::new(io::ErrorKind::TimedOut, "nothing by the deadline");
    timeout(DEADLINE, future).await.map_err(timed_out)?
}
