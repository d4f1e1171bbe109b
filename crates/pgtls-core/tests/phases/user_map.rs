//! `user_map_file`: who may log in with which client certificate, and what the others are told.

use pgtls_core::{CloseReason, DataPlaneOptions, FaultSide, Phase};
use pgtls_testkit::{CertificateSpec, Ending, FakeBackend, TlsClient, messages};
use pgtls_tls::options::ClientCertificate;

use crate::stage::{Arrival, Pki, Stage};

/// Client certificates are asked for, and `map` says who may be whom; the tests log in as alice.
fn mapping(pki: &Pki, backend: &FakeBackend, map: &str) -> DataPlaneOptions {
    let mut options = pki.options(&[backend]);
    pki.verify_clients(&mut options, ClientCertificate::Request);
    let file = pki.path().join("ident.map");
    std::fs::write(&file, map).unwrap();
    let tls = options.routes[0].listener.tls.as_mut().unwrap();
    tls.user_map_file = Some(file);
    options
}

fn showing(pki: &Pki, spec: &CertificateSpec) -> TlsClient {
    pki.client().with_identity(pki.ca.issue(spec))
}

/// Logs in as alice; the reason of the refusal, if there was one.
async fn refusal(stage: &Stage, arrival: Arrival, tls: Option<&TlsClient>) -> Option<CloseReason> {
    let mut client = if let Some(tls) = tls {
        stage.knock(arrival, tls).await
    } else {
        let mut client = stage.arrive(arrival).await;
        client
            .frontend
            .startup(&crate::stage::STARTUP)
            .await
            .unwrap();
        client
    };
    let id = client.id;
    if client.frontend.read_until_ready().await.is_ok() {
        client.close().await;
        assert_eq!(stage.report(id).await.sqlstate, None);
        return None;
    }
    drop(client);
    let report = stage.report(id).await;
    assert_eq!(report.sqlstate, Some("28000"), "{report:#?}");
    assert_eq!(
        (report.phase, report.fault_side),
        (Phase::Route, Some(FaultSide::Client))
    );
    Some(report.reason)
}

#[tokio::test]
async fn a_certificate_logs_in_as_the_users_its_names_are_mapped_to() {
    let pki = Pki::new();
    let backend = FakeBackend::builder().listen().await;
    let map = "m svc-orders alice\nm /^(.*)\\.clients\\.example$ \\1\n";
    let stage = Stage::start(&mapping(&pki, &backend, map)).await;
    for (spec, expected) in [
        (CertificateSpec::client("svc-orders"), None),
        (
            CertificateSpec::client("alice"),
            Some(CloseReason::ClientCertificateNotMapped),
        ),
        (
            CertificateSpec {
                dns_names: vec!["alice.clients.example".to_owned()],
                ..CertificateSpec::client("whoever")
            },
            None,
        ),
        (
            CertificateSpec {
                dns_names: vec!["bob.clients.example".to_owned()],
                ..CertificateSpec::client("whoever")
            },
            Some(CloseReason::ClientCertificateNotMapped),
        ),
    ] {
        let tls = showing(&pki, &spec);
        for tls in [tls.clone().tls_1_2_only(), tls.tls_1_3_only()] {
            let refused = refusal(&stage, Arrival::default(), Some(&tls)).await;
            assert_eq!(refused, expected, "{spec:?}");
        }
    }
    stage.finish().await;
}

#[tokio::test]
async fn who_is_not_mapped_is_told_so_inside_tls_and_reaches_no_backend() {
    let pki = Pki::new();
    let backend = FakeBackend::builder().listen().await;
    let stage = Stage::start(&mapping(&pki, &backend, "m bob bob\n")).await;
    let tls = showing(&pki, &CertificateSpec::client("bob"));
    let mut client = stage.knock(Arrival::default(), &tls).await;
    let fatal = client.fatal().await;
    assert_eq!(fatal.sqlstate, "28000");
    assert_eq!(
        fatal.text,
        "the client certificate does not allow this user"
    );
    assert!(
        fatal
            .hint
            .is_some_and(|hint| hint.contains("user_map_file"))
    );
    assert_eq!(fatal.ending, Ending::CloseNotify);
    let id = client.id;
    drop(client);
    let report = stage.report(id).await;
    let message = report.message.unwrap();
    assert!(
        message.contains("[\"bob\"]") && message.contains("\"alice\""),
        "{message}"
    );
    let certificate = report.client_tls.unwrap().peer_cert.unwrap();
    assert!(certificate.subject.contains("bob"));
    assert_eq!(backend.records().len(), 0);
    stage.finish().await;
}

#[tokio::test]
async fn a_client_without_certificate_is_refused_with_tls_and_without() {
    let pki = Pki::new();
    let backend = FakeBackend::builder().listen().await;
    let stage = Stage::start(&mapping(&pki, &backend, "m all all\n")).await;
    let missing = Some(CloseReason::ClientCertificateMissing);
    let tls = pki.client();
    assert_eq!(
        refusal(&stage, Arrival::default(), Some(&tls)).await,
        missing
    );
    assert_eq!(refusal(&stage, Arrival::plain(), None).await, missing);
    assert_eq!(backend.records().len(), 0);
    stage.finish().await;
}

#[tokio::test]
async fn a_reload_reads_the_map_again_and_keeps_the_old_one_when_it_is_broken() {
    let pki = Pki::new();
    let backend = FakeBackend::builder().listen().await;
    let options = mapping(&pki, &backend, "m bob bob\n");
    let stage = Stage::start(&options).await;
    let tls = showing(&pki, &CertificateSpec::client("bob"));
    let file = pki.path().join("ident.map");
    std::fs::write(&file, "m bob alice\n").unwrap();
    stage.plane.reload(&options.routes).unwrap();
    assert_eq!(refusal(&stage, Arrival::default(), Some(&tls)).await, None);
    std::fs::write(&file, "m bob\n").unwrap();
    let error = stage.plane.reload(&options.routes).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("ident.map: line 1: has 2 fields"),
        "{error}"
    );
    assert_eq!(refusal(&stage, Arrival::default(), Some(&tls)).await, None);
    stage.finish().await;
}

#[tokio::test]
async fn a_user_that_is_not_utf_8_is_nobodys() {
    let pki = Pki::new();
    let backend = FakeBackend::builder().listen().await;
    let map = "m bob \u{fffd}lice\nm bob all\nm bob /^.*$\n";
    let stage = Stage::start(&mapping(&pki, &backend, map)).await;
    let tls = showing(&pki, &CertificateSpec::client("bob"));
    let mut client = stage.shake(Arrival::default(), &tls).await;
    let mut startup = messages::startup_message(0, &[("user", "?lice"), ("database", "app")]);
    let place = startup.iter().position(|&byte| byte == b'?').unwrap();
    startup[place] = 0xff;
    client.frontend.send(&startup).await.unwrap();
    assert_eq!(client.fatal().await.sqlstate, "28000");
    let id = client.id;
    drop(client);
    let report = stage.report(id).await;
    assert_eq!(report.reason, CloseReason::ClientCertificateNotMapped);
    assert_eq!(report.user.as_deref(), Some("\u{fffd}lice"));
    assert_eq!(backend.records().len(), 0);
    stage.finish().await;
}
