//! Faults for tests, behind the feature `fault-injection`: no published build has it.

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
