//! The clients' side: connections from several loopback addresses, TLS by one shared configuration, every byte counted.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use pgtls_testkit::messages::{query, startup_message, terminate};
use pgtls_testkit::{Connection, OwnedMessage, TestCa, TlsClient, Transport};
use pgtls_wire::{SSL_REQUEST, encode_cancel_request, next_message, tag};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::ledger::{Account, Ledger, add};

/// How long a client waits for anything that has to come.
const DEADLINE: Duration = Duration::from_secs(30);
const READ_BYTES: usize = 16 * 1024;
const MAX_MESSAGE_BYTES: usize = 1 << 24;
/// Clients come from 127.0.0.2 and so many of the addresses behind it: one has too few ports for a long run.
const SOURCES: u32 = 24;

/// Makes connections to the proxy.
pub(crate) struct Dialler {
    pub(crate) proxy: SocketAddr,
    pub(crate) ledger: Rc<Ledger>,
    connector: TlsConnector,
}

/// How a client comes to TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// SSLRequest first.
    Negotiated,
    /// TLS from the first byte.
    Direct,
}

/// What BackendKeyData said.
#[derive(Debug, Clone)]
pub(crate) struct CancelKey {
    process_id: u32,
    secret_key: Vec<u8>,
}

/// A logged-in client, or one on the way there.
pub(crate) struct Client {
    pub(crate) connection: Connection,
    ledger: Rc<Ledger>,
    pub(crate) account: Rc<Account>,
    buffered: Vec<u8>,
}

impl Dialler {
    pub(crate) fn new(proxy: SocketAddr, ca: &TestCa, ledger: Rc<Ledger>) -> Self {
        let tls = TlsClient::trusting(ca).with_resumption(rustls::client::Resumption::disabled());
        let config: Arc<ClientConfig> = Arc::new(tls.config());
        Self {
            proxy,
            ledger,
            connector: TlsConnector::from(config),
        }
    }

    /// A TCP connection; a small receive buffer leaves what isn't read with the proxy.
    pub(crate) async fn tcp(&self, receive_buffer: Option<u32>) -> io::Result<Transport> {
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        let [_, _, _, last] = (2 + self.ledger.next_number() % SOURCES).to_be_bytes();
        socket.bind(([127, 0, 0, last], 0).into())?;
        let stream = within(socket.connect(self.proxy)).await?;
        add(&self.ledger.connections, 1);
        Transport::tcp(stream)
    }

    /// An SSLRequest that was answered with `S`.
    pub(crate) async fn negotiated(&self, receive_buffer: Option<u32>) -> io::Result<Transport> {
        let mut transport = self.tcp(receive_buffer).await?;
        within(transport.write_all(&SSL_REQUEST)).await?;
        match within(transport.read_u8()).await? {
            b'S' => Ok(transport),
            other => Err(io::Error::other(format!("0x{other:02x} in place of S"))),
        }
    }

    /// TLS on a connection that is ready for it.
    pub(crate) async fn handshake(&self, transport: Transport) -> io::Result<Connection> {
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let stream = within(self.connector.connect(name, transport)).await?;
        Ok(Connection::Tls(Box::new(stream.into())))
    }

    /// TLS and a StartupMessage; the answer is not read yet.
    pub(crate) async fn start(
        &self,
        account: &Rc<Account>,
        start: Start,
        receive_buffer: Option<u32>,
    ) -> io::Result<Client> {
        let transport = match start {
            Start::Negotiated => self.negotiated(receive_buffer).await?,
            Start::Direct => self.tcp(receive_buffer).await?,
        };
        let mut client = Client {
            connection: self.handshake(transport).await?,
            ledger: Rc::clone(&self.ledger),
            account: Rc::clone(account),
            buffered: Vec::new(),
        };
        let user = account.user.clone();
        client
            .send(&startup_message(
                0,
                &[("user", &user), ("database", "soak")],
            ))
            .await?;
        Ok(client)
    }

    /// A session at its first ReadyForQuery, and its key.
    pub(crate) async fn log_in(
        &self,
        account: &Rc<Account>,
        start: Start,
        receive_buffer: Option<u32>,
    ) -> io::Result<(Client, CancelKey)> {
        let mut client = self.start(account, start, receive_buffer).await?;
        let messages = client.until_ready().await?;
        let key = messages
            .iter()
            .find(|message| message.tag == tag::BACKEND_KEY_DATA);
        let (process_id, secret_key) = key
            .and_then(|key| key.body.split_first_chunk())
            .ok_or_else(|| io::Error::other("no BackendKeyData"))?;
        let key = CancelKey {
            process_id: u32::from_be_bytes(*process_id),
            secret_key: secret_key.to_vec(),
        };
        Ok((client, key))
    }

    /// A CancelRequest, inside TLS or not; ends with the answer, which is a close.
    pub(crate) async fn cancel(&self, key: &CancelKey, in_tls: bool) -> io::Result<()> {
        let packet = encode_cancel_request(key.process_id, &key.secret_key);
        let mut connection = if in_tls {
            self.handshake(self.negotiated(None).await?).await?
        } else {
            Connection::Plain(self.tcp(None).await?)
        };
        within(connection.write_all(&packet)).await?;
        within(connection.flush()).await?;
        let mut rest = Vec::new();
        // However it ends: libpq doesn't look either.
        let _ = within(connection.read_to_end(&mut rest)).await;
        Ok(())
    }
}

impl Client {
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        add(&self.ledger.client_sent, bytes.len());
        self.account.client.note_sent(bytes);
        within(async {
            self.connection.write_all(bytes).await?;
            self.connection.flush().await
        })
        .await
    }

    /// The same without a deadline, towards somebody who may never read.
    pub(crate) async fn send_for_ever(&mut self, bytes: &[u8]) -> io::Result<()> {
        add(&self.ledger.client_sent, bytes.len());
        self.connection.write_all(bytes).await?;
        self.connection.flush().await
    }

    pub(crate) async fn query(&mut self, order: &str) -> io::Result<()> {
        self.send(&query(order)).await
    }

    /// A query and its answer.
    pub(crate) async fn ask(&mut self, order: &str) -> io::Result<Vec<OwnedMessage>> {
        self.query(order).await?;
        self.until_ready().await
    }

    /// The messages up to ReadyForQuery, rows left out.
    pub(crate) async fn until_ready(&mut self) -> io::Result<Vec<OwnedMessage>> {
        let mut messages = Vec::new();
        loop {
            let message = self.message().await?;
            match message.tag {
                tag::READY_FOR_QUERY => return Ok(messages),
                b'D' => {}
                _ => messages.push(message),
            }
        }
    }

    pub(crate) async fn message(&mut self) -> io::Result<OwnedMessage> {
        loop {
            let found =
                next_message(&self.buffered, MAX_MESSAGE_BYTES).map_err(io::Error::other)?;
            if let Some(message) = found {
                let (tag, body, length) = (message.tag, message.body.to_vec(), message.length);
                self.buffered.drain(..length);
                return Ok(OwnedMessage { tag, body });
            }
            if self.read_some(READ_BYTES).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Reads at most so many bytes; 0 is the end.
    pub(crate) async fn read_some(&mut self, most: usize) -> io::Result<usize> {
        let mut chunk = vec![0; most];
        let count = within(self.connection.read(&mut chunk)).await?;
        chunk.truncate(count);
        add(&self.ledger.client_received, count);
        self.account.client.note_received(&chunk);
        self.buffered.extend(chunk);
        Ok(count)
    }

    /// Reads and forgets up to the end.
    pub(crate) async fn read_to_end(&mut self) -> io::Result<()> {
        while self.read_some(READ_BYTES).await? > 0 {
            self.buffered.clear();
        }
        Ok(())
    }

    /// close_notify and FIN; reading goes on.
    pub(crate) async fn half_close(&mut self) -> io::Result<()> {
        within(self.connection.shutdown()).await
    }

    /// As libpq ends a session; waits for the proxy's end, so that everything has arrived.
    pub(crate) async fn close(mut self) -> io::Result<()> {
        self.send(&terminate()).await?;
        self.half_close().await?;
        self.read_to_end().await
    }

    /// An idle client needs no memory for what comes next.
    pub(crate) fn rest(&mut self) {
        self.buffered = Vec::new();
    }

    /// Vanishes with a reset.
    pub(crate) fn reset(self) -> io::Result<()> {
        self.connection.transport().reset_on_drop()
    }
}

/// `future`'s outcome, or `TimedOut` by the deadline.
pub(crate) async fn within<T>(future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let timed_out = |_| io::Error::new(io::ErrorKind::TimedOut, "nothing by the deadline");
    timeout(DEADLINE, future).await.map_err(timed_out)?
}
