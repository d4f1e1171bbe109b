//! Phases *close* and *report*: one report for each connection, with what the peers themselves counted.

use std::time::Duration;

use pgtls_core::{AdoptError, CloseReason, Phase};
use pgtls_testkit::{BackendBehaviour, Ending, FakeBackend, Flood, StepwiseTls, messages};

use crate::stage::{Arrival, Pki, STARTUP, Stage};

#[tokio::test]
async fn a_report_tells_the_whole_session_and_counts_what_the_peers_counted() {
    let pki = Pki::new();
    let flood = Flood {
        rows: 500,
        row_bytes: 3_000,
    };
    let backend = pki
        .tls_backend()
        .behaviour(BackendBehaviour::CopyOutFlood(flood))
        .listen()
        .await;
    let stage = Stage::start(&pki.tls_options(&[&backend])).await;
    let mut client = stage.knock(Arrival::default(), &pki.client()).await;
    backend
        .wait_until(|all| all.iter().any(|one| one.startup_packet.is_some()))
        .await;
    let query = messages::query("copy t to stdout");
    client.frontend.send(&query).await.unwrap();
    client.frontend.half_close().await.unwrap();
    let (received, ending) = client.frontend.read_to_end().await;
    assert_eq!(ending, Ending::CloseNotify);
    let report = stage
        .ended(client.id, CloseReason::ClientClosed, Phase::Relay)
        .await;
    let startup = messages::startup_message(0, &STARTUP);
    let record = backend.closed(0).await;
    assert_eq!(record.ending, Some(Ending::CloseNotify));
    assert_eq!(report.bytes_out, u64::try_from(received.len()).unwrap());
    let sent = u64::try_from(startup.len()).unwrap() + record.received_bytes;
    assert_eq!(report.bytes_in, sent);
    assert_eq!(report.backend_addr, Some(backend.tcp_address().to_string()));
    assert_eq!(
        (report.fault_side, report.sqlstate, report.alert),
        (None, None, None)
    );
    assert!(!report.is_cancel && report.message.is_none());
    let snapshot = stage.snapshot();
    let route = &snapshot.routes[0];
    assert_eq!(
        (route.bytes_in, route.bytes_out),
        (report.bytes_in, report.bytes_out)
    );
    stage.finish().await;
}

#[tokio::test]
async fn a_session_that_terminates_ends_with_close_notify_on_both_legs() {
    let pki = Pki::new();
    let backend = pki.tls_backend().listen().await;
    let stage = Stage::start(&pki.tls_options(&[&backend])).await;
    for tls in pki.clients_by_version() {
        let client = stage.login(&tls).await;
        let id = client.id;
        assert_eq!(client.close().await, Ending::CloseNotify);
        stage
            .ended(id, CloseReason::ClientClosed, Phase::Relay)
            .await;
    }
    for index in 0..2 {
        assert_eq!(
            backend.closed(index).await.ending,
            Some(Ending::CloseNotify)
        );
    }
    stage.finish().await;
}

#[tokio::test]
async fn close_ends_live_sessions_and_reports_each_of_them() {
    let pki = Pki::new();
    let backend = pki.tls_backend().listen().await;
    let stage = Stage::start(&pki.tls_options(&[&backend])).await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(stage.login(&pki.client()).await);
    }
    let closing = stage.close();
    let farewells = async {
        let mut ids = Vec::new();
        for mut client in clients {
            assert_eq!(client.fatal().await.sqlstate, "57P01");
            ids.push(client.id);
        }
        ids
    };
    let ((), ids) = tokio::join!(closing, farewells);
    for id in ids {
        stage.ended(id, CloseReason::Drained, Phase::Relay).await;
    }
    let now = stage.snapshot();
    assert_eq!((now.live_sessions, now.routes[0].live_sessions), (0, 0));
    stage.assert_one_report_each();
}

#[tokio::test]
async fn close_is_idempotent_and_later_calls_are_refused() {
    let pki = Pki::new();
    let backend = FakeBackend::builder().listen().await;
    let stage = Stage::start(&pki.options(&[&backend])).await;
    stage.close().await;
    stage.close().await;
    assert!(stage.plane.is_closed());
    let refused = stage.try_arrive(Arrival::default()).await;
    assert!(matches!(refused.err(), Some(AdoptError::Closed)));
    let drained = stage.drain(Duration::ZERO).await.await.unwrap();
    assert_eq!((drained.drained, drained.cut), (0, 0));
    assert_eq!(stage.snapshot().live_sessions, 0);
}

#[tokio::test]
async fn close_does_not_wait_for_clients_that_have_not_logged_in_yet() {
    let pki = Pki::new();
    let backend = pki
        .tls_backend()
        .behaviour(BackendBehaviour::SilentLogin)
        .listen()
        .await;
    let stage = Stage::start(&pki.tls_options(&[&backend])).await;
    let hello = StepwiseTls::new(&pki.client()).outgoing();
    let half_a_hello = Arrival::default().with_prefix(&hello[..hello.len() / 2]);
    let in_the_handshake = stage.arrive(half_a_hello.within(60_000)).await;
    let arrival = Arrival::default().within(60_000);
    let before_startup = stage.shake(arrival, &pki.client()).await;
    let arrival = Arrival::default().within(60_000);
    let in_the_login = stage.knock(arrival, &pki.client()).await;
    backend
        .wait_until(|all| all.iter().any(|one| one.startup_packet.is_some()))
        .await;
    // Fails by the deadline, which is far from the sixty seconds these clients still have.
    stage.close().await;
    stage.assert_one_report_each();
    drop((in_the_handshake, before_startup, in_the_login));
}

#[tokio::test]
async fn connections_that_wait_to_be_placed_are_reported_when_the_data_plane_closes() {
    let pki = Pki::new();
    let backend = FakeBackend::builder().listen().await;
    for _ in 0..10 {
        let stage = Stage::start(&pki.options(&[&backend])).await;
        let mut pairs = Vec::new();
        for _ in 0..20 {
            pairs.push(stage.pair().await);
        }
        for (client, server, _) in pairs {
            stage.adopt(server, Arrival::plain()).unwrap();
            // Gone already: nobody has to be waited for.
            drop(client);
        }
        stage.close().await;
        assert_eq!(stage.snapshot().live_sessions, 0);
        stage.assert_one_report_each();
    }
}

#[tokio::test]
async fn a_client_that_was_refused_and_lingers_is_cut_in_the_end() {
    let pki = Pki::new();
    let backend = FakeBackend::builder().listen().await;
    let mut options = pki.options(&[&backend]);
    options.routes[0].listener.require_tls = true;
    let stage = Stage::start(&options).await;
    let mut client = stage.arrive(Arrival::plain()).await;
    client.frontend.startup(&STARTUP).await.unwrap();
    assert_eq!(client.fatal().await.sqlstate, "28000");
    // It keeps its socket: the report comes nevertheless.
    stage.report(client.id).await;
    stage.finish().await;
}
