//! Phase *authenticate*: what passes unchanged, what is noted, and what is refused before the first ReadyForQuery.

use std::sync::Arc;

use pgtls_core::{CloseReason, DataPlaneOptions, FaultSide, Phase};
use pgtls_testkit::{
    BackendBehaviour, EncryptionAnswer, Ending, FakeBackend, messages, server_config,
};

use crate::stage::{Arrival, Client, Pki, STARTUP, Stage};

const PLUS: &str = "SCRAM-SHA-256-PLUS";
const WITHOUT: &str = "SCRAM-SHA-256";

async fn behaving(pki: &Pki, behaviour: BackendBehaviour) -> (FakeBackend, Stage) {
    let backend = pki.tls_backend().behaviour(behaviour).listen().await;
    let stage = Stage::start(&pki.tls_options(&[&backend])).await;
    (backend, stage)
}

#[tokio::test]
async fn a_login_passes_unchanged_until_ready_for_query() {
    let pki = Pki::new();
    let key = [7; 32];
    for byte_by_byte in [false, true] {
        let mut builder = pki
            .tls_backend()
            .key_data(99, &key)
            .parameter("pgtls", "was here");
        if byte_by_byte {
            builder = builder.byte_by_byte();
        }
        let backend = builder.listen().await;
        let stage = Stage::start(&pki.tls_options(&[&backend])).await;
        let mut client = stage.knock(Arrival::default(), &pki.client()).await;
        let login = client.frontend.read_until_ready().await.unwrap();
        let tags: Vec<_> = login.iter().map(|message| message.tag).collect();
        assert_eq!(tags, b"RSSSKZ");
        assert_eq!(login[3].body, b"pgtls\0was here\0");
        assert_eq!(login[4].body, [&99_u32.to_be_bytes()[..], &key].concat());
        client.echo("select 1").await;
        client.close().await;
        stage.finish().await;
    }
}

#[tokio::test]
async fn what_the_backend_sends_along_with_ready_for_query_reaches_the_client() {
    let pki = Pki::new();
    let login = [
        messages::authentication_ok(),
        messages::backend_key_data(1, b"key!"),
        messages::ready_for_query(),
        messages::message(b'A', b"\0\0\0\x01channel\0payload\0"),
        messages::message(b'N', b"half a notice")[..9].to_vec(),
    ]
    .concat();
    let (_backend, stage) = behaving(&pki, BackendBehaviour::StallLogin(login.clone())).await;
    let mut client = stage
        .knock(Arrival::default().within(1000), &pki.client())
        .await;
    let received = client.frontend.read_exact(login.len()).await.unwrap();
    assert_eq!(received, login);
    client.close().await;
    stage.finish().await;
}

/// What the backend's -PLUS offer comes to, when the client takes `mechanism`.
async fn choose(
    options: &DataPlaneOptions,
    pki: &Pki,
    mechanism: &str,
) -> (Client, Stage, Vec<u8>) {
    let stage = Stage::start(options).await;
    let mut client = stage.knock(Arrival::default(), &pki.client()).await;
    let offer = client.frontend.read_message().await.unwrap();
    assert_eq!(offer.tag, b'R');
    let response = messages::sasl_initial_response(mechanism, b"p=tls-server-end-point,,n=,r=x");
    // In pieces: the mechanism is known only with the whole message.
    for piece in response.chunks(7) {
        client.frontend.send(piece).await.unwrap();
    }
    (client, stage, response)
}

#[tokio::test]
async fn channel_binding_with_two_different_certificates_is_told_28000_and_never_reaches_the_backend()
 {
    let pki = Pki::new();
    let sasl = BackendBehaviour::OfferSasl(vec![PLUS, WITHOUT]);
    let backend = pki.tls_backend().behaviour(sasl).listen().await;
    let options = pki.tls_options(&[&backend]);
    let (mut client, stage, _) = choose(&options, &pki, PLUS).await;
    let fatal = client.fatal().await;
    assert_eq!(fatal.sqlstate, "28000");
    assert!(fatal.text.contains("channel binding"));
    assert!(
        fatal
            .hint
            .is_some_and(|hint| hint.contains("channel_binding=disable"))
    );
    let id = client.id;
    drop(client);
    let report = stage
        .ended(id, CloseReason::ChannelBindingConflict, Phase::Authenticate)
        .await;
    assert_eq!(report.sqlstate, Some("28000"));
    assert_eq!(stage.snapshot().routes[0].channel_binding_conflicts, 1);
    let record = backend.closed(0).await;
    assert_eq!(
        record.received_bytes, 0,
        "the client's proof stayed with us"
    );
    stage.finish().await;
}

#[tokio::test]
async fn without_channel_binding_scram_passes_whatever_the_certificates() {
    let pki = Pki::new();
    let sasl = BackendBehaviour::OfferSasl(vec![PLUS, WITHOUT]);
    let backend = pki.tls_backend().behaviour(sasl).listen().await;
    let (client, stage, response) = choose(&pki.tls_options(&[&backend]), &pki, WITHOUT).await;
    let whole = u64::try_from(response.len()).unwrap();
    let records = backend
        .wait_until(|all| all[0].received_bytes == whole)
        .await;
    assert_eq!(records[0].received, response);
    drop(client);
    stage.finish().await;
}

#[tokio::test]
async fn channel_binding_passes_with_the_same_certificate_on_both_legs() {
    let pki = Pki::new();
    let config = Arc::new(server_config(&pki.listener));
    let backend = FakeBackend::builder()
        .encryption(EncryptionAnswer::Accept(config))
        .behaviour(BackendBehaviour::OfferSasl(vec![PLUS]))
        .listen()
        .await;
    let (client, stage, response) = choose(&pki.tls_options(&[&backend]), &pki, PLUS).await;
    backend.wait_until(|all| all[0].received == response).await;
    drop(client);
    stage.finish().await;
}

#[tokio::test]
async fn channel_binding_is_left_to_the_backend_when_its_leg_is_plaintext() {
    let pki = Pki::new();
    let sasl = BackendBehaviour::OfferSasl(vec![PLUS]);
    let backend = FakeBackend::builder().behaviour(sasl).listen().await;
    let (client, stage, response) = choose(&pki.options(&[&backend]), &pki, PLUS).await;
    backend.wait_until(|all| all[0].received == response).await;
    drop(client);
    stage.finish().await;
}

/// libpq ends a connection without TLS on which it is offered.
#[tokio::test]
async fn channel_binding_is_not_offered_to_a_client_without_tls() {
    let pki = Pki::new();
    let sasl = BackendBehaviour::OfferSasl(vec![PLUS, WITHOUT]);
    let backend = pki.tls_backend().behaviour(sasl).listen().await;
    let stage = Stage::start(&pki.tls_options(&[&backend])).await;
    let mut client = stage.arrive(Arrival::plain()).await;
    client.frontend.startup(&STARTUP).await.unwrap();
    let offer = client.frontend.read_message().await.unwrap();
    assert_eq!(offer.tag, b'R');
    assert_eq!(offer.body, b"\0\0\0\x0aSCRAM-SHA-256\0\0");
    let response = messages::sasl_initial_response(WITHOUT, b"n,,n=,r=x");
    client.frontend.send(&response).await.unwrap();
    backend.wait_until(|all| all[0].received == response).await;
    drop(client);
    stage.finish().await;
}

#[tokio::test]
async fn a_backend_that_closes_or_resets_at_startup_is_told_08006() {
    let pki = Pki::new();
    for (behaviour, reason) in [
        (BackendBehaviour::CloseAtStartup, CloseReason::BackendClosed),
        (BackendBehaviour::ResetAtStartup, CloseReason::BackendReset),
    ] {
        // Plaintext behind: with TLS a close leaves the ticket unread, which makes it a reset.
        let backend = FakeBackend::builder().behaviour(behaviour).listen().await;
        let stage = Stage::start(&pki.options(&[&backend])).await;
        let mut client = stage.knock(Arrival::default(), &pki.client()).await;
        let fatal = client.fatal().await;
        assert_eq!(
            (fatal.sqlstate.as_str(), fatal.ending),
            ("08006", Ending::CloseNotify)
        );
        let id = client.id;
        drop(client);
        let report = stage.ended(id, reason, Phase::Authenticate).await;
        assert_eq!(report.fault_side, Some(FaultSide::Backend));
        assert_eq!(report.sqlstate, Some("08006"));
        stage.finish().await;
    }
}

#[tokio::test]
async fn a_refused_login_passes_unchanged() {
    let pki = Pki::new();
    let error = messages::error_response("FATAL", "28P01", "password authentication failed");
    let (_backend, stage) = behaving(&pki, BackendBehaviour::RefuseLogin(error.clone())).await;
    let mut client = stage.knock(Arrival::default(), &pki.client()).await;
    let (received, ending) = client.frontend.read_to_end().await;
    assert_eq!((received, ending), (error, Ending::CloseNotify));
    let id = client.id;
    client.frontend.half_close().await.unwrap();
    drop(client);
    let report = stage
        .ended(id, CloseReason::BackendClosed, Phase::Authenticate)
        .await;
    assert_eq!(report.sqlstate, None, "the words were the backend's");
    stage.finish().await;
}

#[tokio::test]
async fn the_words_of_a_server_that_cannot_fork_pass_unchanged() {
    let pki = Pki::new();
    let words = b"Ecould not fork new process for connection: Cannot allocate memory\n\0".to_vec();
    let (_backend, stage) = behaving(&pki, BackendBehaviour::RefuseLogin(words.clone())).await;
    let mut client = stage.knock(Arrival::default(), &pki.client()).await;
    let (received, _) = client.frontend.read_to_end().await;
    assert_eq!(received, words);
    drop(client);
    stage.finish().await;
}

#[tokio::test]
async fn a_backend_that_never_answers_is_told_57014_when_the_login_time_is_over() {
    let pki = Pki::new();
    let (backend, stage) = behaving(&pki, BackendBehaviour::SilentLogin).await;
    let arrival = Arrival::default().within(200);
    let mut client = stage.knock(arrival, &pki.client()).await;
    let fatal = client.fatal().await;
    assert_eq!(
        (fatal.sqlstate.as_str(), fatal.ending),
        ("57014", Ending::CloseNotify)
    );
    let id = client.id;
    drop(client);
    let report = stage
        .ended(id, CloseReason::LoginTimeout, Phase::Authenticate)
        .await;
    assert_eq!(report.sqlstate, Some("57014"));
    backend.closed(0).await;
    stage.finish().await;
}

#[tokio::test]
async fn the_login_timeout_puts_no_message_into_the_middle_of_the_backends() {
    let pki = Pki::new();
    let half = messages::parameter_status("server_version", "18.0")[..12].to_vec();
    let (_backend, stage) = behaving(&pki, BackendBehaviour::StallLogin(half.clone())).await;
    let arrival = Arrival::default().within(200);
    let mut client = stage.knock(arrival, &pki.client()).await;
    let (received, _) = client.frontend.read_to_end().await;
    let id = client.id;
    drop(client);
    let report = stage.report(id).await;
    assert_eq!(report.reason, CloseReason::LoginTimeout);
    assert_eq!(received, half, "nothing behind half a message");
    assert_eq!(report.sqlstate, None);
    stage.finish().await;
}

#[tokio::test]
async fn a_client_that_leaves_during_the_login_ends_the_backend_too() {
    let pki = Pki::new();
    let (backend, stage) = behaving(&pki, BackendBehaviour::SilentLogin).await;
    let mut client = stage.knock(Arrival::default(), &pki.client()).await;
    backend
        .wait_until(|all| all.iter().any(|one| one.startup_packet.is_some()))
        .await;
    client.frontend.half_close().await.unwrap();
    let record = backend.closed(0).await;
    assert_eq!(record.ending, Some(Ending::CloseNotify));
    let id = client.id;
    drop(client);
    stage
        .ended(id, CloseReason::ClientClosed, Phase::Authenticate)
        .await;
    stage.finish().await;
}

/// How a client leaves.
#[derive(Clone, Copy, Debug)]
enum Leave {
    Fin,
    CloseNotify,
    FinWithoutCloseNotify,
}

/// libpq leaves when it is asked for a password that it has not got, and PostgreSQL then closes the connection without a word.
#[tokio::test]
async fn a_client_that_leaves_before_ready_for_query_is_not_the_backends_fault() {
    let pki = Pki::new();
    let password = [
        messages::authentication_ok(),
        messages::parameter_status("server_version", "18.0"),
    ];
    for said in [
        messages::authentication_sasl(&[WITHOUT]),
        messages::message(b'R', b"\0\0\0\x05salt"),
        password.concat(),
    ] {
        for leave in [Leave::Fin, Leave::CloseNotify, Leave::FinWithoutCloseNotify] {
            for in_tls in [false, true] {
                leaves_in_the_login(&pki, &said, leave, in_tls).await;
            }
        }
    }
}

/// A client reads what the backend has `said` in the login and leaves, of a backend that closes only then.
async fn leaves_in_the_login(pki: &Pki, said: &[u8], leave: Leave, in_tls: bool) {
    let builder = if in_tls {
        pki.tls_backend()
    } else {
        FakeBackend::builder()
    };
    let behaviour = BackendBehaviour::StallLogin(said.to_vec());
    let backend = builder.behaviour(behaviour).listen().await;
    let stage = Stage::start(&if in_tls {
        pki.tls_options(&[&backend])
    } else {
        pki.options(&[&backend])
    })
    .await;
    let mut client = if let Leave::Fin = leave {
        let mut client = stage.arrive(Arrival::plain()).await;
        client.frontend.startup(&STARTUP).await.unwrap();
        client
    } else {
        stage.knock(Arrival::default(), &pki.client()).await
    };
    let received = client.frontend.read_exact(said.len()).await.unwrap();
    assert_eq!(received, said);
    if let Leave::FinWithoutCloseNotify = leave {
        let connection = client.frontend.connection_mut();
        connection.fin_without_close_notify().await.unwrap();
    } else {
        client.frontend.half_close().await.unwrap();
    }
    let (rest, _) = client.frontend.read_to_end().await;
    assert_eq!(rest, b"", "it has left: {leave:?}");
    let id = client.id;
    drop(client);
    let report = stage
        .ended(id, CloseReason::ClientClosed, Phase::Authenticate)
        .await;
    assert_eq!(
        (report.fault_side, report.sqlstate, report.message),
        (None, None, None)
    );
    stage.finish().await;
}
