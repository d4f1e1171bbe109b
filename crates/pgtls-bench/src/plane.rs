//! What a data plane is started with that has one worker and one route, TLS towards clients and none towards its backend.

use std::time::Duration;

use pgtls_core::{
    BackendAddress, BackendOptions, ClientEncryption, DataPlaneOptions, Handoff, HookSet,
    KeepaliveOptions, ListenerOptions, LoadBalanceHosts, RouteOptions, Sslmode, Sslnegotiation,
};
use pgtls_tls::options::{BackendTlsOptions, ListenerTlsOptions};

const ROUTE: u32 = 0;

/// Never reached: whoever waits for it has found a defect.
pub(crate) const DEADLINE: Duration = Duration::from_mins(5);

/// Options without any limit that matters.
pub(crate) fn options(tls: ListenerTlsOptions, backend: BackendAddress) -> DataPlaneOptions {
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
                addresses: vec![backend],
                sslmode: Sslmode::Disable,
                sslnegotiation: Sslnegotiation::Postgres,
                tls: BackendTlsOptions::default(),
                connect_timeout: DEADLINE,
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

/// A client that has sent an SSLRequest, and is owed its `S`.
pub(crate) fn handoff(connection_id: u64) -> Handoff {
    Handoff {
        connection_id,
        route_id: ROUTE,
        encryption: ClientEncryption::Negotiated,
        prefix: Vec::new(),
        peer: "unix:".to_owned(),
        local_address: "unix:".to_owned(),
        remaining: DEADLINE,
    }
}
