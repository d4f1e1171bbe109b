//! What pgtls-core names of this crate, for a build without TLS: the same paths, and types without values.
//!
//! `server_config` and `client_config` refuse every configuration, and nothing else could make an [`Absent`]. So no leg with TLS
//! exists, the compiler drops every branch that would serve one, and the methods here have no body: `match self.0 {}`. What their
//! names mean is told by the modules of these names that a build with TLS has instead.

#![allow(
    missing_docs,
    reason = "documented where there is something to document"
)]

// No value.
use std::convert::Infallible as Absent;

mod configuration;
mod connection;

pub use configuration::*;
pub use connection::*;
