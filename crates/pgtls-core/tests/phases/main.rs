//! The data plane as its owner sees it: real sockets in, a fake backend behind, a file per phase. One binary, linked once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "outside #[test] functions, too, a helper's panic is how a test fails"
)]

mod adopt;
mod authentication;
mod cancel;
mod choice;
mod close;
mod connect;
mod drain;
mod farewell;
mod handshake;
mod hooks;
mod hostile;
mod hosts;
mod leaks;
mod lookups;
mod metrics;
mod proxy_header;
mod relay;
mod reload;
mod responder;
mod resumption;
mod route;
mod stage;
mod supervision;
mod tls_failures;
mod user_map;
mod warm;
mod workers;
