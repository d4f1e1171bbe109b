//! Events and reports to JavaScript.

use napi_derive::napi;
use pgtls_core as core;

use crate::questions::{PeerCertificate, question_event};

/// What the data plane tells.
#[napi(
    discriminant = "type",
    discriminant_case = "kebab-case",
    use_nullable = true
)]
pub enum DataPlaneEvent {
    /// Connections are over.
    ConnectionsClosed {
        /// All that is known of each, in the order of their ends.
        reports: Vec<ConnectionReport>,
    },
    /// A handshake is finished.
    TlsEstablished {
        /// From the hand-off.
        connection_id: f64,
        /// From the hand-off.
        route_id: u32,
        /// Which leg.
        #[napi(ts_type = "'client' | 'backend'")]
        side: String,
        /// What was agreed on.
        tls: TlsReport,
    },
    /// Question: which identity and protocols answer this ClientHello?
    ClientHello {
        /// Goes with the answer.
        question_id: f64,
        /// From the hand-off.
        connection_id: f64,
        /// From the hand-off.
        route_id: u32,
        /// From the hand-off.
        client_addr: String,
        /// As sent.
        server_name: Option<String>,
        /// Protocols offered.
        alpn: Vec<String>,
    },
    /// Question: is this client welcome?
    ClientCertificate {
        /// Goes with the answer.
        question_id: f64,
        /// From the hand-off.
        connection_id: f64,
        /// From the hand-off.
        route_id: u32,
        /// From the hand-off.
        client_addr: String,
        /// Of the ClientHello.
        server_name: Option<String>,
        /// Null if it showed none.
        certificate: Option<PeerCertificate>,
    },
    /// Question: is this backend the right one?
    BackendCertificate {
        /// Goes with the answer.
        question_id: f64,
        /// From the hand-off.
        connection_id: f64,
        /// From the hand-off.
        route_id: u32,
        /// Address that was dialled.
        backend_addr: String,
        /// What it showed.
        certificate: PeerCertificate,
    },
    /// Question: which backend serves this session?
    Route {
        /// Goes with the answer.
        question_id: f64,
        /// From the hand-off.
        connection_id: f64,
        /// From the hand-off.
        route_id: u32,
        /// From the hand-off.
        client_addr: String,
        /// Of the ClientHello.
        server_name: Option<String>,
        /// Agreed on.
        alpn: Option<String>,
        /// Null if the client showed none.
        certificate: Option<PeerCertificate>,
        /// Of the StartupMessage.
        user: Option<String>,
        /// Of the StartupMessage, or its user.
        database: Option<String>,
    },
    /// verify-full accepted a backend's certificate by its CN alone; once per certificate.
    CommonNameUsed {
        /// The route concerned.
        route_id: u32,
        /// The backend.
        backend_addr: String,
        /// Subject of its certificate.
        subject: Option<String>,
        /// SHA-256 of its certificate.
        sha256: Option<String>,
    },
    /// A worker died and was replaced.
    WorkerRestarted {
        /// Its number.
        worker: u32,
        /// What it died of.
        reason: String,
    },
    /// A thread of which there is one died and began again; sessions go on.
    ThreadRestarted {
        /// Its name.
        thread: String,
        /// What it died of.
        reason: String,
    },
}

/// All that is known of a connection that is over.
#[napi(object, use_nullable = true)]
pub struct ConnectionReport {
    /// From the hand-off.
    pub connection_id: f64,
    /// From the hand-off.
    pub route_id: u32,
    /// From the hand-off.
    pub client_addr: String,
    /// From the hand-off.
    pub listener_addr: String,
    /// Name of the backend that was chosen; null for `[proxy.backend]`.
    pub backend: Option<String>,
    /// Address that was dialled.
    pub backend_addr: Option<String>,
    /// Of the ClientHello.
    pub sni: Option<String>,
    /// Of the StartupMessage.
    pub user: Option<String>,
    /// Of the StartupMessage.
    pub database: Option<String>,
    /// Of the StartupMessage.
    pub application_name: Option<String>,
    /// The client's leg.
    pub client_tls: Option<TlsReport>,
    /// The backend's leg.
    pub backend_tls: Option<TlsReport>,
    /// Plaintext from the client.
    pub bytes_in: f64,
    /// Plaintext from the backend.
    pub bytes_out: f64,
    /// Since the hand-off.
    pub duration_millis: f64,
    /// Why it ended, `snake_case`.
    pub reason: String,
    /// Who caused it, where it was a fault.
    #[napi(ts_type = "'client' | 'backend' | 'proxy' | null")]
    pub fault_side: Option<String>,
    /// How far it came.
    pub phase: String,
    /// Of the ErrorResponse that pgtls sent.
    pub sqlstate: Option<String>,
    /// For the log.
    pub message: Option<String>,
    /// That ended a leg.
    pub alert: Option<AlertReport>,
    /// Why TLS with the peer at fault failed, `snake_case`.
    pub tls_failure: Option<String>,
    /// Whether it was a CancelRequest.
    pub is_cancel: bool,
}

/// What a handshake agreed on.
#[napi(object, use_nullable = true)]
pub struct TlsReport {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: String,
    /// IANA name.
    pub cipher: String,
    /// Key exchange group.
    pub group: Option<String>,
    /// ALPN protocol.
    pub alpn: Option<String>,
    /// Whether a session was resumed.
    pub resumed: bool,
    /// Of the peer's certificate.
    pub peer_cert_subject: Option<String>,
    /// Of the peer's certificate.
    pub peer_cert_sha256: Option<String>,
    /// Of a client's certificate.
    pub peer_cert_sans: Option<Vec<String>>,
}

/// A TLS alert.
#[napi(object, use_nullable = true)]
pub struct AlertReport {
    /// Who sent it: we did, or the peer.
    #[napi(ts_type = "'sent' | 'received'")]
    pub direction: String,
    /// On which leg.
    #[napi(ts_type = "'client' | 'backend'")]
    pub side: String,
    /// RFC 8446's name.
    pub description: String,
}

impl From<core::Event> for DataPlaneEvent {
    fn from(event: core::Event) -> Self {
        match event {
            core::Event::ConnectionsClosed(reports) => Self::ConnectionsClosed {
                reports: reports.into_iter().map(ConnectionReport::from).collect(),
            },
            core::Event::TlsEstablished {
                connection_id,
                route_id,
                side,
                tls,
            } => Self::TlsEstablished {
                connection_id: number(connection_id),
                route_id,
                side: side_word(side),
                tls: TlsReport::from(tls),
            },
            core::Event::Asked {
                question_id,
                connection_id,
                route_id,
                question,
            } => question_event(question_id, connection_id, route_id, question),
            core::Event::CommonNameUsed {
                route_id,
                backend_addr,
                certificate,
            } => {
                let (subject, sha256) = certificate
                    .map(|certificate| (certificate.subject, certificate.sha256))
                    .unzip();
                Self::CommonNameUsed {
                    route_id,
                    backend_addr,
                    subject,
                    sha256,
                }
            }
            core::Event::WorkerRestarted { worker, reason } => {
                Self::WorkerRestarted { worker, reason }
            }
            core::Event::ThreadRestarted { thread, reason } => Self::ThreadRestarted {
                thread: thread.to_owned(),
                reason,
            },
        }
    }
}

impl From<core::ConnectionReport> for ConnectionReport {
    fn from(report: core::ConnectionReport) -> Self {
        Self {
            connection_id: number(report.connection_id),
            route_id: report.route_id,
            client_addr: report.client_addr,
            listener_addr: report.listener_addr,
            backend: report.backend.map(|name| name.to_string()),
            backend_addr: report.backend_addr,
            sni: report.sni,
            user: report.user,
            database: report.database,
            application_name: report.application_name,
            client_tls: report.client_tls.map(TlsReport::from),
            backend_tls: report.backend_tls.map(TlsReport::from),
            bytes_in: number(report.bytes_in),
            bytes_out: number(report.bytes_out),
            duration_millis: number(report.duration_millis),
            reason: report.reason.as_str().to_owned(),
            fault_side: report.fault_side.map(|side| side.as_str().to_owned()),
            phase: report.phase.as_str().to_owned(),
            sqlstate: report.sqlstate.map(str::to_owned),
            message: report.message,
            alert: report.alert.map(AlertReport::from),
            tls_failure: report.tls_failure.map(|reason| reason.as_str().to_owned()),
            is_cancel: report.is_cancel,
        }
    }
}

impl From<core::TlsReport> for TlsReport {
    fn from(tls: core::TlsReport) -> Self {
        let (mut subject, mut sha256, mut sans) = (None, None, None);
        if let Some(certificate) = tls.peer_cert {
            let certificate = *certificate;
            subject = Some(certificate.subject);
            sha256 = Some(certificate.sha256);
            sans = Some(certificate.sans);
        }
        Self {
            version: tls.version,
            cipher: tls.cipher,
            group: tls.group,
            alpn: tls.alpn,
            resumed: tls.is_resumed,
            peer_cert_subject: subject,
            peer_cert_sha256: sha256,
            peer_cert_sans: sans,
        }
    }
}

impl From<core::AlertReport> for AlertReport {
    fn from(alert: core::AlertReport) -> Self {
        Self {
            direction: match alert.direction {
                core::AlertDirection::Sent => "sent".to_owned(),
                core::AlertDirection::Received => "received".to_owned(),
            },
            side: side_word(alert.side),
            description: alert.description,
        }
    }
}

fn side_word(side: core::TlsSide) -> String {
    match side {
        core::TlsSide::Client => "client".to_owned(),
        core::TlsSide::Backend => "backend".to_owned(),
    }
}

/// Ids and byte counts cross as `number`: exact up to 2^53.
#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "there is no lossless conversion, and none of these numbers comes near 2^53"
)]
pub(crate) fn number(value: u64) -> f64 {
    value as f64
}

/// Seconds since 1970; what was before that is as long ago as any.
pub(crate) fn seconds(unix: i64) -> f64 {
    number(u64::try_from(unix).unwrap_or(0))
}
