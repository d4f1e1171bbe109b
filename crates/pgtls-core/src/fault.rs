//! Faults for tests, behind the feature `fault-injection`: no published build has it.

use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

/// Something that goes wrong in a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The loop that accepts connections panics.
    PanicInLoop,
}

/// A StartupMessage with this `application_name` makes its session's task panic.
pub const PANIC_APPLICATION_NAME: &str = "pgtls-fault-panic";

impl Fault {
    /// Lets it happen.
    #[expect(clippy::panic, reason = "that is the fault")]
    pub(crate) fn strike(self) {
        match self {
            Self::PanicInLoop => panic!("injected fault: panic in the worker's loop"),
        }
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
