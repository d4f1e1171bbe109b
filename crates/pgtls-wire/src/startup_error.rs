//! `StartupError`: what is wrong with a start-up packet, in words the client may read.

use crate::error_response::SqlState;
use crate::startup::{MAX_STARTUP_PACKET_BYTES, MIN_STARTUP_PACKET_BYTES};

/// A start-up packet that is refused. The fault is always the client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StartupError {
    /// The packet's length field is outside 8…10000.
    #[error(
        "invalid length of startup packet: {length} is outside \
         {MIN_STARTUP_PACKET_BYTES}..={MAX_STARTUP_PACKET_BYTES}"
    )]
    LengthOutOfBounds {
        /// The length field as sent.
        length: u32,
    },
    /// An `SSLRequest` or `GSSENCRequest` whose length isn't 8.
    #[error("invalid length of {request}: {length} instead of 8")]
    RequestLength {
        /// `SSLRequest` or `GSSENCRequest`.
        request: &'static str,
        /// The length field as sent.
        length: usize,
    },
    /// A `CancelRequest` whose length leaves no key of 4…256 bytes.
    #[error("invalid length of CancelRequest: {length} is outside 16..=268")]
    CancelRequestLength {
        /// The length field as sent.
        length: usize,
    },
    /// A protocol version whose major number isn't 3.
    #[error("unsupported frontend protocol {major}.{minor}: server supports 3.0 and later 3.x")]
    UnsupportedProtocol {
        /// Major version asked for.
        major: u16,
        /// Minor version asked for.
        minor: u16,
    },
    /// The parameters of a `StartupMessage` end without the terminating zero byte.
    #[error("invalid startup packet layout: expected terminator as last byte")]
    MissingTerminator,
    /// A parameter name without a value behind it.
    #[error("invalid startup packet layout: parameter without a value")]
    MissingValue,
    /// Bytes behind the terminator of the parameters.
    #[error("invalid startup packet layout: bytes behind the terminator")]
    TrailingBytes,
}

impl StartupError {
    /// The text of the `ErrorResponse`, fit for the client: it names lengths and versions only.
    #[must_use]
    pub fn message(&self) -> String {
        self.to_string()
    }

    /// The SQLSTATE of the `ErrorResponse`: 0A000 for an unsupported version, otherwise 08P01.
    #[must_use]
    pub fn sqlstate(&self) -> SqlState {
        match self {
            Self::UnsupportedProtocol { .. } => SqlState::FeatureNotSupported,
            Self::LengthOutOfBounds { .. }
            | Self::RequestLength { .. }
            | Self::CancelRequestLength { .. }
            | Self::MissingTerminator
            | Self::MissingValue
            | Self::TrailingBytes => SqlState::ProtocolViolation,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{SqlState, StartupError};

    #[test]
    fn an_unsupported_version_is_feature_not_supported() {
        let error = StartupError::UnsupportedProtocol { major: 2, minor: 0 };
        assert_eq!(error.sqlstate(), SqlState::FeatureNotSupported);
        assert!(error.message().contains("protocol 2.0"));
    }

    #[test]
    fn everything_else_is_a_protocol_violation() {
        let error = StartupError::LengthOutOfBounds { length: 7 };
        assert_eq!(error.sqlstate(), SqlState::ProtocolViolation);
        assert_eq!(
            error.message(),
            "invalid length of startup packet: 7 is outside 8..=10000"
        );
    }
}
