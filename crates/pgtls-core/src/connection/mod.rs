//! The life of one connection on its worker. One file per phase, in this order: `handshake`, `route`, `connect`,
//! `authentication`, `relay`, `close`; `cancel` stands beside them. `peer`, `socket`, `relay_state` and `ending` serve them all.

mod authentication;
pub(crate) mod cancel;
pub(crate) mod client_socket;
mod close;
mod connect;
mod ending;
pub(crate) mod farewell;
mod handshake;
mod journal;
mod login;
mod packed_report;
mod peer;
mod relay;
mod relay_state;
mod route;
mod serve;
mod session;
mod signals;
mod socket;
mod watch;

pub(crate) use ending::Ending;
pub(crate) use journal::{Arrival, Journal};
pub(crate) use serve::{WorkerLocal, panic_text, serve};
