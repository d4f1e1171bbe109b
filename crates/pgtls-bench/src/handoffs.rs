//! [`Handoffs`]: descriptors given to a running data plane, until its worker has looked at them for the first time.
//!
//! That is when the client gets its `S` (docs/adr/0002-hand-off.md). Then it leaves, before it has said anything.

use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use pgtls_core::{
    BackendAddress, BackendOptions, ClientEncryption, DataPlane, DataPlaneOptions, Handoff,
    HookSet, Hooks, KeepaliveOptions, ListenerOptions, LoadBalanceHosts, RouteOptions, Sslmode,
    Sslnegotiation,
};
use pgtls_tls::options::{BackendTlsOptions, ListenerTlsOptions};

use crate::pair::{BenchError, Kind, with_listener_options};

const ROUTE: u32 = 0;

/// So many are under way at once.
const AT_ONCE: u32 = 64;

/// Never reached: whoever waits for it has found a defect.
const DEADLINE: Duration = Duration::from_secs(30);

/// A data plane with one worker and one route.
pub(crate) struct Handoffs {
    data_plane: DataPlane,
    last_id: u64,
}

impl Handoffs {
    pub(crate) fn new() -> Result<Self, BenchError> {
        let data_plane = with_listener_options(Kind::Ecdsa, |tls| {
            DataPlane::start(&options(tls), Hooks::events(Arc::new(drop)))
                .map_err(|error| BenchError::Unexpected(error.to_string()))
        })?;
        Ok(Self {
            data_plane,
            last_id: 0,
        })
    }

    /// Makes a socket pair for each, hands one end over, and waits for the `S` at the other.
    pub(crate) fn hand_off(&mut self, count: u32) -> Result<(), BenchError> {
        let mut left = count;
        while left > 0 {
            let batch = left.min(AT_ONCE);
            let mut clients = Vec::new();
            for _ in 0..batch {
                clients.push(self.adopt()?);
            }
            for mut client in clients {
                let mut answer = [0];
                client.read_exact(&mut answer)?;
            }
            left -= batch;
        }
        Ok(())
    }

    fn adopt(&mut self) -> Result<UnixStream, BenchError> {
        let (client, accepted) = UnixStream::pair()?;
        client.set_read_timeout(Some(DEADLINE))?;
        self.last_id += 1;
        let handoff = Handoff {
            connection_id: self.last_id,
            route_id: ROUTE,
            encryption: ClientEncryption::Negotiated,
            prefix: Vec::new(),
            peer: "unix:".to_owned(),
            local_address: "unix:".to_owned(),
            remaining: DEADLINE,
        };
        self.data_plane
            .adopt(accepted.as_fd(), handoff)
            .map_err(|error| BenchError::Unexpected(error.to_string()))?;
        Ok(client)
    }
}

/// One route with TLS towards clients, who never get as far as its backend.
fn options(tls: ListenerTlsOptions) -> DataPlaneOptions {
    DataPlaneOptions {
        workers: 1,
        max_client_conn: u32::MAX,
        max_concurrent_handshakes: 1024,
        report_tls_established: false,
        routes: vec![RouteOptions {
            route_id: ROUTE,
            name: "bench".to_owned(),
            max_client_conn: 0,
            max_client_conn_per_ip: 0,
            listener: ListenerOptions {
                tls: Some(tls),
                require_tls: true,
                client_idle_timeout: Duration::ZERO,
                keepalive: KeepaliveOptions::default(),
            },
            backend: BackendOptions {
                addresses: vec![BackendAddress::Tcp {
                    host: "127.0.0.1".to_owned(),
                    port: 5432,
                }],
                sslmode: Sslmode::Disable,
                sslnegotiation: Sslnegotiation::Postgres,
                tls: BackendTlsOptions::default(),
                connect_timeout: DEADLINE,
                keepalive: KeepaliveOptions::default(),
                load_balance_hosts: LoadBalanceHosts::Disable,
                roles: None,
                warm: None,
            },
            hooks: HookSet::default(),
            backends: Vec::new(),
            rules: Vec::new(),
        }],
    }
}
