//! Phase *route*: the first packet behind the handshake, whole, in pieces, and wrong.

use pgtls_core::{CloseReason, FaultSide, Phase};
use pgtls_testkit::{Ending, FakeBackend, StepwiseTls, messages};
use pgtls_wire::{SSL_REQUEST, encode_cancel_request};

use crate::stage::{Arrival, Pki, STARTUP, Stage, shake_by_hand};

async fn stage_of(pki: &Pki) -> (FakeBackend, Stage) {
    let backend = FakeBackend::builder().listen().await;
    let stage = Stage::start(&pki.options(&[&backend])).await;
    (backend, stage)
}

#[tokio::test]
async fn a_startup_message_may_come_in_pieces_and_arrives_unchanged() {
    let pki = Pki::new();
    let (backend, stage) = stage_of(&pki).await;
    let startup = messages::startup_message(2, &[("user", "alice"), ("_pq_.x", "y")]);
    let mut client = stage.shake(Arrival::default(), &pki.client()).await;
    for byte in &startup {
        client.frontend.send(&[*byte]).await.unwrap();
    }
    client.frontend.read_until_ready().await.unwrap();
    let records = backend.wait_until(|all| all.len() == 1).await;
    assert_eq!(records[0].startup_packet.as_deref(), Some(&startup[..]));
    client.close().await;
    stage.finish().await;
}

#[tokio::test]
async fn a_plaintext_startup_may_be_cut_anywhere_between_prefix_and_socket() {
    let pki = Pki::new();
    let (_backend, stage) = stage_of(&pki).await;
    let startup = messages::startup_message(0, &STARTUP);
    for cut in 0..=startup.len() {
        let arrival = Arrival::plain().with_prefix(&startup[..cut]);
        let mut client = stage.arrive(arrival).await;
        client.frontend.send(&startup[cut..]).await.unwrap();
        client.frontend.read_until_ready().await.unwrap();
        assert_eq!(client.close().await, Ending::Fin);
    }
    stage.finish().await;
}

#[tokio::test]
async fn what_stands_in_the_startup_message_is_reported() {
    let pki = Pki::new();
    let (_backend, stage) = stage_of(&pki).await;
    let client = stage.login(&pki.client()).await;
    let id = client.id;
    client.close().await;
    let report = stage.report(id).await;
    assert_eq!(report.user.as_deref(), Some("alice"));
    assert_eq!(report.database.as_deref(), Some("orders"));
    assert_eq!(report.application_name.as_deref(), Some("phases"));
    assert_eq!(report.sni.as_deref(), Some("localhost"));
    stage.finish().await;
}

#[tokio::test]
async fn what_comes_right_behind_the_startup_message_reaches_the_backend() {
    let pki = Pki::new();
    let (_backend, stage) = stage_of(&pki).await;
    let mut client = stage.shake(Arrival::default(), &pki.client()).await;
    let query = messages::query("select 'in the same segment'");
    let both = [messages::startup_message(0, &STARTUP), query.clone()].concat();
    client.frontend.send(&both).await.unwrap();
    client.frontend.read_until_ready().await.unwrap();
    assert_eq!(
        client.frontend.read_exact(query.len()).await.unwrap(),
        query
    );
    client.close().await;
    stage.finish().await;
}

/// Sends `packet` inside TLS; the SQLSTATE that it is refused with.
async fn refused(pki: &Pki, stage: &Stage, packet: &[u8]) -> String {
    let mut client = stage.shake(Arrival::default(), &pki.client()).await;
    client.frontend.send(packet).await.unwrap();
    let fatal = client.fatal().await;
    assert_eq!(fatal.ending, Ending::CloseNotify);
    let id = client.id;
    drop(client);
    let report = stage
        .ended(id, CloseReason::ClientProtocolViolation, Phase::Route)
        .await;
    assert_eq!(report.fault_side, Some(FaultSide::Client));
    assert_eq!(report.sqlstate, Some(fatal.sqlstate.as_str()));
    assert_eq!(report.backend_addr, None);
    fatal.sqlstate
}

#[tokio::test]
async fn broken_startup_packets_are_refused_inside_tls() {
    let pki = Pki::new();
    let (backend, stage) = stage_of(&pki).await;
    let unterminated = b"\x00\x00\x00\x0e\x00\x03\x00\x00user\x00a";
    let gssenc_request = b"\x00\x00\x00\x08\x04\xd2\x16\x30";
    for (packet, sqlstate) in [
        (&10_001_u32.to_be_bytes()[..], "08P01"),
        (&7_u32.to_be_bytes(), "08P01"),
        (&u32::MAX.to_be_bytes(), "08P01"),
        (unterminated, "08P01"),
        (&SSL_REQUEST, "08P01"),
        (gssenc_request, "08P01"),
        (b"\x00\x00\x00\x08\x00\x02\x00\x00", "0A000"),
        (b"\x00\x00\x00\x08\x00\x04\x00\x00", "0A000"),
        (b"\x00\x00\x00\x0c\x04\xd2\x16\x2e\x00\x00\x00\x01", "08P01"),
    ] {
        assert_eq!(
            refused(&pki, &stage, packet).await,
            sqlstate,
            "{packet:02x?}"
        );
    }
    assert_eq!(backend.records().len(), 0, "the backend was not bothered");
    stage.finish().await;
}

#[tokio::test]
async fn a_plaintext_startup_is_told_28000_where_tls_is_required() {
    let pki = Pki::new();
    let backend = FakeBackend::builder().listen().await;
    let mut options = pki.options(&[&backend]);
    options.routes[0].listener.require_tls = true;
    let stage = Stage::start(&options).await;
    let startup = messages::startup_message(0, &STARTUP);
    let mut client = stage.arrive(Arrival::plain().with_prefix(&startup)).await;
    let fatal = client.fatal().await;
    assert_eq!(fatal.sqlstate, "28000");
    assert!(
        fatal
            .hint
            .is_some_and(|hint| hint.contains("sslmode=require"))
    );
    let id = client.id;
    drop(client);
    let report = stage.report(id).await;
    assert_eq!(report.reason, CloseReason::TlsRequired);
    assert_eq!(report.fault_side, Some(FaultSide::Client));
    let tls = stage.login(&pki.client()).await;
    tls.close().await;
    assert_eq!(backend.records().len(), 1);
    stage.finish().await;
}

#[tokio::test]
async fn a_plaintext_cancel_request_is_taken_even_where_tls_is_required() {
    let pki = Pki::new();
    let backend = FakeBackend::builder().listen().await;
    let mut options = pki.options(&[&backend]);
    options.routes[0].listener.require_tls = true;
    let stage = Stage::start(&options).await;
    let packet = encode_cancel_request(4242, &[0xde, 0xad, 0xbe, 0xef]);
    let mut client = stage
        .arrive(Arrival::plain().with_prefix(&packet[..8]))
        .await;
    for byte in &packet[8..] {
        client.frontend.send(&[*byte]).await.unwrap();
    }
    assert_eq!(
        client.frontend.read_to_end().await,
        (Vec::new(), Ending::Fin)
    );
    let id = client.id;
    drop(client);
    let report = stage
        .ended(id, CloseReason::CancelForwarded, Phase::Route)
        .await;
    assert!(report.is_cancel);
    assert_eq!((report.fault_side, report.sqlstate), (None, None));
    stage.finish().await;
}

#[tokio::test]
async fn a_client_that_leaves_before_its_startup_is_quietly_reported() {
    let pki = Pki::new();
    let (_backend, stage) = stage_of(&pki).await;
    let probe = stage.arrive(Arrival::plain()).await;
    // With TLS 1.2 the server's side of the handshake is over when the client's is.
    let tls_1_2 = pki.client().tls_1_2_only();
    let mut tls = stage.shake(Arrival::default(), &tls_1_2).await;
    let ids = [probe.id, tls.id];
    drop(probe);
    tls.frontend.half_close().await.unwrap();
    for id in ids {
        let report = stage
            .ended(id, CloseReason::ClosedBeforeStartup, Phase::Route)
            .await;
        assert_eq!((report.fault_side, report.message), (None, None));
    }
    stage.finish().await;
}

#[tokio::test]
async fn a_client_that_leaves_in_the_segment_of_its_finished_has_finished_its_handshake() {
    let pki = Pki::new();
    let (_backend, stage) = stage_of(&pki).await;
    let mut session = StepwiseTls::new(&pki.client().tls_1_3_only());
    let mut client = stage.arrive(Arrival::default()).await;
    shake_by_hand(&mut client.frontend, &mut session).await;
    session.close();
    let outgoing = session.outgoing();
    client.frontend.send(&outgoing).await.unwrap();
    let id = client.id;
    client.frontend.half_close().await.unwrap();
    let report = stage
        .ended(id, CloseReason::ClosedBeforeStartup, Phase::Route)
        .await;
    assert!(report.client_tls.is_some());
    stage.finish().await;
}

#[tokio::test]
async fn a_client_that_leaves_inside_its_startup_is_at_fault() {
    let pki = Pki::new();
    let (_backend, stage) = stage_of(&pki).await;
    let tls_1_2 = pki.client().tls_1_2_only();
    let mut client = stage.shake(Arrival::default(), &tls_1_2).await;
    client.frontend.send(&[0, 0, 0, 40, 0, 3]).await.unwrap();
    let id = client.id;
    client.frontend.half_close().await.unwrap();
    let report = stage
        .ended(id, CloseReason::ClosedBeforeStartup, Phase::Route)
        .await;
    assert_eq!(report.fault_side, Some(FaultSide::Client));
    stage.finish().await;
}

#[tokio::test]
async fn a_client_that_never_sends_its_startup_is_told_57014_inside_tls() {
    let pki = Pki::new();
    let (_backend, stage) = stage_of(&pki).await;
    let mut client = stage
        .shake(Arrival::default().within(150), &pki.client())
        .await;
    let fatal = client.fatal().await;
    assert_eq!(
        (fatal.sqlstate.as_str(), fatal.ending),
        ("57014", Ending::CloseNotify)
    );
    let id = client.id;
    drop(client);
    stage
        .ended(id, CloseReason::LoginTimeout, Phase::Route)
        .await;
    stage.finish().await;
}
