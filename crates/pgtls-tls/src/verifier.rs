//! The two certificate verifiers rustls calls: [`BackendVerifier`] and [`ClientVerifier`].
//!
//! Both leave the chain to [`crate::chain`] and the name to [`crate::name_check`]. Whatever is accepted, the peer must
//! prove that it holds the certificate's key: handshake signatures are always verified.

use std::iter;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::backend_sessions::BackendSessions;
use crate::certificate_judge::{SharedJudge, judge_backend, judge_client};
use crate::chain::Purpose;
use crate::name_check::{NameMismatch, check_name};
use crate::refusal;
use crate::session_value::not_after;
use crate::trust::{Refusal, Trust};
use crate::version_one;

/// Judges the certificate a backend shows.
#[derive(Debug)]
pub struct BackendVerifier {
    trust: BackendTrust,
    provider: Arc<CryptoProvider>,
    sessions: Arc<BackendSessions>,
    embedder: Option<SharedJudge>,
}

/// What a [`BackendVerifier`] demands.
#[derive(Debug)]
pub(crate) enum BackendTrust {
    /// Nothing of the certificate itself.
    Anyone,
    /// A chain to these roots.
    Chain(Trust),
    /// A chain to these roots, and the name of the host dialled.
    ChainAndName(Trust),
}

impl BackendTrust {
    /// What a chain must lead to, if it is looked at.
    pub(crate) const fn trust(&self) -> Option<&Trust> {
        match self {
            Self::Anyone => None,
            Self::Chain(trust) | Self::ChainAndName(trust) => Some(trust),
        }
    }
}

impl BackendVerifier {
    /// `sessions` is told how long what was verified holds.
    pub(crate) const fn new(
        trust: BackendTrust,
        provider: Arc<CryptoProvider>,
        sessions: Arc<BackendSessions>,
    ) -> Self {
        Self {
            trust,
            provider,
            sessions,
            embedder: None,
        }
    }

    /// The same with somebody to ask beside.
    pub(crate) fn judged_by(self, embedder: Option<SharedJudge>) -> Self {
        Self { embedder, ..self }
    }

    fn judge(
        &self,
        trust: &Trust,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        staple: &[u8],
        now: UnixTime,
    ) -> Result<(), Refusal> {
        trust.verify(leaf, intermediates, Purpose::Server, now, &self.provider)?;
        trust.heed_staple(staple, leaf, intermediates, now, &self.provider)
    }
}

impl ServerCertVerifier for BackendVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let judged = match &self.trust {
            BackendTrust::Anyone => Ok(()),
            BackendTrust::Chain(trust) => {
                self.judge(trust, leaf, intermediates, ocsp_response, now)
            }
            BackendTrust::ChainAndName(trust) => self
                .judge(trust, leaf, intermediates, ocsp_response, now)
                .and_then(|()| {
                    check_name(leaf, host)
                        .map(|_| ())
                        .map_err(|mismatch| (name_error(mismatch, host).into(), None))
                }),
        };
        judged
            .and_then(|()| judge_backend(self.embedder.as_ref(), host, leaf, intermediates))
            .map_err(|(error, detail)| refusal::record(error, detail, leaf))?;
        if self.embedder.is_some() {
            self.sessions.note_chain(host, leaf, intermediates);
        }
        if let Some(trust) = self.trust.trust() {
            let chain = iter::once(leaf).chain(intermediates);
            let ends = chain.filter_map(not_after).chain(trust.ends());
            self.sessions.note_verified(host, now, ends);
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature_tls12(message, leaf, signed, &self.provider)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature_tls13(message, leaf, signed, &self.provider)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn name_error(mismatch: NameMismatch, host: &ServerName<'_>) -> CertificateError {
    match mismatch {
        NameMismatch::Unreadable => CertificateError::BadEncoding,
        NameMismatch::Names { presented } => CertificateError::NotValidForNameContext {
            expected: host.to_owned(),
            presented,
        },
    }
}

/// Judges the certificate a client shows, if it shows one.
#[derive(Debug)]
pub struct ClientVerifier {
    trust: Trust,
    root_names: Vec<DistinguishedName>,
    is_mandatory: bool,
    provider: Arc<CryptoProvider>,
    embedder: Option<SharedJudge>,
}

impl ClientVerifier {
    pub(crate) fn new(trust: Trust, is_mandatory: bool, provider: Arc<CryptoProvider>) -> Self {
        let root_names = trust.roots.store().subjects();
        Self {
            trust,
            root_names,
            is_mandatory,
            provider,
            embedder: None,
        }
    }

    /// The same with somebody to ask beside.
    pub(crate) fn judged_by(self, embedder: Option<SharedJudge>) -> Self {
        Self { embedder, ..self }
    }

    /// Whom it trusts.
    pub(crate) const fn trust(&self) -> &Trust {
        &self.trust
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        self.is_mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.root_names
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.trust
            .verify(leaf, intermediates, Purpose::Client, now, &self.provider)
            .and_then(|()| judge_client(self.embedder.as_ref(), leaf, intermediates))
            .map(|()| ClientCertVerified::assertion())
            .map_err(|(error, detail)| refusal::record(error, detail, leaf))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature_tls12(message, leaf, signed, &self.provider)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature_tls13(message, leaf, signed, &self.provider)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn verify_signature_tls12(
    message: &[u8],
    leaf: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    provider: &CryptoProvider,
) -> Result<HandshakeSignatureValid, Error> {
    let algorithms = &provider.signature_verification_algorithms;
    if ParsedCertificate::try_from(leaf).is_err() {
        return version_one::verify_tls12_signature(message, leaf, signed, algorithms);
    }
    verify_tls12_signature(message, leaf, signed, algorithms)
}

fn verify_signature_tls13(
    message: &[u8],
    leaf: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    provider: &CryptoProvider,
) -> Result<HandshakeSignatureValid, Error> {
    let algorithms = &provider.signature_verification_algorithms;
    if ParsedCertificate::try_from(leaf).is_err() {
        return version_one::verify_tls13_signature(message, leaf, signed, algorithms);
    }
    verify_tls13_signature(message, leaf, signed, algorithms)
}
