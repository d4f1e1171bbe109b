//! Errors as JavaScript sees them: a message and a stable `code`.

use napi::Status;

/// The codes of `src/errors.ts` that come from Rust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The data plane is closed.
    Closed,
    /// No such route.
    RouteUnknown,
    /// A limit is reached.
    TooManyConnections,
    /// The descriptor cannot be adopted.
    AdoptFailed,
    /// Certificates, keys or TLS settings do not hold.
    TlsConfigInvalid,
    /// An address cannot be bound.
    BindFailed,
    /// The service manager cannot be told.
    NotifyFailed,
    /// Threads could not be started, or the addon itself failed.
    DataPlaneFailed,
}

impl AsRef<str> for Code {
    fn as_ref(&self) -> &str {
        match self {
            Self::Closed => "PGTLS_CLOSED",
            Self::RouteUnknown => "PGTLS_ROUTE_UNKNOWN",
            Self::TooManyConnections => "PGTLS_TOO_MANY_CONNECTIONS",
            Self::AdoptFailed => "PGTLS_ADOPT_FAILED",
            Self::TlsConfigInvalid => "PGTLS_TLS_CONFIG_INVALID",
            Self::BindFailed => "PGTLS_BIND_FAILED",
            Self::NotifyFailed => "PGTLS_NOTIFY_FAILED",
            Self::DataPlaneFailed => "PGTLS_DATA_PLANE_FAILED",
        }
    }
}

impl From<Status> for Code {
    fn from(_: Status) -> Self {
        Self::DataPlaneFailed
    }
}

/// What exports return.
pub(crate) type Result<T> = napi::Result<T, Code>;

/// An error of ours.
pub(crate) fn fail(code: Code, message: impl Into<String>) -> napi::Error<Code> {
    napi::Error::new(code, message.into())
}
