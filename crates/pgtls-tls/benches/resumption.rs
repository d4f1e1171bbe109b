//! What resumption saves and what tickets cost: `cargo bench -p pgtls-tls --bench resumption`.
//!
//! Microseconds of CPU that each end spends on one handshake, medians of handshakes that take turns, and the bytes the
//! server sends for it. Nothing leaves the process.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark prints, and a panic is how it fails"
)]

#[path = "../tests/tls/resumption_support.rs"]
#[expect(dead_code, reason = "only a part of it is wanted")]
mod resumption_support;
#[path = "../tests/tls/support.rs"]
#[expect(dead_code, reason = "only a part of it is wanted")]
mod support;

use std::num::NonZeroU8;
use std::ops::DerefMut;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pgtls_tls::client_config::{BackendHost, ClientTls, build_client_config};
use pgtls_tls::options::{
    BackendTlsOptions, BackendVerification, ClientCertificate, ListenerTlsOptions, TlsVersion,
};
use pgtls_tls::server_config::{ServerTls, build_server_config};
use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SignatureAlgorithm};
use rustls::{ClientConnection, ConnectionCommon, HandshakeKind, ServerConnection, SideData};

use resumption_support::{Means, careless, resuming};
use support::{Files, Pki, leaf_params, listener};

const ROUNDS: usize = 301;
const TICKETS: [u8; 4] = [0, 1, 2, 4];

/// One kind of handshake, and what it took.
struct Case {
    name: String,
    server: ServerTls,
    client: ClientTls,
    kind: HandshakeKind,
    samples: Vec<Sample>,
}

#[derive(Clone, Copy)]
struct Sample {
    server: Duration,
    client: Duration,
    sent: usize,
}

fn main() {
    let pki = Pki::new();
    let mut cases = Vec::new();
    for (key, algorithm) in [
        ("ECDSA P-256", &PKCS_ECDSA_P256_SHA256),
        ("RSA 2048", &PKCS_RSA_SHA256),
    ] {
        for version in [TlsVersion::Tls13, TlsVersion::Tls12] {
            cases.extend(cases_of(&pki, key, algorithm, version));
        }
    }
    cases.extend(mutual(&pki));
    for case in &mut cases {
        // Fills the client's store, and every cache of the processor.
        (0..10).for_each(|_| {
            let _ = shake(case);
        });
    }
    for _ in 0..ROUNDS {
        for case in &mut cases {
            let (sample, kind) = shake(case);
            assert_eq!(kind, Some(case.kind), "{}", case.name);
            case.samples.push(sample);
        }
    }
    println!(
        "{:44} {:>9} {:>9} {:>9}",
        "", "server us", "client us", "bytes"
    );
    for case in &cases {
        let [server, client] = [
            |sample: &Sample| sample.server,
            |sample: &Sample| sample.client,
        ]
        .map(|part| median(case.samples.iter().map(part).collect()));
        let sent = case.samples.last().unwrap().sent;
        println!("{:44} {server:9.0} {client:9.0} {sent:9}", case.name);
    }
}

fn cases_of(
    pki: &Pki,
    key: &str,
    algorithm: &'static SignatureAlgorithm,
    version: TlsVersion,
) -> Vec<Case> {
    let name = key.replace(' ', "-");
    let files = pki.issue_with(&name, &leaf_params(&["db.example"]), algorithm);
    let options = BackendTlsOptions {
        min_version: version,
        max_version: Some(version),
        ..pki.backend(BackendVerification::Full)
    };
    let tickets = match version {
        TlsVersion::Tls13 => &TICKETS[..],
        TlsVersion::Tls12 => &TICKETS[..2],
    };
    let mut cases: Vec<_> = tickets
        .iter()
        .map(|&tickets| Case {
            name: format!("{key}, {version}, full, {tickets} tickets"),
            server: build_server_config(&with_tickets(&files, tickets)).unwrap(),
            client: forgetful(&build_client_config(&options).unwrap()),
            kind: HandshakeKind::Full,
            samples: Vec::new(),
        })
        .collect();
    cases.push(Case {
        name: format!("{key}, {version}, resumed, 1 ticket"),
        server: build_server_config(&with_tickets(&files, 1)).unwrap(),
        client: careless(&build_client_config(&options).unwrap(), Means::Ticket),
        kind: HandshakeKind::Resumed,
        samples: Vec::new(),
    });
    cases
}

/// TLS 1.3 with client certificates, which a full handshake verifies and a ticket carries.
fn mutual(pki: &Pki) -> [Case; 2] {
    let shown = pki.issue("client", &leaf_params(&[]));
    let options = BackendTlsOptions {
        cert_file: Some(shown.certificate),
        key_file: Some(shown.key),
        ..pki.backend(BackendVerification::Full)
    };
    let listener = ListenerTlsOptions {
        client_certificate: ClientCertificate::Require,
        ca_file: Some(pki.ca_file.clone()),
        ..with_tickets(&pki.good(), 1)
    };
    let client = build_client_config(&options).unwrap();
    [
        ("full", HandshakeKind::Full, forgetful(&client)),
        (
            "resumed",
            HandshakeKind::Resumed,
            careless(&client, Means::Ticket),
        ),
    ]
    .map(|(name, kind, client)| Case {
        name: format!("ECDSA P-256, client certificate, {name}, 1 ticket"),
        server: build_server_config(&listener).unwrap(),
        client,
        kind,
        samples: Vec::new(),
    })
}

fn with_tickets(files: &Files, tickets: u8) -> ListenerTlsOptions {
    let Some(tickets) = NonZeroU8::new(tickets) else {
        return listener(&[files]);
    };
    let mut options = resuming(&[files]);
    options.resumption.as_mut().unwrap().tickets = tickets;
    options
}

/// `client` as one that resumes nothing, though it takes tickets.
fn forgetful(client: &ClientTls) -> ClientTls {
    let mut config = (*client.config).clone();
    config.resumption = rustls::client::Resumption::in_memory_sessions(0);
    client.clone().with_config(config)
}

fn shake(case: &Case) -> (Sample, Option<HandshakeKind>) {
    let name = case.client.server_name(BackendHost::Tcp("db.example"));
    let started = Instant::now();
    let mut client = ClientConnection::new(case.client.dialling_config(), name.unwrap()).unwrap();
    let mut sample = Sample {
        server: Duration::ZERO,
        client: started.elapsed(),
        sent: 0,
    };
    let started = Instant::now();
    let mut server = ServerConnection::new(Arc::clone(&case.server.config)).unwrap();
    sample.server = started.elapsed();
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    loop {
        sample.client += turn(&mut client, &mut to_client, &mut to_server);
        sample.server += turn(&mut server, &mut to_server, &mut to_client);
        sample.sent += to_client.len();
        if to_client.is_empty() {
            return (sample, server.handshake_kind());
        }
    }
}

/// Reads everything, then writes everything; how long it took.
fn turn<Data: SideData>(
    connection: &mut impl DerefMut<Target = ConnectionCommon<Data>>,
    incoming: &mut Vec<u8>,
    outgoing: &mut Vec<u8>,
) -> Duration {
    let started = Instant::now();
    let mut bytes = incoming.as_slice();
    while !bytes.is_empty() {
        connection.read_tls(&mut bytes).unwrap();
        connection.process_new_packets().unwrap();
    }
    incoming.clear();
    while connection.wants_write() {
        connection.write_tls(outgoing).unwrap();
    }
    started.elapsed()
}

fn median(mut durations: Vec<Duration>) -> f64 {
    durations.sort_unstable();
    durations[durations.len() / 2].as_secs_f64() * 1e6
}
