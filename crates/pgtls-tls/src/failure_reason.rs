//! [`TlsFailureReason`]: the closed set of words for why TLS with a peer failed, for metrics and logs.

/// The reasons there are; [`TlsFailureReason::as_str`] is the label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TlsFailureReason {
    /// Both sides share no protocol version.
    NoSharedVersion,
    /// Both sides share no cipher suite.
    NoSharedCipher,
    /// Both sides share no key exchange group.
    NoSharedGroup,
    /// Both sides share no signature scheme.
    NoSharedSignatureScheme,
    /// The peer lacks another feature that is needed.
    PeerIncompatible,
    /// The peer's certificate doesn't chain to a trusted root.
    UnknownCa,
    /// The peer's certificate, or its root, is past its dates.
    CertificateExpired,
    /// The peer's certificate is before its dates.
    CertificateNotYetValid,
    /// The peer's certificate names other hosts.
    NameMismatch,
    /// The peer's certificate is not for this purpose (extended key usage).
    WrongPurpose,
    /// The peer's certificate is revoked.
    Revoked,
    /// Whether the peer's certificate is revoked can't be told: a list is missing or has expired.
    UnknownRevocation,
    /// The peer's certificate is unusable for another reason.
    BadCertificate,
    /// The peer's certificate was verified, and a [`CertificateJudge`](crate::certificate_judge::CertificateJudge) refused it.
    CertificateRefused,
    /// The client showed no certificate where one is demanded.
    CertificateRequired,
    /// Both sides share no application protocol (ALPN).
    NoApplicationProtocol,
    /// The client sent no server name (SNI) where one is demanded.
    ServerNameMissing,
    /// No identity is meant for the server name (SNI) the client sent.
    ServerNameUnknown,
    /// What came was not TLS.
    NotTls,
    /// A record could not be decrypted, or a signature or Finished was wrong.
    DecryptError,
    /// The peer ended the handshake with an alert.
    PeerAlert,
    /// The peer broke the protocol.
    PeerMisbehaved,
    /// The backend speaks no TLS.
    TlsRefused,
    /// The peer took too long.
    Timeout,
    /// The peer closed the connection in the middle of the handshake.
    Eof,
    /// The socket failed in the middle of the handshake.
    SocketError,
    /// The fault is on our side.
    Internal,
}

impl TlsFailureReason {
    /// Every reason.
    pub const ALL: [Self; 27] = [
        Self::NoSharedVersion,
        Self::NoSharedCipher,
        Self::NoSharedGroup,
        Self::NoSharedSignatureScheme,
        Self::PeerIncompatible,
        Self::UnknownCa,
        Self::CertificateExpired,
        Self::CertificateNotYetValid,
        Self::NameMismatch,
        Self::WrongPurpose,
        Self::Revoked,
        Self::UnknownRevocation,
        Self::BadCertificate,
        Self::CertificateRefused,
        Self::CertificateRequired,
        Self::NoApplicationProtocol,
        Self::ServerNameMissing,
        Self::ServerNameUnknown,
        Self::NotTls,
        Self::DecryptError,
        Self::PeerAlert,
        Self::PeerMisbehaved,
        Self::TlsRefused,
        Self::Timeout,
        Self::Eof,
        Self::SocketError,
        Self::Internal,
    ];

    /// The label, in snake case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoSharedVersion => "no_shared_version",
            Self::NoSharedCipher => "no_shared_cipher",
            Self::NoSharedGroup => "no_shared_group",
            Self::NoSharedSignatureScheme => "no_shared_signature_scheme",
            Self::PeerIncompatible => "peer_incompatible",
            Self::UnknownCa => "unknown_ca",
            Self::CertificateExpired => "certificate_expired",
            Self::CertificateNotYetValid => "certificate_not_yet_valid",
            Self::NameMismatch => "name_mismatch",
            Self::WrongPurpose => "wrong_purpose",
            Self::Revoked => "revoked",
            Self::UnknownRevocation => "unknown_revocation",
            Self::BadCertificate => "bad_certificate",
            Self::CertificateRefused => "certificate_refused",
            Self::CertificateRequired => "certificate_required",
            Self::NoApplicationProtocol => "no_application_protocol",
            Self::ServerNameMissing => "server_name_missing",
            Self::ServerNameUnknown => "server_name_unknown",
            Self::NotTls => "not_tls",
            Self::DecryptError => "decrypt_error",
            Self::PeerAlert => "peer_alert",
            Self::PeerMisbehaved => "peer_misbehaved",
            Self::TlsRefused => "tls_refused",
            Self::Timeout => "timeout",
            Self::Eof => "eof",
            Self::SocketError => "socket_error",
            Self::Internal => "internal",
        }
    }

    /// Whether the peer caused it (pgtls' own fault otherwise).
    #[must_use]
    pub const fn is_peer_fault(self) -> bool {
        !matches!(self, Self::Internal)
    }
}
