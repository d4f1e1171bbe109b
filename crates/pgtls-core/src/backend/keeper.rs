//! [`Keeper`]: the thread that does for backends what no session asks for: it probes their servers' roles, and keeps their pools of
//! warm connections filled. It is started with the first backend that needs it.
//!
//! Every chore is a task that this thread owns: it is aborted when its backend is replaced, and started anew, after a pause, should
//! it panic. Should the thread's own loop panic, or its runtime be refused, all of it is (`runtime/restart.rs`): connections that wait
//! and roles that are known stay with the backends meanwhile.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::{AbortHandle, Id, JoinSet, LocalSet};
use tokio::time::{Instant, sleep, sleep_until};

use crate::backend::Backend;
use crate::backend::role::PROBE_INTERVAL;
use crate::backend::warm::WarmPool;
use crate::connection::{Scratch, Target, choose_cold, targets_of};
use crate::data_plane::{Event, Shared};
use crate::runtime::backoff::Backoff;
use crate::runtime::restart::{Death, keep_running, refused, survive};

/// The thread's name.
const NAME: &str = "pgtls-keeper";

/// How long after its panic a chore is started anew.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// How often warm connections are looked at: whether they have grown too old, or were closed by the server.
const SWEEP_INTERVAL: Duration = Duration::from_millis(250);

/// The backends that are tended, and the thread that does it.
pub(crate) struct Keeper {
    shared: Arc<Shared>,
    /// Guards the thread's handle; starting it and telling it are all that runs under it.
    running: Mutex<Option<Running>>,
}

struct Running {
    backends: watch::Sender<Vec<Arc<Backend>>>,
    thread: JoinHandle<()>,
    #[cfg(feature = "fault-injection")]
    faults: crate::fault::Pending,
}

impl Keeper {
    /// Of the data plane that `shared` is of; no thread runs yet.
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self {
            shared: Arc::clone(shared),
            running: Mutex::new(None),
        }
    }

    /// Starts the thread, unless it runs.
    pub(crate) fn start(&self) -> io::Result<()> {
        let mut running = self.lock();
        if running.is_some() {
            return Ok(());
        }
        let runtime = build_runtime()?;
        let (backends, receiver) = watch::channel(Vec::new());
        #[cfg(feature = "fault-injection")]
        let faults = crate::fault::Pending::default();
        let mut tending = Tending {
            wanted: receiver,
            known: Vec::new(),
            #[cfg(feature = "fault-injection")]
            faults: faults.clone(),
        };
        let shared = Arc::clone(&self.shared);
        let thread = thread::Builder::new()
            .name(NAME.to_owned())
            .spawn(move || {
                let mut first = Some(runtime);
                keep_running(|| tending.run(first.take()), |reason| tell(&shared, reason));
                tending.leave_all();
            })?;
        *running = Some(Running {
            backends,
            thread,
            #[cfg(feature = "fault-injection")]
            faults,
        });
        Ok(())
    }

    /// From now on these backends are tended and no others.
    pub(crate) fn tend(&self, backends: Vec<Arc<Backend>>) {
        if let Some(running) = self.lock().as_ref() {
            running.backends.send_replace(backends);
        }
    }

    /// Ends the thread and what it holds open; idempotent.
    pub(crate) fn close(&self) {
        let running = self.lock().take();
        if let Some(Running {
            backends, thread, ..
        }) = running
        {
            drop(backends);
            // It may pause after a panic.
            thread.thread().unpark();
            // It survives its panics.
            let _ = thread.join();
        }
    }

    /// Lets the thread be struck by `fault`, if it runs.
    #[cfg(feature = "fault-injection")]
    pub(crate) fn inject(&self, fault: crate::fault::Fault) {
        if let Some(running) = self.lock().as_ref() {
            running.faults.add(fault);
            running.backends.send_modify(|_same| {});
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn build_runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// That the thread began again.
fn tell(shared: &Shared, reason: Death) {
    shared.workers.add_keeper_restart();
    (shared.events)(Event::ThreadRestarted {
        thread: NAME,
        reason,
    });
}

/// What the thread goes on from when it begins again.
struct Tending {
    wanted: watch::Receiver<Vec<Arc<Backend>>>,
    /// The backends whose connections are this thread's to close once they are not wanted any more.
    known: Vec<Arc<Backend>>,
    #[cfg(feature = "fault-injection")]
    faults: crate::fault::Pending,
}

impl Tending {
    /// Tends the backends that are wanted until nobody says any more which, in `runtime` if there is one yet.
    fn run(&mut self, runtime: Option<Runtime>) -> Result<(), Death> {
        let runtime = match runtime.map_or_else(build_runtime, Ok) {
            Ok(runtime) => runtime,
            // Nothing is left to do.
            Err(_) if self.wanted.has_changed().is_err() => return Ok(()),
            Err(error) => return Err(refused(&error)),
        };
        // What was wanted before is wanted still.
        self.wanted.mark_changed();
        let end = survive(|| LocalSet::new().block_on(&runtime, self.keep()));
        // A name look-up that hangs in the resolver must not hold the end of this thread up.
        runtime.shutdown_background();
        end
    }

    /// The thread's work, until the sender of `wanted` is dropped. The tasks end with it.
    async fn keep(&mut self) {
        let scratch = Rc::default();
        let mut tasks = JoinSet::new();
        let mut tended: Vec<Tended> = Vec::new();
        loop {
            tokio::select! {
                changed = self.wanted.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    #[cfg(feature = "fault-injection")]
                    self.faults.strike();
                    self.leave_unwanted();
                    for one in tended.extract_if(.., |one| !is_among(&self.known, &one.backend)) {
                        one.task.abort();
                    }
                    for backend in &self.known {
                        if !tended.iter().any(|one| Arc::ptr_eq(backend, &one.backend)) {
                            for chore in backend.chores() {
                                tended.push(begin(&mut tasks, backend, chore, Duration::ZERO, &scratch));
                            }
                        }
                    }
                }
                Some(result) = tasks.join_next_with_id() => {
                    if let Err(error) = result && error.is_panic() {
                        restart(&mut tended, error.id(), &mut tasks, &scratch);
                    }
                }
            }
        }
    }

    /// From now on what is wanted is known, and nothing else.
    fn leave_unwanted(&mut self) {
        let wanted = self.wanted.borrow_and_update().clone();
        let before = std::mem::replace(&mut self.known, wanted);
        for backend in before {
            if !is_among(&self.known, &backend) {
                backend.close_warm();
            }
        }
    }

    /// Closes what is held open.
    fn leave_all(self) {
        for backend in self.known {
            backend.close_warm();
        }
    }
}

fn is_among(backends: &[Arc<Backend>], backend: &Arc<Backend>) -> bool {
    backends.iter().any(|one| Arc::ptr_eq(one, backend))
}

/// Something to be done for a backend as long as it is in use.
#[derive(Clone, Copy, Debug)]
enum Chore {
    /// Learn the roles of the servers behind the address with this index.
    Probe(usize),
    /// Keep the pool filled.
    Warm,
}

impl Backend {
    fn chores(&self) -> impl Iterator<Item = Chore> {
        let probed = self.roles.as_ref().map_or(0, |_| self.addresses.len());
        let warmed = self.warm.as_ref().map(|_| Chore::Warm);
        (0..probed).map(Chore::Probe).chain(warmed)
    }
}

/// A chore under way.
struct Tended {
    backend: Arc<Backend>,
    chore: Chore,
    task: AbortHandle,
}

fn begin(
    tasks: &mut JoinSet<()>,
    backend: &Arc<Backend>,
    chore: Chore,
    pause: Duration,
    scratch: &Rc<RefCell<Scratch>>,
) -> Tended {
    let (for_task, scratch) = (Arc::clone(backend), Rc::clone(scratch));
    let task = tasks.spawn_local(async move {
        sleep(pause).await;
        match chore {
            Chore::Probe(address) => probe_for_ever(&for_task, address, &scratch).await,
            Chore::Warm => keep_warm(&for_task, &scratch).await,
        }
    });
    Tended {
        backend: Arc::clone(backend),
        chore,
        task,
    }
}

fn restart(tended: &mut [Tended], id: Id, tasks: &mut JoinSet<()>, scratch: &Rc<RefCell<Scratch>>) {
    if let Some(one) = tended.iter_mut().find(|one| one.task.id() == id) {
        *one = begin(tasks, &one.backend, one.chore, RESTART_PAUSE, scratch);
    }
}

/// Looks one address up and probes every server behind it, again and again. Neither a name server nor a server that does not answer
/// holds the others up.
async fn probe_for_ever(backend: &Arc<Backend>, address: usize, scratch: &Rc<RefCell<Scratch>>) {
    let Some(roles) = &backend.roles else { return };
    let mut look_ups = JoinSet::new();
    let mut probes = JoinSet::new();
    // Those that were asked in this interval, or have not answered since an earlier one.
    let mut asked: Vec<(Target, AbortHandle)> = Vec::new();
    let mut next = Instant::now();
    loop {
        let now = Instant::now();
        if next <= now {
            next = now.checked_add(PROBE_INTERVAL).unwrap_or(now);
            if look_ups.is_empty() {
                look_ups.spawn_local(look_up_once(backend, address));
            }
            while probes.try_join_next().is_some() {}
            asked.retain(|(_, probe)| !probe.is_finished());
        }
        for target in roles.targets(address) {
            if !asked.iter().any(|(known, _)| *known == target) {
                let probe = probe_once(backend, address, target.clone(), scratch);
                asked.push((target, probes.spawn_local(probe)));
            }
        }
        tokio::select! {
            () = sleep_until(next) => {}
            Some(_) = look_ups.join_next() => {}
        }
    }
}

/// Looks one address up and notes the answer.
fn look_up_once(backend: &Arc<Backend>, address: usize) -> impl Future<Output = ()> + use<> {
    let backend = Arc::clone(backend);
    async move {
        if let (Some(roles), Some(configured)) = (&backend.roles, backend.addresses.get(address)) {
            let answer = targets_of(configured).await;
            let answer = answer.map_err(|ending| ending.message.unwrap_or_default());
            roles.note_look_up(address, answer);
        }
    }
}

/// Asks one server for its role and notes it.
fn probe_once(
    backend: &Arc<Backend>,
    address: usize,
    target: Target,
    scratch: &Rc<RefCell<Scratch>>,
) -> impl Future<Output = ()> + use<> {
    let (backend, scratch) = (Arc::clone(backend), Rc::clone(scratch));
    async move {
        if let Some(roles) = &backend.roles {
            let role = roles.prober.probe(&backend, &target, &scratch).await;
            roles.note_role(address, &target, role);
        }
    }
}

/// Keeps the pool at its size, until it is closed. While the backend is down, one connection is tried now and then.
async fn keep_warm(backend: &Arc<Backend>, scratch: &Rc<RefCell<Scratch>>) {
    let Some(pool) = &backend.warm else { return };
    let mut dialling: JoinSet<Option<()>> = JoinSet::new();
    let mut backoff = Backoff::default();
    let mut is_failing = false;
    let mut next_sweep = Instant::now();
    while !pool.is_closed() {
        // Not each time that one is taken: a login storm would have all of them looked at again and again.
        let now = Instant::now();
        if next_sweep <= now {
            pool.sweep(scratch);
            next_sweep = now.checked_add(SWEEP_INTERVAL).unwrap_or(now);
        }
        let due = backoff.until().is_none() || backoff.take_due(Instant::now());
        let missing = pool
            .size()
            .saturating_sub(pool.len().saturating_add(dialling.len()));
        let allowed = match (due, is_failing) {
            (false, _) => 0,
            (true, true) => 1usize.saturating_sub(dialling.len()),
            (true, false) => usize::MAX,
        };
        for _ in 0..missing.min(allowed) {
            let (backend, scratch) = (Arc::clone(backend), Rc::clone(scratch));
            dialling.spawn_local(async move { dial_and_park(&backend, &scratch).await });
        }
        tokio::select! {
            () = pool.changed.notified() => {}
            Some(result) = dialling.join_next() => {
                is_failing = !matches!(result, Ok(Some(())));
                if is_failing {
                    backoff.failed(Instant::now());
                } else {
                    backoff = Backoff::default();
                }
            }
            () = sleep_until(backoff.until().map_or(next_sweep, |until| until.min(next_sweep))) => {}
        }
    }
}

/// Makes one warm connection as a session would, and parks it; none if that failed.
async fn dial_and_park(backend: &Backend, scratch: &RefCell<Scratch>) -> Option<()> {
    let pool: &WarmPool = backend.warm.as_ref()?;
    let chosen = choose_cold(backend, scratch).await.ok()?;
    // What the handshake left unsent must go before nobody looks after the socket.
    let flushing = tokio::time::timeout(backend.connect_timeout, chosen.link.peer.flush());
    flushing.await.ok()?.ok()?;
    pool.park(chosen.address, chosen.link).ok()
}
