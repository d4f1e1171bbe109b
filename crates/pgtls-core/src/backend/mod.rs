//! [`Backend`]: one `[proxy.backend]` section made ready to dial, with what is kept about its servers: their roles (`role`, learned by
//! `probe`) and connections made ahead (`warm`). The `keeper` thread does the work that no session asks for.

pub(crate) mod keeper;
pub(crate) mod order;
pub(crate) mod password_file;
mod probe;
mod probe_login;
mod probe_password;
pub(crate) mod role;
mod told_role;
pub(crate) mod warm;

use std::sync::Arc;
use std::time::Duration;

use pgtls_tls::client_config::{ClientTls, build_client_config};

use crate::backend::probe::Prober;
use crate::backend::role::Roles;
use crate::backend::warm::WarmPool;
use crate::counters::RouteCounters;
use crate::options::{
    BackendAddress, BackendOptions, KeepaliveOptions, LoadBalanceHosts, Sslmode, Sslnegotiation,
};
use crate::routes::RouteProblem;

/// The backend side of a route.
#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) addresses: Vec<BackendAddress>,
    pub(crate) sslmode: Sslmode,
    pub(crate) sslnegotiation: Sslnegotiation,
    pub(crate) tls: Option<ClientTls>,
    pub(crate) connect_timeout: Duration,
    pub(crate) keepalive: KeepaliveOptions,
    pub(crate) load_balance_hosts: LoadBalanceHosts,
    /// None with `target_session_attrs = "any"`.
    pub(crate) roles: Option<Roles>,
    /// None with `warm_connections = 0`.
    pub(crate) warm: Option<WarmPool>,
    pub(crate) counters: Arc<RouteCounters>,
}

impl Backend {
    /// Loads what TLS towards the backend and its probes need; nothing is dialled.
    pub(crate) fn build(
        options: &BackendOptions,
        counters: &Arc<RouteCounters>,
    ) -> Result<Self, RouteProblem> {
        let tls = match options.sslmode {
            Sslmode::Disable => None,
            Sslmode::Prefer | Sslmode::Require => Some(build_client_config(&options.tls)?),
        };
        let roles = options.roles.as_ref().map(|roles| {
            let prober = Prober::build(roles)?;
            Ok::<_, RouteProblem>(Roles::new(roles.wanted, prober, options.connect_timeout))
        });
        Ok(Self {
            addresses: options.addresses.clone(),
            sslmode: options.sslmode,
            sslnegotiation: options.sslnegotiation,
            tls,
            connect_timeout: options.connect_timeout,
            keepalive: options.keepalive.clone(),
            load_balance_hosts: options.load_balance_hosts,
            roles: roles.transpose()?,
            warm: options.warm.map(WarmPool::new),
            counters: Arc::clone(counters),
        })
    }

    /// Closes the connections made ahead, for good: no more sessions are expected.
    pub(crate) fn close_warm(&self) {
        if let Some(warm) = &self.warm {
            warm.close();
        }
    }
}
