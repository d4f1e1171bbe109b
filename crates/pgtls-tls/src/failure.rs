//! [`TlsFailure`]: why TLS with a peer failed, as a closed reason for metrics and logs, and the alert that went along.

use std::fmt;

use rustls::{CertificateError, Error, InvalidMessage, PeerIncompatible};

use crate::alert::alert_of;
pub use crate::alert::{AlertDirection, TlsAlert};
pub use crate::failure_reason::TlsFailureReason;
use crate::server_name_refusal::ServerNameRefusal;

/// Why TLS with a peer failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFailure {
    /// The reason, bounded.
    pub reason: TlsFailureReason,
    /// The fatal alert sent or received, if there was one.
    pub alert: Option<TlsAlert>,
    /// The library's own words, for the log.
    pub message: String,
}

impl From<&Error> for TlsFailure {
    fn from(error: &Error) -> Self {
        Self {
            reason: reason(error),
            alert: alert_of(error),
            // rustls says "other error" before what is ours to say.
            message: ServerNameRefusal::of(error)
                .map_or_else(|| error.to_string(), ToString::to_string),
        }
    }
}

impl From<Error> for TlsFailure {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for TlsFailure {}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what is left of a non-exhaustive enum is our own fault"
)]
fn reason(error: &Error) -> TlsFailureReason {
    match error {
        Error::AlertReceived(_) => TlsFailureReason::PeerAlert,
        Error::InvalidCertificate(error) => certificate_reason(error),
        Error::PeerIncompatible(why) => incompatible_reason(why),
        Error::PeerMisbehaved(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::PeerSentOversizedRecord => TlsFailureReason::PeerMisbehaved,
        Error::InvalidMessage(why) => message_reason(*why),
        Error::NoCertificatesPresented => TlsFailureReason::CertificateRequired,
        Error::NoApplicationProtocol => TlsFailureReason::NoApplicationProtocol,
        Error::DecryptError => TlsFailureReason::DecryptError,
        Error::InvalidCertRevocationList(_) => TlsFailureReason::UnknownRevocation,
        // What rustls says of a TLS 1.2 client that takes none of our key's schemes, though it offers a suite for the key.
        Error::General(words) if words == "incompatible signing key" => {
            TlsFailureReason::NoSharedSignatureScheme
        }
        Error::Other(_) => match ServerNameRefusal::of(error) {
            Some(ServerNameRefusal::Missing) => TlsFailureReason::ServerNameMissing,
            Some(ServerNameRefusal::Unknown(_)) => TlsFailureReason::ServerNameUnknown,
            None => TlsFailureReason::Internal,
        },
        _ => TlsFailureReason::Internal,
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "every other defect of a certificate is one label"
)]
fn certificate_reason(error: &CertificateError) -> TlsFailureReason {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            TlsFailureReason::CertificateExpired
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            TlsFailureReason::CertificateNotYetValid
        }
        CertificateError::UnknownIssuer => TlsFailureReason::UnknownCa,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            TlsFailureReason::NameMismatch
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            TlsFailureReason::WrongPurpose
        }
        CertificateError::Revoked => TlsFailureReason::Revoked,
        CertificateError::ApplicationVerificationFailure => TlsFailureReason::CertificateRefused,
        CertificateError::UnknownRevocationStatus
        | CertificateError::ExpiredRevocationList
        | CertificateError::ExpiredRevocationListContext { .. } => {
            TlsFailureReason::UnknownRevocation
        }
        _ => TlsFailureReason::BadCertificate,
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "every other broken message is one label"
)]
const fn message_reason(why: InvalidMessage) -> TlsFailureReason {
    match why {
        InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion => {
            TlsFailureReason::NotTls
        }
        _ => TlsFailureReason::PeerMisbehaved,
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "every other missing feature is one label"
)]
fn incompatible_reason(why: &PeerIncompatible) -> TlsFailureReason {
    match why {
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled => TlsFailureReason::NoSharedVersion,
        PeerIncompatible::NoCipherSuitesInCommon => TlsFailureReason::NoSharedCipher,
        PeerIncompatible::NoKxGroupsInCommon
        | PeerIncompatible::NamedGroupsExtensionRequired
        | PeerIncompatible::KeyShareExtensionRequired => TlsFailureReason::NoSharedGroup,
        PeerIncompatible::NoSignatureSchemesInCommon
        | PeerIncompatible::SignatureAlgorithmsExtensionRequired
        | PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon => {
            TlsFailureReason::NoSharedSignatureScheme
        }
        _ => TlsFailureReason::PeerIncompatible,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{AlertDescription, PeerMisbehaved};
    use std::collections::HashSet;

    fn label(error: &Error) -> (&'static str, Option<&'static str>) {
        let failure = TlsFailure::from(error);
        (
            failure.reason.as_str(),
            failure.alert.map(|alert| alert.description),
        )
    }

    #[test]
    fn every_reason_has_a_label_of_its_own() {
        let labels: HashSet<_> = TlsFailureReason::ALL
            .iter()
            .map(|reason| reason.as_str())
            .collect();
        assert_eq!(labels.len(), TlsFailureReason::ALL.len());
    }

    #[test]
    fn certificate_errors_are_classified_with_the_alert_rustls_sends() {
        use CertificateError as Why;
        let table = [
            (Why::UnknownIssuer, "unknown_ca", "unknown_ca"),
            (Why::Expired, "certificate_expired", "certificate_expired"),
            (
                Why::NotValidYet,
                "certificate_not_yet_valid",
                "certificate_expired",
            ),
            (Why::NotValidForName, "name_mismatch", "bad_certificate"),
            (Why::Revoked, "revoked", "certificate_revoked"),
            (
                Why::UnknownRevocationStatus,
                "unknown_revocation",
                "unknown_ca",
            ),
            (
                Why::InvalidPurpose,
                "wrong_purpose",
                "unsupported_certificate",
            ),
            (Why::BadSignature, "bad_certificate", "decrypt_error"),
        ];
        for (error, reason, alert) in table {
            assert_eq!(
                label(&error.clone().into()),
                (reason, Some(alert)),
                "{error:?}"
            );
        }
    }

    #[test]
    fn incompatible_peers_are_classified_with_the_alert_rustls_sends() {
        use PeerIncompatible as Why;
        let table = [
            (
                Why::Tls12NotOffered,
                "no_shared_version",
                "protocol_version",
            ),
            (
                Why::NoCipherSuitesInCommon,
                "no_shared_cipher",
                "handshake_failure",
            ),
            (
                Why::NoKxGroupsInCommon,
                "no_shared_group",
                "handshake_failure",
            ),
            (
                Why::NoSignatureSchemesInCommon,
                "no_shared_signature_scheme",
                "handshake_failure",
            ),
            (
                Why::NullCompressionRequired,
                "peer_incompatible",
                "illegal_parameter",
            ),
        ];
        for (error, reason, alert) in table {
            assert_eq!(
                label(&error.clone().into()),
                (reason, Some(alert)),
                "{error:?}"
            );
        }
    }

    #[test]
    fn other_errors_are_classified_with_the_alert_rustls_sends() {
        let table = [
            (
                Error::NoCertificatesPresented,
                "certificate_required",
                Some("certificate_required"),
            ),
            (Error::DecryptError, "decrypt_error", Some("bad_record_mac")),
            (
                InvalidMessage::InvalidContentType.into(),
                "not_tls",
                Some("decode_error"),
            ),
            (
                InvalidMessage::MessageTooShort.into(),
                "peer_misbehaved",
                Some("decode_error"),
            ),
            (
                PeerMisbehaved::InvalidKeyShare.into(),
                "peer_misbehaved",
                Some("illegal_parameter"),
            ),
            (
                InvalidMessage::InvalidKeyUpdate.into(),
                "peer_misbehaved",
                Some("illegal_parameter"),
            ),
            (
                PeerMisbehaved::SelectedUnofferedCipherSuite.into(),
                "peer_misbehaved",
                Some("handshake_failure"),
            ),
            (
                PeerMisbehaved::UnsolicitedCertExtension.into(),
                "peer_misbehaved",
                None,
            ),
            (
                Error::General("incompatible signing key".to_owned()),
                "no_shared_signature_scheme",
                None,
            ),
            (Error::FailedToGetRandomBytes, "internal", None),
        ];
        for (error, reason, alert) in table {
            assert_eq!(label(&error), (reason, alert), "{error:?}");
        }
    }

    #[test]
    fn a_received_alert_is_the_peers() {
        let failure = TlsFailure::from(Error::AlertReceived(AlertDescription::UnknownCA));
        assert_eq!(failure.reason, TlsFailureReason::PeerAlert);
        let alert = failure.alert.unwrap();
        assert_eq!(
            (alert.direction.as_str(), alert.description),
            ("received", "unknown_ca")
        );
    }
}
