//! Three threads and the owner write to one client over a real socket with small buffers, while the client reads slowly and
//! renews its keys; the client checks every message. And the same with a writer that is wrong, which the client must notice.
//!
//! `PGTLS_STRESS_SECONDS` says how long (3 by default; 20 for a proof).

#![cfg(not(feature = "loom"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "outside #[test] functions, too, a helper's panic is how a test fails; figures are for who runs it"
)]

mod client;
#[path = "../session/configs.rs"]
mod configs;
mod message;
mod owner;
mod socket;
mod writers;

use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use pgtls_tls::session::SessionError;
use rustls::Error;

use crate::client::{ClientFailure, ClientReport};
use crate::owner::{Owned, OwnerReport};
use crate::writers::{Writer, WriterReport};

/// Foreign writers; with the owner, who is writer 0, one more.
const WRITERS: u8 = 3;

/// Everybody who writes.
const ALL_WRITERS: usize = 4;

struct Outcome {
    client: Result<ClientReport, ClientFailure>,
    owner: Result<OwnerReport, SessionError>,
    writers: Vec<Result<WriterReport, SessionError>>,
    took: Duration,
}

/// One client, one owner and [`WRITERS`] writers made by `writer`, for `duration` or until the client is not content.
fn run(duration: Duration, writer: fn(&Owned) -> Writer) -> Outcome {
    let (client_config, server_config) = configs::configs();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let started = Instant::now();
    thread::scope(|scope| {
        let client = scope.spawn(move || client::run(address, client_config));
        let (accepted, _) = listener.accept().unwrap();
        let owner = owner::run(
            accepted,
            server_config,
            started + duration,
            |owned, sign| {
                (1..=WRITERS)
                    .map(|id| {
                        let (writer, sign) = (writer(owned), sign.clone());
                        scope.spawn(move || writers::run(id, writer, started + duration, sign))
                    })
                    .collect::<Vec<_>>()
            },
        );
        let (owner, writers) = owner;
        let writers = writers.into_iter().map(|writer| writer.join().unwrap());
        let writers = writers.collect();
        Outcome {
            client: client.join().unwrap(),
            owner,
            writers,
            took: started.elapsed(),
        }
    })
}

fn seconds() -> u64 {
    std::env::var("PGTLS_STRESS_SECONDS").map_or(3, |seconds| seconds.parse().unwrap())
}

#[test]
fn every_message_of_four_writers_arrives_whole_and_in_its_writers_order() {
    let outcome = run(Duration::from_secs(seconds()), writers::shared);
    let client = outcome.client.expect("a content client");
    let owner = outcome.owner.unwrap();
    let writers: Vec<WriterReport> = outcome.writers.into_iter().map(Result::unwrap).collect();
    let refused: u64 = writers.iter().map(|writer| writer.refused).sum();
    eprintln!("{client:?}\n{owner:?}\nrefused for want of room: {refused}");

    assert_eq!(client.received[0], owner.sent);
    for (received, writer) in client.received[1..].iter().zip(&writers) {
        assert_eq!(*received, writer.sent);
        assert!(writer.sent > 100, "a writer starved");
    }
    assert!(owner.sent > 100, "the owner starved");
    assert!(owner.residues > 100, "the residue path was hardly taken");
    assert!(refused > 10, "the limit was hardly met");
    assert!(client.key_updates > 10, "keys were hardly renewed");
    assert_eq!(owner.received, client.key_updates);
}

#[test]
fn the_client_notices_a_writer_that_sends_after_unlocking() {
    let outcome = run(Duration::from_secs(10), writers::naive);
    let failure = outcome.client.expect_err("a client that noticed");
    eprintln!("noticed after {:?}: {failure:?}", outcome.took);
    let ClientFailure::Tls(Error::DecryptError | Error::InvalidMessage(_)) = failure else {
        panic!("{failure:?}");
    };
    assert!(outcome.took < Duration::from_secs(5));
}
