//! [`SaslOffer`]: takes channel binding out of what the backend offers a client without TLS.
//!
//! A backend that is spoken to over TLS offers SCRAM-SHA-256-PLUS. libpq ends a connection without TLS on which it is offered, and no
//! setting of its changes that. A client that was never offered it says `n` in its SCRAM exchange, which PostgreSQL
//! takes. (A client with TLS would say `y`, "I could, but you can't", which PostgreSQL refuses as a downgrade.)

use pgtls_wire::{AuthenticationRequest, next_message, sasl_without_channel_binding, tag};

use crate::connection::authentication::MAX_MESSAGE_BYTES;

/// Lets only whole messages pass until the backend has asked for one kind of authentication; then everything.
#[derive(Debug, Default)]
pub(crate) struct SaslOffer {
    /// The beginning of a message.
    held: Vec<u8>,
    /// What the client is sent of the last chunk.
    passed: Vec<u8>,
    is_settled: bool,
}

impl SaslOffer {
    /// Takes what the backend has sent.
    pub(crate) fn backend_sent(&mut self, chunk: &[u8]) {
        self.passed.clear();
        self.held.extend_from_slice(chunk);
        while !self.is_settled {
            let length = match next_message(&self.held, MAX_MESSAGE_BYTES) {
                Ok(Some(message)) => {
                    self.is_settled = is_last_word(message.tag, message.body);
                    match sasl_without_channel_binding(message.tag, message.body) {
                        Some(offer) => self.passed.extend_from_slice(&offer),
                        None => self
                            .passed
                            .extend_from_slice(self.held.get(..message.length).unwrap_or_default()),
                    }
                    message.length
                }
                Ok(None) => return,
                Err(_unframed) => {
                    self.is_settled = true;
                    0
                }
            };
            self.held.drain(..length);
        }
        self.passed.append(&mut self.held);
    }

    /// What the client is sent of it.
    pub(crate) fn passed(&self) -> &[u8] {
        &self.passed
    }

    /// Whether all that comes from now on passes as it is.
    pub(crate) fn is_settled(&self) -> bool {
        self.is_settled
    }
}

/// Whether nothing will be offered behind this message.
fn is_last_word(message_tag: u8, body: &[u8]) -> bool {
    let is_request =
        message_tag == tag::AUTHENTICATION && AuthenticationRequest::parse(body).is_some();
    is_request || message_tag == tag::READY_FOR_QUERY
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &[u8] = b"R\0\0\0\x2a\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0";
    const SETTLED: &[u8] = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0";

    /// What a client is sent of these bytes when they come in pieces of `size`.
    fn passed(bytes: &[u8], size: usize) -> Vec<u8> {
        let mut offer = SaslOffer::default();
        let mut all = Vec::new();
        for piece in bytes.chunks(size) {
            offer.backend_sent(piece);
            all.extend_from_slice(offer.passed());
        }
        all
    }

    #[test]
    fn the_offer_loses_channel_binding_however_it_is_cut() {
        let notice = b"N\0\0\0\x05\0".as_slice();
        let behind = b"R\0\0\0\x0c\0\0\0\x0bdata".as_slice();
        let sent = [notice, OFFER, behind].concat();
        for size in 1..=sent.len() {
            assert_eq!(passed(&sent, size), [notice, SETTLED, behind].concat());
        }
    }

    #[test]
    fn only_the_first_request_is_looked_at() {
        let ok = b"R\0\0\0\x08\0\0\0\0".as_slice();
        let sent = [ok, OFFER].concat();
        assert_eq!(passed(&sent, 3), sent);
    }

    #[test]
    fn what_is_not_framed_passes() {
        let old = b"Esorry, too many clients already\n\0";
        assert_eq!(passed(old, 4), old);
    }
}
