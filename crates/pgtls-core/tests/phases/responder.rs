//! Another thread answers: large replies beside other sessions, slow readers, alternation with the backend, and its death.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pgtls_core::fault::Fault;
use pgtls_core::responder::{Request, Responder};
use pgtls_core::{CloseReason, DataPlaneOptions, FaultSide, Phase};
use pgtls_testkit::{Ending, FakeBackend, Flood, TlsClient, messages};
use pgtls_tls::buffer::Buffer;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use crate::stage::{Arrival, Client, Pki, Stage, eventually, join_all, standstill};

/// Queries that begin so are the responder's.
const PREFIX: &[u8] = b"respond ";

/// Some 40 MiB: more than any pair of sockets holds.
const LARGE: Flood = Flood {
    rows: 5_000,
    row_bytes: 8_192,
};

/// Ten times what an outbox may hold: enough for a reader whose window makes it slow.
const LONG: Flood = Flood {
    rows: 320,
    row_bytes: 8_192,
};

/// How many of its messages the responder sends at once.
const BATCH: u32 = 16;

/// Answers what it is asked by name: see [`Scripted::answer`].
#[derive(Default)]
struct Scripted {
    /// How often it was started.
    runs: AtomicU64,
    /// Requests it has seen.
    seen: AtomicU64,
    /// Bytes of answers that were taken.
    sent: AtomicU64,
    /// Ends `respond hold`.
    release: Notify,
    /// None is the default.
    queue_length: Option<usize>,
}

/// The query that makes the responder do `what`.
fn ask(what: &str) -> Vec<u8> {
    let text = [PREFIX, what.as_bytes()].concat();
    messages::query(std::str::from_utf8(&text).unwrap())
}

/// A short answer that names the responder's run.
fn named(run: u64) -> Vec<u8> {
    let complete = messages::message(b'C', format!("RUN {run}\0").as_bytes());
    [complete, messages::ready_for_query()].concat()
}

impl Scripted {
    fn runs(&self) -> u64 {
        self.runs.load(Ordering::Acquire)
    }

    /// Waits until it was started so often.
    async fn started(&self, runs: u64) {
        eventually(|| (self.runs() == runs).then_some(())).await;
    }

    /// Waits until it has seen so many requests.
    async fn saw(&self, requests: u64) {
        eventually(|| (self.seen.load(Ordering::Acquire) == requests).then_some(())).await;
    }

    /// False when it shall end.
    async fn answer(self: &Arc<Self>, request: Request, run: u64) -> bool {
        self.seen.fetch_add(1, Ordering::AcqRel);
        let bytes = request.bytes();
        let end = bytes.len() - 1;
        let what = String::from_utf8_lossy(&bytes[5 + PREFIX.len()..end]).into_owned();
        let scratch = &mut Buffer::default();
        match what.as_str() {
            // The request is dropped.
            "never" => {}
            "leave" => return false,
            "panic" => panic!("asked to"),
            "hold" => {
                self.release.notified().await;
                request.send(&named(run), scratch).await.unwrap();
                request.finish();
            }
            "begin and panic" => {
                let rows: Vec<u8> = (0..BATCH).flat_map(|index| LARGE.row(index)).collect();
                request.send(&rows, scratch).await.unwrap();
                panic!("asked to, in the middle");
            }
            "begin and hang" => {
                let row = LARGE.row(0);
                request.send(&row, scratch).await.unwrap();
                let bytes = u64::try_from(row.len()).unwrap();
                self.sent.fetch_add(bytes, Ordering::AcqRel);
                // Beside the others: it may go on answering those.
                tokio::task::spawn_local(async move {
                    std::future::pending::<()>().await;
                    drop(request);
                });
            }
            "large" | "long" => {
                let flood = if what == "large" { LARGE } else { LONG };
                let this = Arc::clone(self);
                tokio::task::spawn_local(async move { this.send_flood(request, flood).await });
            }
            _ => {
                request.send(&named(run), scratch).await.unwrap();
                request.finish();
            }
        }
        true
    }

    /// Gives up when the session is over.
    async fn send_flood(&self, request: Request, flood: Flood) {
        let scratch = &mut Buffer::default();
        let mut index = 0;
        while index < flood.rows {
            let rows: Vec<u8> = (index..(index + BATCH).min(flood.rows))
                .flat_map(|index| flood.row(index))
                .collect();
            if request.send(&rows, scratch).await.is_err() {
                return;
            }
            let bytes = u64::try_from(rows.len()).unwrap();
            self.sent.fetch_add(bytes, Ordering::AcqRel);
            index += BATCH;
        }
        if request.send(&flood.epilogue(), scratch).await.is_ok() {
            request.finish();
        }
    }
}

/// The [`Responder`] that is lent, sharing what it counts with the test.
struct Lent(Arc<Scripted>);

impl Responder for Lent {
    fn claims(&self, bytes: &[u8]) -> bool {
        bytes.first() == Some(&b'Q') && bytes.get(5..).is_some_and(|text| text.starts_with(PREFIX))
    }

    fn run(&self, mut requests: mpsc::Receiver<Request>) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        let run = self.0.runs.fetch_add(1, Ordering::AcqRel) + 1;
        Box::pin(async move {
            while let Some(request) = requests.recv().await {
                if !self.0.answer(request, run).await {
                    return;
                }
            }
        })
    }

    fn queue_length(&self) -> usize {
        self.0.queue_length.unwrap_or(1024)
    }
}

/// A backend that echoes over TLS, one worker, and a responder.
struct Scene {
    pki: Pki,
    _backend: FakeBackend,
    stage: Stage,
    responder: Arc<Scripted>,
}

impl Scene {
    async fn start() -> Self {
        Self::with(Scripted::default(), |_| {}).await
    }

    async fn with(responder: Scripted, change: impl FnOnce(&mut DataPlaneOptions)) -> Self {
        let pki = Pki::new();
        let backend = pki.tls_backend().listen().await;
        let responder = Arc::new(responder);
        let mut options = pki.tls_options(&[&backend]);
        change(&mut options);
        let lent = Arc::new(Lent(Arc::clone(&responder)));
        let stage = Stage::start_lending(&options, Some(lent)).await;
        responder.started(1).await;
        Self {
            pki,
            _backend: backend,
            stage,
            responder,
        }
    }

    /// No TLS, 1.2 and 1.3.
    fn kinds_of_clients(&self) -> [Option<TlsClient>; 3] {
        let [tls_1_2, tls_1_3] = self.pki.clients_by_version();
        [None, Some(tls_1_2), Some(tls_1_3)]
    }

    async fn login(&self) -> Client {
        self.stage.login(&self.pki.client()).await
    }
}

impl Client {
    /// Sends `query` without waiting for an answer.
    async fn send(&mut self, query: &[u8]) {
        self.frontend.send(query).await.unwrap();
    }

    /// Asks the responder for its run; `RUN` in its answer.
    async fn ask_for_run(&mut self, run: u64) {
        self.send(&ask("run")).await;
        self.read(&named(run)).await;
    }

    /// Reads exactly `expected`.
    async fn read(&mut self, expected: &[u8]) {
        let read = self.frontend.read_exact(expected.len()).await.unwrap();
        assert_eq!(read, expected);
    }

    /// Asks for something that the backend is to echo, since nobody answers it.
    async fn is_passed_through(&mut self, what: &str) {
        self.send(&ask(what)).await;
        self.read(&ask(what)).await;
    }

    async fn read_large(&mut self) {
        self.read_flood(LARGE).await;
    }

    async fn read_flood(&mut self, flood: Flood) {
        let copied = self.frontend.read_copy_out().await.unwrap();
        assert_eq!(
            (copied.payload_bytes, copied.checksum),
            (flood.payload_bytes(), flood.checksum())
        );
    }
}

#[tokio::test]
async fn large_replies_arrive_while_the_worker_relays_other_sessions() {
    let scene = Scene::start().await;
    let mut bystanders = [scene.login().await, scene.stage.login_plain().await];
    for tls in scene.kinds_of_clients() {
        let mut client = scene.stage.enter(Arrival::default(), tls.as_ref()).await;
        client.send(&ask("large")).await;
        let reading = async {
            client.read_large().await;
            client.close().await;
        };
        let mut reading = std::pin::pin!(reading);
        let mut echoes = 0;
        loop {
            tokio::select! {
                () = &mut reading => break,
                () = bystanders[echoes % 2].echo("select 'meanwhile'") => echoes += 1,
            }
            // An echo that was cut off is read before the next one.
        }
        assert!(echoes > 10, "{echoes} echoes beside 40 MiB");
        bystanders = [scene.login().await, scene.stage.login_plain().await];
    }
    assert_eq!(scene.stage.snapshot().workers, 1);
    drop(bystanders);
    scene.stage.finish().await;
}

#[tokio::test]
async fn a_slow_reader_gets_its_answer_complete_from_what_the_worker_flushes() {
    let scene = Scene::start().await;
    for (round, tls) in (1..).zip(scene.kinds_of_clients()) {
        let mut bystander = scene.login().await;
        let mut client = scene
            .stage
            .enter(Arrival::default().narrow(), tls.as_ref())
            .await;
        scene.responder.sent.store(0, Ordering::Release);
        client.send(&ask("long")).await;
        let sent = standstill(|| scene.responder.sent.load(Ordering::Acquire)).await;
        // Its outbox: the limit and one message, which here is a batch; next to nothing is in the kernel.
        let limit = 256 * 1024 + 2 * 16 * 8_197 + 64 * 1024;
        assert!(
            (256 * 1024..limit).contains(&sent),
            "{sent} bytes were taken for a client that does not read"
        );
        for _ in 0..50 {
            bystander.echo("select 'not held up'").await;
        }
        assert_eq!(scene.responder.sent.load(Ordering::Acquire), sent);
        client.read_flood(LONG).await;
        client.echo("select 'the worker relays again'").await;
        client.ask_for_run(1).await;
        client.close().await;
        bystander.close().await;
        scene.responder.saw(2 * round).await;
    }
    scene.stage.finish().await;
}

#[tokio::test]
async fn answers_of_the_responder_and_of_the_backend_alternate_in_one_consistent_stream() {
    let scene = Scene::start().await;
    for tls in scene.kinds_of_clients() {
        let mut client = scene.stage.enter(Arrival::default(), tls.as_ref()).await;
        let updates_keys = tls.is_some() && {
            // TLS 1.2 has no KeyUpdate.
            client.frontend.connection_mut().update_keys().is_ok()
        };
        for round in 0..200 {
            client.ask_for_run(1).await;
            client.echo(&"x".repeat(round * 150)).await;
            if updates_keys && round % 10 == 0 {
                client.frontend.connection_mut().update_keys().unwrap();
            }
            if round % 100 == 99 {
                client.send(&ask("large")).await;
                client.read_large().await;
            }
        }
        let id = client.id;
        client.close().await;
        scene
            .stage
            .ended(id, CloseReason::ClientClosed, Phase::Relay)
            .await;
    }
    scene.stage.finish().await;
}

#[tokio::test]
async fn many_clients_are_answered_at_once_each_by_its_own_stream() {
    let scene = Scene::start().await;
    let mut clients = Vec::new();
    for _ in 0..6 {
        clients.push(scene.login().await);
    }
    for client in &mut clients {
        client.send(&ask("large")).await;
    }
    join_all(clients.iter_mut().map(Client::read_large)).await;
    for client in clients {
        client.close().await;
    }
    scene.stage.finish().await;
}

#[tokio::test]
async fn a_request_that_is_not_answered_passes_through_and_the_responder_goes_on() {
    let scene = Scene::start().await;
    let mut client = scene.login().await;
    client.is_passed_through("never").await;
    client.ask_for_run(1).await;
    assert_eq!(scene.stage.snapshot().responder_restarts, 0);
    client.close().await;
    scene.stage.finish().await;
}

#[tokio::test]
async fn requests_pass_through_when_the_responder_dies_before_it_answers() {
    for death in ["panic", "leave"] {
        let scene = Scene::start().await;
        for tls in scene.kinds_of_clients() {
            let mut client = scene.stage.enter(Arrival::default(), tls.as_ref()).await;
            let runs = scene.responder.runs();
            client.ask_for_run(runs).await;
            client.is_passed_through(death).await;
            scene.responder.started(runs + 1).await;
            assert_eq!(scene.stage.snapshot().responder_restarts, runs);
            // The worker holds the stale channel for as long as it lives.
            client.is_passed_through("run").await;
            client.echo("select 'not the responder's'").await;
            let id = client.id;
            client.close().await;
            scene
                .stage
                .ended(id, CloseReason::ClientClosed, Phase::Relay)
                .await;
        }
        assert_eq!(scene.stage.snapshot().worker_restarts, 0);
        scene.stage.finish().await;
    }
}

#[tokio::test]
async fn requests_and_answers_of_the_responder_count_once_in_the_bytes_of_a_session() {
    let scene = Scene::start().await;
    let bytes_of = async |client: Client| {
        let id = client.id;
        client.close().await;
        let report = scene.stage.report(id).await;
        (report.bytes_in, report.bytes_out)
    };
    let length = |messages: &[u8]| u64::try_from(messages.len()).unwrap();
    for tls in scene.kinds_of_clients() {
        let enter = || scene.stage.enter(Arrival::default(), tls.as_ref());
        let (login_in, login_out) = bytes_of(enter().await).await;
        let mut client = enter().await;
        client.ask_for_run(1).await;
        client.send(&ask("long")).await;
        client.read_flood(LONG).await;
        // Claimed, and then the backend's to echo.
        client.is_passed_through("never").await;
        let asked = ["run", "long", "never"].map(|what| length(&ask(what)));
        let long = (0..LONG.rows).map(|index| length(&LONG.row(index)));
        let answered = length(&named(1)) + long.sum::<u64>() + length(&LONG.epilogue());
        let bytes = bytes_of(client).await;
        let expected_in = login_in + asked.iter().sum::<u64>();
        let expected_out = login_out + answered + asked[2];
        assert_eq!(bytes, (expected_in, expected_out));
        // An answer that is cut counts as far as it was sent.
        let mut cut = enter().await;
        scene.responder.sent.store(0, Ordering::Release);
        cut.send(&ask("begin and hang")).await;
        cut.read(&LARGE.row(0)).await;
        let sent = || scene.responder.sent.load(Ordering::Acquire);
        eventually(|| (sent() > 0).then_some(())).await;
        let id = cut.id;
        cut.frontend.reset().unwrap();
        let report = scene.stage.report(id).await;
        let row = length(&LARGE.row(0));
        // It has not heard its Terminate come back.
        let echo = length(&messages::terminate());
        assert_eq!(report.bytes_out, login_out - echo + row);
    }
    let route = scene.stage.snapshot().routes[0].clone();
    assert!(route.bytes_in > 0 && route.bytes_out > 3 * length(&LONG.row(0)));
    scene.stage.finish().await;
}

#[tokio::test]
async fn a_session_whose_answer_the_responder_died_in_ends_and_no_other_does() {
    let scene = Scene::start().await;
    for tls in scene.kinds_of_clients() {
        let runs = scene.responder.runs();
        let mut bystander = scene.login().await;
        bystander.ask_for_run(runs).await;
        let mut client = scene.stage.enter(Arrival::default(), tls.as_ref()).await;
        client.send(&ask("begin and panic")).await;
        for index in 0..BATCH {
            client.read(&LARGE.row(index)).await;
        }
        let fatal = client.fatal().await;
        let ending = if tls.is_some() {
            Ending::CloseNotify
        } else {
            Ending::Fin
        };
        assert_eq!((fatal.sqlstate.as_str(), fatal.ending), ("XX000", ending));
        let id = client.id;
        drop(client);
        let report = scene
            .stage
            .ended(id, CloseReason::ResponderLost, Phase::Relay)
            .await;
        assert_eq!(
            (report.fault_side, report.sqlstate),
            (Some(FaultSide::Proxy), Some("XX000"))
        );
        scene.responder.started(runs + 1).await;
        bystander.echo("select 'unharmed'").await;
        bystander.is_passed_through("run").await;
        bystander.close().await;
        scene.stage.wait_for(|now| now.live_sessions == 0).await;
    }
    let now = scene.stage.snapshot();
    assert_eq!((now.responder_restarts, now.worker_restarts), (3, 0));
    scene.stage.finish().await;
}

#[tokio::test]
async fn workers_of_a_dead_responder_retire_with_their_last_connection_and_new_ones_have_the_fresh_one()
 {
    let scene = Scene::start().await;
    let mut stays = scene.login().await;
    let mut leaves = scene.login().await;
    leaves.ask_for_run(1).await;
    leaves.is_passed_through("panic").await;
    scene.responder.started(2).await;
    let mut fresh = scene.login().await;
    fresh.ask_for_run(2).await;
    assert_eq!(scene.stage.snapshot().workers, 2, "the stale one serves on");
    for _ in 0..3 {
        stays.is_passed_through("run").await;
        stays.echo("select 'still served'").await;
        fresh.ask_for_run(2).await;
    }
    leaves.close().await;
    stays.is_passed_through("run").await;
    assert_eq!(scene.stage.snapshot().workers, 2);
    stays.close().await;
    scene.stage.wait_for(|now| now.workers == 1).await;
    fresh.ask_for_run(2).await;
    let mut another = scene.login().await;
    another.ask_for_run(2).await;
    let now = scene.stage.snapshot();
    assert_eq!(
        (now.workers, now.responder_restarts, now.worker_restarts),
        (1, 1, 0)
    );
    fresh.close().await;
    another.close().await;
    scene.stage.finish().await;
}

#[tokio::test]
async fn sessions_that_came_while_there_was_no_responder_do_not_keep_later_ones_from_the_fresh_one()
{
    let scene = Scene::start().await;
    // Each death doubles the pause: from the sixth on it is 320 ms.
    for run in 1..=6 {
        scene.responder.started(run).await;
        let mut client = scene.login().await;
        client.ask_for_run(run).await;
        client.is_passed_through("panic").await;
        scene
            .stage
            .wait_for(|now| now.responder_restarts == run)
            .await;
        client.close().await;
    }
    let mut early = scene.login().await;
    early.is_passed_through("run").await;
    assert_eq!(scene.responder.runs(), 6, "the pause goes on");
    scene.responder.started(7).await;
    early.is_passed_through("run").await;
    // The worker that the early client is on has no responder: it may get nobody else.
    let mut late = scene.login().await;
    late.ask_for_run(7).await;
    late.close().await;
    early.is_passed_through("run").await;
    early.close().await;
    scene.stage.wait_for(|now| now.workers == 1).await;
    scene.stage.finish().await;
}

#[tokio::test]
async fn a_full_queue_passes_requests_through() {
    let responder = Scripted {
        queue_length: Some(1),
        ..Scripted::default()
    };
    let scene = Scene::with(responder, |_| {}).await;
    let mut held = scene.login().await;
    held.send(&ask("hold")).await;
    scene.responder.saw(1).await;
    // Of three that ask now one waits in the queue, and two are the backend's.
    let mut answers = JoinSet::new();
    for _ in 0..3 {
        let mut client = scene.login().await;
        client.send(&ask("run")).await;
        answers.spawn(async move {
            let tag = client.frontend.read_message().await.unwrap().tag;
            client.close().await;
            tag
        });
    }
    for _ in 0..2 {
        assert_eq!(answers.join_next().await.unwrap().unwrap(), b'Q');
    }
    assert!(answers.try_join_next().is_none());
    scene.responder.release.notify_one();
    assert_eq!(answers.join_next().await.unwrap().unwrap(), b'C');
    held.read(&named(1)).await;
    held.ask_for_run(1).await;
    held.close().await;
    assert_eq!(scene.stage.snapshot().responder_restarts, 0);
    scene.stage.finish().await;
}

#[tokio::test]
async fn a_client_that_vanishes_in_its_answer_is_the_one_at_fault() {
    let scene = Scene::start().await;
    for tls in scene.kinds_of_clients() {
        let mut client = scene
            .stage
            .enter(Arrival::default().narrow(), tls.as_ref())
            .await;
        scene.responder.sent.store(0, Ordering::Release);
        client.send(&ask("large")).await;
        standstill(|| scene.responder.sent.load(Ordering::Acquire)).await;
        let id = client.id;
        client.frontend.reset().unwrap();
        scene
            .stage
            .ended(id, CloseReason::ClientReset, Phase::Relay)
            .await;
    }
    let mut next = scene.login().await;
    next.ask_for_run(1).await;
    next.close().await;
    scene.stage.finish().await;
}

#[tokio::test]
async fn a_client_that_vanishes_while_the_responder_thinks_is_noticed() {
    let scene = Scene::start().await;
    for tls in scene.kinds_of_clients() {
        let mut client = scene.stage.enter(Arrival::default(), tls.as_ref()).await;
        client.send(&ask("begin and hang")).await;
        client.read(&LARGE.row(0)).await;
        let id = client.id;
        client.frontend.reset().unwrap();
        scene
            .stage
            .ended(id, CloseReason::ClientReset, Phase::Relay)
            .await;
    }
    let mut next = scene.login().await;
    next.ask_for_run(1).await;
    next.close().await;
    scene.stage.finish().await;
}

#[tokio::test]
async fn a_worker_that_dies_in_an_answer_loses_its_sessions_and_not_the_responder() {
    let scene = Scene::start().await;
    let mut client = scene
        .stage
        .enter(Arrival::default().narrow(), Some(&scene.pki.client()))
        .await;
    client.send(&ask("large")).await;
    standstill(|| scene.responder.sent.load(Ordering::Acquire)).await;
    scene.stage.inject(Fault::PanicInLoop).await;
    scene
        .stage
        .ended(client.id, CloseReason::WorkerLost, Phase::Relay)
        .await;
    let mut next = scene.login().await;
    next.ask_for_run(1).await;
    next.close().await;
    let now = scene.stage.snapshot();
    assert_eq!((now.worker_restarts, now.responder_restarts), (1, 0));
    scene.stage.finish().await;
}

#[tokio::test]
async fn answers_of_the_responder_postpone_the_idle_timeout() {
    let timeout = Duration::from_millis(400);
    let scene = Scene::with(Scripted::default(), |options| {
        options.routes[0].listener.client_idle_timeout = timeout;
    })
    .await;
    let arrival = Arrival::default().narrow();
    let mut client = scene.stage.enter(arrival, Some(&scene.pki.client())).await;
    let mut ticks = tokio::time::interval(timeout / 4);
    for _ in 0..12 {
        ticks.tick().await;
        client.ask_for_run(1).await;
    }
    // A long answer is no idleness either: here one that a slow reader takes three timeouts for.
    client.send(&ask("large")).await;
    for part in 0..12 {
        ticks.tick().await;
        let rows: Vec<u8> = (part * 64..(part + 1) * 64)
            .flat_map(|index| LARGE.row(index))
            .collect();
        client.read(&rows).await;
    }
    assert!(scene.stage.reported(client.id).is_none());
    drop(client);
    scene.stage.finish().await;
}

#[tokio::test]
async fn a_drain_lets_an_answer_that_is_on_its_way_arrive_and_then_says_57p01() {
    let scene = Scene::start().await;
    let mut client = scene.login().await;
    let mut bystander = scene.login().await;
    client.send(&ask("large")).await;
    standstill(|| scene.responder.sent.load(Ordering::Acquire)).await;
    let drained = scene.stage.drain(Duration::ZERO).await;
    assert_eq!(bystander.fatal().await.sqlstate, "57P01");
    client.read_large().await;
    let fatal = client.fatal().await;
    assert_eq!(
        (fatal.sqlstate.as_str(), fatal.ending),
        ("57P01", Ending::CloseNotify)
    );
    let id = client.id;
    drop((client, bystander));
    assert_eq!(drained.await.unwrap().cut, 2);
    let report = scene
        .stage
        .ended(id, CloseReason::Drained, Phase::Relay)
        .await;
    assert_eq!(report.sqlstate, Some("57P01"));
    scene.stage.finish().await;
}

#[tokio::test]
async fn an_answer_that_never_ends_does_not_hold_up_a_close() {
    let scene = Scene::start().await;
    let mut client = scene.login().await;
    client.send(&ask("begin and hang")).await;
    client.read(&LARGE.row(0)).await;
    let cut = async {
        let (rest, ending) = client.frontend.read_to_end().await;
        assert_eq!(rest, b"");
        assert_ne!(ending, Ending::CloseNotify, "cut without words");
    };
    tokio::join!(scene.stage.close(), cut);
    let report = scene
        .stage
        .ended(client.id, CloseReason::Drained, Phase::Relay)
        .await;
    assert_eq!(report.sqlstate, None);
    scene.stage.assert_one_report_each();
}
