//! Fuzz targets (`npm run fuzz`): a probe's login with a server that may be anybody.

use std::mem::discriminant;

use pgtls_testkit::fuzz::Fuzz;
use pgtls_tls::options::BackendVerification;
use pgtls_wire::next_message;

use crate::backend::probe_login::{ProbeError, ProbeLogin, Step, with_length};
use crate::backend::probe_password::{Credentials, Protection};

const PASSWORD: &[u8] = b"the probe's secret";
/// Stands in an input for the nonce of the login's own SCRAM message.
const NONCE: &[u8] = b"@NONCE@";
/// A SASLInitialResponse; a SCRAM answer repeats the server's nonce.
const MAX_SENT_BYTES: usize = 12 * 1024;

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    with_length(&[tag], body)
}

fn conversations() -> Vec<Vec<u8>> {
    let ok = message(b'R', &[0; 4]);
    let status = |name: &str, value: &str| message(b'S', format!("{name}\0{value}\0").as_bytes());
    let told = [
        status("in_hot_standby", "off"),
        status("default_transaction_read_only", "on"),
        message(b'K', &[0; 8]),
        message(b'Z', b"I"),
    ]
    .concat();
    let asked = [
        message(b'Z', b"I"),
        message(b'T', b"\0\0"),
        message(b'D', b"\0\x01\0\0\0\x02on"),
        message(b'D', b"\0\x01\0\0\0\x01t"),
        message(b'Z', b"I"),
    ]
    .concat();
    let scram = [
        message(b'R', b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"),
        message(b'R', b"\0\0\0\x0br=@NONCE@server,s=c2FsdHNhbHQ=,i=2"),
        message(
            b'R',
            b"\0\0\0\x0cv=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        ),
        ok.clone(),
    ]
    .concat();
    let md5 = message(b'R', b"\0\0\0\x05salt");
    let cleartext = message(b'R', b"\0\0\0\x03");
    let refusal = message(b'E', b"SFATAL\0C28P01\0Mno such user\0\0");
    let bodies = [
        [&ok[..], &told].concat(),
        [&ok[..], &asked].concat(),
        [&scram[..], &told].concat(),
        [&md5[..], &ok, &told].concat(),
        [&cleartext[..], &ok, &told].concat(),
        refusal,
    ];
    // The first byte says how the connection is protected.
    let protections = 0..4_u8;
    protections
        .flat_map(|protection| {
            bodies
                .iter()
                .map(move |body| [&[protection], &body[..]].concat())
        })
        .collect()
}

fn protection(choice: u8) -> Protection {
    match choice % 4 {
        0 => Protection::None,
        1 => Protection::Local,
        2 => Protection::Tls {
            end_point: Some(vec![7; 32]),
            verification: BackendVerification::None,
        },
        _ => Protection::Tls {
            end_point: None,
            verification: BackendVerification::Full,
        },
    }
}

/// `body` with the login's nonce where the input asks for it.
fn with_nonce(body: &[u8], nonce: &[u8]) -> Vec<u8> {
    let position = body.windows(NONCE.len()).position(|part| part == NONCE);
    match position {
        Some(at) => [&body[..at], nonce, &body[at + NONCE.len()..]].concat(),
        None => body.to_vec(),
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// What the login came to, and how many messages it took.
fn log_in(input: &[u8]) -> (usize, Result<bool, std::mem::Discriminant<ProbeError>>) {
    let (&choice, mut rest) = input.split_first().unwrap_or((&0, &[]));
    let credentials = Credentials {
        user: "probe".to_owned(),
        database: "postgres".to_owned(),
        password: Some(PASSWORD.to_vec()),
    };
    let may_show = matches!(choice % 4, 1 | 3);
    let mut login = ProbeLogin::new(&credentials, protection(choice));
    let mut nonce = Vec::new();
    let mut steps = 0;
    while let Ok(Some(found)) = next_message(rest, 100_000) {
        rest = &rest[found.length..];
        let body = with_nonce(found.body, &nonce);
        steps += 1;
        let found = pgtls_wire::Message {
            tag: found.tag,
            body: &body,
            length: body.len() + 5,
        };
        match login.receive(found) {
            Ok((_, Step::Done(_))) => {
                assert!(
                    nonce.is_empty(),
                    "nobody who does not know the password proves it"
                );
                return (steps, Ok(true));
            }
            Ok((next, step)) => {
                login = next;
                let Step::Send(sent) = step else { continue };
                assert!(sent.len() < MAX_SENT_BYTES);
                assert!(may_show || !contains(&sent, PASSWORD), "in the clear");
                if contains(&sent, b"SCRAM-SHA-256") {
                    let at = sent.windows(2).rposition(|part| part == b"r=").unwrap();
                    nonce = sent[at + 2..].to_vec();
                }
            }
            Err(error) => {
                let words = error.to_string();
                assert!(!words.is_empty() && !contains(words.as_bytes(), PASSWORD));
                return (steps, Err(discriminant(&error)));
            }
        }
    }
    (steps, Ok(false))
}

#[test]
fn a_server_that_does_not_know_the_password_neither_gets_it_nor_passes_for_one_that_does() {
    Fuzz::new("probe-login", 20_000)
        .from(conversations())
        .with_words(&[
            b"R\0\0\0\x08\0\0\0\0",
            b"Z\0\0\0\x05I",
            b"SCRAM-SHA-256\0\0",
            b"r=",
            b"v=",
            b"e=",
            b",i=1",
            b",m=x",
            NONCE,
            b"\0\0\0\x0b",
            b"\0\0\0\x0c",
            b"\0\0\0\x03",
        ])
        .run(log_in);
}
