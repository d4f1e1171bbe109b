//! The threads: one proxy thread that supervises (`supervisor`), workers that serve (`worker`), and who gets what (`placement`).

pub(crate) mod backoff;
mod crew;
pub(crate) mod placement;
pub(crate) mod reports;
pub(crate) mod restart;
pub(crate) mod roster;
pub(crate) mod supervisor;
pub(crate) mod worker;
pub(crate) mod worker_counters;
