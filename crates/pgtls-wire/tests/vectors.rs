//! The golden start-up packets of `test/vectors/startup.json`, which the TypeScript negotiator
//! reads as well: both must agree on every one.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a failed expectation is a failed test; clippy exempts only #[test] functions"
)]

use pgtls_wire::{
    Parsed, StartupError, StartupPacket, encode_cancel_request, parse_startup_packet,
};
use serde_json::{Value, json};

const VECTORS: &str = include_str!("../../../test/vectors/startup.json");

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<char> = hex.chars().collect();
    let byte = |pair: &[char]| u8::from_str_radix(&String::from_iter(pair), 16).expect("hex");
    digits.chunks(2).map(byte).collect()
}

fn hex(bytes: &[u8]) -> String {
    let digit = |digit| char::from_digit(u32::from(digit), 16).expect("a hexadecimal digit");
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).expect("UTF-8 in the vectors")
}

/// What the parser says, in the vectors' words.
fn outcome(input: &[u8]) -> Value {
    match parse_startup_packet(input) {
        Ok(Parsed::Incomplete) => json!({ "kind": "incomplete" }),
        Ok(Parsed::Packet { packet, length }) => packet_outcome(&packet, length),
        Err(StartupError::UnsupportedProtocol { major, minor }) => json!({
            "kind": "invalid", "reason": "protocol-major", "major": major, "minor": minor,
        }),
        Err(error) => json!({ "kind": "invalid", "reason": reason(error) }),
    }
}

fn packet_outcome(packet: &StartupPacket<'_>, consumed: usize) -> Value {
    match packet {
        StartupPacket::SslRequest => json!({ "kind": "ssl-request", "consumed": consumed }),
        StartupPacket::GssEncRequest => json!({ "kind": "gssenc-request", "consumed": consumed }),
        StartupPacket::CancelRequest(cancel) => json!({
            "kind": "cancel-request", "consumed": consumed,
            "processId": cancel.process_id, "secretKeyHex": hex(cancel.secret_key),
        }),
        StartupPacket::StartupMessage(message) => {
            let parameters: Vec<[&str; 2]> = message
                .parameters()
                .map(|(name, value)| [text(name), text(value)])
                .collect();
            json!({
                "kind": "startup", "consumed": consumed,
                "major": message.protocol.0, "minor": message.protocol.1,
                "parameters": parameters,
            })
        }
    }
}

fn reason(error: StartupError) -> &'static str {
    match error {
        StartupError::LengthOutOfBounds { .. } => "length",
        StartupError::RequestLength { .. } => "request-length",
        StartupError::CancelRequestLength { .. } => "cancel-length",
        StartupError::UnsupportedProtocol { .. } => "protocol-major",
        StartupError::MissingTerminator
        | StartupError::MissingValue
        | StartupError::TrailingBytes => "parameters",
    }
}

fn vectors() -> Vec<Value> {
    let parsed: Value = serde_json::from_str(VECTORS).expect("valid JSON");
    parsed.as_array().expect("a list of vectors").clone()
}

#[test]
fn every_golden_packet_parses_as_the_vectors_say() {
    for vector in vectors() {
        let input = bytes(vector["hex"].as_str().expect("hex"));
        assert_eq!(outcome(&input), vector["expect"], "{}", vector["name"]);
    }
}

#[test]
fn every_golden_packet_is_incomplete_at_each_shorter_prefix() {
    for vector in vectors() {
        let input = bytes(vector["hex"].as_str().expect("hex"));
        let Some(consumed) = vector["expect"]["consumed"].as_u64() else {
            continue;
        };
        for end in 0..usize::try_from(consumed).expect("a short packet") {
            let prefix = &input[..end];
            assert_eq!(
                parse_startup_packet(prefix),
                Ok(Parsed::Incomplete),
                "{}",
                vector["name"]
            );
        }
    }
}

#[test]
fn encoding_a_cancel_request_gives_the_golden_bytes_back() {
    for vector in vectors() {
        let input = bytes(vector["hex"].as_str().expect("hex"));
        if let Ok(Parsed::Packet {
            packet: StartupPacket::CancelRequest(cancel),
            ..
        }) = parse_startup_packet(&input)
        {
            assert_eq!(
                encode_cancel_request(cancel.process_id, cancel.secret_key),
                input
            );
        }
    }
}
