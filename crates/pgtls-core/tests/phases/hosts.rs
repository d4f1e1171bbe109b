//! Phase *backend* with several servers: their order, `load_balance_hosts`, `target_session_attrs`.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use pgtls_core::{
    BackendAddress, CloseReason, ConnectionReport, DataPlaneOptions, LoadBalanceHosts, Phase,
    RoleOptions, Sslnegotiation, WantedRole,
};
use pgtls_testkit::{
    BackendBehaviour, EncryptionAnswer, FakeBackend, ServerRole, messages, server_config,
    server_config_with_client_ca,
};
use pgtls_tls::options::{BackendVerification, TlsVersion};
use pgtls_wire::encode_cancel_request;

use crate::stage::{Arrival, Pki, Stage};

/// What a probe logs in with, in a fake backend that lets everybody in.
pub(crate) fn roles(wanted: WantedRole) -> RoleOptions {
    RoleOptions {
        wanted,
        probe_user: "probe".to_owned(),
        probe_password_file: None,
        probe_database: "postgres".to_owned(),
    }
}

pub(crate) fn wanting(wanted: WantedRole, mut options: DataPlaneOptions) -> DataPlaneOptions {
    options.routes[0].backend.roles = Some(roles(wanted));
    options
}

/// Logs one client in and out, and gives the report.
async fn session(stage: &Stage, pki: &Pki) -> ConnectionReport {
    let client = stage.login(&pki.client()).await;
    let id = client.id;
    client.close().await;
    stage.report(id).await
}

/// Where one session goes.
pub(crate) async fn destination(stage: &Stage, pki: &Pki) -> String {
    session(stage, pki).await.backend_addr.unwrap()
}

pub(crate) fn name(backend: &FakeBackend) -> String {
    backend.tcp_address().to_string()
}

pub(crate) async fn server(role: &ServerRole) -> FakeBackend {
    FakeBackend::builder().role(role).listen().await
}

/// The user that a record's StartupMessage names is the probes'.
fn is_probe(packet: Option<&Vec<u8>>) -> bool {
    packet.is_some_and(|bytes| bytes.windows(5).any(|window| window == b"probe"))
}

#[tokio::test]
async fn without_load_balancing_every_session_goes_to_the_first_server() {
    let pki = Pki::new();
    let [first, second] = [
        FakeBackend::builder().listen().await,
        FakeBackend::builder().listen().await,
    ];
    let stage = Stage::start(&pki.options(&[&first, &second])).await;
    for _ in 0..10 {
        assert_eq!(destination(&stage, &pki).await, name(&first));
    }
    stage.finish().await;
}

#[tokio::test]
async fn random_order_reaches_every_server_and_passes_over_the_dead() {
    let pki = Pki::new();
    let [first, second] = [
        FakeBackend::builder().listen().await,
        FakeBackend::builder().listen().await,
    ];
    let dead = FakeBackend::builder()
        .encryption(EncryptionAnswer::Close)
        .listen()
        .await;
    let mut options = pki.options(&[&first, &dead, &second]);
    options.routes[0].backend.load_balance_hosts = LoadBalanceHosts::Random;
    drop(dead);
    let stage = Stage::start(&options).await;
    let mut reached = HashSet::new();
    // One of the two is left out by chance once in 2^39 runs.
    for _ in 0..40 {
        reached.insert(destination(&stage, &pki).await);
    }
    assert_eq!(reached, HashSet::from([name(&first), name(&second)]));
    stage.finish().await;
}

#[tokio::test]
async fn random_order_holds_for_the_addresses_of_one_name_too() {
    let pki = Pki::new();
    let backend = FakeBackend::builder().listen().await;
    let mut options = pki.options(&[]);
    options.routes[0].backend.load_balance_hosts = LoadBalanceHosts::Random;
    options.routes[0].backend.addresses = vec![BackendAddress::Tcp {
        host: "localhost".to_owned(),
        port: backend.tcp_address().port(),
    }];
    let stage = Stage::start(&options).await;
    // Where the name stands for ::1 as well, nobody listens there.
    for _ in 0..8 {
        assert_eq!(destination(&stage, &pki).await, name(&backend));
    }
    stage.finish().await;
}

#[tokio::test]
async fn each_target_session_attrs_finds_its_server() {
    let pki = Pki::new();
    let standby = server(&ServerRole::standby()).await;
    let read_only = server(&ServerRole::read_only_primary()).await;
    let primary = server(&ServerRole::primary()).await;
    let backward = [&primary, &read_only, &standby];
    let forward = [&standby, &read_only, &primary];
    for (wanted, order, expected) in [
        (WantedRole::ReadWrite, forward, &primary),
        (WantedRole::ReadOnly, backward, &read_only),
        (WantedRole::Primary, forward, &read_only),
        (WantedRole::Standby, backward, &standby),
        (WantedRole::PreferStandby, backward, &standby),
    ] {
        let stage = Stage::start(&wanting(wanted, pki.options(&order))).await;
        for _ in 0..3 {
            assert_eq!(
                destination(&stage, &pki).await,
                name(expected),
                "{wanted:?}"
            );
        }
        stage.wait_for(|now| now.routes[0].probes_ok >= 3).await;
        stage.finish().await;
    }
}

#[tokio::test]
async fn prefer_standby_takes_a_primary_where_there_is_no_standby() {
    let pki = Pki::new();
    let primary = server(&ServerRole::primary()).await;
    let stage = Stage::start(&wanting(
        WantedRole::PreferStandby,
        pki.options(&[&primary]),
    ))
    .await;
    assert_eq!(destination(&stage, &pki).await, name(&primary));
    stage.finish().await;
}

#[tokio::test]
async fn random_order_draws_among_the_servers_of_the_wanted_role_only() {
    let pki = Pki::new();
    let primary = server(&ServerRole::primary()).await;
    let standbys = [
        server(&ServerRole::standby()).await,
        server(&ServerRole::standby()).await,
    ];
    let mut options = wanting(
        WantedRole::PreferStandby,
        pki.options(&[&primary, &standbys[0], &standbys[1]]),
    );
    options.routes[0].backend.load_balance_hosts = LoadBalanceHosts::Random;
    let stage = Stage::start(&options).await;
    let mut reached = HashSet::new();
    for _ in 0..40 {
        reached.insert(destination(&stage, &pki).await);
    }
    assert_eq!(reached, standbys.iter().map(name).collect());
    stage.finish().await;
}

#[tokio::test]
async fn after_a_failover_new_sessions_go_to_the_new_primary_and_old_ones_stay() {
    let pki = Pki::new();
    let roles = [ServerRole::primary(), ServerRole::standby()];
    let servers = [server(&roles[0]).await, server(&roles[1]).await];
    let options = pki.options(&[&servers[0], &servers[1]]);
    let stage = Stage::start(&wanting(WantedRole::ReadWrite, options)).await;
    let mut old = stage.login(&pki.client()).await;
    roles[0].demote();
    roles[1].promote();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while destination_or_none(&stage, &pki).await != Some(name(&servers[1])) {
        assert!(tokio::time::Instant::now() < deadline, "no failover");
    }
    old.echo("select 'still here'").await;
    old.close().await;
    stage.finish().await;
}

/// Where one session goes; none while no server fits.
async fn destination_or_none(stage: &Stage, pki: &Pki) -> Option<String> {
    let mut client = stage.knock(Arrival::default(), &pki.client()).await;
    if client.frontend.read_message().await.unwrap().tag == b'E' {
        client.frontend.read_to_end().await;
        return None;
    }
    client.frontend.read_until_ready().await.unwrap();
    let id = client.id;
    client.close().await;
    stage.report(id).await.backend_addr
}

#[tokio::test]
async fn when_no_server_fits_the_client_is_told_08001_and_the_log_libpqs_words() {
    let pki = Pki::new();
    let standby = server(&ServerRole::standby()).await;
    let primary = server(&ServerRole::primary()).await;
    for (wanted, backend, text, words) in [
        (
            WantedRole::ReadWrite,
            &standby,
            "accepts read-write sessions",
            "session is read-only",
        ),
        (
            WantedRole::ReadOnly,
            &primary,
            "is read-only",
            "session is not read-only",
        ),
        (
            WantedRole::Primary,
            &standby,
            "is a primary",
            "server is in hot standby mode",
        ),
        (
            WantedRole::Standby,
            &primary,
            "is a standby",
            "server is not in hot standby mode",
        ),
    ] {
        let stage = Stage::start(&wanting(wanted, pki.options(&[backend]))).await;
        let mut client = stage.knock(Arrival::default(), &pki.client()).await;
        let fatal = client.fatal().await;
        assert_eq!(fatal.sqlstate, "08001");
        assert!(fatal.text.ends_with(text), "{fatal:?}");
        let id = client.id;
        drop(client);
        let report = stage
            .ended(id, CloseReason::BackendUnreachable, Phase::Backend)
            .await;
        assert_eq!(report.message, Some(format!("{}: {words}", name(backend))));
        stage.finish().await;
    }
}

#[tokio::test]
async fn a_probe_that_is_refused_is_told_to_the_log_with_the_servers_reason() {
    let pki = Pki::new();
    let refusal = messages::error_response("FATAL", "28000", "no entry for probe");
    let backend = FakeBackend::builder()
        .behaviour(BackendBehaviour::RefuseLogin(refusal))
        .listen()
        .await;
    let stage = Stage::start(&wanting(WantedRole::Primary, pki.options(&[&backend]))).await;
    let mut client = stage.knock(Arrival::default(), &pki.client()).await;
    assert_eq!(client.fatal().await.sqlstate, "08006");
    let id = client.id;
    drop(client);
    let report = stage
        .ended(id, CloseReason::BackendUnreachable, Phase::Backend)
        .await;
    let message = report.message.unwrap();
    let expected = "the probe as \"probe\" failed: 28000: no entry for probe";
    assert!(message.ends_with(expected), "{message}");
    let counters = stage.snapshot().routes[0].clone();
    assert_eq!(counters.probes_ok, 0);
    assert!(counters.probes_failed >= 1);
    stage.finish().await;
}

#[tokio::test]
async fn a_server_that_says_nothing_keeps_a_session_from_the_next_no_longer_than_connect_timeout() {
    let pki = Pki::new();
    let silent = FakeBackend::builder()
        .behaviour(BackendBehaviour::SilentLogin)
        .listen()
        .await;
    let primary = server(&ServerRole::primary()).await;
    let mut options = wanting(WantedRole::Primary, pki.options(&[&silent, &primary]));
    options.routes[0].backend.connect_timeout = Duration::from_millis(400);
    let stage = Stage::start(&options).await;
    assert_eq!(destination(&stage, &pki).await, name(&primary));
    stage.wait_for(|now| now.routes[0].probes_failed > 0).await;
    stage.finish().await;
}

#[tokio::test]
async fn probes_say_goodbye_and_end_with_the_data_plane_and_with_their_route() {
    let pki = Pki::new();
    let backend = pki
        .tls_backend()
        .role(&ServerRole::primary())
        .listen()
        .await;
    let options = wanting(WantedRole::Primary, pki.tls_options(&[&backend]));
    let stage = Stage::start(&options).await;
    let record = backend.closed(0).await;
    assert!(is_probe(record.startup_packet.as_ref()) && record.tls.is_some());
    assert_eq!(record.received, messages::terminate());
    stage
        .plane
        .reload(&pki.tls_options(&[&backend]).routes)
        .unwrap();
    // A probe under way at the reload is cut off; none begins after it.
    stage.login(&pki.client()).await.close().await;
    let records = backend
        .wait_until(|all| all.iter().all(|one| one.is_closed))
        .await;
    stage.plane.reload(&options.routes).unwrap();
    let more = backend.wait_until(|all| all.len() > records.len()).await;
    assert!(
        is_probe(more[records.len()].startup_packet.as_ref())
            || more[records.len()].startup_packet.is_none()
    );
    stage.close().await;
    backend
        .wait_until(|all| all.iter().all(|one| one.is_closed))
        .await;
}

/// A backend with TLS that asks probes for their password in cleartext, and a data plane that verifies it so.
async fn asking_in_cleartext(pki: &Pki, verification: BackendVerification) -> (FakeBackend, Stage) {
    use std::os::unix::fs::PermissionsExt;
    let request = b"R\0\0\0\x08\0\0\0\x03".to_vec();
    let backend = pki
        .tls_backend()
        .behaviour(BackendBehaviour::StallLogin(request))
        .listen()
        .await;
    let file = pki.path().join("password");
    std::fs::write(&file, "secret\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let mut roles = roles(WantedRole::Primary);
    roles.probe_password_file = Some(file);
    let mut options = pki.tls_options(&[&backend]);
    options.routes[0].backend.roles = Some(roles);
    options.routes[0].backend.tls.verification = verification;
    options.routes[0].backend.tls.root_cert = Some(pki.root_cert());
    let stage = Stage::start(&options).await;
    (backend, stage)
}

#[tokio::test]
async fn a_probe_sends_its_password_in_the_clear_only_to_a_server_whose_certificate_was_verified() {
    let pki = Pki::new();
    let (backend, stage) = asking_in_cleartext(&pki, BackendVerification::None).await;
    let mut client = stage.knock(Arrival::default(), &pki.client()).await;
    client.fatal().await;
    let message = stage.report(client.id).await.message.unwrap();
    assert_eq!(backend.closed(0).await.received, b"", "{message}");
    let reason = "asks for the password in cleartext, and its certificate is not verified";
    assert!(message.contains(reason), "{message}");
    drop(client);
    stage.finish().await;
    for verified in [BackendVerification::Ca, BackendVerification::Full] {
        let (backend, stage) = asking_in_cleartext(&pki, verified).await;
        let password = b"p\0\0\0\x0bsecret\0";
        backend
            .wait_until(|all| all.iter().any(|one| one.received == password))
            .await;
        stage.finish().await;
    }
}

#[tokio::test]
async fn a_password_file_that_others_may_read_keeps_the_data_plane_as_it_is() {
    use std::os::unix::fs::PermissionsExt;
    let pki = Pki::new();
    let backend = server(&ServerRole::primary()).await;
    let stage = Stage::start(&pki.options(&[&backend])).await;
    let file = pki.path().join("password");
    std::fs::write(&file, "secret\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let mut options = wanting(WantedRole::Standby, pki.options(&[&backend]));
    let roles = options.routes[0].backend.roles.as_mut().unwrap();
    roles.probe_password_file = Some(file);
    let error = stage.plane.reload(&options.routes).unwrap_err().to_string();
    assert!(
        error.contains("probe_password_file") && error.contains("mode 0644"),
        "{error}"
    );
    assert_eq!(destination(&stage, &pki).await, name(&backend));
    stage.finish().await;
}

#[tokio::test]
async fn a_cancel_knows_its_server_whatever_the_order_and_an_unknown_key_goes_to_all_whatever_their_roles()
 {
    let pki = Pki::new();
    let primary = FakeBackend::builder()
        .role(&ServerRole::primary())
        .key_data(7, b"mine")
        .listen()
        .await;
    let standby = server(&ServerRole::standby()).await;
    let mut options = wanting(WantedRole::Primary, pki.options(&[&standby, &primary]));
    options.routes[0].backend.load_balance_hosts = LoadBalanceHosts::Random;
    let stage = Stage::start(&options).await;
    let client = stage.login(&pki.client()).await;
    let cancelled = |backend: &FakeBackend| {
        let records = backend.records();
        let requests = records.into_iter().filter_map(|one| one.cancel_request);
        requests.map(|one| one.process_id).collect::<Vec<_>>()
    };
    for (process_id, key) in [(7, b"mine"), (9, b"who?")] {
        let packet = encode_cancel_request(process_id, key);
        let mut cancel = stage.arrive(Arrival::plain().with_prefix(&packet)).await;
        cancel.frontend.read_to_end().await;
    }
    assert_eq!(cancelled(&primary), [7, 9]);
    assert_eq!(cancelled(&standby), [9]);
    client.close().await;
    stage.finish().await;
}

#[tokio::test]
async fn prefer_tries_a_server_whose_tls_fails_again_without_before_it_tries_the_next() {
    let pki = Pki::new();
    let demanding = Arc::new(server_config_with_client_ca(&pki.backend, &pki.ca));
    let first = FakeBackend::builder()
        .encryption(EncryptionAnswer::Accept(demanding))
        .listen()
        .await;
    let second = pki.tls_backend().listen().await;
    let mut options = pki.tls_options(&[&first, &second]);
    options.routes[0].backend.sslmode = pgtls_core::Sslmode::Prefer;
    options.routes[0].backend.tls.max_version = Some(TlsVersion::Tls12);
    let stage = Stage::start(&options).await;
    let report = session(&stage, &pki).await;
    assert_eq!(report.backend_addr, Some(name(&first)));
    assert!(report.backend_tls.is_none());
    // Where TLS is demanded, the next server is tried instead.
    options.routes[0].backend.sslmode = pgtls_core::Sslmode::Require;
    stage.plane.reload(&options.routes).unwrap();
    let report = session(&stage, &pki).await;
    assert_eq!(report.backend_addr, Some(name(&second)));
    assert!(report.backend_tls.is_some());
    stage.finish().await;
}

#[tokio::test]
async fn direct_tls_passes_over_servers_that_do_not_speak_it() {
    let pki = Pki::new();
    let plain = FakeBackend::builder().listen().await;
    let negotiating = pki.tls_backend().listen().await;
    let config = Arc::new(server_config(&pki.backend));
    let direct = FakeBackend::builder()
        .encryption(EncryptionAnswer::Direct(config))
        .listen()
        .await;
    let mut options = pki.tls_options(&[&plain, &negotiating, &direct]);
    options.routes[0].backend.sslnegotiation = Sslnegotiation::Direct;
    let stage = Stage::start(&options).await;
    assert_eq!(destination(&stage, &pki).await, name(&direct));
    assert!(!direct.records()[0].saw_ssl_request);
    stage.finish().await;
}
