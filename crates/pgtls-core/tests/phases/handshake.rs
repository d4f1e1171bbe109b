//! Phase *client handshake*: how the ClientHello arrives, what may come right behind the Finished, and every way to fail.

use pgtls_core::{AlertDirection, CloseReason, Event, FaultSide, Phase, TlsSide};
use pgtls_testkit::{
    CertificateSpec, Ending, FakeBackend, StepwiseTls, TestCa, TlsClient, messages,
};
use pgtls_tls::options::{ClientCertificate, TlsVersion};
use pgtls_wire::encode_cancel_request;

use crate::stage::{Arrival, Client, Pki, STARTUP, Stage, read_by_hand, shake_by_hand};

async fn stage_of(pki: &Pki) -> (FakeBackend, Stage) {
    let backend = FakeBackend::builder().listen().await;
    let stage = Stage::start(&pki.options(&[&backend])).await;
    (backend, stage)
}

fn startup() -> Vec<u8> {
    messages::startup_message(0, &STARTUP)
}

#[tokio::test]
async fn a_client_hello_may_be_cut_at_any_byte_between_prefix_and_socket() {
    let pki = Pki::new();
    let (_backend, stage) = stage_of(&pki).await;
    for tls in pki.clients_by_version() {
        let length = StepwiseTls::new(&tls).outgoing().len();
        // Every cut through the record's and the message's header, then one of each dozen.
        for cut in (0..64).chain((64..length).step_by(12)).chain([length]) {
            let mut session = StepwiseTls::new(&tls);
            let hello = session.outgoing();
            let cut = cut.min(hello.len());
            let arrival = Arrival::default().with_prefix(&hello[..cut]);
            let mut client = stage.arrive(arrival).await;
            client.frontend.send(&hello[cut..]).await.unwrap();
            shake_by_hand(&mut client.frontend, &mut session).await;
        }
    }
    stage.finish().await;
}

#[tokio::test]
async fn a_handshake_may_arrive_byte_by_byte() {
    let pki = Pki::new();
    let (_backend, stage) = stage_of(&pki).await;
    for tls in pki.clients_by_version() {
        let mut client = stage.arrive(Arrival::default()).await;
        client.frontend.set_byte_by_byte(true);
        let mut frontend = client.frontend.start_tls(&tls).await.unwrap();
        frontend.startup(&STARTUP).await.unwrap();
        frontend.read_until_ready().await.unwrap();
        frontend.close().await.unwrap();
    }
    stage.finish().await;
}

#[tokio::test]
async fn a_startup_in_the_segment_of_the_clients_finished_is_served_at_once() {
    let pki = Pki::new();
    let (_backend, stage) = stage_of(&pki).await;
    for arrival in [Arrival::default(), Arrival::direct()] {
        let mut session = StepwiseTls::new(&pki.client().tls_1_3_only());
        let hello = session.outgoing();
        let mut client = stage.arrive(arrival.with_prefix(&hello)).await;
        session.write(&startup());
        shake_by_hand(&mut client.frontend, &mut session).await;
        let finished_and_startup = session.outgoing();
        client.frontend.send(&finished_and_startup).await.unwrap();
        let login = read_by_hand(&mut client.frontend, &mut session, 20).await;
        assert_eq!(login[..9], messages::authentication_ok());
    }
    stage.finish().await;
}

#[tokio::test]
async fn a_startup_right_behind_the_handshake_of_tls_1_2_is_served_at_once() {
    let pki = Pki::new();
    let (_backend, stage) = stage_of(&pki).await;
    let mut session = StepwiseTls::new(&pki.client().tls_1_2_only());
    let hello = session.outgoing();
    let mut client = stage.arrive(Arrival::default().with_prefix(&hello)).await;
    // A client of TLS 1.2 may not send before it has the server's Finished; rustls sends in the same breath.
    session.write(&startup());
    shake_by_hand(&mut client.frontend, &mut session).await;
    let outgoing = session.outgoing();
    client.frontend.send(&outgoing).await.unwrap();
    let login = read_by_hand(&mut client.frontend, &mut session, 20).await;
    assert_eq!(login[..9], messages::authentication_ok());
    drop(client);
    stage.finish().await;
}

#[tokio::test]
async fn a_cancel_request_and_close_notify_in_the_segment_of_the_finished_are_served() {
    let pki = Pki::new();
    let (backend, stage) = stage_of(&pki).await;
    let mut session = StepwiseTls::new(&pki.client().tls_1_3_only());
    let mut client = stage.arrive(Arrival::default()).await;
    session.write(&encode_cancel_request(4242, b"key!"));
    shake_by_hand(&mut client.frontend, &mut session).await;
    session.close();
    let outgoing = session.outgoing();
    client.frontend.send(&outgoing).await.unwrap();
    let report = stage.report(client.id).await;
    assert_eq!(report.reason, CloseReason::CancelForwarded, "{report:#?}");
    backend
        .wait_until(|all| all.iter().any(|one| one.cancel_request.is_some()))
        .await;
    drop(client);
    stage.finish().await;
}

#[tokio::test]
async fn a_second_client_hello_is_asked_for_when_the_groups_differ() {
    let pki = Pki::new();
    let backend = FakeBackend::builder().listen().await;
    let mut options = pki.options(&[&backend]);
    let tls = options.routes[0].listener.tls.as_mut().unwrap();
    tls.groups = vec!["secp384r1".to_owned()];
    let stage = Stage::start(&options).await;
    let mut session = StepwiseTls::new(&pki.client().tls_1_3_only());
    let hello = session.outgoing();
    let mut client = stage.arrive(Arrival::default().with_prefix(&hello)).await;
    session.write(&startup());
    shake_by_hand(&mut client.frontend, &mut session).await;
    let outgoing = session.outgoing();
    client.frontend.send(&outgoing).await.unwrap();
    read_by_hand(&mut client.frontend, &mut session, 20).await;
    let id = client.id;
    drop(client);
    let tls = stage.report(id).await.client_tls.unwrap();
    assert_eq!(tls.group.as_deref(), Some("secp384r1"));
    stage.finish().await;
}

#[tokio::test]
async fn garbage_is_answered_by_an_alert_and_reported_with_it() {
    let pki = Pki::new();
    let (_backend, stage) = stage_of(&pki).await;
    for arrival in [
        Arrival::default().with_prefix(b"GET / HTTP/1.1\r\n\r\n"),
        Arrival::direct().with_prefix(b"\x16\x03\x01\x00\x05\xff\x00\x00\x01\x00"),
    ] {
        let mut client = stage.arrive(arrival).await;
        let (answer, _) = client.frontend.read_to_end().await;
        assert_eq!(answer.len(), 7, "an alert record: {answer:02x?}");
        assert_eq!(
            (answer[0], answer[5]),
            (21, 2),
            "a fatal alert: {answer:02x?}"
        );
        let id = client.id;
        drop(client);
        let report = stage
            .ended(
                id,
                CloseReason::ClientTlsHandshakeFailed,
                Phase::ClientHandshake,
            )
            .await;
        assert_eq!(report.fault_side, Some(FaultSide::Client));
        let alert = report.alert.expect("the alert is told");
        assert_eq!(
            (alert.direction, alert.side),
            (AlertDirection::Sent, TlsSide::Client)
        );
    }
    stage.finish().await;
}

#[tokio::test]
async fn direct_tls_without_alpn_is_told_08p01_inside_tls() {
    let pki = Pki::new();
    let (backend, stage) = stage_of(&pki).await;
    for tls in pki.clients_by_version() {
        let tls = tls.with_alpn(&[]);
        let mut client = stage.shake(Arrival::direct(), &tls).await;
        let fatal = client.fatal().await;
        assert_eq!(fatal.sqlstate, "08P01");
        assert!(fatal.hint.is_some_and(|hint| hint.contains("ALPN")));
        assert_eq!(fatal.ending, Ending::CloseNotify);
        let id = client.id;
        drop(client);
        let report = stage
            .ended(
                id,
                CloseReason::ClientProtocolViolation,
                Phase::ClientHandshake,
            )
            .await;
        assert_eq!(report.sqlstate, Some("08P01"));
    }
    assert_eq!(backend.records().len(), 0);
    stage.finish().await;
}

#[tokio::test]
async fn direct_tls_with_alpn_is_served_and_negotiated_tls_needs_none() {
    let pki = Pki::new();
    let (_backend, stage) = stage_of(&pki).await;
    let mut direct = stage.knock(Arrival::direct(), &pki.client()).await;
    direct.frontend.read_until_ready().await.unwrap();
    let id = direct.id;
    direct.close().await;
    let tls = stage.report(id).await.client_tls.unwrap();
    assert_eq!(tls.alpn.as_deref(), Some("postgresql"));
    let negotiated = stage.login(&pki.client().with_alpn(&[])).await;
    let id = negotiated.id;
    negotiated.close().await;
    assert_eq!(stage.report(id).await.client_tls.unwrap().alpn, None);
    stage.finish().await;
}

async fn refused_for_its_alpn(pki: &Pki, stage: &Stage) -> u64 {
    let tls = pki.client().with_alpn(&["http/1.1"]);
    let Client { frontend, id } = stage.arrive(Arrival::default()).await;
    frontend
        .start_tls(&tls)
        .await
        .expect_err("no common protocol");
    id
}

#[tokio::test]
async fn a_handshake_that_fails_behind_the_client_hello_reports_its_server_name_and_alert() {
    let pki = Pki::new();
    let (_backend, stage) = stage_of(&pki).await;
    let id = refused_for_its_alpn(&pki, &stage).await;
    let report = stage
        .ended(
            id,
            CloseReason::ClientTlsHandshakeFailed,
            Phase::ClientHandshake,
        )
        .await;
    assert_eq!(report.alert.unwrap().description, "no_application_protocol");
    assert_eq!(report.sni.as_deref(), Some("localhost"));
    stage.finish().await;
}

#[tokio::test]
async fn the_server_name_of_a_failed_handshake_is_not_reported_for_the_next_client() {
    let pki = Pki::new();
    let (_backend, stage) = stage_of(&pki).await;
    let failed = refused_for_its_alpn(&pki, &stage).await;
    stage.report(failed).await;
    let next = stage.login(&pki.client().without_sni()).await;
    let id = next.id;
    next.close().await;
    assert_eq!(stage.report(id).await.sni, None);
    stage.finish().await;
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_its_handshake_is_reported() {
    let pki = Pki::new();
    let (_backend, stage) = stage_of(&pki).await;
    let hello = StepwiseTls::new(&pki.client()).outgoing();
    for resets in [false, true] {
        for sent in [&hello[..0], &hello[..hello.len() / 2], &hello[..]] {
            let mut client = stage.arrive(Arrival::default()).await;
            client.frontend.send(sent).await.unwrap();
            let id = client.id;
            if resets {
                client.frontend.reset().unwrap();
            } else {
                client.frontend.half_close().await.unwrap();
            }
            let report = stage
                .ended(
                    id,
                    CloseReason::ClientTlsHandshakeFailed,
                    Phase::ClientHandshake,
                )
                .await;
            assert_eq!(report.fault_side, Some(FaultSide::Client));
            assert_eq!((report.alert, report.sqlstate), (None, None));
        }
    }
    stage.finish().await;
}

#[tokio::test]
async fn a_client_that_says_nothing_is_cut_when_its_login_time_is_over() {
    let pki = Pki::new();
    let (_backend, stage) = stage_of(&pki).await;
    let mut client = stage.arrive(Arrival::default().within(50)).await;
    assert_eq!(client.frontend.read_to_end().await.0, b"");
    let report = stage
        .ended(client.id, CloseReason::LoginTimeout, Phase::ClientHandshake)
        .await;
    assert_eq!(report.sqlstate, None);
    stage.finish().await;
}

#[tokio::test]
async fn a_required_client_certificate_that_is_missing_is_refused_with_its_alert() {
    let pki = Pki::new();
    let backend = FakeBackend::builder().listen().await;
    let mut options = pki.options(&[&backend]);
    pki.verify_clients(&mut options, ClientCertificate::Require);
    let stage = Stage::start(&options).await;
    for tls in pki.clients_by_version() {
        let Client { frontend, id } = stage.arrive(Arrival::default()).await;
        // With TLS 1.3 the client learns it at its first read.
        if let Ok(mut frontend) = frontend.start_tls(&tls).await {
            let (plaintext, ending) = frontend.read_to_end().await;
            assert_eq!(plaintext, b"");
            assert_eq!(ending, Ending::Failed(std::io::ErrorKind::InvalidData));
        }
        let report = stage
            .ended(
                id,
                CloseReason::ClientTlsHandshakeFailed,
                Phase::ClientHandshake,
            )
            .await;
        let alert = report.alert.unwrap();
        assert_eq!(alert.description, "certificate_required");
        assert_eq!(
            (alert.direction, alert.side),
            (AlertDirection::Sent, TlsSide::Client)
        );
    }
    assert_eq!(backend.records().len(), 0);
    stage.finish().await;
}

#[tokio::test]
async fn a_client_certificate_is_verified_and_reported() {
    let pki = Pki::new();
    let backend = FakeBackend::builder().listen().await;
    let mut options = pki.options(&[&backend]);
    pki.verify_clients(&mut options, ClientCertificate::Require);
    let stage = Stage::start(&options).await;
    for tls in pki.clients_by_version() {
        let alice = pki.ca.issue(&CertificateSpec::client("alice"));
        let client = stage.login(&tls.clone().with_identity(alice)).await;
        let id = client.id;
        client.close().await;
        let report = stage.report(id).await.client_tls.unwrap();
        let certificate = report.peer_cert.unwrap();
        assert!(certificate.subject.contains("alice"));
        assert_eq!(certificate.sha256.len(), 64);

        let mallory = TestCa::new("another root").issue(&CertificateSpec::client("alice"));
        let Client { frontend, id } = stage.arrive(Arrival::default()).await;
        if let Ok(mut frontend) = frontend.start_tls(&tls.with_identity(mallory)).await {
            frontend.read_to_end().await;
        }
        let report = stage.report(id).await;
        assert_eq!(report.reason, CloseReason::ClientTlsHandshakeFailed);
        assert_eq!(report.alert.unwrap().description, "unknown_ca");
    }
    stage.finish().await;
}

#[tokio::test]
async fn a_client_that_does_not_trust_our_certificate_says_so_by_its_alert() {
    let pki = Pki::new();
    let (_backend, stage) = stage_of(&pki).await;
    let stranger = TlsClient::trusting(&TestCa::new("another root"));
    for tls in [stranger.clone().tls_1_2_only(), stranger.tls_1_3_only()] {
        let Client { frontend, id } = stage.arrive(Arrival::default()).await;
        frontend.start_tls(&tls).await.expect_err("no trust");
        let report = stage
            .ended(
                id,
                CloseReason::ClientTlsHandshakeFailed,
                Phase::ClientHandshake,
            )
            .await;
        let alert = report
            .alert
            .clone()
            .unwrap_or_else(|| panic!("{report:#?}"));
        assert_eq!(alert.description, "unknown_ca");
        assert_eq!(
            (alert.direction, alert.side),
            (AlertDirection::Received, TlsSide::Client)
        );
    }
    stage.finish().await;
}

#[tokio::test]
async fn a_version_below_the_minimum_is_refused_by_protocol_version() {
    let pki = Pki::new();
    let backend = FakeBackend::builder().listen().await;
    let mut options = pki.options(&[&backend]);
    options.routes[0].listener.tls.as_mut().unwrap().min_version = TlsVersion::Tls13;
    let stage = Stage::start(&options).await;
    let Client { frontend, id } = stage.arrive(Arrival::default()).await;
    let refused = frontend.start_tls(&pki.client().tls_1_2_only()).await;
    refused.expect_err("too old");
    let report = stage.report(id).await;
    assert_eq!(report.reason, CloseReason::ClientTlsHandshakeFailed);
    assert_eq!(report.alert.unwrap().description, "protocol_version");
    stage.finish().await;
}

#[tokio::test]
async fn a_route_that_lost_its_tls_during_the_negotiation_ends_the_connection() {
    let pki = Pki::new();
    let backend = FakeBackend::builder().listen().await;
    let mut options = pki.options(&[&backend]);
    options.routes[0].listener.tls = None;
    let stage = Stage::start(&options).await;
    let hello = StepwiseTls::new(&pki.client()).outgoing();
    let mut client = stage.arrive(Arrival::default().with_prefix(&hello)).await;
    assert_eq!(client.frontend.read_to_end().await.0, b"");
    let id = client.id;
    drop(client);
    let report = stage
        .ended(
            id,
            CloseReason::ClientTlsHandshakeFailed,
            Phase::ClientHandshake,
        )
        .await;
    assert_eq!(report.fault_side, Some(FaultSide::Proxy));
    stage.finish().await;
}

#[tokio::test]
async fn finished_handshakes_of_both_legs_are_events_when_asked_for() {
    let pki = Pki::new();
    let backend = pki.tls_backend().listen().await;
    let mut options = pki.tls_options(&[&backend]);
    options.report_tls_established = true;
    let stage = Stage::start(&options).await;
    let client = stage.login(&pki.client().tls_1_2_only()).await;
    let id = client.id;
    client.close().await;
    stage.report(id).await;
    let seen: Vec<_> = stage
        .events()
        .into_iter()
        .filter_map(|event| match event {
            Event::TlsEstablished {
                connection_id,
                side,
                tls,
                ..
            } => Some((connection_id, side, tls.version)),
            Event::Asked { .. }
            | Event::ConnectionsClosed(_)
            | Event::CommonNameUsed { .. }
            | Event::WorkerRestarted { .. }
            | Event::ThreadRestarted { .. } => None,
        })
        .collect();
    let expected = [
        (id, TlsSide::Client, "TLSv1.2".to_owned()),
        (id, TlsSide::Backend, "TLSv1.3".to_owned()),
    ];
    assert_eq!(seen, expected);
    stage.finish().await;
}
