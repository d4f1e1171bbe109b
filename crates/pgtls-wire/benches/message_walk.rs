//! What following message boundaries costs: `cargo bench -p pgtls-wire --bench message_walk`.
//!
//! Nanoseconds for 64 KiB, one read of the relay, as CopyData of about so many bytes each. Every chunk is copied first, as the
//! kernel does, so that it lies where a received one lies. The best round's median chunk counts: other work on the machine
//! only ever adds.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::arithmetic_side_effects,
    clippy::integer_division,
    reason = "a benchmark prints, and a panic is how it fails"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use pgtls_wire::MessageWalk;

const CHUNK_BYTES: usize = 64 * 1024;
const STREAM_BYTES: usize = 16 << 20;
const ROUNDS: usize = 20;

fn main() {
    for row in [30, 100, 1000, 8192] {
        let (stream, messages) = stream(row);
        let best = (0..ROUNDS)
            .map(|_| round(&stream))
            .min()
            .unwrap_or_default();
        let chunks = stream.len() / CHUNK_BYTES;
        let nanos = best.as_nanos();
        let headers = messages / chunks;
        println!(
            "rows of about {row:>4} bytes: {nanos:>5} ns for 64 KiB with {headers:>4} headers"
        );
    }
}

/// Messages of `row` bytes, more or less by three tenths, and how many they are.
fn stream(row: usize) -> (Vec<u8>, usize) {
    let mut bytes = Vec::new();
    let mut messages = 0;
    while bytes.len() < STREAM_BYTES {
        let length = row * 7 / 10 + row * 6 / 10 * (messages * 7919 % 101) / 101;
        bytes.push(b'd');
        bytes.extend(u32::try_from(length + 4).unwrap().to_be_bytes());
        bytes.resize(bytes.len() + length, b'x');
        messages += 1;
    }
    (bytes, messages)
}

/// The median of a walk's chunks.
fn round(stream: &[u8]) -> Duration {
    let mut received = vec![0; CHUNK_BYTES];
    let mut walk = MessageWalk::new();
    let mut times: Vec<Duration> = stream
        .chunks_exact(CHUNK_BYTES)
        .map(|chunk| {
            received.copy_from_slice(black_box(chunk));
            let start = Instant::now();
            walk.advance(black_box(&received)).unwrap();
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
