//! [`client_chain`] and [`first_expiry`]: the certificates in a server session of rustls, and until when they hold.
//!
//! A resumed session is not verified again, so a session must not outlive the client certificate it was established with.
//! rustls hands sessions out encoded; this reads as much of that encoding as it takes to find the certificates. Anything
//! it does not understand to the last byte is [`UnknownLayout`], and such a session is never resumed: an update of rustls
//! that changes the encoding turns resumption off (and tests red), it does not turn the check off.

use rustls_pki_types::CertificateDer;

use crate::leaf::parse;

/// A session that is not laid out as expected, or holds a certificate that can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UnknownLayout;

/// The earliest notAfter of the client's chain, Unix seconds; `None` if it showed no certificate.
pub(crate) fn first_expiry(session: &[u8]) -> Result<Option<i64>, UnknownLayout> {
    let mut first = None;
    for certificate in client_chain(session)? {
        let expiry = not_after(&CertificateDer::from(certificate)).ok_or(UnknownLayout)?;
        first = Some(first.map_or(expiry, |earlier: i64| earlier.min(expiry)));
    }
    Ok(first)
}

/// The client's chain, DER, the leaf first; empty if it showed no certificate.
pub(crate) fn client_chain(session: &[u8]) -> Result<Vec<&[u8]>, UnknownLayout> {
    let mut reader = Reader(session);
    if reader.flag()? {
        let length = reader.number(1)?;
        reader.take(length)?; // the server name
    }
    reader.take(2)?; // protocol version
    reader.take(2)?; // cipher suite
    let length = reader.number(1)?;
    reader.take(length)?; // the secret
    reader.flag()?; // extended master secret
    let chain = if reader.flag()? {
        let length = reader.number(3)?;
        reader.take(length)?
    } else {
        &[]
    };
    if reader.flag()? {
        let length = reader.number(1)?;
        reader.take(length)?; // the ALPN protocol
    }
    let length = reader.number(2)?;
    reader.take(length)?; // application data
    reader.take(8)?; // creation time
    reader.take(4)?; // age obfuscation
    reader.end()?;
    let mut reader = Reader(chain);
    let mut certificates = Vec::new();
    while !reader.0.is_empty() {
        let length = reader.number(3)?;
        certificates.push(reader.take(length)?);
    }
    Ok(certificates)
}

/// The certificate's notAfter, Unix seconds.
pub(crate) fn not_after(certificate: &CertificateDer<'_>) -> Option<i64> {
    let certificate = parse(certificate).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], UnknownLayout> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(UnknownLayout)?;
        self.0 = rest;
        Ok(taken)
    }

    /// A big-endian number of `length` bytes.
    fn number(&mut self, length: usize) -> Result<usize, UnknownLayout> {
        let bytes = self.take(length)?;
        Ok(bytes
            .iter()
            .fold(0, |number, &byte| number << 8 | usize::from(byte)))
    }

    fn flag(&mut self) -> Result<bool, UnknownLayout> {
        match self.number(1)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(UnknownLayout),
        }
    }

    fn end(&self) -> Result<(), UnknownLayout> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(UnknownLayout)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A session without server name, certificate or ALPN, as rustls 0.23 encodes it.
    fn bare() -> Vec<u8> {
        let mut session = vec![0, 3, 4, 0x13, 1, 2, 7, 7, 0, 0, 0, 0, 0];
        session.extend([0; 12]);
        session
    }

    #[test]
    fn a_session_without_a_client_certificate_has_no_expiry() {
        assert_eq!(first_expiry(&bare()), Ok(None));
    }

    #[test]
    fn nothing_but_the_whole_of_a_session_is_understood() {
        let session = bare();
        for end in 0..session.len() {
            assert_eq!(first_expiry(&session[..end]), Err(UnknownLayout), "{end}");
        }
        let longer = [session.as_slice(), &[0]].concat();
        assert_eq!(first_expiry(&longer), Err(UnknownLayout));
        let mut flagged = session;
        flagged[0] = 2;
        assert_eq!(first_expiry(&flagged), Err(UnknownLayout));
    }

    #[test]
    fn a_certificate_that_cannot_be_read_is_no_ground_to_resume() {
        let mut session = vec![
            0, 3, 4, 0x13, 1, 2, 7, 7, 0, 1, 0, 0, 5, 0, 0, 2, 1, 1, 0, 0, 0,
        ];
        session.extend([0; 12]);
        assert_eq!(first_expiry(&session), Err(UnknownLayout));
    }
}
