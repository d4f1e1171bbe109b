//! Draining: who is waited for, who is cut, and what the report says.

use std::time::{Duration, Instant};

use pgtls_core::{CloseReason, DrainReport, Phase};
use pgtls_testkit::{BackendBehaviour, DEADLINE, Ending, FakeBackend, StepwiseTls, messages};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::stage::{Arrival, Pki, Stage};

const LONG: Duration = Duration::from_mins(1);

async fn outcome(report: oneshot::Receiver<DrainReport>) -> (u32, u32) {
    let report = timeout(DEADLINE, report)
        .await
        .expect("drained by the deadline");
    let report = report.expect("the drain is always answered");
    (report.drained, report.cut)
}

async fn stage_of(pki: &Pki) -> (FakeBackend, Stage) {
    let backend = pki.tls_backend().listen().await;
    let stage = Stage::start(&pki.tls_options(&[&backend])).await;
    (backend, stage)
}

#[tokio::test]
async fn an_idle_data_plane_is_drained_at_once() {
    let pki = Pki::new();
    let (_backend, stage) = stage_of(&pki).await;
    assert_eq!(outcome(stage.drain(LONG).await).await, (0, 0));
    // Also when sessions lived before.
    stage.login(&pki.client()).await.close().await;
    stage.wait_for(|now| now.live_sessions == 0).await;
    assert_eq!(outcome(stage.drain(LONG).await).await, (0, 0));
    stage.finish().await;
}

#[tokio::test]
async fn a_drain_waits_for_the_last_session_to_end_by_itself() {
    let pki = Pki::new();
    let (_backend, stage) = stage_of(&pki).await;
    let mut first = stage.login(&pki.client()).await;
    let second = stage.login(&pki.client()).await;
    let mut report = stage.drain(LONG).await;
    first.echo("select 'still served'").await;
    second.close().await;
    stage.wait_for(|now| now.live_sessions == 1).await;
    first.echo("select 'still served'").await;
    assert!(report.try_recv().is_err(), "a session lives");
    let id = first.id;
    first.close().await;
    assert_eq!(outcome(report).await, (2, 0));
    stage
        .ended(id, CloseReason::ClientClosed, Phase::Relay)
        .await;
    stage.finish().await;
}

#[tokio::test]
async fn sessions_left_after_the_grace_are_told_57p01_and_counted_as_cut() {
    let pki = Pki::new();
    let (backend, stage) = stage_of(&pki).await;
    let leaves = stage.login(&pki.client()).await;
    let mut stays = stage.login(&pki.client()).await;
    stays.echo("select 1").await;
    let started = Instant::now();
    let report = stage.drain(Duration::from_millis(300)).await;
    leaves.close().await;
    let fatal = stays.fatal().await;
    assert!(started.elapsed() >= Duration::from_millis(300));
    assert_eq!(
        (fatal.sqlstate.as_str(), fatal.ending),
        ("57P01", Ending::CloseNotify)
    );
    let id = stays.id;
    drop(stays);
    assert_eq!(outcome(report).await, (1, 1));
    let report = stage.ended(id, CloseReason::Drained, Phase::Relay).await;
    assert_eq!(report.sqlstate, Some("57P01"));
    for index in 0..2 {
        backend.closed(index).await;
    }
    stage.finish().await;
}

#[tokio::test]
async fn a_session_inside_a_message_is_cut_without_a_word() {
    let pki = Pki::new();
    let half = messages::copy_data(b"one half, the other half")[..10].to_vec();
    let backend = pki
        .tls_backend()
        .behaviour(BackendBehaviour::Answer(half.clone()))
        .listen()
        .await;
    let stage = Stage::start(&pki.tls_options(&[&backend])).await;
    let mut client = stage.login(&pki.client()).await;
    client
        .frontend
        .send(&messages::query("select 1"))
        .await
        .unwrap();
    assert_eq!(client.frontend.read_exact(half.len()).await.unwrap(), half);
    let report = stage.drain(Duration::ZERO).await;
    let (rest, ending) = client.frontend.read_to_end().await;
    assert_eq!(rest, b"");
    assert_ne!(
        ending,
        Ending::CloseNotify,
        "a torn stream does not end cleanly"
    );
    assert_eq!(outcome(report).await, (0, 1));
    let report = stage.report(client.id).await;
    assert_eq!(
        (report.reason, report.sqlstate),
        (CloseReason::Drained, None)
    );
    stage.finish().await;
}

#[tokio::test]
async fn a_session_in_its_login_is_cut_like_any_other() {
    let pki = Pki::new();
    let backend = pki
        .tls_backend()
        .behaviour(BackendBehaviour::SilentLogin)
        .listen()
        .await;
    let stage = Stage::start(&pki.tls_options(&[&backend])).await;
    let mut client = stage
        .knock(Arrival::default().within(60_000), &pki.client())
        .await;
    backend
        .wait_until(|all| all.iter().any(|one| one.startup_packet.is_some()))
        .await;
    let report = stage.drain(Duration::ZERO).await;
    assert_eq!(client.fatal().await.sqlstate, "57P01");
    let id = client.id;
    drop(client);
    assert_eq!(outcome(report).await, (0, 1));
    stage
        .ended(id, CloseReason::Drained, Phase::Authenticate)
        .await;
    stage.finish().await;
}

#[tokio::test]
async fn a_client_in_its_handshake_is_cut_after_the_grace() {
    let pki = Pki::new();
    let (_backend, stage) = stage_of(&pki).await;
    let hello = StepwiseTls::new(&pki.client()).outgoing();
    let half_a_hello = Arrival::default().with_prefix(&hello[..hello.len() / 2]);
    let client = stage.arrive(half_a_hello.within(60_000)).await;
    let report = stage.drain(Duration::ZERO).await;
    let outcome = timeout(DEADLINE, report).await;
    let id = client.id;
    drop(client);
    let outcome = outcome
        .expect("cut long before its login time is over")
        .unwrap();
    assert_eq!((outcome.drained, outcome.cut), (0, 1));
    assert_eq!(stage.report(id).await.reason, CloseReason::Drained);
    stage.finish().await;
}

#[tokio::test]
async fn a_client_before_its_startup_is_cut_after_the_grace() {
    let pki = Pki::new();
    let (_backend, stage) = stage_of(&pki).await;
    let mut client = stage
        .shake(Arrival::default().within(60_000), &pki.client())
        .await;
    let report = stage.drain(Duration::ZERO).await;
    let (_, ending) = client.frontend.read_to_end().await;
    let id = client.id;
    drop(client);
    assert_ne!(
        ending,
        Ending::Failed(std::io::ErrorKind::TimedOut),
        "cut by the drain"
    );
    assert_eq!(outcome(report).await, (0, 1));
    assert_eq!(stage.report(id).await.reason, CloseReason::Drained);
    stage.finish().await;
}

#[tokio::test]
async fn closing_answers_a_drain_that_is_pending() {
    let pki = Pki::new();
    let (_backend, stage) = stage_of(&pki).await;
    let mut client = stage.login(&pki.client()).await;
    let report = stage.drain(LONG).await;
    let ((), fatal) = tokio::join!(stage.close(), client.fatal());
    assert_eq!(fatal.sqlstate, "57P01");
    assert_eq!(outcome(report).await, (0, 1));
    stage.assert_one_report_each();
}

#[tokio::test]
async fn a_second_drain_with_a_shorter_grace_takes_over_and_both_are_answered() {
    let pki = Pki::new();
    let (_backend, stage) = stage_of(&pki).await;
    let mut client = stage.login(&pki.client()).await;
    let first = stage.drain(LONG).await;
    let second = stage.drain(Duration::ZERO).await;
    assert_eq!(client.fatal().await.sqlstate, "57P01");
    drop(client);
    assert_eq!(outcome(second).await, (0, 1));
    timeout(DEADLINE, first)
        .await
        .unwrap()
        .expect("answered as well");
    stage.finish().await;
}
