//! Real handshakes in memory between configurations that pgtls-tls builds from files, and what it says about broken ones.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "outside #[test] functions, too, a helper's panic is how a test fails"
)]

mod alpn;
mod alpn_chooser;
mod backend_resumption;
mod backend_verification;
mod broken_peers;
mod certificate_judge;
mod chains;
mod client_certificates;
mod configuration_errors;
mod encrypted_keys;
mod hosts;
mod identities;
mod late_tickets;
mod listener_resumption;
mod observer;
mod old_clients;
mod resumption_support;
mod revocation;
mod staple;
mod stapling;
mod support;
mod ticket_key_files;
mod unbuffered;
mod version_one_certificates;
mod versions_and_ciphers;
