//! Residue that another writer leaves: the owner learns it, and the order of records holds.

use loom::thread;
use pgtls_tls::buffer::Buffer;
use pgtls_tls::socket_source::Offer;

use crate::kernel::Kernel;
use crate::stamp::{OVERHEAD_BYTES, payloads};
use crate::{check, foreign, own, owner_sends, stream};

fn offer_in_thread(socket: crate::Foreign, payload: &'static [u8]) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let offer = socket.offer(payload, &mut Buffer::default()).unwrap();
        assert_eq!(offer, Offer::Taken);
    })
}

#[test]
fn the_owner_flushes_what_two_other_writers_leave() {
    check(2, || {
        let kernel = Kernel::new(4);
        let stream = stream(&kernel);
        let first = offer_in_thread(foreign(&stream, &kernel), b"a");
        let second = offer_in_thread(foreign(&stream, &kernel), b"b");
        let peer = kernel.clone();
        let peer = thread::spawn(move || peer.drain(100));
        own(&stream, &kernel, 2 * (OVERHEAD_BYTES + 1));
        for thread in [first, second, peer] {
            thread.join().unwrap();
        }
        let wire = kernel.wire();
        let mut found = payloads(&wire);
        found.sort_unstable();
        assert_eq!(found, [b"a", b"b"]);
    });
}

#[test]
fn the_owner_writes_among_other_writers_and_a_peer_that_reads_in_pieces() {
    check(3, || {
        let kernel = Kernel::new(0);
        let stream = stream(&kernel);
        let writer = foreign(&stream, &kernel);
        let writer = thread::spawn(move || {
            let mut scratch = Buffer::default();
            for payload in [b"1", b"2"] {
                assert_eq!(writer.offer(payload, &mut scratch).unwrap(), Offer::Taken);
            }
        });
        let peer = kernel.clone();
        let peer = thread::spawn(move || {
            peer.drain(7);
            peer.drain(100);
        });
        owner_sends(&stream, b"o");
        own(&stream, &kernel, 3 * (OVERHEAD_BYTES + 1));
        writer.join().unwrap();
        peer.join().unwrap();
        let wire = kernel.wire();
        let found = payloads(&wire);
        assert_eq!(found.len(), 3);
        let place = |payload: &[u8]| found.iter().position(|found| *found == payload).unwrap();
        assert!(place(b"1") < place(b"2"), "a writer's own order");
        place(b"o");
    });
}
