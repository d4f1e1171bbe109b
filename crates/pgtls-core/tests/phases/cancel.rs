//! CancelRequests: to which backend they go, over what, and with which keys.

use std::sync::Arc;
use std::time::Duration;

use pgtls_core::fault::{Lookup, answer_lookups};
use pgtls_core::{
    BackendAddress, CloseReason, DataPlaneOptions, FaultSide, Phase, RouteRule, Sslmode,
};
use pgtls_testkit::{
    BackendBehaviour, CancelSeen, CertificateSpec, DEADLINE, EncryptionAnswer, Ending, FakeBackend,
    messages, server_config,
};
use pgtls_tls::options::BackendVerification;
use pgtls_wire::encode_cancel_request;

use crate::stage::{Arrival, Client, Pki, STARTUP, Stage};

const KEY: [u8; 4] = [0xde, 0xad, 0xbe, 0xef];

/// Sends a CancelRequest in plaintext and waits for the close that answers it.
async fn cancel(stage: &Stage, process_id: u32, key: &[u8]) -> u64 {
    let packet = encode_cancel_request(process_id, key);
    let mut client = stage.arrive(Arrival::plain().with_prefix(&packet)).await;
    assert_eq!(
        client.frontend.read_to_end().await,
        (Vec::new(), Ending::Fin)
    );
    client.id
}

fn cancels(backend: &FakeBackend) -> Vec<CancelSeen> {
    backend
        .records()
        .into_iter()
        .filter_map(|record| record.cancel_request)
        .collect()
}

#[tokio::test]
async fn a_cancel_goes_to_the_one_backend_of_two_that_serves_the_session() {
    let pki = Pki::new();
    // The first one lets nobody in over TLS, so that sessions go to the second.
    let first = FakeBackend::builder()
        .encryption(EncryptionAnswer::Close)
        .listen()
        .await;
    let second = pki.tls_backend().listen().await;
    let stage = Stage::start(&pki.tls_options(&[&first, &second])).await;
    let client = stage.login(&pki.client()).await;
    assert_eq!(first.records().len(), 1);
    let id = cancel(&stage, 4242, &KEY).await;
    let report = stage
        .ended(id, CloseReason::CancelForwarded, Phase::Route)
        .await;
    assert!(report.is_cancel);
    assert_eq!((report.user, report.sqlstate), (None, None));
    second
        .wait_until(|all| all.len() == 2 && all[1].cancel_request.is_some())
        .await;
    assert!(
        second.records()[1].tls.is_some(),
        "a cancel follows the sslmode"
    );
    assert_eq!(
        first.records().len(),
        1,
        "the other backend heard nothing of it"
    );
    client.close().await;
    stage.finish().await;
}

#[tokio::test]
async fn a_cancel_finds_its_session_even_after_a_reload_put_another_backend_first() {
    let pki = Pki::new();
    let old = FakeBackend::builder().listen().await;
    let new = FakeBackend::builder().key_data(1, b"new!").listen().await;
    let stage = Stage::start(&pki.options(&[&old])).await;
    let client = stage.login(&pki.client()).await;
    stage
        .plane
        .reload(&pki.options(&[&new, &old]).routes)
        .unwrap();
    cancel(&stage, 4242, &KEY).await;
    old.wait_until(|all| all.iter().any(|one| one.cancel_request.is_some()))
        .await;
    assert_eq!(new.records().len(), 0);
    client.close().await;
    stage.finish().await;
}

#[tokio::test]
async fn an_unknown_key_goes_to_every_address_of_the_route() {
    let pki = Pki::new();
    let first = FakeBackend::builder().listen().await;
    let second = FakeBackend::builder().listen().await;
    let stage = Stage::start(&pki.options(&[&first, &second])).await;
    let id = cancel(&stage, 7, b"who?").await;
    assert_eq!(stage.report(id).await.reason, CloseReason::CancelForwarded);
    let expected = CancelSeen {
        process_id: 7,
        secret_key: b"who?".to_vec(),
    };
    for backend in [&first, &second] {
        backend.closed(0).await;
        assert_eq!(cancels(backend), std::slice::from_ref(&expected));
    }
    stage.finish().await;
}

#[tokio::test]
async fn an_unknown_key_reaches_its_server_though_another_one_does_not_answer() {
    let pki = Pki::new();
    let silent = FakeBackend::builder()
        .encryption(EncryptionAnswer::Silence)
        .listen()
        .await;
    let second = pki.tls_backend().listen().await;
    let mut options = pki.tls_options(&[&silent, &second]);
    options.routes[0].backend.connect_timeout = DEADLINE * 10;
    let stage = Stage::start(&options).await;
    let packet = encode_cancel_request(7, b"who?");
    let arrival = Arrival::plain().with_prefix(&packet).within(600_000);
    let mut client = stage.arrive(arrival).await;
    second
        .wait_until(|all| all.iter().any(|one| one.cancel_request.is_some()))
        .await;
    silent.wait_until(|all| !all.is_empty()).await;
    silent.hang_up();
    client.frontend.read_to_end().await;
    stage
        .ended(client.id, CloseReason::CancelForwarded, Phase::Route)
        .await;
    stage.finish().await;
}

/// A server that does not even answer an SSLRequest.
async fn silent_server() -> FakeBackend {
    let silence = EncryptionAnswer::Silence;
    FakeBackend::builder().encryption(silence).listen().await
}

/// A route to a silent server and, with the id 2, one to a server that answers.
fn two_routes(pki: &Pki, silent: &FakeBackend, answering: &FakeBackend) -> DataPlaneOptions {
    let mut options = pki.tls_options(&[silent]);
    options.routes[0].backend.connect_timeout = DEADLINE * 10;
    let mut other = pki.options(&[answering]).routes.remove(0);
    other.route_id = 2;
    options.routes.push(other);
    options
}

/// Requests with unknown keys that the silent server holds up.
async fn hang(stage: &Stage, silent: &FakeBackend, count: usize) -> Vec<Client> {
    let packet = encode_cancel_request(7, b"who?");
    let mut clients = Vec::new();
    for _ in 0..count {
        let arrival = Arrival::plain().with_prefix(&packet).within(600_000);
        clients.push(stage.arrive(arrival).await);
    }
    silent.wait_until(|all| all.len() == count).await;
    clients
}

/// Why the request of connection `id` was not sent on.
async fn refusal(stage: &Stage, id: u64) -> String {
    let report = stage.ended(id, CloseReason::CancelFailed, Phase::Route);
    report.await.message.unwrap()
}

async fn release(silent: &FakeBackend, clients: Vec<Client>) {
    silent.hang_up();
    for mut client in clients {
        client.frontend.read_to_end().await;
    }
}

#[tokio::test]
async fn no_more_than_32_requests_with_unknown_keys_of_a_route_are_on_their_way_and_none_waits_long()
 {
    let pki = Pki::new();
    let silent = silent_server().await;
    let answering = FakeBackend::builder().listen().await;
    let options = two_routes(&pki, &silent, &answering);
    let stage = Stage::start(&options).await;
    let clients = hang(&stage, &silent, 32).await;
    let packet = encode_cancel_request(7, b"who?");
    let arrival = Arrival::plain().with_prefix(&packet).on_route(2);
    let mut elsewhere = stage.arrive(arrival).await;
    elsewhere.frontend.read_to_end().await;
    let report = stage.report(elsewhere.id).await;
    assert_eq!(report.reason, CloseReason::CancelForwarded);
    // Those of the route that goes on count.
    stage.plane.reload(&options.routes).unwrap();
    let next = cancel(&stage, 7, b"who?").await;
    let why = refusal(&stage, next).await;
    assert!(why.contains("none of them came to its end"), "{why}");
    assert_eq!(silent.records().len(), 32);
    release(&silent, clients).await;
    stage.finish().await;
}

#[tokio::test]
async fn who_came_over_a_limit_does_not_wait() {
    let pki = Pki::new();
    let silent = silent_server().await;
    let answering = FakeBackend::builder().listen().await;
    let mut options = two_routes(&pki, &silent, &answering);
    options.max_client_conn = 32;
    let stage = Stage::start(&options).await;
    let clients = hang(&stage, &silent, 32).await;
    let next = cancel(&stage, 7, b"who?").await;
    let why = refusal(&stage, next).await;
    assert!(
        why.contains("over a limit of connections does not wait"),
        "{why}"
    );
    release(&silent, clients).await;
    stage.finish().await;
}

#[tokio::test]
async fn over_the_limits_a_known_key_finds_a_slot_however_many_unknown_ones_hang() {
    let pki = Pki::new();
    let silent = silent_server().await;
    let answering = FakeBackend::builder().listen().await;
    let mut options = two_routes(&pki, &silent, &answering);
    options.max_client_conn = 1;
    options.max_concurrent_handshakes = 2;
    let stage = Stage::start(&options).await;
    let arrival = Arrival::default().on_route(2);
    let session = stage.enter(arrival, Some(&pki.client())).await;
    let clients = hang(&stage, &silent, 1).await;
    let next = cancel(&stage, 7, b"who?").await;
    let why = refusal(&stage, next).await;
    assert!(
        why.contains("over a limit of connections have no place"),
        "{why}"
    );
    let packet = encode_cancel_request(4242, &KEY);
    let arrival = Arrival::plain().with_prefix(&packet).on_route(2);
    let mut known = stage.arrive(arrival).await;
    known.frontend.read_to_end().await;
    let report = stage.report(known.id).await;
    assert_eq!(report.reason, CloseReason::CancelForwarded);
    assert_eq!(cancels(&answering).len(), 1);
    drop(known);
    release(&silent, clients).await;
    session.close().await;
    stage.finish().await;
}

/// More backends of the first route, each with these servers.
fn add_backends(options: &mut DataPlaneOptions, servers: &[&[&FakeBackend]]) {
    let route = &mut options.routes[0];
    for (index, servers) in servers.iter().enumerate() {
        let mut backend = route.backend.clone();
        backend.addresses = servers
            .iter()
            .map(|one| crate::stage::address_of(one))
            .collect();
        route.backends.push((format!("named-{index}"), backend));
    }
}

#[tokio::test]
async fn an_unknown_key_comes_to_a_server_once_however_many_backends_and_names_lead_there() {
    let pki = Pki::new();
    let first = FakeBackend::builder().listen().await;
    let second = FakeBackend::builder().listen().await;
    let mut options = pki.options(&[&first]);
    add_backends(&mut options, &[&[&second, &first], &[&second]]);
    let named = BackendAddress::Tcp {
        host: "localhost".to_owned(),
        port: first.tcp_address().port(),
    };
    options.routes[0].backends[1].1.addresses.push(named);
    let stage = Stage::start(&options).await;
    let id = cancel(&stage, 7, b"who?").await;
    assert_eq!(stage.report(id).await.reason, CloseReason::CancelForwarded);
    assert_eq!((cancels(&first).len(), cancels(&second).len()), (1, 1));
    stage.finish().await;
}

#[tokio::test]
async fn an_unknown_key_takes_the_way_of_another_backend_where_the_first_one_leads_nowhere() {
    let pki = Pki::new();
    let server = pki.tls_backend().listen().await;
    let mut options = pki.tls_options(&[&server]);
    add_backends(&mut options, &[&[&server]]);
    let elsewhere = Pki::new();
    let strict = &mut options.routes[0].backend.tls;
    strict.verification = BackendVerification::Ca;
    strict.root_cert = Some(elsewhere.root_cert());
    let stage = Stage::start(&options).await;
    let id = cancel(&stage, 7, b"who?").await;
    assert_eq!(stage.report(id).await.reason, CloseReason::CancelForwarded);
    assert_eq!(cancels(&server).len(), 1);
    stage.finish().await;
}

#[tokio::test]
async fn a_server_that_does_no_tls_is_tried_in_3_ways_at_most_and_once_in_each() {
    let pki = Pki::new();
    for (is_alike, expected) in [(true, 1), (false, 3)] {
        let close = EncryptionAnswer::Close;
        let server = FakeBackend::builder().encryption(close).listen().await;
        let mut options = pki.tls_options(&[&server]);
        let alone = [&server];
        add_backends(&mut options, &[&alone[..]; 4]);
        if !is_alike {
            let backends = &mut options.routes[0].backends;
            backends[0].1.sends_proxy_header = true;
            backends[1].1.tls.send_server_name = false;
            backends[2].1.tls.verification = BackendVerification::Ca;
            backends[2].1.tls.root_cert = Some(pki.root_cert());
        }
        let stage = Stage::start(&options).await;
        let id = cancel(&stage, 7, b"who?").await;
        assert_eq!(stage.report(id).await.reason, CloseReason::CancelFailed);
        assert_eq!(server.records().len(), expected);
        stage.finish().await;
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_in_time_is_tried_in_no_other_way() {
    let pki = Pki::new();
    let silent = silent_server().await;
    let mut options = pki.tls_options(&[&silent]);
    options.routes[0].backend.connect_timeout = Duration::from_millis(300);
    add_backends(&mut options, &[&[&silent]]);
    let other = &mut options.routes[0].backends[0].1;
    other.connect_timeout = DEADLINE;
    other.tls.send_server_name = false;
    let stage = Stage::start(&options).await;
    let id = cancel(&stage, 7, b"who?").await;
    let why = refusal(&stage, id).await;
    assert!(why.contains("connect_timeout of 300 ms passed"), "{why}");
    assert_eq!(silent.records().len(), 1);
    stage.finish().await;
}

#[tokio::test]
async fn an_unknown_key_takes_the_way_of_the_name_that_the_servers_certificate_has() {
    let pki = Pki::new();
    let identity = pki.ca.issue(&CertificateSpec::server(&["cancel.test"]));
    let answer = EncryptionAnswer::Accept(Arc::new(server_config(&identity)));
    let server = FakeBackend::builder().encryption(answer).listen().await;
    let mut options = pki.tls_options(&[&server]);
    let tls = &mut options.routes[0].backend.tls;
    tls.verification = BackendVerification::Full;
    tls.root_cert = Some(pki.root_cert());
    let lookup = Lookup::InTurn(vec![server.tcp_address()]);
    answer_lookups("cancel.test", lookup);
    let host = "cancel.test".to_owned();
    let named = BackendAddress::Tcp { host, port: 5432 };
    options.routes[0].backend.addresses.push(named);
    for _ in 0..2 {
        options.routes[0].backend.addresses.reverse();
        let stage = Stage::start(&options).await;
        let id = cancel(&stage, 7, b"who?").await;
        assert_eq!(stage.report(id).await.reason, CloseReason::CancelForwarded);
        stage.finish().await;
    }
    assert_eq!(cancels(&server).len(), 2);
}

#[tokio::test]
async fn of_more_than_8_servers_those_of_rules_come_before_those_that_nobody_is_led_to() {
    let pki = Pki::new();
    let mut servers = Vec::new();
    for _ in 0..10 {
        servers.push(FakeBackend::builder().listen().await);
    }
    let [first, rest @ ..] = &servers[..] else {
        panic!("there are ten");
    };
    let mut options = pki.options(&[first]);
    let lists: Vec<_> = rest.iter().map(|one| vec![one]).collect();
    let lists: Vec<_> = lists.iter().map(Vec::as_slice).collect();
    add_backends(&mut options, &lists);
    options.routes[0].rules.push(RouteRule {
        user: Some("app".to_owned()),
        database: None,
        backend: "named-8".to_owned(),
    });
    let stage = Stage::start(&options).await;
    cancel(&stage, 7, b"who?").await;
    let counts: Vec<_> = servers.iter().map(|one| cancels(one).len()).collect();
    assert_eq!(counts, [1, 1, 1, 1, 1, 1, 1, 0, 0, 1]);
    stage.finish().await;
}

#[tokio::test]
async fn long_keys_of_protocol_3_2_are_forwarded_whole() {
    let pki = Pki::new();
    for length in [32, 256] {
        let key: Vec<u8> = (0..=u8::MAX).cycle().take(length).collect();
        let backend = FakeBackend::builder().key_data(9, &key).listen().await;
        let bystander = FakeBackend::builder().listen().await;
        let mut options = pki.options(&[&backend]);
        let stage = Stage::start(&options).await;
        let client = stage.login(&pki.client()).await;
        options.routes[0]
            .backend
            .addresses
            .insert(0, crate::stage::address_of(&bystander));
        stage.plane.reload(&options.routes).unwrap();
        cancel(&stage, 9, &key).await;
        backend
            .wait_until(|all| all.iter().any(|one| one.cancel_request.is_some()))
            .await;
        assert_eq!(cancels(&backend)[0].secret_key, key);
        assert_eq!(bystander.records().len(), 0, "the key was known");
        client.close().await;
        stage.finish().await;
    }
}

#[tokio::test]
async fn a_cancel_that_reaches_nobody_is_reported_and_answered_by_the_close_alone() {
    let pki = Pki::new();
    let refusing = FakeBackend::builder().listen().await;
    let mut options = pki.options(&[&refusing]);
    options.routes[0].backend.sslmode = Sslmode::Require;
    let stage = Stage::start(&options).await;
    let id = cancel(&stage, 4242, &KEY).await;
    let report = stage
        .ended(id, CloseReason::CancelFailed, Phase::Route)
        .await;
    assert_eq!(report.fault_side, Some(FaultSide::Backend));
    assert_eq!(report.sqlstate, None);
    assert_eq!(cancels(&refusing), []);
    stage.finish().await;
}

#[tokio::test]
async fn a_key_is_forgotten_with_its_session_and_belongs_to_its_route_alone() {
    let pki = Pki::new();
    let backend = FakeBackend::builder().listen().await;
    let elsewhere = FakeBackend::builder().listen().await;
    let mut options = pki.options(&[&backend]);
    let mut other = options.routes[0].clone();
    other.route_id = 2;
    other.backend.addresses = vec![crate::stage::address_of(&elsewhere)];
    options.routes.push(other);
    let stage = Stage::start(&options).await;
    let client = stage.login(&pki.client()).await;
    let packet = encode_cancel_request(4242, &KEY);
    let arrival = Arrival::plain().with_prefix(&packet).on_route(2);
    let mut foreign = stage.arrive(arrival).await;
    foreign.frontend.read_to_end().await;
    assert_eq!(cancels(&backend), [], "a route's keys are its own");
    assert_eq!(cancels(&elsewhere).len(), 1);
    drop(foreign);
    client.close().await;
    stage.wait_for(|now| now.live_sessions == 0).await;
    // Known no longer: it goes to all addresses, of which there is one.
    cancel(&stage, 4242, &KEY).await;
    backend
        .wait_until(|all| all.iter().any(|one| one.cancel_request.is_some()))
        .await;
    stage.finish().await;
}

#[tokio::test]
async fn a_cancel_inside_tls_is_forwarded_while_its_session_goes_on() {
    let pki = Pki::new();
    let backend = pki.tls_backend().listen().await;
    let stage = Stage::start(&pki.tls_options(&[&backend])).await;
    for tls in pki.clients_by_version() {
        let mut session = stage.login(&tls).await;
        let mut canceller: Client = stage.shake(Arrival::default(), &tls).await;
        let packet = encode_cancel_request(4242, &KEY);
        canceller.frontend.send(&packet).await.unwrap();
        let (answer, ending) = canceller.frontend.read_to_end().await;
        assert_eq!((answer.as_slice(), ending), (&b""[..], Ending::CloseNotify));
        session.echo("select 'still here'").await;
        drop(canceller);
        session.close().await;
    }
    assert_eq!(cancels(&backend).len(), 2);
    let startup = pgtls_testkit::messages::startup_message(0, &STARTUP);
    assert_eq!(
        backend.records()[0].startup_packet.as_deref(),
        Some(&startup[..])
    );
    stage.finish().await;
}

#[tokio::test]
async fn a_drain_cancels_the_statements_of_the_sessions_it_cuts_and_of_no_others() {
    let pki = Pki::new();
    let silent = BackendBehaviour::Discard;
    let backend = pki.tls_backend().behaviour(silent).listen().await;
    let stage = Stage::start(&pki.tls_options(&[&backend])).await;
    let mut busy = stage.login(&pki.client()).await;
    let mut idle = stage.login(&pki.client()).await;
    let sleeping = messages::query("select pg_sleep(600)");
    busy.frontend.send(&sleeping).await.unwrap();
    backend
        .wait_until(|all| all.iter().any(|one| one.received_bytes > 0))
        .await;
    let drained = stage.drain(Duration::ZERO).await;
    assert_eq!(busy.fatal().await.sqlstate, "57P01");
    assert_eq!(idle.fatal().await.sqlstate, "57P01");
    drop((busy, idle));
    assert_eq!(drained.await.unwrap().cut, 2);
    backend
        .wait_until(|all| all.iter().any(|one| one.cancel_request.is_some()))
        .await;
    assert_eq!(cancels(&backend).len(), 1);
    stage.finish().await;
}
