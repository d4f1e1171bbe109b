//! The class `DataPlane`.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use napi::Env;
use napi::bindgen_prelude::{Buffer, Function, Object};
use napi::threadsafe_function::{ThreadsafeFunctionCallMode, UnknownReturnValue};
use napi_derive::napi;
use pgtls_core as core;

use crate::error::{Code, Result, fail};
use crate::events::{DataPlaneEvent, number};
use crate::fd::with_borrowed;
use crate::inspect::{Inspection, inspect_routes};
use crate::loader::{self, Loader};
use crate::metrics::{RouteMetrics, TlsConnectionCount};
use crate::options::{DataPlaneOptions, RouteOptions, routes};
use crate::process::RELEASE_MEMORY;
use crate::questions::Answer;

/// What comes along with a descriptor.
#[napi(object, use_nullable = true)]
pub struct Handoff {
    /// Chosen by the caller; an integer.
    pub connection_id: f64,
    /// Which route serves it.
    pub route_id: u32,
    /// What the negotiation left the socket in.
    #[napi(ts_type = "'negotiated' | 'direct' | 'none'")]
    pub encryption: String,
    /// Bytes read from the socket that belong to what comes next.
    pub prefix: Option<Buffer>,
    /// The client's address.
    pub peer: String,
    /// The address it connected to.
    pub local_address: String,
    /// What is left of the login time.
    pub remaining_millis: f64,
}

/// Counters at one moment.
#[napi(object, use_nullable = true)]
pub struct DataPlaneSnapshot {
    /// Worker threads running.
    pub workers: u32,
    /// Workers that died and were replaced.
    pub worker_restarts: f64,
    /// How often the proxy thread's loop died and began again.
    pub supervisor_restarts: f64,
    /// How often the keeper's thread died and began again.
    pub keeper_restarts: f64,
    /// Sessions of all routes.
    pub live_sessions: u32,
    /// How many handshakes with clients may go on at a time.
    pub handshakes_limit: u32,
    /// Connections that wait for their turn.
    pub handshakes_waiting: u32,
    /// TLS legs of connections that are open now, as far as there are any.
    pub tls_connections: Vec<TlsConnectionCount>,
    /// Per route, by id.
    pub routes: Vec<RouteSnapshot>,
}

/// One route's counters.
#[napi(object, use_nullable = true)]
pub struct RouteSnapshot {
    /// As in the options.
    pub route_id: u32,
    /// Sessions that have not ended.
    pub live_sessions: u32,
    /// Plaintext from clients.
    pub bytes_in: f64,
    /// Plaintext from the backend.
    pub bytes_out: f64,
    /// Connections made ahead that wait now.
    pub warm_connections: u32,
    /// Sessions that got one of them.
    pub warm_hits: f64,
    /// Sessions that found none.
    pub warm_misses: f64,
    /// Probes that learnt a server's role.
    pub probes_ok: f64,
    /// Probes that did not.
    pub probes_failed: f64,
    /// Logins refused because channel binding cannot work across the two legs.
    pub channel_binding_conflicts: f64,
    /// What else was counted.
    pub metrics: RouteMetrics,
}

/// How a drain ended.
#[napi(object, use_nullable = true)]
pub struct DrainReport {
    /// Sessions that ended by themselves.
    pub drained: u32,
    /// Sessions that were cut.
    pub cut: u32,
}

/// The data plane: threads that own every byte after the start-up negotiation.
#[napi]
pub struct DataPlane {
    /// Before `inner`, so that what it runs is over first.
    loader: Loader,
    inner: AssertUnwindSafe<Arc<core::DataPlane>>,
}

#[napi]
impl DataPlane {
    /// Builds every route and starts the threads, all but the promise on a thread of its own. `onEvent` is called on the JavaScript
    /// thread and keeps no process alive.
    #[napi(catch_unwind, ts_return_type = "Promise<DataPlane>")]
    pub fn start<'env>(
        env: &'env Env,
        options: DataPlaneOptions,
        on_event: Function<'_, DataPlaneEvent, UnknownReturnValue>,
    ) -> Result<Object<'env>> {
        let sink = on_event
            .build_threadsafe_function::<DataPlaneEvent>()
            .weak::<true>()
            .build()
            .map_err(|error| fail(Code::DataPlaneFailed, error.to_string()))?;
        let events: core::EventSink = Arc::new(move |event| {
            // Fails only while Node is shutting down, when nobody listens any more.
            let _ = sink.call(
                DataPlaneEvent::from(event),
                ThreadsafeFunctionCallMode::NonBlocking,
            );
        });
        let hooks = core::Hooks {
            release_memory: RELEASE_MEMORY,
            ..core::Hooks::events(events)
        };
        loader::promise(env, move || {
            let options = options.into_core().map_err(invalid)?;
            let inner = core::DataPlane::start(&options, hooks).map_err(|error| match error {
                core::StartError::Route(error) => invalid(error),
                core::StartError::Threads(_) => fail(Code::DataPlaneFailed, error.to_string()),
            })?;
            Ok(Self {
                loader: Loader::default(),
                inner: AssertUnwindSafe(Arc::new(inner)),
            })
        })
    }

    /// Replaces the routes for connections to come, re-reading every file; all or nothing. Those asked for at the same time are
    /// carried out one after the other.
    #[napi(catch_unwind, ts_return_type = "Promise<void>")]
    pub fn reload<'env>(
        &self,
        env: &'env Env,
        new_routes: Vec<RouteOptions>,
    ) -> Result<Object<'env>> {
        self.check_open()?;
        let inner = Arc::clone(&self.inner);
        self.loader.promise(env, move || {
            let new_routes = routes(new_routes).map_err(invalid)?;
            inner.reload(&new_routes).map_err(invalid)
        })
    }

    /// As the function of this name; ends with the data plane.
    #[napi(catch_unwind, ts_return_type = "Promise<Inspection>")]
    pub fn inspect<'env>(&self, env: &'env Env, options: DataPlaneOptions) -> Result<Object<'env>> {
        self.check_open()?;
        self.loader
            .promise(env, move || Ok::<Inspection, _>(inspect_routes(options)))
    }

    /// Takes over the socket behind `fd`, whose number it duplicates: the caller closes its own in any case.
    #[napi(catch_unwind)]
    pub fn adopt(&self, fd: i32, handoff: Handoff) -> Result<()> {
        let handoff = convert(&handoff)?;
        with_borrowed(fd, |fd| self.inner.adopt(fd, handoff))
            .ok_or_else(|| fail(Code::AdoptFailed, format!("{fd} is no descriptor")))?
            .map_err(|error| {
                let code = match error {
                    core::AdoptError::RouteUnknown(_) => Code::RouteUnknown,
                    core::AdoptError::TooManyConnections => Code::TooManyConnections,
                    core::AdoptError::Closed => Code::Closed,
                    core::AdoptError::Descriptor(_) => Code::AdoptFailed,
                };
                fail(code, error.to_string())
            })
    }

    /// Answers a question event; false when its connection does not wait any more.
    #[napi(catch_unwind)]
    pub fn answer(&self, question_id: f64, answer: Answer) -> Result<bool> {
        self.check_open()?;
        Ok(self.inner.answer(integer(question_id), answer.into_core()))
    }

    /// Counters at this moment.
    #[napi(catch_unwind)]
    pub fn snapshot(&self) -> Result<DataPlaneSnapshot> {
        self.check_open()?;
        let snapshot = self.inner.snapshot();
        Ok(DataPlaneSnapshot {
            workers: snapshot.workers,
            worker_restarts: number(snapshot.worker_restarts),
            supervisor_restarts: number(snapshot.supervisor_restarts),
            keeper_restarts: number(snapshot.keeper_restarts),
            live_sessions: snapshot.live_sessions,
            handshakes_limit: snapshot.handshakes.limit,
            handshakes_waiting: snapshot.handshakes.waiting,
            tls_connections: snapshot
                .tls_connections
                .into_iter()
                .map(TlsConnectionCount::from)
                .collect(),
            routes: snapshot
                .routes
                .into_iter()
                .map(|route| RouteSnapshot {
                    route_id: route.route_id,
                    live_sessions: route.live_sessions,
                    bytes_in: number(route.bytes_in),
                    bytes_out: number(route.bytes_out),
                    warm_connections: route.warm_connections,
                    warm_hits: number(route.warm_hits),
                    warm_misses: number(route.warm_misses),
                    probes_ok: number(route.probes_ok),
                    probes_failed: number(route.probes_failed),
                    channel_binding_conflicts: number(route.channel_binding_conflicts),
                    metrics: RouteMetrics::from(route.metrics),
                })
                .collect(),
        })
    }

    /// Resolves once no session lives; sessions left after `graceMillis` are cut. Keeps the process alive until then.
    #[napi(catch_unwind, ts_return_type = "Promise<DrainReport>")]
    pub fn drain<'env>(&self, env: &'env Env, grace_millis: f64) -> Result<Object<'env>> {
        self.check_open()?;
        let (deferred, promise) = env
            .create_deferred()
            .map_err(|error| fail(Code::DataPlaneFailed, error.to_string()))?;
        let done = move |report: core::DrainReport| {
            deferred.resolve(move |_| {
                Ok(DrainReport {
                    drained: report.drained,
                    cut: report.cut,
                })
            });
        };
        self.inner.drain(duration(grace_millis), Box::new(done));
        Ok(promise)
    }

    /// Ends every session and whatever reads files, and joins every thread; idempotent. Later calls of the other methods throw
    /// PGTLS_CLOSED, and promises that are left are rejected with it.
    #[napi(catch_unwind)]
    pub fn close(&self) {
        self.loader.end();
        self.inner.close();
    }

    fn check_open(&self) -> Result<()> {
        if self.inner.is_closed() {
            return Err(fail(Code::Closed, "the data plane is closed"));
        }
        Ok(())
    }
}

/// What is wrong with a configuration or its files.
fn invalid(error: impl ToString) -> napi::Error<Code> {
    fail(Code::TlsConfigInvalid, error.to_string())
}

fn convert(handoff: &Handoff) -> Result<core::Handoff> {
    let encryption = match handoff.encryption.as_str() {
        "negotiated" => core::ClientEncryption::Negotiated,
        "direct" => core::ClientEncryption::Direct,
        "none" => core::ClientEncryption::None,
        other => {
            return Err(fail(
                Code::AdoptFailed,
                format!("unknown encryption \"{other}\""),
            ));
        }
    };
    Ok(core::Handoff {
        connection_id: integer(handoff.connection_id),
        route_id: handoff.route_id,
        encryption,
        prefix: handoff
            .prefix
            .as_ref()
            .map(|prefix| prefix.to_vec())
            .unwrap_or_default(),
        peer: handoff.peer.clone(),
        local_address: handoff.local_address.clone(),
        remaining: duration(handoff.remaining_millis),
    })
}

/// A JavaScript number of milliseconds; below zero and not-a-number are zero.
fn duration(millis: f64) -> Duration {
    Duration::from_millis(integer(millis))
}

/// A JavaScript number that is an id or a count; the cast saturates.
#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float becomes an integer only by a cast, which saturates and makes not-a-number zero"
)]
fn integer(value: f64) -> u64 {
    value as u64
}
