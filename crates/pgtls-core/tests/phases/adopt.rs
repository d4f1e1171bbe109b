//! Phase *hand off*: descriptors, limits, and who is let in although a limit is reached.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use pgtls_core::{AdoptError, CloseReason, FaultSide, Phase};
use pgtls_testkit::{Ending, FakeBackend, StepwiseTls, messages};
use pgtls_wire::encode_cancel_request;

use crate::stage::{Arrival, Pki, STARTUP, Stage, expect_s};

#[tokio::test]
async fn the_client_over_max_client_conn_is_told_53300_inside_tls() {
    let (pki, backend) = (Pki::new(), FakeBackend::builder().listen().await);
    let mut options = pki.options(&[&backend]);
    options.max_client_conn = 1;
    let stage = Stage::start(&options).await;
    let first = stage.login(&pki.client()).await;
    let mut second = stage.knock(Arrival::default(), &pki.client()).await;
    let fatal = second.fatal().await;
    assert_eq!(fatal.sqlstate, "53300");
    assert_eq!(fatal.ending, Ending::CloseNotify);
    let refused = second.id;
    drop(second);
    let report = stage.report(refused).await;
    assert_eq!(report.reason, CloseReason::TooManyConnections);
    assert_eq!(report.fault_side, Some(FaultSide::Proxy));
    assert_eq!(report.sqlstate, Some("53300"));
    assert!(report.client_tls.is_some(), "told inside TLS");
    assert_eq!(backend.records().len(), 1, "the backend was not bothered");
    first.close().await;
    stage.finish().await;
}

#[tokio::test]
async fn a_plaintext_client_over_a_limit_is_told_53300_in_plaintext() {
    let (pki, backend) = (Pki::new(), FakeBackend::builder().listen().await);
    let mut options = pki.options(&[&backend]);
    options.max_client_conn = 1;
    let stage = Stage::start(&options).await;
    let first = stage.login(&pki.client()).await;
    let mut second = stage.arrive(Arrival::plain()).await;
    second.frontend.startup(&STARTUP).await.unwrap();
    let fatal = second.fatal().await;
    assert_eq!(
        (fatal.sqlstate.as_str(), fatal.ending),
        ("53300", Ending::Fin)
    );
    drop(second);
    first.close().await;
    stage.finish().await;
}

#[tokio::test]
async fn a_routes_limit_leaves_the_other_routes_alone() {
    let (pki, backend) = (Pki::new(), FakeBackend::builder().listen().await);
    let mut options = pki.options(&[&backend]);
    let mut other = options.routes[0].clone();
    other.route_id = 2;
    options.routes.push(other);
    options.routes[0].max_client_conn = 1;
    let stage = Stage::start(&options).await;
    let first = stage.login(&pki.client()).await;
    let mut refused = stage.knock(Arrival::default(), &pki.client()).await;
    assert_eq!(refused.fatal().await.sqlstate, "53300");
    let mut elsewhere = stage
        .knock(Arrival::default().on_route(2), &pki.client())
        .await;
    elsewhere.frontend.read_until_ready().await.unwrap();
    drop(refused);
    elsewhere.close().await;
    first.close().await;
    stage.finish().await;
}

#[tokio::test]
async fn the_limit_per_address_counts_an_ipv4_address_in_ipv6_clothes_as_the_same() {
    let (pki, backend) = (Pki::new(), FakeBackend::builder().listen().await);
    let mut options = pki.options(&[&backend]);
    options.routes[0].max_client_conn_per_ip = 1;
    let stage = Stage::start(&options).await;
    let from = |peer: &str| Arrival::default().from(peer);
    let mut first = stage.knock(from("10.0.0.1:5000"), &pki.client()).await;
    first.frontend.read_until_ready().await.unwrap();
    for peer in ["10.0.0.1:5001", "[::ffff:10.0.0.1]:5002"] {
        let mut refused = stage.knock(from(peer), &pki.client()).await;
        assert_eq!(refused.fatal().await.sqlstate, "53300", "{peer}");
    }
    let mut other = stage.knock(from("10.0.0.2:5000"), &pki.client()).await;
    other.frontend.read_until_ready().await.unwrap();
    other.close().await;
    first.close().await;
    stage.finish().await;
}

#[tokio::test]
async fn a_session_that_ends_gives_its_place_back() {
    let (pki, backend) = (Pki::new(), FakeBackend::builder().listen().await);
    let mut options = pki.options(&[&backend]);
    options.max_client_conn = 1;
    options.routes[0].max_client_conn = 1;
    options.routes[0].max_client_conn_per_ip = 1;
    let stage = Stage::start(&options).await;
    for _ in 0..3 {
        stage.login(&pki.client()).await.close().await;
        stage.wait_for(|now| now.live_sessions == 0).await;
    }
    assert_eq!(stage.snapshot().routes[0].live_sessions, 0);
    stage.finish().await;
}

#[tokio::test]
async fn a_client_over_the_limit_takes_no_place_from_those_within() {
    let (pki, backend) = (Pki::new(), FakeBackend::builder().listen().await);
    let mut options = pki.options(&[&backend]);
    options.max_client_conn = 1;
    let stage = Stage::start(&options).await;
    let first = stage.login(&pki.client()).await;
    // Over the limit, and in no hurry to be told so.
    let dawdler = stage.arrive(Arrival::default()).await;
    let ended = first.id;
    first.close().await;
    stage.report(ended).await;
    stage.wait_for(|now| now.live_sessions <= 1).await;
    let mut next = stage.knock(Arrival::default(), &pki.client()).await;
    let login = next.frontend.read_until_ready().await;
    drop((dawdler, next));
    login.expect("no session lives: a new one is within the limit");
    stage.finish().await;
}

#[tokio::test]
async fn cancel_requests_pass_although_the_limit_is_reached() {
    let (pki, backend) = (Pki::new(), FakeBackend::builder().listen().await);
    let mut options = pki.options(&[&backend]);
    options.max_client_conn = 1;
    let stage = Stage::start(&options).await;
    let session = stage.login(&pki.client()).await;
    let packet = encode_cancel_request(4242, &[0xde, 0xad, 0xbe, 0xef]);
    let mut plain = stage.arrive(Arrival::plain()).await;
    plain.frontend.send(&packet).await.unwrap();
    assert_eq!(plain.frontend.read_to_end().await.0, b"");
    let mut tls = stage.shake(Arrival::default(), &pki.client()).await;
    tls.frontend.send(&packet).await.unwrap();
    assert_eq!(tls.frontend.read_to_end().await.0, b"");
    for id in [plain.id, tls.id] {
        assert_eq!(stage.report(id).await.reason, CloseReason::CancelForwarded);
    }
    backend
        .wait_until(|all| {
            all.iter()
                .filter(|one| one.cancel_request.is_some())
                .count()
                == 2
        })
        .await;
    drop((plain, tls));
    session.close().await;
    stage.finish().await;
}

#[tokio::test]
async fn with_every_handshake_slot_taken_adopt_refuses_and_the_socket_stays_the_callers() {
    let (pki, backend) = (Pki::new(), FakeBackend::builder().listen().await);
    let mut options = pki.options(&[&backend]);
    options.max_client_conn = 1;
    options.max_concurrent_handshakes = 1;
    let stage = Stage::start(&options).await;
    let session = stage.login(&pki.client()).await;
    let in_the_slot = stage.arrive(Arrival::default()).await;
    let (stream, server, _) = stage.pair().await;
    let refused = stage.adopt(server.as_fd(), Arrival::default());
    assert!(
        matches!(refused, Err(AdoptError::TooManyConnections)),
        "{refused:?}"
    );
    assert_eq!(
        stage.snapshot().live_sessions,
        2,
        "the refused one counts no longer"
    );
    std::io::Write::write_all(&mut &server, b"no").expect("the caller's descriptor works");
    drop((stream, server, in_the_slot));
    session.close().await;
    stage.finish().await;
}

#[tokio::test]
async fn a_plaintext_cancel_over_the_limit_needs_no_handshake_slot() {
    let (pki, backend) = (Pki::new(), FakeBackend::builder().listen().await);
    let mut options = pki.options(&[&backend]);
    options.max_client_conn = 2;
    options.max_concurrent_handshakes = 1;
    let stage = Stage::start(&options).await;
    let session = stage.login(&pki.client()).await;
    let hello = StepwiseTls::new(&pki.client()).outgoing();
    let arrival = Arrival::default().with_prefix(&hello);
    let mut in_the_slot = stage.arrive(arrival).await;
    // An answer to the ClientHello: the handshake goes on, and the slot is taken.
    in_the_slot.frontend.read_exact(1).await.unwrap();
    let packet = encode_cancel_request(4242, &[0xde, 0xad, 0xbe, 0xef]);
    let cancel = stage
        .try_arrive(Arrival::plain().with_prefix(&packet))
        .await;
    if let Ok(mut cancel) = cancel {
        cancel.frontend.read_to_end().await;
        let report = stage.report(cancel.id).await;
        assert_eq!(report.reason, CloseReason::CancelForwarded);
    } else {
        panic!("a CancelRequest bypasses the limits: {:?}", cancel.err());
    }
    drop(in_the_slot);
    session.close().await;
    stage.finish().await;
}

#[tokio::test]
async fn a_client_within_the_limits_waits_for_a_handshake_slot() {
    let (pki, backend) = (Pki::new(), FakeBackend::builder().listen().await);
    let mut options = pki.options(&[&backend]);
    options.max_concurrent_handshakes = 1;
    let stage = Stage::start(&options).await;
    let in_the_slot = stage.arrive(Arrival::default()).await;
    let impatient = stage.arrive(Arrival::default().within(50)).await;
    let report = stage
        .ended(
            impatient.id,
            CloseReason::LoginTimeout,
            Phase::ClientHandshake,
        )
        .await;
    assert_eq!(
        report.sqlstate, None,
        "nothing can be told before TLS stands"
    );
    let patient = stage.arrive(Arrival::default()).await;
    let left = in_the_slot.id;
    drop(in_the_slot);
    stage.report(left).await;
    let mut frontend = patient.frontend.start_tls(&pki.client()).await.unwrap();
    frontend.startup(&STARTUP).await.unwrap();
    frontend.read_until_ready().await.unwrap();
    frontend.close().await.unwrap();
    stage.finish().await;
}

#[tokio::test]
async fn an_unknown_route_is_refused_and_counts_nothing() {
    let (pki, backend) = (Pki::new(), FakeBackend::builder().listen().await);
    let stage = Stage::start(&pki.options(&[&backend])).await;
    let refused = stage.try_arrive(Arrival::default().on_route(9)).await;
    assert!(matches!(refused.err(), Some(AdoptError::RouteUnknown(9))));
    assert_eq!(stage.snapshot().live_sessions, 0);
    stage.finish().await;
}

#[tokio::test]
async fn a_descriptor_that_is_no_socket_is_reported_and_closed() {
    let (pki, backend) = (Pki::new(), FakeBackend::builder().listen().await);
    let stage = Stage::start(&pki.options(&[&backend])).await;
    let file = std::fs::File::open(&pki.listener_files.cert_file).unwrap();
    let id = stage.adopt(&file, Arrival::plain()).unwrap();
    let report = stage.report(id).await;
    assert!(report.message.is_some(), "{report:#?}");
    stage.finish().await;
}

#[tokio::test]
async fn a_unix_domain_socket_is_served_like_any_other() {
    let (pki, backend) = (Pki::new(), FakeBackend::builder().listen().await);
    let stage = Stage::start(&pki.options(&[&backend])).await;
    let (mut client, server) = tokio::net::UnixStream::pair().unwrap();
    let id = stage
        .adopt(
            &server,
            Arrival::default().from("unix:/run/pgtls/.s.PGSQL.6432"),
        )
        .unwrap();
    drop(server);
    expect_s(&mut client).await;
    let transport = pgtls_testkit::Transport::unix(client);
    let frontend = pgtls_testkit::Frontend::over(pgtls_testkit::Connection::Plain(transport));
    let mut frontend = frontend.start_tls(&pki.client()).await.unwrap();
    frontend.startup(&STARTUP).await.unwrap();
    frontend.read_until_ready().await.unwrap();
    frontend.send(&messages::query("select 1")).await.unwrap();
    frontend.read_message().await.unwrap();
    assert_eq!(frontend.close().await.unwrap(), Ending::CloseNotify);
    let report = stage
        .ended(id, CloseReason::ClientClosed, Phase::Relay)
        .await;
    assert_eq!(report.client_addr, "unix:/run/pgtls/.s.PGSQL.6432");
    stage.finish().await;
}

#[tokio::test]
async fn clients_that_say_nothing_keep_nobody_from_logging_in() {
    let (pki, backend) = (Pki::new(), FakeBackend::builder().listen().await);
    let mut options = pki.options(&[&backend]);
    options.max_concurrent_handshakes = 1;
    let stage = Stage::start(&options).await;
    let mute = stage.arrive(Arrival::default().within(60_000)).await;
    let stuck = stage
        .arrive(Arrival::default().within(60_000).with_prefix(&[0x16]))
        .await;
    let begun = Instant::now();
    let session = stage.login(&pki.client()).await;
    // One slot, occupied for a second at most by the client that began its hello and stopped.
    assert!(begun.elapsed() < Duration::from_secs(5));
    drop((mute, stuck));
    session.close().await;
    stage.finish().await;
}
