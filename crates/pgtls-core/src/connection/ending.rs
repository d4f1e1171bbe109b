//! [`Ending`]: why a phase could not go on, what the log is told, and what the client is told.

use std::io;

use pgtls_tls::failure::{AlertDirection as FailureAlert, TlsFailure, TlsFailureReason};
use pgtls_tls::session::SessionError;
use pgtls_wire::{ErrorResponse, SqlState};

use crate::metrics::ConnectFailure;
use crate::options::BackendAddress;
use crate::report::{AlertDirection, AlertReport, CloseReason, FaultSide, TlsSide};

/// The end of a connection before or during its session.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) reason: CloseReason,
    pub(crate) fault: Option<FaultSide>,
    /// For the log; may name addresses and files.
    pub(crate) message: Option<String>,
    pub(crate) alert: Option<Box<AlertReport>>,
    /// Why TLS failed, where it did.
    pub(crate) tls_failure: Option<TlsFailureReason>,
    /// Why no connection to the backend came about, where its reason does not say so.
    pub(crate) connect_failure: Option<ConnectFailure>,
    /// The backend that could not be reached.
    pub(crate) backend_addr: Option<String>,
    /// For the client; names nothing internal.
    pub(crate) notice: Option<Notice>,
}

/// What the client is told before the connection is closed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Notice {
    pub(crate) sqlstate: SqlState,
    pub(crate) text: &'static str,
    pub(crate) hint: Option<&'static str>,
}

impl Notice {
    /// The FATAL ErrorResponse.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        ErrorResponse {
            sqlstate: self.sqlstate,
            message: self.text,
            hint: self.hint,
        }
        .encode_fatal(&mut bytes);
        bytes
    }
}

/// Whose fault it is that a server could not be connected to: ours, where descriptors or memory have run out.
pub(crate) fn side_of(error: &io::Error) -> FaultSide {
    let lacks = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
    if error
        .raw_os_error()
        .is_some_and(|code| lacks.contains(&code))
    {
        FaultSide::Proxy
    } else {
        FaultSide::Backend
    }
}

impl Ending {
    /// An end that is nobody's fault.
    pub(crate) fn quiet(reason: CloseReason) -> Self {
        Self {
            reason,
            fault: None,
            message: None,
            alert: None,
            tls_failure: None,
            connect_failure: None,
            backend_addr: None,
            notice: None,
        }
    }

    /// An end that `fault` caused.
    pub(crate) fn by(fault: FaultSide, reason: CloseReason, message: impl Into<String>) -> Self {
        Self {
            fault: Some(fault),
            message: Some(message.into()),
            ..Self::quiet(reason)
        }
    }

    /// Blames another side.
    pub(crate) fn caused_by(mut self, fault: FaultSide) -> Self {
        self.fault = Some(fault);
        self
    }

    /// Adds what the client is told.
    pub(crate) fn telling(
        mut self,
        sqlstate: SqlState,
        text: &'static str,
        hint: Option<&'static str>,
    ) -> Self {
        self.notice = Some(Notice {
            sqlstate,
            text,
            hint,
        });
        self
    }

    /// The client's socket or TLS failed after the handshake.
    pub(crate) fn of_client(error: &SessionError) -> Self {
        let reason = match error {
            SessionError::Io(_) => CloseReason::ClientReset,
            SessionError::Tls(_)
            | SessionError::Certificate(_)
            | SessionError::ClosedInHandshake => CloseReason::ClientTlsFailed,
            SessionError::Poisoned => CloseReason::Panic,
        };
        Self::of_session(error, reason, TlsSide::Client)
    }

    /// The backend's socket or TLS failed after the handshake.
    pub(crate) fn of_backend(error: &SessionError) -> Self {
        let reason = match error {
            SessionError::Io(_) => CloseReason::BackendReset,
            SessionError::Tls(_)
            | SessionError::Certificate(_)
            | SessionError::ClosedInHandshake => CloseReason::BackendTlsFailed,
            SessionError::Poisoned => CloseReason::Panic,
        };
        Self::of_session(error, reason, TlsSide::Backend)
    }

    /// The backend's socket or TLS broke during the session; the client is told, where a message of ours `fits` in.
    pub(crate) fn lost_backend(error: &SessionError, fits: bool) -> Self {
        let ending = Self::of_backend(error);
        if !fits {
            return ending;
        }
        ending.telling(
            SqlState::ConnectionFailure,
            "the connection to the PostgreSQL server behind the proxy was lost",
            None,
        )
    }

    /// An end caused by the TLS or socket of `side`.
    pub(crate) fn of_session(error: &SessionError, reason: CloseReason, side: TlsSide) -> Self {
        let fault = match side {
            TlsSide::Client => FaultSide::Client,
            TlsSide::Backend => FaultSide::Backend,
        };
        let Some(tls_error) = error.tls() else {
            return Self {
                tls_failure: failure_without_tls(error, reason),
                ..Self::by(fault, reason, error.to_string())
            };
        };
        let failure = TlsFailure::from(tls_error);
        let message = match error {
            SessionError::Certificate(refused) => refused.to_string(),
            SessionError::Tls(_)
            | SessionError::Io(_)
            | SessionError::ClosedInHandshake
            | SessionError::Poisoned => failure.message,
        };
        let alert = failure.alert.map(|alert| {
            Box::new(AlertReport {
                direction: match alert.direction {
                    FailureAlert::Sent => AlertDirection::Sent,
                    FailureAlert::Received => AlertDirection::Received,
                },
                side,
                description: alert.description.to_string(),
            })
        });
        Self {
            alert,
            tls_failure: Some(failure.reason),
            ..Self::by(fault, reason, message)
        }
    }

    /// Adds why no connection came about.
    pub(crate) fn without_connection(mut self, why: ConnectFailure) -> Self {
        self.connect_failure = Some(why);
        self
    }

    /// Names the configured address.
    pub(crate) fn naming(mut self, address: &BackendAddress) -> Self {
        self.backend_addr = Some(address.to_string());
        self
    }

    /// Why no connection came about, in one word.
    pub(crate) fn connect_failure(&self) -> ConnectFailure {
        let of_reason = if self.reason == CloseReason::BackendTlsHandshakeFailed {
            ConnectFailure::Tls
        } else if self.reason == CloseReason::BackendProtocolViolation {
            ConnectFailure::ProtocolViolation
        } else {
            ConnectFailure::SocketError
        };
        self.connect_failure.unwrap_or(of_reason)
    }

    /// Adds why TLS failed.
    pub(crate) fn failing(mut self, reason: TlsFailureReason) -> Self {
        self.tls_failure = Some(reason);
        self
    }
}

/// What ended a handshake from below TLS; a session's end is no failure of TLS.
fn failure_without_tls(error: &SessionError, reason: CloseReason) -> Option<TlsFailureReason> {
    let is_handshake = matches!(
        reason,
        CloseReason::ClientTlsHandshakeFailed | CloseReason::BackendTlsHandshakeFailed
    );
    is_handshake.then_some(match error {
        SessionError::ClosedInHandshake => TlsFailureReason::Eof,
        SessionError::Io(_) => TlsFailureReason::SocketError,
        SessionError::Tls(_) | SessionError::Certificate(_) | SessionError::Poisoned => {
            TlsFailureReason::Internal
        }
    })
}
