//! Reload: for connections to come, all or nothing.

use pgtls_core::{AdoptError, BackendAddress};
use pgtls_testkit::{CertificateSpec, FakeBackend, TestCa, TlsClient};

use crate::stage::{Arrival, Client, Pki, Stage, address_of};

#[tokio::test]
async fn a_reload_changes_new_connections_and_leaves_live_ones_alone() {
    let pki = Pki::new();
    let old = FakeBackend::builder().listen().await;
    let new = FakeBackend::builder().listen().await;
    let mut options = pki.options(&[&old]);
    let stage = Stage::start(&options).await;
    let mut before = stage.login(&pki.client()).await;

    let fresh_ca = TestCa::new("the next root");
    let fresh = fresh_ca.issue(&CertificateSpec::localhost());
    let files = fresh.write_to(pki.path(), "fresh");
    let route = &mut options.routes[0];
    route.backend.addresses = vec![address_of(&new)];
    let tls = route.listener.tls.as_mut().unwrap();
    tls.cert_files = vec![files.cert_file];
    tls.key_files = vec![files.key_file];
    stage.plane.reload(&options.routes).unwrap();

    let mut after = stage.login(&TlsClient::trusting(&fresh_ca)).await;
    before.echo("select 'before'").await;
    after.echo("select 'after'").await;
    assert_eq!((old.records().len(), new.records().len()), (1, 1));
    let routes = stage.snapshot().routes;
    assert_eq!(
        (routes.len(), routes[0].live_sessions),
        (1, 2),
        "the counters go on"
    );
    before.close().await;
    after.close().await;
    assert_eq!(
        stage.wait_for(|now| now.live_sessions == 0).await.routes[0].live_sessions,
        0
    );
    stage.finish().await;
}

#[tokio::test]
async fn certificate_files_are_read_again_by_a_reload_and_by_nothing_else() {
    let pki = Pki::new();
    let backend = FakeBackend::builder().listen().await;
    let options = pki.options(&[&backend]);
    let stage = Stage::start(&options).await;
    let fresh_ca = TestCa::new("the next root");
    let fresh = fresh_ca.issue(&CertificateSpec::localhost());
    assert_eq!(fresh.write_to(pki.path(), "listener"), pki.listener_files);
    stage.login(&pki.client()).await.close().await;
    stage.plane.reload(&options.routes).unwrap();
    stage
        .login(&TlsClient::trusting(&fresh_ca))
        .await
        .close()
        .await;
    stage.finish().await;
}

#[tokio::test]
async fn a_bad_reload_keeps_all_that_was() {
    let pki = Pki::new();
    let backend = FakeBackend::builder().listen().await;
    let options = pki.options(&[&backend]);
    let stage = Stage::start(&options).await;
    let mut live = stage.login(&pki.client()).await;
    // The first route of the new table is fine, and differs; the second is not.
    let mut bad = options.routes.clone();
    bad[0].backend.addresses = vec![BackendAddress::Unix("/nobody".into())];
    let mut broken = options.routes[0].clone();
    broken.route_id = 2;
    broken.name = "broken".to_owned();
    broken.listener.tls.as_mut().unwrap().cert_files = vec![pki.path().join("missing.crt")];
    bad.push(broken);
    let error = stage.plane.reload(&bad).expect_err("a missing file");
    assert_eq!(error.route, "broken");
    assert!(error.to_string().contains("missing.crt"), "{error}");
    live.echo("select 'alive'").await;
    stage.login(&pki.client()).await.close().await;
    let refused = stage.try_arrive(Arrival::default().on_route(2)).await;
    assert!(matches!(refused.err(), Some(AdoptError::RouteUnknown(2))));
    live.close().await;
    stage.finish().await;
}

#[tokio::test]
async fn a_route_taken_away_serves_its_sessions_and_those_on_their_way_to_their_end() {
    let pki = Pki::new();
    let backend = FakeBackend::builder().listen().await;
    let options = pki.options(&[&backend]);
    let stage = Stage::start(&options).await;
    let mut live = stage.login(&pki.client()).await;
    stage.plane.reload(&[]).unwrap();
    // Accepted before, and handed over now.
    let mut late = stage.login(&pki.client()).await;
    live.echo("select 'alive'").await;
    late.echo("select 'late'").await;
    let now = stage.snapshot();
    assert_eq!((now.live_sessions, now.routes.len()), (2, 0));
    // It comes back, and counts on.
    stage.plane.reload(&options.routes).unwrap();
    assert_eq!(stage.snapshot().routes[0].live_sessions, 2);
    let refused = stage.try_arrive(Arrival::default().on_route(7)).await;
    assert!(matches!(refused.err(), Some(AdoptError::RouteUnknown(7))));
    live.close().await;
    late.close().await;
    stage.finish().await;
}

#[tokio::test]
async fn limits_count_sessions_from_before_a_reload() {
    let pki = Pki::new();
    let backend = FakeBackend::builder().listen().await;
    let mut options = pki.options(&[&backend]);
    let stage = Stage::start(&options).await;
    let live = stage.login(&pki.client()).await;
    options.routes[0].max_client_conn = 1;
    stage.plane.reload(&options.routes).unwrap();
    let mut refused: Client = stage.knock(Arrival::default(), &pki.client()).await;
    assert_eq!(refused.fatal().await.sqlstate, "53300");
    drop(refused);
    live.close().await;
    stage.finish().await;
}
