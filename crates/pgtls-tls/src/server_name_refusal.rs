//! [`ServerNameRefusal`]: a ClientHello that no identity is meant for, and the alert it is answered with.
//!
//! rustls answers a resolver that gives nothing with `access_denied`. The RFCs have better words, and the client
//! shows its user nothing but that word: so the alert, still unencrypted at this point, is corrected before it is sent.

use std::fmt;
use std::sync::Arc;

use rustls::{AlertDescription, Error, OtherError};

use crate::plaintext_alert::correct_alert;

/// Why no identity was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ServerNameRefusal {
    /// The hello has no server name. RFC 8446 section 9.2 asks for `missing_extension`; from
    /// `PostgreSQL` 19 a client sees `handshake_failure`, which says less.
    Missing,
    /// No row has this name, and there is no identity for others. RFC 6066 section 3 asks for
    /// `unrecognized_name`, which `PostgreSQL` 19 sends, too.
    Unknown(String),
}

impl fmt::Display for ServerNameRefusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => formatter.write_str(
                "the client sent no server name (SNI), which this listener needs to choose a certificate; connect by host name and with sslsni=1",
            ),
            Self::Unknown(name) => write!(
                formatter,
                "no certificate is configured for the server name \"{name}\"; add it to a [[proxy.listener.host]], or give the listener an ssl_cert_file for all others",
            ),
        }
    }
}

impl std::error::Error for ServerNameRefusal {}

impl ServerNameRefusal {
    pub(crate) const fn alert(&self) -> AlertDescription {
        match self {
            Self::Missing => AlertDescription::MissingExtension,
            Self::Unknown(_) => AlertDescription::UnrecognisedName,
        }
    }

    /// What a handshake fails with.
    pub(crate) fn into_error(self) -> Error {
        Error::Other(OtherError(Arc::new(self)))
    }

    /// The refusal that a handshake failed with, if that is why it failed.
    pub(crate) fn of(error: &Error) -> Option<&Self> {
        if let Error::Other(other) = error {
            other.0.downcast_ref()
        } else {
            None
        }
    }

    /// Gives the alert at the end of `records` this refusal's description.
    pub(crate) fn correct_alert(&self, records: &mut [u8]) {
        correct_alert(records, AlertDescription::AccessDenied, self.alert());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_alert_of_a_resolver_without_an_answer_is_corrected() {
        let denied = [21, 3, 3, 0, 2, 2, 49];
        let mut records = denied;
        ServerNameRefusal::Missing.correct_alert(&mut records);
        assert_eq!(records, [21, 3, 3, 0, 2, 2, 109]);
        let mut records = denied;
        ServerNameRefusal::Unknown("x".to_owned()).correct_alert(&mut records);
        assert_eq!(records, [21, 3, 3, 0, 2, 2, 112]);
        for other in [
            [21, 3, 3, 0, 2, 2, 40],
            [23, 3, 3, 0, 2, 2, 49],
            [21, 3, 3, 0, 3, 2, 49],
        ] {
            let mut records = other;
            ServerNameRefusal::Missing.correct_alert(&mut records);
            assert_eq!(records, other);
        }
        ServerNameRefusal::Missing.correct_alert(&mut []);
    }

    #[test]
    fn a_refusal_is_found_again_in_the_error() {
        let error = ServerNameRefusal::Missing.into_error();
        assert_eq!(
            ServerNameRefusal::of(&error),
            Some(&ServerNameRefusal::Missing)
        );
        assert_eq!(ServerNameRefusal::of(&Error::DecryptError), None);
    }
}
