//! TLS for both peers: the only crate (besides pgtls-testkit) that names rustls.
//!
//! [`server_config`] turns a listener's options into a `rustls::ServerConfig`, [`client_config`] a backend's into a
//! `rustls::ClientConfig`; [`inspect`] reports every problem of both at once; [`failure`] says why a handshake failed.
//! Invariant: file paths come in, private keys never go out.
//!
//! Without the feature `rustls` nothing of that is there: `absent` has what pgtls-core names, as types without values, so that a
//! peer with TLS can't come to be, and every configuration that asks for TLS is refused.

/// Whether this build has TLS.
pub const HAS_TLS: bool = cfg!(feature = "rustls");

#[cfg(not(feature = "rustls"))]
mod absent;
#[cfg(feature = "rustls")]
pub mod alert;
#[cfg(feature = "rustls")]
pub mod alpn_chooser;
#[cfg(feature = "rustls")]
mod backend_sessions;
pub mod buffer;
#[cfg(feature = "rustls")]
pub mod build;
#[cfg(feature = "rustls")]
pub mod certificate_judge;
#[cfg(feature = "rustls")]
mod chain;
#[cfg(feature = "rustls")]
pub mod channel_binding;
#[cfg(feature = "rustls")]
pub mod cipher_suite;
#[cfg(feature = "rustls")]
pub mod client_config;
#[cfg(feature = "rustls")]
pub mod client_facing;
#[cfg(feature = "rustls")]
pub mod client_hello;
#[cfg(feature = "rustls")]
pub mod client_hello_reader;
pub mod config_key;
#[cfg(feature = "rustls")]
mod date;
#[cfg(feature = "rustls")]
pub mod dated;
#[cfg(feature = "rustls")]
mod der;
mod descriptor;
#[cfg(feature = "rustls")]
mod encrypted_key;
#[cfg(feature = "rustls")]
pub mod endpoint;
#[cfg(feature = "rustls")]
pub mod error;
#[cfg(feature = "rustls")]
mod error_path;
#[cfg(feature = "rustls")]
pub mod failure;
mod failure_reason;
#[cfg(all(test, feature = "rustls"))]
mod fuzz;
#[cfg(feature = "rustls")]
pub mod group;
#[cfg(feature = "rustls")]
mod host_table;
#[cfg(feature = "rustls")]
pub mod identity;
#[cfg(feature = "rustls")]
pub mod identity_error;
#[cfg(feature = "rustls")]
pub mod inspect;
#[cfg(feature = "rustls")]
pub mod interrupt;
#[cfg(feature = "rustls")]
pub mod leaf;
#[cfg(feature = "rustls")]
mod listener_identities;
#[cfg(feature = "rustls")]
pub mod name_check;
#[cfg(feature = "rustls")]
pub mod ocsp;
#[cfg(feature = "rustls")]
mod old_client_hello;
#[cfg(feature = "rustls")]
mod opened_keys;
#[cfg(feature = "rustls")]
pub mod ops;
pub mod options;
pub mod outbox;
#[cfg(feature = "rustls")]
mod passphrase_command;
#[cfg(feature = "rustls")]
mod pem_file;
#[cfg(feature = "rustls")]
mod plaintext_alert;
#[cfg(feature = "rustls")]
pub mod policy;
#[cfg(feature = "rustls")]
mod policy_hash;
#[cfg(feature = "rustls")]
pub mod refusal;
pub mod regular_file;
#[cfg(feature = "rustls")]
pub mod resumption_state;
#[cfg(feature = "rustls")]
mod revocation;
#[cfg(feature = "rustls")]
mod revocation_error;
#[cfg(feature = "rustls")]
mod revocation_keys;
#[cfg(feature = "rustls")]
mod revocation_links;
#[cfg(feature = "rustls")]
pub mod server_config;
#[cfg(feature = "rustls")]
mod server_name_refusal;
#[cfg(feature = "rustls")]
mod server_resumption;
#[cfg(feature = "rustls")]
pub mod session;
#[cfg(feature = "rustls")]
mod session_cache;
#[cfg(feature = "rustls")]
mod session_rules;
#[cfg(feature = "rustls")]
mod session_value;
#[cfg(feature = "rustls")]
mod signature;
#[cfg(feature = "rustls")]
pub mod sni_resolver;
#[cfg(feature = "rustls")]
pub mod socket_source;
#[cfg(feature = "rustls")]
pub mod staple;
#[cfg(feature = "rustls")]
mod stapled_revocation;
#[cfg(feature = "rustls")]
pub mod stream;
#[cfg(feature = "rustls")]
pub mod summary;
#[cfg(feature = "rustls")]
mod sync;
#[cfg(feature = "rustls")]
pub mod ticket_key_file;
#[cfg(feature = "rustls")]
mod tickets;
pub mod transport;
#[cfg(feature = "rustls")]
mod trust;
#[cfg(feature = "rustls")]
pub mod user_map;
#[cfg(feature = "rustls")]
mod user_map_line;
#[cfg(feature = "rustls")]
pub mod verifier;
#[cfg(feature = "rustls")]
mod version_one;
#[cfg(feature = "rustls")]
pub mod warning;

#[cfg(not(feature = "rustls"))]
pub use absent::{
    channel_binding, client_config, client_hello, client_hello_reader, endpoint, error, failure,
    identity_error, leaf, ops, resumption_state, server_config, session, socket_source, stream,
    summary, user_map,
};
