//! What the tests of every crate share: a certificate authority, a scripted PostgreSQL backend, and
//! a client that writes raw bytes. Never a dependency of the product.
//!
//! May import `pgtls-wire`, rustls and tokio. Invariant: every wait on a peer ends by [`DEADLINE`],
//! every port is 0, and dropping a [`FakeBackend`] ends whatever it serves.

#![forbid(unsafe_code)]
#![allow(
    clippy::doc_markdown,
    reason = "PostgreSQL is a name, not an identifier"
)]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a test kit that can't set the stage ends the test"
)]

use std::time::Duration;

mod backend_behaviour;
mod backend_session;
mod certificate_spec;
mod certificates;
mod checksum;
mod connection;
mod der;
mod encrypted_key;
mod fake_backend;
mod flood;
mod frontend;
pub mod fuzz;
pub mod messages;
mod ocsp;
mod postgres_connector;
mod server_role;
mod session_record;
mod stepwise_tls;
mod tls;
mod transport;

pub use backend_behaviour::{BackendBehaviour, EncryptionAnswer};
pub use certificate_spec::{CertificateSpec, KeyKind, Usage, Validity};
pub use certificates::{Issued, IssuedFiles, TestCa, self_signed};
pub use checksum::Checksum;
pub use connection::{Connection, Ending};
pub use encrypted_key::KeyEncryption;
pub use fake_backend::{BackendAddress, FakeBackend, FakeBackendBuilder};
pub use flood::Flood;
pub use frontend::{CopyOut, Frontend, OwnedMessage};
pub use ocsp::{OcspAnswer, OcspHash, OcspStatus};
pub use postgres_connector::PostgresConnector;
pub use server_role::ServerRole;
pub use session_record::{CancelSeen, SessionRecord, TlsSeen};
pub use stepwise_tls::StepwiseTls;
pub use tempfile::TempDir;
pub use tls::{TlsClient, server_config, server_config_with_client_ca};
pub use transport::Transport;

/// How long the kit waits for a peer before it fails the test.
pub const DEADLINE: Duration = Duration::from_secs(10);
