//! Connections made ahead: what they are used for, and all that they must never be used for.

use std::net::SocketAddr;
use std::time::Duration;

use pgtls_core::{
    BackendAddress, DataPlaneOptions, LoadBalanceHosts, RouteSnapshot, WantedRole, WarmOptions,
};
use pgtls_testkit::{Ending, FakeBackend, ServerRole, SessionRecord};
use socket2::{Domain, Socket, Type};

use crate::hosts::roles;
use crate::stage::{Pki, Stage, alone, eventually};

fn warming(connections: usize, mut options: DataPlaneOptions) -> DataPlaneOptions {
    options.routes[0].backend.warm = Some(WarmOptions {
        connections,
        max_age: Duration::from_secs(30),
    });
    options
}

fn counters(stage: &Stage) -> RouteSnapshot {
    stage.snapshot().routes[0].clone()
}

/// Hits and misses.
fn uses(stage: &Stage) -> (u64, u64) {
    let now = counters(stage);
    (now.warm_hits, now.warm_misses)
}

async fn filled(stage: &Stage, connections: u32) {
    stage
        .wait_for(|now| now.routes[0].warm_connections == connections)
        .await;
}

fn is_open(record: &SessionRecord) -> bool {
    !record.is_closed
}

#[tokio::test]
async fn a_session_gets_a_connection_whose_tls_is_done_and_another_takes_its_place() {
    let pki = Pki::new();
    let backend = pki.tls_backend().listen().await;
    let stage = Stage::start(&warming(3, pki.tls_options(&[&backend]))).await;
    filled(&stage, 3).await;
    let before = backend.records();
    assert!(
        before
            .iter()
            .all(|one| one.tls.is_some() && one.startup_packet.is_none())
    );
    assert_eq!(before.len(), 3, "never more than configured");
    let mut client = stage.login(&pki.client()).await;
    client.echo("select 1").await;
    assert_eq!(uses(&stage), (1, 0));
    let used = backend.wait_until(|all| all.len() == 4).await;
    assert_eq!(
        used.iter()
            .filter(|one| one.startup_packet.is_some())
            .count(),
        1
    );
    assert!(
        used[..3].iter().any(|one| one.startup_packet.is_some()),
        "one of the first"
    );
    filled(&stage, 3).await;
    client.close().await;
    // It was used once: it is closed, and nobody else gets it.
    backend
        .wait_until(|all| all.iter().filter(|one| one.is_closed).count() == 1)
        .await;
    for _ in 0..5 {
        stage.login(&pki.client()).await.close().await;
        filled(&stage, 3).await;
    }
    assert_eq!(uses(&stage), (6, 0));
    let starts = backend.records();
    assert_eq!(
        starts
            .iter()
            .filter(|one| one.startup_packet.is_some())
            .count(),
        6
    );
    stage.finish().await;
}

#[tokio::test]
async fn connections_are_warm_over_tls_1_2_in_plaintext_and_over_a_unix_socket_too() {
    let pki = Pki::new();
    let tls = pki.tls_backend().listen().await;
    let plain = FakeBackend::builder().listen().await;
    let unix = FakeBackend::builder().listen_unix(&pki.path().join(".s.PGSQL.5432"));
    let mut tls_1_2 = pki.tls_options(&[&tls]);
    tls_1_2.routes[0].backend.tls.max_version = Some(pgtls_tls::options::TlsVersion::Tls12);
    for options in [tls_1_2, pki.options(&[&plain]), pki.options(&[&unix])] {
        let stage = Stage::start(&warming(1, options)).await;
        filled(&stage, 1).await;
        let mut client = stage.login(&pki.client()).await;
        client.echo("select 1").await;
        client.close().await;
        assert_eq!(uses(&stage), (1, 0));
        stage.finish().await;
    }
}

#[tokio::test]
async fn connections_that_the_server_closed_are_passed_over_and_made_anew() {
    let pki = Pki::new();
    for options in [Pki::tls_options, Pki::options] {
        let backend = pki.tls_backend().listen().await;
        let stage = Stage::start(&warming(3, options(&pki, &[&backend]))).await;
        filled(&stage, 3).await;
        backend.hang_up();
        backend
            .wait_until(|all| {
                all.iter()
                    .take(3)
                    .all(|one| one.is_closed || one.ending.is_some())
                    || all.len() > 3
            })
            .await;
        let mut client = stage.login(&pki.client()).await;
        client.echo("select 'alive'").await;
        client.close().await;
        filled(&stage, 3).await;
        stage.finish().await;
    }
}

#[tokio::test]
async fn a_connection_on_which_the_server_spoke_before_the_startup_is_not_used() {
    let pki = Pki::new();
    for (builder, options) in [
        (pki.tls_backend(), pki.tls_options(&[])),
        (FakeBackend::builder(), pki.options(&[])),
    ] {
        let backend = builder.speaking_first(2, b"E is for early").listen().await;
        let mut options = warming(2, options);
        options.routes[0].backend.addresses = vec![crate::stage::address_of(&backend)];
        let stage = Stage::start(&options).await;
        // The first two are found out by the session or before it.
        backend.wait_until(|all| all.len() >= 2).await;
        let closed = |all: &[SessionRecord]| all.iter().filter(|one| one.is_closed).count() >= 2;
        backend.wait_until(closed).await;
        let mut client = stage.login(&pki.client()).await;
        client.echo("select 1").await;
        client.close().await;
        let records = backend.records();
        assert!(
            records[..2].iter().all(|one| one.startup_packet.is_none()),
            "{records:#?}"
        );
        stage.finish().await;
    }
}

#[tokio::test]
async fn connections_are_replaced_before_their_time_and_leave_with_a_close_notify() {
    let pki = Pki::new();
    let backend = pki.tls_backend().listen().await;
    let mut options = warming(2, pki.tls_options(&[&backend]));
    options.routes[0].backend.warm = Some(WarmOptions {
        connections: 2,
        max_age: Duration::from_millis(200),
    });
    let stage = Stage::start(&options).await;
    let records = backend
        .wait_until(|all| all.iter().filter(|one| one.is_closed).count() >= 4)
        .await;
    let closed: Vec<_> = records.iter().filter(|one| one.is_closed).collect();
    assert!(closed.iter().all(|one| one.startup_packet.is_none()));
    assert!(
        closed
            .iter()
            .all(|one| one.ending == Some(Ending::CloseNotify)),
        "{closed:#?}"
    );
    assert!(records.iter().filter(|one| is_open(one)).count() <= 2);
    stage.finish().await;
}

#[tokio::test]
async fn a_backend_that_comes_up_later_is_warmed_then() {
    let pki = Pki::new();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    let bound = socket.local_addr().unwrap().as_socket().unwrap();
    let mut options = warming(4, pki.options(&[]));
    options.routes[0].backend.addresses = vec![BackendAddress::Tcp {
        host: bound.ip().to_string(),
        port: bound.port(),
    }];
    let stage = Stage::start(&options).await;
    let mut refused = stage
        .knock(crate::stage::Arrival::default(), &pki.client())
        .await;
    assert_eq!(refused.fatal().await.sqlstate, "08006");
    drop(refused);
    assert_eq!(counters(&stage).warm_connections, 0);
    socket.listen(16).unwrap();
    filled(&stage, 4).await;
    stage.finish().await;
}

#[tokio::test]
async fn a_reload_a_drain_and_the_end_close_what_was_made_ahead() {
    let pki = Pki::new();
    let [old, new] = [
        pki.tls_backend().listen().await,
        pki.tls_backend().listen().await,
    ];
    let stage = Stage::start(&warming(2, pki.tls_options(&[&old]))).await;
    filled(&stage, 2).await;
    let mut session = stage.login(&pki.client()).await;
    filled(&stage, 2).await;
    stage
        .plane
        .reload(&warming(2, pki.tls_options(&[&new])).routes)
        .unwrap();
    // All but the one that serves a session.
    let one_left = |all: &[SessionRecord]| all.iter().filter(|one| is_open(one)).count() == 1;
    old.wait_until(one_left).await;
    session.echo("select 'still here'").await;
    filled(&stage, 2).await;
    let report = stage.drain(Duration::from_secs(20)).await;
    new.wait_until(|all| all.len() >= 2 && !all.iter().any(is_open))
        .await;
    session.close().await;
    report.await.unwrap();
    stage
        .plane
        .reload(&warming(2, pki.tls_options(&[&old])).routes)
        .unwrap();
    filled(&stage, 2).await;
    stage.close().await;
    old.wait_until(|all| !all.iter().any(is_open)).await;
}

#[tokio::test]
async fn a_route_that_was_taken_away_is_warm_again_once_it_is_back() {
    let pki = Pki::new();
    let backend = pki.tls_backend().listen().await;
    let options = warming(2, pki.tls_options(&[&backend]));
    let stage = Stage::start(&options).await;
    filled(&stage, 2).await;
    stage.plane.reload(&[]).unwrap();
    backend
        .wait_until(|all| all.len() >= 2 && !all.iter().any(is_open))
        .await;
    stage.plane.reload(&options.routes).unwrap();
    filled(&stage, 2).await;
    stage.close().await;
}

#[tokio::test]
async fn a_warm_connection_serves_only_the_address_that_a_new_one_would_have_gone_to() {
    let pki = Pki::new();
    let states = [ServerRole::standby(), ServerRole::primary()];
    let first = FakeBackend::builder().role(&states[0]).listen().await;
    let second = FakeBackend::builder().role(&states[1]).listen().await;
    let mut options = warming(2, pki.options(&[&first, &second]));
    options.routes[0].backend.roles = Some(roles(WantedRole::Primary));
    for order in [LoadBalanceHosts::Disable, LoadBalanceHosts::Random] {
        options.routes[0].backend.load_balance_hosts = order;
        states[0].demote();
        states[1].promote();
        let stage = Stage::start(&options).await;
        filled(&stage, 2).await;
        assert_eq!(
            reached(&stage, &pki).await,
            second.tcp_address().to_string()
        );
        assert_eq!(uses(&stage), (1, 0));
        // A failover: the warm ones lead to a standby now.
        let probes = counters(&stage).probes_ok;
        states[0].promote();
        states[1].demote();
        // Those that were under way, and then one of each server.
        stage
            .wait_for(|now| now.routes[0].probes_ok >= probes + 6)
            .await;
        assert_eq!(reached(&stage, &pki).await, first.tcp_address().to_string());
        stage.finish().await;
    }
}

async fn reached(stage: &Stage, pki: &Pki) -> String {
    let client = stage.login(&pki.client()).await;
    let id = client.id;
    client.close().await;
    stage.report(id).await.backend_addr.unwrap()
}

#[test]
fn no_descriptor_is_left_of_warm_connections_and_probes() {
    alone(
        "warm::no_descriptor_is_left_of_warm_connections_and_probes",
        async {
            let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
            let before = descriptors();
            let pki = Pki::new();
            let backend = pki
                .tls_backend()
                .role(&ServerRole::primary())
                .listen()
                .await;
            let mut options = warming(5, pki.tls_options(&[&backend]));
            options.workers = 2;
            options.routes[0].backend.roles = Some(roles(WantedRole::ReadWrite));
            let stage = Stage::start(&options).await;
            for _ in 0..20 {
                stage.login(&pki.client()).await.close().await;
            }
            filled(&stage, 5).await;
            assert!(counters(&stage).warm_hits > 0);
            stage.plane.reload(&options.routes).unwrap();
            stage.login(&pki.client()).await.close().await;
            stage.finish().await;
            drop(backend);
            eventually(|| (descriptors() == before).then_some(())).await;
        },
    );
}
