//! The two sides' configurations for a session under test, over a certificate made now.

use std::sync::Arc;

use rcgen::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::PrivatePkcs8KeyDer;

/// A client that trusts the server `localhost`, and that server.
pub(crate) fn configs() -> (Arc<ClientConfig>, Arc<ServerConfig>) {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let mut client = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.enable_secret_extraction = true;
    let server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key.into())
        .unwrap();
    (Arc::new(client), Arc::new(server))
}
