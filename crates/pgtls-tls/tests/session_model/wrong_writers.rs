//! The models see what they are for: two wrong writers, each of which they must catch.

use loom::thread;
use pgtls_tls::buffer::Buffer;
use pgtls_tls::stream::TrySend;

use crate::kernel::Kernel;
use crate::stamp::{OVERHEAD_BYTES, payloads};
use crate::{Stream, check, own, owner_sends, stream};

/// Runs `write` in another thread beside an owner who writes too, and checks the wire.
fn beside_the_owner(room_bytes: usize, write: fn(&Stream, &Kernel)) {
    check(3, move || {
        let kernel = Kernel::new(room_bytes);
        let stream = loom::sync::Arc::new(stream(&kernel));
        let (other, socket) = (stream.clone(), kernel.clone());
        let writer = thread::spawn(move || write(&other, &socket));
        let peer = kernel.clone();
        let peer = thread::spawn(move || peer.drain(100));
        owner_sends(&stream, b"o");
        own(&stream, &kernel, 2 * (OVERHEAD_BYTES + 1));
        writer.join().unwrap();
        peer.join().unwrap();
        assert_eq!(payloads(&kernel.wire()).len(), 2);
    });
}

#[test]
#[should_panic(expected = "record out of order")]
fn a_writer_that_sends_after_unlocking_is_caught() {
    beside_the_owner(100, |stream, kernel| {
        let mut record = Buffer::default();
        let mut state = stream.session().lock().unwrap();
        state.encrypt(b"x", &mut record).unwrap();
        drop(state);
        assert_eq!(kernel.try_send(record.filled()).unwrap(), record.len());
    });
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_writer_that_does_not_call_the_owner_is_caught() {
    // Room for one record: the owner's goes out at once and leaves it nothing to wait for.
    beside_the_owner(OVERHEAD_BYTES + 1, |stream, kernel| {
        let mut record = Buffer::default();
        let mut state = stream.session().lock().unwrap();
        state.encrypt(b"x", &mut record).unwrap();
        state.deliver(kernel, &mut record).unwrap();
    });
}
