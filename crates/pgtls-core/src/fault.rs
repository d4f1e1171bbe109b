//! Faults for tests, behind the feature `fault-injection`: no published build has it.

use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Something that goes wrong in a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A worker's loop, which accepts connections, panics.
    PanicInLoop,
    /// The proxy thread's loop panics.
    PanicInSupervisor,
    /// The keeper's loop panics.
    PanicInKeeper,
}

/// A StartupMessage with this `application_name` makes its session's task panic.
pub const PANIC_APPLICATION_NAME: &str = "pgtls-fault-panic";

impl Fault {
    /// Lets it happen.
    #[expect(clippy::panic, reason = "that is the fault")]
    pub(crate) fn strike(self) {
        match self {
            Self::PanicInLoop => panic!("injected fault: panic in the worker's loop"),
            Self::PanicInSupervisor => panic!("injected fault: panic in the proxy thread's loop"),
            Self::PanicInKeeper => panic!("injected fault: panic in the keeper's loop"),
        }
    }
}

/// Faults that wait for a thread that has no channel to be told them through.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pending(Arc<Mutex<Vec<Fault>>>);

impl Pending {
    pub(crate) fn add(&self, fault: Fault) {
        self.lock().push(fault);
    }

    /// Lets the next one happen, if there is one.
    pub(crate) fn strike(&self) {
        let next = self.lock().pop();
        if let Some(fault) = next {
            fault.strike();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Fault>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Panics if a session asks for it.
pub(crate) fn strike_session(application_name: Option<&str>) {
    assert!(
        application_name != Some(PANIC_APPLICATION_NAME),
        "injected fault: panic in a session"
    );
}

/// How look-ups of a name are answered, in place of the system's resolver.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// By one of these addresses, the next one each time.
    InTurn(Vec<SocketAddr>),
    /// By an error.
    Failure,
    /// Never.
    Silence,
}

/// What each name is answered with; guarded for one look-up.
static LOOKUPS: Mutex<BTreeMap<String, Lookup>> = Mutex::new(BTreeMap::new());

/// From now on, every data plane of this process that looks `name` up is answered so.
pub fn answer_lookups(name: &str, lookup: Lookup) {
    let mut lookups = LOOKUPS.lock().unwrap_or_else(PoisonError::into_inner);
    lookups.insert(name.to_owned(), lookup);
}

/// The answer to a look-up of `name`; none if the system is to be asked.
pub(crate) async fn look_up(name: &str) -> Option<io::Result<Vec<SocketAddr>>> {
    let next = {
        let mut lookups = LOOKUPS.lock().unwrap_or_else(PoisonError::into_inner);
        match lookups.get_mut(name)? {
            Lookup::InTurn(addresses) => {
                addresses.rotate_left(1);
                Some(Ok(addresses.last().copied().into_iter().collect()))
            }
            Lookup::Failure => Some(Err(io::Error::other("no such name"))),
            Lookup::Silence => None,
        }
    };
    match next {
        Some(answer) => Some(answer),
        None => pending().await,
    }
}
