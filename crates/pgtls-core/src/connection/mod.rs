//! The life of one connection on its worker. One file per phase, in this order: `handshake`, `route`, `choose` and `connect`,
//! `authentication`, `relay`, `close`; `cancel` stands beside them. `peer`, `socket`, `relay_state` and `ending` serve them all.

mod admission_check;
mod application_name;
mod ask;
mod authentication;
pub(crate) mod cancel;
pub(crate) mod cancel_queue;
pub(crate) mod cancel_registry;
mod cancel_unknown;
mod choose;
pub(crate) mod client_socket;
mod close;
mod connect;
mod ending;
pub(crate) mod farewell;
#[cfg(test)]
mod fuzz;
mod handshake;
mod journal;
mod linger;
mod login;
mod packed_report;
mod peer;
mod prefer;
mod proxy_header;
mod relay;
mod relay_state;
mod route;
mod sasl_offer;
mod serve;
mod session;
mod signals;
mod socket;
mod user_map;
mod watch;

pub(crate) use choose::choose_cold;
pub(crate) use connect::{Link, Target, connect_in_time, targets_of};
pub(crate) use ending::Ending;
pub(crate) use journal::{Arrival, Journal};
pub(crate) use peer::{BackendPeer, Peer, PlainStream, Scratch};
pub(crate) use proxy_header::socket_address;
pub(crate) use serve::{WorkerLocal, panic_text, serve};
pub(crate) use socket::Socket;
