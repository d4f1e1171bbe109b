//! Session resumption on both legs, over reloads, and that reports say it.

use std::num::NonZeroU8;
use std::time::Duration;

use pgtls_core::{ConnectionReport, DataPlaneOptions};
use pgtls_testkit::{CertificateSpec, FakeBackend, TestCa, TlsClient};
use pgtls_tls::options::{
    BackendVerification, ClientCertificate, ResumptionOptions, RootCert, TicketKeySource,
};

use crate::stage::{Arrival, Pki, Stage};

fn let_clients_resume(options: &mut DataPlaneOptions) {
    let tls = options.routes[0].listener.tls.as_mut().unwrap();
    tls.resumption = Some(ResumptionOptions {
        tickets: NonZeroU8::MIN,
        keys: TicketKeySource::Generated {
            rotation: Duration::from_hours(6),
        },
    });
}

/// The report of one short session.
async fn session(stage: &Stage, tls: &TlsClient) -> ConnectionReport {
    let mut client = stage.login(tls).await;
    client.echo("select 1").await;
    let id = client.id;
    client.close().await;
    stage.report(id).await
}

/// Whether the client's leg and the backend's were resumed; none is no TLS.
async fn resumed(stage: &Stage, tls: &TlsClient) -> [Option<bool>; 2] {
    let report = session(stage, tls).await;
    [report.client_tls, report.backend_tls].map(|leg| leg.map(|leg| leg.is_resumed))
}

#[tokio::test]
async fn a_client_that_comes_again_resumes_and_is_reported_as_the_same() {
    let pki = Pki::new();
    let backend = FakeBackend::builder().listen().await;
    let mut options = pki.options(&[&backend]);
    let_clients_resume(&mut options);
    pki.verify_clients(&mut options, ClientCertificate::Require);
    let stage = Stage::start(&options).await;
    for tls in pki.clients_by_version() {
        let shown = pki.ca.issue(&CertificateSpec::client("app"));
        let tls = tls.with_identity(shown).resuming();
        let [first, second] = [session(&stage, &tls).await, session(&stage, &tls).await];
        assert_eq!(first.sni.as_deref(), Some("localhost"));
        assert_eq!(first.sni, second.sni);
        let [first, second] = [first, second].map(|report| report.client_tls.unwrap());
        assert!(!first.is_resumed && second.is_resumed);
        assert_eq!(
            (&first.version, &first.alpn),
            (&second.version, &second.alpn)
        );
        assert!(first.peer_cert.is_some());
        assert_eq!(first.peer_cert, second.peer_cert);
    }
    stage.finish().await;
}

#[tokio::test]
async fn nobody_resumes_unless_the_listener_says_so() {
    let pki = Pki::new();
    let backend = FakeBackend::builder().listen().await;
    let stage = Stage::start(&pki.options(&[&backend])).await;
    for tls in pki.clients_by_version().map(TlsClient::resuming) {
        for _ in 0..2 {
            assert_eq!(resumed(&stage, &tls).await, [Some(false), None]);
        }
    }
    stage.finish().await;
}

#[tokio::test]
async fn a_reload_keeps_sessions_unless_what_they_rest_on_has_changed() {
    let pki = Pki::new();
    let backend = FakeBackend::builder().listen().await;
    let mut options = pki.options(&[&backend]);
    let_clients_resume(&mut options);
    pki.verify_clients(&mut options, ClientCertificate::Request);
    let stage = Stage::start(&options).await;
    let clients = pki.clients_by_version().map(TlsClient::resuming);
    for tls in &clients {
        assert_eq!(resumed(&stage, tls).await, [Some(false), None]);
    }
    stage.plane.reload(&options.routes).unwrap();
    for tls in &clients {
        assert_eq!(resumed(&stage, tls).await, [Some(true), None]);
    }
    // The same file with another authority in it.
    let _ = TestCa::new("another root").write_to(pki.path(), "root");
    stage.plane.reload(&options.routes).unwrap();
    for tls in &clients {
        assert_eq!(resumed(&stage, tls).await, [Some(false), None]);
        assert_eq!(resumed(&stage, tls).await, [Some(true), None]);
    }
    stage.finish().await;
}

#[tokio::test]
async fn a_backend_that_offers_sessions_is_resumed_and_still_verified() {
    let pki = Pki::new();
    let backend = pki.tls_backend().listen().await;
    let mut options = pki.tls_options(&[&backend]);
    let tls = &mut options.routes[0].backend.tls;
    tls.verification = BackendVerification::Ca;
    tls.root_cert = Some(pki.root_cert());
    let stage = Stage::start(&options).await;
    let first = session(&stage, &pki.client()).await.backend_tls.unwrap();
    let second = session(&stage, &pki.client()).await.backend_tls.unwrap();
    assert!(!first.is_resumed && second.is_resumed);
    assert!(first.peer_cert.is_some());
    assert_eq!(first.peer_cert, second.peer_cert);
    stage.plane.reload(&options.routes).unwrap();
    let expected = [Some(false), Some(true)];
    assert_eq!(resumed(&stage, &pki.client()).await, expected);
    let seen: Vec<_> = backend
        .records()
        .iter()
        .map(|record| record.tls.as_ref().unwrap().resumed)
        .collect();
    assert_eq!(seen, [false, true, true]);

    // Roots that do not lead to this backend: its session is no way in.
    let stranger = TestCa::new("another root").write_to(pki.path(), "stranger");
    options.routes[0].backend.tls.root_cert = Some(RootCert::File(stranger));
    stage.plane.reload(&options.routes).unwrap();
    let mut refused = stage.knock(Arrival::default(), &pki.client()).await;
    assert_eq!(refused.fatal().await.sqlstate, "08001");
    drop(refused);
    stage.finish().await;
}
