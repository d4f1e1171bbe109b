//! What a probe answers to the server's first authentication request. Passwords go by SCRAM-SHA-256 (with channel binding where there
//! is TLS), by MD5, and in the clear only where nobody can listen and nobody else can have answered.

use std::fmt;

use pgtls_tls::options::BackendVerification;
use pgtls_wire::{AuthenticationRequest, tag};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{
    ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256,
};

use crate::backend::probe_login::{ProbeError, with_length};

const CLEARTEXT_PASSWORD: u32 = 3;
const MD5_PASSWORD: u32 = 5;

/// Who logs in.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) user: String,
    pub(crate) database: String,
    pub(crate) password: Option<Vec<u8>>,
}

impl fmt::Debug for Credentials {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

/// How well the connection is protected.
#[derive(Clone, Debug)]
pub(crate) enum Protection {
    /// TCP in plaintext.
    None,
    /// A Unix-domain socket.
    Local,
    Tls {
        /// The hash for `tls-server-end-point` unless the certificate's kind has none.
        end_point: Option<Vec<u8>>,
        /// Without any, the server may be anybody.
        verification: BackendVerification,
    },
}

/// The answer to the server's first request.
pub(crate) enum Answer {
    /// The server lets us in as we are.
    Nothing,
    /// A PasswordMessage; the server says next whether it is right.
    Password(Vec<u8>),
    /// A SASLInitialResponse, and the exchange it begins.
    Scram(Box<ScramSha256>, Vec<u8>),
}

/// Answers the request in `body`.
pub(crate) fn answer(
    credentials: &Credentials,
    protection: &Protection,
    body: &[u8],
) -> Result<Answer, ProbeError> {
    let request = AuthenticationRequest::parse(body).ok_or(ProbeError::Protocol("no request"))?;
    let password = || {
        let password = credentials.password.as_deref();
        password.ok_or(ProbeError::PasswordMissing)
    };
    let message = |body: &[u8]| with_length(&[tag::PASSWORD], body);
    match request {
        AuthenticationRequest::Ok => Ok(Answer::Nothing),
        AuthenticationRequest::Sasl(mechanisms) => {
            let offered: Vec<&str> = mechanisms.collect();
            let (mechanism, binding) = choose_mechanism(&offered, protection)?;
            let scram = ScramSha256::new(password()?, binding);
            let length = u32::try_from(scram.message().len()).unwrap_or(u32::MAX);
            let name = [mechanism.as_bytes(), b"\0"].concat();
            let first = message(&[&name, &length.to_be_bytes()[..], scram.message()].concat());
            Ok(Answer::Scram(Box::new(scram), first))
        }
        AuthenticationRequest::Other(CLEARTEXT_PASSWORD) => {
            check_cleartext(protection)?;
            Ok(Answer::Password(message(&[password()?, b"\0"].concat())))
        }
        AuthenticationRequest::Other(MD5_PASSWORD) => {
            let salt = body
                .get(4..8)
                .and_then(|salt| <[u8; 4]>::try_from(salt).ok());
            let salt = salt.ok_or(ProbeError::Protocol("MD5 without a salt"))?;
            let hash = md5_hash(credentials.user.as_bytes(), password()?, salt);
            Ok(Answer::Password(message(
                &[hash.as_bytes(), b"\0"].concat(),
            )))
        }
        AuthenticationRequest::Other(other) => Err(ProbeError::AuthenticationUnknown(other)),
    }
}

/// Whether the password itself may be sent.
fn check_cleartext(protection: &Protection) -> Result<(), ProbeError> {
    match protection {
        Protection::None => Err(ProbeError::CleartextRefused),
        Protection::Tls {
            verification: BackendVerification::None,
            ..
        } => Err(ProbeError::CleartextUnverified),
        Protection::Tls {
            verification: BackendVerification::Ca | BackendVerification::Full,
            ..
        }
        | Protection::Local => Ok(()),
    }
}

/// As libpq does it: channel binding where both sides can, and else a word that we could have (a downgrade shows by it).
fn choose_mechanism(
    offered: &[&str],
    protection: &Protection,
) -> Result<(&'static str, ChannelBinding), ProbeError> {
    let hash = match protection {
        Protection::Tls { end_point, .. } => end_point.clone(),
        Protection::None | Protection::Local => None,
    };
    match hash {
        Some(hash) if offered.contains(&SCRAM_SHA_256_PLUS) => Ok((
            SCRAM_SHA_256_PLUS,
            ChannelBinding::tls_server_end_point(hash),
        )),
        Some(_) if offered.contains(&SCRAM_SHA_256) => {
            Ok((SCRAM_SHA_256, ChannelBinding::unrequested()))
        }
        None if offered.contains(&SCRAM_SHA_256) => {
            Ok((SCRAM_SHA_256, ChannelBinding::unsupported()))
        }
        _ => Err(ProbeError::MechanismUnknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tls(end_point: Option<Vec<u8>>, verification: BackendVerification) -> Protection {
        Protection::Tls {
            end_point,
            verification,
        }
    }

    fn answered(
        password: Option<&str>,
        protection: &Protection,
        body: &[u8],
    ) -> Result<String, String> {
        let credentials = Credentials {
            user: "probe".to_owned(),
            database: "postgres".to_owned(),
            password: password.map(|text| text.as_bytes().to_vec()),
        };
        assert!(!format!("{credentials:?}").contains("password"));
        match answer(&credentials, protection, body) {
            Ok(Answer::Nothing) => Ok(String::new()),
            Ok(Answer::Password(bytes) | Answer::Scram(_, bytes)) => {
                Ok(String::from_utf8_lossy(&bytes[5..]).into_owned())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_password_goes_in_the_clear_only_to_a_server_that_is_local_or_verified() {
        let cleartext = &[0, 0, 0, 3];
        for safe in [
            Protection::Local,
            tls(None, BackendVerification::Ca),
            tls(None, BackendVerification::Full),
        ] {
            let sent = answered(Some("secret"), &safe, cleartext);
            assert_eq!(sent.as_deref(), Ok("secret\0"));
        }
        let refused = answered(Some("secret"), &Protection::None, cleartext).unwrap_err();
        assert!(refused.contains("over verified TLS or a unix socket only"));
        let unverified = tls(Some(vec![1; 32]), BackendVerification::None);
        let refused = answered(Some("secret"), &unverified, cleartext).unwrap_err();
        assert!(refused.contains("its certificate is not verified"));
    }

    #[test]
    fn md5_is_answered_with_the_salted_hash() {
        let sent = answered(Some("secret"), &Protection::None, b"\0\0\0\x05salt").unwrap();
        assert!(sent.starts_with("md5") && sent.len() == 36, "{sent}");
        assert!(answered(Some("secret"), &Protection::None, b"\0\0\0\x05sa").is_err());
    }

    #[test]
    fn channel_binding_is_used_where_both_sides_can() {
        let both = b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0";
        let one = b"\0\0\0\x0aSCRAM-SHA-256\0\0";
        let bound = tls(Some(vec![1; 32]), BackendVerification::None);
        let sent = |protection: &Protection, body: &[u8]| {
            let text = answered(Some("secret"), protection, body).unwrap();
            let (mechanism, rest) = text.split_once('\0').unwrap();
            let (header, _) = rest.split_once(",n=").unwrap();
            // Behind the length's four bytes.
            let header: String = header.chars().skip(4).collect();
            format!("{mechanism} {header}")
        };
        assert_eq!(
            sent(&bound, both),
            "SCRAM-SHA-256-PLUS p=tls-server-end-point,"
        );
        assert_eq!(sent(&bound, one), "SCRAM-SHA-256 y,");
        let unbindable = tls(None, BackendVerification::Full);
        assert_eq!(sent(&unbindable, both), "SCRAM-SHA-256 n,");
        assert_eq!(sent(&Protection::None, one), "SCRAM-SHA-256 n,");
    }

    #[test]
    fn what_cannot_be_answered_says_what_to_do() {
        let error = |body: &[u8]| answered(None, &Protection::None, body).unwrap_err();
        assert!(error(b"\0\0\0\x0aSCRAM-SHA-256\0\0").contains("set probe_password_file"));
        assert!(error(b"\0\0\0\x0aOTHER\0\0").contains("no SASL mechanism"));
        assert!(error(&[0, 0, 0, 7]).contains("(request 7)"));
    }
}
