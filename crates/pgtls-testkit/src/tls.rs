//! TLS for both ends of a test: the fake backend's configuration and [`TlsClient`], always with
//! aws-lc-rs.

use std::io;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
    SupportedProtocolVersion,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::TlsConnector;

use crate::certificates::{Issued, TestCa};
use crate::connection::Connection;
use crate::transport::Transport;

/// The ALPN protocol of PostgreSQL 17 and later.
const ALPN: &[u8] = b"postgresql";

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// A server with this identity that offers ALPN `postgresql` and asks for no certificate.
#[must_use]
pub fn server_config(identity: &Issued) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("TLS 1.2 and 1.3")
        .with_no_client_auth();
    let config = builder.with_single_cert(identity.chain(), identity.key_der.clone_key());
    with_alpn(config.expect("a key that matches its certificate"))
}

/// The same, which demands a client certificate issued by `client_ca`.
#[must_use]
pub fn server_config_with_client_ca(identity: &Issued, client_ca: &TestCa) -> ServerConfig {
    let roots = Arc::new(client_ca.root_store());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
        .build()
        .expect("a root to trust");
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("TLS 1.2 and 1.3")
        .with_client_cert_verifier(verifier);
    let config = builder.with_single_cert(identity.chain(), identity.key_der.clone_key());
    with_alpn(config.expect("a key that matches its certificate"))
}

fn with_alpn(mut config: ServerConfig) -> ServerConfig {
    config.alpn_protocols = vec![ALPN.to_vec()];
    config
}

/// How a test's client does TLS. By default: TLS 1.2 and 1.3, server name `localhost` sent as SNI
/// and verified, ALPN `postgresql`, no certificate of its own.
#[derive(Debug, Clone)]
pub struct TlsClient {
    roots: Option<RootCertStore>,
    versions: Vec<&'static SupportedProtocolVersion>,
    alpn: Vec<Vec<u8>>,
    server_name: String,
    sends_sni: bool,
    identity: Option<Arc<Issued>>,
    resumption: Option<rustls::client::Resumption>,
    /// The configuration of every connection; `None` is a fresh one each.
    lasting: Option<Arc<ClientConfig>>,
}

impl TlsClient {
    /// Trusts `ca` and verifies the name.
    #[must_use]
    pub fn trusting(ca: &TestCa) -> Self {
        Self::with_roots(ca.root_store())
    }

    /// Trusts `roots` and verifies the name.
    #[must_use]
    pub fn with_roots(roots: RootCertStore) -> Self {
        Self {
            roots: Some(roots),
            ..Self::trusting_anyone()
        }
    }

    /// Accepts any certificate.
    #[must_use]
    pub fn trusting_anyone() -> Self {
        Self {
            roots: None,
            versions: vec![&rustls::version::TLS13, &rustls::version::TLS12],
            alpn: vec![ALPN.to_vec()],
            server_name: "localhost".to_owned(),
            sends_sni: true,
            identity: None,
            resumption: None,
            lasting: None,
        }
    }

    /// Offers these versions only.
    #[must_use]
    pub fn with_versions(mut self, versions: &[&'static SupportedProtocolVersion]) -> Self {
        self.versions = versions.to_vec();
        self
    }

    /// Offers TLS 1.2 only.
    #[must_use]
    pub fn tls_1_2_only(self) -> Self {
        self.with_versions(&[&rustls::version::TLS12])
    }

    /// Offers TLS 1.3 only.
    #[must_use]
    pub fn tls_1_3_only(self) -> Self {
        self.with_versions(&[&rustls::version::TLS13])
    }

    /// Offers these ALPN protocols; none = no extension.
    #[must_use]
    pub fn with_alpn(mut self, alpn: &[&str]) -> Self {
        self.alpn = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    /// Expects (and sends, if it is a DNS name) this server name.
    #[must_use]
    pub fn with_server_name(mut self, server_name: &str) -> Self {
        server_name.clone_into(&mut self.server_name);
        self
    }

    /// Sends no SNI.
    #[must_use]
    pub fn without_sni(mut self) -> Self {
        self.sends_sni = false;
        self
    }

    /// Shows this certificate when asked.
    #[must_use]
    pub fn with_identity(mut self, identity: Issued) -> Self {
        self.identity = Some(Arc::new(identity));
        self
    }

    /// Resumes sessions from this store, which the caller keeps.
    #[must_use]
    pub fn with_resumption(mut self, resumption: rustls::client::Resumption) -> Self {
        self.resumption = Some(resumption);
        self
    }

    /// Resumes sessions, from a store that this client's clones share. Comes last: rustls resumes within one configuration.
    #[must_use]
    pub fn resuming(mut self) -> Self {
        self = self.with_resumption(rustls::client::Resumption::in_memory_sessions(64));
        self.lasting = Some(Arc::new(self.config()));
        self
    }

    /// The rustls configuration.
    #[must_use]
    pub fn config(&self) -> ClientConfig {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&self.versions)
            .expect("versions the provider knows");
        let builder = match &self.roots {
            Some(roots) => builder.with_root_certificates(roots.clone()),
            None => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyServer {
                    algorithms: aws_lc_rs::default_provider().signature_verification_algorithms,
                })),
        };
        let mut config = match &self.identity {
            Some(identity) => builder
                .with_client_auth_cert(identity.chain(), identity.key_der.clone_key())
                .expect("a key that matches its certificate"),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols.clone_from(&self.alpn);
        config.enable_sni = self.sends_sni;
        if let Some(resumption) = &self.resumption {
            config.resumption = resumption.clone();
        }
        config
    }

    /// The name that is expected.
    pub(crate) fn server_name(&self) -> &str {
        &self.server_name
    }

    /// Does the handshake on `transport`.
    ///
    /// # Errors
    /// The transport's, or `InvalidData` with the rustls error inside.
    pub async fn connect(&self, transport: Transport) -> io::Result<Connection> {
        let name = ServerName::try_from(self.server_name.clone()).map_err(io::Error::other)?;
        let lasting = self.lasting.clone();
        let config = lasting.unwrap_or_else(|| Arc::new(self.config()));
        let connector = TlsConnector::from(config);
        let stream = connector.connect(name, transport).await?;
        Ok(Connection::Tls(Box::new(stream.into())))
    }
}

/// Accepts every certificate; signatures are still checked.
#[derive(Debug)]
struct AnyServer {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
