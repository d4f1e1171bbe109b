//! What a backend is told of the client: PROXY headers, and its address in `application_name`.

use std::time::Duration;

use pgtls_core::{DataPlaneOptions, RoleOptions, Sslmode, WantedRole};
use pgtls_testkit::{EncryptionAnswer, FakeBackend, FakeBackendBuilder, ServerRole, messages};
use pgtls_wire::{Parsed, StartupPacket, encode_cancel_request, parse_startup_packet};

use crate::stage::{Arrival, Pki, Stage};

/// PROXY, TCP over IPv4, 192.0.2.7:4711; the stage's local address is of no interest here.
const CLIENT: &str = "192.0.2.7:4711";
const TOLD: [u8; 8] = [0x21, 0x11, 0, 12, 192, 0, 2, 7];
const LOCAL: [u8; 4] = [0x20, 0, 0, 0];

fn proxied(pki: &Pki, backend: &FakeBackend) -> DataPlaneOptions {
    let mut options = pki.options(&[backend]);
    options.routes[0].backend.sends_proxy_header = true;
    options
}

fn is_told(header: Option<&Vec<u8>>) -> bool {
    header.is_some_and(|header| header.starts_with(&TOLD) && header[12..14] == [0x12, 0x67])
}

async fn told_by_a_session(backend: FakeBackendBuilder, sslmode: Sslmode) {
    let pki = Pki::new();
    let backend = backend.behind_proxy().listen().await;
    let mut options = proxied(&pki, &backend);
    options.routes[0].backend.sslmode = sslmode;
    let stage = Stage::start(&options).await;
    let arrival = Arrival::default().from(CLIENT);
    let mut client = stage.enter(arrival, Some(&pki.client())).await;
    client.echo("hello").await;
    client.close().await;
    let records = backend.records();
    assert!(records.iter().all(|one| is_told(one.proxy_header.as_ref())));
    let is_tls = records.last().unwrap().tls.is_some();
    assert_eq!(is_tls, sslmode == Sslmode::Require);
    stage.finish().await;
}

#[tokio::test]
async fn a_session_begins_with_a_header_in_plaintext() {
    told_by_a_session(FakeBackend::builder(), Sslmode::Disable).await;
}

#[tokio::test]
async fn a_session_begins_with_a_header_before_its_ssl_request() {
    told_by_a_session(Pki::new().tls_backend(), Sslmode::Require).await;
}

#[tokio::test]
async fn a_session_begins_with_a_header_again_when_prefer_falls_back() {
    told_by_a_session(
        FakeBackend::builder().encryption(EncryptionAnswer::Refuse),
        Sslmode::Prefer,
    )
    .await;
    let refusal = messages::error_response("FATAL", "28000", "no pg_hba.conf entry");
    let hostnossl = Pki::new().tls_backend().refuse_in_tls(&refusal);
    told_by_a_session(hostnossl, Sslmode::Prefer).await;
}

#[tokio::test]
async fn a_cancel_request_tells_the_client_that_sent_it() {
    let pki = Pki::new();
    let backend = FakeBackend::builder().behind_proxy().listen().await;
    let stage = Stage::start(&proxied(&pki, &backend)).await;
    let packet = encode_cancel_request(1, b"none");
    let arrival = Arrival::plain().with_prefix(&packet).from(CLIENT);
    let mut client = stage.arrive(arrival).await;
    client.frontend.read_to_end().await;
    let records = backend
        .wait_until(|all| all.iter().any(|one| one.cancel_request.is_some()))
        .await;
    assert!(is_told(records[0].proxy_header.as_ref()));
    stage.finish().await;
}

#[tokio::test]
async fn a_probe_speaks_for_itself() {
    let pki = Pki::new();
    let role = ServerRole::primary();
    let backend = FakeBackend::builder()
        .role(&role)
        .behind_proxy()
        .listen()
        .await;
    let mut options = proxied(&pki, &backend);
    options.routes[0].backend.roles = Some(RoleOptions {
        wanted: WantedRole::Primary,
        probe_user: "probe".to_owned(),
        probe_password_file: None,
        probe_database: "postgres".to_owned(),
    });
    options.routes[0].backend.connect_timeout = Duration::from_mins(1);
    let stage = Stage::start(&options).await;
    let records = backend.wait_until(|all| !all.is_empty() && all[0].startup_packet.is_some());
    assert_eq!(records.await[0].proxy_header.as_deref(), Some(&LOCAL[..]));
    stage.finish().await;
}

#[tokio::test]
async fn the_clients_address_is_appended_to_its_application_name_and_nothing_is_miscounted() {
    let pki = Pki::new();
    let backend = pki.tls_backend().listen().await;
    for sslmode in [Sslmode::Disable, Sslmode::Require, Sslmode::Prefer] {
        let mut options = pki.options(&[&backend]);
        options.routes[0].backend.sslmode = sslmode;
        let plain = Stage::start(&options).await;
        let client = plain.enter(Arrival::default(), Some(&pki.client())).await;
        let id = client.id;
        client.close().await;
        let bytes_in = plain.report(id).await.bytes_in;
        plain.finish().await;
        options.routes[0].backend.adds_host_to_application_name = true;
        let stage = Stage::start(&options).await;
        let arrival = Arrival::default().from(CLIENT);
        let mut client = stage.enter(arrival, Some(&pki.client())).await;
        client.echo("still in step").await;
        let id = client.id;
        client.close().await;
        let records = backend.records();
        let packet = records.last().and_then(|one| one.startup_packet.clone());
        let packet = packet.unwrap();
        let Ok(Parsed::Packet {
            packet: StartupPacket::StartupMessage(message),
            ..
        }) = parse_startup_packet(&packet)
        else {
            panic!("no StartupMessage");
        };
        let name = message.application_name().unwrap();
        assert!(name.ends_with(b" - 192.0.2.7:4711"), "{name:?}");
        let report = stage.report(id).await;
        // A query has six bytes beside its text.
        assert_eq!(report.bytes_in, bytes_in + 6 + 13);
        assert!(
            report
                .application_name
                .is_none_or(|own| !own.contains("192"))
        );
        stage.finish().await;
    }
}
