//! What is counted of connections, in the data plane's own numbers.

use pgtls_core::{CloseReason, ConnectFailure, RouteMetrics, TlsSide};
use pgtls_testkit::FakeBackend;

use crate::stage::{Arrival, Pki, Stage};

fn metrics(stage: &Stage) -> RouteMetrics {
    stage.snapshot().routes[0].metrics.clone()
}

fn closed(metrics: &RouteMetrics, reason: CloseReason) -> u64 {
    let found = metrics.closed.iter().find(|(known, _)| *known == reason);
    found.map_or(0, |(_, count)| *count)
}

#[tokio::test]
async fn a_session_is_counted_while_it_lasts_and_a_reload_loses_no_count() {
    let pki = Pki::new();
    let backend = pki.tls_backend().listen().await;
    let options = pki.tls_options(&[&backend]);
    let stage = Stage::start(&options).await;
    let mut client = stage.login(&pki.client()).await;
    client.echo("select 1").await;
    let during = stage.snapshot();
    assert_eq!(during.routes[0].metrics.sessions, 1);
    let sides: Vec<_> = during.tls_connections.iter().map(|one| one.side).collect();
    assert_eq!(sides, [TlsSide::Client, TlsSide::Backend]);
    assert!(during.tls_connections.iter().all(|one| one.count == 1));

    stage.plane.reload(&options.routes).unwrap();
    client.close().await;
    stage
        .wait_for(|now| closed(&now.routes[0].metrics, CloseReason::ClientClosed) == 1)
        .await;
    let after = metrics(&stage);
    assert_eq!(after.sessions, 0);
    assert_eq!(after.session_durations.counts.iter().sum::<u64>(), 1);
    for leg in [&after.client_tls, &after.backend_tls] {
        let finished: u64 = leg.handshakes.iter().map(|one| one.count).sum();
        assert_eq!(finished, 1);
        assert_eq!(leg.durations.counts.iter().sum::<u64>(), 1);
        assert!(leg.failures.iter().all(|one| one.count == 0));
    }
    assert_eq!(after.connects.counts.iter().sum::<u64>(), 1);
    stage.wait_for(|now| now.tls_connections.is_empty()).await;
    stage.finish().await;
}

#[tokio::test]
async fn a_refused_connection_is_a_connect_failure_for_its_reason() {
    let pki = Pki::new();
    let backend = FakeBackend::builder().listen().await;
    let options = pki.options(&[&backend]);
    drop(backend);
    let stage = Stage::start(&options).await;
    let mut client = stage.knock(Arrival::default(), &pki.client()).await;
    let id = client.id;
    assert_eq!(client.fatal().await.sqlstate, "08006");
    drop(client);
    stage.report(id).await;
    stage
        .wait_for(|now| closed(&now.routes[0].metrics, CloseReason::BackendUnreachable) == 1)
        .await;
    let after = metrics(&stage);
    let failures = after.connect_failures.iter();
    let failures: Vec<_> = failures.filter(|(_, count)| *count > 0).collect();
    assert_eq!(failures, [&(ConnectFailure::Refused, 1)]);
    assert_eq!(after.connects.counts.iter().sum::<u64>(), 0);
    stage.finish().await;
}
