//! [`Route`]: one `[[proxy]]` section made ready to serve, and the table of all of them.
//!
//! A session keeps its [`Route`] for life: a reload puts a new table in place and touches no session.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use pgtls_tls::config_key::Table;
use pgtls_tls::error::TlsConfigError;
use pgtls_tls::resumption_state::ResumptionState;
use pgtls_tls::server_config::{ServerTls, resume_server_config};

use crate::backend::Backend;
use crate::backend::password_file::PasswordFileError;
use crate::backend::warm::WarmPool;
use crate::backends::Backends;
use crate::connection::cancel_queue::CancelQueue;
use crate::counters::{RouteCounters, RouteSnapshot};
use crate::options::{KeepaliveOptions, RouteOptions};
use crate::questions::HookSet;

/// A route that cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("proxy \"{route}\": {source}")]
pub struct RouteError {
    /// Name of the route.
    pub route: String,
    /// What is wrong with it.
    pub source: RouteProblem,
}

/// What keeps a route from being served.
#[derive(Debug, thiserror::Error)]
pub enum RouteProblem {
    /// TLS options, or a file they name.
    #[error(transparent)]
    Tls(#[from] TlsConfigError),
    /// The password of the backend's probes.
    #[error("probe_password_file: {0}")]
    PasswordFile(#[from] PasswordFileError),
    /// The operating system refused the thread that looks after the backend.
    #[error("the thread for probes and warm connections cannot be started: {0}")]
    Keeper(#[source] io::Error),
}

impl RouteProblem {
    /// The same problem in one of several tables.
    pub(crate) fn within(self, table: Table) -> Self {
        match self {
            Self::Tls(error) => Self::Tls(error.within(table)),
            Self::PasswordFile(_) | Self::Keeper(_) => self,
        }
    }
}

/// One `[[proxy]]` section, ready to serve.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) id: u32,
    pub(crate) max_client_conn_per_ip: u32,
    pub(crate) max_client_conn: u32,
    pub(crate) listener_tls: Option<ServerTls>,
    /// Goes on to the route that replaces this one.
    resumption: Arc<ResumptionState>,
    pub(crate) requires_tls: bool,
    pub(crate) client_idle_timeout: Duration,
    pub(crate) listener_keepalive: KeepaliveOptions,
    pub(crate) backends: Backends,
    pub(crate) hooks: HookSet,
    pub(crate) counters: Arc<RouteCounters>,
    /// CancelRequests with unknown keys; goes on, too.
    pub(crate) unknown_cancels: Arc<CancelQueue>,
}

impl Route {
    /// Loads what the route needs; counters and resumable sessions of the route that had its id go on, and `backends`, which are in
    /// use. Those of a route that was taken away are not: the keeper has given them up for good.
    fn build(
        options: &RouteOptions,
        previous: Option<&Self>,
        backends: Option<&Backends>,
    ) -> Result<Self, RouteError> {
        let fail = |source| RouteError {
            route: options.name.clone(),
            source,
        };
        let resumption = previous.map_or_else(Arc::default, |old| Arc::clone(&old.resumption));
        let counters = previous.map_or_else(Arc::default, |old| Arc::clone(&old.counters));
        let unknown_cancels =
            previous.map_or_else(Arc::default, |old| Arc::clone(&old.unknown_cancels));
        let listener_tls = options
            .listener
            .tls
            .as_ref()
            .map(|tls| resume_server_config(tls, &resumption))
            .transpose()
            .map_err(|error| fail(error.into()))?;
        let backends = Backends::build(options, &counters, backends).map_err(fail)?;
        Ok(Self {
            id: options.route_id,
            max_client_conn_per_ip: options.max_client_conn_per_ip,
            max_client_conn: options.max_client_conn,
            listener_tls,
            resumption,
            requires_tls: options.listener.require_tls,
            client_idle_timeout: options.listener.client_idle_timeout,
            listener_keepalive: options.listener.keepalive.clone(),
            backends,
            hooks: options.hooks,
            counters,
            unknown_cancels,
        })
    }

    /// Whether a route that was taken away at `since` may still be needed: by connections that negotiate, or for its counters.
    fn is_wanted(&self, since: Instant, now: Instant) -> bool {
        self.counters.live_sessions().load(Ordering::Relaxed) > 0
            || now.saturating_duration_since(since) < RETIREMENT
    }

    fn snapshot(&self) -> RouteSnapshot {
        let warm = self.backends.iter().filter_map(|one| one.warm.as_ref());
        let connections = warm.map(WarmPool::len).sum::<usize>();
        let connections = u32::try_from(connections).unwrap_or(u32::MAX);
        self.counters.snapshot(self.id, connections)
    }
}

/// How long a route that was taken away serves connections that were accepted before and still negotiate.
const RETIREMENT: Duration = Duration::from_mins(10);

/// All routes by id. Reads are short; the lock is held for a look-up or a swap.
#[derive(Debug, Default)]
pub(crate) struct RouteTable {
    routes: RwLock<Routes>,
}

#[derive(Debug, Default)]
struct Routes {
    current: HashMap<u32, Arc<Route>>,
    /// Taken away by a reload at that time; forgotten by one that comes [`RETIREMENT`] later.
    retired: HashMap<u32, (Arc<Route>, Instant)>,
}

impl Routes {
    fn find(&self, route_id: u32) -> Option<&Arc<Route>> {
        let retired = || self.retired.get(&route_id).map(|(route, _)| route);
        self.current.get(&route_id).or_else(retired)
    }

    /// Puts `fresh` in place of the current routes.
    fn swap(&mut self, fresh: HashMap<u32, Arc<Route>>, now: Instant) {
        let replaced = std::mem::replace(&mut self.current, fresh);
        let current = &self.current;
        self.retired
            .retain(|id, (route, since)| !current.contains_key(id) && route.is_wanted(*since, now));
        let gone = replaced.into_iter();
        let gone = gone.filter(|(id, _)| !current.contains_key(id));
        self.retired
            .extend(gone.map(|(id, route)| (id, (route, now))));
    }
}

impl RouteTable {
    /// Builds every route before it replaces any; counters of routes that stay go on counting, and their sessions resume. Those that
    /// come no more are still found for a while.
    pub(crate) fn replace(&self, options: &[RouteOptions]) -> Result<(), RouteError> {
        let mut fresh = HashMap::with_capacity(options.len());
        for route in options {
            let previous = self.find(route.route_id);
            let current = self.current(route.route_id);
            let in_use = current.as_deref().map(|route| &route.backends);
            let built = Route::build(route, previous.as_deref(), in_use)?;
            fresh.insert(route.route_id, Arc::new(built));
        }
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        routes.swap(fresh, Instant::now());
        Ok(())
    }

    pub(crate) fn find(&self, route_id: u32) -> Option<Arc<Route>> {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        routes.find(route_id).map(Arc::clone)
    }

    fn current(&self, route_id: u32) -> Option<Arc<Route>> {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        routes.current.get(&route_id).map(Arc::clone)
    }

    /// The backends of all routes.
    pub(crate) fn backends(&self) -> Vec<Arc<Backend>> {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        let routes = routes.current.values();
        routes
            .flat_map(|route| route.backends.iter())
            .map(Arc::clone)
            .collect()
    }

    pub(crate) fn snapshot(&self) -> Vec<RouteSnapshot> {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        let mut snapshots: Vec<_> = routes.current.values().map(|one| one.snapshot()).collect();
        snapshots.sort_by_key(|snapshot| snapshot.route_id);
        snapshots
    }
}
