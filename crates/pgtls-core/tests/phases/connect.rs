//! Phase *backend*: what each `sslmode` makes of each server, and every way not to reach one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pgtls_core::{
    AlertDirection, BackendAddress, CloseReason, ConnectionReport, DataPlaneOptions, FaultSide,
    Phase, Sslmode, Sslnegotiation, TlsSide,
};
use pgtls_testkit::{
    BackendBehaviour, CertificateSpec, EncryptionAnswer, Ending, FakeBackend, Issued, TestCa,
    Validity, messages, server_config, server_config_with_client_ca,
};
use pgtls_tls::options::{BackendVerification, TlsVersion};
use socket2::{Domain, Socket, Type};

use crate::stage::{Arrival, Pki, STARTUP, Stage};

/// What a client gets of a backend.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    PlainSession,
    TlsSession,
    Refused(String, CloseReason),
}

fn refused(sqlstate: &str, reason: CloseReason) -> Outcome {
    Outcome::Refused(sqlstate.to_owned(), reason)
}

/// Logs one client in, or reads why not.
async fn outcome(pki: &Pki, options: &DataPlaneOptions) -> (Outcome, ConnectionReport) {
    let stage = Stage::start(options).await;
    let mut client = stage.knock(Arrival::default(), &pki.client()).await;
    let id = client.id;
    let first = client.frontend.read_message().await.unwrap();
    if first.tag == b'R' {
        client.frontend.read_until_ready().await.unwrap();
        client.close().await;
        let report = stage.report(id).await;
        stage.finish().await;
        let session = match report.backend_tls {
            Some(_) => Outcome::TlsSession,
            None => Outcome::PlainSession,
        };
        return (session, report);
    }
    let sqlstate = first.error_field(b'C').unwrap();
    let (rest, ending) = client.frontend.read_to_end().await;
    assert_eq!((rest.as_slice(), ending), (&b""[..], Ending::CloseNotify));
    drop(client);
    let report = stage.report(id).await;
    assert_eq!(report.phase, Phase::Backend);
    assert_eq!(report.fault_side, Some(FaultSide::Backend));
    assert_eq!(report.sqlstate, Some(sqlstate.as_str()));
    assert!(
        report.message.is_some(),
        "the log is told more than the client"
    );
    stage.finish().await;
    (Outcome::Refused(sqlstate, report.reason), report)
}

fn address(address: SocketAddr) -> BackendAddress {
    BackendAddress::Tcp {
        host: address.ip().to_string(),
        port: address.port(),
    }
}

/// A port of 127.0.0.1 that refuses connections for as long as the socket lives: bound, but not listening.
fn refusing() -> (Socket, BackendAddress) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    let bound = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address(bound))
}

/// Every way to answer an SSLRequest, by its name.
fn answers(pki: &Pki) -> Vec<(&'static str, EncryptionAnswer)> {
    let config = Arc::new(server_config(&pki.backend));
    vec![
        ("Refuse", EncryptionAnswer::Refuse),
        ("Accept", EncryptionAnswer::Accept(Arc::clone(&config))),
        ("Direct", EncryptionAnswer::Direct(Arc::clone(&config))),
        (
            "AcceptStuffed",
            EncryptionAnswer::AcceptStuffed(config, b"E".to_vec()),
        ),
        ("Raw N and more", EncryptionAnswer::Raw(b"NE".to_vec())),
        (
            "Raw E",
            EncryptionAnswer::Raw(b"EFATAL: no fork\n\0".to_vec()),
        ),
        (
            "Raw junk",
            EncryptionAnswer::Raw(b"220 ftp ready\r\n".to_vec()),
        ),
        ("Silence", EncryptionAnswer::Silence),
        ("Close", EncryptionAnswer::Close),
    ]
}

async fn outcome_of(pki: &Pki, answer: EncryptionAnswer, sslmode: Sslmode) -> Outcome {
    let backend = FakeBackend::builder().encryption(answer).listen().await;
    let mut options = pki.options(&[&backend]);
    options.routes[0].backend.sslmode = sslmode;
    options.routes[0].backend.connect_timeout = Duration::from_millis(300);
    outcome(pki, &options).await.0
}

#[tokio::test]
async fn sslmode_disable_never_asks_for_tls() {
    let pki = Pki::new();
    for (name, answer) in answers(&pki) {
        // A server that speaks nothing but TLS is told apart below.
        if !matches!(answer, EncryptionAnswer::Direct(_)) {
            let outcome = outcome_of(&pki, answer, Sslmode::Disable).await;
            assert_eq!(outcome, Outcome::PlainSession, "{name}");
        }
    }
}

#[tokio::test]
async fn sslmode_prefer_takes_tls_where_it_is_offered_and_refuses_a_broken_answer() {
    let pki = Pki::new();
    let violation = || refused("08001", CloseReason::BackendProtocolViolation);
    for (name, answer) in answers(&pki) {
        let expected = match name {
            "Refuse" => Outcome::PlainSession,
            "Accept" => Outcome::TlsSession,
            "Raw E" => refused("08001", CloseReason::BackendTlsHandshakeFailed),
            "Silence" | "Close" => refused("08006", CloseReason::BackendUnreachable),
            _ => violation(),
        };
        assert_eq!(
            outcome_of(&pki, answer, Sslmode::Prefer).await,
            expected,
            "{name}"
        );
    }
}

#[tokio::test]
async fn sslmode_require_takes_tls_or_nothing() {
    let pki = Pki::new();
    for (name, answer) in answers(&pki) {
        let expected = match name {
            "Accept" => Outcome::TlsSession,
            "Refuse" | "Raw E" => refused("08001", CloseReason::BackendTlsHandshakeFailed),
            "Silence" | "Close" => refused("08006", CloseReason::BackendUnreachable),
            _ => refused("08001", CloseReason::BackendProtocolViolation),
        };
        assert_eq!(
            outcome_of(&pki, answer, Sslmode::Require).await,
            expected,
            "{name}"
        );
    }
}

#[tokio::test]
async fn not_a_byte_stuffed_behind_the_servers_s_reaches_the_tls_session() {
    let pki = Pki::new();
    let config = Arc::new(server_config(&pki.backend));
    let stuffed = EncryptionAnswer::AcceptStuffed(config, b"x".repeat(40_000));
    let backend = FakeBackend::builder().encryption(stuffed).listen().await;
    let (outcome, report) = outcome(&pki, &pki.tls_options(&[&backend])).await;
    assert_eq!(
        outcome,
        refused("08001", CloseReason::BackendProtocolViolation)
    );
    assert!(report.message.unwrap().contains("unencrypted data"));
    assert_eq!(backend.closed(0).await.startup_packet, None);
}

#[tokio::test]
async fn direct_tls_is_spoken_to_a_server_that_expects_it() {
    let pki = Pki::new();
    let config = Arc::new(server_config(&pki.backend));
    let backend = FakeBackend::builder()
        .encryption(EncryptionAnswer::Direct(config))
        .listen()
        .await;
    let mut options = pki.tls_options(&[&backend]);
    options.routes[0].backend.sslnegotiation = Sslnegotiation::Direct;
    let (outcome, report) = outcome(&pki, &options).await;
    assert_eq!(outcome, Outcome::TlsSession);
    assert_eq!(
        report.backend_tls.unwrap().alpn.as_deref(),
        Some("postgresql")
    );
    let record = &backend.records()[0];
    assert!(!record.saw_ssl_request);
    assert_eq!(
        record.tls.as_ref().unwrap().alpn.as_deref(),
        Some("postgresql")
    );
}

#[tokio::test]
async fn direct_tls_to_a_server_without_alpn_or_without_tls_is_refused() {
    let pki = Pki::new();
    let mut config = server_config(&pki.backend);
    config.alpn_protocols.clear();
    for (answer, reason) in [
        (
            EncryptionAnswer::Direct(Arc::new(config)),
            CloseReason::BackendProtocolViolation,
        ),
        (
            EncryptionAnswer::Refuse,
            CloseReason::BackendTlsHandshakeFailed,
        ),
    ] {
        let backend = FakeBackend::builder().encryption(answer).listen().await;
        let mut options = pki.tls_options(&[&backend]);
        options.routes[0].backend.sslnegotiation = Sslnegotiation::Direct;
        assert_eq!(outcome(&pki, &options).await.0, refused("08001", reason));
    }
}

#[tokio::test]
async fn prefer_falls_back_to_plaintext_when_the_handshake_fails() {
    let pki = Pki::new();
    let demanding = Arc::new(server_config_with_client_ca(&pki.backend, &pki.ca));
    let backend = FakeBackend::builder()
        .encryption(EncryptionAnswer::Accept(demanding))
        .listen()
        .await;
    let mut options = pki.options(&[&backend]);
    options.routes[0].backend.sslmode = Sslmode::Prefer;
    // With TLS 1.2 the server refuses within the handshake.
    options.routes[0].backend.tls.max_version = Some(TlsVersion::Tls12);
    assert_eq!(outcome(&pki, &options).await.0, Outcome::PlainSession);
    let records = backend.records();
    assert!(records[0].tls_error.is_some(), "{records:#?}");
    assert!(records[1].startup_packet.is_some() && records[1].tls.is_none());
}

/// A backend with an `hostnossl` line.
async fn tls_refusing_backend(pki: &Pki) -> FakeBackend {
    let text = "no pg_hba.conf entry for host, SSL encryption";
    let refusal = messages::error_response("FATAL", "28000", text);
    pki.tls_backend().refuse_in_tls(&refusal).listen().await
}

#[tokio::test]
async fn prefer_falls_back_to_plaintext_when_the_server_refuses_the_login_over_tls() {
    let pki = Pki::new();
    let backend = tls_refusing_backend(&pki).await;
    let mut options = pki.options(&[&backend]);
    options.routes[0].backend.sslmode = Sslmode::Prefer;
    let stage = Stage::start(&options).await;
    let mut client = stage.login(&pki.client()).await;
    client.echo("select 'in plaintext'").await;
    let id = client.id;
    client.close().await;
    let report = stage.report(id).await;
    assert!(report.backend_tls.is_none(), "{report:#?}");
    let startup = u64::try_from(messages::startup_message(0, &STARTUP).len()).unwrap();
    assert!(report.bytes_in > startup && report.bytes_in < 2 * startup);
    let records = backend.wait_until(|all| all.len() == 2).await;
    assert_eq!(records[0].startup_packet, records[1].startup_packet);
    assert!(records[0].tls.is_some() && records[1].tls.is_none());
    stage.finish().await;
}

#[tokio::test]
async fn prefer_stays_with_tls_when_the_login_begins() {
    let pki = Pki::new();
    let backend = pki.tls_backend().listen().await;
    let mut options = pki.options(&[&backend]);
    options.routes[0].backend.sslmode = Sslmode::Prefer;
    let stage = Stage::start(&options).await;
    // A query right behind the StartupMessage must come behind it on the other side, too.
    let mut client = stage.shake(Arrival::default(), &pki.client()).await;
    let query = messages::query("select 1");
    let both = [messages::startup_message(0, &STARTUP), query.clone()].concat();
    client.frontend.send(&both).await.unwrap();
    client.frontend.read_until_ready().await.unwrap();
    assert_eq!(
        client.frontend.read_exact(query.len()).await.unwrap(),
        query
    );
    let id = client.id;
    client.close().await;
    let report = stage.report(id).await;
    assert!(report.backend_tls.is_some(), "{report:#?}");
    assert_eq!(backend.records().len(), 1);
    stage.finish().await;
}

#[tokio::test]
async fn require_passes_the_refusal_of_a_login_over_tls_on() {
    let pki = Pki::new();
    let backend = tls_refusing_backend(&pki).await;
    let stage = Stage::start(&pki.tls_options(&[&backend])).await;
    let mut client = stage.knock(Arrival::default(), &pki.client()).await;
    assert_eq!(client.fatal().await.sqlstate, "28000");
    drop(client);
    assert_eq!(backend.records().len(), 1);
    stage.finish().await;
}

#[tokio::test]
async fn a_server_that_demands_a_certificate_we_lack_is_reported_with_its_alert() {
    let pki = Pki::new();
    for max_version in [TlsVersion::Tls12, TlsVersion::Tls13] {
        let demanding = Arc::new(server_config_with_client_ca(&pki.backend, &pki.ca));
        let backend = FakeBackend::builder()
            .encryption(EncryptionAnswer::Accept(demanding))
            .listen()
            .await;
        let mut options = pki.tls_options(&[&backend]);
        options.routes[0].backend.tls.max_version = Some(max_version);
        let stage = Stage::start(&options).await;
        let mut client = stage.knock(Arrival::default(), &pki.client()).await;
        let fatal = client.fatal().await;
        assert!(
            ["08001", "08006"].contains(&fatal.sqlstate.as_str()),
            "{fatal:?}"
        );
        let id = client.id;
        drop(client);
        let report = stage.report(id).await;
        assert_eq!(report.fault_side, Some(FaultSide::Backend));
        let alert = report.alert.expect("the alert is told");
        assert_eq!(alert.description, "certificate_required");
        assert_eq!(
            (alert.direction, alert.side),
            (AlertDirection::Received, TlsSide::Backend)
        );
        stage.finish().await;
    }
}

#[tokio::test]
async fn our_certificate_is_shown_to_a_server_that_demands_one() {
    let pki = Pki::new();
    let identity = pki.ca.issue(&CertificateSpec::client("pgtls"));
    let files = identity.write_to(pki.path(), "towards-backend");
    let demanding = Arc::new(server_config_with_client_ca(&pki.backend, &pki.ca));
    let backend = FakeBackend::builder()
        .encryption(EncryptionAnswer::Accept(demanding))
        .listen()
        .await;
    let mut options = pki.tls_options(&[&backend]);
    options.routes[0].backend.tls.cert_file = Some(files.cert_file);
    options.routes[0].backend.tls.key_file = Some(files.key_file);
    assert_eq!(outcome(&pki, &options).await.0, Outcome::TlsSession);
    let tls = backend.records()[0].tls.clone().unwrap();
    assert_eq!(
        tls.client_certificate.as_deref(),
        Some(&identity.cert_der[..])
    );
}

/// The outcome with `identity` on the server, dialled as `host` under `verification` with our root.
async fn verified(
    pki: &Pki,
    identity: &Issued,
    host: &str,
    verification: BackendVerification,
) -> (Outcome, ConnectionReport, FakeBackend) {
    let answer = EncryptionAnswer::Accept(Arc::new(server_config(identity)));
    let backend = FakeBackend::builder().encryption(answer).listen().await;
    let mut options = pki.tls_options(&[&backend]);
    let route = &mut options.routes[0].backend;
    route.addresses = vec![BackendAddress::Tcp {
        host: host.to_owned(),
        port: backend.tcp_address().port(),
    }];
    route.tls.verification = verification;
    route.tls.root_cert = Some(pki.root_cert());
    let (outcome, report) = outcome(pki, &options).await;
    (outcome, report, backend)
}

#[tokio::test]
async fn verify_full_takes_the_right_name_and_sends_it() {
    let pki = Pki::new();
    let full = BackendVerification::Full;
    let (outcome, _, backend) = verified(&pki, &pki.backend, "localhost", full).await;
    assert_eq!(outcome, Outcome::TlsSession);
    let records = backend.records();
    assert_eq!(
        records.last().unwrap().tls.as_ref().unwrap().sni.as_deref(),
        Some("localhost")
    );
    let (outcome, _, backend) = verified(&pki, &pki.backend, "127.0.0.1", full).await;
    assert_eq!(outcome, Outcome::TlsSession);
    assert_eq!(
        backend.records()[0].tls.as_ref().unwrap().sni,
        None,
        "no name for an address"
    );
}

#[tokio::test]
async fn verify_ca_takes_any_name_but_no_other_authority() {
    let pki = Pki::new();
    let ca = BackendVerification::Ca;
    let elsewhere = CertificateSpec::server(&["db.example.com"]);
    let named_otherwise = pki.ca.issue(&elsewhere);
    let (outcome, ..) = verified(&pki, &named_otherwise, "localhost", ca).await;
    assert_eq!(outcome, Outcome::TlsSession);
    let stranger = TestCa::new("another root").issue(&CertificateSpec::localhost());
    let (outcome, report, backend) = verified(&pki, &stranger, "localhost", ca).await;
    assert_eq!(
        outcome,
        refused("08001", CloseReason::BackendTlsHandshakeFailed)
    );
    let alert = report.alert.unwrap();
    assert_eq!(alert.description, "unknown_ca");
    assert_eq!(
        (alert.direction, alert.side),
        (AlertDirection::Sent, TlsSide::Backend)
    );
    let record = backend.closed(0).await;
    assert!(
        record.tls_error.is_some(),
        "the server got the alert: {record:#?}"
    );
}

#[tokio::test]
async fn verify_full_refuses_wrong_names_and_wrong_dates() {
    let pki = Pki::new();
    let full = BackendVerification::Full;
    let elsewhere = pki.ca.issue(&CertificateSpec::server(&["db.example.com"]));
    let expired = pki
        .ca
        .issue(&CertificateSpec::localhost().with_validity(Validity::Expired));
    for (identity, alert) in [
        (elsewhere, "bad_certificate"),
        (expired, "certificate_expired"),
    ] {
        let (outcome, report, backend) = verified(&pki, &identity, "localhost", full).await;
        assert_eq!(
            outcome,
            refused("08001", CloseReason::BackendTlsHandshakeFailed)
        );
        assert_eq!(report.alert.unwrap().description, alert);
        assert_eq!(
            backend.closed(0).await.startup_packet,
            None,
            "nothing was said to it"
        );
    }
}

#[tokio::test]
async fn a_refused_port_is_told_08006_and_names_the_address_in_the_report() {
    let pki = Pki::new();
    let (_socket, nobody) = refusing();
    let mut options = pki.options(&[]);
    options.routes[0].backend.addresses = vec![nobody.clone()];
    let (outcome, report) = outcome(&pki, &options).await;
    assert_eq!(outcome, refused("08006", CloseReason::BackendUnreachable));
    assert!(report.message.unwrap().contains("refused"));
    assert_eq!(
        report.backend_addr,
        Some(nobody.to_string()),
        "the address last tried"
    );
}

#[tokio::test]
async fn a_black_hole_is_given_up_after_connect_timeout() {
    let pki = Pki::new();
    let hole = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    hole.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    hole.listen(0).unwrap();
    let hole_address = hole.local_addr().unwrap();
    // Who comes first fills the backlog; nobody is ever accepted.
    let crowd: Vec<_> = (0..4)
        .map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            let _ = socket.connect(&hole_address);
            socket
        })
        .collect();
    let mut options = pki.options(&[]);
    options.routes[0].backend.addresses = vec![address(hole_address.as_socket().unwrap())];
    options.routes[0].backend.connect_timeout = Duration::from_millis(200);
    let started = Instant::now();
    let (outcome, report) = outcome(&pki, &options).await;
    assert_eq!(outcome, refused("08006", CloseReason::BackendUnreachable));
    assert!(
        report
            .message
            .unwrap()
            .contains("connect_timeout of 200 ms")
    );
    assert!(started.elapsed() >= Duration::from_millis(200));
    drop(crowd);
}

#[tokio::test]
async fn the_login_deadline_ends_a_connect_that_would_take_longer() {
    let pki = Pki::new();
    let silent = FakeBackend::builder()
        .encryption(EncryptionAnswer::Silence)
        .listen()
        .await;
    let stage = Stage::start(&pki.tls_options(&[&silent])).await;
    let arrival = Arrival::default().within(300);
    let mut client = stage.knock(arrival, &pki.client()).await;
    assert_eq!(client.fatal().await.sqlstate, "57014");
    let id = client.id;
    drop(client);
    stage
        .ended(id, CloseReason::LoginTimeout, Phase::Backend)
        .await;
    silent.closed(0).await;
    stage.finish().await;
}

#[tokio::test]
async fn the_second_address_is_tried_when_the_first_one_fails() {
    let pki = Pki::new();
    let backend = pki.tls_backend().listen().await;
    let without_tls = FakeBackend::builder().listen().await;
    let closing = FakeBackend::builder()
        .encryption(EncryptionAnswer::Close)
        .listen()
        .await;
    let (_socket, nobody) = refusing();
    for first in [
        nobody,
        address(without_tls.tcp_address()),
        address(closing.tcp_address()),
    ] {
        let mut options = pki.tls_options(&[&backend]);
        options.routes[0].backend.addresses.insert(0, first);
        let (outcome, report) = outcome(&pki, &options).await;
        assert_eq!(outcome, Outcome::TlsSession);
        assert_eq!(report.backend_addr, Some(backend.tcp_address().to_string()));
    }
}

#[tokio::test]
async fn a_name_is_looked_up_and_one_without_an_address_is_told_08006() {
    let pki = Pki::new();
    let backend = FakeBackend::builder().listen().await;
    let port = backend.tcp_address().port();
    let mut options = pki.options(&[]);
    options.routes[0].backend.addresses = vec![BackendAddress::Tcp {
        host: "localhost".to_owned(),
        port,
    }];
    assert_eq!(outcome(&pki, &options).await.0, Outcome::PlainSession);
    options.routes[0].backend.addresses = vec![BackendAddress::Tcp {
        host: "no-such-host.invalid".to_owned(),
        port,
    }];
    let expected = refused("08006", CloseReason::BackendUnreachable);
    assert_eq!(outcome(&pki, &options).await.0, expected);
}

#[tokio::test]
async fn sslmode_means_nothing_on_a_unix_domain_socket() {
    let pki = Pki::new();
    let path = pki.path().join(".s.PGSQL.5432");
    let backend = FakeBackend::builder().listen_unix(&path);
    for sslmode in [Sslmode::Disable, Sslmode::Prefer, Sslmode::Require] {
        let mut options = pki.options(&[&backend]);
        options.routes[0].backend.sslmode = sslmode;
        let (outcome, report) = outcome(&pki, &options).await;
        assert_eq!(outcome, Outcome::PlainSession);
        assert_eq!(
            report.backend_addr,
            Some(format!("unix:{}", path.display()))
        );
    }
    let mut options = pki.options(&[]);
    options.routes[0].backend.addresses = vec![BackendAddress::Unix(pki.path().join("nobody"))];
    let expected = refused("08006", CloseReason::BackendUnreachable);
    assert_eq!(outcome(&pki, &options).await.0, expected);
}

#[tokio::test]
async fn a_server_that_speaks_nothing_but_tls_never_hangs_a_plaintext_route() {
    let pki = Pki::new();
    let config = Arc::new(server_config(&pki.backend));
    let backend = FakeBackend::builder()
        .encryption(EncryptionAnswer::Direct(config))
        .behaviour(BackendBehaviour::Echo)
        .listen()
        .await;
    let stage = Stage::start(&pki.options(&[&backend])).await;
    let mut client = stage.knock(Arrival::default(), &pki.client()).await;
    client.frontend.read_to_end().await;
    let id = client.id;
    drop(client);
    let report = stage.report(id).await;
    assert_eq!(report.phase, Phase::Authenticate);
    stage.finish().await;
}
