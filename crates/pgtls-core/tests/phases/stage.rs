//! [`Stage`]: a running data plane with a listener in front, which does what the start-up negotiation would have done, and
//! [`Pki`], the certificates of one test.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pgtls_core::fault::Fault;
use pgtls_core::responder::Responder;
use pgtls_core::{
    AdoptError, BackendOptions, ClientEncryption, CloseReason, ConnectionReport, DataPlane,
    DataPlaneOptions, DrainReport, Event, Handoff, HookSet, Hooks, KeepaliveOptions,
    ListenerOptions, LoadBalanceHosts, Phase, RouteOptions, Snapshot, Sslmode, Sslnegotiation,
};
use pgtls_testkit::{
    BackendAddress, CertificateSpec, Connection, DEADLINE, EncryptionAnswer, FakeBackend,
    FakeBackendBuilder, Frontend, Issued, IssuedFiles, StepwiseTls, TempDir, TestCa, TlsClient,
    Transport, messages, server_config,
};
use pgtls_tls::options::{BackendTlsOptions, ClientCertificate, ListenerTlsOptions, RootCert};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout};

/// What every session of these tests logs in with.
pub(crate) const STARTUP: [(&str, &str); 3] = [
    ("user", "alice"),
    ("database", "orders"),
    ("application_name", "phases"),
];

/// The route that every test has.
pub(crate) const ROUTE: u32 = 1;

/// The certificates of one test, in a directory of their own.
pub(crate) struct Pki {
    pub(crate) ca: TestCa,
    /// What the listener shows, by default.
    pub(crate) listener: Issued,
    pub(crate) listener_files: IssuedFiles,
    /// What a backend with TLS shows, by default.
    pub(crate) backend: Issued,
    pub(crate) directory: TempDir,
}

impl Pki {
    pub(crate) fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let ca = TestCa::new("root of one test");
        let listener = ca.issue(&CertificateSpec::localhost());
        Self {
            listener_files: listener.write_to(directory.path(), "listener"),
            backend: ca.issue(&CertificateSpec::localhost()),
            listener,
            ca,
            directory,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn ca_file(&self) -> PathBuf {
        self.ca.write_to(self.path(), "root")
    }

    /// A client that verifies the listener's certificate.
    pub(crate) fn client(&self) -> TlsClient {
        TlsClient::trusting(&self.ca)
    }

    /// Such clients, one that speaks TLS 1.2 only and one that speaks 1.3 only.
    pub(crate) fn clients_by_version(&self) -> [TlsClient; 2] {
        [self.client().tls_1_2_only(), self.client().tls_1_3_only()]
    }

    /// A backend that accepts TLS.
    pub(crate) fn tls_answer(&self) -> EncryptionAnswer {
        EncryptionAnswer::Accept(Arc::new(server_config(&self.backend)))
    }

    /// A backend with TLS, to be told more about.
    pub(crate) fn tls_backend(&self) -> FakeBackendBuilder {
        FakeBackend::builder().encryption(self.tls_answer())
    }

    /// One route that offers TLS, requires none, and leads to `backends` in plaintext.
    pub(crate) fn options(&self, backends: &[&FakeBackend]) -> DataPlaneOptions {
        let addresses = backends.iter().map(|backend| address_of(backend)).collect();
        DataPlaneOptions {
            workers: 1,
            max_client_conn: 1000,
            max_concurrent_handshakes: 256,
            report_tls_established: false,
            routes: vec![RouteOptions {
                route_id: ROUTE,
                name: "orders".to_owned(),
                max_client_conn: 0,
                max_client_conn_per_ip: 0,
                listener: self.listener_options(),
                backend: BackendOptions {
                    addresses,
                    sslmode: Sslmode::Disable,
                    sslnegotiation: Sslnegotiation::Postgres,
                    tls: BackendTlsOptions {
                        send_server_name: true,
                        ..BackendTlsOptions::default()
                    },
                    connect_timeout: Duration::from_secs(5),
                    keepalive: KeepaliveOptions::default(),
                    load_balance_hosts: LoadBalanceHosts::Disable,
                    roles: None,
                    warm: None,
                    sends_proxy_header: false,
                    adds_host_to_application_name: false,
                },
                hooks: HookSet::default(),
                backends: Vec::new(),
                rules: Vec::new(),
            }],
        }
    }

    /// The same with `sslmode=require` towards the backends.
    pub(crate) fn tls_options(&self, backends: &[&FakeBackend]) -> DataPlaneOptions {
        let mut options = self.options(backends);
        options.routes[0].backend.sslmode = Sslmode::Require;
        options
    }

    fn listener_options(&self) -> ListenerOptions {
        ListenerOptions {
            tls: Some(ListenerTlsOptions {
                cert_files: vec![self.listener_files.cert_file.clone()],
                key_files: vec![self.listener_files.key_file.clone()],
                alpn: vec!["postgresql".to_owned()],
                ..ListenerTlsOptions::default()
            }),
            client_idle_timeout: Duration::ZERO,
            require_tls: false,
            keepalive: KeepaliveOptions {
                is_enabled: true,
                idle: Duration::from_mins(1),
                interval: Duration::from_secs(10),
                count: 3,
                user_timeout: Duration::from_secs(30),
            },
        }
    }

    /// Verifies client certificates against this CA.
    pub(crate) fn verify_clients(&self, options: &mut DataPlaneOptions, how: ClientCertificate) {
        let tls = options.routes[0].listener.tls.as_mut().unwrap();
        tls.ca_file = Some(self.ca_file());
        tls.client_certificate = how;
    }

    /// `sslrootcert`.
    pub(crate) fn root_cert(&self) -> RootCert {
        RootCert::File(self.ca_file())
    }
}

/// A fake backend's address as the data plane is told it.
pub(crate) fn address_of(backend: &FakeBackend) -> pgtls_core::BackendAddress {
    match backend.address() {
        BackendAddress::Tcp(address) => pgtls_core::BackendAddress::Tcp {
            host: address.ip().to_string(),
            port: address.port(),
        },
        BackendAddress::Unix(path) => pgtls_core::BackendAddress::Unix(path.clone()),
    }
}

/// A client as it is handed over. By default: TLS was negotiated, nothing was read, ten seconds are left.
pub(crate) struct Arrival {
    pub(crate) encryption: ClientEncryption,
    pub(crate) prefix: Vec<u8>,
    /// None is the client's real address.
    pub(crate) peer: Option<String>,
    pub(crate) route_id: u32,
    pub(crate) remaining: Duration,
    /// What the kernel may buffer on either end of the client's connection; none is the system's choice.
    pub(crate) buffer_bytes: Option<usize>,
}

impl Default for Arrival {
    fn default() -> Self {
        Self {
            encryption: ClientEncryption::Negotiated,
            prefix: Vec::new(),
            peer: None,
            route_id: ROUTE,
            remaining: DEADLINE,
            buffer_bytes: None,
        }
    }
}

impl Arrival {
    pub(crate) fn plain() -> Self {
        Self {
            encryption: ClientEncryption::None,
            ..Self::default()
        }
    }

    pub(crate) fn direct() -> Self {
        Self {
            encryption: ClientEncryption::Direct,
            ..Self::default()
        }
    }

    pub(crate) fn with_prefix(self, prefix: &[u8]) -> Self {
        Self {
            prefix: prefix.to_vec(),
            ..self
        }
    }

    pub(crate) fn from(self, peer: &str) -> Self {
        Self {
            peer: Some(peer.to_owned()),
            ..self
        }
    }

    pub(crate) fn on_route(self, route_id: u32) -> Self {
        Self { route_id, ..self }
    }

    pub(crate) fn within(self, millis: u64) -> Self {
        Self {
            remaining: Duration::from_millis(millis),
            ..self
        }
    }

    /// The kernel holds next to nothing of what the client does not read.
    pub(crate) fn narrow(self) -> Self {
        Self {
            buffer_bytes: Some(4096),
            ..self
        }
    }
}

/// The answer to the SSLRequest that came before the hand-off.
pub(crate) async fn expect_s(stream: &mut (impl AsyncRead + Unpin)) {
    let answer = timeout(DEADLINE, stream.read_u8()).await;
    assert_eq!(answer.expect("an answer by the deadline").unwrap(), b'S');
}

/// A client's end of an adopted connection, and the id it is reported under.
pub(crate) struct Client {
    pub(crate) frontend: Frontend,
    pub(crate) id: u64,
}

/// A data plane that runs, and everything it has said.
pub(crate) struct Stage {
    pub(crate) plane: Arc<DataPlane>,
    listener: TcpListener,
    events: watch::Receiver<Vec<Event>>,
    next_id: AtomicU64,
    adopted: Mutex<Vec<u64>>,
}

impl Stage {
    pub(crate) async fn start(options: &DataPlaneOptions) -> Self {
        Self::start_lending(options, None).await
    }

    /// A data plane that is lent a responder.
    pub(crate) async fn start_lending(
        options: &DataPlaneOptions,
        responder: Option<Arc<dyn Responder>>,
    ) -> Self {
        let (sender, events) = watch::channel(Vec::new());
        let sink = move |event| sender.send_modify(|all: &mut Vec<Event>| all.push(event));
        let hooks = Hooks {
            responder,
            ..Hooks::events(Arc::new(sink))
        };
        Self {
            plane: Arc::new(DataPlane::start(options, hooks).unwrap()),
            listener: TcpListener::bind(("127.0.0.1", 0)).await.unwrap(),
            events,
            next_id: AtomicU64::new(1),
            adopted: Mutex::default(),
        }
    }

    /// Hands `socket`, the server's end of a connection, over; our own descriptor of it is closed behind that.
    pub(crate) fn adopt(&self, socket: impl AsFd, arrival: Arrival) -> Result<u64, AdoptError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let handoff = Handoff {
            connection_id: id,
            route_id: arrival.route_id,
            encryption: arrival.encryption,
            prefix: arrival.prefix,
            peer: arrival.peer.unwrap_or_else(|| "192.0.2.1:1".to_owned()),
            local_address: self.listener.local_addr().unwrap().to_string(),
            remaining: arrival.remaining,
        };
        self.plane.adopt(socket.as_fd(), handoff)?;
        self.adopted.lock().unwrap().push(id);
        Ok(id)
    }

    /// Connects, and has the connection adopted.
    pub(crate) async fn try_arrive(&self, arrival: Arrival) -> Result<Client, AdoptError> {
        let (mut stream, server, peer) = self.pair_holding(arrival.buffer_bytes).await;
        let peer = arrival.peer.clone().unwrap_or(peer);
        let is_owed_s = arrival.encryption == ClientEncryption::Negotiated;
        let id = self.adopt(server, arrival.from(&peer))?;
        if is_owed_s {
            expect_s(&mut stream).await;
        }
        Ok(Client::over(stream, id))
    }

    pub(crate) async fn arrive(&self, arrival: Arrival) -> Client {
        self.try_arrive(arrival).await.unwrap()
    }

    /// Both ends of a TCP connection, and the client's address.
    pub(crate) async fn pair(&self) -> (TcpStream, std::net::TcpStream, String) {
        self.pair_holding(None).await
    }

    async fn pair_holding(
        &self,
        buffer_bytes: Option<usize>,
    ) -> (TcpStream, std::net::TcpStream, String) {
        let address = self.listener.local_addr().unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(bytes) = buffer_bytes {
            // Before it connects, or the window has been agreed upon.
            socket
                .set_recv_buffer_size(u32::try_from(bytes).unwrap())
                .unwrap();
        }
        let stream = socket.connect(address).await.unwrap();
        let peer = stream.local_addr().unwrap();
        loop {
            let (server, from) = self.listener.accept().await.unwrap();
            // Another test's stray connection would not be ours.
            if from == peer {
                if let Some(bytes) = buffer_bytes {
                    SockRef::from(&server).set_send_buffer_size(bytes).unwrap();
                }
                return (stream, server.into_std().unwrap(), peer.to_string());
            }
        }
    }

    /// A client whose TLS handshake is finished on its side.
    pub(crate) async fn shake(&self, arrival: Arrival, tls: &TlsClient) -> Client {
        let Client { frontend, id } = self.arrive(arrival).await;
        let frontend = frontend.start_tls(tls).await.unwrap();
        Client { frontend, id }
    }

    /// A client over TLS that has sent its StartupMessage.
    pub(crate) async fn knock(&self, arrival: Arrival, tls: &TlsClient) -> Client {
        let mut client = self.shake(arrival, tls).await;
        client.frontend.startup(&STARTUP).await.unwrap();
        client
    }

    /// A session over TLS, ready for a query.
    pub(crate) async fn login(&self, tls: &TlsClient) -> Client {
        let mut client = self.knock(Arrival::default(), tls).await;
        client.frontend.read_until_ready().await.unwrap();
        client
    }

    /// A session without TLS, ready for a query.
    pub(crate) async fn login_plain(&self) -> Client {
        self.enter(Arrival::default(), None).await
    }

    /// A session over TLS, or without `tls` in plaintext, ready for a query.
    pub(crate) async fn enter(&self, arrival: Arrival, tls: Option<&TlsClient>) -> Client {
        let mut client = if let Some(tls) = tls {
            self.knock(arrival, tls).await
        } else {
            let encryption = ClientEncryption::None;
            let arrival = Arrival {
                encryption,
                ..arrival
            };
            let mut client = self.arrive(arrival).await;
            client.frontend.startup(&STARTUP).await.unwrap();
            client
        };
        client.frontend.read_until_ready().await.unwrap();
        client
    }

    /// Lets the first worker be struck by `fault`.
    pub(crate) async fn inject(&self, fault: Fault) {
        let plane = Arc::clone(&self.plane);
        tokio::task::spawn_blocking(move || plane.inject(fault))
            .await
            .unwrap();
    }

    /// Workers that were replaced so far: their numbers, and what they died of.
    pub(crate) fn replaced_workers(&self) -> Vec<(u32, String)> {
        let replaced = |event| match event {
            Event::WorkerRestarted { worker, reason } => Some((worker, reason)),
            Event::Asked { .. }
            | Event::ConnectionsClosed(_)
            | Event::CommonNameUsed { .. }
            | Event::TlsEstablished { .. }
            | Event::ThreadRestarted { .. } => None,
        };
        self.events().into_iter().filter_map(replaced).collect()
    }

    /// Threads of which there is one that began again so far: their names, and what they died of.
    pub(crate) fn restarted_threads(&self) -> Vec<(&'static str, String)> {
        let restarted = |event| match event {
            Event::ThreadRestarted { thread, reason } => Some((thread, reason)),
            Event::Asked { .. }
            | Event::ConnectionsClosed(_)
            | Event::CommonNameUsed { .. }
            | Event::TlsEstablished { .. }
            | Event::WorkerRestarted { .. } => None,
        };
        self.events().into_iter().filter_map(restarted).collect()
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.plane.snapshot()
    }

    /// Waits until the data plane's counters are as `condition` says.
    pub(crate) async fn wait_for(&self, condition: impl Fn(&Snapshot) -> bool) -> Snapshot {
        eventually(|| Some(self.snapshot()).filter(|now| condition(now))).await
    }

    /// All events so far.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.events.borrow().clone()
    }

    /// The report of connection `id`, if it is over.
    pub(crate) fn reported(&self, id: u64) -> Option<ConnectionReport> {
        let events = self.events.borrow();
        reports_of(&events)
            .find(|report| report.connection_id == id)
            .cloned()
    }

    /// Waits for the report of connection `id`.
    pub(crate) async fn report(&self, id: u64) -> ConnectionReport {
        let mut events = self.events.clone();
        let waited = timeout(
            DEADLINE,
            events.wait_for(|all| reports_of(all).any(|report| report.connection_id == id)),
        )
        .await;
        match waited {
            Ok(Ok(all)) => reports_of(&all)
                .find(|report| report.connection_id == id)
                .unwrap()
                .clone(),
            Ok(Err(_)) | Err(_) => {
                panic!("no report of {id} by the deadline: {:#?}", self.events())
            }
        }
    }

    /// Waits for the report of `id` and compares why and where the connection ended.
    pub(crate) async fn ended(
        &self,
        id: u64,
        reason: CloseReason,
        phase: Phase,
    ) -> ConnectionReport {
        let report = self.report(id).await;
        assert_eq!(
            (report.reason, report.phase),
            (reason, phase),
            "{report:#?}"
        );
        report
    }

    /// Begins a drain; the report comes through the channel.
    pub(crate) async fn drain(&self, grace: Duration) -> oneshot::Receiver<DrainReport> {
        let (done, report) = oneshot::channel();
        let plane = Arc::clone(&self.plane);
        tokio::task::spawn_blocking(move || {
            plane.drain(
                grace,
                Box::new(move |report| {
                    // The test may have stopped listening.
                    let _ = done.send(report);
                }),
            );
        })
        .await
        .unwrap();
        report
    }

    /// Closes the data plane, by a thread that may block.
    pub(crate) async fn close(&self) {
        let plane = Arc::clone(&self.plane);
        let closing = tokio::task::spawn_blocking(move || plane.close());
        let closed = timeout(DEADLINE, closing).await;
        closed.expect("closed by the deadline").unwrap();
    }

    /// The end of a test: every session ends by itself, and every adopted connection was reported exactly once.
    pub(crate) async fn finish(self) {
        self.wait_for(|now| now.live_sessions == 0).await;
        self.close().await;
        self.assert_one_report_each();
    }

    pub(crate) fn assert_one_report_each(&self) {
        let mut adopted = self.adopted.lock().unwrap().clone();
        let events = self.events();
        let mut reported: Vec<_> = reports_of(&events)
            .map(|report| report.connection_id)
            .collect();
        adopted.sort_unstable();
        reported.sort_unstable();
        assert_eq!(reported, adopted, "not one report for each connection");
    }
}

impl Drop for Stage {
    /// `close` blocks, which a thread of the runtime may not.
    fn drop(&mut self) {
        let plane = Arc::clone(&self.plane);
        let _ = std::thread::spawn(move || plane.close()).join();
    }
}

fn reports_of(events: &[Event]) -> impl Iterator<Item = &ConnectionReport> {
    events.iter().flat_map(|event| match event {
        Event::ConnectionsClosed(reports) => reports.as_slice(),
        Event::Asked { .. }
        | Event::TlsEstablished { .. }
        | Event::CommonNameUsed { .. }
        | Event::WorkerRestarted { .. }
        | Event::ThreadRestarted { .. } => &[],
    })
}

impl Client {
    /// The client's end of connection `id`.
    pub(crate) fn over(stream: TcpStream, id: u64) -> Self {
        Self {
            frontend: Frontend::over(Connection::Plain(Transport::tcp(stream).unwrap())),
            id,
        }
    }

    /// Reads the FATAL ErrorResponse that ends the connection, then its end.
    pub(crate) async fn fatal(&mut self) -> Fatal {
        let message = self.frontend.read_message().await.unwrap();
        assert_eq!(message.tag, b'E', "not an ErrorResponse: {message:?}");
        assert_eq!(message.error_field(b'V').as_deref(), Some("FATAL"));
        let (rest, ending) = self.frontend.read_to_end().await;
        assert_eq!(rest, b"", "bytes behind the ErrorResponse");
        Fatal {
            sqlstate: message.error_field(b'C').unwrap(),
            text: message.error_field(b'M').unwrap(),
            hint: message.error_field(b'H'),
            ending,
        }
    }

    /// Sends a query and expects it to come back.
    pub(crate) async fn echo(&mut self, text: &str) {
        let query = messages::query(text);
        self.frontend.send(&query).await.unwrap();
        let answer = self.frontend.read_exact(query.len()).await.unwrap();
        assert_eq!(answer, query);
    }

    /// Ends the session as a client should.
    pub(crate) async fn close(self) -> pgtls_testkit::Ending {
        self.frontend.close().await.unwrap()
    }
}

/// What a client was told at the end.
#[derive(Debug)]
pub(crate) struct Fatal {
    pub(crate) sqlstate: String,
    pub(crate) text: String,
    pub(crate) hint: Option<String>,
    pub(crate) ending: pgtls_testkit::Ending,
}

/// Drives `tls` over `frontend`, a plaintext connection, until the client's side of the handshake is over; what the client
/// wants to send then still waits in it.
pub(crate) async fn shake_by_hand(frontend: &mut Frontend, tls: &mut StepwiseTls) {
    while tls.is_handshaking() {
        let outgoing = tls.outgoing();
        frontend.send(&outgoing).await.unwrap();
        let mut buffer = vec![0; 16 * 1024];
        let read = frontend.connection_mut().read_some(&mut buffer);
        let count = timeout(DEADLINE, read).await.unwrap().unwrap();
        assert_eq!(tls.incoming(&buffer[..count]).unwrap(), b"");
    }
}

/// Reads ciphertext until `tls` has given at least `count` bytes of plaintext.
pub(crate) async fn read_by_hand(
    frontend: &mut Frontend,
    tls: &mut StepwiseTls,
    count: usize,
) -> Vec<u8> {
    let mut plaintext = Vec::new();
    while plaintext.len() < count {
        let mut buffer = vec![0; 16 * 1024];
        let read = frontend.connection_mut().read_some(&mut buffer);
        let received = timeout(DEADLINE, read).await.unwrap().unwrap();
        plaintext.extend(tls.incoming(&buffer[..received]).unwrap());
    }
    plaintext
}

/// Asks `probe` again and again, until it finds something or the deadline is over.
pub(crate) async fn eventually<T>(probe: impl FnMut() -> Option<T>) -> T {
    eventually_until(DEADLINE, probe)
        .await
        .expect("the condition holds by the deadline")
}

/// The same, for no longer than `patience`.
pub(crate) async fn eventually_until<T>(
    patience: Duration,
    mut probe: impl FnMut() -> Option<T>,
) -> Option<T> {
    let polling = async {
        loop {
            if let Some(found) = probe() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(patience, polling).await.ok()
}

/// The value of a counter that was positive and did not move for a quarter of a second.
pub(crate) async fn standstill(counter: impl Fn() -> u64) -> u64 {
    let (mut last, mut since) = (0, Instant::now());
    eventually(|| {
        let now = counter();
        if now != last {
            (last, since) = (now, Instant::now());
        }
        (now > 10_000 && since.elapsed() > Duration::from_millis(250)).then_some(now)
    })
    .await
}

/// Runs futures side by side.
pub(crate) async fn join_all<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut pending: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|cx| {
        let mut is_ready = true;
        for (future, output) in &mut pending {
            if output.is_none() {
                match future.as_mut().poll(cx) {
                    std::task::Poll::Ready(value) => *output = Some(value),
                    std::task::Poll::Pending => is_ready = false,
                }
            }
        }
        if is_ready {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    pending
        .into_iter()
        .filter_map(|(_, output)| output)
        .collect()
}

/// Runs `test`, the test called `name` (with its module), in a process of its own: it measures the process, and tests beside it
/// would be measured, too.
pub(crate) fn alone(name: &str, test: impl Future<Output = ()>) {
    const ALONE: &str = "PGTLS_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(test);
        return;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--test-threads=1", "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{complained}"
    );
}
