//! [`Stage`]: a running data plane with one route in plaintext, and clients that were just accepted.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::{Duration, Instant};

use pgtls_core::{
    BackendAddress, BackendOptions, ClientEncryption, ConnectionReport, DataPlane,
    DataPlaneOptions, DrainReport, Event, Handoff, HookSet, Hooks, KeepaliveOptions,
    ListenerOptions, LoadBalanceHosts, RouteOptions, Sslmode, Sslnegotiation,
};
use pgtls_tls::options::BackendTlsOptions;

/// For everything that is expected to happen.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

const ROUTE: u32 = 1;

/// One route to the backend at `port`, `sslmode = "disable"` on both legs.
pub(crate) fn options(port: u16) -> DataPlaneOptions {
    DataPlaneOptions {
        workers: 1,
        max_client_conn: 100,
        max_concurrent_handshakes: 10,
        report_tls_established: false,
        routes: vec![RouteOptions {
            route_id: ROUTE,
            name: "orders".to_owned(),
            max_client_conn: 0,
            max_client_conn_per_ip: 0,
            listener: ListenerOptions {
                tls: None,
                require_tls: false,
                client_idle_timeout: Duration::ZERO,
                keepalive: KeepaliveOptions::default(),
            },
            backend: BackendOptions {
                addresses: vec![address(port)],
                sslmode: Sslmode::Disable,
                sslnegotiation: Sslnegotiation::Postgres,
                tls: BackendTlsOptions::default(),
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

pub(crate) fn address(port: u16) -> BackendAddress {
    BackendAddress::Tcp {
        host: "127.0.0.1".to_owned(),
        port,
    }
}

/// Alice's StartupMessage, protocol 3.0.
pub(crate) fn startup_packet() -> Vec<u8> {
    let body = b"\0\x03\0\0user\0alice\0database\0orders\0\0";
    let length = u32::try_from(body.len() + 4).unwrap();
    [&length.to_be_bytes()[..], body].concat()
}

/// Why a data plane does not start.
#[cfg(not(feature = "tls"))]
pub(crate) fn start_error(options: &DataPlaneOptions) -> String {
    match DataPlane::start(options, Hooks::events(Arc::new(drop))) {
        Ok(_) => panic!("it started"),
        Err(error) => error.to_string(),
    }
}

/// Tag and body of the next message.
pub(crate) fn read_message(client: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut head = [0; 5];
    client.read_exact(&mut head).unwrap();
    let length = u32::from_be_bytes(head[1..].try_into().unwrap());
    let mut body = vec![0; usize::try_from(length).unwrap() - 4];
    client.read_exact(&mut body).unwrap();
    (head[0], body)
}

/// Of an ErrorResponse.
pub(crate) fn sqlstate_of((tag, body): &(u8, Vec<u8>)) -> String {
    assert_eq!(*tag, b'E', "{body:?}");
    let mut fields = body.split(|byte| *byte == 0);
    let field = fields.find_map(|field| field.strip_prefix(b"C")).unwrap();
    String::from_utf8(field.to_vec()).unwrap()
}

/// A data plane, and the reports of connections that are over.
pub(crate) struct Stage {
    plane: DataPlane,
    listener: TcpListener,
    next_id: AtomicU64,
    reports: Arc<Reports>,
}

#[derive(Default)]
struct Reports {
    all: Mutex<Vec<ConnectionReport>>,
    changed: Condvar,
}

impl Stage {
    pub(crate) fn start(options: &DataPlaneOptions) -> Self {
        let reports = Arc::<Reports>::default();
        let sink = Arc::clone(&reports);
        let events = move |event| {
            if let Event::ConnectionsClosed(reports) = event {
                sink.all.lock().unwrap().extend(reports);
                sink.changed.notify_all();
            }
        };
        Self {
            plane: DataPlane::start(options, Hooks::events(Arc::new(events))).unwrap(),
            listener: TcpListener::bind(("127.0.0.1", 0)).unwrap(),
            next_id: AtomicU64::new(1),
            reports,
        }
    }

    /// A client that is handed over when it has sent `prefix`, and the id it is reported under.
    pub(crate) fn arrive(&self, prefix: &[u8]) -> (TcpStream, u64) {
        self.arrive_within(prefix, DEADLINE)
    }

    pub(crate) fn arrive_within(&self, prefix: &[u8], remaining: Duration) -> (TcpStream, u64) {
        let address = self.listener.local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        let peer = client.local_addr().unwrap();
        let server = loop {
            let (server, from) = self.listener.accept().unwrap();
            // Another program's stray connection would not be ours.
            if from == peer {
                break server;
            }
        };
        let connection_id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let handoff = Handoff {
            connection_id,
            route_id: ROUTE,
            encryption: ClientEncryption::None,
            prefix: prefix.to_vec(),
            peer: peer.to_string(),
            local_address: address.to_string(),
            remaining,
        };
        self.plane.adopt(server.as_fd(), handoff).unwrap();
        (client, connection_id)
    }

    /// A session that is ready for a query.
    pub(crate) fn login(&self) -> (TcpStream, u64) {
        // Part of the packet was read along with the negotiation, the rest comes later.
        let packet = startup_packet();
        let (early, late) = packet.split_at(9);
        let (mut client, id) = self.arrive(early);
        client.write_all(late).unwrap();
        let tags = [(); 3].map(|()| read_message(&mut client).0);
        assert_eq!(tags, *b"RKZ");
        (client, id)
    }

    /// The report of a connection, once it is over.
    pub(crate) fn report(&self, id: u64) -> ConnectionReport {
        let find = |all: &[ConnectionReport]| {
            let found = all.iter().find(|report| report.connection_id == id);
            found.cloned()
        };
        let all = self.reports.all.lock().unwrap();
        let changed = &self.reports.changed;
        let (all, _) = changed
            .wait_timeout_while(all, DEADLINE, |all| find(all).is_none())
            .unwrap();
        find(&all).expect("a report")
    }

    /// Until no session counts any more.
    pub(crate) fn wait_until_idle(&self) {
        let start = Instant::now();
        while self.plane.snapshot().live_sessions > 0 {
            assert!(start.elapsed() < DEADLINE, "a session stays");
            std::thread::yield_now();
        }
    }

    pub(crate) fn drain(&self, grace: Duration) -> DrainReport {
        let (sender, done) = mpsc::channel();
        let done_hook = Box::new(move |report| sender.send(report).unwrap());
        self.plane.drain(grace, done_hook);
        done.recv_timeout(DEADLINE).unwrap()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.plane.close();
    }
}
