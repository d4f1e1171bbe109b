//! Hostile peers: clients that never read while their backends flood them. Memory stays bounded, and others are served.

use std::sync::Arc;
use std::time::Duration;

use pgtls_core::DataPlaneOptions;
use pgtls_testkit::{BackendBehaviour, FakeBackend, TlsClient, messages};

use crate::stage::{Arrival, Client, Pki, Stage, address_of, alone, standstill};

/// The route whose backend floods; the other one's echoes.
const FLOODED: u32 = 2;

/// What the worker may hold of one direction: a read of 64 KiB, and what TLS adds to each of its records.
const HELD_BYTES: usize = 64 * 1024 + 1024;

/// A backend that echoes and one that floods, and options that lead to both.
struct Scene {
    pki: Pki,
    _echo: FakeBackend,
    _flooding: FakeBackend,
    options: DataPlaneOptions,
}

impl Scene {
    async fn new() -> Self {
        let pki = Pki::new();
        let echo = pki.tls_backend().listen().await;
        let rows = messages::copy_data(&[7; 8192]).repeat(8);
        let behaviour = BackendBehaviour::AnswerForever(Arc::new(rows));
        let flooding = FakeBackend::builder().behaviour(behaviour).listen().await;
        let mut options = pki.tls_options(&[&echo]);
        let mut flooded = pki.options(&[&flooding]).routes.remove(0);
        flooded.route_id = FLOODED;
        assert_eq!(flooded.backend.addresses, [address_of(&flooding)]);
        options.routes.push(flooded);
        Self {
            pki,
            _echo: echo,
            _flooding: flooding,
            options,
        }
    }
}

/// Bytes that were taken from flooding backends.
fn taken(stage: &Stage) -> u64 {
    stage.snapshot().routes[1].bytes_out
}

/// A session that asked for a flood and does not read it.
async fn flooded(stage: &Stage, arrival: Arrival, tls: Option<&TlsClient>) -> Client {
    let mut client = stage.enter(arrival.on_route(FLOODED), tls).await;
    let query = messages::query("copy t to stdout");
    client.frontend.send(&query).await.unwrap();
    client
}

#[tokio::test]
async fn a_client_that_never_reads_stops_the_backend_that_floods_it_and_nobody_else() {
    let scene = Scene::new().await;
    let tls = scene.pki.client();
    for tls in [None, Some(&tls)] {
        let stage = Stage::start(&scene.options).await;
        let mut bystander = stage.login(&scene.pki.client()).await;
        let client = flooded(&stage, Arrival::default().narrow(), tls).await;
        let before = standstill(|| taken(&stage)).await;
        assert!(
            before < 1024 * 1024,
            "{before} bytes were taken from the backend"
        );
        for _ in 0..500 {
            bystander.echo("select 'unharmed'").await;
        }
        assert_eq!(taken(&stage), before, "it went on");
        bystander.close().await;
        drop(client);
        stage.finish().await;
    }
}

#[tokio::test]
async fn kernel_buffers_of_the_usual_size_bound_what_is_taken_as_well() {
    let scene = Scene::new().await;
    let stage = Stage::start(&scene.options).await;
    let client = flooded(&stage, Arrival::default(), Some(&scene.pki.client())).await;
    let taken = standstill(|| taken(&stage)).await;
    assert!(taken < 24 * 1024 * 1024, "{taken} bytes were taken");
    drop(client);
    stage.finish().await;
}

/// Resident memory of this process.
fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.unwrap().parse::<usize>().unwrap() * 1024
}

#[test]
fn two_hundred_slow_readers_hold_no_more_than_a_read_each_and_hold_nobody_up() {
    let name = "two_hundred_slow_readers_hold_no_more_than_a_read_each_and_hold_nobody_up";
    alone(&format!("hostile::{name}"), slow_readers());
}

async fn slow_readers() {
    const SESSIONS: usize = 200;
    let scene = Scene::new().await;
    let mut options = scene.options.clone();
    options.workers = 2;
    let stage = Stage::start(&options).await;
    let tls = scene.pki.client();
    let mut bystander = stage.login(&tls).await;
    bystander.echo("select 1").await;
    let mut clients = Vec::new();
    for index in 0..SESSIONS {
        let arrival = Arrival::default().narrow().on_route(FLOODED);
        let tls = (index % 4 > 0).then_some(&tls);
        clients.push(stage.enter(arrival, tls).await);
    }
    // One flood warms the scratch memory of a worker and the flooding backend up.
    let query = messages::query("copy t to stdout");
    clients[0].frontend.send(&query).await.unwrap();
    standstill(|| taken(&stage)).await;
    let before = resident_bytes();
    for client in &mut clients[1..] {
        client.frontend.send(&query).await.unwrap();
    }
    standstill(|| taken(&stage)).await;
    let growth = resident_bytes().saturating_sub(before);
    // The scratch memory of the second worker, and what the heap loses between its pieces.
    let bound = SESSIONS * HELD_BYTES + 4 * 1024 * 1024;
    assert!(
        growth < bound,
        "{growth} bytes for {SESSIONS} sessions, at most {bound}"
    );
    bystander.echo("select 'not held up'").await;
    // Reading a little and a little more holds no more.
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    for _ in 0..20 {
        ticks.tick().await;
        for client in &mut clients {
            client.frontend.read_message().await.unwrap();
        }
        bystander.echo("select 'not held up'").await;
    }
    let growth = resident_bytes().saturating_sub(before);
    // The clients themselves read 64 KiB ahead.
    let bound = bound + SESSIONS * 3 * 64 * 1024;
    assert!(
        growth < bound,
        "{growth} bytes for {SESSIONS} sessions that read slowly, at most {bound}"
    );
    bystander.close().await;
    drop(clients);
    stage.finish().await;
}
