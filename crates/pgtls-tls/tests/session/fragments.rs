//! A handshake message in pieces, with another thread's write between the pieces (RFC 8446, 5.1 allows the pieces).
//!
//! rustls' unbuffered connections remember how much of their input they have processed, and expect that input again from
//! whoever calls next, also from one who only wants to write.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pgtls_tls::buffer::Buffer;
use pgtls_tls::ops::{TlsConnectionOps, Write};
use pgtls_tls::socket_source::Offer;

use crate::Session;
use crate::peer::{self, KEY_UPDATE};

#[test]
fn rustls_panics_when_a_writer_passes_no_input_while_three_bytes_of_a_key_update_wait() {
    let (mut peer, mut server) = peer::handshake();
    let mut fragment = peer.handshake_record(&KEY_UPDATE[..3]);
    let (mut plaintext, mut outgoing) = (Buffer::default(), Buffer::default());
    let driven = server
        .drive(&mut fragment, Write::Nothing, &mut plaintext, &mut outgoing)
        .unwrap();
    assert_eq!(driven.consumed, 0, "the record must be passed again");

    let panic = catch_unwind(AssertUnwindSafe(|| {
        let _ = server.drive(&mut [], Write::Nothing, &mut plaintext, &mut outgoing);
    }))
    .unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.contains("out of range"), "{message}");
}

#[test]
fn another_thread_writes_while_three_bytes_of_a_key_update_wait() {
    let mut session = Session::new();
    let first = session.peer.handshake_record(&KEY_UPDATE[..3]);
    session.wire.push(&first);
    assert_eq!(session.receive(), None);

    offer_from_a_thread(&session, b"between the pieces");
    assert_eq!(session.read(), [b"between the pieces"]);

    let second = session.peer.handshake_record(&KEY_UPDATE[3..]);
    session.wire.push(&second);
    session.peer.update_send_keys();
    let data = session.peer.data_record(b"under new keys");
    session.wire.push(&data);
    assert_eq!(session.receive().unwrap(), b"under new keys");
    assert_eq!(session.peer.key_updates, 0);

    offer_from_a_thread(&session, b"after the update");
    assert_eq!(session.read(), [b"after the update"]);
    assert_eq!(session.peer.key_updates, 1, "its answer came in front");
}

#[test]
fn writes_may_stand_between_any_two_bytes_of_a_key_update_cut_anywhere() {
    let mut session = Session::new();
    let mut scratch = Buffer::default();
    for round in 0..16_u8 {
        let cuts = (0..4).map(|bit| round & (1 << bit) != 0);
        let mut ciphertext = Vec::new();
        let mut piece = Vec::new();
        for (byte, is_cut) in KEY_UPDATE.into_iter().zip(cuts.chain([true])) {
            piece.push(byte);
            if is_cut {
                ciphertext.extend(session.peer.handshake_record(&piece));
                piece.clear();
            }
        }
        session.peer.update_send_keys();
        ciphertext.extend(session.peer.data_record(&[round]));

        let mut received = None;
        for (index, byte) in ciphertext.iter().enumerate() {
            session.wire.push(&[*byte]);
            received = session.receive();
            let message = format!("{round} {index}").into_bytes();
            let offer = session.socket().offer(&message, &mut scratch).unwrap();
            assert_eq!(offer, Offer::Taken);
            assert_eq!(session.read(), [message]);
        }
        assert_eq!(received.unwrap(), [round]);
        assert_eq!(session.peer.key_updates, usize::from(round) + 1);
    }
}

fn offer_from_a_thread(session: &Session, message: &'static [u8]) {
    let socket = session.socket();
    let offer = std::thread::spawn(move || socket.offer(message, &mut Buffer::default()))
        .join()
        .unwrap()
        .unwrap();
    assert_eq!(offer, Offer::Taken);
}
