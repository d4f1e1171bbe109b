//! For all inputs: nothing panics, and how a stream is cut into chunks changes nothing.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a failed expectation is a failed test; clippy exempts only #[test] functions"
)]

use pgtls_wire::{
    AuthenticationRequest, BackendKeyData, FramingError, MessageWalk, Parsed, ReadyForQuery,
    StartupPacket, error_field, next_message, parse_startup_packet,
    sasl_initial_response_mechanism,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// A stream of messages with bodies of 0…40 bytes, sometimes with an invalid length in it.
fn message_stream() -> impl Strategy<Value = Vec<u8>> {
    let message = (any::<u8>(), vec(any::<u8>(), 0..40), 0..60_u8);
    vec(message, 0..20).prop_map(|messages| {
        let mut stream = Vec::new();
        for (tag, body, chance) in messages {
            let valid = u32::try_from(body.len()).expect("a short body") + 4;
            let length = if chance == 0 { valid % 4 } else { valid };
            stream.push(tag);
            stream.extend(length.to_be_bytes());
            stream.extend(body);
        }
        stream
    })
}

/// Cuts `stream` at `cuts`, each taken modulo the length.
fn chunks<'a>(stream: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
    places.extend([0, stream.len()]);
    places.sort_unstable();
    places
        .windows(2)
        .map(|pair| &stream[pair[0]..pair[1]])
        .collect()
}

/// The boundaries by the definition: message after message with `next_message`.
fn reference(mut stream: &[u8]) -> Result<bool, FramingError> {
    while let Some(message) = next_message(stream, usize::MAX)? {
        stream = &stream[message.length..];
    }
    Ok(stream.is_empty())
}

fn walked(chunks: &[&[u8]]) -> (Result<(), FramingError>, MessageWalk) {
    let mut walk = MessageWalk::new();
    let outcome = chunks.iter().try_for_each(|chunk| walk.advance(chunk));
    (outcome, walk)
}

/// Walks message end by message end instead of chunk by chunk.
fn walked_by_boundaries(chunks: &[&[u8]]) -> (Result<(), FramingError>, MessageWalk) {
    let mut walk = MessageWalk::new();
    for chunk in chunks {
        let mut rest = *chunk;
        while !rest.is_empty() {
            let step = match walk.advance_to_boundary(rest) {
                Ok(0) => walk.advance(&rest[..1]).map(|()| 1),
                other => other,
            };
            match step {
                Ok(count) => rest = &rest[count..],
                Err(error) => return (Err(error), walk),
            }
        }
    }
    (Ok(()), walk)
}

proptest! {
    #[test]
    fn no_bytes_make_a_parser_panic(bytes in vec(any::<u8>(), 0..400), field in any::<u8>()) {
        let _ = parse_startup_packet(&bytes);
        let _ = next_message(&bytes, 300);
        let _ = BackendKeyData::parse(&bytes);
        let _ = ReadyForQuery::parse(&bytes);
        let _ = sasl_initial_response_mechanism(&bytes);
        let _ = error_field(&bytes, field);
        let _ = walked(&[&bytes]);
        if let Some(AuthenticationRequest::Sasl(mechanisms)) = AuthenticationRequest::parse(&bytes) {
            prop_assert!(mechanisms.count() <= bytes.len());
        }
    }

    #[test]
    fn no_startup_parameters_make_the_parser_panic(body in vec(0..3_u8, 0..60)) {
        let length = u32::try_from(body.len()).expect("a short body") + 8;
        let packet = [&length.to_be_bytes()[..], &[0, 3, 0, 0], &body].concat();
        if let Ok(Parsed::Packet { packet: StartupPacket::StartupMessage(message), length }) =
            parse_startup_packet(&packet)
        {
            let bytes: usize = message.parameters().map(|(n, v)| n.len() + v.len() + 2).sum();
            prop_assert_eq!(length, packet.len());
            prop_assert_eq!(bytes + 1, body.len(), "every byte belongs to a parameter");
            let _ = (message.user(), message.database(), message.is_replication());
        }
    }

    #[test]
    fn what_is_refused_stays_refused_when_more_arrives(
        bytes in vec(any::<u8>(), 0..40), more in vec(any::<u8>(), 0..40),
    ) {
        if let Err(error) = parse_startup_packet(&bytes) {
            let longer = [bytes, more].concat();
            prop_assert_eq!(parse_startup_packet(&longer), Err(error));
        }
    }

    #[test]
    fn chunking_does_not_change_the_outcome_of_a_walk(
        stream in message_stream(), cuts in vec(any::<usize>(), 0..30),
    ) {
        let whole = walked(&[&stream]);
        let cut = chunks(&stream, &cuts);
        prop_assert_eq!(walked(&cut), whole);
        prop_assert_eq!(walked_by_boundaries(&cut), whole);
        prop_assert_eq!(whole.0.map(|()| whole.1.is_at_boundary()), reference(&stream));
    }

    #[test]
    fn chunking_does_not_change_the_outcome_for_arbitrary_bytes(
        stream in vec(prop_oneof![Just(0_u8), any::<u8>()], 0..200),
        cuts in vec(any::<usize>(), 0..30),
    ) {
        prop_assert_eq!(walked(&chunks(&stream, &cuts)), walked(&[&stream]));
    }
}
