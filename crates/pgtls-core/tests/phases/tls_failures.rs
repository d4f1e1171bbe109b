//! `tls_failure`: every handshake that fails says why in one word of a closed set, on both legs; and the warning that a
//! backend is named by its CN only.

use pgtls_core::{CloseReason, ConnectionReport, Event};
use pgtls_testkit::{
    CertificateSpec, EncryptionAnswer, FakeBackend, StepwiseTls, TestCa, TlsClient, Validity,
    server_config,
};
use pgtls_tls::failure::TlsFailureReason;
use pgtls_tls::options::{BackendVerification, ClientCertificate, TlsVersion};
use std::sync::Arc;

use crate::stage::{Arrival, Client, Pki, Stage};

/// A client's handshake with a listener that demands a certificate.
async fn failed_client(pki: &Pki, tls: &TlsClient) -> ConnectionReport {
    let backend = FakeBackend::builder().listen().await;
    let mut options = pki.options(&[&backend]);
    pki.verify_clients(&mut options, ClientCertificate::Require);
    options.routes[0].listener.tls.as_mut().unwrap().min_version = TlsVersion::Tls13;
    let stage = Stage::start(&options).await;
    let Client { frontend, id } = stage.arrive(Arrival::default()).await;
    if let Ok(mut frontend) = frontend.start_tls(tls).await {
        frontend.read_to_end().await;
    }
    let report = stage.report(id).await;
    assert_eq!(report.reason, CloseReason::ClientTlsHandshakeFailed);
    stage.finish().await;
    report
}

fn showing(pki: &Pki, ca: &TestCa, spec: &CertificateSpec) -> TlsClient {
    pki.client().with_identity(ca.issue(spec))
}

#[tokio::test]
async fn a_clients_failure_has_its_reason() {
    use TlsFailureReason as Why;
    let pki = Pki::new();
    let stranger = TestCa::new("another root");
    let alice = CertificateSpec::client("alice");
    let cases = [
        (pki.client(), Why::CertificateRequired),
        (showing(&pki, &stranger, &alice), Why::UnknownCa),
        (
            showing(
                &pki,
                &pki.ca,
                &alice.clone().with_validity(Validity::Expired),
            ),
            Why::CertificateExpired,
        ),
        (
            showing(
                &pki,
                &pki.ca,
                &alice.clone().with_validity(Validity::NotYet),
            ),
            Why::CertificateNotYetValid,
        ),
        (
            showing(&pki, &pki.ca, &CertificateSpec::localhost()),
            Why::WrongPurpose,
        ),
        (pki.client().tls_1_2_only(), Why::NoSharedVersion),
        (
            pki.client().with_alpn(&["http/1.1"]),
            Why::NoApplicationProtocol,
        ),
        (TlsClient::trusting(&stranger), Why::PeerAlert),
    ];
    for (tls, expected) in cases {
        let report = failed_client(&pki, &tls).await;
        assert_eq!(report.tls_failure, Some(expected), "{report:#?}");
        assert!(report.alert.is_some() && report.message.is_some());
    }
}

#[tokio::test]
async fn a_refused_certificate_is_named_by_the_report() {
    let pki = Pki::new();
    let alice = CertificateSpec::client("alice").with_validity(Validity::Expired);
    let report = failed_client(&pki, &showing(&pki, &pki.ca, &alice)).await;
    let message = report.message.unwrap();
    for part in ["expired", "CN=alice", "CN=root of one test", "SHA-256 "] {
        assert!(message.contains(part), "{message}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_or_tarries_has_its_reason_too() {
    let pki = Pki::new();
    let backend = FakeBackend::builder().listen().await;
    let stage = Stage::start(&pki.options(&[&backend])).await;
    let hello = StepwiseTls::new(&pki.client()).outgoing();
    let mut client = stage.arrive(Arrival::default()).await;
    client.frontend.send(&hello[..20]).await.unwrap();
    client.frontend.half_close().await.unwrap();
    let report = stage.report(client.id).await;
    assert_eq!(report.tls_failure, Some(TlsFailureReason::Eof));
    drop(client);

    let mut client = stage.arrive(Arrival::default().within(50)).await;
    assert_eq!(client.frontend.read_to_end().await.0, b"");
    let report = stage.report(client.id).await;
    assert_eq!(report.reason, CloseReason::LoginTimeout);
    assert_eq!(report.tls_failure, Some(TlsFailureReason::Timeout));
    drop(client);

    let client = stage.login(&pki.client()).await;
    let id = client.id;
    client.close().await;
    assert_eq!(stage.report(id).await.tls_failure, None);
    stage.finish().await;
}

/// What becomes of a session with a backend that shows `spec` of `ca`, verified as verify-full.
async fn backend_failure(pki: &Pki, ca: &TestCa, spec: &CertificateSpec) -> ConnectionReport {
    let answer = EncryptionAnswer::Accept(Arc::new(server_config(&ca.issue(spec))));
    let backend = FakeBackend::builder().encryption(answer).listen().await;
    let mut options = pki.tls_options(&[&backend]);
    let tls = &mut options.routes[0].backend.tls;
    tls.verification = BackendVerification::Full;
    tls.root_cert = Some(pki.root_cert());
    let stage = Stage::start(&options).await;
    let mut client = stage.knock(Arrival::default(), &pki.client()).await;
    assert_eq!(client.fatal().await.sqlstate, "08001");
    let id = client.id;
    drop(client);
    let report = stage.report(id).await;
    assert_eq!(report.reason, CloseReason::BackendTlsHandshakeFailed);
    stage.finish().await;
    report
}

#[tokio::test]
async fn a_backends_failure_has_its_reason_and_names_its_certificate() {
    use TlsFailureReason as Why;
    let pki = Pki::new();
    let stranger = TestCa::new("another root");
    let good = CertificateSpec::localhost();
    for (ca, spec, expected) in [
        (&stranger, good.clone(), Why::UnknownCa),
        (
            &pki.ca,
            good.clone().with_validity(Validity::Expired),
            Why::CertificateExpired,
        ),
        (
            &pki.ca,
            CertificateSpec::server(&["elsewhere.example"]),
            Why::NameMismatch,
        ),
    ] {
        let report = backend_failure(&pki, ca, &spec).await;
        assert_eq!(report.tls_failure, Some(expected), "{report:#?}");
        let message = report.message.unwrap();
        assert!(message.contains("the certificate shown is "), "{message}");
    }
}

#[tokio::test]
async fn a_backend_without_tls_has_its_reason() {
    let pki = Pki::new();
    let backend = FakeBackend::builder()
        .encryption(EncryptionAnswer::Refuse)
        .listen()
        .await;
    let stage = Stage::start(&pki.tls_options(&[&backend])).await;
    let mut client = stage.knock(Arrival::default(), &pki.client()).await;
    assert_eq!(client.fatal().await.sqlstate, "08001");
    let id = client.id;
    drop(client);
    let report = stage.report(id).await;
    assert_eq!(report.tls_failure, Some(TlsFailureReason::TlsRefused));
    stage.finish().await;
}

#[tokio::test]
async fn a_backend_that_is_named_by_its_cn_only_is_told_once() {
    let pki = Pki::new();
    let spec = CertificateSpec {
        common_name: Some("127.0.0.1".to_owned()),
        ..CertificateSpec::default()
    };
    let answer = EncryptionAnswer::Accept(Arc::new(server_config(&pki.ca.issue(&spec))));
    let backend = FakeBackend::builder().encryption(answer).listen().await;
    let mut options = pki.tls_options(&[&backend]);
    let tls = &mut options.routes[0].backend.tls;
    tls.verification = BackendVerification::Full;
    tls.root_cert = Some(pki.root_cert());
    let stage = Stage::start(&options).await;
    for _ in 0..3 {
        stage.login(&pki.client()).await.close().await;
    }
    let told: Vec<_> = stage
        .events()
        .into_iter()
        .filter_map(|event| match event {
            Event::CommonNameUsed { certificate, .. } => certificate,
            Event::Asked { .. }
            | Event::ConnectionsClosed(_)
            | Event::TlsEstablished { .. }
            | Event::WorkerRestarted { .. }
            | Event::ThreadRestarted { .. } => None,
        })
        .collect();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].subject, "CN=127.0.0.1");
    stage.finish().await;
}
