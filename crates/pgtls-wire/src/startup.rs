//! The packets a client may begin with: `SSLRequest`, `GSSENCRequest`, `CancelRequest` and
//! `StartupMessage` (PostgreSQL documentation, chapter "Message Formats"). They have a length but
//! no type byte.

use crate::startup_error::StartupError;
use crate::startup_message::StartupMessage;

/// Length of the shortest start-up packet: its length and its code.
pub const MIN_STARTUP_PACKET_BYTES: usize = 8;
/// Length of the longest start-up packet that is taken, PostgreSQL's `MAX_STARTUP_PACKET_LENGTH`.
pub const MAX_STARTUP_PACKET_BYTES: usize = 10_000;
/// An `SSLRequest`, complete.
pub const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

const CANCEL_REQUEST_CODE: u32 = 80_877_102;
const SSL_REQUEST_CODE: u32 = 80_877_103;
const GSSENC_REQUEST_CODE: u32 = 80_877_104;
const SUPPORTED_MAJOR: u16 = 3;
/// Length, code and process id, with a key of 4 bytes.
const MIN_CANCEL_REQUEST_BYTES: usize = 16;
/// The same with the longest key of protocol 3.2, 256 bytes.
const MAX_CANCEL_REQUEST_BYTES: usize = 268;

/// One start-up packet, borrowing from the bytes it was parsed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartupPacket<'a> {
    /// The client asks for TLS; the answer is one byte, `S` or `N`.
    SslRequest,
    /// The client asks for GSSAPI encryption.
    GssEncRequest,
    /// The client wants the running query of another session cancelled.
    CancelRequest(CancelRequest<'a>),
    /// The client wants a session.
    StartupMessage(StartupMessage<'a>),
}

/// What [`parse_startup_packet`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// Nothing is wrong so far, and more bytes are needed.
    Incomplete,
    /// A whole packet.
    Packet {
        /// The packet.
        packet: StartupPacket<'a>,
        /// Its length in bytes; what follows it doesn't belong to it.
        length: usize,
    },
}

/// A `CancelRequest`: what `BackendKeyData` said about the session to be cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CancelRequest<'a> {
    /// Process id of the session's backend.
    pub process_id: u32,
    /// Its secret, 4…256 bytes.
    pub secret_key: &'a [u8],
}

/// Parses the start-up packet at the beginning of `bytes`. What is wrong is said as early as it can
/// be known: a bad length from 4 bytes, a bad code from 8.
///
/// # Errors
/// [`StartupError`] for lengths out of bounds, an unsupported major version, malformed parameters.
pub fn parse_startup_packet(bytes: &[u8]) -> Result<Parsed<'_>, StartupError> {
    let Some((length, rest)) = split_u32(bytes) else {
        return Ok(Parsed::Incomplete);
    };
    let length = bounded_length(length)?;
    let Some((code, _)) = split_u32(rest) else {
        return Ok(Parsed::Incomplete);
    };
    check_header(code, length)?;
    let Some(body) = bytes.get(MIN_STARTUP_PACKET_BYTES..length) else {
        return Ok(Parsed::Incomplete);
    };
    let packet = parse_body(code, body)?;
    Ok(Parsed::Packet { packet, length })
}

/// A `CancelRequest`, complete, for `secret_key` as it stood in a `BackendKeyData` or another
/// `CancelRequest`.
#[must_use]
pub fn encode_cancel_request(process_id: u32, secret_key: &[u8]) -> Vec<u8> {
    let length = secret_key.len().saturating_add(12);
    let mut packet = Vec::with_capacity(length);
    packet.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    packet.extend_from_slice(&CANCEL_REQUEST_CODE.to_be_bytes());
    packet.extend_from_slice(&process_id.to_be_bytes());
    packet.extend_from_slice(secret_key);
    packet
}

fn split_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u32::from_be_bytes(*number), rest))
}

fn bounded_length(length: u32) -> Result<usize, StartupError> {
    usize::try_from(length)
        .ok()
        .filter(|bytes| (MIN_STARTUP_PACKET_BYTES..=MAX_STARTUP_PACKET_BYTES).contains(bytes))
        .ok_or(StartupError::LengthOutOfBounds { length })
}

fn protocol_version(code: u32) -> (u16, u16) {
    let [a, b, c, d] = code.to_be_bytes();
    (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
}

/// What can be said of a packet from its first 8 bytes.
fn check_header(code: u32, length: usize) -> Result<(), StartupError> {
    match code {
        SSL_REQUEST_CODE => exactly_a_header("SSLRequest", length),
        GSSENC_REQUEST_CODE => exactly_a_header("GSSENCRequest", length),
        CANCEL_REQUEST_CODE => {
            if (MIN_CANCEL_REQUEST_BYTES..=MAX_CANCEL_REQUEST_BYTES).contains(&length) {
                Ok(())
            } else {
                Err(StartupError::CancelRequestLength { length })
            }
        }
        _ => {
            let (major, minor) = protocol_version(code);
            if major == SUPPORTED_MAJOR {
                Ok(())
            } else {
                Err(StartupError::UnsupportedProtocol { major, minor })
            }
        }
    }
}

fn exactly_a_header(request: &'static str, length: usize) -> Result<(), StartupError> {
    if length == MIN_STARTUP_PACKET_BYTES {
        Ok(())
    } else {
        Err(StartupError::RequestLength { request, length })
    }
}

fn parse_body(code: u32, body: &[u8]) -> Result<StartupPacket<'_>, StartupError> {
    match code {
        SSL_REQUEST_CODE => Ok(StartupPacket::SslRequest),
        GSSENC_REQUEST_CODE => Ok(StartupPacket::GssEncRequest),
        CANCEL_REQUEST_CODE => {
            let (process_id, secret_key) =
                split_u32(body).ok_or(StartupError::CancelRequestLength { length: body.len() })?;
            Ok(StartupPacket::CancelRequest(CancelRequest {
                process_id,
                secret_key,
            }))
        }
        _ => {
            let message = StartupMessage::parse(protocol_version(code), body)?;
            Ok(StartupPacket::StartupMessage(message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn startup(code: u32, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 8).expect("a short body");
        [&length.to_be_bytes()[..], &code.to_be_bytes()[..], body].concat()
    }

    fn message(bytes: &[u8]) -> StartupMessage<'_> {
        match parse_startup_packet(bytes) {
            Ok(Parsed::Packet {
                packet: StartupPacket::StartupMessage(message),
                ..
            }) => message,
            other => panic!("expected a StartupMessage, got {other:?}"),
        }
    }

    fn error(code: u32, body: &[u8]) -> StartupError {
        parse_startup_packet(&startup(code, body)).expect_err("a refused packet")
    }

    const V3_0: u32 = 3 << 16;

    #[test]
    fn recognises_an_ssl_request_and_leaves_what_follows() {
        let bytes = [&SSL_REQUEST[..], b"more"].concat();
        assert_eq!(
            parse_startup_packet(&bytes),
            Ok(Parsed::Packet {
                packet: StartupPacket::SslRequest,
                length: 8
            })
        );
    }

    #[test]
    fn recognises_a_gssenc_request() {
        let bytes = startup(GSSENC_REQUEST_CODE, b"");
        assert_eq!(
            parse_startup_packet(&bytes),
            Ok(Parsed::Packet {
                packet: StartupPacket::GssEncRequest,
                length: 8
            })
        );
    }

    #[test]
    fn an_encryption_request_longer_than_its_header_is_refused() {
        let expected = StartupError::RequestLength {
            request: "SSLRequest",
            length: 9,
        };
        assert_eq!(error(SSL_REQUEST_CODE, b"x"), expected);
    }

    #[test]
    fn waits_for_more_at_every_prefix_of_a_valid_packet() {
        let bytes = startup(V3_0, b"user\0alice\0\0");
        for end in 0..bytes.len() {
            assert_eq!(
                parse_startup_packet(&bytes[..end]),
                Ok(Parsed::Incomplete),
                "{end}"
            );
        }
    }

    #[test]
    fn cancel_keys_of_4_to_256_bytes_survive_encoding_and_parsing() {
        for key_bytes in [4, 32, 256] {
            let key = vec![7; key_bytes];
            let bytes = encode_cancel_request(42, &key);
            let expected = CancelRequest {
                process_id: 42,
                secret_key: &key,
            };
            assert_eq!(
                parse_startup_packet(&bytes),
                Ok(Parsed::Packet {
                    packet: StartupPacket::CancelRequest(expected),
                    length: 12 + key_bytes,
                })
            );
        }
    }

    #[test]
    fn cancel_keys_shorter_than_4_or_longer_than_256_bytes_are_refused() {
        for key_bytes in [0, 3, 257] {
            let bytes = encode_cancel_request(42, &vec![7; key_bytes]);
            let length = 12 + key_bytes;
            assert_eq!(
                parse_startup_packet(&bytes),
                Err(StartupError::CancelRequestLength { length })
            );
        }
    }

    #[test]
    fn lengths_outside_the_bounds_are_refused_from_the_first_four_bytes() {
        for length in [0, 4, 7, 10_001, u32::MAX] {
            assert_eq!(
                parse_startup_packet(&length.to_be_bytes()),
                Err(StartupError::LengthOutOfBounds { length })
            );
        }
        assert_eq!(
            parse_startup_packet(&10_000_u32.to_be_bytes()),
            Ok(Parsed::Incomplete)
        );
    }

    #[test]
    fn a_major_version_other_than_3_is_refused_from_the_first_eight_bytes() {
        let bytes = [0, 0, 0, 100, 0, 2, 0, 0];
        let expected = StartupError::UnsupportedProtocol { major: 2, minor: 0 };
        assert_eq!(parse_startup_packet(&bytes), Err(expected));
    }

    #[test]
    fn any_minor_version_passes() {
        assert_eq!(message(&startup(V3_0 | 2, b"\0")).protocol, (3, 2));
        assert_eq!(message(&startup(V3_0 | 0x270f, b"\0")).protocol, (3, 9999));
    }
}
