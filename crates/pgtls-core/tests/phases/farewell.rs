//! Last words: 57P01 and 57P05, at a message boundary or not at all, and what counts as idle.

use std::sync::Arc;
use std::time::Duration;

use pgtls_core::{CloseReason, Phase, RouteOptions};
use pgtls_testkit::{BackendBehaviour, Ending, FakeBackend, TlsClient, messages};
use tokio::sync::Semaphore;
use tokio::time::{Instant, interval};

use crate::stage::{Arrival, Client, Fatal, Pki, Stage, address_of};

const IDLE: Duration = Duration::from_millis(300);

/// No TLS, 1.2 and 1.3, and how their connections end properly.
fn kinds_of_clients(pki: &Pki) -> [(Option<TlsClient>, Ending); 3] {
    let [tls_1_2, tls_1_3] = pki.clients_by_version();
    [
        (None, Ending::Fin),
        (Some(tls_1_2), Ending::CloseNotify),
        (Some(tls_1_3), Ending::CloseNotify),
    ]
}

fn words(fatal: &Fatal) -> (&str, Ending) {
    (&fatal.sqlstate, fatal.ending)
}

async fn backend_that(pki: &Pki, behaviour: BackendBehaviour) -> FakeBackend {
    pki.tls_backend().behaviour(behaviour).listen().await
}

/// A stage whose clients may be idle for [`IDLE`].
async fn impatient(pki: &Pki, backend: &FakeBackend) -> Stage {
    let mut options = pki.tls_options(&[backend]);
    options.routes[0].listener.client_idle_timeout = IDLE;
    Stage::start(&options).await
}

/// The client is told that it was idle, and so is the report.
async fn is_told_57p05(stage: &Stage, mut client: Client, ending: Ending) {
    let fatal = client.fatal().await;
    assert_eq!(words(&fatal), ("57P05", ending));
    let id = client.id;
    drop(client);
    let report = stage
        .ended(id, CloseReason::IdleTimeout, Phase::Relay)
        .await;
    assert_eq!((report.sqlstate, report.fault_side), (Some("57P05"), None));
}

#[tokio::test]
async fn a_client_between_messages_is_told_57p01_when_the_grace_is_over() {
    let pki = Pki::new();
    let backend = pki.tls_backend().listen().await;
    for (tls, ending) in kinds_of_clients(&pki) {
        let stage = Stage::start(&pki.tls_options(&[&backend])).await;
        let mut client = stage.enter(Arrival::default(), tls.as_ref()).await;
        client.echo("select 1").await;
        let drained = stage.drain(Duration::ZERO).await;
        let fatal = client.fatal().await;
        assert_eq!(words(&fatal), ("57P01", ending));
        assert!(fatal.text.contains("administrator"), "{fatal:?}");
        let id = client.id;
        drop(client);
        assert_eq!(drained.await.unwrap().cut, 1);
        let report = stage.ended(id, CloseReason::Drained, Phase::Relay).await;
        assert_eq!((report.sqlstate, report.fault_side), (Some("57P01"), None));
        stage.finish().await;
    }
    backend
        .wait_until(|all| all.iter().all(|one| one.is_closed))
        .await;
}

#[tokio::test]
async fn a_client_inside_a_large_message_gets_the_rest_of_it_and_then_57p01() {
    let pki = Pki::new();
    let large = messages::copy_data(&b"one large message".repeat(200_000));
    // In the header, behind it, and in the body.
    for cut in [3, 5, large.len() / 2] {
        let (first, rest) = large.split_at(cut);
        // What comes behind that message is for nobody any more.
        let rest = [rest, &messages::copy_data(b"the next")].concat();
        for (tls, ending) in kinds_of_clients(&pki) {
            let permits = Arc::new(Semaphore::new(1));
            let parts = vec![first.to_vec(), rest.clone()];
            let behaviour = BackendBehaviour::AnswerOnPermit(parts, Arc::clone(&permits));
            let backend = backend_that(&pki, behaviour).await;
            let stage = Stage::start(&pki.tls_options(&[&backend])).await;
            let mut bystander = stage.login(&pki.client()).await;
            let mut client = stage.enter(Arrival::default(), tls.as_ref()).await;
            let query = messages::query("copy t to stdout");
            client.frontend.send(&query).await.unwrap();
            let received = client.frontend.read_exact(first.len()).await.unwrap();
            let drained = stage.drain(Duration::ZERO).await;
            // Both sessions are of one worker: what this one was told, that one knows.
            assert_eq!(bystander.fatal().await.sqlstate, "57P01");
            permits.add_permits(1);
            let rest = client.frontend.read_exact(large.len() - first.len()).await;
            assert!(
                [received, rest.unwrap()].concat() == large,
                "the message is torn"
            );
            let fatal = client.fatal().await;
            assert_eq!(words(&fatal), ("57P01", ending));
            let id = client.id;
            drop((client, bystander));
            assert_eq!(drained.await.unwrap().cut, 2);
            let report = stage.ended(id, CloseReason::Drained, Phase::Relay).await;
            assert_eq!(report.sqlstate, Some("57P01"));
            stage.finish().await;
        }
    }
}

#[tokio::test]
async fn a_client_that_reads_slowly_gets_all_of_its_message_before_57p01() {
    let pki = Pki::new();
    let large = messages::copy_data(&b"one large message".repeat(40_000));
    for (tls, ending) in kinds_of_clients(&pki) {
        let behaviour = BackendBehaviour::Answer(large.clone());
        let backend = backend_that(&pki, behaviour).await;
        let stage = Stage::start(&pki.tls_options(&[&backend])).await;
        let mut bystander = stage.login(&pki.client()).await;
        let arrival = Arrival::default().narrow();
        let mut client = stage.enter(arrival, tls.as_ref()).await;
        let query = messages::query("copy t to stdout");
        client.frontend.send(&query).await.unwrap();
        let mut received = client.frontend.read_exact(1000).await.unwrap();
        let drained = stage.drain(Duration::ZERO).await;
        assert_eq!(bystander.fatal().await.sqlstate, "57P01");
        let rest = client.frontend.read_exact(large.len() - 1000).await;
        received.extend(rest.unwrap());
        assert!(received == large, "the message is torn");
        let fatal = client.fatal().await;
        assert_eq!(words(&fatal), ("57P01", ending));
        drop((client, bystander));
        assert_eq!(drained.await.unwrap().cut, 2);
        stage.finish().await;
    }
}

#[tokio::test]
async fn a_backend_that_never_ends_its_message_has_its_session_cut_without_words_after_a_while() {
    let pki = Pki::new();
    let half = messages::copy_data(b"one half, the other half")[..10].to_vec();
    let behaviour = BackendBehaviour::Answer(half.clone());
    let backend = backend_that(&pki, behaviour).await;
    let stage = Stage::start(&pki.tls_options(&[&backend])).await;
    let mut clients = Vec::new();
    for (tls, _) in kinds_of_clients(&pki) {
        let mut client = stage.enter(Arrival::default(), tls.as_ref()).await;
        let query = messages::query("copy t to stdout");
        client.frontend.send(&query).await.unwrap();
        let received = client.frontend.read_exact(half.len()).await.unwrap();
        assert_eq!(received, half);
        clients.push(client);
    }
    let started = Instant::now();
    let drained = stage.drain(Duration::ZERO).await;
    for mut client in clients {
        let (rest, ending) = client.frontend.read_to_end().await;
        assert_eq!(rest, b"", "nothing enters a message");
        assert_ne!(
            ending,
            Ending::CloseNotify,
            "a torn stream does not end cleanly"
        );
        let report = stage
            .ended(client.id, CloseReason::Drained, Phase::Relay)
            .await;
        assert_eq!(report.sqlstate, None);
    }
    let took = started.elapsed();
    assert!(
        (Duration::from_secs(4)..Duration::from_secs(8)).contains(&took),
        "the farewell timeout is 5 s: {took:?}"
    );
    assert_eq!(drained.await.unwrap().cut, 3);
    stage.finish().await;
}

#[tokio::test]
async fn an_idle_client_is_told_57p05() {
    let pki = Pki::new();
    let backend = pki.tls_backend().listen().await;
    let stage = impatient(&pki, &backend).await;
    for (tls, ending) in kinds_of_clients(&pki) {
        let client = stage.enter(Arrival::default(), tls.as_ref()).await;
        let since = Instant::now();
        is_told_57p05(&stage, client, ending).await;
        assert!(since.elapsed() >= IDLE, "{:?}", since.elapsed());
    }
    backend
        .wait_until(|all| all.iter().all(|one| one.is_closed))
        .await;
    stage.finish().await;
}

#[tokio::test]
async fn what_the_client_sends_postpones_its_idle_timeout() {
    let pki = Pki::new();
    let backend = backend_that(&pki, BackendBehaviour::Discard).await;
    let stage = impatient(&pki, &backend).await;
    for (tls, ending) in kinds_of_clients(&pki) {
        let mut client = stage.enter(Arrival::default(), tls.as_ref()).await;
        let mut ticks = interval(IDLE / 4);
        for _ in 0..16 {
            ticks.tick().await;
            client.frontend.send(b"\0").await.unwrap();
            assert!(stage.reported(client.id).is_none(), "it is not idle");
        }
        is_told_57p05(&stage, client, ending).await;
    }
    stage.finish().await;
}

#[tokio::test]
async fn what_the_backend_sends_postpones_the_idle_timeout() {
    let pki = Pki::new();
    let notice = messages::message(b'N', b"notice\0");
    for (tls, ending) in kinds_of_clients(&pki) {
        let permits = Arc::new(Semaphore::new(0));
        let parts = vec![notice.clone(); 16];
        let behaviour = BackendBehaviour::AnswerOnPermit(parts, Arc::clone(&permits));
        let backend = backend_that(&pki, behaviour).await;
        let stage = impatient(&pki, &backend).await;
        let mut client = stage.enter(Arrival::default(), tls.as_ref()).await;
        let query = messages::query("listen");
        client.frontend.send(&query).await.unwrap();
        let mut ticks = interval(IDLE / 4);
        for _ in 0..16 {
            ticks.tick().await;
            permits.add_permits(1);
            let received = client.frontend.read_exact(notice.len()).await;
            assert_eq!(received.unwrap(), notice);
        }
        is_told_57p05(&stage, client, ending).await;
        stage.finish().await;
    }
}

#[tokio::test]
async fn without_an_idle_timeout_a_client_may_be_idle_for_ever() {
    let pki = Pki::new();
    let backend = pki.tls_backend().listen().await;
    let mut options = pki.tls_options(&[&backend]);
    let off = RouteOptions {
        route_id: 2,
        ..options.routes[0].clone()
    };
    assert_eq!(off.backend.addresses, [address_of(&backend)]);
    options.routes[0].listener.client_idle_timeout = IDLE;
    options.routes.push(off);
    let stage = Stage::start(&options).await;
    let mut patient = Vec::new();
    for (tls, _) in kinds_of_clients(&pki) {
        let arrival = Arrival::default().on_route(2);
        patient.push(stage.enter(arrival, tls.as_ref()).await);
    }
    // As long as others need to time out one after the other.
    for _ in 0..4 {
        let client = stage.login(&pki.client()).await;
        is_told_57p05(&stage, client, Ending::CloseNotify).await;
    }
    for mut client in patient {
        client.echo("select 'still here'").await;
        client.close().await;
    }
    stage.finish().await;
}

#[tokio::test]
async fn idle_clients_of_a_backend_that_stalls_inside_a_message_are_cut_without_words() {
    let pki = Pki::new();
    let half = messages::copy_data(b"one half, the other half")[..10].to_vec();
    let behaviour = BackendBehaviour::Answer(half.clone());
    let backend = backend_that(&pki, behaviour).await;
    let stage = impatient(&pki, &backend).await;
    let mut client = stage.login(&pki.client()).await;
    let query = messages::query("copy t to stdout");
    client.frontend.send(&query).await.unwrap();
    let (received, ending) = client.frontend.read_to_end().await;
    assert_eq!(received, half);
    assert_ne!(ending, Ending::CloseNotify);
    let report = stage
        .ended(client.id, CloseReason::IdleTimeout, Phase::Relay)
        .await;
    assert_eq!(report.sqlstate, None);
    stage.finish().await;
}
