//! Writers that wait for room: the flush that makes it wakes all of them, and none waits in vain.

use loom::future::block_on;
use loom::thread;
use pgtls_tls::buffer::Buffer;
use pgtls_tls::outbox::OUTBOX_LIMIT_BYTES;

use crate::kernel::Kernel;
use crate::stamp::{OVERHEAD_BYTES, payloads};
use crate::{Foreign, check, foreign, own, owner_sends, stream};

fn send_in_thread(socket: Foreign, payload: &'static [u8]) -> thread::JoinHandle<()> {
    thread::spawn(move || block_on(socket.send(payload, &mut Buffer::default())).unwrap())
}

static FULL: [u8; OUTBOX_LIMIT_BYTES] = [b'o'; OUTBOX_LIMIT_BYTES];

#[test]
fn a_flush_wakes_the_writer_that_waits_for_room() {
    check(2, || {
        let kernel = Kernel::new(0);
        let stream = stream(&kernel);
        owner_sends(&stream, &FULL);
        let writer = send_in_thread(foreign(&stream, &kernel), b"a");
        let peer = kernel.clone();
        let peer = thread::spawn(move || {
            // Not enough for the writer, then more than enough.
            peer.drain(OUTBOX_LIMIT_BYTES / 4);
            peer.drain(2 * OUTBOX_LIMIT_BYTES);
        });
        own(&stream, &kernel, FULL.len() + 1 + 2 * OVERHEAD_BYTES);
        writer.join().unwrap();
        peer.join().unwrap();
        assert_eq!(payloads(&kernel.wire()), [&FULL[..], b"a"]);
    });
}

#[test]
fn a_flush_wakes_every_writer_that_waits_for_room() {
    check(1, || {
        let kernel = Kernel::new(0);
        let stream = stream(&kernel);
        owner_sends(&stream, &FULL);
        let first = send_in_thread(foreign(&stream, &kernel), b"a");
        let second = send_in_thread(foreign(&stream, &kernel), b"b");
        let peer = kernel.clone();
        let peer = thread::spawn(move || peer.drain(2 * OUTBOX_LIMIT_BYTES));
        own(&stream, &kernel, FULL.len() + 2 + 3 * OVERHEAD_BYTES);
        for thread in [first, second, peer] {
            thread.join().unwrap();
        }
        let wire = kernel.wire();
        let mut found = payloads(&wire);
        assert_eq!(found.remove(0).len(), FULL.len());
        found.sort_unstable();
        assert_eq!(found, [b"a", b"b"]);
    });
}
