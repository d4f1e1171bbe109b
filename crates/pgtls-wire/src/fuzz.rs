//! Fuzz targets of this crate: no input panics, and what is accepted is what was meant.

use std::mem::discriminant;

use pgtls_testkit::fuzz::{Fuzz, Random};

use crate::{
    AuthenticationRequest, BackendKeyData, ErrorResponse, FramingError, MessageWalk, Parsed,
    ReadyForQuery, SSL_REQUEST, SqlState, StartupPacket, encode_cancel_request, error_field,
    next_message, parse_startup_packet, sasl_initial_response_mechanism,
};

const LIMIT: usize = 3_000;

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[tag], &length.to_be_bytes()[..], body].concat()
}

fn session() -> Vec<u8> {
    [
        message(b'R', b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"),
        message(b'p', b"SCRAM-SHA-256\0\0\0\0\x05n,,n="),
        message(b'R', &[0; 4]),
        message(b'S', b"server_version\x0018.0\0"),
        message(b'K', b"\0\0\x01\x02\x09\x08\x07\x06"),
        message(b'Z', b"I"),
        message(b'Q', b"SELECT 1\0"),
        message(b'D', &[0xff; 300]),
        message(b'E', b"SFATAL\0C53300\0Msorry\0\0"),
    ]
    .concat()
}

fn startup(parameters: &[u8]) -> Vec<u8> {
    let length = u32::try_from(parameters.len() + 8).unwrap();
    [&length.to_be_bytes()[..], &[0, 3, 0, 0], parameters].concat()
}

/// Cuts `stream` in pieces, 0 bytes long some of them, the same way for the same stream.
fn pieces(stream: &[u8]) -> Vec<&[u8]> {
    let sum = stream.iter().fold(stream.len(), |sum, &byte| {
        sum.wrapping_mul(31).wrapping_add(usize::from(byte))
    });
    let mut random = Random::new(u64::try_from(sum).unwrap_or_default());
    let mut rest = stream;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let reach = if random.once_in(2) { 4 } else { 200 };
        let (piece, behind) = rest.split_at(random.below(reach).min(rest.len()));
        pieces.push(piece);
        rest = behind;
    }
    pieces
}

/// The boundaries by the definition.
fn by_messages(mut stream: &[u8]) -> Result<bool, FramingError> {
    while let Some(message) = next_message(stream, usize::MAX)? {
        stream = &stream[message.length..];
    }
    Ok(stream.is_empty())
}

#[test]
fn a_walk_in_any_pieces_is_a_walk_in_one() {
    let stream = session();
    Fuzz::new("message-walk", 60_000)
        .from([&stream[..], &stream[..200], b"", b"D\0\0\0\x03"])
        .with_words(&[
            b"Z\0\0\0\x05I",
            b"\0\0\0\x04",
            b"D\0\0\0\x03",
            b"D\xff\xff\xff\xff",
        ])
        .run(|input| {
            let mut whole = MessageWalk::new();
            let outcome = whole.advance(input);
            let mut cut = MessageWalk::new();
            let in_pieces = pieces(input)
                .into_iter()
                .try_for_each(|piece| cut.advance(piece));
            assert_eq!((in_pieces, cut), (outcome, whole));
            assert_eq!(outcome.map(|()| whole.is_at_boundary()), by_messages(input));
            let mut stepped = MessageWalk::new();
            let mut rest = input;
            let steps = loop {
                if rest.is_empty() {
                    break Ok(());
                }
                match stepped.advance_to_boundary(rest) {
                    Ok(0) => match stepped.advance(&rest[..1]) {
                        Ok(()) => rest = &rest[1..],
                        Err(error) => break Err(error),
                    },
                    Ok(count) => rest = &rest[count..],
                    Err(error) => break Err(error),
                }
            };
            assert_eq!((steps, stepped), (outcome, whole));
            (
                outcome.is_ok(),
                whole.is_at_boundary(),
                whole.pending_bytes().min(6),
            )
        });
}

#[test]
fn a_message_is_what_its_header_says() {
    let stream = session();
    Fuzz::new("message", 60_000)
        .from([&stream[..], b"Z\0\0\0\x05I", b"R\0\0\0\x08\0\0\0\0"])
        .run(|input| match next_message(input, LIMIT) {
            Ok(Some(message)) => {
                assert!(message.length <= LIMIT);
                assert_eq!(
                    super::fuzz::message(message.tag, message.body),
                    &input[..message.length]
                );
                (0, message.body.len().min(32))
            }
            Ok(None) => {
                assert!(
                    input.len() < LIMIT,
                    "as much is asked for as the limit allows"
                );
                (1, input.len().min(5))
            }
            Err(error) => {
                assert_eq!(
                    next_message(&input[..5], LIMIT),
                    Err(error),
                    "it was seen by the header"
                );
                (
                    2,
                    usize::from(matches!(error, FramingError::TooLong { .. })),
                )
            }
        });
}

#[test]
fn a_startup_packet_is_refused_early_or_taken_whole() {
    let key = [9; 256];
    let packets = [
        SSL_REQUEST.to_vec(),
        vec![0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30],
        encode_cancel_request(77, &key[..4]),
        encode_cancel_request(77, &key),
        startup(b"user\0alice\0database\0orders\0replication\0true\0\0"),
        startup(b"user\0alice\0options\0-c x=1\0\0"),
        startup(b"\0"),
    ];
    Fuzz::new("startup-packet", 80_000)
        .from(packets)
        .at_most(11_000)
        .with_words(&[
            b"user\0",
            b"database\0",
            b"\0",
            b"\0\0",
            b"\0\x03\0\x02",
            b"\x04\xd2\x16\x2e",
        ])
        .run(|input| {
            let whole = parse_startup_packet(input);
            for end in [3, 4, 7, 8, input.len() / 2, input.len().saturating_sub(1)] {
                let begun = parse_startup_packet(input.get(..end).unwrap_or(input));
                assert!(
                    begun == Ok(Parsed::Incomplete) || begun == whole,
                    "{begun:?} {whole:?}"
                );
            }
            match whole {
                Ok(Parsed::Packet { packet, length }) => {
                    assert_meant(packet, &input[..length]);
                    (0, discriminant_of(packet))
                }
                Ok(Parsed::Incomplete) => (1, 0),
                Err(error) => (2, hash_of(discriminant(&error))),
            }
        });
}

fn hash_of(value: impl std::hash::Hash) -> u64 {
    use std::hash::{DefaultHasher, Hasher};
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn discriminant_of(packet: StartupPacket<'_>) -> u64 {
    let detail = match packet {
        StartupPacket::StartupMessage(message) => (
            message.parameters().count().min(8),
            message.user().is_some(),
            message.is_replication(),
        ),
        StartupPacket::CancelRequest(request) => (request.secret_key.len(), false, false),
        StartupPacket::SslRequest | StartupPacket::GssEncRequest => (0, false, false),
    };
    hash_of((discriminant(&packet), detail))
}

/// What was parsed, written again, is what was sent.
fn assert_meant(packet: StartupPacket<'_>, sent: &[u8]) {
    match packet {
        StartupPacket::SslRequest => assert_eq!(sent, SSL_REQUEST),
        StartupPacket::GssEncRequest => assert_eq!(sent, [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30]),
        StartupPacket::CancelRequest(request) => {
            let again = encode_cancel_request(request.process_id, request.secret_key);
            assert_eq!(again, sent);
        }
        StartupPacket::StartupMessage(message) => {
            let mut body = Vec::new();
            for (name, value) in message.parameters() {
                body.extend([name, b"\0", value, b"\0"].concat());
            }
            body.push(0);
            assert_eq!(body, &sent[8..]);
            assert_eq!(message.protocol.0, 3);
            let _ = (
                message.user(),
                message.database(),
                message.application_name(),
            );
        }
    }
}

#[test]
fn bodies_of_the_authentication_phase_are_what_they_say() {
    Fuzz::new("authentication-bodies", 80_000)
        .from([
            &b"\0\0\x01\x02\x09\x08\x07\x06"[..],
            &[7; 260],
            &[7; 261],
            b"I",
            b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0",
            b"\0\0\0\x05salt",
            b"\0\0\0\0",
            b"SCRAM-SHA-256\0\0\0\0\x05n,,n=",
            b"SCRAM-SHA-256\0\xff\xff\xff\xff",
        ])
        .with_words(&[b"\0", b"SCRAM-SHA-256", b"\xff\xff\xff\xff", b"\0\0\0\x0a"])
        .run(|input| {
            let key = BackendKeyData::parse(input);
            if let Some(key) = key {
                assert_eq!(
                    [&key.process_id.to_be_bytes()[..], key.secret_key].concat(),
                    input
                );
                assert!((4..=256).contains(&key.secret_key.len()));
            }
            let mechanisms = match AuthenticationRequest::parse(input) {
                Some(AuthenticationRequest::Sasl(mechanisms)) => {
                    let bytes: usize = mechanisms.clone().map(|name| name.len() + 1).sum();
                    assert!(bytes <= input.len());
                    mechanisms.take(9).count()
                }
                Some(AuthenticationRequest::Ok) => 10,
                Some(AuthenticationRequest::Other(_)) => 11,
                None => 12,
            };
            let chosen = sasl_initial_response_mechanism(input);
            if let Some(name) = chosen {
                assert!(!name.is_empty() && input.starts_with(name.as_bytes()));
            }
            (
                key.is_some(),
                mechanisms,
                chosen.map(str::len),
                ReadyForQuery::parse(input).is_some(),
            )
        });
}

#[test]
fn fields_of_an_error_are_found_where_they_are() {
    Fuzz::new("error-fields", 60_000)
        .from([
            &b"SFATAL\0VFATAL\0C53300\0Msorry\0Htry again\0\0"[..],
            b"Mx\0\0",
            b"M",
        ])
        .with_words(&[b"M", b"\0", b"\0\0", b"C"])
        .run(|input| {
            // By the definition: strings up to an empty one, each after its letter.
            let mut strings: Vec<&[u8]> = input.split(|&byte| byte == 0).collect();
            let unterminated = strings.pop();
            assert!(unterminated.is_some());
            let fields = strings.iter().take_while(|string| !string.is_empty());
            let fields: Vec<_> = fields.filter_map(|string| string.split_first()).collect();
            for letter in *b"MCHSx" {
                let expected = fields.iter().find(|(found, _)| **found == letter);
                let expected = expected.map(|(_, value)| *value);
                assert_eq!(error_field(input, letter), expected);
            }
            fields.len()
        });
}

#[test]
fn an_error_that_is_written_can_be_read() {
    Fuzz::new("error-response", 40_000)
        .from([
            &b"TLS is required\nConnect with sslmode=require."[..],
            b"\0\n\0",
            b"a\n",
        ])
        .run(|input| {
            let text = String::from_utf8_lossy(input);
            let (message, hint) = match text.split_once('\n') {
                Some((message, hint)) => (message, Some(hint)),
                None => (&*text, None),
            };
            let error = ErrorResponse {
                sqlstate: SqlState::InternalError,
                message,
                hint,
            };
            let mut out = Vec::new();
            error.encode_fatal(&mut out);
            let read = next_message(&out, usize::MAX).unwrap().unwrap();
            assert_eq!(read.length, out.len());
            let bare = |text: &str| text.replace('\0', "").into_bytes();
            assert_eq!(error_field(read.body, b'M'), Some(&bare(message)[..]));
            assert_eq!(
                error_field(read.body, b'H').map(<[u8]>::to_vec),
                hint.map(bare)
            );
            assert_eq!(error_field(read.body, b'C'), Some(&b"XX000"[..]));
            (hint.is_some(), message.len().min(64))
        });
}
