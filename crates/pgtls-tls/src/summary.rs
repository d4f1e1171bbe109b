//! [`TlsSummary`]: what a finished handshake agreed on, in the names the RFCs and IANA use.

use crate::leaf::LeafInfo;
use rustls::pki_types::CertificateDer;
use rustls::{CommonState, HandshakeKind, ProtocolVersion};

/// The negotiated parameters of one TLS session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSummary {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// IANA name of the cipher suite.
    pub cipher: String,
    /// Key exchange group; none where a resumption used none.
    pub group: Option<String>,
    /// Protocol agreed on by ALPN.
    pub alpn: Option<String>,
    /// Whether an earlier session was resumed.
    pub is_resumed: bool,
    /// The peer's leaf certificate, DER.
    pub peer_certificate: Option<Vec<u8>>,
}

impl TlsSummary {
    /// What the peer's leaf certificate says; none if it showed none, or none that can be read.
    #[must_use]
    pub fn peer_leaf(&self) -> Option<LeafInfo> {
        let leaf = CertificateDer::from(self.peer_certificate.as_deref()?);
        LeafInfo::from_chain(&[leaf]).ok()
    }

    /// Reads a connection whose handshake is finished.
    #[must_use]
    pub fn of(state: &CommonState) -> Self {
        let cipher = state
            .negotiated_cipher_suite()
            .and_then(|suite| suite.suite().as_str())
            .unwrap_or("unknown")
            .replacen("TLS13_", "TLS_", 1);
        Self {
            version: match state.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
                Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
                Some(_) | None => "unknown",
            },
            cipher,
            group: state.negotiated_key_exchange_group().map(|group| {
                group
                    .name()
                    .as_str()
                    .map_or_else(|| format!("{:?}", group.name()), str::to_owned)
            }),
            alpn: state
                .alpn_protocol()
                .map(|name| String::from_utf8_lossy(name).into_owned()),
            is_resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
            peer_certificate: state
                .peer_certificates()
                .and_then(|chain| chain.first())
                .map(|leaf| leaf.as_ref().to_vec()),
        }
    }
}
