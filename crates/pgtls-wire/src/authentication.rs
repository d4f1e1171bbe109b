//! The messages of the authentication phase that pgtls takes note of while it forwards them
//! (unchanged, but for one offer): what the backend asks for, the mechanism the client chooses, the key for cancelling,
//! and the end of the phase. Every parser takes the body of one message, without its header.

use crate::strings::split_string;
use crate::tag;

/// Length of the shortest cancel key, that of protocol 3.0.
const MIN_CANCEL_KEY_BYTES: usize = 4;
/// Length of the longest cancel key of protocol 3.2.
const MAX_CANCEL_KEY_BYTES: usize = 256;
/// The number of `AuthenticationSASL`.
const SASL: [u8; 4] = 10_u32.to_be_bytes();

/// `BackendKeyData`: what a `CancelRequest` for this session must repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackendKeyData<'a> {
    /// Process id of the backend.
    pub process_id: u32,
    /// Its secret, 4…256 bytes.
    pub secret_key: &'a [u8],
}

impl<'a> BackendKeyData<'a> {
    /// Parses the body; `None` when it is no `BackendKeyData`.
    #[must_use]
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        let (process_id, secret_key) = body.split_first_chunk()?;
        (MIN_CANCEL_KEY_BYTES..=MAX_CANCEL_KEY_BYTES)
            .contains(&secret_key.len())
            .then_some(Self {
                process_id: u32::from_be_bytes(*process_id),
                secret_key,
            })
    }
}

/// The transaction status a `ReadyForQuery` carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionStatus {
    /// `I`: not in a transaction.
    Idle,
    /// `T`: in a transaction.
    InTransaction,
    /// `E`: in a transaction that failed.
    Failed,
}

/// `ReadyForQuery`: the first one ends the authentication phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadyForQuery {
    /// Where the session stands.
    pub status: TransactionStatus,
}

impl ReadyForQuery {
    /// Parses the body; `None` when it is no `ReadyForQuery`.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        let status = match body {
            b"I" => TransactionStatus::Idle,
            b"T" => TransactionStatus::InTransaction,
            b"E" => TransactionStatus::Failed,
            _ => return None,
        };
        Some(Self { status })
    }
}

/// What the backend asks of the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthenticationRequest<'a> {
    /// Nothing more.
    Ok,
    /// One of these SASL mechanisms.
    Sasl(SaslMechanisms<'a>),
    /// Anything else, by its number: 3 cleartext, 5 MD5, 11 and 12 the rest of SASL, …
    Other(u32),
}

impl<'a> AuthenticationRequest<'a> {
    /// Parses the body; `None` when it is too short to be one.
    #[must_use]
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        let (kind, rest) = body.split_first_chunk()?;
        Some(match u32::from_be_bytes(*kind) {
            0 => Self::Ok,
            10 => Self::Sasl(SaslMechanisms { rest }),
            other => Self::Other(other),
        })
    }
}

/// Iterator over the mechanisms of an `AuthenticationSASL`, the backend's favourite first. It ends
/// early at a name that isn't UTF-8 or isn't terminated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaslMechanisms<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for SaslMechanisms<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let (name, rest) = split_string(self.rest)?;
        self.rest = rest;
        str::from_utf8(name).ok().filter(|name| !name.is_empty())
    }
}

/// The mechanism a `SASLInitialResponse` names. `None` for the other messages that share its type
/// byte, a password among them: their bodies don't end where this one's length field says.
#[must_use]
pub fn sasl_initial_response_mechanism(body: &[u8]) -> Option<&str> {
    let (name, rest) = split_string(body)?;
    let (length, response) = rest.split_first_chunk()?;
    let expected = match i32::from_be_bytes(*length) {
        -1 => 0,
        length => usize::try_from(length).ok()?,
    };
    (response.len() == expected).then_some(())?;
    str::from_utf8(name).ok().filter(|name| !name.is_empty())
}

/// The `AuthenticationSASL` that offers what this one does but for channel binding (`…-PLUS`), header included. `None` when the message is
/// another one, offers no channel binding or nothing else, or is malformed.
#[must_use]
pub fn sasl_without_channel_binding(message_tag: u8, body: &[u8]) -> Option<Vec<u8>> {
    let Some(AuthenticationRequest::Sasl(mechanisms)) = AuthenticationRequest::parse(body) else {
        return None;
    };
    if message_tag != tag::AUTHENTICATION {
        return None;
    }
    let offered: Vec<&str> = mechanisms.collect();
    let kept = || offered.iter().filter(|name| !name.ends_with("-PLUS"));
    let body_bytes = |names: usize| SASL.len() + names + 1;
    let is_whole = body_bytes(offered.iter().map(|name| name.len() + 1).sum()) == body.len();
    if !is_whole || kept().count() == offered.len() || kept().count() == 0 {
        return None;
    }
    let names: Vec<u8> = kept().flat_map(|name| name.bytes().chain([0])).collect();
    let length = u32::try_from(4 + body_bytes(names.len())).ok()?;
    let header = [&[message_tag], &length.to_be_bytes()[..], &SASL];
    Some([header.concat(), names, vec![0]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backend_key_data_takes_keys_of_4_to_256_bytes() {
        for key_bytes in [4, 32, 256] {
            let body = [&[0, 0, 1, 2][..], &vec![9; key_bytes]].concat();
            let parsed = BackendKeyData::parse(&body).expect("a valid body");
            assert_eq!(parsed.process_id, 258);
            assert_eq!(parsed.secret_key, vec![9; key_bytes]);
        }
        for key_bytes in [0, 3, 257] {
            let body = vec![0; 4 + key_bytes];
            assert_eq!(BackendKeyData::parse(&body), None, "{key_bytes}");
        }
        assert_eq!(BackendKeyData::parse(b"abc"), None);
    }

    #[test]
    fn ready_for_query_tells_the_transaction_status() {
        let status = |body| ReadyForQuery::parse(body).map(|ready| ready.status);
        assert_eq!(status(b"I"), Some(TransactionStatus::Idle));
        assert_eq!(status(b"T"), Some(TransactionStatus::InTransaction));
        assert_eq!(status(b"E"), Some(TransactionStatus::Failed));
        assert_eq!(status(b""), None);
        assert_eq!(status(b"II"), None);
    }

    #[test]
    fn tells_what_the_backend_asks_for() {
        assert_eq!(
            AuthenticationRequest::parse(&[0, 0, 0, 0]),
            Some(AuthenticationRequest::Ok)
        );
        assert_eq!(
            AuthenticationRequest::parse(b"\0\0\0\x05salt"),
            Some(AuthenticationRequest::Other(5))
        );
        assert_eq!(AuthenticationRequest::parse(b"\0\0"), None);
    }

    #[test]
    fn lists_the_sasl_mechanisms() {
        let body = b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0";
        let Some(AuthenticationRequest::Sasl(mechanisms)) = AuthenticationRequest::parse(body)
        else {
            panic!("expected AuthenticationSASL");
        };
        assert_eq!(
            mechanisms.collect::<Vec<_>>(),
            ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]
        );
    }

    #[test]
    fn an_offer_can_be_made_without_channel_binding() {
        let both = b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0";
        assert_eq!(
            sasl_without_channel_binding(b'R', both).as_deref(),
            Some(b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0".as_slice())
        );
        let others: [&[u8]; 5] = [
            b"\0\0\0\x0aSCRAM-SHA-256\0\0",
            b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0\0",
            b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0",
            b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0more",
            b"\0\0\0\x0b",
        ];
        for other in others {
            assert_eq!(sasl_without_channel_binding(b'R', other), None);
        }
        assert_eq!(sasl_without_channel_binding(b'N', both), None);
    }

    #[test]
    fn finds_the_mechanism_the_client_chose() {
        let with_response = b"SCRAM-SHA-256-PLUS\0\0\0\0\x03abc";
        assert_eq!(
            sasl_initial_response_mechanism(with_response),
            Some("SCRAM-SHA-256-PLUS")
        );
        let without_response = b"SCRAM-SHA-256\0\xff\xff\xff\xff";
        assert_eq!(
            sasl_initial_response_mechanism(without_response),
            Some("SCRAM-SHA-256")
        );
    }

    #[test]
    fn takes_no_password_for_a_sasl_initial_response() {
        assert_eq!(sasl_initial_response_mechanism(b"secret\0"), None);
        assert_eq!(
            sasl_initial_response_mechanism(b"c=biws,r=nonce,p=proof"),
            None
        );
        assert_eq!(
            sasl_initial_response_mechanism(b"name\0\0\0\0\x09short"),
            None
        );
        assert_eq!(
            sasl_initial_response_mechanism(b"name\0\xff\xff\xff\xfe"),
            None
        );
    }
}
