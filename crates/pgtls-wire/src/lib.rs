//! The part of the PostgreSQL frontend/backend protocol that pgtls itself has to understand: the
//! start-up packets, the framing of regular messages, the messages of the authentication phase,
//! and the `ErrorResponse` pgtls sends in its own name.
//!
//! Sans-IO: every function takes bytes and returns what they mean, borrowing from them. May import
//! nothing of the workspace. Invariant: no input panics, and nothing is allocated by parsing.

#![forbid(unsafe_code)]
#![allow(
    clippy::doc_markdown,
    reason = "PostgreSQL and SQLSTATE are names, not identifiers"
)]

mod application_name;
mod authentication;
mod error_response;
#[cfg(test)]
mod fuzz;
mod message;
mod message_walk;
mod startup;
mod startup_error;
mod startup_message;
mod strings;
pub mod tag;

pub use application_name::add_host_to_application_name;
pub use authentication::{
    AuthenticationRequest, BackendKeyData, ReadyForQuery, SaslMechanisms, TransactionStatus,
    sasl_initial_response_mechanism, sasl_without_channel_binding,
};
pub use error_response::{ErrorResponse, SqlState, error_field};
pub use message::{FramingError, Message, next_message};
pub use message_walk::MessageWalk;
pub use startup::{
    CancelRequest, MAX_STARTUP_PACKET_BYTES, MIN_STARTUP_PACKET_BYTES, Parsed, SSL_REQUEST,
    StartupPacket, encode_cancel_request, parse_startup_packet,
};
pub use startup_error::StartupError;
pub use startup_message::{Parameters, StartupMessage};
