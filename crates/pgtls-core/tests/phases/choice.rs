//! What is chosen for each connection: the identity by server name, the backend by server name and startup packet.

use std::path::PathBuf;
use std::sync::Arc;

use pgtls_core::{
    AlertDirection, CloseReason, DataPlaneOptions, FaultSide, Phase, RouteProblem, RouteRule,
    Sslmode,
};
use pgtls_testkit::{
    BackendBehaviour, CertificateSpec, EncryptionAnswer, FakeBackend, Issued, TlsClient, messages,
    server_config,
};
use pgtls_tls::options::{HostTlsOptions, ListenerTlsOptions, NoServerName};
use pgtls_wire::encode_cancel_request;

use crate::stage::{Arrival, Client, Pki, Stage, address_of};

const PLUS: &str = "SCRAM-SHA-256-PLUS";

/// A certificate for `name`, and a row that shows it and leads to `backend`.
fn host(pki: &Pki, name: &str, backend: Option<&str>) -> (Issued, HostTlsOptions) {
    let issued = pki.ca.issue(&CertificateSpec::server(&[name]));
    let files = issued.write_to(pki.path(), name);
    let row = HostTlsOptions {
        hostnames: vec![name.to_owned()],
        cert_files: vec![files.cert_file],
        key_files: vec![files.key_file],
        ocsp_files: Vec::<PathBuf>::new(),
        backend: backend.map(str::to_owned),
    };
    (issued, row)
}

fn tls(options: &mut DataPlaneOptions) -> &mut ListenerTlsOptions {
    options.routes[0].listener.tls.as_mut().unwrap()
}

/// Adds `[proxy.backends.NAME]`, in plaintext.
fn add_backend(options: &mut DataPlaneOptions, name: &str, backend: &FakeBackend) {
    let mut other = options.routes[0].backend.clone();
    other.addresses = vec![address_of(backend)];
    other.sslmode = Sslmode::Disable;
    options.routes[0].backends.push((name.to_owned(), other));
}

fn rule(user: Option<&str>, database: Option<&str>, backend: &str) -> RouteRule {
    RouteRule {
        user: user.map(str::to_owned),
        database: database.map(str::to_owned),
        backend: backend.to_owned(),
    }
}

/// Logs in and out; the name of the backend in the report.
async fn backend_of(stage: &Stage, tls: &TlsClient, user: &str, database: &str) -> Option<String> {
    let mut client = stage.shake(Arrival::default(), tls).await;
    let startup = [("user", user), ("database", database)];
    client.frontend.startup(&startup).await.unwrap();
    client.frontend.read_until_ready().await.unwrap();
    let id = client.id;
    client.close().await;
    let report = stage.report(id).await;
    report.backend.map(|name| name.to_string())
}

#[tokio::test]
async fn the_hosts_backend_decides_before_the_rules_and_the_rules_before_the_default() {
    let pki = Pki::new();
    let backends = [
        FakeBackend::builder().listen().await,
        FakeBackend::builder().listen().await,
        FakeBackend::builder().listen().await,
    ];
    let [default, by_host, by_rule] = &backends;
    let mut options = pki.options(&[default]);
    add_backend(&mut options, "host", by_host);
    add_backend(&mut options, "rule", by_rule);
    let rows = [
        host(&pki, "with.example", Some("host")).1,
        host(&pki, "without.example", None).1,
    ];
    tls(&mut options).hosts = rows.into();
    options.routes[0].rules = vec![
        rule(Some("app_*"), Some("orders_*"), "rule"),
        rule(None, Some("orders_*"), "host"),
    ];
    let stage = Stage::start(&options).await;
    let named = |name: &str| pki.client().with_server_name(name);
    for (name, user, database, expected) in [
        ("with.example", "app_1", "orders_eu", Some("host")),
        ("without.example", "app_1", "orders_eu", Some("rule")),
        ("localhost", "app_1", "orders_eu", Some("rule")),
        ("localhost", "root", "orders_eu", Some("host")),
        ("localhost", "app_1", "billing", None),
        ("without.example", "app_1", "billing", None),
    ] {
        let found = backend_of(&stage, &named(name), user, database).await;
        assert_eq!(found.as_deref(), expected, "{name} {user} {database}");
    }
    let counts = backends.each_ref().map(|backend| backend.records().len());
    assert_eq!(counts, [2, 2, 2]);
    stage.finish().await;
}

#[tokio::test]
async fn a_plaintext_session_is_led_by_the_rules_alone() {
    let pki = Pki::new();
    let default = FakeBackend::builder().listen().await;
    let other = FakeBackend::builder().listen().await;
    let mut options = pki.options(&[&default]);
    add_backend(&mut options, "other", &other);
    options.routes[0].rules = vec![rule(Some("alice"), None, "other")];
    let stage = Stage::start(&options).await;
    stage.login_plain().await.close().await;
    assert_eq!((default.records().len(), other.records().len()), (0, 1));
    stage.finish().await;
}

#[tokio::test]
async fn a_name_that_is_not_utf_8_matches_no_pattern() {
    let pki = Pki::new();
    let default = FakeBackend::builder().listen().await;
    let other = FakeBackend::builder().listen().await;
    let mut options = pki.options(&[&default]);
    add_backend(&mut options, "other", &other);
    options.routes[0].rules = vec![
        rule(Some("\u{fffd}*"), None, "other"),
        rule(None, Some("*"), "other"),
    ];
    let stage = Stage::start(&options).await;
    for (user, database) in [("?lice", "?"), ("alice", "?"), ("?lice", "")] {
        let mut client = stage.shake(Arrival::default(), &pki.client()).await;
        let parameters = [("user", user), ("database", database)];
        let mut startup = messages::startup_message(0, &parameters);
        for byte in &mut startup {
            *byte = if *byte == b'?' { 0xff } else { *byte };
        }
        client.frontend.send(&startup).await.unwrap();
        client.frontend.read_until_ready().await.unwrap();
        client.close().await;
    }
    assert_eq!((default.records().len(), other.records().len()), (3, 0));
    stage.finish().await;
}

/// The report of a client that was refused in its handshake; both versions must agree on the alert.
async fn refused(stage: &Stage, client: &TlsClient) -> (String, String) {
    let mut last = None;
    for tls in [client.clone().tls_1_2_only(), client.clone().tls_1_3_only()] {
        let Client { frontend, id } = stage.arrive(Arrival::default()).await;
        let error = frontend.start_tls(&tls).await.expect_err("refused");
        let report = stage
            .ended(
                id,
                CloseReason::ClientTlsHandshakeFailed,
                Phase::ClientHandshake,
            )
            .await;
        assert_eq!(report.fault_side, Some(FaultSide::Client));
        let alert = report.alert.unwrap();
        assert_eq!(alert.direction, AlertDirection::Sent);
        last = Some((
            alert.description,
            report.message.unwrap(),
            error.to_string(),
        ));
    }
    let (alert, message, heard) = last.unwrap();
    // rustls spells alerts its own way, e.g. UnrecognisedName.
    let spelled = heard.to_lowercase().replace("recognised", "recognized");
    assert!(
        spelled.contains(&alert.replace('_', "")),
        "{heard}, not {alert}"
    );
    (alert, message)
}

#[tokio::test]
async fn a_hello_without_the_server_name_it_needs_is_answered_by_missing_extension() {
    let pki = Pki::new();
    let backend = FakeBackend::builder().listen().await;
    let mut options = pki.options(&[&backend]);
    tls(&mut options).no_server_name = NoServerName::Refuse;
    let stage = Stage::start(&options).await;
    let (alert, message) = refused(&stage, &pki.client().without_sni()).await;
    assert_eq!(alert, "missing_extension");
    assert!(message.contains("sent no server name (SNI)"), "{message}");
    stage.login(&pki.client()).await.close().await;
    stage.finish().await;
}

#[tokio::test]
async fn a_server_name_that_nobody_has_is_answered_by_unrecognized_name() {
    let pki = Pki::new();
    let backend = FakeBackend::builder().listen().await;
    let mut options = pki.options(&[&backend]);
    let tls = tls(&mut options);
    tls.hosts = vec![host(&pki, "a.example", None).1];
    tls.cert_files.clear();
    tls.key_files.clear();
    let stage = Stage::start(&options).await;
    let (alert, message) = refused(&stage, &pki.client()).await;
    assert_eq!(alert, "unrecognized_name");
    assert!(message.contains("\"localhost\""), "{message}");
    let (alert, _) = refused(&stage, &pki.client().without_sni()).await;
    assert_eq!(alert, "missing_extension");
    let known = pki.client().with_server_name("a.example");
    stage.login(&known).await.close().await;
    stage.finish().await;
}

/// Asks for -PLUS after a handshake under `name`.
async fn ask_for_binding(stage: &Stage, pki: &Pki, name: &str) -> (Client, Vec<u8>) {
    let tls = pki.client().with_server_name(name);
    let mut client = stage.knock(Arrival::default(), &tls).await;
    client.frontend.read_message().await.unwrap();
    let response = messages::sasl_initial_response(PLUS, b"p=tls-server-end-point,,n=,r=x");
    client.frontend.send(&response).await.unwrap();
    (client, response)
}

#[tokio::test]
async fn channel_binding_is_judged_by_the_certificate_that_this_client_was_shown() {
    let pki = Pki::new();
    let (shared, row) = host(&pki, "shared.example", None);
    let backend = FakeBackend::builder()
        .encryption(EncryptionAnswer::Accept(Arc::new(server_config(&shared))))
        .behaviour(BackendBehaviour::OfferSasl(vec![PLUS]))
        .listen()
        .await;
    let mut options = pki.tls_options(&[&backend]);
    tls(&mut options).hosts = vec![row];
    let stage = Stage::start(&options).await;
    let (client, response) = ask_for_binding(&stage, &pki, "shared.example").await;
    backend.wait_until(|all| all[0].received == response).await;
    drop(client);
    let (mut client, _) = ask_for_binding(&stage, &pki, "localhost").await;
    assert_eq!(client.fatal().await.sqlstate, "28000");
    drop(client);
    stage.finish().await;
}

async fn cancel(stage: &Stage, process_id: u32, key: &[u8]) {
    let packet = encode_cancel_request(process_id, key);
    let mut client = stage.arrive(Arrival::plain().with_prefix(&packet)).await;
    client.frontend.read_to_end().await;
}

fn cancels(backend: &FakeBackend) -> usize {
    let records = backend.records();
    let cancelled = |record: &&pgtls_testkit::SessionRecord| record.cancel_request.is_some();
    records.iter().filter(cancelled).count()
}

#[tokio::test]
async fn a_cancel_goes_to_its_sessions_backend_in_that_backends_mode() {
    let pki = Pki::new();
    let default = FakeBackend::builder().listen().await;
    let other = pki.tls_backend().listen().await;
    let mut options = pki.options(&[&default]);
    add_backend(&mut options, "other", &other);
    options.routes[0].backends[0].1.sslmode = Sslmode::Require;
    options.routes[0].rules = vec![rule(Some("alice"), None, "other")];
    let stage = Stage::start(&options).await;
    let session = stage.login(&pki.client()).await;
    cancel(&stage, 4242, &[0xde, 0xad, 0xbe, 0xef]).await;
    other
        .wait_until(|all| all.len() == 2 && all[1].cancel_request.is_some())
        .await;
    assert!(
        other.records()[1].tls.is_some(),
        "in the other backend's mode"
    );
    assert_eq!(default.records().len(), 0);
    session.close().await;
    stage.finish().await;
}

#[tokio::test]
async fn a_cancel_with_an_unknown_key_goes_to_all_backends_up_to_eight_addresses() {
    let pki = Pki::new();
    let mut all = Vec::new();
    for _ in 0..10 {
        all.push(FakeBackend::builder().listen().await);
    }
    let mut options = pki.options(&[&all[0], &all[1]]);
    for (index, backend) in all[2..].iter().enumerate() {
        add_backend(&mut options, &format!("b{index}"), backend);
    }
    let stage = Stage::start(&options).await;
    cancel(&stage, 7, b"who?").await;
    for backend in &all[..8] {
        backend.closed(0).await;
    }
    let counts: Vec<_> = all.iter().map(cancels).collect();
    assert_eq!(counts, [1, 1, 1, 1, 1, 1, 1, 1, 0, 0]);
    stage.finish().await;
}

#[tokio::test]
async fn a_cancel_with_an_unknown_key_goes_to_its_hosts_backend_alone() {
    let pki = Pki::new();
    let default = FakeBackend::builder().listen().await;
    let other = FakeBackend::builder().listen().await;
    let mut options = pki.options(&[&default]);
    add_backend(&mut options, "other", &other);
    tls(&mut options).hosts = vec![
        host(&pki, "with.example", Some("other")).1,
        host(&pki, "without.example", None).1,
    ];
    let mut stage = Stage::start(&options).await;
    for (name, expected) in [
        ("with.example", (0, 1)),
        ("without.example", (1, 2)),
        ("localhost", (2, 3)),
    ] {
        cancel_in_tls(&stage, &pki.client().with_server_name(name)).await;
        assert_eq!((cancels(&default), cancels(&other)), expected, "{name}");
    }
    stage.finish().await;
    // A hook may have led the session elsewhere.
    options.routes[0].hooks.route = true;
    stage = Stage::start(&options).await;
    cancel_in_tls(&stage, &pki.client().with_server_name("with.example")).await;
    assert_eq!((cancels(&default), cancels(&other)), (3, 4));
    stage.finish().await;
}

async fn cancel_in_tls(stage: &Stage, tls: &TlsClient) {
    let mut client = stage.shake(Arrival::default(), tls).await;
    let packet = encode_cancel_request(7, b"who?");
    client.frontend.send(&packet).await.unwrap();
    client.frontend.read_to_end().await;
}

#[tokio::test]
async fn a_backend_that_is_not_there_keeps_the_routes_from_being_replaced() {
    let pki = Pki::new();
    let backend = FakeBackend::builder().listen().await;
    let options = pki.options(&[&backend]);
    let stage = Stage::start(&options).await;
    let mut by_rule = options.clone();
    by_rule.routes[0].rules = vec![rule(None, Some("*"), "nowhere")];
    let mut by_host = options.clone();
    tls(&mut by_host).hosts = vec![host(&pki, "a.example", Some("nowhere")).1];
    for (wrong, path) in [
        (by_rule, "route[0].backend"),
        (by_host, "listener.host[0].backend"),
    ] {
        let error = stage.plane.reload(&wrong.routes).unwrap_err();
        assert!(
            error.to_string().contains("no backend \"nowhere\""),
            "{error}"
        );
        let RouteProblem::Tls(problem) = error.source else {
            panic!("{error}");
        };
        assert_eq!(problem.path(), path);
    }
    stage.login(&pki.client()).await.close().await;
    stage.finish().await;
}
