//! Phase *relay*: every byte in both directions, in all kinds of chunks, and every way for a peer to leave.

use std::sync::Arc;
use std::time::Duration;

use pgtls_core::{AlertDirection, CloseReason, DataPlaneOptions, FaultSide, Phase, TlsSide};
use pgtls_testkit::{
    BackendBehaviour, Checksum, Connection, DEADLINE, Ending, FakeBackend, Flood, StepwiseTls,
    TlsClient, messages,
};
use pgtls_tls::options::TlsVersion;
use tokio::io::{AsyncReadExt, AsyncWriteExt, split};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::stage::{
    Arrival, Client, Pki, STARTUP, Stage, eventually_until, join_all, read_by_hand, shake_by_hand,
    standstill,
};

/// Enough writes of every size to be more than the sockets hold: 0…1 MiB, mostly small, from a fixed seed.
fn sizes(seed: u64) -> Vec<usize> {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap()
    };
    let mut sizes: Vec<_> = (0..60).map(|_| 1 + next() % 64).collect();
    sizes.extend((0..40).map(|_| 1 + next() % 20_000));
    sizes.extend((0..6).map(|_| 1 + next() % (1024 * 1024)));
    sizes.extend([1, 16_384, 16_385, 1024 * 1024, 1]);
    sizes
}

/// Writes chunks of these sizes and reads the echo at the same time; how much there was.
async fn exchange(connection: &mut Connection, sizes: &[usize]) -> u64 {
    let total: usize = sizes.iter().sum();
    let (mut reader, mut writer) = split(connection);
    let write = async {
        let (mut sum, mut counter) = (Checksum::default(), 0_usize);
        for &size in sizes {
            let chunk: Vec<u8> = (counter..counter + size)
                .map(|place| u8::try_from(place.wrapping_mul(31) >> 3 & 0xff).unwrap())
                .collect();
            counter += size;
            sum.update(&chunk);
            writer.write_all(&chunk).await.unwrap();
            writer.flush().await.unwrap();
        }
        sum
    };
    let read = async {
        let (mut sum, mut left) = (Checksum::default(), total);
        let mut buffer = vec![0; 100_000];
        while left > 0 {
            let count = reader.read(&mut buffer).await.unwrap();
            assert!(count > 0, "the echo ended {left} bytes early");
            sum.update(&buffer[..count]);
            left -= count;
        }
        sum
    };
    let both = timeout(DEADLINE, async { tokio::join!(write, read) }).await;
    let (written, returned) = both.expect("the echo is complete by the deadline");
    assert_eq!(written, returned, "the echo differs");
    u64::try_from(total).unwrap()
}

/// A session that exchanges a lot of data and ends; `tls` none = a plaintext client.
async fn echo_session(stage: &Stage, backend: &FakeBackend, tls: Option<&TlsClient>, seed: u64) {
    let client = match tls {
        Some(tls) => stage.login(tls).await,
        None => stage.login_plain().await,
    };
    let (mut connection, read_ahead) = client.frontend.into_connection();
    assert_eq!(read_ahead, b"");
    let exchanged = exchange(&mut connection, &sizes(seed)).await;
    connection.shutdown().await.unwrap();
    let report = stage
        .ended(client.id, CloseReason::ClientClosed, Phase::Relay)
        .await;
    let startup = u64::try_from(messages::startup_message(0, &STARTUP).len()).unwrap();
    assert_eq!(report.bytes_in, exchanged + startup);
    assert!(report.bytes_out > exchanged, "the login counts, too");
    let record = backend.records().pop().unwrap();
    assert_eq!(record.received_bytes, exchanged);
}

#[tokio::test]
async fn bytes_pass_unharmed_over_every_pair_of_legs_in_both_directions_at_once() {
    let pki = Pki::new();
    let [tls_1_2, tls_1_3] = pki.clients_by_version();
    let plain = FakeBackend::builder().listen().await;
    let unix = FakeBackend::builder().listen_unix(&pki.path().join("socket"));
    let tls = pki.tls_backend().listen().await;
    let with_tls = |max_version| {
        let mut options = pki.tls_options(&[&tls]);
        options.routes[0].backend.tls.max_version = Some(max_version);
        options
    };
    let legs: [(DataPlaneOptions, &FakeBackend); 4] = [
        (pki.options(&[&plain]), &plain),
        (pki.options(&[&unix]), &unix),
        (with_tls(TlsVersion::Tls12), &tls),
        (with_tls(TlsVersion::Tls13), &tls),
    ];
    for (seed, (options, backend)) in (1..).zip(legs) {
        let stage = Stage::start(&options).await;
        for client in [None, Some(&tls_1_2), Some(&tls_1_3)] {
            echo_session(&stage, backend, client, seed).await;
        }
        stage.finish().await;
    }
}

#[tokio::test]
async fn many_sessions_of_one_worker_do_not_mix_their_bytes() {
    let pki = Pki::new();
    let backend = pki.tls_backend().listen().await;
    let stage = Stage::start(&pki.tls_options(&[&backend])).await;
    let sessions = (0..12).map(|seed| {
        let (stage, tls) = (&stage, pki.client());
        async move {
            let client = stage.login(&tls).await;
            let (mut connection, _) = client.frontend.into_connection();
            let sizes: Vec<_> = sizes(seed)
                .into_iter()
                .map(|size| size % 100_000 + 1)
                .collect();
            exchange(&mut connection, &sizes).await;
            connection.shutdown().await.unwrap();
            client.id
        }
    });
    for id in join_all(sessions).await {
        stage
            .ended(id, CloseReason::ClientClosed, Phase::Relay)
            .await;
    }
    stage.finish().await;
}

#[tokio::test]
async fn keys_may_be_updated_by_either_peer_in_the_middle_of_the_stream() {
    let pki = Pki::new();
    let backend = pki
        .tls_backend()
        .behaviour(BackendBehaviour::EchoUpdatingKeys)
        .listen()
        .await;
    let stage = Stage::start(&pki.tls_options(&[&backend])).await;
    let client = stage.login(&pki.client().tls_1_3_only()).await;
    let (mut connection, _) = client.frontend.into_connection();
    for size in [1, 70_000, 5, 300_000, 1] {
        connection.update_keys().unwrap();
        exchange(&mut connection, &[size; 3]).await;
    }
    connection.shutdown().await.unwrap();
    stage
        .ended(client.id, CloseReason::ClientClosed, Phase::Relay)
        .await;
    stage.finish().await;
}

#[tokio::test]
async fn a_slow_reader_holds_the_backend_back_and_loses_nothing() {
    let pki = Pki::new();
    let flood = Flood {
        rows: 4_500,
        row_bytes: 8_192,
    };
    for is_tls in [true, false] {
        let behaviour = BackendBehaviour::CopyOutFlood(flood);
        let backend = pki.tls_backend().behaviour(behaviour).listen().await;
        let stage = Stage::start(&pki.tls_options(&[&backend])).await;
        let mut client = if is_tls {
            stage.login(&pki.client()).await
        } else {
            stage.login_plain().await
        };
        client
            .frontend
            .send(&messages::query("copy t to stdout"))
            .await
            .unwrap();
        let taken = standstill(|| stage.snapshot().routes[0].bytes_out).await;
        assert!(
            taken < 24 * 1024 * 1024,
            "{taken} bytes were taken from the backend"
        );
        let copied = client.frontend.read_copy_out().await.unwrap();
        assert_eq!(copied.payload_bytes, flood.payload_bytes());
        assert_eq!(copied.checksum, flood.checksum());
        let id = client.id;
        client.close().await;
        let report = stage
            .ended(id, CloseReason::ClientClosed, Phase::Relay)
            .await;
        assert!(report.bytes_out > flood.payload_bytes());
        stage.finish().await;
    }
}

#[tokio::test]
async fn a_backend_that_does_not_read_holds_the_client_back() {
    let pki = Pki::new();
    let behaviour = BackendBehaviour::NeverRead;
    let backend = pki.tls_backend().behaviour(behaviour).listen().await;
    let stage = Stage::start(&pki.tls_options(&[&backend])).await;
    let client = stage.login(&pki.client()).await;
    let (mut connection, _) = client.frontend.into_connection();
    let writer = tokio::spawn(async move {
        let chunk = vec![0; 256 * 1024];
        // Until the test gives it up.
        while connection.write_all(&chunk).await.is_ok() {}
    });
    let taken = standstill(|| stage.snapshot().routes[0].bytes_in).await;
    assert!(
        taken < 24 * 1024 * 1024,
        "{taken} bytes were taken from the client"
    );
    drop(backend);
    stage.report(client.id).await;
    writer.abort();
    stage.finish().await;
}

async fn behaving(pki: &Pki, behaviour: BackendBehaviour) -> (FakeBackend, Stage) {
    let backend = pki.tls_backend().behaviour(behaviour).listen().await;
    let stage = Stage::start(&pki.tls_options(&[&backend])).await;
    (backend, stage)
}

#[tokio::test]
async fn a_client_that_ends_its_direction_still_gets_its_answer() {
    let pki = Pki::new();
    let answer = messages::copy_data(&b"answer".repeat(200_000));
    let [tls_1_2, tls_1_3] = pki.clients_by_version();
    let plain = FakeBackend::builder()
        .behaviour(BackendBehaviour::AnswerAfterEof(answer.clone()))
        .listen()
        .await;
    let tls = pki
        .tls_backend()
        .behaviour(BackendBehaviour::AnswerAfterEof(answer.clone()))
        .listen()
        .await;
    for (options, seen) in [
        (pki.options(&[&plain]), Ending::Fin),
        (pki.tls_options(&[&tls]), Ending::CloseNotify),
    ] {
        let stage = Stage::start(&options).await;
        for client in [None, Some(&tls_1_2), Some(&tls_1_3)] {
            let (mut client, ending) = match client {
                Some(tls) => (stage.login(tls).await, Ending::CloseNotify),
                None => (stage.login_plain().await, Ending::Fin),
            };
            client
                .frontend
                .send(&messages::query("copy t from stdin"))
                .await
                .unwrap();
            client.frontend.half_close().await.unwrap();
            assert_eq!(
                client.frontend.read_to_end().await,
                (answer.clone(), ending)
            );
            let report = stage
                .ended(client.id, CloseReason::ClientClosed, Phase::Relay)
                .await;
            assert_eq!((report.fault_side, report.alert), (None, None));
        }
        let backend = if seen == Ending::Fin { &plain } else { &tls };
        for index in 0..3 {
            assert_eq!(backend.closed(index).await.ending, Some(seen));
        }
        stage.finish().await;
    }
}

#[tokio::test]
async fn a_backend_that_ends_its_direction_still_gets_what_the_client_sends() {
    let pki = Pki::new();
    let (backend, stage) = behaving(&pki, BackendBehaviour::HalfClose).await;
    let mut client = stage.login(&pki.client()).await;
    assert_eq!(
        client.frontend.read_to_end().await,
        (Vec::new(), Ending::CloseNotify)
    );
    let farewell = messages::copy_data(&b"farewell".repeat(50_000));
    client.frontend.send(&farewell).await.unwrap();
    client.frontend.half_close().await.unwrap();
    let record = backend.closed(0).await;
    assert_eq!(
        record.received_bytes,
        u64::try_from(farewell.len()).unwrap()
    );
    assert_eq!(record.ending, Some(Ending::CloseNotify));
    let report = stage
        .ended(client.id, CloseReason::BackendClosed, Phase::Relay)
        .await;
    assert_eq!(report.fault_side, None);
    stage.finish().await;
}

#[tokio::test]
async fn a_client_that_resets_once_the_backend_has_left_does_not_change_the_reason() {
    let pki = Pki::new();
    let (_backend, stage) = behaving(&pki, BackendBehaviour::HalfClose).await;
    let mut client = stage.login(&pki.client()).await;
    client.frontend.read_to_end().await;
    let id = client.id;
    client.frontend.reset().unwrap();
    let report = stage.report(id).await;
    assert_eq!(
        (report.reason, report.fault_side),
        (CloseReason::BackendClosed, None)
    );
    stage.finish().await;
}

#[tokio::test]
async fn a_bare_fin_of_either_peer_is_the_end_of_its_direction() {
    let pki = Pki::new();
    let (backend, stage) = behaving(&pki, BackendBehaviour::Echo).await;
    let mut client = stage.login(&pki.client()).await;
    client.echo("select 1").await;
    client
        .frontend
        .connection_mut()
        .fin_without_close_notify()
        .await
        .unwrap();
    let (rest, ending) = client.frontend.read_to_end().await;
    assert_eq!((rest.as_slice(), ending), (&b""[..], Ending::CloseNotify));
    assert_eq!(backend.closed(0).await.ending, Some(Ending::CloseNotify));
    stage
        .ended(client.id, CloseReason::ClientClosed, Phase::Relay)
        .await;
    stage.finish().await;

    let (_backend, stage) = behaving(&pki, BackendBehaviour::TruncateTls).await;
    let mut client = stage.login(&pki.client()).await;
    client
        .frontend
        .send(&messages::query("select 1"))
        .await
        .unwrap();
    let (rest, ending) = client.frontend.read_to_end().await;
    assert_eq!((rest.as_slice(), ending), (&b""[..], Ending::CloseNotify));
    client.frontend.half_close().await.unwrap();
    stage
        .ended(client.id, CloseReason::BackendClosed, Phase::Relay)
        .await;
    stage.finish().await;
}

#[tokio::test]
async fn a_backend_that_resets_at_a_boundary_is_told_08006() {
    let pki = Pki::new();
    for (answer, before) in [
        (BackendBehaviour::AbruptReset, Vec::new()),
        (
            BackendBehaviour::AnswerThenReset(messages::message(b'N', b"notice\0")),
            messages::message(b'N', b"notice\0"),
        ),
    ] {
        let (_backend, stage) = behaving(&pki, answer).await;
        let mut client = stage.login(&pki.client()).await;
        client
            .frontend
            .send(&messages::query("select 1"))
            .await
            .unwrap();
        assert_eq!(
            client.frontend.read_exact(before.len()).await.unwrap(),
            before
        );
        let fatal = client.fatal().await;
        assert_eq!(
            (fatal.sqlstate.as_str(), fatal.ending),
            ("08006", Ending::CloseNotify)
        );
        let id = client.id;
        drop(client);
        let report = stage
            .ended(id, CloseReason::BackendReset, Phase::Relay)
            .await;
        assert_eq!(report.fault_side, Some(FaultSide::Backend));
        assert_eq!(report.sqlstate, Some("08006"));
        stage.finish().await;
    }
}

#[tokio::test]
async fn a_backend_that_resets_inside_a_message_gets_nothing_put_behind_it() {
    let pki = Pki::new();
    let half = messages::copy_data(b"one half, the other half")[..10].to_vec();
    let (_backend, stage) = behaving(&pki, BackendBehaviour::AnswerThenReset(half.clone())).await;
    let mut client = stage.login(&pki.client()).await;
    client
        .frontend
        .send(&messages::query("select 1"))
        .await
        .unwrap();
    let (received, ending) = client.frontend.read_to_end().await;
    assert_eq!(received, half);
    assert_ne!(
        ending,
        Ending::CloseNotify,
        "a torn stream does not end cleanly"
    );
    let report = stage.report(client.id).await;
    assert_eq!(
        (report.reason, report.sqlstate),
        (CloseReason::BackendReset, None)
    );
    stage.finish().await;
}

#[tokio::test]
async fn a_reset_that_a_write_finds_out_is_told_like_one_that_a_read_finds_out() {
    let pki = Pki::new();
    let backend = FakeBackend::builder()
        .behaviour(BackendBehaviour::AbruptReset)
        .listen()
        .await;
    let stage = Stage::start(&pki.options(&[&backend])).await;
    let query = messages::query("select 1");
    // Which of the two finds it is up to the order in which the worker looks: so it is tried often.
    for _ in 0..40 {
        let client = stage.login_plain().await;
        let (mut reader, mut writer) = split(client.frontend.into_connection().0);
        let write = async {
            while writer.write_all(&query).await.is_ok() {
                tokio::task::yield_now().await;
            }
            std::future::pending::<()>().await;
        };
        let mut answer = [0; 1];
        let read = timeout(DEADLINE, reader.read(&mut answer));
        tokio::select! {
            () = write => {}
            // The first byte of an answer, or an end: the test goes by the report.
            read = read => drop(read.expect("an answer by the deadline")),
        }
        drop((reader, writer));
        let report = stage.report(client.id).await;
        assert_eq!(report.reason, CloseReason::BackendReset, "{report:#?}");
        assert_eq!(report.sqlstate, Some("08006"));
    }
    stage.finish().await;
}

#[tokio::test]
async fn the_last_words_of_a_backend_that_closed_while_the_client_was_writing_reach_the_client() {
    let pki = Pki::new();
    let words = messages::error_response("FATAL", "57P01", "terminating connection");
    for is_tls in [false, true] {
        let behaviour = BackendBehaviour::LastWords(words.clone());
        let backend = pki.tls_backend().behaviour(behaviour).listen().await;
        let options = if is_tls {
            pki.tls_options(&[&backend])
        } else {
            pki.options(&[&backend])
        };
        let stage = Stage::start(&options).await;
        for _ in 0..10 {
            let client = stage.login(&pki.client()).await;
            let (connection, _) = client.frontend.into_connection();
            let (mut reader, mut writer) = split(connection);
            let write = async {
                let chunk = messages::copy_data(&vec![7; 50_000]);
                // The session may be over before all of it is written: that is the point.
                for _ in 0..40 {
                    if writer.write_all(&chunk).await.is_err() {
                        break;
                    }
                }
            };
            let read = async {
                let mut received = vec![0; words.len()];
                let read = timeout(DEADLINE, reader.read_exact(&mut received)).await;
                read.unwrap().unwrap();
                received
            };
            let ((), received) = tokio::join!(write, read);
            assert_eq!(received, words);
            drop((reader, writer));
            stage.report(client.id).await;
        }
        stage.finish().await;
    }
}

#[tokio::test]
async fn a_client_that_resets_costs_its_own_session_and_ends_the_backends() {
    let pki = Pki::new();
    let (backend, stage) = behaving(&pki, BackendBehaviour::Echo).await;
    let mut bystander = stage.login(&pki.client()).await;
    let mut client = stage.login(&pki.client()).await;
    client.echo("select 1").await;
    let id = client.id;
    client.frontend.reset().unwrap();
    let report = stage
        .ended(id, CloseReason::ClientReset, Phase::Relay)
        .await;
    assert_eq!(report.fault_side, Some(FaultSide::Client));
    assert!(backend.closed(1).await.ending.is_some());
    bystander.echo("select 'unharmed'").await;
    bystander.close().await;
    stage.finish().await;
}

#[tokio::test]
async fn a_client_whose_records_are_broken_gets_an_alert_and_its_backend_an_end() {
    let pki = Pki::new();
    let (backend, stage) = behaving(&pki, BackendBehaviour::Echo).await;
    let mut session = StepwiseTls::new(&pki.client().tls_1_3_only());
    let Client { mut frontend, id } = stage.arrive(Arrival::default()).await;
    session.write(&messages::startup_message(0, &STARTUP));
    shake_by_hand(&mut frontend, &mut session).await;
    let outgoing = session.outgoing();
    frontend.send(&outgoing).await.unwrap();
    read_by_hand(&mut frontend, &mut session, 20).await;
    let forged = [&b"\x17\x03\x03\x00\x20"[..], &[0x55; 32]].concat();
    frontend.send(&forged).await.unwrap();
    let (answer, _) = frontend.read_to_end().await;
    let alert = session.incoming(&answer).expect_err("an alert");
    assert!(alert.to_string().contains("BadRecordMac"), "{alert}");
    let report = stage
        .ended(id, CloseReason::ClientTlsFailed, Phase::Relay)
        .await;
    let alert = report.alert.unwrap();
    assert_eq!(alert.description, "bad_record_mac");
    assert_eq!(
        (alert.direction, alert.side),
        (AlertDirection::Sent, TlsSide::Client)
    );
    backend.closed(0).await;
    stage.finish().await;
}

#[tokio::test]
async fn a_backend_whose_records_are_broken_is_told_08006_and_reported_with_the_alert() {
    let pki = Pki::new();
    let forged = [&b"\x17\x03\x03\x00\x20"[..], &[0x55; 32]].concat();
    let (_backend, stage) = behaving(&pki, BackendBehaviour::BelowTls(forged)).await;
    let mut client = stage.login(&pki.client()).await;
    client
        .frontend
        .send(&messages::query("select 1"))
        .await
        .unwrap();
    let fatal = client.fatal().await;
    assert_eq!(fatal.sqlstate, "08006");
    let id = client.id;
    drop(client);
    let report = stage
        .ended(id, CloseReason::BackendTlsFailed, Phase::Relay)
        .await;
    let alert = report.alert.unwrap();
    assert_eq!(
        (alert.direction, alert.side),
        (AlertDirection::Sent, TlsSide::Backend)
    );
    stage.finish().await;
}

#[tokio::test]
async fn tls_towards_a_backend_that_accepts_any_version_is_the_newest() {
    let pki = Pki::new();
    let backend = pki.tls_backend().listen().await;
    let stage = Stage::start(&pki.tls_options(&[&backend])).await;
    let client = stage.login(&pki.client().tls_1_2_only()).await;
    let id = client.id;
    client.close().await;
    let report = stage.report(id).await;
    let [client_tls, backend_tls] = [report.client_tls, report.backend_tls].map(Option::unwrap);
    assert_eq!(client_tls.version, "TLSv1.2");
    assert_eq!(backend_tls.version, "TLSv1.3");
    assert_eq!(backend_tls.group.as_deref(), Some("X25519MLKEM768"));
    stage.finish().await;
}

/// A session whose backend reads nothing: bytes of the client wait in the relay, and behind them in its socket.
async fn clogged(stage: &Stage, tls: Option<&TlsClient>) -> Client {
    let mut client = stage.enter(Arrival::default(), tls).await;
    let before = stage.snapshot().routes[0].bytes_in;
    let sending = async {
        let block = vec![b'x'; 1024 * 1024];
        while client.frontend.send(&block).await.is_ok() {}
    };
    tokio::select! {
        () = sending => panic!("everything was taken"),
        _ = standstill(|| stage.snapshot().routes[0].bytes_in - before) => {}
    }
    client
}

#[tokio::test]
async fn a_client_that_vanishes_while_the_backend_reads_nothing_is_noticed() {
    let pki = Pki::new();
    let [tls_1_2, tls_1_3] = pki.clients_by_version();
    for options in [Pki::options, Pki::tls_options] {
        let backend = pki
            .tls_backend()
            .behaviour(BackendBehaviour::NeverRead)
            .listen()
            .await;
        let stage = Stage::start(&options(&pki, &[&backend])).await;
        let mut clients = Vec::new();
        for tls in [None, Some(&tls_1_2), Some(&tls_1_3)] {
            clients.push(clogged(&stage, tls).await);
        }
        let mut lost = Vec::new();
        for client in clients {
            lost.push(client.id);
            client.frontend.reset().unwrap();
        }
        for id in lost {
            let report = stage
                .ended(id, CloseReason::ClientReset, Phase::Relay)
                .await;
            assert_eq!(report.fault_side, Some(FaultSide::Client));
        }
        stage.finish().await;
    }
}

#[tokio::test]
async fn a_client_that_has_said_everything_behind_what_the_backend_does_not_read_yet_is_heard_out()
{
    let pki = Pki::new();
    let permits = Arc::new(Semaphore::new(0));
    let answer = BackendBehaviour::AnswerOnPermit(vec![b"now".to_vec()], Arc::clone(&permits));
    let backend = FakeBackend::builder().behaviour(answer).listen().await;
    let stage = Stage::start(&pki.options(&[&backend])).await;
    let mut client = stage.login_plain().await;
    let relayed = || stage.snapshot().routes[0].bytes_in;
    let before = relayed();
    // Block by block, until one is not read: the end then stands right behind it, with the kernel on our side.
    let mut sent = 0;
    let block = vec![b'x'; 16 * 1024];
    while relayed() - before == sent {
        client.frontend.send(&block).await.unwrap();
        sent += 16 * 1024;
        let all = eventually_until(Duration::from_millis(500), || {
            (relayed() - before == sent).then_some(())
        });
        let _ = all.await;
    }
    client.frontend.half_close().await.unwrap();
    let early = timeout(Duration::from_secs(4), stage.report(client.id)).await;
    assert!(early.is_err(), "{early:#?}");
    permits.add_permits(1);
    assert_eq!(client.frontend.read_exact(3).await.unwrap(), b"now");
    backend
        .wait_until(|all| all[0].received_bytes == sent && all[0].ending.is_some())
        .await;
    drop(client);
    stage.finish().await;
}
