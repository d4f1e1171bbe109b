//! Files that an administrator writes: PEM, encrypted keys, ticket keys.

use std::mem::discriminant;

use pgtls_testkit::fuzz::Fuzz;
use pgtls_testkit::{CertificateSpec, KeyEncryption, TestCa};

use super::{InputFile, base64, pem};
use crate::der::{Reader, tag};
use crate::encrypted_key::{KeyDecryptionError, decrypt};
use crate::pem_file::{KeySection, read_certificates, read_private_key, read_revocation_lists};
use crate::ticket_key_file::{TicketKeyError, read_ticket_keys};

#[test]
fn ticket_keys_are_the_lines_of_their_file() {
    let line = |byte: u8| base64(&[byte; 64]);
    let file = InputFile::new();
    Fuzz::new("ticket-key-file", 4_000)
        .from([
            format!("{}\n", line(1)),
            format!("# comment\n\n{}\r\n  {}\n", line(1), line(2)),
            format!("{}\n{}", line(3).trim_end_matches('='), line(4)),
        ])
        .with_words(&[b"\n", b"=", b"==", b"#", b"\r\n", b"A"])
        .run(|input| match read_ticket_keys(file.hold(input)) {
            Ok(keys) => {
                let lines = input.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
                let lines = lines.filter(|line| !line.is_empty() && !line.starts_with(b"#"));
                let bare = |line: &[u8]| {
                    String::from_utf8(line.to_vec())
                        .unwrap()
                        .trim_end_matches('=')
                        .to_owned()
                };
                let expected: Vec<_> = lines.map(bare).collect();
                let written: Vec<_> = keys
                    .iter()
                    .map(|key| bare(base64(&**key).as_bytes()))
                    .collect();
                assert_eq!(written, expected);
                (0, keys.len())
            }
            Err(error @ (TicketKeyError::Unreadable { .. } | TicketKeyError::Exposed { .. })) => {
                panic!("{error}")
            }
            Err(TicketKeyError::Empty { .. }) => (1, 0),
            Err(TicketKeyError::Invalid { line, problem, .. }) => {
                assert!(line <= input.split(|&byte| byte == b'\n').count());
                (2, problem.len())
            }
        });
}

#[test]
fn a_pem_file_is_read_or_refused_with_a_reason() {
    let ca = TestCa::new("PEM CA");
    let issued = ca.issue(&CertificateSpec::localhost());
    let encrypted = KeyEncryption::DEFAULT.encrypt(issued.key_der.secret_der(), "secret");
    let file = InputFile::new();
    Fuzz::new("pem-file", 4_000)
        .from([
            issued.cert_pem.clone(),
            format!("{}text\n{}", issued.cert_pem, ca.cert_pem()),
            issued.key_pem.clone(),
            pem("ENCRYPTED PRIVATE KEY", &encrypted),
            pem("X509 CRL", &[0x30, 0]),
            format!(
                "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\n{}",
                base64(&[1; 60])
            ),
        ])
        .with_words(&[
            b"-----BEGIN CERTIFICATE-----\n",
            b"-----END CERTIFICATE-----\n",
            b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n",
            b"-----BEGIN EC PRIVATE KEY-----\n",
            b"-----",
            b"\n",
            b"Proc-Type: 4,ENCRYPTED",
            b"\xff\xfe",
        ])
        .run(|input| {
            let path = file.hold(input);
            let certificates = read_certificates("ssl_cert_file", path);
            let lists = read_revocation_lists("ssl_crl_file", path);
            let key = read_private_key("ssl_key_file", path);
            let outcome = (
                certificates.as_ref().map(Vec::len).map_err(discriminant),
                lists.as_ref().map(Vec::len).map_err(discriminant),
                match &key {
                    Ok(KeySection::Plain(_)) => Ok(0),
                    Ok(KeySection::Encrypted(None)) => Ok(1),
                    Ok(KeySection::Encrypted(Some(_))) => Ok(2),
                    Err(error) => Err(discriminant(error)),
                },
            );
            let refusals = [certificates.err(), lists.err(), key.err()];
            for error in refusals.into_iter().flatten() {
                let words = error.to_string();
                assert!(words.contains("input"), "the file is named: {words}");
                assert!(words.len() < 600, "no file is told as a whole: {words}");
            }
            outcome
        });
}

/// How many rounds a key asks for, were it well-formed up to there.
fn iterations(der: &[u8]) -> Option<u32> {
    let mut parameters = Reader::only(der, tag::SEQUENCE)?.sequence()?;
    parameters.take(tag::OID)?;
    let mut derivation = parameters.sequence()?.sequence()?;
    derivation.take(tag::OID)?;
    let mut derivation = derivation.sequence()?;
    derivation.take(tag::OCTET_STRING)?;
    derivation.unsigned()
}

#[test]
fn an_encrypted_key_opens_by_its_passphrase_to_what_was_encrypted() {
    let key = [&[0x30, 62][..], &[7; 62]].concat();
    let ciphers = [(128, 1), (192, 256), (256, 256), (256, 384), (256, 512)];
    let corpus = ciphers
        .map(|(aes_bits, hmac_sha)| KeyEncryption { aes_bits, hmac_sha }.encrypt(&key, "secret"));
    Fuzz::new("encrypted-key", 4_000)
        .from(corpus)
        .with_words(&[
            &[0x05, 0x00],
            &[0x02, 0x01, 0x01],
            &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x09],
        ])
        .run(|input| {
            // A file may ask for minutes of work; its owner waits for them, and this test doesn't.
            if iterations(input).is_some_and(|rounds| rounds > 20_000) {
                return Err(None);
            }
            match decrypt(input, b"secret") {
                Ok(opened) => {
                    assert!(Reader::only(&opened, tag::SEQUENCE).is_some());
                    Ok(*opened == key)
                }
                Err(error) => Err(Some(error == KeyDecryptionError::Malformed)),
            }
        });
}
