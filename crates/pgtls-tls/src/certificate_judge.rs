//! [`CertificateJudge`]: what a program that embeds this crate has to say about a peer's certificate chain, after everything the
//! configuration demands of it was verified.
//!
//! A judge can only refuse. It is asked inside of the handshake, on the thread that drives it and under the session's lock: it must
//! not block. Who has to wait for an answer asks after the handshake, as pgtls-core's hooks do (ADR 0009, 0015).

use std::fmt;
use std::ptr;
use std::sync::Arc;

use rustls::{CertificateError, Error};
use rustls_pki_types::{CertificateDer, ServerName};

use crate::leaf::LeafInfo;
use crate::trust::Refusal;

/// Judges the certificate chains of peers: of clients in [`ListenerTlsOptions`](crate::options::ListenerTlsOptions), of backends in
/// [`BackendTlsOptions`](crate::options::BackendTlsOptions).
pub trait CertificateJudge: fmt::Debug + Send + Sync {
    /// Whether the peer is welcome. Called on the worker's thread; must not block, and a panic costs the connection.
    ///
    /// That the peer holds the certificate's key may be proven only afterwards: an acceptance is no proof that the handshake
    /// succeeds. A client without certificate is not asked about.
    fn judge(&self, peer: &VerifiedPeer<'_>) -> Result<(), ChainRefusal>;
}

/// By identity: two judges are the same if they are one.
impl PartialEq for dyn CertificateJudge {
    fn eq(&self, other: &Self) -> bool {
        ptr::addr_eq(self, other)
    }
}

impl Eq for dyn CertificateJudge {}

/// A judge that several configurations may share.
pub(crate) type SharedJudge = Arc<dyn CertificateJudge>;

/// A peer whose chain was verified as far as the configuration demands: of a backend under
/// [`BackendVerification::None`](crate::options::BackendVerification::None) that is not at all.
#[derive(Debug, Clone, Copy)]
pub struct VerifiedPeer<'a> {
    /// Who shows the chain.
    pub side: PeerSide<'a>,
    /// DER, the leaf first, then what the peer sent along; roots are not among it.
    pub chain: &'a [&'a [u8]],
    /// Whether the chain was shown in an earlier handshake, whose session is about to be resumed. A refusal then makes this
    /// handshake a full one, in which the judge is asked about the chain that is shown now.
    pub is_resumption: bool,
}

/// Who shows a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerSide<'a> {
    /// A client of a listener.
    Client,
    /// A backend.
    Backend {
        /// The DNS name or IP address that was dialled.
        host: &'a str,
    },
}

impl VerifiedPeer<'_> {
    /// The leaf described, if it can be read.
    #[must_use]
    pub fn leaf(&self) -> Option<LeafInfo> {
        let leaf = CertificateDer::from(*self.chain.first()?);
        LeafInfo::from_chain(&[leaf]).ok()
    }
}

/// Why a peer is not welcome, in words for the log; the peer sees the alert alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChainRefusal {
    /// The alert `access_denied`, the failure `certificate_refused`.
    AccessDenied(String),
    /// The alert `certificate_revoked`, the failure `revoked`.
    Revoked(String),
}

impl From<ChainRefusal> for Refusal {
    fn from(refusal: ChainRefusal) -> Self {
        let (error, reason) = match refusal {
            ChainRefusal::AccessDenied(reason) => {
                (CertificateError::ApplicationVerificationFailure, reason)
            }
            ChainRefusal::Revoked(reason) => (CertificateError::Revoked, reason),
        };
        (Error::InvalidCertificate(error), Some(reason))
    }
}

/// Asks about a client in a full handshake; without a judge everybody is welcome.
pub(crate) fn judge_client(
    judge: Option<&SharedJudge>,
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
) -> Result<(), Refusal> {
    let Some(judge) = judge else { return Ok(()) };
    let peer = VerifiedPeer {
        side: PeerSide::Client,
        chain: &ders(leaf, intermediates),
        is_resumption: false,
    };
    judge.judge(&peer).map_err(Refusal::from)
}

/// Asks about a backend in a full handshake; without a judge everybody is welcome.
pub(crate) fn judge_backend(
    judge: Option<&SharedJudge>,
    host: &ServerName<'_>,
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
) -> Result<(), Refusal> {
    let Some(judge) = judge else { return Ok(()) };
    let peer = VerifiedPeer {
        side: PeerSide::Backend {
            host: &host.to_str(),
        },
        chain: &ders(leaf, intermediates),
        is_resumption: false,
    };
    judge.judge(&peer).map_err(Refusal::from)
}

/// Whether a session may be resumed with the peer that showed `chain` when it was established.
pub(crate) fn may_resume(judge: &SharedJudge, side: PeerSide<'_>, chain: &[&[u8]]) -> bool {
    let peer = VerifiedPeer {
        side,
        chain,
        is_resumption: true,
    };
    judge.judge(&peer).is_ok()
}

fn ders<'a>(
    leaf: &'a CertificateDer<'_>,
    intermediates: &'a [CertificateDer<'_>],
) -> Vec<&'a [u8]> {
    std::iter::once(leaf)
        .chain(intermediates)
        .map(AsRef::as_ref)
        .collect()
}
