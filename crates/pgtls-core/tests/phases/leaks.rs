//! Nothing is left: descriptors are counted in a process of their own, since tests beside this one open some, too.

use std::path::Path;

use pgtls_testkit::{BackendBehaviour, EncryptionAnswer, FakeBackend, messages};

use crate::stage::{Arrival, Pki, Stage, alone, eventually};

fn descriptors() -> usize {
    std::fs::read_dir(Path::new("/proc/self/fd"))
        .unwrap()
        .count()
}

#[test]
fn no_descriptor_is_left_of_sessions_whatever_their_end_nor_of_a_closed_data_plane() {
    let name = "no_descriptor_is_left_of_sessions_whatever_their_end_nor_of_a_closed_data_plane";
    alone(&format!("leaks::{name}"), async {
        let before = descriptors();
        every_kind_of_end().await;
        // The backends' tasks are dropped when the runtime comes to it.
        eventually(|| (descriptors() == before).then_some(())).await;
    });
}

async fn every_kind_of_end() {
    let pki = Pki::new();
    let echo = pki.tls_backend().listen().await;
    let closing = pki
        .tls_backend()
        .behaviour(BackendBehaviour::CloseAtStartup)
        .listen()
        .await;
    let resetting = pki
        .tls_backend()
        .behaviour(BackendBehaviour::AbruptReset)
        .listen()
        .await;
    let silent = FakeBackend::builder()
        .encryption(EncryptionAnswer::Silence)
        .listen()
        .await;
    let mut options = pki.tls_options(&[&echo]);
    options.workers = 2;
    for (id, backend) in [(2, &closing), (3, &resetting), (4, &silent)] {
        let mut route = options.routes[0].clone();
        route.route_id = id;
        route.backend.addresses = vec![crate::stage::address_of(backend)];
        route.backend.connect_timeout = std::time::Duration::from_millis(50);
        options.routes.push(route);
    }
    let stage = Stage::start(&options).await;
    // What is opened once and kept: workers, of which a crowd needs both, their pollers, and the resolver's threads.
    let mut crowd = Vec::new();
    for _ in 0..40 {
        crowd.push(stage.login_plain().await);
    }
    assert_eq!(stage.snapshot().workers, 2);
    drop(crowd);
    one_round(&stage, &pki).await;
    let settled = || async {
        stage.wait_for(|now| now.live_sessions == 0).await;
        for backend in [&echo, &closing, &resetting, &silent] {
            backend
                .wait_until(|all| all.iter().all(|one| one.is_closed))
                .await;
        }
        descriptors()
    };
    let before = settled().await;
    for _ in 0..15 {
        one_round(&stage, &pki).await;
    }
    assert_eq!(settled().await, before, "descriptors are left of sessions");
    stage.finish().await;
}

/// One session of each kind.
async fn one_round(stage: &Stage, pki: &Pki) {
    let tls = pki.client();
    stage.login(&tls).await.close().await;
    stage.login(&tls).await.frontend.reset().unwrap();
    stage.login_plain().await.close().await;
    stage.arrive(Arrival::default()).await;
    stage.arrive(Arrival::default().with_prefix(b"GET /")).await;
    stage.arrive(Arrival::plain()).await;
    for route in [2, 4] {
        let mut client = stage.knock(Arrival::default().on_route(route), &tls).await;
        client.fatal().await;
    }
    let mut client = stage.knock(Arrival::default().on_route(3), &tls).await;
    client.frontend.read_until_ready().await.unwrap();
    client
        .frontend
        .send(&messages::query("select 1"))
        .await
        .unwrap();
    client.frontend.read_to_end().await;
    let mut never_logs_in = stage.arrive(Arrival::plain().within(20)).await;
    never_logs_in.frontend.read_to_end().await;
    let packet = pgtls_wire::encode_cancel_request(4242, &[0xde, 0xad, 0xbe, 0xef]);
    let mut cancel = stage.arrive(Arrival::plain().with_prefix(&packet)).await;
    cancel.frontend.read_to_end().await;
}
