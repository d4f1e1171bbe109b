//! `ErrorResponse`: the one message pgtls sends in its own name, and the SQLSTATEs it uses
//! (PostgreSQL documentation, appendix "PostgreSQL Error Codes").

use crate::strings::split_string;
use crate::tag;

/// The SQLSTATEs pgtls sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SqlState {
    /// 08P01: the client broke the protocol.
    ProtocolViolation,
    /// 08006: the backend can't be reached, or the connection to it failed.
    ConnectionFailure,
    /// 08001: the connection to the backend can't be established, for instance without TLS.
    SqlclientUnableToEstablish,
    /// 28000: TLS or a client certificate is required.
    InvalidAuthorization,
    /// 53300: a connection limit is reached.
    TooManyConnections,
    /// 57P01: pgtls is shutting down.
    AdminShutdown,
    /// 57P05: the session was idle for too long.
    IdleSessionTimeout,
    /// 57014: the login took too long.
    QueryCanceled,
    /// 0A000: something pgtls doesn't support.
    FeatureNotSupported,
    /// XX000: pgtls itself failed.
    InternalError,
}

impl SqlState {
    /// The five characters.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::ProtocolViolation => "08P01",
            Self::ConnectionFailure => "08006",
            Self::SqlclientUnableToEstablish => "08001",
            Self::InvalidAuthorization => "28000",
            Self::TooManyConnections => "53300",
            Self::AdminShutdown => "57P01",
            Self::IdleSessionTimeout => "57P05",
            Self::QueryCanceled => "57014",
            Self::FeatureNotSupported => "0A000",
            Self::InternalError => "XX000",
        }
    }
}

/// An error to be told to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorResponse<'a> {
    /// What kind of failure.
    pub sqlstate: SqlState,
    /// The primary message, one line, fit for the client.
    pub message: &'a str,
    /// What the client's user can do about it.
    pub hint: Option<&'a str>,
}

impl ErrorResponse<'_> {
    /// Appends the message with severity FATAL to `out`. Zero bytes in the texts, which the format
    /// can't carry, are left out.
    pub fn encode_fatal(&self, out: &mut Vec<u8>) {
        let fields = [
            (b'S', "FATAL"),
            (b'V', "FATAL"),
            (b'C', self.sqlstate.code()),
            (b'M', self.message),
        ];
        let mut body = Vec::with_capacity(self.message.len().saturating_add(128));
        for (field, text) in fields.into_iter().chain(self.hint.map(|hint| (b'H', hint))) {
            body.push(field);
            body.extend(text.bytes().filter(|&byte| byte != 0));
            body.push(0);
        }
        body.push(0);
        let length = u32::try_from(body.len().saturating_add(4)).unwrap_or(u32::MAX);
        out.push(tag::ERROR_RESPONSE);
        out.extend_from_slice(&length.to_be_bytes());
        out.append(&mut body);
    }
}

/// The value of one field (`b'C'` = SQLSTATE, `b'M'` = message, …) in the body of a backend's
/// `ErrorResponse` or `NoticeResponse`. `None` when it isn't there.
#[must_use]
pub fn error_field(body: &[u8], field: u8) -> Option<&[u8]> {
    let mut rest = body;
    loop {
        let (&found, value_onwards) = rest.split_first()?;
        if found == 0 {
            return None;
        }
        let (value, behind) = split_string(value_onwards)?;
        if found == field {
            return Some(value);
        }
        rest = behind;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_severity_sqlstate_message_and_hint() {
        let error = ErrorResponse {
            sqlstate: SqlState::InvalidAuthorization,
            message: "TLS is required",
            hint: Some("Connect with sslmode=require."),
        };
        let mut out = b"kept".to_vec();
        error.encode_fatal(&mut out);
        let body = b"SFATAL\0VFATAL\0C28000\0MTLS is required\0HConnect with sslmode=require.\0\0";
        let length = u32::try_from(body.len() + 4).expect("a short body");
        assert_eq!(out, [b"keptE", &length.to_be_bytes()[..], body].concat());
    }

    #[test]
    fn leaves_out_an_absent_hint_and_zero_bytes() {
        let error = ErrorResponse {
            sqlstate: SqlState::InternalError,
            message: "a\0b",
            hint: None,
        };
        let mut out = Vec::new();
        error.encode_fatal(&mut out);
        assert_eq!(&out[5..], b"SFATAL\0VFATAL\0CXX000\0Mab\0\0");
    }

    #[test]
    fn finds_fields_by_their_letter() {
        let body = b"SFATAL\0C53300\0Msorry\0\0";
        assert_eq!(error_field(body, b'C'), Some(&b"53300"[..]));
        assert_eq!(error_field(body, b'M'), Some(&b"sorry"[..]));
        assert_eq!(error_field(body, b'H'), None);
        assert_eq!(error_field(b"Munterminated", b'M'), None);
    }
}
