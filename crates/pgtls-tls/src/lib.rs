//! TLS for both peers: the only crate (besides pgtls-testkit) that names rustls.
//!
//! [`server_config`] turns a listener's options into a `rustls::ServerConfig`, [`client_config`] a backend's into a
//! `rustls::ClientConfig`; [`inspect`] reports every problem of both at once; [`failure`] says why a handshake failed.
//! Invariant: file paths come in, private keys never go out.

pub mod alert;
pub mod buffer;
pub mod build;
mod chain;
pub mod channel_binding;
pub mod cipher_suite;
pub mod client_config;
mod client_hello;
pub mod config_key;
pub mod endpoint;
pub mod error;
pub mod failure;
pub mod group;
pub mod identity;
pub mod inspect;
pub mod leaf;
pub mod name_check;
pub mod ops;
pub mod options;
pub mod outbox;
mod pem_file;
pub mod policy;
pub mod server_config;
pub mod session;
pub mod sni_resolver;
pub mod socket_source;
pub mod stream;
pub mod summary;
mod sync;
pub mod verifier;
mod version_one;
