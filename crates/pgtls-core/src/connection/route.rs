//! Phase *route*: reads the first packet behind the handshake, a StartupMessage or a CancelRequest, and says where it leads.

use std::cell::RefCell;

use pgtls_tls::stream::Received;
use pgtls_wire::{Parsed, SqlState, StartupError, StartupPacket, parse_startup_packet};

use crate::backends::Names;
use crate::connection::ending::Ending;
use crate::connection::peer::{ClientPeer, Scratch};
use crate::report::{CloseReason, FaultSide};

/// What the client wants.
#[derive(Debug)]
pub(crate) enum Request {
    Startup(Startup),
    Cancel {
        process_id: u32,
        secret_key: Vec<u8>,
    },
}

/// A session to be opened.
#[derive(Debug)]
pub(crate) struct Startup {
    /// The StartupMessage as it came, and whatever the client sent right behind it.
    pub(crate) bytes: Vec<u8>,
    /// How many of `bytes` are the StartupMessage.
    pub(crate) packet_bytes: usize,
    /// What the backend gets in its place.
    pub(crate) renamed: Option<Vec<u8>>,
    pub(crate) user: Option<String>,
    pub(crate) database: Option<String>,
    pub(crate) application_name: Option<String>,
}

impl Startup {
    /// The StartupMessage for the backend.
    pub(crate) fn packet(&self) -> &[u8] {
        let own = self.bytes.get(..self.packet_bytes);
        self.renamed.as_deref().or(own).unwrap_or_default()
    }

    /// What the client sent behind its StartupMessage.
    pub(crate) fn behind(&self) -> &[u8] {
        self.bytes.get(self.packet_bytes..).unwrap_or_default()
    }

    /// Read again from the packet.
    pub(crate) fn names(&self) -> Names<'_> {
        let Ok(Parsed::Packet {
            packet: StartupPacket::StartupMessage(startup),
            ..
        }) = parse_startup_packet(&self.bytes)
        else {
            return Names::default();
        };
        Names {
            user: startup.user(),
            database: startup.database(),
        }
    }
}

/// Reads until the first packet is complete; at most `MAX_STARTUP_PACKET_BYTES` plus one read are kept.
pub(crate) async fn read_request(
    client: &ClientPeer,
    scratch: &RefCell<Scratch>,
) -> Result<Request, Ending> {
    let mut bytes = Vec::new();
    loop {
        match client
            .receive(scratch)
            .await
            .map_err(|error| Ending::of_client(&error))?
        {
            Received::Data => bytes.extend_from_slice(scratch.borrow().plaintext.filled()),
            Received::End(_) if bytes.is_empty() => {
                return Err(Ending::quiet(CloseReason::ClosedBeforeStartup));
            }
            Received::End(_) => {
                return Err(Ending::by(
                    FaultSide::Client,
                    CloseReason::ClosedBeforeStartup,
                    "the client left in the middle of its startup packet",
                ));
            }
        }
        if let Some(request) = parse(&bytes)? {
            return Ok(request.with(bytes));
        }
    }
}

/// What was parsed, before the bytes are handed on.
enum Found {
    Startup {
        packet_bytes: usize,
        user: Option<String>,
        database: Option<String>,
        application_name: Option<String>,
    },
    Cancel {
        process_id: u32,
        secret_key: Vec<u8>,
    },
}

impl Found {
    fn with(self, bytes: Vec<u8>) -> Request {
        match self {
            Self::Startup {
                packet_bytes,
                user,
                database,
                application_name,
            } => Request::Startup(Startup {
                bytes,
                packet_bytes,
                renamed: None,
                user,
                database,
                application_name,
            }),
            Self::Cancel {
                process_id,
                secret_key,
            } => Request::Cancel {
                process_id,
                secret_key,
            },
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Option<Found>, Ending> {
    match parse_startup_packet(bytes).map_err(|error| violation(&error))? {
        Parsed::Incomplete => Ok(None),
        Parsed::Packet {
            packet: StartupPacket::StartupMessage(startup),
            length,
        } => Ok(Some(Found::Startup {
            packet_bytes: length,
            user: startup.user().map(text),
            database: startup.database().map(text),
            application_name: startup.application_name().map(text),
        })),
        Parsed::Packet {
            packet: StartupPacket::CancelRequest(cancel),
            ..
        } => Ok(Some(Found::Cancel {
            process_id: cancel.process_id,
            secret_key: cancel.secret_key.to_vec(),
        })),
        Parsed::Packet {
            packet: StartupPacket::SslRequest | StartupPacket::GssEncRequest,
            ..
        } => Err(Ending::by(
            FaultSide::Client,
            CloseReason::ClientProtocolViolation,
            "an encryption request behind the negotiation",
        )
        .telling(
            SqlState::ProtocolViolation,
            "encryption was negotiated already",
            None,
        )),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn violation(error: &StartupError) -> Ending {
    let text = if error.sqlstate() == SqlState::FeatureNotSupported {
        "unsupported frontend protocol: pgtls supports version 3"
    } else {
        "invalid startup packet"
    };
    Ending::by(
        FaultSide::Client,
        CloseReason::ClientProtocolViolation,
        error.message(),
    )
    .telling(error.sqlstate(), text, None)
}
