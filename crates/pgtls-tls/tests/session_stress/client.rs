//! The client: rustls' own buffered connection, reading in small pieces, renewing its keys, and checking every message.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, Error};
use rustls_pki_types::ServerName;
use socket2::{Domain, Socket, Type};

use crate::ALL_WRITERS;
use crate::message::{self, LAST, Message};

const RECEIVE_BUFFER_BYTES: usize = 8 * 1024;
const READ_BYTES: u64 = 3000;
const MESSAGES_BETWEEN_KEY_UPDATES: u64 = 100;
const MESSAGES_BETWEEN_PAUSES: u64 = 1000;

/// What a content client counted, by writer.
#[derive(Debug, Default)]
pub(crate) struct ClientReport {
    pub(crate) received: [u64; ALL_WRITERS],
    pub(crate) bytes: u64,
    pub(crate) key_updates: u64,
}

/// Why a client is not content.
#[derive(Debug)]
#[expect(dead_code, reason = "the details are for the message of a failed test")]
pub(crate) enum ClientFailure {
    Tls(Error),
    Message(String),
    Io(io::Error),
}

impl From<io::Error> for ClientFailure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

struct Client {
    tls: ClientConnection,
    socket: TcpStream,
    unread: Vec<u8>,
    report: ClientReport,
    messages: u64,
    is_last: [bool; ALL_WRITERS],
}

/// Reads until the server closes.
pub(crate) fn run(
    address: SocketAddr,
    config: Arc<ClientConfig>,
) -> Result<ClientReport, ClientFailure> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    socket.set_tcp_nodelay(true)?;
    socket.connect(&address.into())?;
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = Client {
        tls: ClientConnection::new(config, name).map_err(ClientFailure::Tls)?,
        socket: socket.into(),
        unread: Vec::new(),
        report: ClientReport::default(),
        messages: 0,
        is_last: Default::default(),
    };
    client.send()?;
    while client.receive()? {}
    if client.is_last.contains(&false) {
        return Err(ClientFailure::Message("closed too early".to_owned()));
    }
    client.tls.send_close_notify();
    client.send()?;
    Ok(client.report)
}

impl Client {
    /// One small read; false after `close_notify`.
    fn receive(&mut self) -> Result<bool, ClientFailure> {
        if self.tls.read_tls(&mut (&self.socket).take(READ_BYTES))? == 0 {
            return Err(ClientFailure::Message("no close_notify".to_owned()));
        }
        let state = match self.tls.process_new_packets() {
            Ok(state) => state,
            Err(error) => {
                // Tells the server why.
                let _ = self.send();
                return Err(ClientFailure::Tls(error));
            }
        };
        let start = self.unread.len();
        self.unread
            .resize(start + state.plaintext_bytes_to_read(), 0);
        if start < self.unread.len() {
            self.tls.reader().read_exact(&mut self.unread[start..])?;
        }
        self.check_messages()?;
        self.send()?;
        Ok(!state.peer_has_closed())
    }

    fn check_messages(&mut self) -> Result<(), ClientFailure> {
        let mut done = 0;
        while let Some((message, length)) =
            message::read(&self.unread[done..]).map_err(ClientFailure::Message)?
        {
            self.check(&message)?;
            done += length;
            self.report.bytes += u64::try_from(length).unwrap();
        }
        self.unread.drain(..done);
        Ok(())
    }

    fn check(&mut self, message: &Message) -> Result<(), ClientFailure> {
        let writer = usize::from(message.writer);
        let expected = &mut self.report.received[writer];
        if message.sequence != *expected || self.is_last[writer] {
            let text = format!("{message:?} where {expected} was due");
            return Err(ClientFailure::Message(text));
        }
        if message.kind == LAST {
            self.is_last[writer] = true;
            return Ok(());
        }
        *expected += 1;
        self.messages += 1;
        if self.messages.is_multiple_of(MESSAGES_BETWEEN_KEY_UPDATES) {
            self.update_keys()?;
        }
        if self.messages.is_multiple_of(MESSAGES_BETWEEN_PAUSES) {
            // A reader that falls behind is what this is about.
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Renews the keys of both directions; the byte behind keeps the server from taking it for an attack.
    fn update_keys(&mut self) -> Result<(), ClientFailure> {
        self.tls
            .refresh_traffic_keys()
            .map_err(ClientFailure::Tls)?;
        self.tls.writer().write_all(b"k")?;
        self.report.key_updates += 1;
        Ok(())
    }

    fn send(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.socket)?;
        }
        Ok(())
    }
}
