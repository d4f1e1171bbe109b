//! `FakeBackend`: a PostgreSQL that does what a test tells it and remembers what it saw.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::DEADLINE;
use crate::backend_behaviour::{BackendBehaviour, EncryptionAnswer};
use crate::backend_session::{Script, serve};
use crate::server_role::ServerRole;
use crate::session_record::{Recorder, SessionRecord};
use crate::transport::Transport;

/// Where a fake backend listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackendAddress {
    /// 127.0.0.1 and a port of the system's choice.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

/// A backend that listens. Dropping it ends its task and with it every connection.
#[derive(Debug)]
pub struct FakeBackend {
    address: BackendAddress,
    records: watch::Receiver<Vec<SessionRecord>>,
    hang_up: Arc<Notify>,
    task: JoinHandle<()>,
}

/// Makes a [`FakeBackend`]. By default it refuses TLS and echoes.
#[derive(Debug, Clone)]
pub struct FakeBackendBuilder {
    script: Script,
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    async fn accept(&self) -> io::Result<Transport> {
        match self {
            Self::Tcp(tcp) => Transport::tcp(tcp.accept().await?.0),
            Self::Unix(unix) => Ok(Transport::unix(unix.accept().await?.0)),
        }
    }
}

impl FakeBackend {
    /// A backend to be told more about.
    #[must_use]
    pub fn builder() -> FakeBackendBuilder {
        let parameters = [("server_version", "18.0"), ("client_encoding", "UTF8")];
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        FakeBackendBuilder {
            script: Script {
                encryption: EncryptionAnswer::Refuse,
                behaviour: BackendBehaviour::Echo,
                process_id: 4242,
                secret_key: vec![0xde, 0xad, 0xbe, 0xef],
                parameters: parameters.into_iter().map(owned).collect(),
                byte_by_byte: false,
                role: None,
                refusal_in_tls: None,
                early_words: Arc::default(),
                is_behind_proxy: false,
            },
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &BackendAddress {
        &self.address
    }

    /// The TCP address.
    ///
    /// # Panics
    /// When it listens on a unix socket.
    #[must_use]
    pub fn tcp_address(&self) -> SocketAddr {
        match &self.address {
            BackendAddress::Tcp(address) => *address,
            BackendAddress::Unix(path) => panic!("listens on {}", path.display()),
        }
    }

    /// What was seen so far, a record for each connection in the order of their arrival.
    #[must_use]
    pub fn records(&self) -> Vec<SessionRecord> {
        self.records.borrow().clone()
    }

    /// Waits until `condition` holds for the records, and gives them.
    ///
    /// # Panics
    /// When it doesn't by [`DEADLINE`]; the message shows the records.
    pub async fn wait_until(
        &self,
        mut condition: impl FnMut(&[SessionRecord]) -> bool,
    ) -> Vec<SessionRecord> {
        let mut records = self.records.clone();
        let waited = timeout(DEADLINE, records.wait_for(|all| condition(all))).await;
        match waited {
            Ok(Ok(all)) => all.clone(),
            Ok(Err(_)) | Err(_) => panic!("not seen by the deadline: {:#?}", self.records()),
        }
    }

    /// Closes every connection there is, as a server that restarts; it goes on listening.
    pub fn hang_up(&self) {
        self.hang_up.notify_one();
    }

    /// Waits until connection number `index` is closed, and gives its record.
    ///
    /// # Panics
    /// As [`Self::wait_until`].
    pub async fn closed(&self, index: usize) -> SessionRecord {
        let is_closed = |all: &[SessionRecord]| all.get(index).is_some_and(|one| one.is_closed);
        let records = self.wait_until(is_closed).await;
        records.get(index).expect("just looked at").clone()
    }
}

impl Drop for FakeBackend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeBackendBuilder {
    /// How SSLRequests are answered.
    #[must_use]
    pub fn encryption(mut self, encryption: EncryptionAnswer) -> Self {
        self.script.encryption = encryption;
        self
    }

    /// What follows the StartupMessage.
    #[must_use]
    pub fn behaviour(mut self, behaviour: BackendBehaviour) -> Self {
        self.script.behaviour = behaviour;
        self
    }

    /// What BackendKeyData says; keys of 4…32 bytes in PostgreSQL, up to 256 in the protocol.
    #[must_use]
    pub fn key_data(mut self, process_id: u32, secret_key: &[u8]) -> Self {
        self.script.process_id = process_id;
        self.script.secret_key = secret_key.to_vec();
        self
    }

    /// Every byte (below TLS) is a write of its own.
    #[must_use]
    pub fn byte_by_byte(mut self) -> Self {
        self.script.byte_by_byte = true;
        self
    }

    /// These bytes in place of a login over TLS, then EOF; without TLS nothing changes.
    #[must_use]
    pub fn refuse_in_tls(mut self, bytes: &[u8]) -> Self {
        self.script.refusal_in_tls = Some(bytes.to_vec());
        self
    }

    /// One more ParameterStatus at login.
    #[must_use]
    pub fn parameter(mut self, name: &str, value: &str) -> Self {
        self.script
            .parameters
            .push((name.to_owned(), value.to_owned()));
        self
    }

    /// A server whose role is `role` at the moment of a login: two more ParameterStatus, as PostgreSQL 14 and later send them.
    #[must_use]
    pub fn role(mut self, role: &ServerRole) -> Self {
        self.script.role = Some(role.clone());
        self
    }

    /// The first `connections` are told `bytes` before they said anything but an SSLRequest.
    #[must_use]
    pub fn speaking_first(mut self, connections: usize, bytes: &[u8]) -> Self {
        self.script.early_words = Arc::new(Mutex::new(vec![bytes.to_vec(); connections]));
        self
    }

    /// Each connection begins with a PROXY header, version 2.
    #[must_use]
    pub fn behind_proxy(mut self) -> Self {
        self.script.is_behind_proxy = true;
        self
    }

    /// Listens on a port of 127.0.0.1. Needs a tokio runtime around.
    ///
    /// # Panics
    /// When there is no port left.
    pub async fn listen(self) -> FakeBackend {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        self.start(Listener::Tcp(listener), BackendAddress::Tcp(address))
    }

    /// Listens on a unix socket at `path`. Needs a tokio runtime around.
    ///
    /// # Panics
    /// When the path can't be bound.
    #[must_use]
    pub fn listen_unix(self, path: &Path) -> FakeBackend {
        let listener = UnixListener::bind(path).expect("a path to bind");
        self.start(
            Listener::Unix(listener),
            BackendAddress::Unix(path.to_owned()),
        )
    }

    fn start(self, listener: Listener, address: BackendAddress) -> FakeBackend {
        let (sender, records) = watch::channel(Vec::new());
        let hang_up = Arc::new(Notify::new());
        let accepting = accept_all(
            listener,
            Arc::new(self.script),
            sender,
            Arc::clone(&hang_up),
        );
        FakeBackend {
            address,
            records,
            hang_up,
            task: tokio::spawn(accepting),
        }
    }
}

/// Accepts until aborted; the set aborts the connections with it.
async fn accept_all(
    listener: Listener,
    script: Arc<Script>,
    records: watch::Sender<Vec<SessionRecord>>,
    hang_up: Arc<Notify>,
) {
    let mut sessions = JoinSet::new();
    loop {
        while sessions.try_join_next().is_some() {}
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = hang_up.notified() => {
                sessions.shutdown().await;
                continue;
            }
        };
        if let Ok(transport) = accepted {
            sessions.spawn(serve(
                transport,
                Arc::clone(&script),
                Recorder::new(&records),
            ));
        }
    }
}
