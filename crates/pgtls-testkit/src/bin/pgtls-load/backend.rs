//! The fake backend: PostgreSQL without TLS whose queries are orders, for example to die.
//!
//! | query          | what it does                                                                        |
//! |----------------|-------------------------------------------------------------------------------------|
//! | `echo …`       | one row with the query                                                              |
//! | `flood N`      | N bytes in rows                                                                     |
//! | `cut N`        | N bytes, the last row incomplete, then a reset                                      |
//! | `fin N`        | the same, then a close                                                              |
//! | `reset`        | a reset                                                                             |
//! | `after-eof N`  | waits for the client's end, then N bytes                                            |
//! | `wait`         | waits for a CancelRequest, then an error                                            |
//! | `sink MILLIS`  | takes CopyData, pausing so long after each read                                     |
//! | `deaf MILLIS`  | reads nothing for so long, then a reset                                             |
//!
//! A user name that begins with `dead-`, `refused-` or `mute-` gets a reset, an ErrorResponse or nothing at startup.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use pgtls_testkit::messages::{
    authentication_ok, backend_key_data, error_response, message, parameter_status, ready_for_query,
};
use pgtls_testkit::{Connection, Transport};
use pgtls_wire::{Parsed, StartupPacket, next_message, parse_startup_packet, tag};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::ledger::{Account, Cancellable, Ledger, add};

const ROW_BYTES: usize = 8 * 1024;
/// How much is read at once, which is also what an idle session of this process holds.
const READ_BYTES: usize = 4 * 1024;
const MAX_MESSAGE_BYTES: usize = 1 << 24;
const BACKLOG: u32 = 4096;

/// Listens on a port of 127.0.0.1.
pub(crate) fn listen() -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    socket.listen(BACKLOG)
}

/// Accepts for ever; each session is a task of its own.
pub(crate) async fn serve(listener: TcpListener, ledger: Rc<Ledger>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let ledger = Rc::clone(&ledger);
                tokio::task::spawn_local(async move {
                    if let Ok(transport) = Transport::tcp(stream) {
                        let session = Session::new(Connection::Plain(transport), ledger);
                        session.run().await;
                    }
                });
            }
            // Out of descriptors, say: those that end make room.
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Why a session is over.
enum Over {
    /// As it should be, or by an error of the socket.
    Closed,
    /// The order was to vanish.
    Reset,
}

impl From<io::Error> for Over {
    fn from(_: io::Error) -> Self {
        Self::Closed
    }
}

struct Session {
    connection: Connection,
    ledger: Rc<Ledger>,
    account: Option<Rc<Account>>,
    buffered: Vec<u8>,
    process_id: u32,
    cancelled: Rc<Notify>,
}

impl Session {
    fn new(connection: Connection, ledger: Rc<Ledger>) -> Self {
        ledger
            .backend_sessions
            .set(ledger.backend_sessions.get().saturating_add(1));
        let process_id = ledger.next_number();
        Self {
            connection,
            ledger,
            account: None,
            buffered: Vec::new(),
            process_id,
            cancelled: Rc::default(),
        }
    }

    async fn run(mut self) {
        if let Err(Over::Reset) = self.serve().await {
            let _ = self.connection.transport().reset_on_drop();
        }
    }

    async fn serve(&mut self) -> Result<(), Over> {
        if !self.start_up().await? {
            return Ok(());
        }
        loop {
            let Some((tag, body)) = self.next_message().await? else {
                return Ok(());
            };
            match tag {
                b'Q' => {
                    let text = String::from_utf8_lossy(&body);
                    self.obey(text.trim_end_matches('\0')).await?;
                }
                tag::TERMINATE => return Ok(()),
                b'c' => {
                    self.complete().await?;
                }
                _ => {}
            }
        }
    }

    /// False if no session follows.
    async fn start_up(&mut self) -> Result<bool, Over> {
        let packet = self.read_startup_packet().await?;
        let Ok(Parsed::Packet { packet: parsed, .. }) = parse_startup_packet(&packet) else {
            return Ok(false);
        };
        let user = match parsed {
            StartupPacket::CancelRequest(cancel) => {
                self.cancel(cancel.process_id, cancel.secret_key);
                return Ok(false);
            }
            StartupPacket::StartupMessage(startup) => {
                String::from_utf8_lossy(startup.user().unwrap_or_default()).into_owned()
            }
            StartupPacket::SslRequest | StartupPacket::GssEncRequest => return Ok(false),
        };
        self.account = self.ledger.find(&user);
        self.note_received(&packet);
        if user.starts_with("dead-") {
            return Err(Over::Reset);
        }
        if user.starts_with("refused-") {
            self.send(&error_response("FATAL", "28P01", "refused"))
                .await?;
            return Ok(false);
        }
        if user.starts_with("mute-") {
            self.read_to_end().await?;
            return Ok(false);
        }
        self.log_in().await?;
        Ok(true)
    }

    async fn log_in(&mut self) -> io::Result<()> {
        let [_, a, b, c] = self.process_id.wrapping_mul(0x9e37_79b9).to_be_bytes();
        let secret_key = [a, b, c, 0x5a];
        let entry = Cancellable {
            secret_key,
            cancelled: Rc::clone(&self.cancelled),
        };
        self.ledger
            .cancellable
            .borrow_mut()
            .insert(self.process_id, entry);
        let login = [
            authentication_ok(),
            parameter_status("server_version", "18.0"),
            parameter_status("client_encoding", "UTF8"),
            backend_key_data(self.process_id, &secret_key),
            ready_for_query(),
        ];
        self.send(&login.concat()).await
    }

    fn cancel(&self, process_id: u32, secret_key: &[u8]) {
        let cancellable = self.ledger.cancellable.borrow();
        if let Some(entry) = cancellable.get(&process_id)
            && entry.secret_key == secret_key
        {
            entry.cancelled.notify_one();
        }
    }

    async fn obey(&mut self, order: &str) -> Result<(), Over> {
        let (word, argument) = order.split_once(' ').unwrap_or((order, "0"));
        let number = argument.parse().unwrap_or(0);
        let pause = Duration::from_millis(u64::try_from(number).unwrap_or(0));
        match word {
            "echo" => self.send(&message(b'D', order.as_bytes())).await?,
            "flood" => self.flood(number).await?,
            "cut" => {
                self.flood_incompletely(number).await?;
                return Err(Over::Reset);
            }
            "fin" => {
                self.flood_incompletely(number).await?;
                return Err(Over::Closed);
            }
            "reset" => return Err(Over::Reset),
            "after-eof" => {
                self.read_to_end().await?;
                self.flood(number).await?;
                return Err(Over::Closed);
            }
            "wait" => {
                self.cancelled.notified().await;
                self.send(&error_response("ERROR", "57014", "cancelled"))
                    .await?;
                self.send(&ready_for_query()).await?;
                return Ok(());
            }
            "sink" => return self.sink(pause).await,
            "deaf" => {
                let ledger = Rc::clone(&self.ledger);
                tokio::select! {
                    () = sleep(pause) => {}
                    () = ledger.released.notified() => {}
                }
                return Err(Over::Reset);
            }
            _ => {}
        }
        self.complete().await?;
        Ok(())
    }

    async fn complete(&mut self) -> io::Result<()> {
        let complete = [message(b'C', b"DONE\0"), ready_for_query()];
        self.send(&complete.concat()).await
    }

    async fn flood(&mut self, bytes: usize) -> io::Result<()> {
        let mut left = bytes;
        let mut index = 0_u8;
        while left > 0 {
            let row = left.min(ROW_BYTES);
            let body: Vec<u8> = (0..=u8::MAX)
                .map(|byte| byte ^ index)
                .cycle()
                .take(row)
                .collect();
            self.send(&message(b'D', &body)).await?;
            left = left.saturating_sub(row);
            index = index.wrapping_add(1);
        }
        Ok(())
    }

    async fn flood_incompletely(&mut self, bytes: usize) -> io::Result<()> {
        self.flood(bytes).await?;
        self.send(&[b'D', 0, 0, 1, 0, 7, 7]).await
    }

    /// Takes CopyData until CopyDone.
    async fn sink(&mut self, pause: Duration) -> Result<(), Over> {
        self.send(&message(b'G', &[0, 0, 0])).await?;
        loop {
            match self.next_message().await? {
                None => return Err(Over::Closed),
                Some((b'c', _)) => break,
                Some(_) => {}
            }
            if !pause.is_zero() {
                sleep(pause).await;
            }
        }
        self.complete().await?;
        Ok(())
    }

    async fn read_startup_packet(&mut self) -> io::Result<Vec<u8>> {
        let mut length = [0; 4];
        self.connection.read_exact(&mut length).await?;
        let bytes = usize::try_from(u32::from_be_bytes(length)).map_err(io::Error::other)?;
        let mut packet = length.to_vec();
        packet.resize(bytes.clamp(8, 10_000), 0);
        self.connection
            .read_exact(packet.get_mut(4..).unwrap_or_default())
            .await?;
        Ok(packet)
    }

    /// `None` at the end of the client's direction.
    async fn next_message(&mut self) -> io::Result<Option<(u8, Vec<u8>)>> {
        loop {
            let found =
                next_message(&self.buffered, MAX_MESSAGE_BYTES).map_err(io::Error::other)?;
            if let Some(message) = found {
                let (tag, body, length) = (message.tag, message.body.to_vec(), message.length);
                self.buffered.drain(..length);
                if self.buffered.is_empty() {
                    self.buffered = Vec::new();
                }
                return Ok(Some((tag, body)));
            }
            if self.read_some().await? == 0 {
                return Ok(None);
            }
        }
    }

    async fn read_to_end(&mut self) -> io::Result<()> {
        while self.read_some().await? > 0 {
            self.buffered.clear();
        }
        Ok(())
    }

    async fn read_some(&mut self) -> io::Result<usize> {
        let before = self.buffered.len();
        self.buffered.reserve(READ_BYTES);
        let count = self.connection.read_buf(&mut self.buffered).await?;
        self.note_received(self.buffered.get(before..).unwrap_or_default());
        Ok(count)
    }

    fn note_received(&self, bytes: &[u8]) {
        add(&self.ledger.backend_received, bytes.len());
        if let Some(account) = &self.account {
            account.backend.note_received(bytes);
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        // Noted before it is done: what is noted as sent is never less than what arrives.
        add(&self.ledger.backend_sent, bytes.len());
        if let Some(account) = &self.account {
            account.backend.note_sent(bytes);
        }
        self.connection.write_all(bytes).await
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let ledger = &self.ledger;
        ledger
            .backend_sessions
            .set(ledger.backend_sessions.get().saturating_sub(1));
        ledger.cancellable.borrow_mut().remove(&self.process_id);
    }
}
