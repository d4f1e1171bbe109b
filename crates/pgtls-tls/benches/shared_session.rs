//! What sharing a session costs: `cargo bench -p pgtls-tls --bench shared_session`.
//!
//! Nanoseconds per operation, each the median of rounds that take turns, so that a change of clock speed meets all alike.
//! Nothing leaves the process: the socket takes everything.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark prints, and a panic is how it fails"
)]

#[path = "../tests/session/configs.rs"]
mod configs;
#[path = "../tests/session/peer.rs"]
#[expect(dead_code, reason = "only its handshake is wanted")]
mod peer;

use std::cell::RefCell;
use std::hint::black_box;
use std::io;
use std::rc::Rc;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use pgtls_tls::buffer::Buffer;
use pgtls_tls::endpoint::ClientFacing;
use pgtls_tls::ops::{TlsConnectionOps as _, Write};
use pgtls_tls::session::SharedSession;
use pgtls_tls::socket_source::{ClientSocket, Offer};
use pgtls_tls::stream::TrySend;

const ROUNDS: usize = 31;

/// A kernel that takes everything.
struct Sink;

impl TrySend for Sink {
    fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(black_box(bytes).len())
    }
}

struct Case {
    name: String,
    run: Box<dyn FnMut() -> Duration>,
    operations: u32,
    rounds: Vec<Duration>,
}

impl Case {
    fn new(name: String, operations: u32, run: impl FnMut() -> Duration + 'static) -> Self {
        Self {
            name,
            run: Box::new(run),
            operations,
            rounds: Vec::new(),
        }
    }

    /// Times `operations` calls in this thread.
    fn repeat(name: String, operations: u32, mut operation: impl FnMut() + 'static) -> Self {
        Self::new(name, operations, move || {
            let started = Instant::now();
            (0..operations).for_each(|_| operation());
            started.elapsed()
        })
    }
}

fn main() {
    let mut cases = vec![uncontended_lock()];
    for bytes in [64, 1024, 16 * 1024, 64 * 1024] {
        cases.extend(encrypt(bytes));
    }
    for bytes in [1024, 16 * 1024] {
        cases.extend([1, 2, 3].map(|writers| offer(bytes, writers, true)));
        cases.extend([2, 3].map(|writers| offer(bytes, writers, false)));
    }
    for _ in 0..ROUNDS {
        for case in &mut cases {
            let took = (case.run)();
            case.rounds.push(took);
        }
    }
    println!(
        "{:<44} {:>10} {:>10} {:>10}",
        "ns per operation", "median", "lower q.", "upper q."
    );
    for mut case in cases {
        case.rounds.sort_unstable();
        let [lower, median, upper] = [1, 2, 3].map(|quarter| {
            let round = case.rounds[ROUNDS * quarter / 4];
            round.as_secs_f64() * 1e9 / f64::from(case.operations)
        });
        println!(
            "{:<44} {median:>10.1} {lower:>10.1} {upper:>10.1}",
            case.name
        );
    }
}

/// About as long a round for every size.
fn operations(bytes: usize) -> u32 {
    u32::try_from(32 * 1024 * 1024 / (bytes + 1024)).unwrap()
}

fn session() -> SharedSession<ClientFacing> {
    SharedSession::new(peer::handshake().1, Vec::new())
}

fn uncontended_lock() -> Case {
    let session = session();
    Case::repeat("lock and unlock".to_owned(), 1_000_000, move || {
        black_box(session.lock().unwrap().has_residue());
    })
}

/// Both ways of encrypting `bytes`, from and into the same memory: where that lies counts more than what is compared.
fn encrypt(bytes: usize) -> [Case; 2] {
    let data: Rc<[u8]> = vec![7; bytes].into();
    let record = Rc::new(RefCell::new(Buffer::with_capacity(bytes + 1024)));
    [
        encrypt_bare(data.clone(), record.clone()),
        encrypt_under_lock(data, record),
    ]
}

fn encrypt_bare(data: Rc<[u8]>, record: Rc<RefCell<Buffer>>) -> Case {
    let (_, mut tls) = peer::handshake();
    let mut none = Buffer::default();
    let name = format!("encrypt {} bytes, no mutex", data.len());
    Case::repeat(name, operations(data.len()), move || {
        let mut record = record.borrow_mut();
        record.clear();
        let write = Write::Data(black_box(&data));
        tls.drive(&mut [], write, &mut none, &mut record).unwrap();
        black_box(record.filled());
    })
}

fn encrypt_under_lock(data: Rc<[u8]>, record: Rc<RefCell<Buffer>>) -> Case {
    let session = session();
    let name = format!("encrypt {} bytes, shared session", data.len());
    Case::repeat(name, operations(data.len()), move || {
        let mut record = record.borrow_mut();
        record.clear();
        let mut state = session.lock().unwrap();
        state.encrypt(black_box(&data), &mut record).unwrap();
        black_box(record.filled());
    })
}

/// `writers` threads, all on one session or each on its own.
fn offer(bytes: usize, writers: u32, is_shared: bool) -> Case {
    let kind = if is_shared {
        "one session"
    } else {
        "a session each"
    };
    let name = format!("offer {bytes} bytes, {writers} writers, {kind}");
    let first = session();
    let sessions: Vec<_> = (0..writers)
        .map(|_| if is_shared { first.clone() } else { session() })
        .collect();
    let each = operations(bytes);
    Case::new(name, each * writers, move || {
        let barrier = &Barrier::new(sessions.len());
        let times: Vec<_> = thread::scope(|scope| {
            let write = |session| scope.spawn(move || write(session, bytes, each, barrier));
            let writers: Vec<_> = sessions.iter().map(write).collect();
            writers
                .into_iter()
                .map(|writer| writer.join().unwrap())
                .collect()
        });
        let started = times.iter().map(|(started, _)| *started).min().unwrap();
        let ended = times.iter().map(|(_, ended)| *ended).max().unwrap();
        ended - started
    })
}

/// Returns when it started and when it was done.
fn write(
    session: &SharedSession<ClientFacing>,
    bytes: usize,
    count: u32,
    barrier: &Barrier,
) -> (Instant, Instant) {
    let socket = ClientSocket::new(session.clone(), Sink);
    let (data, mut scratch) = (vec![7; bytes], Buffer::default());
    barrier.wait();
    let started = Instant::now();
    for _ in 0..count {
        let offer = socket.offer(black_box(&data), &mut scratch);
        assert_eq!(offer.unwrap(), Offer::Taken);
    }
    (started, Instant::now())
}
