//! `SessionRecord`: what a fake backend saw of one connection.

use tokio::sync::watch;

use crate::checksum::Checksum;
use crate::connection::{Connection, Ending};

/// How many of the bytes behind the start-up packet are kept; all are counted.
const KEPT_BYTES: usize = 256 * 1024;

/// One connection to a fake backend, in the order of their arrival.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SessionRecord {
    /// The PROXY header behind its signature, where the backend reads one.
    pub proxy_header: Option<Vec<u8>>,
    /// Whether an SSLRequest came.
    pub saw_ssl_request: bool,
    /// What TLS agreed upon, once the handshake is done.
    pub tls: Option<TlsSeen>,
    /// Why the TLS handshake failed.
    pub tls_error: Option<String>,
    /// The StartupMessage, complete with its length.
    pub startup_packet: Option<Vec<u8>>,
    /// The CancelRequest.
    pub cancel_request: Option<CancelSeen>,
    /// The first 256 KiB of what came behind the start-up packet.
    pub received: Vec<u8>,
    /// How many bytes came behind the start-up packet.
    pub received_bytes: u64,
    /// Checksum over all of them.
    pub received_checksum: Checksum,
    /// How the peer ended its direction; `None` while it hasn't.
    pub ending: Option<Ending>,
    /// Whether the backend is done with the connection and has closed it.
    pub is_closed: bool,
}

/// A CancelRequest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CancelSeen {
    /// Process id to be cancelled.
    pub process_id: u32,
    /// Its secret.
    pub secret_key: Vec<u8>,
}

/// What the backend's side of TLS saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSeen {
    /// Server name the peer sent.
    pub sni: Option<String>,
    /// ALPN protocol agreed upon.
    pub alpn: Option<String>,
    /// For instance `TLSv1_3`.
    pub version: String,
    /// Whether the session was resumed.
    pub resumed: bool,
    /// The peer's leaf certificate, DER.
    pub client_certificate: Option<Vec<u8>>,
}

impl TlsSeen {
    /// What `connection` agreed upon as a server; `None` without TLS.
    pub(crate) fn of(connection: &Connection) -> Option<Self> {
        let Connection::Tls(stream) = connection else {
            return None;
        };
        let tokio_rustls::TlsStream::Server(stream) = &**stream else {
            return None;
        };
        let (_, session) = stream.get_ref();
        let leaf = session.peer_certificates().and_then(<[_]>::first);
        Some(Self {
            sni: session.server_name().map(ToOwned::to_owned),
            alpn: session
                .alpn_protocol()
                .map(|name| String::from_utf8_lossy(name).into_owned()),
            version: format!("{:?}", session.protocol_version()?),
            resumed: session.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
            client_certificate: leaf.map(|certificate| certificate.to_vec()),
        })
    }
}

/// Writes one record among those of a backend.
#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    records: watch::Sender<Vec<SessionRecord>>,
    index: usize,
}

impl Recorder {
    /// Appends an empty record.
    pub(crate) fn new(records: &watch::Sender<Vec<SessionRecord>>) -> Self {
        let mut index = 0;
        records.send_modify(|all| {
            index = all.len();
            all.push(SessionRecord::default());
        });
        Self {
            records: records.clone(),
            index,
        }
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut SessionRecord)) {
        self.records.send_modify(|all| {
            if let Some(record) = all.get_mut(self.index) {
                change(record);
            }
        });
    }

    pub(crate) fn received(&self, bytes: &[u8]) {
        self.update(|record| {
            let room = KEPT_BYTES.saturating_sub(record.received.len());
            record.received.extend(bytes.iter().take(room));
            record.received_bytes += u64::try_from(bytes.len()).expect("a 64-bit number");
            record.received_checksum.update(bytes);
        });
    }
}
