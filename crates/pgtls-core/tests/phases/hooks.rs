//! Questions in the middle of a connection: when each is asked, and what becomes of its answer.

use std::io;
use std::sync::Arc;

use pgtls_core::{
    Answer, CloseReason, DataPlaneOptions, Event, FaultSide, HookSet, Phase, Question,
};
use pgtls_testkit::{
    CertificateSpec, EncryptionAnswer, Ending, FakeBackend, Issued, StepwiseTls, TlsClient,
    messages, server_config,
};
use pgtls_tls::options::ClientCertificate;
use pgtls_wire::encode_cancel_request;

use crate::stage::{Arrival, Pki, ROUTE, STARTUP, Stage, eventually};

/// No hook at all.
const NONE: HookSet = HookSet {
    client_hello: false,
    client_certificate: false,
    backend_certificate: false,
    route: false,
};

const CLIENT_HELLO: HookSet = HookSet {
    client_hello: true,
    ..NONE
};

const CLIENT_CERTIFICATE: HookSet = HookSet {
    client_certificate: true,
    ..NONE
};

const BACKEND_CERTIFICATE: HookSet = HookSet {
    backend_certificate: true,
    ..NONE
};

/// The hook called `route`.
const ROUTE_HOOK: HookSet = HookSet {
    route: true,
    ..NONE
};

/// A data plane with these hooks, TLS on both legs, and what it needs to live.
async fn asking(hooks: HookSet) -> (Pki, FakeBackend, Stage) {
    let pki = Pki::new();
    let backend = pki.tls_backend().listen().await;
    let stage = Stage::start(&options(&pki, &backend, hooks)).await;
    (pki, backend, stage)
}

fn options(pki: &Pki, backend: &FakeBackend, hooks: HookSet) -> DataPlaneOptions {
    let mut options = pki.tls_options(&[backend]);
    options.routes[0].hooks = hooks;
    options
}

impl Stage {
    /// Questions so far.
    fn questions(&self) -> Vec<(u64, Question)> {
        let question = |event| match event {
            Event::Asked {
                question_id,
                question,
                route_id,
                ..
            } => {
                assert_eq!(route_id, ROUTE);
                Some((question_id, question))
            }
            Event::ConnectionsClosed(_)
            | Event::CommonNameUsed { .. }
            | Event::TlsEstablished { .. }
            | Event::WorkerRestarted { .. }
            | Event::ThreadRestarted { .. } => None,
        };
        self.events().into_iter().filter_map(question).collect()
    }

    /// Waits for question number `index`, from 0, and answers it.
    async fn answer(&self, index: usize, answer: Answer) -> Question {
        let (id, question) = eventually(|| self.questions().get(index).cloned()).await;
        assert!(self.plane.answer(id, answer));
        question
    }
}

/// A client's certificate, and a client that shows it.
fn showing_client(pki: &Pki) -> TlsClient {
    pki.client()
        .with_identity(pki.ca.issue(&CertificateSpec::client("alice")))
}

#[tokio::test]
async fn without_hooks_nothing_is_asked() {
    let (pki, _backend, stage) = asking(NONE).await;
    stage.login(&pki.client()).await.close().await;
    assert_eq!(stage.questions(), []);
    assert!(!stage.plane.answer(1, Answer::Accept));
    stage.finish().await;
}

/// What a whole login over TLS on both legs is asked, accepting everything.
async fn questions_of_a_login(pki: &Pki) -> Vec<Question> {
    let backend = pki.tls_backend().listen().await;
    let all = HookSet {
        client_hello: true,
        client_certificate: true,
        backend_certificate: true,
        route: true,
    };
    let mut options = options(pki, &backend, all);
    pki.verify_clients(&mut options, ClientCertificate::Request);
    let stage = Stage::start(&options).await;
    let tls = showing_client(pki).with_alpn(&["postgresql"]);
    let answers = async {
        let mut questions = Vec::new();
        for index in 0..4 {
            questions.push(stage.answer(index, Answer::Accept).await);
        }
        questions
    };
    let arrival = Arrival::default().from("192.0.2.7:5");
    let (client, questions) = tokio::join!(stage.enter(arrival, Some(&tls)), answers);
    client.close().await;
    stage.finish().await;
    questions
}

#[tokio::test]
async fn every_question_is_asked_in_its_turn_and_tells_what_is_known_by_then() {
    let pki = Pki::new();
    let questions = questions_of_a_login(&pki).await;
    let [
        hello,
        Question::ClientCertificate {
            certificate: Some(shown),
            ..
        },
        Question::Route {
            user,
            database,
            alpn,
            certificate,
            ..
        },
        Question::BackendCertificate {
            certificate: theirs,
            ..
        },
    ] = &questions[..]
    else {
        panic!("{questions:#?}");
    };
    let expected = Question::ClientHello {
        client_addr: "192.0.2.7:5".to_owned(),
        server_name: Some("localhost".to_owned()),
        alpn: vec!["postgresql".to_owned()],
    };
    assert_eq!(*hello, expected);
    assert!(shown.subject.contains("alice"), "{shown:?}");
    assert!(shown.not_after > shown.not_before);
    assert_eq!(user.as_deref(), Some("alice"));
    assert_eq!(database.as_deref(), Some("orders"));
    assert_eq!(alpn.as_deref(), Some("postgresql"));
    assert_eq!(certificate.as_ref(), Some(shown));
    assert_eq!(theirs.der, pki.backend.chain()[0].as_ref());
}

/// Knocks with the only hook refusing; the SQLSTATE, and the log's message.
async fn refused_by(hooks: HookSet, fault: FaultSide, phase: Phase) -> (String, String) {
    let (pki, backend, stage) = asking(hooks).await;
    let mut client = stage.knock(Arrival::default(), &pki.client()).await;
    let refusal = Answer::Refuse("not on a Saturday".to_owned());
    stage.answer(0, refusal).await;
    let fatal = client.fatal().await;
    assert!(!format!("{fatal:?}").contains("Saturday"), "{fatal:?}");
    let report = stage
        .ended(client.id, CloseReason::HookRefused, phase)
        .await;
    assert_eq!(report.fault_side, Some(fault));
    assert!(
        backend
            .records()
            .iter()
            .all(|record| record.startup_packet.is_none()),
        "something was forwarded"
    );
    stage.finish().await;
    (fatal.sqlstate, report.message.unwrap())
}

#[tokio::test]
async fn a_refused_client_is_told_28000_and_the_log_the_reason() {
    let (sqlstate, message) = refused_by(CLIENT_CERTIFICATE, FaultSide::Client, Phase::Route).await;
    assert_eq!(sqlstate, "28000");
    assert_eq!(
        message,
        "refused by the onClientCertificate hook: not on a Saturday"
    );
}

#[tokio::test]
async fn a_refused_backend_gets_no_startup_message() {
    let (sqlstate, message) =
        refused_by(BACKEND_CERTIFICATE, FaultSide::Backend, Phase::Authenticate).await;
    assert_eq!(sqlstate, "28000");
    assert!(message.contains("onBackendCertificate"), "{message}");
}

#[tokio::test]
async fn a_refused_route_connects_nowhere() {
    let (sqlstate, _) = refused_by(ROUTE_HOOK, FaultSide::Client, Phase::Backend).await;
    assert_eq!(sqlstate, "28000");
}

#[tokio::test]
async fn a_client_hello_that_is_refused_gets_the_alert_access_denied() {
    let (pki, _backend, stage) = asking(CLIENT_HELLO).await;
    let client = stage.arrive(Arrival::default()).await;
    let id = client.id;
    let tls = pki.client();
    let (shaken, _) = tokio::join!(
        client.frontend.start_tls(&tls),
        stage.answer(0, Answer::Refuse("no".to_owned()))
    );
    let error: io::Error = shaken.err().unwrap();
    assert!(error.to_string().contains("AccessDenied"), "{error}");
    stage
        .ended(id, CloseReason::HookRefused, Phase::ClientHandshake)
        .await;
    stage.finish().await;
}

#[tokio::test]
async fn a_client_hello_in_pieces_is_asked_about_once_and_loses_no_byte() {
    let (pki, _backend, stage) = asking(CLIENT_HELLO).await;
    let length = StepwiseTls::new(&pki.client()).outgoing().len();
    for (index, cut) in [0, 1, 5, 9, 60, length - 1, length].into_iter().enumerate() {
        let mut session = StepwiseTls::new(&pki.client());
        let hello = session.outgoing();
        let cut = cut.min(hello.len());
        let arrival = Arrival::default().with_prefix(&hello[..cut]);
        let mut client = stage.arrive(arrival).await;
        for byte in &hello[cut..] {
            client.frontend.send(&[*byte]).await.unwrap();
        }
        stage.answer(index, Answer::Accept).await;
        crate::stage::shake_by_hand(&mut client.frontend, &mut session).await;
        assert_eq!(stage.questions().len(), index + 1);
    }
    stage.finish().await;
}

#[tokio::test]
async fn what_is_no_client_hello_fails_as_without_a_hook() {
    let (_pki, _backend, stage) = asking(CLIENT_HELLO).await;
    let mut client = stage.arrive(Arrival::default()).await;
    client
        .frontend
        .send(b"\x16\x03\x01\x00\x05hello")
        .await
        .unwrap();
    stage
        .ended(
            client.id,
            CloseReason::ClientTlsHandshakeFailed,
            Phase::ClientHandshake,
        )
        .await;
    assert_eq!(stage.questions(), []);
    stage.finish().await;
}

#[tokio::test]
async fn a_client_hello_may_be_answered_with_other_protocols() {
    let (pki, _backend, stage) = asking(CLIENT_HELLO).await;
    let tls = pki.client().with_alpn(&["other", "postgresql"]);
    let answer = Answer::Identity {
        server_name: None,
        alpn: Some(vec!["other".to_owned()]),
    };
    let (client, _) = tokio::join!(stage.login(&tls), stage.answer(0, answer));
    let id = client.id;
    client.close().await;
    let report = stage.report(id).await;
    assert_eq!(report.client_tls.unwrap().alpn.as_deref(), Some("other"));
    stage.finish().await;
}

#[tokio::test]
async fn an_answer_that_never_comes_ends_with_the_login_timeout() {
    let (pki, _backend, stage) = asking(CLIENT_CERTIFICATE).await;
    let arrival = Arrival::default().within(2_000);
    let mut client = stage.knock(arrival, &pki.client()).await;
    assert_eq!(client.fatal().await.sqlstate, "57014");
    let (id, _) = stage.questions()[0].clone();
    assert!(!stage.plane.answer(id, Answer::Accept), "still waiting");
    stage
        .ended(client.id, CloseReason::LoginTimeout, Phase::Route)
        .await;
    stage.finish().await;
}

#[tokio::test]
async fn a_cancel_request_of_a_refused_client_is_not_forwarded() {
    let (pki, backend, stage) = asking(CLIENT_CERTIFICATE).await;
    let mut client = stage.shake(Arrival::default(), &pki.client()).await;
    let cancel = encode_cancel_request(7, b"key!");
    client.frontend.send(&cancel).await.unwrap();
    stage.answer(0, Answer::Refuse("no".to_owned())).await;
    stage
        .ended(client.id, CloseReason::HookRefused, Phase::Route)
        .await;
    assert!(backend.records().is_empty());
    stage.finish().await;
}

#[tokio::test]
async fn a_client_that_leaves_while_a_hook_thinks_is_forgotten_by_its_deadline() {
    let (pki, _backend, stage) = asking(ROUTE_HOOK).await;
    let arrival = Arrival::default().within(2_000);
    let mut client = stage.shake(arrival, &pki.client()).await;
    let startup = messages::startup_message(0, &STARTUP);
    client.frontend.send(&startup).await.unwrap();
    eventually(|| stage.questions().first().cloned()).await;
    let id = client.id;
    assert!(matches!(
        client.close().await,
        Ending::Fin | Ending::CloseNotify
    ));
    stage.report(id).await;
    stage.finish().await;
}

#[tokio::test]
async fn a_client_hello_that_cannot_be_asked_about_gets_no_session() {
    let (pki, _backend, stage) = asking(CLIENT_HELLO).await;
    // A connection would let this warning pass; the reader of the ClientHello doesn't.
    let warning = [21, 3, 1, 0, 2, 1, 90];
    let client = stage.arrive(Arrival::default().with_prefix(&warning)).await;
    let id = client.id;
    let shaken = client.frontend.start_tls(&pki.client()).await;
    assert!(shaken.is_err());
    stage
        .ended(
            id,
            CloseReason::ClientTlsHandshakeFailed,
            Phase::ClientHandshake,
        )
        .await;
    assert_eq!(stage.questions(), []);
    stage.finish().await;
}

#[tokio::test]
async fn a_client_hello_of_tiny_records_is_asked_about_or_gets_no_session() {
    let (pki, _backend, stage) = asking(CLIENT_HELLO).await;
    let names: Vec<String> = (0..1500).map(|number| format!("{number:0>40}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut session = StepwiseTls::new(&pki.client().with_alpn(&names));
    let hello = session.outgoing();
    let mut client = stage.arrive(Arrival::default()).await;
    let id = client.id;
    for byte in hello.chunks(16_389).flat_map(|record| &record[5..]) {
        if client
            .frontend
            .send(&[22, 3, 1, 0, 1, *byte])
            .await
            .is_err()
        {
            break;
        }
    }
    let report = stage.report(id).await;
    assert_eq!(report.reason, CloseReason::ClientTlsHandshakeFailed);
    assert_eq!(stage.questions(), []);
    stage.finish().await;
}

#[tokio::test]
async fn a_client_without_tls_is_asked_about_and_has_no_certificate() {
    let (_pki, _backend, stage) = asking(HookSet {
        client_certificate: true,
        ..CLIENT_HELLO
    })
    .await;
    let mut client = stage.arrive(Arrival::plain()).await;
    client.frontend.startup(&STARTUP).await.unwrap();
    let asked = stage
        .answer(0, Answer::Refuse("no certificate".to_owned()))
        .await;
    assert!(matches!(
        asked,
        Question::ClientCertificate {
            certificate: None,
            ..
        }
    ));
    assert_eq!(client.fatal().await.sqlstate, "28000");
    stage
        .ended(client.id, CloseReason::HookRefused, Phase::Route)
        .await;
    stage.finish().await;
}

#[tokio::test]
async fn nobody_is_asked_about_a_client_that_is_turned_away_anyway() {
    let pki = Pki::new();
    let backend = pki.tls_backend().listen().await;
    let hooks = CLIENT_CERTIFICATE;
    let mut options = options(&pki, &backend, hooks);
    options.max_client_conn = 1;
    options.routes[0].listener.require_tls = true;
    let map = pki.path().join("ident.map");
    std::fs::write(&map, "m alice alice\n").unwrap();
    pki.verify_clients(&mut options, ClientCertificate::Request);
    let tls = options.routes[0].listener.tls.as_mut().unwrap();
    tls.user_map_file = Some(map);
    let stage = Stage::start(&options).await;
    // Without the TLS that is required, and without the certificate that a user is looked up by.
    let mut plain = stage.arrive(Arrival::plain()).await;
    plain.frontend.startup(&STARTUP).await.unwrap();
    assert_eq!(plain.fatal().await.sqlstate, "28000");
    stage
        .ended(plain.id, CloseReason::TlsRequired, Phase::Route)
        .await;
    stage.wait_for(|now| now.live_sessions == 0).await;
    let mut unmapped = stage.knock(Arrival::default(), &pki.client()).await;
    assert_eq!(unmapped.fatal().await.sqlstate, "28000");
    let unmapped = stage.report(unmapped.id).await;
    assert_eq!(unmapped.reason, CloseReason::ClientCertificateMissing);
    assert_eq!(stage.questions(), []);
    stage.wait_for(|now| now.live_sessions == 0).await;
    // Over the limit.
    let showing = showing_client(&pki);
    let (first, _) = tokio::join!(stage.login(&showing), stage.answer(0, Answer::Accept));
    let mut over = stage.knock(Arrival::default(), &showing).await;
    assert_eq!(over.fatal().await.sqlstate, "53300");
    assert_eq!(stage.questions().len(), 1);
    let report = stage
        .ended(over.id, CloseReason::TooManyConnections, Phase::Route)
        .await;
    assert_eq!(report.user.as_deref(), Some("alice"));
    drop(over);
    // Its CancelRequest would be served, so it is asked about.
    let mut cancelling = stage.shake(Arrival::default(), &showing).await;
    let cancel = encode_cancel_request(7, b"key!");
    cancelling.frontend.send(&cancel).await.unwrap();
    stage.answer(1, Answer::Refuse("no".to_owned())).await;
    stage
        .ended(cancelling.id, CloseReason::HookRefused, Phase::Route)
        .await;
    first.close().await;
    stage.finish().await;
}

#[tokio::test]
async fn an_answer_to_another_question_refuses() {
    let (pki, _backend, stage) = asking(CLIENT_CERTIFICATE).await;
    let mut client = stage.knock(Arrival::default(), &pki.client()).await;
    stage
        .answer(0, Answer::Backend("somewhere".to_owned()))
        .await;
    assert_eq!(client.fatal().await.sqlstate, "28000");
    stage
        .ended(client.id, CloseReason::HookRefused, Phase::Route)
        .await;
    stage.finish().await;
}

/// A certificate with dates that webpki, which is not asked about them, doesn't mind, and nobody can read.
fn of_month_13(mut issued: Issued) -> Issued {
    let mut der = issued.cert_der.to_vec();
    for index in 0..der.len() - 8 {
        match der[index..index + 2] {
            // UTCTime, YYMM…
            [0x17, 0x0d] => der[index + 4..index + 6].copy_from_slice(b"13"),
            // GeneralizedTime, YYYYMM…
            [0x18, 0x0f] => der[index + 6..index + 8].copy_from_slice(b"13"),
            _ => {}
        }
    }
    issued.cert_der = der.into();
    issued
}

#[tokio::test]
async fn a_backend_whose_certificate_cannot_be_read_is_refused_unasked() {
    let pki = Pki::new();
    let odd = of_month_13(pki.ca.issue(&CertificateSpec::localhost()));
    let backend = FakeBackend::builder()
        .encryption(EncryptionAnswer::Accept(Arc::new(server_config(&odd))))
        .listen()
        .await;
    let hooks = BACKEND_CERTIFICATE;
    let stage = Stage::start(&options(&pki, &backend, hooks)).await;
    let mut client = stage.knock(Arrival::default(), &pki.client()).await;
    assert_eq!(client.fatal().await.sqlstate, "28000");
    let report = stage
        .ended(client.id, CloseReason::HookRefused, Phase::Authenticate)
        .await;
    assert!(report.message.unwrap().contains("can't be read"));
    assert_eq!(stage.questions(), []);
    assert!(backend.records()[0].startup_packet.is_none());
    stage.finish().await;
}
