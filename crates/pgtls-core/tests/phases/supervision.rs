//! Panics: one in a session costs that session, one in a worker's loop costs that worker's sessions, and nothing costs the next
//! connection. The proxy thread and the keeper begin again, and no session notices.

use std::time::Duration;

use pgtls_core::fault::{Fault, PANIC_APPLICATION_NAME};
use pgtls_core::{CloseReason, FaultSide, Phase, WantedRole, WarmOptions};
use pgtls_testkit::{DEADLINE, Ending, FakeBackend, ServerRole};
use tokio::time::{Instant, timeout};

use crate::hosts::roles;
use crate::stage::{Arrival, Client, Pki, STARTUP, Stage, eventually};

const LONG: Duration = Duration::from_mins(1);

/// A data plane of so many workers, with TLS on both legs.
async fn stage_of(pki: &Pki, workers: usize) -> (FakeBackend, Stage) {
    let backend = pki.tls_backend().listen().await;
    let mut options = pki.tls_options(&[&backend]);
    options.workers = workers;
    let stage = Stage::start(&options).await;
    (backend, stage)
}

/// So many sessions in plaintext.
async fn crowd(stage: &Stage, sessions: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..sessions {
        clients.push(stage.login_plain().await);
    }
    clients
}

/// Waits until `deaths` workers were replaced and one runs.
async fn recovered(stage: &Stage, deaths: u64) {
    stage
        .wait_for(|now| now.worker_restarts == deaths && now.workers > 0)
        .await;
}

#[tokio::test]
async fn a_panic_in_a_sessions_task_closes_that_session_alone() {
    let pki = Pki::new();
    let (_backend, stage) = stage_of(&pki, 1).await;
    let mut bystanders = [stage.login(&pki.client()).await, stage.login_plain().await];
    for tls in [Some(pki.client()), None] {
        let mut client = match &tls {
            Some(tls) => stage.shake(Arrival::default(), tls).await,
            None => stage.arrive(Arrival::plain()).await,
        };
        let startup = [
            ("user", "alice"),
            ("application_name", PANIC_APPLICATION_NAME),
        ];
        client.frontend.startup(&startup).await.unwrap();
        let (rest, ending) = client.frontend.read_to_end().await;
        assert_eq!(rest, b"");
        assert_ne!(ending, Ending::CloseNotify, "nobody was left to say it");
        let report = stage
            .ended(client.id, CloseReason::Panic, Phase::Backend)
            .await;
        assert_eq!(report.fault_side, Some(FaultSide::Proxy));
        let message = report.message.unwrap();
        assert!(message.contains("injected fault"), "{message}");
        for bystander in &mut bystanders {
            bystander.echo("select 'unharmed'").await;
        }
        stage.login(&pki.client()).await.close().await;
    }
    let now = stage.snapshot();
    assert_eq!((now.workers, now.worker_restarts), (1, 0));
    for bystander in bystanders {
        bystander.close().await;
    }
    stage.finish().await;
}

#[tokio::test]
async fn a_worker_whose_loop_panics_loses_its_own_sessions_and_no_others() {
    let pki = Pki::new();
    let (backend, stage) = stage_of(&pki, 3).await;
    let mut clients = crowd(&stage, 110).await;
    clients.push(stage.login(&pki.client()).await);
    assert_eq!(stage.snapshot().workers, 3);
    stage.inject(Fault::PanicInLoop).await;
    let now = stage
        .wait_for(|now| now.worker_restarts == 1 && now.workers == 3)
        .await;
    let left = usize::try_from(now.live_sessions).unwrap();
    assert!(
        (40..=90).contains(&left),
        "{left} of 111 sessions are left of three workers"
    );
    let mut lost = 0;
    for mut client in clients {
        let reported = stage.reported(client.id);
        if let Some(report) = reported {
            assert_eq!(
                (report.reason, report.phase, report.fault_side),
                (
                    CloseReason::WorkerLost,
                    Phase::Relay,
                    Some(FaultSide::Proxy)
                )
            );
            let (rest, ending) = client.frontend.read_to_end().await;
            assert_eq!(rest, b"");
            assert_ne!(ending, Ending::Failed(std::io::ErrorKind::TimedOut));
            lost += 1;
        } else {
            client.echo("select 'on another worker'").await;
            client.close().await;
        }
    }
    assert_eq!(lost + left, 111);
    let replaced = stage.replaced_workers();
    assert_eq!(replaced.len(), 1, "{replaced:?}");
    assert!(replaced[0].1.contains("injected fault"), "{replaced:?}");
    // Their backends are told, too.
    backend
        .wait_until(|all| all.iter().all(|one| one.is_closed))
        .await;
    stage.finish().await;
}

#[tokio::test]
async fn a_fresh_worker_serves_within_a_hundred_milliseconds_of_a_death() {
    let pki = Pki::new();
    let (_backend, stage) = stage_of(&pki, 1).await;
    let mut took = Vec::new();
    for deaths in 1..=5 {
        let mut victim = stage.login_plain().await;
        stage.inject(Fault::PanicInLoop).await;
        victim.frontend.read_to_end().await;
        let died = Instant::now();
        let mut next = stage.login_plain().await;
        next.echo("select 1").await;
        took.push(died.elapsed());
        next.close().await;
        stage
            .ended(victim.id, CloseReason::WorkerLost, Phase::Relay)
            .await;
        recovered(&stage, deaths).await;
    }
    took.sort_unstable();
    assert!(
        took[2] < Duration::from_millis(100),
        "served after {took:?}"
    );
    stage.finish().await;
}

#[tokio::test]
async fn connections_are_accepted_served_and_reported_all_the_while_workers_die() {
    let pki = Pki::new();
    let (_backend, stage) = stage_of(&pki, 1).await;
    crowd(&stage, 1).await.remove(0).close().await;
    let mut ready = 0;
    for deaths in 1..=20 {
        recovered(&stage, deaths - 1).await;
        // Some stand in the dying worker's queue, some come while it dies, some behind it.
        let mut clients = Vec::new();
        for place in 0..12 {
            let (stream, server, _) = stage.pair().await;
            if place == 4 {
                stage.inject(Fault::PanicInLoop).await;
            }
            let id = stage.adopt(server, Arrival::plain()).unwrap();
            clients.push(Client::over(stream, id));
        }
        for mut client in clients {
            // A reset may meet the client while it writes.
            let _ = client.frontend.startup(&STARTUP).await;
            if client.frontend.read_until_ready().await.is_ok() {
                ready += 1;
            }
        }
    }
    assert!(ready >= 20, "of 240 connections {ready} were served");
    recovered(&stage, 20).await;
    stage.login(&pki.client()).await.close().await;
    // One report for each, also for those that no worker ever looked at.
    stage.finish().await;
}

#[tokio::test]
async fn connections_that_come_once_a_worker_is_dead_are_all_served() {
    let pki = Pki::new();
    let (_backend, stage) = stage_of(&pki, 1).await;
    for deaths in 1..=10 {
        // A crowd, so that the death takes its time.
        let victims = crowd(&stage, 30).await;
        stage.inject(Fault::PanicInLoop).await;
        eventually(|| victims.iter().find_map(|victim| stage.reported(victim.id))).await;
        let mut next = stage.login_plain().await;
        next.echo("select 'served by another'").await;
        next.close().await;
        recovered(&stage, deaths).await;
        stage.wait_for(|now| now.live_sessions == 0).await;
    }
    stage.finish().await;
}

#[tokio::test]
async fn workers_that_die_young_again_and_again_are_replaced_after_growing_pauses() {
    let pki = Pki::new();
    let (_backend, stage) = stage_of(&pki, 1).await;
    crowd(&stage, 1).await.remove(0).close().await;
    let mut pauses = Vec::new();
    for deaths in 1..=6 {
        stage.inject(Fault::PanicInLoop).await;
        stage.wait_for(|now| now.worker_restarts == deaths).await;
        let died = Instant::now();
        // Nobody waits for it: the pause is kept.
        recovered(&stage, deaths).await;
        pauses.push(died.elapsed());
    }
    // 10 ms doubled five times, less what the polling of this test may see late.
    assert!(pauses[5] >= Duration::from_millis(250), "{pauses:?}");
    assert!(pauses[5] > pauses[0] && pauses[5] < DEADLINE, "{pauses:?}");
    let mut client = stage.login(&pki.client()).await;
    client.echo("select 'recovered'").await;
    client.close().await;
    let numbers: Vec<_> = stage
        .replaced_workers()
        .into_iter()
        .map(|(number, _)| number)
        .collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5]);
    stage.finish().await;
}

#[tokio::test]
async fn a_worker_started_for_a_connection_during_the_pause_is_the_replacement() {
    let pki = Pki::new();
    let (_backend, stage) = stage_of(&pki, 1).await;
    crowd(&stage, 1).await.remove(0).close().await;
    for deaths in 1..=5 {
        recovered(&stage, deaths - 1).await;
        stage.inject(Fault::PanicInLoop).await;
        stage.wait_for(|now| now.worker_restarts == deaths).await;
    }
    // The pause is 160 ms now, and this client does not wait for it.
    let mut client = stage.login_plain().await;
    let since = Instant::now();
    eventually(|| {
        assert_eq!(stage.snapshot().workers, 1, "more workers than allowed");
        (since.elapsed() > Duration::from_millis(300)).then_some(())
    })
    .await;
    client.echo("select 1").await;
    client.close().await;
    stage.finish().await;
}

#[tokio::test]
async fn close_works_right_after_a_death() {
    let pki = Pki::new();
    for _ in 0..10 {
        let (_backend, stage) = stage_of(&pki, 2).await;
        let clients = crowd(&stage, 40).await;
        stage.inject(Fault::PanicInLoop).await;
        // Nobody waits for these clients to read.
        drop(clients);
        stage.close().await;
        let now = stage.snapshot();
        assert_eq!((now.live_sessions, now.workers), (0, 0));
        stage.assert_one_report_each();
    }
}

#[tokio::test]
async fn a_drain_right_after_a_death_ends_with_the_sessions_that_are_left() {
    let pki = Pki::new();
    let (_backend, stage) = stage_of(&pki, 1).await;
    let lost = crowd(&stage, 3).await;
    stage.inject(Fault::PanicInLoop).await;
    let drained = stage.drain(LONG).await;
    let drained = timeout(DEADLINE, drained).await.unwrap().unwrap();
    assert_eq!(drained.cut, 0);
    for client in lost {
        stage
            .ended(client.id, CloseReason::WorkerLost, Phase::Relay)
            .await;
    }
    // The same with sessions on a worker that lives.
    recovered(&stage, 1).await;
    let mut stays = stage.login(&pki.client()).await;
    let drained = stage.drain(Duration::ZERO).await;
    assert_eq!(stays.fatal().await.sqlstate, "57P01");
    drop(stays);
    let drained = timeout(DEADLINE, drained).await.unwrap().unwrap();
    assert_eq!((drained.drained, drained.cut), (0, 1));
    stage.finish().await;
}

#[tokio::test]
async fn a_keeper_that_panics_begins_again_with_warm_connections_and_probes() {
    let pki = Pki::new();
    let server = ServerRole::primary();
    let backend = pki.tls_backend().role(&server).listen().await;
    let mut options = pki.tls_options(&[&backend]);
    options.routes[0].backend.roles = Some(roles(WantedRole::Primary));
    options.routes[0].backend.warm = Some(WarmOptions {
        connections: 3,
        max_age: Duration::from_mins(1),
    });
    let stage = Stage::start(&options).await;
    let filled = || stage.wait_for(|now| now.routes[0].warm_connections == 3);
    filled().await;
    let mut session = stage.login(&pki.client()).await;
    for deaths in 1..=4 {
        filled().await;
        stage.inject(Fault::PanicInKeeper).await;
        let died = stage.wait_for(|now| now.keeper_restarts == deaths).await;
        session.echo("select 'unharmed'").await;
        // What was made ahead before is used after.
        let next = stage.login(&pki.client()).await;
        let hits = stage.snapshot().routes[0].warm_hits;
        assert_eq!(hits, died.routes[0].warm_hits + 1);
        filled().await;
        let probed = died.routes[0].probes_ok + 2;
        stage
            .wait_for(|now| now.routes[0].probes_ok >= probed)
            .await;
        next.close().await;
    }
    let restarted = stage.restarted_threads();
    assert_eq!(restarted.len(), 4, "{restarted:?}");
    for (thread, reason) in restarted {
        assert_eq!(thread, "pgtls-keeper");
        assert!(reason.contains("injected fault"), "{reason}");
    }
    // It still learns of a reload, and lets go of what it had before it died.
    let cold = pki.tls_options(&[&backend]);
    stage.plane.reload(&cold.routes).unwrap();
    let open =
        |all: &[pgtls_testkit::SessionRecord]| all.iter().filter(|one| !one.is_closed).count();
    backend.wait_until(|all| open(all) == 1).await;
    session.echo("select 'still here'").await;
    session.close().await;
    let now = stage.snapshot();
    assert_eq!((now.keeper_restarts, now.worker_restarts), (4, 0));
    stage.finish().await;
}

#[tokio::test]
async fn a_keeper_is_closed_right_after_its_death_with_all_it_held_open() {
    let pki = Pki::new();
    let backend = pki.tls_backend().listen().await;
    let mut options = pki.tls_options(&[&backend]);
    options.routes[0].backend.warm = Some(WarmOptions {
        connections: 3,
        max_age: Duration::from_mins(1),
    });
    let stage = Stage::start(&options).await;
    stage
        .wait_for(|now| now.routes[0].warm_connections == 3)
        .await;
    for _ in 0..5 {
        stage.inject(Fault::PanicInKeeper).await;
    }
    stage.close().await;
    backend
        .wait_until(|all| all.iter().all(|one| one.is_closed))
        .await;
}

#[tokio::test]
async fn a_proxy_thread_whose_loop_panics_goes_on_with_every_session_and_worker() {
    let pki = Pki::new();
    let (_backend, stage) = stage_of(&pki, 2).await;
    let mut bystanders = [stage.login(&pki.client()).await, stage.login_plain().await];
    for deaths in 1..=3 {
        stage.inject(Fault::PanicInSupervisor).await;
        // Who comes while it is down goes to a worker that runs all the same.
        let mut next = stage.login(&pki.client()).await;
        next.echo("select 'placed'").await;
        next.close().await;
        for bystander in &mut bystanders {
            bystander.echo("select 'unharmed'").await;
        }
        stage
            .wait_for(|now| now.supervisor_restarts == deaths && now.worker_restarts == 0)
            .await;
    }
    // The count comes before the word.
    stage
        .wait_for(|_| stage.restarted_threads().len() == 3)
        .await;
    let restarted = stage.restarted_threads();
    assert_eq!(restarted.len(), 3, "{restarted:?}");
    for (thread, reason) in restarted {
        assert_eq!(thread, "pgtls-proxy");
        assert!(reason.contains("injected fault"), "{reason}");
    }
    // It still supervises: workers are replaced, a drain says its last words and is told of its end.
    stage.inject(Fault::PanicInLoop).await;
    stage.wait_for(|now| now.worker_restarts == 1).await;
    let mut last = stage.login(&pki.client()).await;
    stage.inject(Fault::PanicInSupervisor).await;
    let drained = stage.drain(Duration::ZERO).await;
    assert_eq!(last.fatal().await.sqlstate, "57P01");
    drop((last, bystanders));
    timeout(DEADLINE, drained).await.unwrap().unwrap();
    stage.finish().await;
}

#[tokio::test]
async fn a_drain_and_a_close_survive_a_panic_of_the_proxy_thread() {
    let pki = Pki::new();
    let (_backend, stage) = stage_of(&pki, 1).await;
    let client = stage.login_plain().await;
    let drained = stage.drain(LONG).await;
    for _ in 0..5 {
        stage.inject(Fault::PanicInSupervisor).await;
    }
    client.close().await;
    let drained = timeout(DEADLINE, drained).await.unwrap().unwrap();
    assert_eq!((drained.drained, drained.cut), (1, 0));
    stage.inject(Fault::PanicInSupervisor).await;
    stage.finish().await;
}
