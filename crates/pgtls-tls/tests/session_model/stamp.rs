//! [`Stamp`]: TLS reduced to what the model needs, records that tell in which order they were encrypted.

use pgtls_tls::buffer::Buffer;
use pgtls_tls::ops::{Driven, TlsConnectionOps, Write};
use rustls::{CommonState, Error};

/// What stands in a record instead of a payload when it is the `close_notify`.
pub(crate) const CLOSE_NOTIFY: u8 = 0xff;

/// How much a record is longer than its payload.
pub(crate) const OVERHEAD_BYTES: usize = 5;

/// Encrypts by writing the number of the record and the length of its payload in front.
#[derive(Debug, Default)]
pub(crate) struct Stamp {
    next: u8,
}

impl TlsConnectionOps for Stamp {
    fn drive(
        &mut self,
        _incoming: &mut [u8],
        write: Write<'_>,
        _plaintext: &mut Buffer,
        outgoing: &mut Buffer,
    ) -> Result<Driven, Error> {
        let payload = match write {
            Write::Nothing => return Ok(Driven::default()),
            Write::Data(payload) => payload,
            Write::CloseNotify => &[CLOSE_NOTIFY],
        };
        outgoing.extend(&[self.next]);
        outgoing.extend(&u32::try_from(payload.len()).unwrap().to_be_bytes());
        outgoing.extend(payload);
        self.next += 1;
        Ok(Driven {
            is_written: true,
            ..Driven::default()
        })
    }

    fn state(&self) -> &CommonState {
        panic!("the model has no handshake")
    }
}

/// The payloads on the wire; panics unless every record is whole and stands at its place.
pub(crate) fn payloads(mut wire: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while let Some((header, rest)) = wire.split_first_chunk::<OVERHEAD_BYTES>() {
        let [number, a, b, c, d] = *header;
        assert_eq!(usize::from(number), found.len(), "record out of order");
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap();
        let (payload, rest) = rest.split_at_checked(length).expect("record cut short");
        found.push(payload);
        wire = rest;
    }
    assert!(wire.is_empty(), "header cut short");
    found
}
