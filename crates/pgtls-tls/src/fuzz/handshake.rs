//! Whole handshakes with a peer that changes its flights, on the wire or before they are encrypted. The input is a list of
//! edits: keys and signatures are new in each handshake, what is done to them is not.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use pgtls_testkit::fuzz::{EDIT_BYTES, Edit, Fuzz, MAX_RECORD_BYTES, Random, Sent, with_tampering};
use rustls::{Connection, ContentType, Error};

use super::conversation::{
    HELLO_WORDS, assert_over, begin, give, kind_of, reason_of, receive, take,
};
use super::peers::{Peer, Stage};
use crate::ops::TlsConnectionOps;
use crate::session::SharedSession;

/// What our side sends in a handshake, tickets and all.
const MAX_OUTPUT_BYTES: usize = 32 * 1024;
const MAX_ROUNDS: u8 = 8;
const MAX_EDITS: usize = 6;

/// The edit is made before encryption.
const INSIDE: u8 = 0x80;
/// The edit is of a record's type.
const OF_TYPE: u8 = 0x40;
/// How many flights, or records, an edit tells apart.
const PLACES: u8 = 8;

const CONTENT_TYPES: [u8; 6] = [20, 21, 22, 23, 24, 0];

/// A peer's dishonesty: what it does to records before it encrypts them, and what became of them.
#[derive(Clone, Default)]
pub(super) struct Tampering {
    edits: Vec<Edit>,
    next: Cell<u8>,
    /// Whether anything was changed.
    pub(super) has_changed: Rc<Cell<bool>>,
    /// What was encrypted.
    pub(super) sent: Rc<RefCell<Vec<Sent>>>,
}

impl Tampering {
    pub(super) fn new(edits: &[Edit]) -> Self {
        Self {
            edits: edits.to_vec(),
            ..Self::default()
        }
    }

    pub(super) fn tamper(&self, record: &mut Sent) {
        let honest = record.clone();
        let number = self.next.get();
        self.next.set(number.wrapping_add(1) % PLACES);
        for edit in self.edits.iter().filter(|edit| edit.place & INSIDE != 0) {
            if edit.place % PLACES != number {
                continue;
            }
            if edit.place & OF_TYPE == 0 {
                edit.apply(&mut record.payload, HELLO_WORDS);
            } else {
                let index = usize::from(edit.place >> 3 & 7) % CONTENT_TYPES.len();
                record.content_type = ContentType::from(CONTENT_TYPES[index]);
            }
        }
        record.payload.truncate(MAX_RECORD_BYTES);
        if *record != honest {
            self.has_changed.set(true);
        }
        self.sent.borrow_mut().push(record.clone());
    }
}

/// Every byte with its record's type, without what receivers are to pass over: ChangeCipherSpec in TLS 1.3, and warnings. So cut
/// into records differently, the same flight is the same. In TLS 1.3 it is also the same with another outer type: rustls does not look
/// at that of a protected record, whose true type and content are authenticated (and it refuses a first flight of another type).
fn essence(mut wire: &[u8], is_1_3: bool) -> Vec<(u8, u8)> {
    let mut essence = Vec::new();
    while let [kind, _, _, high, low, rest @ ..] = wire {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some((body, behind)) = rest.split_at_checked(length) else {
            break;
        };
        let is_warning = matches!((*kind, body), (21, [1, _]));
        if !(is_warning || is_1_3 && *kind == 20) {
            let kind = if is_1_3 { 23 } else { *kind };
            essence.extend(body.iter().map(|byte| (kind, *byte)));
        }
        wire = behind;
    }
    essence.extend(wire.iter().map(|byte| (0xff, *byte)));
    essence
}

/// What a handshake came to.
#[derive(Default)]
struct Result {
    is_complete: bool,
    /// A message of what was delivered was changed before encryption.
    has_changed: bool,
    error: Option<Error>,
    last_words: Vec<u8>,
    peer_error: Option<Error>,
    genuine: Vec<u8>,
    delivered: Vec<u8>,
}

/// Shakes hands; what the peer sends is changed by `edits`.
fn shake<C: TlsConnectionOps>(
    ours: &SharedSession<C>,
    peer: &mut Connection,
    edits: &[Edit],
    has_changed: &Cell<bool>,
) -> Result {
    let mut result = Result::default();
    let hello = begin(ours);
    result.peer_error = give(peer, &hello).1;
    let mut output = hello.len();
    let piece = match edits.first() {
        Some(edit) if edit.place & 0x20 != 0 => 1 + usize::from(edit.place),
        _ => usize::MAX,
    };
    for round in 0..MAX_ROUNDS {
        let genuine = take(peer);
        if genuine.is_empty() {
            break;
        }
        // What is encrypted later, such as a ticket, is no part of the handshake.
        result.has_changed = has_changed.get();
        let mut flight = genuine.clone();
        for edit in edits {
            if edit.place & INSIDE == 0 && edit.place % PLACES == round {
                edit.apply(&mut flight, HELLO_WORDS);
            }
        }
        result.genuine.extend(genuine);
        result.delivered.extend_from_slice(&flight);
        for piece in flight.chunks(piece) {
            let received = receive(ours, piece);
            assert!(received.plaintext.is_empty(), "the peer sent none");
            output += received.outgoing.len();
            let peer_error = give(peer, &received.outgoing).1;
            result.peer_error = result.peer_error.or(peer_error);
            if received.error.is_some() {
                result.error = received.error;
                result.last_words = received.outgoing;
                return result;
            }
        }
        assert!(output < MAX_OUTPUT_BYTES);
        result.is_complete = !ours.lock().unwrap().is_handshaking();
        if result.is_complete {
            break;
        }
    }
    result
}

/// Nothing but what an honest peer sends completes a handshake.
fn check<C: TlsConnectionOps>(
    ours: &SharedSession<C>,
    peer: &mut Connection,
    input: &[u8],
    is_1_3: bool,
) -> (bool, Option<String>) {
    let edits = Edit::list(input, MAX_EDITS);
    let tampering = Tampering::new(&edits);
    let has_changed = Rc::clone(&tampering.has_changed);
    let result = with_tampering(
        move |record| tampering.tamper(record),
        || shake(ours, peer, &edits, &has_changed),
    );
    assert!(result.is_complete || !edits.is_empty(), "honesty suffices");
    if result.is_complete {
        assert!(!result.has_changed, "a message was changed and taken");
        let sent = essence(&result.genuine, is_1_3);
        let taken = essence(&result.delivered, is_1_3);
        assert!(
            taken.starts_with(&sent),
            "{:02x?}\n{:02x?}",
            result.genuine,
            result.delivered
        );
    }
    if let Some(error) = &result.error {
        reason_of(error, &result.last_words, result.peer_error.as_ref());
        assert_over(ours, error);
    }
    (result.is_complete, result.error.as_ref().map(kind_of))
}

/// No edits, one of each place, and some of everything.
pub(super) fn scripts() -> Vec<Vec<u8>> {
    let mut random = Random::new(16);
    let mut scripts = vec![Vec::new()];
    for number in 0..=u8::MAX {
        let mut edit = random.bytes();
        edit[0] = number;
        // Early in the flight or record, half of the time.
        edit[2] &= if number % 2 == 0 { 0 } else { 7 };
        scripts.push(edit.to_vec());
    }
    for _ in 0..32 {
        scripts.push([random.bytes(), random.bytes()].concat());
    }
    scripts
}

fn fuzz_listener(target: &'static str, inputs: u64, stage: &Stage, peer: &Peer) {
    let fuzz = Fuzz::new(target, inputs)
        .from(scripts())
        .at_most(MAX_EDITS * EDIT_BYTES);
    fuzz.run(|input| {
        // The second byte says what an edit does, and by the way whether there is a session to resume.
        let resumes = input.get(1).is_some_and(|byte| byte % 4 == 0);
        if resumes {
            let mut before = peer.client(true);
            assert!(shake(&stage.accept(), &mut before, &[], &Cell::new(false)).is_complete);
        }
        check(
            &stage.accept(),
            &mut peer.client(resumes),
            input,
            peer.is_1_3(),
        )
    });
}

fn fuzz_backend(target: &'static str, inputs: u64, stage: &Stage, peer: &Peer) {
    let fuzz = Fuzz::new(target, inputs)
        .from(scripts())
        .at_most(MAX_EDITS * EDIT_BYTES);
    fuzz.run(|input| check(&stage.dial(), &mut peer.server(), input, peer.is_1_3()));
}

#[test]
fn a_listener_completes_no_tls_1_3_handshake_that_was_tampered_with() {
    let stage = Stage::new(|_| ());
    let peer = stage.peer(&rustls::version::TLS13).with_small_records();
    fuzz_listener("listener-handshake-1.3", 2_000, &stage, &peer);
}

#[test]
fn a_listener_completes_no_tls_1_2_handshake_that_was_tampered_with() {
    let stage = Stage::new(|_| ());
    let peer = stage.peer(&rustls::version::TLS12).with_small_records();
    fuzz_listener("listener-handshake-1.2", 2_000, &stage, &peer);
}

#[test]
fn towards_a_backend_no_tls_1_3_handshake_that_was_tampered_with_completes() {
    let stage = Stage::new(|_| ());
    let peer = stage.peer(&rustls::version::TLS13).with_small_records();
    fuzz_backend("backend-handshake-1.3", 2_000, &stage, &peer);
}

#[test]
fn towards_a_backend_no_tls_1_2_handshake_that_was_tampered_with_completes() {
    let stage = Stage::new(|_| ());
    let peer = stage.peer(&rustls::version::TLS12).with_small_records();
    fuzz_backend("backend-handshake-1.2", 2_000, &stage, &peer);
}
