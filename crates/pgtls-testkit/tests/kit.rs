//! The fake backend and the raw client against each other, so that a failure of a test that uses
//! them is never theirs.

#![allow(
    clippy::doc_markdown,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed expectation is a failed test; clippy exempts only #[test] functions"
)]

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use pgtls_testkit::{
    BackendBehaviour, CertificateSpec, EncryptionAnswer, Ending, FakeBackend, Flood, Frontend,
    KeyKind, StepwiseTls, TempDir, TestCa, TlsClient, Validity, messages, self_signed,
    server_config, server_config_with_client_ca,
};
use pgtls_wire::{BackendKeyData, encode_cancel_request};

fn encrypted(ca: &TestCa) -> EncryptionAnswer {
    EncryptionAnswer::Accept(Arc::new(server_config(
        &ca.issue(&CertificateSpec::localhost()),
    )))
}

async fn plain_login(backend: &FakeBackend) -> Frontend {
    let mut frontend = Frontend::connect(backend.tcp_address())
        .await
        .expect("a connection");
    frontend
        .startup(&[("user", "alice")])
        .await
        .expect("a startup");
    frontend.read_until_ready().await.expect("a login");
    frontend
}

async fn tls_login(backend: &FakeBackend, ca: &TestCa) -> Frontend {
    let tls = TlsClient::trusting(ca);
    Frontend::login(backend.tcp_address(), &tls, "alice")
        .await
        .expect("a login")
}

#[tokio::test]
async fn logs_in_over_tls_echoes_and_ends_with_close_notify_on_both_sides() {
    let ca = TestCa::new("test root");
    let backend = FakeBackend::builder()
        .encryption(encrypted(&ca))
        .listen()
        .await;
    let mut frontend = tls_login(&backend, &ca).await;
    frontend
        .send(&messages::query("select 1"))
        .await
        .expect("sent");
    assert_eq!(
        frontend.read_message().await.expect("an echo").body,
        b"select 1\0"
    );
    assert_eq!(
        frontend.close().await.expect("a close"),
        Ending::CloseNotify
    );
    let record = backend.closed(0).await;
    let tls = record.tls.expect("TLS");
    assert_eq!(tls.sni.as_deref(), Some("localhost"));
    assert_eq!(tls.alpn.as_deref(), Some("postgresql"));
    assert_eq!(tls.version, "TLSv1_3");
    assert_eq!(record.ending, Some(Ending::CloseNotify));
    assert!(record.saw_ssl_request);
    assert_eq!(
        record.startup_packet,
        Some(messages::startup_message(0, &[("user", "alice")]))
    );
}

#[tokio::test]
async fn everything_written_byte_by_byte_arrives_the_same() {
    let ca = TestCa::new("test root");
    let backend = FakeBackend::builder()
        .encryption(encrypted(&ca))
        .listen()
        .await;
    let mut frontend = Frontend::connect(backend.tcp_address())
        .await
        .expect("a connection");
    frontend.set_byte_by_byte(true);
    let mut frontend = frontend
        .negotiate_tls(&TlsClient::trusting(&ca))
        .await
        .expect("a handshake");
    frontend.startup(&[("user", "alice")]).await.expect("sent");
    frontend.read_until_ready().await.expect("a login");
    frontend
        .send(&messages::query("select 1"))
        .await
        .expect("sent");
    assert_eq!(frontend.read_message().await.expect("an echo").tag, b'Q');
}

#[tokio::test]
async fn serves_direct_tls_and_tls_1_2() {
    let ca = TestCa::new("test root");
    let config = Arc::new(server_config(&ca.issue(&CertificateSpec::localhost())));
    let direct = EncryptionAnswer::Direct(config);
    let backend = FakeBackend::builder().encryption(direct).listen().await;
    let tls = TlsClient::trusting(&ca)
        .with_versions(&[&rustls::version::TLS12])
        .without_sni();
    let frontend = Frontend::connect(backend.tcp_address())
        .await
        .expect("a connection");
    let mut frontend = frontend.start_tls(&tls).await.expect("a handshake");
    frontend.startup(&[("user", "alice")]).await.expect("sent");
    frontend.read_until_ready().await.expect("a login");
    let seen = backend.records()[0].tls.clone().expect("TLS");
    assert_eq!((seen.version.as_str(), seen.sni), ("TLSv1_2", None));
}

#[tokio::test]
async fn refuses_tls_and_goes_on_in_plaintext() {
    let backend = FakeBackend::builder().key_data(7, &[1; 32]).listen().await;
    let mut frontend = Frontend::connect(backend.tcp_address())
        .await
        .expect("a connection");
    assert_eq!(frontend.request_tls().await.expect("an answer"), b'N');
    frontend.startup(&[("user", "alice")]).await.expect("sent");
    let login = frontend.read_until_ready().await.expect("a login");
    let key = login
        .iter()
        .find(|message| message.tag == b'K')
        .expect("BackendKeyData");
    let key = BackendKeyData::parse(&key.body).expect("a valid key");
    assert_eq!((key.process_id, key.secret_key), (7, &[1; 32][..]));
    assert_eq!(frontend.close().await.expect("a close"), Ending::Fin);
    assert_eq!(backend.closed(0).await.ending, Some(Ending::Fin));
}

#[tokio::test]
async fn records_a_cancel_request_and_closes() {
    let backend = FakeBackend::builder().listen().await;
    let mut frontend = Frontend::connect(backend.tcp_address())
        .await
        .expect("a connection");
    frontend
        .send(&encode_cancel_request(7, &[9; 32]))
        .await
        .expect("sent");
    assert_eq!(frontend.read_to_end().await, (Vec::new(), Ending::Fin));
    let cancel = backend
        .closed(0)
        .await
        .cancel_request
        .expect("a CancelRequest");
    assert_eq!((cancel.process_id, cancel.secret_key), (7, vec![9; 32]));
}

#[tokio::test]
async fn stuffed_raw_and_absent_answers_to_an_ssl_request() {
    let ca = TestCa::new("test root");
    let config = Arc::new(server_config(&ca.issue(&CertificateSpec::localhost())));
    let answers = [
        (
            EncryptionAnswer::AcceptStuffed(config, b"stuffed".to_vec()),
            &b"Sstuffed"[..],
        ),
        (EncryptionAnswer::Raw(b"Egarbage".to_vec()), b"Egarbage"),
        (EncryptionAnswer::Close, b""),
    ];
    for (answer, expected) in answers {
        let backend = FakeBackend::builder().encryption(answer).listen().await;
        let mut frontend = Frontend::connect(backend.tcp_address())
            .await
            .expect("a connection");
        frontend.send(&pgtls_wire::SSL_REQUEST).await.expect("sent");
        frontend.half_close().await.expect("half closed");
        assert_eq!(frontend.read_to_end().await.0, expected);
    }
}

#[tokio::test]
async fn a_client_certificate_is_demanded_and_recorded() {
    let ca = TestCa::new("test root");
    let server = ca.issue(&CertificateSpec::localhost());
    let config = Arc::new(server_config_with_client_ca(&server, &ca));
    let answer = EncryptionAnswer::Accept(config);
    let backend = FakeBackend::builder().encryption(answer).listen().await;
    let client = ca
        .intermediate("test intermediate")
        .issue(&CertificateSpec::client("alice"));
    let leaf = client.cert_der.to_vec();
    let tls = TlsClient::trusting(&ca).with_identity(client);
    Frontend::login(backend.tcp_address(), &tls, "alice")
        .await
        .expect("a login");
    let seen = backend.records()[0].tls.clone().expect("TLS");
    assert_eq!(seen.client_certificate, Some(leaf));
    let without = TlsClient::trusting(&ca);
    let refused = Frontend::login(backend.tcp_address(), &without, "alice").await;
    refused.expect_err("a refusal");
    assert!(backend.closed(1).await.tls_error.is_some());
}

#[tokio::test]
async fn a_copy_out_flood_arrives_whole() {
    let ca = TestCa::new("test root");
    let flood = Flood {
        rows: 100_000,
        row_bytes: 100,
    };
    let backend = FakeBackend::builder()
        .encryption(encrypted(&ca))
        .behaviour(BackendBehaviour::CopyOutFlood(flood))
        .listen()
        .await;
    let mut frontend = tls_login(&backend, &ca).await;
    frontend
        .send(&messages::query("copy t to stdout"))
        .await
        .expect("sent");
    let copied = frontend.read_copy_out().await.expect("a COPY");
    assert_eq!(copied.payload_bytes, flood.payload_bytes());
    assert_eq!(copied.checksum, flood.checksum());
}

#[tokio::test]
async fn either_side_may_end_its_direction_and_go_on_reading() {
    let ca = TestCa::new("test root");
    for behaviour in [
        BackendBehaviour::HalfClose,
        BackendBehaviour::AnswerAfterEof(b"answer".to_vec()),
    ] {
        let answers = matches!(behaviour, BackendBehaviour::AnswerAfterEof(_));
        let builder = FakeBackend::builder()
            .encryption(encrypted(&ca))
            .behaviour(behaviour);
        let backend = builder.listen().await;
        let mut frontend = tls_login(&backend, &ca).await;
        if !answers {
            assert_eq!(
                frontend.read_to_end().await,
                (Vec::new(), Ending::CloseNotify)
            );
        }
        frontend.send(b"late").await.expect("sent");
        frontend.half_close().await.expect("half closed");
        let expected: &[u8] = if answers { b"answer" } else { b"" };
        let (bytes, ending) = frontend.read_to_end().await;
        assert_eq!((bytes.as_slice(), ending), (expected, Ending::CloseNotify));
        assert_eq!(backend.closed(0).await.received, b"late");
    }
}

#[tokio::test]
async fn resets_and_truncations_are_told_apart() {
    let ca = TestCa::new("test root");
    let cases = [
        (BackendBehaviour::AbruptReset, Ending::Reset),
        (BackendBehaviour::TruncateTls, Ending::TruncatedTls),
    ];
    for (behaviour, expected) in cases {
        let builder = FakeBackend::builder()
            .encryption(encrypted(&ca))
            .behaviour(behaviour);
        let backend = builder.listen().await;
        let mut frontend = tls_login(&backend, &ca).await;
        frontend.send(b"x").await.expect("sent");
        assert_eq!(frontend.read_to_end().await.1, expected);
    }
    let backend = FakeBackend::builder()
        .encryption(encrypted(&ca))
        .listen()
        .await;
    tls_login(&backend, &ca).await.reset().expect("a reset");
    assert_eq!(backend.closed(0).await.ending, Some(Ending::Reset));
    drop(tls_login(&backend, &ca).await);
    assert_eq!(backend.closed(1).await.ending, Some(Ending::TruncatedTls));
}

#[tokio::test]
async fn logins_can_be_refused_and_sasl_offered() {
    let refusal = messages::error_response("FATAL", "53300", "sorry, too many clients already");
    let builder = FakeBackend::builder();
    let backend = builder
        .behaviour(BackendBehaviour::RefuseLogin(refusal))
        .listen()
        .await;
    let mut frontend = Frontend::connect(backend.tcp_address())
        .await
        .expect("a connection");
    frontend.startup(&[("user", "alice")]).await.expect("sent");
    let error = frontend.read_until_ready().await.expect_err("a refusal");
    assert_eq!(
        error.to_string(),
        "FATAL 53300: sorry, too many clients already"
    );

    let offer = BackendBehaviour::OfferSasl(vec!["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]);
    let backend = FakeBackend::builder().behaviour(offer).listen().await;
    let mut frontend = Frontend::connect(backend.tcp_address())
        .await
        .expect("a connection");
    frontend.startup(&[("user", "alice")]).await.expect("sent");
    assert_eq!(frontend.read_message().await.expect("a request").tag, b'R');
    let response = messages::sasl_initial_response("SCRAM-SHA-256-PLUS", b"p=tls-server-end-point");
    frontend.send(&response).await.expect("sent");
    let records = backend.wait_until(|all| !all[0].received.is_empty()).await;
    let mechanism = pgtls_wire::sasl_initial_response_mechanism(&records[0].received[5..]);
    assert_eq!(mechanism, Some("SCRAM-SHA-256-PLUS"));
}

#[tokio::test]
async fn a_backend_listens_on_a_unix_socket_too_and_ends_when_dropped() {
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join(".s.PGSQL.5432");
    let backend = FakeBackend::builder().listen_unix(&path);
    let mut frontend = Frontend::connect_unix(&path).await.expect("a connection");
    frontend.startup(&[("user", "alice")]).await.expect("sent");
    frontend.read_until_ready().await.expect("a login");
    drop(backend);
    frontend.read_to_end().await;
}

#[tokio::test]
async fn dropping_a_backend_ends_sessions_that_never_read() {
    let builder = FakeBackend::builder().behaviour(BackendBehaviour::NeverRead);
    let backend = builder.listen().await;
    let mut frontend = plain_login(&backend).await;
    drop(backend);
    let (_, ending) = frontend.read_to_end().await;
    assert!(matches!(ending, Ending::Fin | Ending::Reset), "{ending:?}");
}

#[tokio::test]
async fn untrusted_expired_and_misnamed_certificates_fail_the_handshake() {
    let ca = TestCa::new("test root");
    let identities = [
        self_signed(&CertificateSpec::localhost()),
        TestCa::new("another root").issue(&CertificateSpec::localhost()),
        ca.issue(&CertificateSpec::localhost().with_validity(Validity::Expired)),
        ca.issue(&CertificateSpec::localhost().with_validity(Validity::NotYet)),
        ca.issue(&CertificateSpec::server(&["db.example"])),
        ca.issue(&CertificateSpec::client("localhost")),
    ];
    for identity in identities {
        let answer = EncryptionAnswer::Accept(Arc::new(server_config(&identity)));
        let backend = FakeBackend::builder().encryption(answer).listen().await;
        let address = backend.tcp_address();
        let trusting = TlsClient::trusting(&ca);
        Frontend::login(address, &trusting, "alice")
            .await
            .expect_err("a refusal");
        assert!(backend.closed(0).await.tls_error.is_some());
        let trusting_anyone = TlsClient::trusting_anyone();
        Frontend::login(address, &trusting_anyone, "alice")
            .await
            .expect("a login");
    }
}

#[tokio::test]
async fn every_kind_of_key_serves_and_its_file_is_private() {
    let ca = TestCa::new("test root");
    let directory = TempDir::new().expect("a directory");
    for key in [
        KeyKind::EcdsaP256,
        KeyKind::EcdsaP384,
        KeyKind::Rsa2048,
        KeyKind::Ed25519,
    ] {
        let issued = ca.issue(&CertificateSpec::localhost().with_key(key));
        let answer = EncryptionAnswer::Accept(Arc::new(server_config(&issued)));
        let backend = FakeBackend::builder().encryption(answer).listen().await;
        drop(tls_login(&backend, &ca).await);
        let files = issued.write_to(directory.path(), "server");
        let mode = std::fs::metadata(&files.key_file)
            .expect("a key file")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let written = std::fs::read_to_string(&files.cert_file).expect("a certificate file");
        assert_eq!(written, issued.cert_pem);
    }
}

#[tokio::test]
async fn a_client_driven_by_hand_decides_what_shares_a_segment() {
    let ca = TestCa::new("test root");
    let backend = FakeBackend::builder()
        .encryption(encrypted(&ca))
        .listen()
        .await;
    let mut frontend = Frontend::connect(backend.tcp_address())
        .await
        .expect("a connection");
    assert_eq!(frontend.request_tls().await.expect("an answer"), b'S');
    let mut session = StepwiseTls::new(&TlsClient::trusting(&ca));
    session.write(&messages::startup_message(0, &[("user", "alice")]));
    let mut plaintext = Vec::new();
    while plaintext.is_empty() {
        let outgoing = session.outgoing();
        frontend.send(&outgoing).await.expect("sent");
        let mut buffer = vec![0; 16 * 1024];
        let read = frontend.connection_mut().read_some(&mut buffer).await;
        let count = read.expect("an answer of the server");
        plaintext = session.incoming(&buffer[..count]).expect("valid TLS");
    }
    assert!(!session.is_handshaking());
    assert!(plaintext.starts_with(&messages::authentication_ok()));
}

#[tokio::test]
async fn a_backend_may_say_something_and_then_reset_leave_or_stall() {
    let words = messages::error_response("FATAL", "57P01", "shutting down");
    for (behaviour, ends) in [
        (BackendBehaviour::AnswerThenReset(words.clone()), true),
        (BackendBehaviour::LastWords(words.clone()), true),
        (BackendBehaviour::BelowTls(words.clone()), false),
    ] {
        let backend = FakeBackend::builder().behaviour(behaviour).listen().await;
        let mut frontend = plain_login(&backend).await;
        frontend.send(&messages::query("1")).await.expect("sent");
        let said = frontend.read_exact(words.len()).await.expect("words");
        assert_eq!(said, words);
        if ends {
            backend.closed(0).await;
        }
    }
    let stalling = BackendBehaviour::StallLogin(words.clone());
    let backend = FakeBackend::builder().behaviour(stalling).listen().await;
    let mut frontend = Frontend::connect(backend.tcp_address())
        .await
        .expect("a connection");
    frontend.startup(&[("user", "a")]).await.expect("sent");
    assert_eq!(
        frontend.read_exact(words.len()).await.expect("words"),
        words
    );
    assert_eq!(frontend.close().await.expect("an end"), Ending::Fin);
}

#[tokio::test]
async fn keys_are_updated_by_both_ends() {
    let ca = TestCa::new("test root");
    let backend = FakeBackend::builder()
        .encryption(encrypted(&ca))
        .behaviour(BackendBehaviour::EchoUpdatingKeys)
        .byte_by_byte()
        .listen()
        .await;
    let mut frontend = tls_login(&backend, &ca).await;
    for _ in 0..3 {
        let updated = frontend.connection_mut().update_keys();
        updated.expect("TLS 1.3");
        frontend.send(b"hello").await.expect("sent");
        assert_eq!(frontend.read_exact(5).await.expect("an echo"), b"hello");
    }
}
