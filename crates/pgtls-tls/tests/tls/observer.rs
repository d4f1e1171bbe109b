//! A client that accepts everything and remembers what it was shown, and the files of identities it can be shown.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use pgtls_testkit::{CertificateSpec, Issued, IssuedFiles, OcspAnswer, TempDir, TestCa};
use pgtls_tls::inspect::{Inspection, inspect};
use pgtls_tls::options::{HostTlsOptions, ListenerTlsOptions};
use pgtls_tls::server_config::build_server_config;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, ServerConnection,
    SignatureScheme, SupportedProtocolVersion,
};

use crate::support::{Failed, drive};

/// What a server showed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) ocsp: Vec<u8>,
}

#[derive(Debug)]
struct Observer {
    shown: Mutex<Shown>,
    provider: CryptoProvider,
}

impl ServerCertVerifier for Observer {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = std::iter::once(leaf).chain(intermediates);
        *self.shown.lock().unwrap() = Shown {
            chain: chain.map(|one| one.clone().into_owned()).collect(),
            ocsp: ocsp.to_vec(),
        };
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, leaf, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, leaf, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// What a client of `version` that asks for `server_name` is shown; an IP address is not sent.
pub(crate) fn shown_in(
    options: &ListenerTlsOptions,
    server_name: &str,
    version: &'static SupportedProtocolVersion,
) -> Result<Shown, Failed> {
    let observer = Arc::new(Observer {
        shown: Mutex::default(),
        provider: aws_lc_rs::default_provider(),
    });
    let verifier: Arc<dyn ServerCertVerifier> = Arc::<Observer>::clone(&observer);
    let provider = Arc::new(aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    let name = ServerName::try_from(server_name.to_owned()).unwrap();
    let client = ClientConnection::new(Arc::new(client), name).unwrap();
    let server = build_server_config(options).unwrap();
    drive(client, ServerConnection::new(server.config).unwrap())?;
    Ok(observer.shown.lock().unwrap().clone())
}

/// The same with TLS 1.3.
pub(crate) fn shown(options: &ListenerTlsOptions, server_name: &str) -> Result<Shown, Failed> {
    shown_in(options, server_name, &rustls::version::TLS13)
}

/// An authority, and a directory for what it issues.
pub(crate) struct Shelf {
    pub(crate) ca: TestCa,
    pub(crate) directory: TempDir,
}

/// A certificate on disk.
pub(crate) struct Stored {
    pub(crate) issued: Issued,
    pub(crate) files: IssuedFiles,
}

impl Shelf {
    pub(crate) fn new() -> Self {
        Self {
            ca: TestCa::new("root of one test"),
            directory: TempDir::new().unwrap(),
        }
    }

    pub(crate) fn issue(&self, name: &str, spec: &CertificateSpec) -> Stored {
        self.issue_from(&self.ca, name, spec)
    }

    pub(crate) fn issue_from(&self, ca: &TestCa, name: &str, spec: &CertificateSpec) -> Stored {
        let issued = ca.issue(spec);
        let files = issued.write_to(self.directory.path(), name);
        Stored { issued, files }
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Writes what the authority says about `leaf`.
    pub(crate) fn staple(&self, name: &str, leaf: &Stored, answer: &OcspAnswer) -> PathBuf {
        self.write(name, &self.ca.ocsp_response(&leaf.issued, answer))
    }
}

/// A listener that shows these.
pub(crate) fn listener_of(stored: &[&Stored]) -> ListenerTlsOptions {
    ListenerTlsOptions {
        cert_files: stored
            .iter()
            .map(|one| one.files.cert_file.clone())
            .collect(),
        key_files: stored
            .iter()
            .map(|one| one.files.key_file.clone())
            .collect(),
        ..ListenerTlsOptions::default()
    }
}

/// A row that shows these for `hostnames`.
pub(crate) fn host_of(hostnames: &[&str], stored: &[&Stored]) -> HostTlsOptions {
    let ListenerTlsOptions {
        cert_files,
        key_files,
        ..
    } = listener_of(stored);
    HostTlsOptions {
        hostnames: hostnames.iter().map(ToString::to_string).collect(),
        cert_files,
        key_files,
        ..HostTlsOptions::default()
    }
}

pub(crate) fn inspected(options: &ListenerTlsOptions) -> Inspection {
    inspect(Some(options), None, &[])
}

/// Path, code and message of each problem.
pub(crate) fn problems(options: &ListenerTlsOptions) -> Vec<(String, &'static str, String)> {
    let found = inspected(options).problems;
    let describe =
        |error: &pgtls_tls::error::TlsConfigError| (error.path(), error.code(), error.to_string());
    found.iter().map(describe).collect()
}
