//! [`TlsConnectionOps`]: everything pgtls asks of one TLS connection, apart from any I/O and over caller's memory.
//!
//! Implemented for rustls' unbuffered server and client connections. The rest of pgtls sees rustls through this
//! trait alone, so that another version of it, whose calls take slices in and vectors out, drops in here.

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, UnbufferedConnectionCommon, UnbufferedStatus,
};
use rustls::{CommonState, Error};

use crate::buffer::Buffer;
use crate::client_hello::take_refusal;
use crate::old_client_hello::told_by_version;

/// What to send in the same call that processes input.
#[derive(Clone, Copy, Debug)]
pub enum Write<'a> {
    /// Only what reading itself gives rise to: handshake answers, key updates, alerts.
    Nothing,
    /// Application data, encrypted into as many records as it needs.
    Data(&'a [u8]),
    /// The `close_notify` alert.
    CloseNotify,
}

/// What one call of [`TlsConnectionOps::drive`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Driven {
    /// How many bytes of the input are done with; the rest must be passed again, unchanged and in front.
    pub consumed: usize,
    /// The peer's `close_notify` was in this input.
    pub peer_closed: bool,
    /// Whether the requested write is now in `outgoing`. False only before the handshake allows it.
    pub is_written: bool,
}

/// One TLS connection without I/O.
pub trait TlsConnectionOps: Send + 'static {
    /// Processes `incoming`, appends decrypted payloads to `plaintext` and records to send to `outgoing`,
    /// then does `write` if the connection allows it.
    ///
    /// On an error, `outgoing` holds the alert that tells the peer, if there is one.
    fn drive(
        &mut self,
        incoming: &mut [u8],
        write: Write<'_>,
        plaintext: &mut Buffer,
        outgoing: &mut Buffer,
    ) -> Result<Driven, Error>;

    /// Negotiated parameters and whether the handshake goes on.
    fn state(&self) -> &CommonState;
}

/// The difference between the two sides of rustls' unbuffered API, which share no trait.
trait Records<Data> {
    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Data>;
}

impl Records<ServerConnectionData> for UnbufferedConnectionCommon<ServerConnectionData> {
    fn process<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, ServerConnectionData> {
        self.process_tls_records(incoming)
    }
}

impl Records<ClientConnectionData> for UnbufferedConnectionCommon<ClientConnectionData> {
    fn process<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, ClientConnectionData> {
        self.process_tls_records(incoming)
    }
}

impl TlsConnectionOps for UnbufferedServerConnection {
    fn drive(
        &mut self,
        incoming: &mut [u8],
        write: Write<'_>,
        plaintext: &mut Buffer,
        outgoing: &mut Buffer,
    ) -> Result<Driven, Error> {
        drive(&mut **self, incoming, write, plaintext, outgoing).map_err(|error| {
            // Why the resolver gave nothing is told here; rustls knows only that it did.
            if let Some(refusal) = take_refusal() {
                refusal.correct_alert(outgoing.filled_mut());
                return refusal.into_error();
            }
            told_by_version(error, incoming, outgoing.filled_mut())
        })
    }

    fn state(&self) -> &CommonState {
        self
    }
}

impl TlsConnectionOps for UnbufferedClientConnection {
    fn drive(
        &mut self,
        incoming: &mut [u8],
        write: Write<'_>,
        plaintext: &mut Buffer,
        outgoing: &mut Buffer,
    ) -> Result<Driven, Error> {
        drive(&mut **self, incoming, write, plaintext, outgoing)
    }

    fn state(&self) -> &CommonState {
        self
    }
}

/// Runs rustls' state machine until it needs more input or, with the write done, has nothing left to do.
fn drive<Data>(
    connection: &mut UnbufferedConnectionCommon<Data>,
    incoming: &mut [u8],
    write: Write<'_>,
    plaintext: &mut Buffer,
    outgoing: &mut Buffer,
) -> Result<Driven, Error>
where
    UnbufferedConnectionCommon<Data>: Records<Data>,
{
    let mut driven = Driven::default();
    loop {
        let rest = incoming.get_mut(driven.consumed..).unwrap_or_default();
        let status = connection.process(rest);
        let mut discard = status.discard;
        let is_done = match status.state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    discard = discard.saturating_add(record.discard);
                    plaintext.extend(record.payload);
                }
                false
            }
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                encode(outgoing, |spare| data.encode(spare))?;
                false
            }
            Ok(ConnectionState::TransmitTlsData(transmit)) => {
                // What was encoded stands in `outgoing`, in order: from here on it counts as sent.
                transmit.done();
                false
            }
            Ok(ConnectionState::PeerClosed) => {
                driven.peer_closed = true;
                false
            }
            Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                match write {
                    Write::Nothing => {}
                    Write::Data(data) => encode(outgoing, |spare| traffic.encrypt(data, spare))?,
                    Write::CloseNotify => {
                        encode(outgoing, |spare| traffic.queue_close_notify(spare))?;
                    }
                }
                driven.is_written = true;
                true
            }
            // Blocked, closed on both sides, or early data, which no configuration of ours allows.
            Ok(_) => true,
            Err(error) => {
                driven.consumed = driven.consumed.saturating_add(discard);
                let rest = incoming.get_mut(driven.consumed..).unwrap_or_default();
                take_alert(connection, rest, outgoing);
                return Err(error);
            }
        };
        driven.consumed = driven.consumed.saturating_add(discard);
        if is_done {
            return Ok(driven);
        }
    }
}

/// After a failure: moves the alert that rustls queued into `outgoing`.
fn take_alert<Data>(
    connection: &mut UnbufferedConnectionCommon<Data>,
    rest: &mut [u8],
    outgoing: &mut Buffer,
) where
    UnbufferedConnectionCommon<Data>: Records<Data>,
{
    while CommonState::wants_write(connection) {
        let Ok(ConnectionState::EncodeTlsData(mut data)) = connection.process(rest).state else {
            return;
        };
        if encode(outgoing, |spare| data.encode(spare)).is_err() {
            return;
        }
    }
}

/// How rustls says that the memory offered is too small.
trait TooSmall {
    fn required_size(&self) -> Option<usize>;
}

impl TooSmall for EncodeError {
    fn required_size(&self) -> Option<usize> {
        match self {
            Self::InsufficientSize(error) => Some(error.required_size),
            Self::AlreadyEncoded => None,
        }
    }
}

impl TooSmall for EncryptError {
    fn required_size(&self) -> Option<usize> {
        match self {
            Self::InsufficientSize(error) => Some(error.required_size),
            Self::EncryptExhausted => None,
        }
    }
}

/// Writes into the spare memory of `outgoing`, growing it once when rustls asks for more.
fn encode<E: TooSmall + ToString>(
    outgoing: &mut Buffer,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, E>,
) -> Result<(), Error> {
    let mut result = write(outgoing.spare_mut(0));
    if let Some(required) = result.as_ref().err().and_then(TooSmall::required_size) {
        result = write(outgoing.spare_mut(required));
    }
    match result {
        Ok(written) => {
            outgoing.commit(written);
            Ok(())
        }
        Err(error) => Err(Error::General(error.to_string())),
    }
}
