//! `target_session_attrs` with names: who looks them up, and what a session does while a look-up says something else or nothing.

use std::time::Duration;

use pgtls_core::fault::{Lookup, answer_lookups};
use pgtls_core::{BackendAddress, CloseReason, DataPlaneOptions, Phase, WantedRole};
use pgtls_testkit::{FakeBackend, ServerRole};

use crate::hosts::{destination, name, server, wanting};
use crate::stage::{Arrival, Pki, Stage};

/// A name that is looked up as `lookup` says. Each test has names of its own.
fn named(host: &str, lookup: Lookup) -> BackendAddress {
    answer_lookups(host, lookup);
    BackendAddress::Tcp {
        host: host.to_owned(),
        port: 5432,
    }
}

fn in_turn(servers: &[&FakeBackend]) -> Lookup {
    Lookup::InTurn(servers.iter().map(|one| one.tcp_address()).collect())
}

fn leading_to(
    pki: &Pki,
    wanted: WantedRole,
    addresses: Vec<BackendAddress>,
    connect_timeout: Duration,
) -> DataPlaneOptions {
    let mut options = wanting(wanted, pki.options(&[]));
    options.routes[0].backend.addresses = addresses;
    options.routes[0].backend.connect_timeout = connect_timeout;
    options
}

#[tokio::test]
async fn a_name_that_is_answered_differently_each_time_delays_no_session() {
    let pki = Pki::new();
    let servers = [
        server(&ServerRole::primary()).await,
        server(&ServerRole::primary()).await,
    ];
    let address = named("round-robin.test", in_turn(&[&servers[0], &servers[1]]));
    // Less than from one probe to the next: a session that waited for one would fail.
    let patience = Duration::from_millis(900);
    let options = leading_to(&pki, WantedRole::ReadWrite, vec![address], patience);
    let stage = Stage::start(&options).await;
    stage.wait_for(|now| now.routes[0].probes_ok >= 1).await;
    for _ in 0..6 {
        let reached = destination(&stage, &pki).await;
        assert!(servers.iter().any(|one| name(one) == reached), "{reached}");
    }
    stage.finish().await;
}

#[tokio::test]
async fn the_server_of_the_wanted_role_is_found_though_the_last_look_up_gave_another() {
    let pki = Pki::new();
    let standby = server(&ServerRole::standby()).await;
    let primary = server(&ServerRole::primary()).await;
    let address = named("both-roles.test", in_turn(&[&standby, &primary]));
    let patience = Duration::from_secs(5);
    let options = leading_to(&pki, WantedRole::Primary, vec![address], patience);
    let stage = Stage::start(&options).await;
    for probes in 2..6 {
        stage
            .wait_for(|now| now.routes[0].probes_ok >= probes)
            .await;
        standby.wait_until(|all| !all.is_empty()).await;
        primary.closed(0).await;
        assert_eq!(destination(&stage, &pki).await, name(&primary));
    }
    stage.finish().await;
}

#[tokio::test]
async fn names_that_nobody_answers_for_delay_no_session_that_another_address_serves() {
    let pki = Pki::new();
    let primary = server(&ServerRole::primary()).await;
    let silent = || (0..3).map(|number| named(&format!("silent-{number}.test"), Lookup::Silence));
    let first = crate::stage::address_of(&primary);
    let behind = [first.clone()].into_iter().chain(silent()).collect();
    let before = silent().chain([first]).collect();
    for (addresses, patience) in [
        (behind, Duration::from_mins(1)),
        (before, Duration::from_millis(900)),
    ] {
        let options = leading_to(&pki, WantedRole::ReadWrite, addresses, patience);
        let stage = Stage::start(&options).await;
        assert_eq!(destination(&stage, &pki).await, name(&primary));
        stage.finish().await;
    }
}

#[tokio::test]
async fn servers_are_probed_and_serve_while_the_name_server_is_silent() {
    let pki = Pki::new();
    let primary = server(&ServerRole::primary()).await;
    let address = named("falling-silent.test", in_turn(&[&primary]));
    let patience = Duration::from_secs(5);
    let options = leading_to(&pki, WantedRole::ReadWrite, vec![address], patience);
    let stage = Stage::start(&options).await;
    stage.wait_for(|now| now.routes[0].probes_ok >= 1).await;
    answer_lookups("falling-silent.test", Lookup::Silence);
    stage.wait_for(|now| now.routes[0].probes_ok >= 3).await;
    assert_eq!(destination(&stage, &pki).await, name(&primary));
    stage.finish().await;
}

#[tokio::test]
async fn a_look_up_that_failed_is_told_to_the_log() {
    let pki = Pki::new();
    let address = named("failing.test", Lookup::Failure);
    let patience = Duration::from_mins(1);
    let options = leading_to(&pki, WantedRole::ReadWrite, vec![address], patience);
    let stage = Stage::start(&options).await;
    let mut client = stage.knock(Arrival::default(), &pki.client()).await;
    assert_eq!(client.fatal().await.sqlstate, "08006");
    let id = client.id;
    drop(client);
    let report = stage
        .ended(id, CloseReason::BackendUnreachable, Phase::Backend)
        .await;
    assert_eq!(report.backend_addr.as_deref(), Some("failing.test:5432"));
    let message = report.message.unwrap();
    assert!(message.contains("name look-up failed"), "{message}");
    stage.finish().await;
}
