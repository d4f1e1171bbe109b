//! [`ConnectFailure`]: the closed set of words for why a server could not be connected to.

use std::io;

/// Why no connection to a server came about. The word is the label `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectFailure {
    /// The name is not known, or nobody could say.
    LookupFailed,
    /// The name look-up took too long.
    LookupTimeout,
    /// Nobody listens there.
    Refused,
    /// There is no way there.
    Unreachable,
    /// There is no such Unix-domain socket, or it may not be used.
    NoSocket,
    /// `connect_timeout` passed.
    Timeout,
    /// TLS failed, or the server does none; `tls_handshake_failures` says why.
    Tls,
    /// The server's answer is none of PostgreSQL's.
    ProtocolViolation,
    /// The server closed the connection, or the socket failed otherwise.
    SocketError,
}

impl ConnectFailure {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::LookupFailed,
        Self::LookupTimeout,
        Self::Refused,
        Self::Unreachable,
        Self::NoSocket,
        Self::Timeout,
        Self::Tls,
        Self::ProtocolViolation,
        Self::SocketError,
    ];

    /// The label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LookupFailed => "lookup_failed",
            Self::LookupTimeout => "lookup_timeout",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::NoSocket => "no_socket",
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::ProtocolViolation => "protocol_violation",
            Self::SocketError => "socket_error",
        }
    }

    /// What `connect` failed with.
    pub(crate) fn of_connect(error: &io::Error) -> Self {
        let kinds = [
            (io::ErrorKind::ConnectionRefused, Self::Refused),
            (io::ErrorKind::HostUnreachable, Self::Unreachable),
            (io::ErrorKind::NetworkUnreachable, Self::Unreachable),
            (io::ErrorKind::NotFound, Self::NoSocket),
            (io::ErrorKind::PermissionDenied, Self::NoSocket),
            (io::ErrorKind::TimedOut, Self::Timeout),
        ];
        let known = kinds.into_iter().find(|(kind, _)| *kind == error.kind());
        known.map_or(Self::SocketError, |(_, why)| why)
    }
}
