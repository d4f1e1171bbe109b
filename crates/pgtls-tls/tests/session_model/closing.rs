//! The end: an owner that leaves, and `close_notify` from another thread.

use std::io;

use loom::future::block_on;
use loom::thread;
use pgtls_tls::buffer::Buffer;
use pgtls_tls::outbox::OUTBOX_LIMIT_BYTES;
use pgtls_tls::session::SessionError;
use pgtls_tls::socket_source::Offer;
use pgtls_tls::stream::TlsScratch;

use crate::kernel::Kernel;
use crate::stamp::{CLOSE_NOTIFY, OVERHEAD_BYTES, payloads};
use crate::{Foreign, check, foreign, own, owner_sends, stream};

fn kind(error: &SessionError) -> io::ErrorKind {
    let SessionError::Io(error) = error else {
        panic!("{error}");
    };
    error.kind()
}

fn send_in_vain(socket: Foreign) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let error = block_on(socket.send(b"x", &mut Buffer::default())).unwrap_err();
        assert_eq!(kind(&error), io::ErrorKind::NotConnected);
    })
}

#[test]
fn an_owner_that_leaves_wakes_writers_that_wait_for_room() {
    static FULL: [u8; OUTBOX_LIMIT_BYTES] = [b'o'; OUTBOX_LIMIT_BYTES];
    check(3, || {
        let kernel = Kernel::new(0);
        let stream = stream(&kernel);
        owner_sends(&stream, &FULL);
        let writers = [(); 2].map(|()| send_in_vain(foreign(&stream, &kernel)));
        drop(stream);
        for writer in writers {
            writer.join().unwrap();
        }
    });
}

#[test]
fn a_message_is_taken_before_the_owner_leaves_or_refused_after_it() {
    check(3, || {
        let kernel = Kernel::new(100);
        let stream = stream(&kernel);
        let socket = foreign(&stream, &kernel);
        let writer = thread::spawn(move || socket.offer(b"x", &mut Buffer::default()));
        drop(stream);
        let sent = match writer.join().unwrap() {
            Ok(offer) => {
                assert_eq!(offer, Offer::Taken);
                1
            }
            Err(error) => {
                assert_eq!(kind(&error), io::ErrorKind::NotConnected);
                0
            }
        };
        assert_eq!(payloads(&kernel.wire()).len(), sent);
    });
}

#[test]
fn nothing_follows_a_close_notify_whoever_sent_it() {
    check(3, || {
        let kernel = Kernel::new(3);
        let stream = stream(&kernel);
        let closing = foreign(&stream, &kernel);
        let closing = thread::spawn(move || closing.close_notify(&mut Buffer::default()).unwrap());
        let writing = foreign(&stream, &kernel);
        let writing = thread::spawn(move || writing.offer(b"x", &mut Buffer::default()).is_ok());
        let peer = kernel.clone();
        let peer = thread::spawn(move || peer.drain(100));
        let has_owner_sent = stream.send(b"o", &mut TlsScratch::default()).is_ok();
        closing.join().unwrap();
        let has_other_sent = writing.join().unwrap();
        let records = 1 + usize::from(has_owner_sent) + usize::from(has_other_sent);
        own(&stream, &kernel, records * (OVERHEAD_BYTES + 1));
        peer.join().unwrap();
        let wire = kernel.wire();
        let found = payloads(&wire);
        assert_eq!(found.len(), records);
        assert_eq!(found.last().unwrap(), &[CLOSE_NOTIFY]);
    });
}
