//! Small pieces of the data plane's work, for `callgrind` to count the instructions of: bench/instructions.mjs.
//!
//! `pgtls-instructions WORK UNITS` makes everything ready and then does the work in [`measured`], so many units of it. All but a
//! session's is done on one thread and without a socket, so that every run does the same; of a session what its worker does is counted.
//! It prints what the CPU offers, in words of Rust's, because AES
//! and copying take other instructions on other CPUs.

#![allow(clippy::print_stdout, reason = "what it prints is its result")]

#[path = "../../pair.rs"]
mod pair;
#[path = "../../plane.rs"]
mod plane;
mod session;

use std::env;
use std::hint::black_box;
use std::task::{Context, Poll, Waker};

use pgtls_tls::buffer::Buffer;
use pgtls_tls::endpoint::{BackendFacing, ClientFacing};
use pgtls_tls::stream::{READ_BYTES, Received, TlsScratch, TlsStream};
use pgtls_wire::MessageWalk;

use pair::{BenchError, Ends, Kind, Memory, Sink};
use session::Session;

/// What a walk goes over.
const WALK_BYTES: usize = 1_000_000;
/// Of a row there, header included.
const ROW_BYTES: usize = 1000;
const HEADER_BYTES: usize = 5;

fn main() -> Result<(), BenchError> {
    let mut arguments = env::args().skip(1);
    let (Some(work), Some(units)) = (arguments.next(), arguments.next()) else {
        return Err(unexpected("usage: pgtls-instructions WORK UNITS"));
    };
    let units = units
        .parse()
        .map_err(|_| unexpected("UNITS is no number"))?;
    // Lazy statics, and whatever else is done once, are behind it then.
    let mut work = Work::named(&work, units)?;
    work.unit()?;
    measured(&mut work, units)?;
    println!("{}", cpu_features().join(" "));
    Ok(())
}

/// What is counted: callgrind knows it by its name.
#[inline(never)]
fn measured(work: &mut Work, units: usize) -> Result<(), BenchError> {
    (0..units).try_for_each(|_| work.unit())
}

/// The pieces of work.
enum Work {
    Relay(Box<Relay>),
    Handshake(Box<Ends>, TlsScratch),
    Walk(Vec<u8>),
    Session(Box<Session>),
}

impl Work {
    /// Ready for so many units and one to warm up.
    fn named(name: &str, units: usize) -> Result<Self, BenchError> {
        match name {
            "relay-100" => Ok(Self::Relay(Box::new(Relay::new(100, units + 1)?))),
            "relay-16384" => Ok(Self::Relay(Box::new(Relay::new(16_384, units + 1)?))),
            "handshake-ecdsa" => Self::handshake(Kind::Ecdsa),
            "handshake-rsa" => Self::handshake(Kind::Rsa),
            "handshake-resumed" => Self::handshake(Kind::Resumed),
            "walk-1mb" => Ok(Self::Walk(messages(ROW_BYTES, WALK_BYTES / ROW_BYTES)?)),
            "session-100" => Ok(Self::Session(Box::new(Session::new(100)?))),
            _ => Err(unexpected("there is no such work")),
        }
    }

    fn handshake(kind: Kind) -> Result<Self, BenchError> {
        Ok(Self::Handshake(
            Box::new(Ends::new(kind)?),
            TlsScratch::default(),
        ))
    }

    fn unit(&mut self) -> Result<(), BenchError> {
        match self {
            Self::Relay(relay) => relay.pass_message(),
            Self::Handshake(ends, scratch) => ends.shake(scratch).map(drop),
            Self::Walk(stream) => walk(stream),
            Self::Session(session) => session.round_trip(),
        }
    }
}

/// A client's session and a backend's, and what the client has sent: messages of one record each.
struct Relay {
    client: TlsStream<ClientFacing, Memory>,
    backend: TlsStream<BackendFacing, Sink>,
    scratch: TlsScratch,
    plaintext: Buffer,
    walk: MessageWalk,
    /// Keeps the sending end's session open.
    _sender: TlsStream<BackendFacing, Memory>,
}

impl Relay {
    fn new(message_bytes: usize, messages_sent: usize) -> Result<Self, BenchError> {
        let ends = Ends::new(Kind::Ecdsa)?;
        let mut scratch = TlsScratch::default();
        let client = ends.shake(&mut scratch)?;
        let backend = ends.shake(&mut scratch)?;
        let message = messages(message_bytes, 1)?;
        for _ in 0..messages_sent {
            client.dialler.send(&message, &mut scratch)?;
        }
        Ok(Self {
            client: client.acceptor,
            backend: backend.dialler.map_socket(|_| Ok(Sink))?,
            scratch,
            plaintext: Buffer::with_capacity(READ_BYTES),
            walk: MessageWalk::new(),
            _sender: client.dialler,
        })
    }

    /// What the relay does with a read: decrypt, follow the messages, encrypt, send.
    fn pass_message(&mut self) -> Result<(), BenchError> {
        let mut cx = Context::from_waker(Waker::noop());
        self.plaintext.clear();
        let received = self
            .client
            .poll_receive(&mut cx, &mut self.scratch, &mut self.plaintext)?;
        if received != Poll::Ready(Received::Data) {
            return Err(unexpected("a message has not arrived"));
        }
        self.walk
            .advance(self.plaintext.filled())
            .map_err(|error| BenchError::Unexpected(error.to_string()))?;
        if !self.walk.is_at_boundary() {
            return Err(unexpected("a message has not arrived whole"));
        }
        self.backend
            .send(self.plaintext.filled(), &mut self.scratch)?;
        Ok(())
    }
}

/// CopyData messages of so many bytes each, headers included.
fn messages(message_bytes: usize, count: usize) -> Result<Vec<u8>, BenchError> {
    let body = message_bytes.saturating_sub(HEADER_BYTES);
    let length = u32::try_from(body + 4).map_err(|_| unexpected("a message is too long"))?;
    let mut message = vec![b'd'];
    message.extend(length.to_be_bytes());
    message.resize(HEADER_BYTES + body, b'x');
    Ok(message.repeat(count))
}

/// Follows the messages of a stream, which comes in reads as large as the relay's.
fn walk(stream: &[u8]) -> Result<(), BenchError> {
    let mut walk = MessageWalk::new();
    for read in stream.chunks(READ_BYTES) {
        walk.advance(black_box(read))
            .map_err(|error| BenchError::Unexpected(error.to_string()))?;
    }
    if black_box(walk).is_at_boundary() {
        Ok(())
    } else {
        Err(unexpected("a stream of whole messages ends in one"))
    }
}

fn unexpected(what: &str) -> BenchError {
    BenchError::Unexpected(what.to_owned())
}

/// Those that decide which code encrypts, multiplies and copies.
#[cfg(target_arch = "x86_64")]
fn cpu_features() -> Vec<&'static str> {
    use std::arch::is_x86_feature_detected as has;
    [
        ("ssse3", has!("ssse3")),
        ("aes", has!("aes")),
        ("pclmulqdq", has!("pclmulqdq")),
        ("avx", has!("avx")),
        ("avx2", has!("avx2")),
        ("bmi2", has!("bmi2")),
        ("adx", has!("adx")),
        ("sha", has!("sha")),
        ("vaes", has!("vaes")),
        ("avx512f", has!("avx512f")),
    ]
    .into_iter()
    .filter_map(|(name, is_there)| is_there.then_some(name))
    .collect()
}

/// Likewise.
#[cfg(target_arch = "aarch64")]
fn cpu_features() -> Vec<&'static str> {
    use std::arch::is_aarch64_feature_detected as has;
    [
        ("neon", has!("neon")),
        ("aes", has!("aes")),
        ("pmull", has!("pmull")),
        ("sha2", has!("sha2")),
        ("sha3", has!("sha3")),
        ("sve", has!("sve")),
    ]
    .into_iter()
    .filter_map(|(name, is_there)| is_there.then_some(name))
    .collect()
}

/// None that we know.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn cpu_features() -> Vec<&'static str> {
    Vec::new()
}
