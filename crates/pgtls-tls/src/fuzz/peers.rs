//! [`Stage`]: both of our sides, configured as from a file, and the peers for them, which can tamper.

use std::sync::Arc;
use std::time::Duration;

use pgtls_testkit::fuzz::tampering_provider;
use pgtls_testkit::{CertificateSpec, TempDir, TestCa};
use rustls::client::{Resumption, UnbufferedClientConnection};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
};
use rustls_pki_types::ServerName;

use crate::client_config::{ClientTls, build_client_config};
use crate::endpoint::{BackendFacing, ClientFacing};
use crate::options::{
    BackendTlsOptions, BackendVerification, ClientCertificate, HostTlsOptions, ListenerTlsOptions,
    ResumptionOptions, RootCert, TicketKeySource,
};
use crate::server_config::{ServerTls, build_server_config};
use crate::session::SharedSession;

/// Both sides.
pub(super) struct Stage {
    pub(super) listener: ServerTls,
    backend: ClientTls,
    ca: TestCa,
    _directory: TempDir,
}

/// What a peer does.
pub(super) struct Peer {
    version: &'static SupportedProtocolVersion,
    client: Arc<ClientConfig>,
    resuming_client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl Stage {
    pub(super) fn new(adjust: impl FnOnce(&mut ListenerTlsOptions)) -> Self {
        let directory = TempDir::new().unwrap();
        let ca = TestCa::new("Fuzz CA");
        let ca_file = ca.write_to(directory.path(), "ca");
        let own = ca
            .issue(&CertificateSpec::localhost())
            .write_to(directory.path(), "own");
        let other = ca
            .issue(&CertificateSpec::server(&["other.example"]))
            .write_to(directory.path(), "other");
        let client = ca
            .issue(&CertificateSpec::client("pgtls"))
            .write_to(directory.path(), "client");
        let mut listener = ListenerTlsOptions {
            cert_files: vec![own.cert_file],
            key_files: vec![own.key_file],
            hosts: vec![HostTlsOptions {
                hostnames: vec!["other.example".to_owned()],
                cert_files: vec![other.cert_file],
                key_files: vec![other.key_file],
                ..HostTlsOptions::default()
            }],
            ca_file: Some(ca_file.clone()),
            client_certificate: ClientCertificate::Require,
            alpn: vec!["postgresql".to_owned()],
            resumption: Some(ResumptionOptions {
                tickets: 2.try_into().unwrap(),
                keys: TicketKeySource::Generated {
                    rotation: Duration::from_hours(1),
                },
            }),
            ..ListenerTlsOptions::default()
        };
        adjust(&mut listener);
        let backend = BackendTlsOptions {
            verification: BackendVerification::Full,
            root_cert: Some(RootCert::File(ca_file)),
            cert_file: Some(client.cert_file),
            key_file: Some(client.key_file),
            send_server_name: true,
            ..BackendTlsOptions::default()
        };
        Self {
            listener: build_server_config(&listener).unwrap(),
            backend: build_client_config(&backend).unwrap(),
            ca,
            _directory: directory,
        }
    }

    /// Peers of `version`.
    pub(super) fn peer(&self, version: &'static SupportedProtocolVersion) -> Peer {
        let provider = Arc::new(tampering_provider());
        let roots = self.ca.root_store();
        let alice = self.ca.issue(&CertificateSpec::client("alice"));
        let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_client_auth_cert(alice.chain(), alice.key_der.clone_key())
            .unwrap();
        client.alpn_protocols = vec![b"postgresql".to_vec()];
        client.resumption = Resumption::disabled();
        let mut resuming = client.clone();
        resuming.resumption = Resumption::in_memory_sessions(16);
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let own = self.ca.issue(&CertificateSpec::localhost());
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(own.chain(), own.key_der.clone_key())
            .unwrap();
        server.alpn_protocols = vec![b"postgresql".to_vec()];
        Peer {
            version,
            client: Arc::new(client),
            resuming_client: Arc::new(resuming),
            server: Arc::new(server),
        }
    }

    pub(super) fn accept(&self) -> SharedSession<ClientFacing> {
        SharedSession::new(ClientFacing::of(&self.listener).unwrap(), Vec::new())
    }

    pub(super) fn dial(&self) -> SharedSession<BackendFacing> {
        let config = self.backend.dialling_config();
        let name = ServerName::try_from("localhost").unwrap();
        let connection = UnbufferedClientConnection::new(config, name).unwrap();
        SharedSession::new(connection, Vec::new())
    }
}

impl Peer {
    /// A client that begins anew, or one that resumes if it can.
    pub(super) fn client(&self, resumes: bool) -> Connection {
        let config = if resumes {
            &self.resuming_client
        } else {
            &self.client
        };
        let name = ServerName::try_from("localhost").unwrap();
        ClientConnection::new(Arc::clone(config), name)
            .unwrap()
            .into()
    }

    /// The same, whose handshake messages are cut into several records; those of clients that resume are not.
    pub(super) fn with_small_records(mut self) -> Self {
        Arc::make_mut(&mut self.client).max_fragment_size = Some(300);
        Arc::make_mut(&mut self.server).max_fragment_size = Some(300);
        self
    }

    pub(super) fn server(&self) -> Connection {
        ServerConnection::new(Arc::clone(&self.server))
            .unwrap()
            .into()
    }

    pub(super) fn is_1_3(&self) -> bool {
        self.version.version == rustls::ProtocolVersion::TLSv1_3
    }
}
