//! One connection of a fake backend: negotiation, login, and the scripted behaviour.

use std::io;
use std::sync::{Arc, Mutex};

use pgtls_wire::{Parsed, StartupPacket, parse_startup_packet};
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use crate::backend_behaviour::{BackendBehaviour, EncryptionAnswer};
use crate::connection::{Connection, Ending};
use crate::flood::Flood;
use crate::messages::{
    authentication_ok, authentication_sasl, backend_key_data, parameter_status, ready_for_query,
};
use crate::server_role::ServerRole;
use crate::session_record::{CancelSeen, Recorder, TlsSeen};
use crate::transport::Transport;

/// What every connection of one backend does.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) encryption: EncryptionAnswer,
    pub(crate) behaviour: BackendBehaviour,
    pub(crate) process_id: u32,
    pub(crate) secret_key: Vec<u8>,
    pub(crate) parameters: Vec<(String, String)>,
    pub(crate) byte_by_byte: bool,
    pub(crate) role: Option<ServerRole>,
    /// Sent in place of a login to those who come over TLS.
    pub(crate) refusal_in_tls: Option<Vec<u8>>,
    /// What the connections to come are told before their StartupMessage, one each.
    pub(crate) early_words: Arc<Mutex<Vec<Vec<u8>>>>,
    /// Whether each connection begins with a PROXY header, version 2.
    pub(crate) is_behind_proxy: bool,
}

/// Serves one connection to its end.
pub(crate) async fn serve(mut transport: Transport, script: Arc<Script>, recorder: Recorder) {
    transport.set_byte_by_byte(script.byte_by_byte);
    let session = Session { script, recorder };
    if let Err(error) = session.run(transport).await {
        let ending = Ending::from(&error);
        session.recorder.update(|record| {
            record.ending.get_or_insert(ending);
        });
    }
    session.recorder.update(|record| record.is_closed = true);
}

struct Session {
    script: Arc<Script>,
    recorder: Recorder,
}

impl Session {
    async fn run(&self, mut transport: Transport) -> io::Result<()> {
        if self.script.is_behind_proxy {
            self.read_proxy_header(&mut transport).await?;
        }
        let mut connection = match &self.script.encryption {
            EncryptionAnswer::Direct(config) => self.accept_tls(transport, config).await?,
            EncryptionAnswer::Refuse
            | EncryptionAnswer::Accept(_)
            | EncryptionAnswer::AcceptStuffed(..)
            | EncryptionAnswer::Raw(_)
            | EncryptionAnswer::Silence
            | EncryptionAnswer::Close => Connection::Plain(transport),
        };
        if matches!(self.script.encryption, EncryptionAnswer::Refuse) {
            self.speak_first(&mut connection).await?;
        }
        loop {
            let Some(bytes) = self.read_startup_packet(&mut connection).await? else {
                return Ok(());
            };
            match startup_packet(&bytes)? {
                StartupPacket::SslRequest => {
                    self.recorder.update(|record| record.saw_ssl_request = true);
                    match self.answer_ssl_request(connection).await? {
                        Some(next) => connection = next,
                        None => return Ok(()),
                    }
                    self.speak_first(&mut connection).await?;
                }
                StartupPacket::GssEncRequest => connection.write_all(b"N").await?,
                StartupPacket::CancelRequest(cancel) => {
                    let seen = CancelSeen {
                        process_id: cancel.process_id,
                        secret_key: cancel.secret_key.to_vec(),
                    };
                    self.recorder
                        .update(|record| record.cancel_request = Some(seen));
                    return connection.shutdown().await;
                }
                StartupPacket::StartupMessage(_) => {
                    self.recorder
                        .update(|record| record.startup_packet = Some(bytes.clone()));
                    return self.behave(connection).await;
                }
            }
        }
    }

    /// Reads a PROXY header of version 2 and not a byte more; it is recorded without its signature.
    async fn read_proxy_header(&self, transport: &mut Transport) -> io::Result<()> {
        let mut fixed = [0; 16];
        transport.read_exact(&mut fixed).await?;
        let (signature, behind) = fixed.split_at(12);
        if signature != b"\r\n\r\n\0\r\nQUIT\n" {
            return Err(io::Error::other("no PROXY header"));
        }
        let length = u16::from_be_bytes([fixed[14], fixed[15]]);
        let mut addresses = vec![0; usize::from(length)];
        transport.read_exact(&mut addresses).await?;
        let header = [behind, &addresses].concat();
        self.recorder
            .update(|record| record.proxy_header = Some(header));
        Ok(())
    }

    /// Reads one start-up packet and not a byte more; `None`, and a record of it, when the peer ends its direction instead.
    async fn read_startup_packet(
        &self,
        connection: &mut Connection,
    ) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = vec![0];
        if let Err(ending) = connection.read_some(&mut bytes).await {
            self.recorder.update(|record| {
                record.ending.get_or_insert(ending);
            });
            return Ok(None);
        }
        loop {
            match parse_startup_packet(&bytes).map_err(io::Error::other)? {
                Parsed::Packet { .. } => return Ok(Some(bytes)),
                Parsed::Incomplete => bytes.push(connection.read_u8().await?),
            }
        }
    }

    async fn speak_first(&self, connection: &mut Connection) -> io::Result<()> {
        let words = self.script.early_words.lock().expect("no panic").pop();
        if let Some(words) = words {
            connection.write_all(&words).await?;
            connection.flush().await?;
        }
        Ok(())
    }

    /// `None` when the answer ends the connection.
    async fn answer_ssl_request(&self, connection: Connection) -> io::Result<Option<Connection>> {
        let Connection::Plain(mut transport) = connection else {
            return Err(io::Error::other("an SSLRequest inside TLS"));
        };
        match &self.script.encryption {
            EncryptionAnswer::Refuse => {
                transport.write_all(b"N").await?;
                Ok(Some(Connection::Plain(transport)))
            }
            EncryptionAnswer::Accept(config) => {
                transport.write_all(b"S").await?;
                self.accept_tls(transport, config).await.map(Some)
            }
            EncryptionAnswer::AcceptStuffed(config, stuffed) => {
                transport
                    .write_all(&[b"S", stuffed.as_slice()].concat())
                    .await?;
                self.accept_tls(transport, config).await.map(Some)
            }
            EncryptionAnswer::Raw(bytes) => {
                transport.write_all(bytes).await?;
                let mut connection = Connection::Plain(transport);
                connection.shutdown().await?;
                self.read_to_end(&mut connection).await;
                Ok(None)
            }
            EncryptionAnswer::Silence => {
                self.read_to_end(&mut Connection::Plain(transport)).await;
                Ok(None)
            }
            EncryptionAnswer::Close => Ok(None),
            EncryptionAnswer::Direct(_) => Err(io::Error::other("an SSLRequest inside TLS")),
        }
    }

    async fn accept_tls(
        &self,
        transport: Transport,
        config: &Arc<ServerConfig>,
    ) -> io::Result<Connection> {
        let accepted = TlsAcceptor::from(Arc::clone(config))
            .accept(transport)
            .await;
        let stream = accepted.inspect_err(|error| {
            self.recorder
                .update(|record| record.tls_error = Some(error.to_string()));
        })?;
        let connection = Connection::Tls(Box::new(stream.into()));
        self.recorder
            .update(|record| record.tls = TlsSeen::of(&connection));
        Ok(connection)
    }

    async fn behave(&self, mut connection: Connection) -> io::Result<()> {
        if let (Connection::Tls(_), Some(refusal)) = (&connection, &self.script.refusal_in_tls) {
            connection.write_all(refusal).await?;
            connection.shutdown().await?;
            return self.finish(connection).await;
        }
        let behaviour = &self.script.behaviour;
        if behaviour.logs_in() {
            connection.write_all(&self.login()).await?;
            connection.flush().await?;
        }
        if behaviour.leaves() {
            return self.leave(connection).await;
        }
        self.converse(&mut connection).await?;
        self.finish(connection).await
    }

    /// What comes between the login and the wait for the peer's end.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the others only read, or are told apart by leaves()"
    )]
    async fn converse(&self, connection: &mut Connection) -> io::Result<()> {
        match &self.script.behaviour {
            BackendBehaviour::Echo => self.echo(connection, false).await,
            BackendBehaviour::EchoUpdatingKeys => self.echo(connection, true).await,
            BackendBehaviour::CopyOutFlood(flood) => {
                self.read_once(connection).await;
                send_flood(connection, *flood).await
            }
            BackendBehaviour::HalfClose => connection.shutdown().await,
            BackendBehaviour::AnswerAfterEof(bytes) => {
                self.read_to_end(connection).await;
                connection.write_all(bytes).await
            }
            BackendBehaviour::Answer(bytes) => {
                self.read_once(connection).await;
                connection.write_all(bytes).await
            }
            BackendBehaviour::AnswerOnPermit(parts, permits) => {
                self.read_once(connection).await;
                for part in parts {
                    let permit = permits.acquire().await.map_err(io::Error::other)?;
                    permit.forget();
                    connection.write_all(part).await?;
                    connection.flush().await?;
                }
                Ok(())
            }
            BackendBehaviour::AnswerForever(bytes) => {
                // Small, so that a crowd of these does not hide what a test measures of its process.
                self.read_into(connection, &mut [0; 256]).await;
                loop {
                    connection.write_all(bytes).await?;
                }
            }
            BackendBehaviour::BelowTls(bytes) => {
                self.read_once(connection).await;
                connection.transport_mut().write_all(bytes).await
            }
            BackendBehaviour::StallLogin(bytes) => connection.write_all(bytes).await,
            BackendBehaviour::RefuseLogin(bytes) => {
                connection.write_all(bytes).await?;
                connection.shutdown().await
            }
            BackendBehaviour::OfferSasl(mechanisms) => {
                let offer = authentication_sasl(mechanisms);
                connection.write_all(&offer).await
            }
            _ => Ok(()),
        }
    }

    /// Ends the connection without waiting for the peer to end its direction properly.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the others are told apart by leaves()"
    )]
    async fn leave(&self, mut connection: Connection) -> io::Result<()> {
        match &self.script.behaviour {
            BackendBehaviour::LastWords(bytes) => {
                self.read_once(&mut connection).await;
                connection.write_all(bytes).await?;
                connection.flush().await
            }
            BackendBehaviour::AnswerThenReset(bytes) => {
                self.read_once(&mut connection).await;
                connection.write_all(bytes).await?;
                connection.flush().await?;
                connection.transport().reset_on_drop()
            }
            BackendBehaviour::AbruptReset => {
                self.read_once(&mut connection).await;
                connection.transport().reset_on_drop()
            }
            BackendBehaviour::ResetAtStartup => connection.transport().reset_on_drop(),
            BackendBehaviour::TruncateTls => {
                self.read_once(&mut connection).await;
                connection.fin_without_close_notify().await?;
                self.read_to_end(&mut connection).await;
                Ok(())
            }
            BackendBehaviour::NeverRead => std::future::pending().await,
            _ => Ok(()),
        }
    }

    /// Reads to the end of the peer's direction, then ends ours.
    async fn finish(&self, mut connection: Connection) -> io::Result<()> {
        connection.flush().await?;
        self.read_to_end(&mut connection).await;
        connection.shutdown().await
    }

    fn login(&self) -> Vec<u8> {
        let script = &self.script;
        let mut bytes = authentication_ok();
        for (name, value) in &script.parameters {
            bytes.extend(parameter_status(name, value));
        }
        for (name, value) in script.role.iter().flat_map(ServerRole::parameters) {
            bytes.extend(parameter_status(name, value));
        }
        bytes.extend(backend_key_data(script.process_id, &script.secret_key));
        bytes.extend(ready_for_query());
        bytes
    }

    async fn echo(&self, connection: &mut Connection, updates_keys: bool) -> io::Result<()> {
        let mut buffer = vec![0; 64 * 1024];
        while let Some(bytes) = self.read_into(connection, &mut buffer).await {
            if updates_keys {
                connection.update_keys()?;
            }
            connection.write_all(bytes).await?;
            connection.flush().await?;
        }
        Ok(())
    }

    async fn read_to_end(&self, connection: &mut Connection) {
        let mut buffer = vec![0; 64 * 1024];
        while self.read_into(connection, &mut buffer).await.is_some() {}
    }

    async fn read_once(&self, connection: &mut Connection) {
        let mut buffer = vec![0; 64 * 1024];
        self.read_into(connection, &mut buffer).await;
    }

    /// Reads and records; `None` at the end, which is recorded as well. Reads nothing behind it.
    async fn read_into<'a>(
        &self,
        connection: &mut Connection,
        buffer: &'a mut [u8],
    ) -> Option<&'a [u8]> {
        let count = match connection.read_some(buffer).await {
            Ok(count) => count,
            Err(ending) => {
                self.recorder.update(|record| {
                    record.ending.get_or_insert(ending);
                });
                return None;
            }
        };
        let bytes = buffer.get(..count)?;
        self.recorder.received(bytes);
        Some(bytes)
    }
}

async fn send_flood(connection: &mut Connection, flood: Flood) -> io::Result<()> {
    let mut batch = Flood::prologue();
    for index in 0..flood.rows {
        batch.extend(flood.row(index));
        if batch.len() >= 256 * 1024 {
            connection.write_all(&batch).await?;
            batch.clear();
        }
    }
    batch.extend(flood.epilogue());
    connection.write_all(&batch).await?;
    connection.flush().await
}

fn startup_packet(bytes: &[u8]) -> io::Result<StartupPacket<'_>> {
    match parse_startup_packet(bytes).map_err(io::Error::other)? {
        Parsed::Packet { packet, .. } => Ok(packet),
        Parsed::Incomplete => Err(io::Error::other("an incomplete packet")),
    }
}
