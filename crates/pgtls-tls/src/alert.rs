//! [`TlsAlert`]: the fatal alert that went along with a failure, in RFC 8446's words.

use crate::server_name_refusal::ServerNameRefusal;
use rustls::{AlertDescription, Error, InvalidMessage, PeerIncompatible, PeerMisbehaved};

/// A fatal alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsAlert {
    /// Who sent it.
    pub direction: AlertDirection,
    /// Its name in RFC 8446 section 6.2, e.g. `unknown_ca`.
    pub description: &'static str,
}

/// Who sent an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertDirection {
    /// pgtls did.
    Sent,
    /// The peer did.
    Received,
}

impl AlertDirection {
    /// `sent` or `received`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Received => "received",
        }
    }
}

/// The fatal alert that goes along with `error`, if there is one.
#[must_use]
pub fn alert_of(error: &Error) -> Option<TlsAlert> {
    if let Error::AlertReceived(description) = error {
        let description = alert_name(*description);
        return Some(TlsAlert {
            direction: AlertDirection::Received,
            description,
        });
    }
    sent_alert(error).map(|description| TlsAlert {
        direction: AlertDirection::Sent,
        description: alert_name(description),
    })
}

/// The alert rustls 0.23 sends for an error; it doesn't tell, so this follows its source.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the errors left happen without an alert"
)]
fn sent_alert(error: &Error) -> Option<AlertDescription> {
    match error {
        Error::InvalidCertificate(error) => Some(error.clone().into()),
        // Found while messages are put together, before there is anybody to answer.
        Error::InvalidMessage(InvalidMessage::HandshakePayloadTooLarge) => None,
        Error::InvalidMessage(InvalidMessage::InvalidKeyUpdate) => {
            Some(AlertDescription::IllegalParameter)
        }
        Error::InvalidMessage(why) => Some((*why).into()),
        Error::PeerIncompatible(why) => Some(incompatible_alert(why)),
        Error::PeerMisbehaved(why) => misbehaved_alert(why),
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            Some(AlertDescription::UnexpectedMessage)
        }
        Error::NoCertificatesPresented => Some(AlertDescription::CertificateRequired),
        Error::NoApplicationProtocol => Some(AlertDescription::NoApplicationProtocol),
        Error::PeerSentOversizedRecord => Some(AlertDescription::RecordOverflow),
        Error::DecryptError => Some(AlertDescription::BadRecordMac),
        Error::Other(_) => ServerNameRefusal::of(error).map(ServerNameRefusal::alert),
        _ => None,
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "every other incompatibility is a handshake_failure"
)]
fn incompatible_alert(why: &PeerIncompatible) -> AlertDescription {
    match why {
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled => AlertDescription::ProtocolVersion,
        PeerIncompatible::NamedGroupsExtensionRequired => AlertDescription::MissingExtension,
        PeerIncompatible::NullCompressionRequired
        | PeerIncompatible::UncompressedEcPointsRequired => AlertDescription::IllegalParameter,
        _ => AlertDescription::HandshakeFailure,
    }
}

/// None for what rustls gives up over without a word.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "every other breach is an illegal_parameter"
)]
const fn misbehaved_alert(why: &PeerMisbehaved) -> Option<AlertDescription> {
    use PeerMisbehaved as Why;
    Some(match why {
        Why::EarlyDataExtensionWithoutResumption
        | Why::IllegalTlsInnerPlaintext
        | Why::MessageInterleavedWithHandshakeMessage
        | Why::OfferedEarlyDataWithOldProtocolVersion
        | Why::RejectedEarlyDataInterleavedWithHandshakeMessage
        | Why::ResumptionOfferedWithVariedCipherSuite
        | Why::ResumptionOfferedWithVariedEms
        | Why::SelectedUnofferedPsk
        | Why::ServerNameDifferedOnRetry
        | Why::TooManyEmptyFragments
        | Why::TooManyKeyUpdateRequests
        | Why::TooManyRenegotiationRequests
        | Why::TooManyWarningAlertsReceived
        | Why::UnsolicitedCertExtension => return None,
        Why::KeyEpochWithPendingFragment
        | Why::IllegalMiddleboxChangeCipherSpec
        | Why::TooMuchEarlyDataReceived => AlertDescription::UnexpectedMessage,
        Why::IncorrectBinder => AlertDescription::DecryptError,
        Why::MissingBinderInPskExtension => AlertDescription::DecodeError,
        Why::InvalidCertCompression | Why::SelectedUnofferedCertCompression => {
            AlertDescription::BadCertificate
        }
        Why::SelectedUnofferedCipherSuite | Why::ServerHelloMustOfferUncompressedEcPoints => {
            AlertDescription::HandshakeFailure
        }
        Why::MissingKeyShare
        | Why::MissingPskExtensionInSecondClientHello
        | Why::MissingPskModesExtension => AlertDescription::MissingExtension,
        Why::DisallowedEncryptedExtension
        | Why::UnexpectedCleartextExtension
        | Why::UnsolicitedEchExtension
        | Why::UnsolicitedEncryptedExtension
        | Why::UnsolicitedServerHelloExtension => AlertDescription::UnsupportedExtension,
        _ => AlertDescription::IllegalParameter,
    })
}

/// An alert's name as RFC 8446 (and for the older ones RFC 5246) spells it.
#[must_use]
#[expect(clippy::wildcard_enum_match_arm, reason = "numbers without a name")]
pub const fn alert_name(description: AlertDescription) -> &'static str {
    match description {
        AlertDescription::CloseNotify => "close_notify",
        AlertDescription::UnexpectedMessage => "unexpected_message",
        AlertDescription::BadRecordMac => "bad_record_mac",
        AlertDescription::DecryptionFailed => "decryption_failed",
        AlertDescription::RecordOverflow => "record_overflow",
        AlertDescription::DecompressionFailure => "decompression_failure",
        AlertDescription::HandshakeFailure => "handshake_failure",
        AlertDescription::NoCertificate => "no_certificate",
        AlertDescription::BadCertificate => "bad_certificate",
        AlertDescription::UnsupportedCertificate => "unsupported_certificate",
        AlertDescription::CertificateRevoked => "certificate_revoked",
        AlertDescription::CertificateExpired => "certificate_expired",
        AlertDescription::CertificateUnknown => "certificate_unknown",
        AlertDescription::IllegalParameter => "illegal_parameter",
        AlertDescription::UnknownCA => "unknown_ca",
        AlertDescription::AccessDenied => "access_denied",
        AlertDescription::DecodeError => "decode_error",
        AlertDescription::DecryptError => "decrypt_error",
        AlertDescription::ExportRestriction => "export_restriction",
        AlertDescription::ProtocolVersion => "protocol_version",
        AlertDescription::InsufficientSecurity => "insufficient_security",
        AlertDescription::InternalError => "internal_error",
        AlertDescription::InappropriateFallback => "inappropriate_fallback",
        AlertDescription::UserCanceled => "user_canceled",
        AlertDescription::NoRenegotiation => "no_renegotiation",
        AlertDescription::MissingExtension => "missing_extension",
        AlertDescription::UnsupportedExtension => "unsupported_extension",
        AlertDescription::CertificateUnobtainable => "certificate_unobtainable",
        AlertDescription::UnrecognisedName => "unrecognized_name",
        AlertDescription::BadCertificateStatusResponse => "bad_certificate_status_response",
        AlertDescription::BadCertificateHashValue => "bad_certificate_hash_value",
        AlertDescription::UnknownPSKIdentity => "unknown_psk_identity",
        AlertDescription::CertificateRequired => "certificate_required",
        AlertDescription::NoApplicationProtocol => "no_application_protocol",
        AlertDescription::EncryptedClientHelloRequired => "ech_required",
        _ => "unknown",
    }
}
