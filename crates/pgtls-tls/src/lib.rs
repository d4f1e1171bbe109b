//! TLS for both peers: the only crate (besides pgtls-testkit) that names rustls.
//!
//! [`server_config`] turns a listener's options into a `rustls::ServerConfig`, [`client_config`] a backend's into a
//! `rustls::ClientConfig`; [`inspect`] reports every problem of both at once; [`failure`] says why a handshake failed.
//! Invariant: file paths come in, private keys never go out.

pub mod alert;
mod backend_sessions;
pub mod buffer;
pub mod build;
mod chain;
pub mod channel_binding;
pub mod cipher_suite;
pub mod client_config;
pub mod client_hello;
pub mod client_hello_reader;
pub mod config_key;
mod date;
pub mod dated;
mod der;
mod encrypted_key;
pub mod endpoint;
pub mod error;
mod error_path;
pub mod failure;
mod failure_reason;
pub mod group;
mod host_table;
pub mod identity;
pub mod identity_error;
pub mod inspect;
pub mod leaf;
mod listener_identities;
pub mod name_check;
pub mod ocsp;
pub mod ocsp_der;
pub mod ops;
pub mod options;
pub mod outbox;
mod passphrase_command;
mod pem_file;
pub mod policy;
mod policy_hash;
pub mod refusal;
pub mod resumption_state;
mod revocation;
mod revocation_error;
pub mod server_config;
mod revocation_keys;
mod server_name_refusal;
mod server_resumption;
pub mod session;
mod session_cache;
mod session_rules;
mod session_value;
pub mod sni_resolver;
pub mod socket_source;
pub mod staple;
pub mod stream;
pub mod summary;
mod sync;
pub mod ticket_key_file;
mod tickets;
mod trust;
pub mod user_map;
mod user_map_line;
pub mod verifier;
mod version_one;
pub mod warning;
