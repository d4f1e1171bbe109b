//! Clients that know no TLS from 1.2 on, and the alert they deserve.
//!
//! rustls misses the extension `signature_algorithms` before it looks at the version, and answers `handshake_failure`. The RFCs have
//! `protocol_version` for that (RFC 5246 section 7.2.2, RFC 8446 appendix D.2), and `PostgreSQL` sends it. So the hello is looked
//! at once more when rustls has refused it for that reason, and not before.

use rustls::{AlertDescription, Error, PeerIncompatible};

use crate::plaintext_alert::correct_alert;

const HANDSHAKE_RECORD: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const TLS12: u16 = 0x0303;
const SUPPORTED_VERSIONS: u16 = 43;

/// What a server's handshake failed with, better told where the hello at the start of `incoming` is of an older version: the alert at
/// the end of `outgoing` changes along with the error.
pub(crate) fn told_by_version(error: Error, incoming: &[u8], outgoing: &mut [u8]) -> Error {
    let missing = PeerIncompatible::SignatureAlgorithmsExtensionRequired;
    let is_told_otherwise = error == Error::PeerIncompatible(missing);
    if !is_told_otherwise || is_older_hello(incoming) != Some(true) {
        return error;
    }
    let (from, to) = (
        AlertDescription::HandshakeFailure,
        AlertDescription::ProtocolVersion,
    );
    correct_alert(outgoing, from, to);
    Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered)
}

/// Whether the record at the start of `incoming` is a whole ClientHello of a version before TLS 1.2; none if it is no such record, for
/// instance because the hello is spread over several.
fn is_older_hello(incoming: &[u8]) -> Option<bool> {
    let mut record = Reader(incoming);
    if record.number(1)? != u16::from(HANDSHAKE_RECORD) {
        return None;
    }
    record.take(2)?; // the record's version means nothing
    let mut handshake = Reader(record.sized(2)?);
    if handshake.number(1)? != u16::from(CLIENT_HELLO) || handshake.number(1)? != 0 {
        return None;
    }
    let mut hello = Reader(handshake.sized(2)?);
    let version = hello.number(2)?;
    hello.take(32)?; // random
    hello.sized(1)?; // session id
    hello.sized(2)?; // cipher suites
    hello.sized(1)?; // compression methods
    if version >= TLS12 {
        return Some(false);
    }
    if hello.0.is_empty() {
        return Some(true);
    }
    let mut extensions = Reader(hello.sized(2)?);
    while !extensions.0.is_empty() {
        if extensions.number(2)? == SUPPORTED_VERSIONS {
            return Some(false);
        }
        extensions.sized(2)?;
    }
    Some(true)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// A big-endian number of one or two bytes.
    fn number(&mut self, length: usize) -> Option<u16> {
        let bytes = self.take(length)?;
        let add = |number: u16, byte: &u8| number << 8 | u16::from(*byte);
        Some(bytes.iter().fold(0, add))
    }

    /// As many bytes as the number of `length` bytes before them says.
    fn sized(&mut self, length: usize) -> Option<&'a [u8]> {
        let size = self.number(length)?;
        self.take(usize::from(size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record with a ClientHello of this version and these extensions.
    fn hello(version: u16, extensions: Option<&[u8]>) -> Vec<u8> {
        let mut body = version.to_be_bytes().to_vec();
        body.extend([7; 32]);
        body.extend([0, 0, 2, 0, 0x2f, 1, 0]);
        if let Some(extensions) = extensions {
            body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
            body.extend(extensions);
        }
        let length = u16::try_from(body.len()).unwrap();
        let mut record = vec![22, 3, 1];
        record.extend((length + 4).to_be_bytes());
        record.extend([1, 0]);
        record.extend(length.to_be_bytes());
        record.extend(body);
        record
    }

    #[test]
    fn the_version_and_supported_versions_tell_how_old_a_hello_is() {
        let session_ticket = [0, 35, 0, 0];
        let versions = [0, 35, 0, 0, 0, 43, 0, 3, 2, 3, 4];
        for version in [0x0300, 0x0301, 0x0302] {
            assert_eq!(is_older_hello(&hello(version, None)), Some(true));
            assert_eq!(is_older_hello(&hello(version, Some(&[]))), Some(true));
            let with = |extensions| is_older_hello(&hello(version, Some(extensions)));
            assert_eq!(with(&session_ticket), Some(true));
            assert_eq!(with(&versions), Some(false));
        }
        assert_eq!(is_older_hello(&hello(TLS12, None)), Some(false));
    }

    #[test]
    fn what_is_cut_or_spread_over_records_is_not_judged() {
        let whole = hello(0x0301, Some(&[0, 35, 0, 0]));
        for end in 0..whole.len() {
            assert_eq!(is_older_hello(&whole[..end]), None, "{end} bytes");
        }
        let (first, second) = whole.split_at(40);
        let mut spread = first.to_vec();
        spread[3..5].copy_from_slice(&[0, 35]);
        spread.extend([22, 3, 1, 0, u8::try_from(second.len()).unwrap()]);
        spread.extend(second);
        assert_eq!(is_older_hello(&spread), None);
    }

    #[test]
    fn only_what_rustls_tells_otherwise_is_told_by_version() {
        let old = hello(0x0301, None);
        let alert = [21, 3, 3, 0, 2, 2, 40];
        let missing = Error::from(PeerIncompatible::SignatureAlgorithmsExtensionRequired);
        let mut outgoing = alert;
        let told = told_by_version(missing.clone(), &old, &mut outgoing);
        assert_eq!(told, PeerIncompatible::Tls12NotOffered.into());
        assert_eq!(outgoing, [21, 3, 3, 0, 2, 2, 70]);
        let mut outgoing = alert;
        let newer = hello(TLS12, None);
        let told = told_by_version(missing.clone(), &newer, &mut outgoing);
        assert_eq!((told, outgoing), (missing, alert));
        let other = Error::from(PeerIncompatible::NoCipherSuitesInCommon);
        let told = told_by_version(other.clone(), &old, &mut outgoing);
        assert_eq!((told, outgoing), (other, alert));
    }
}
