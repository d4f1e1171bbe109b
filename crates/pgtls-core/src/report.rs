//! [`ConnectionReport`]: all that is known of one connection when it is over, and the closed sets of words in it.

use std::sync::Arc;

use pgtls_tls::failure::TlsFailureReason;
use pgtls_tls::summary::TlsSummary;

/// Why a connection ended. The word is the metric label and the log field `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The client ended the session, by `Terminate` or by closing, and the backend followed.
    ClientClosed,
    /// The backend ended the session first.
    BackendClosed,
    /// The client's socket failed.
    ClientReset,
    /// The backend's socket failed.
    BackendReset,
    /// The client left before its StartupMessage.
    ClosedBeforeStartup,
    /// The TLS handshake with the client failed.
    ClientTlsHandshakeFailed,
    /// The client's TLS broke during the session.
    ClientTlsFailed,
    /// The backend's TLS handshake failed or it refused TLS.
    BackendTlsHandshakeFailed,
    /// The backend's TLS broke during the session.
    BackendTlsFailed,
    /// No backend address could be reached.
    BackendUnreachable,
    /// The client broke the start-up protocol.
    ClientProtocolViolation,
    /// The backend broke the start-up protocol.
    BackendProtocolViolation,
    /// TLS is required and the client did not use it.
    TlsRequired,
    /// A hook refused the connection.
    HookRefused,
    /// Only mapped client certificates may log in, and the client showed none.
    ClientCertificateMissing,
    /// The client's certificate is not mapped to the user it asked for.
    ClientCertificateNotMapped,
    /// The client asked for channel binding, which two different certificates make impossible.
    ChannelBindingConflict,
    /// A limit on connections was reached.
    TooManyConnections,
    /// `client_login_timeout` passed before the first ReadyForQuery.
    LoginTimeout,
    /// A CancelRequest was forwarded.
    CancelForwarded,
    /// A CancelRequest could not be forwarded.
    CancelFailed,
    /// Cut at the end of a drain.
    Drained,
    /// `client_idle_timeout` passed without a byte in either direction.
    IdleTimeout,
    /// The thread that answered the client died in the middle of an answer.
    ResponderLost,
    /// A panic in this connection's task.
    Panic,
    /// The worker that served the connection died.
    WorkerLost,
}

impl CloseReason {
    /// Every reason.
    pub const ALL: [Self; 26] = [
        Self::ClientClosed,
        Self::BackendClosed,
        Self::ClientReset,
        Self::BackendReset,
        Self::ClosedBeforeStartup,
        Self::ClientTlsHandshakeFailed,
        Self::ClientTlsFailed,
        Self::BackendTlsHandshakeFailed,
        Self::BackendTlsFailed,
        Self::BackendUnreachable,
        Self::ClientProtocolViolation,
        Self::BackendProtocolViolation,
        Self::TlsRequired,
        Self::HookRefused,
        Self::ClientCertificateMissing,
        Self::ClientCertificateNotMapped,
        Self::ChannelBindingConflict,
        Self::TooManyConnections,
        Self::LoginTimeout,
        Self::CancelForwarded,
        Self::CancelFailed,
        Self::Drained,
        Self::IdleTimeout,
        Self::ResponderLost,
        Self::Panic,
        Self::WorkerLost,
    ];

    /// The word for logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientClosed => "client_closed",
            Self::BackendClosed => "backend_closed",
            Self::ClientReset => "client_reset",
            Self::BackendReset => "backend_reset",
            Self::ClosedBeforeStartup => "closed_before_startup",
            Self::ClientTlsHandshakeFailed => "client_tls_handshake_failed",
            Self::ClientTlsFailed => "client_tls_failed",
            Self::BackendTlsHandshakeFailed => "backend_tls_handshake_failed",
            Self::BackendTlsFailed => "backend_tls_failed",
            Self::BackendUnreachable => "backend_unreachable",
            Self::ClientProtocolViolation => "client_protocol_violation",
            Self::BackendProtocolViolation => "backend_protocol_violation",
            Self::TlsRequired => "tls_required",
            Self::HookRefused => "hook_refused",
            Self::ClientCertificateMissing => "client_certificate_missing",
            Self::ClientCertificateNotMapped => "client_certificate_not_mapped",
            Self::ChannelBindingConflict => "channel_binding_conflict",
            Self::TooManyConnections => "too_many_connections",
            Self::LoginTimeout => "login_timeout",
            Self::CancelForwarded => "cancel_forwarded",
            Self::CancelFailed => "cancel_failed",
            Self::Drained => "drained",
            Self::IdleTimeout => "idle_timeout",
            Self::ResponderLost => "responder_lost",
            Self::Panic => "panic",
            Self::WorkerLost => "worker_lost",
        }
    }
}

/// Who caused the end, where it was a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultSide {
    /// The client.
    Client,
    /// The backend.
    Backend,
    /// pgtls itself.
    Proxy,
}

impl FaultSide {
    /// The word for logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Backend => "backend",
            Self::Proxy => "proxy",
        }
    }
}

/// How far a connection came: the phases of ARCHITECTURE.md that run in Rust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// TLS handshake with the client.
    ClientHandshake,
    /// Waiting for the StartupMessage or CancelRequest.
    Route,
    /// Connecting to the backend.
    Backend,
    /// Until the first ReadyForQuery.
    Authenticate,
    /// The session.
    Relay,
}

impl Phase {
    /// The word for logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientHandshake => "client_handshake",
            Self::Route => "route",
            Self::Backend => "backend",
            Self::Authenticate => "authenticate",
            Self::Relay => "relay",
        }
    }
}

/// Which leg of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsSide {
    /// Between the client and pgtls.
    Client,
    /// Between pgtls and the backend.
    Backend,
}

/// Who sent an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertDirection {
    /// pgtls did.
    Sent,
    /// The peer did.
    Received,
}

/// A TLS alert that ended a leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertReport {
    /// Who sent it.
    pub direction: AlertDirection,
    /// On which leg.
    pub side: TlsSide,
    /// RFC 8446's name of it.
    pub description: String,
}

/// What a leg's handshake agreed on.
#[derive(Clone, Debug)]
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
    pub is_resumed: bool,
    /// The peer's certificate, if it showed one; boxed, since few clients do.
    pub peer_cert: Option<Box<PeerCertReport>>,
}

/// Whom a certificate names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertReport {
    /// Its subject.
    pub subject: String,
    /// Its subjectAltName; left out for a backend's.
    pub sans: Vec<String>,
    /// SHA-256 of it, lower-case hexadecimal.
    pub sha256: String,
}

impl TlsReport {
    /// From a finished handshake.
    #[must_use]
    pub fn of(summary: &TlsSummary, side: TlsSide) -> Self {
        let peer_cert = summary.peer_leaf().map(|leaf| {
            Box::new(PeerCertReport {
                subject: leaf.subject,
                sans: match side {
                    TlsSide::Client => leaf.sans,
                    TlsSide::Backend => Vec::new(),
                },
                sha256: leaf.sha256,
            })
        });
        Self {
            version: summary.version.to_owned(),
            cipher: summary.cipher.clone(),
            group: summary.group.clone(),
            alpn: summary.alpn.clone(),
            is_resumed: summary.is_resumed,
            peer_cert,
        }
    }
}

/// All that is known of one connection when it is over.
#[derive(Clone, Debug)]
pub struct ConnectionReport {
    /// From the hand-off.
    pub connection_id: u64,
    /// From the hand-off.
    pub route_id: u32,
    /// The client's address, as handed over.
    pub client_addr: String,
    /// The address the client connected to, as handed over.
    pub listener_addr: String,
    /// The name of the backend that was chosen; none for `[proxy.backend]`.
    pub backend: Option<Arc<str>>,
    /// The backend address in use or last tried.
    pub backend_addr: Option<String>,
    /// Server name of the ClientHello.
    pub sni: Option<String>,
    /// From the StartupMessage.
    pub user: Option<String>,
    /// From the StartupMessage.
    pub database: Option<String>,
    /// From the StartupMessage.
    pub application_name: Option<String>,
    /// The client's leg, once its handshake was finished.
    pub client_tls: Option<TlsReport>,
    /// The backend's leg, once its handshake was finished.
    pub backend_tls: Option<TlsReport>,
    /// Plaintext bytes from the client, to the backend or the responder.
    pub bytes_in: u64,
    /// Plaintext bytes from the backend or the responder to the client.
    pub bytes_out: u64,
    /// From `adopt` to the end.
    pub duration_millis: u64,
    /// Why it ended.
    pub reason: CloseReason,
    /// Who caused that, where it was a fault.
    pub fault_side: Option<FaultSide>,
    /// How far it came.
    pub phase: Phase,
    /// SQLSTATE of the ErrorResponse that pgtls itself sent.
    pub sqlstate: Option<&'static str>,
    /// What went wrong, for the log.
    pub message: Option<String>,
    /// The alert that ended a leg.
    pub alert: Option<AlertReport>,
    /// Why TLS with the peer at fault failed.
    pub tls_failure: Option<TlsFailureReason>,
    /// Whether this was a CancelRequest.
    pub is_cancel: bool,
}

impl ConnectionReport {
    /// Of a connection that has come as far as a worker. If nobody writes an ending, it says that the worker was lost.
    pub(crate) fn opened(
        connection_id: u64,
        route_id: u32,
        client_addr: String,
        listener_addr: String,
    ) -> Self {
        Self {
            connection_id,
            route_id,
            client_addr,
            listener_addr,
            backend: None,
            backend_addr: None,
            sni: None,
            user: None,
            database: None,
            application_name: None,
            client_tls: None,
            backend_tls: None,
            bytes_in: 0,
            bytes_out: 0,
            duration_millis: 0,
            reason: CloseReason::WorkerLost,
            fault_side: Some(FaultSide::Proxy),
            phase: Phase::ClientHandshake,
            sqlstate: None,
            message: None,
            alert: None,
            tls_failure: None,
            is_cancel: false,
        }
    }
}
