//! Clients that speak nothing newer than TLS 1.1.

use pgtls_tls::failure::TlsFailure;
use pgtls_tls::server_config::build_server_config;

use crate::support::{Pki, listener};
use crate::unbuffered::answer_to;

/// The ClientHello of `version` with these extensions, in records that hold `room` bytes at most.
fn hello(version: u16, extensions: Option<&[u8]>, room: usize) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    body.extend([7; 32]);
    // No session; ECDHE-ECDSA and RSA with AES-128-CBC; no compression.
    body.extend([0, 0, 4, 0xc0, 0x09, 0, 0x2f, 1, 0]);
    if let Some(extensions) = extensions {
        body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
        body.extend(extensions);
    }
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    let message = [&[1, 0], length.as_slice(), &body].concat();
    let records = message.chunks(room).map(|part| {
        let length = u16::try_from(part.len()).unwrap().to_be_bytes();
        [&[22, 3, 1], length.as_slice(), part].concat()
    });
    records.collect::<Vec<_>>().concat()
}

/// Reason and alert, the one on the wire being the one in the log.
fn refusal(bytes: &[u8]) -> (&'static str, &'static str) {
    let pki = Pki::new();
    let server = build_server_config(&listener(&[&pki.good()])).unwrap();
    let (error, sent) = answer_to(&server, bytes);
    let failure = TlsFailure::from(&error);
    let alert = failure.alert.unwrap().description;
    assert_eq!(sent.as_deref(), Some(alert));
    (failure.reason.as_str(), alert)
}

#[test]
fn a_client_that_knows_no_version_from_tls_1_2_on_is_told_so() {
    // ec_point_formats and encrypt_then_mac, as OpenSSL sends them.
    let of_openssl = [0, 11, 0, 2, 1, 0, 0, 22, 0, 0];
    for version in [0x0300, 0x0301, 0x0302] {
        for extensions in [None, Some(&[][..]), Some(&of_openssl)] {
            let hello = hello(version, extensions, usize::MAX);
            let expected = ("no_shared_version", "protocol_version");
            assert_eq!(refusal(&hello), expected, "{version:x} {extensions:?}");
        }
    }
}

#[test]
fn a_client_of_tls_1_2_without_signature_algorithms_is_told_that() {
    let expected = ("no_shared_signature_scheme", "handshake_failure");
    assert_eq!(refusal(&hello(0x0303, None, usize::MAX)), expected);
}

#[test]
fn an_old_hello_spread_over_records_fails_in_the_words_of_rustls() {
    let expected = ("no_shared_signature_scheme", "handshake_failure");
    assert_eq!(refusal(&hello(0x0301, None, 30)), expected);
}
