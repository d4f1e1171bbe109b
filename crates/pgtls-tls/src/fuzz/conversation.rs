//! Our side of a conversation under test, fed as [`crate::stream::TlsStream`] feeds it, and what must hold after every read.

use rustls::{AlertDescription, Connection, Error};

use crate::alert::{AlertDirection, alert_name, alert_of};
use crate::buffer::Buffer;
use crate::failure::{TlsFailure, TlsFailureReason};
use crate::ops::TlsConnectionOps;
use crate::session::{SessionError, SharedSession};

/// Records and handshake messages that a peer may send at the wrong moment.
pub(super) const HELLO_WORDS: &[&[u8]] = &[
    // ChangeCipherSpec, and a wrong one.
    &[20, 3, 3, 0, 1, 1],
    &[20, 3, 3, 0, 1, 2],
    // Alerts: close_notify, user_canceled, no_renegotiation, a fatal one, one that is cut.
    &[21, 3, 3, 0, 2, 1, 0],
    &[21, 3, 3, 0, 2, 1, 90],
    &[21, 3, 3, 0, 2, 1, 100],
    &[21, 3, 3, 0, 2, 2, 40],
    &[21, 3, 3, 0, 1, 2],
    // HelloRequest, which asks for a renegotiation, and a ClientHello that begins one.
    &[22, 3, 3, 0, 4, 0, 0, 0, 0],
    &[0, 0, 0, 0],
    &[1, 0, 0, 41, 3, 3],
    // Empty records, and headers of records that are too long.
    &[22, 3, 3, 0, 0],
    &[23, 3, 3, 0, 0],
    &[22, 3, 1, 0x40, 0],
    &[23, 3, 3, 0x41, 1],
    &[22, 3, 3, 0xff, 0xff],
    // Handshake messages: KeyUpdate, EndOfEarlyData, a Certificate without certificates, Finished, one of 16 MiB.
    &[24, 0, 0, 1, 1],
    &[24, 0, 0, 1, 0],
    &[24, 0, 0, 1, 2],
    &[5, 0, 0, 0],
    &[11, 0, 0, 4, 0, 0, 0, 0],
    &[20, 0, 0, 12],
    &[20, 0, 0, 32],
    &[4, 0xff, 0xff, 0xff],
    // Extensions: early_data, pre_shared_key, renegotiation_info with content, extended_master_secret, server_name, ALPN.
    &[0, 42, 0, 0],
    &[0, 41, 0, 0],
    &[0xff, 1, 0, 2, 1, 7],
    &[0, 23, 0, 0],
    &[0, 0, 0, 14, 0, 12, 0, 0, 9],
    &[0, 16, 0, 5, 0, 3, 2, b'h', b'2'],
    // Versions and suites.
    &[3, 4],
    &[3, 3],
    &[3, 0],
    &[0x13, 1],
    &[0xc0, 0x2b],
    &[0, 0x1d],
];

/// One partial record of what may be a handshake message of 64 KiB in fragments.
const MAX_INCOMING_BYTES: usize = 96 * 1024;

/// What one read came to.
pub(super) struct Received {
    pub(super) plaintext: Vec<u8>,
    pub(super) outgoing: Vec<u8>,
    pub(super) error: Option<Error>,
}

/// Gives `input` to a session as one read.
pub(super) fn receive<C: TlsConnectionOps>(session: &SharedSession<C>, input: &[u8]) -> Received {
    let mut state = session.lock().unwrap();
    let mut ciphertext = Buffer::default();
    ciphertext.extend(state.incoming());
    ciphertext.extend(input);
    let (mut plaintext, mut outgoing) = (Buffer::default(), Buffer::default());
    let result = state.receive(ciphertext.filled_mut(), &mut plaintext, &mut outgoing);
    assert!(state.incoming().len() <= MAX_INCOMING_BYTES);
    Received {
        plaintext: plaintext.filled().to_vec(),
        outgoing: outgoing.filled().to_vec(),
        error: result.err().map(tls_error),
    }
}

/// Makes a client say its hello.
pub(super) fn begin<C: TlsConnectionOps>(session: &SharedSession<C>) -> Vec<u8> {
    let mut outgoing = Buffer::default();
    let mut state = session.lock().unwrap();
    state
        .receive_kept(&mut Buffer::default(), &mut outgoing)
        .unwrap();
    outgoing.filled().to_vec()
}

/// What our side writes.
pub(super) fn write<C: TlsConnectionOps>(
    session: &SharedSession<C>,
    data: &[u8],
) -> Result<Vec<u8>, Error> {
    let mut outgoing = Buffer::default();
    let written = session.lock().unwrap().encrypt(data, &mut outgoing);
    match written {
        Ok(()) => Ok(outgoing.filled().to_vec()),
        Err(error) => {
            assert!(outgoing.is_empty(), "nothing is sent behind the alert");
            Err(tls_error(error))
        }
    }
}

/// There is no socket here that could fail.
fn tls_error(error: SessionError) -> Error {
    match error {
        SessionError::Tls(error) => error,
        other @ (SessionError::Io(_)
        | SessionError::Certificate(_)
        | SessionError::ClosedInHandshake
        | SessionError::Poisoned) => panic!("{other}"),
    }
}

/// After `error`, nothing is read, written or said any more.
pub(super) fn assert_over<C: TlsConnectionOps>(session: &SharedSession<C>, error: &Error) {
    for input in [
        &b""[..],
        &[23, 3, 3, 0, 1, 0],
        &[22, 3, 3, 0, 4, 0, 0, 0, 0],
    ] {
        let again = receive(session, input);
        // Errors from elsewhere are equal to nothing, not even to themselves.
        assert_eq!(format!("{:?}", again.error), format!("{:?}", Some(error)));
        assert!(again.plaintext.is_empty() && again.outgoing.is_empty());
    }
    let written = write(session, b"x").unwrap_err();
    assert_eq!(format!("{written:?}"), format!("{error:?}"));
}

/// The reason of a failure, which is never our own fault. The alert it is said to have been answered with is the one that was
/// sent: `last_words`, of which the peer made `peer_error`.
pub(super) fn reason_of(
    error: &Error,
    last_words: &[u8],
    peer_error: Option<&Error>,
) -> TlsFailureReason {
    let failure = TlsFailure::from(error);
    assert_ne!(failure.reason, TlsFailureReason::Internal, "{error:?}");
    assert!(!failure.message.is_empty());
    let told = alert_of(error).filter(|alert| alert.direction == AlertDirection::Sent);
    let told = told.map(|alert| alert.description);
    match (error, peer_error) {
        // rustls answers some alerts; what is told is what was received. And it has the same error for a record (bad_record_mac)
        // and for a Finished (decrypt_error), which only a broken peer gets wrong.
        (Error::AlertReceived(_), _)
        | (Error::DecryptError, Some(Error::AlertReceived(AlertDescription::DecryptError))) => {}
        (_, Some(Error::AlertReceived(received))) => {
            assert_eq!(told, Some(alert_name(*received)), "{error:?}");
        }
        (Error::PeerMisbehaved(_), _) if last_words.is_empty() => {
            assert_eq!(told, None, "{error:?}");
        }
        _ => {
            if let Some(sent) = plain_alert(last_words) {
                assert_eq!(told, Some(sent), "{error:?}");
            }
        }
    }
    failure.reason
}

/// The alert that was sent, in the clear and alone: None if anything else was.
pub(super) fn plain_alert(outgoing: &[u8]) -> Option<&'static str> {
    match outgoing {
        [21, _, _, 0, 2, _, description] => Some(alert_name(AlertDescription::from(*description))),
        _ => None,
    }
}

/// Everything the peer has to send.
pub(super) fn take(peer: &mut Connection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while peer.wants_write() {
        peer.write_tls(&mut bytes).unwrap();
    }
    bytes
}

/// Gives `bytes` to the peer; its plaintext, and its error.
pub(super) fn give(peer: &mut Connection, mut bytes: &[u8]) -> (Vec<u8>, Option<Error>) {
    let mut plaintext = Vec::new();
    while !bytes.is_empty() {
        if peer.read_tls(&mut bytes).is_err() {
            break;
        }
        let error = peer.process_new_packets().err();
        let _ = std::io::Read::read_to_end(&mut peer.reader(), &mut plaintext);
        if error.is_some() {
            return (plaintext, error);
        }
    }
    (plaintext, None)
}

/// What an error is, short enough for few different ones.
pub(super) fn kind_of(error: &Error) -> String {
    let words = format!("{error:?}");
    words
        .chars()
        .filter(|character| !character.is_ascii_digit())
        .take(70)
        .collect()
}
