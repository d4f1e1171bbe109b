//! Phase *authenticate*: what the relay looks at until the first ReadyForQuery. Every message passes unchanged, but for one offer to
//! clients without TLS (`sasl_offer.rs`).
//!
//! Noted on the way: BackendKeyData (for CancelRequests) and the SASL mechanism, since channel binding cannot work through a
//! terminator that shows another certificate than the backend's.

use pgtls_wire::{
    AuthenticationRequest, BackendKeyData, FramingError, MessageWalk, SqlState, next_message,
    sasl_initial_response_mechanism, tag,
};

use crate::connection::cancel_registry::{CancelEntry, CancelKey, CancelPlace, CancelRegistry};
use crate::connection::ending::Ending;
use crate::connection::sasl_offer::SaslOffer;
use crate::connection::watch::{Step, Watch};
use crate::report::{CloseReason, FaultSide};
use crate::routes::Route;

/// The longest message kept in memory during authentication; PostgreSQL's own limit on a client's is 65,535 bytes.
pub(crate) const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

/// What may become of SCRAM's channel binding between the two legs of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChannelBinding {
    /// It is the peers' own affair.
    Passes,
    /// Two certificates: it cannot succeed, and a client that chooses it is told so.
    Conflicts,
    /// The client has no TLS, but the backend offers it: it is not passed on.
    Hidden,
}

/// Looks at both directions until the session is ready.
pub(crate) struct Authentication<'a> {
    registry: &'a CancelRegistry,
    route: &'a Route,
    place: CancelPlace,
    channel_binding: ChannelBinding,
    /// Stands between the backend's messages and the client, until the backend has asked for authentication.
    offer: Option<Box<SaslOffer>>,
    /// The beginning of a message from the backend; it was forwarded already, unless `offer` holds it. None once the stream is not framed: a server
    /// that cannot fork says so in the words of protocol 2.
    from_backend: Option<Vec<u8>>,
    /// The client's answer to AuthenticationSASL, held until its mechanism is known.
    from_client: Option<Vec<u8>>,
    released: Vec<u8>,
    has_seen_error: bool,
    /// Keeps the key in the registry.
    pub(crate) cancel_entry: Option<CancelEntry>,
    /// Message boundaries from the first byte behind ReadyForQuery on.
    pub(crate) walk: MessageWalk,
}

impl<'a> Authentication<'a> {
    pub(crate) fn new(
        registry: &'a CancelRegistry,
        route: &'a Route,
        place: CancelPlace,
        channel_binding: ChannelBinding,
    ) -> Self {
        Self {
            registry,
            route,
            place,
            channel_binding,
            offer: (channel_binding == ChannelBinding::Hidden).then(Box::default),
            from_backend: Some(Vec::new()),
            from_client: None,
            released: Vec::new(),
            has_seen_error: false,
            cancel_entry: None,
            walk: MessageWalk::new(),
        }
    }

    /// Notes one message of the backend; true at ReadyForQuery.
    fn note(&mut self, message_tag: u8, body: &[u8]) -> bool {
        match message_tag {
            tag::BACKEND_KEY_DATA => {
                if let Some(key) = BackendKeyData::parse(body) {
                    let key = CancelKey::new(self.route, key.process_id, key.secret_key);
                    self.cancel_entry = Some(self.registry.note(key, &self.place));
                }
            }
            tag::AUTHENTICATION if self.channel_binding == ChannelBinding::Conflicts => {
                if let Some(AuthenticationRequest::Sasl(_)) = AuthenticationRequest::parse(body) {
                    self.from_client = Some(Vec::new());
                }
            }
            tag::ERROR_RESPONSE => self.has_seen_error = true,
            _ => {}
        }
        message_tag == tag::READY_FOR_QUERY
    }
}

impl Watch for Authentication<'_> {
    fn client_sent<'c>(&'c mut self, chunk: &'c [u8]) -> Result<&'c [u8], Ending> {
        let Some(held) = self.from_client.as_mut() else {
            return Ok(chunk);
        };
        held.extend_from_slice(chunk);
        let message = next_message(held, MAX_MESSAGE_BYTES).map_err(client_violation)?;
        let Some(message) = message else {
            return Ok(&[]);
        };
        let is_plus = message.tag == tag::PASSWORD
            && sasl_initial_response_mechanism(message.body)
                .is_some_and(|mechanism| mechanism.ends_with("-PLUS"));
        if is_plus {
            return Err(channel_binding_conflict());
        }
        self.released = self.from_client.take().unwrap_or_default();
        Ok(&self.released)
    }

    fn backend_sent(&mut self, chunk: &[u8]) -> Result<Step, Ending> {
        self.offer = self.offer.take().filter(|offer| !offer.is_settled());
        if let Some(offer) = self.offer.as_mut() {
            offer.backend_sent(chunk);
        }
        let Some(mut bytes) = self.from_backend.take() else {
            return Ok(Step::Stay);
        };
        bytes.extend_from_slice(chunk);
        let mut rest = bytes.as_slice();
        loop {
            match next_message(rest, MAX_MESSAGE_BYTES) {
                Ok(Some(message)) => {
                    let is_ready = self.note(message.tag, message.body);
                    rest = rest.get(message.length..).unwrap_or_default();
                    if is_ready {
                        // Boundaries that cannot be followed keep our messages out of the stream, no more.
                        self.walk = MessageWalk::new();
                        let _ = self.walk.advance(rest);
                        self.from_backend = Some(rest.to_vec());
                        return Ok(Step::Leave);
                    }
                }
                Ok(None) => {
                    self.from_backend = Some(rest.to_vec());
                    return Ok(Step::Stay);
                }
                Err(_unframed) => {
                    self.has_seen_error = true;
                    return Ok(Step::Stay);
                }
            }
        }
    }

    fn for_client<'b>(&'b self, chunk: &'b [u8]) -> &'b [u8] {
        self.offer.as_ref().map_or(chunk, |offer| offer.passed())
    }

    fn backend_ended(&self) -> Option<Ending> {
        (!self.has_seen_error).then(|| {
            Ending::by(
                FaultSide::Backend,
                CloseReason::BackendClosed,
                "the server closed the connection during authentication without an error",
            )
            .telling(
                SqlState::ConnectionFailure,
                "the PostgreSQL server behind the proxy closed the connection during authentication",
                None,
            )
        })
    }

    fn is_at_boundary(&self) -> bool {
        let holds = self.offer.as_ref().is_some_and(|offer| !offer.is_settled());
        holds || self.from_backend.as_ref().is_some_and(Vec::is_empty)
    }

    fn to_boundary(&mut self, chunk: &[u8]) -> Result<usize, Ending> {
        // Messages of a login are small: it comes to a boundary by itself.
        self.backend_sent(chunk).map(|_| chunk.len())
    }
}

fn channel_binding_conflict() -> Ending {
    Ending::by(
        FaultSide::Client,
        CloseReason::ChannelBindingConflict,
        "the client chose SCRAM-SHA-256-PLUS, but the two legs have different certificates",
    )
    .telling(
        SqlState::InvalidAuthorization,
        "channel binding (SCRAM-SHA-256-PLUS) cannot work through a TLS proxy with a certificate of its own",
        Some(
            "Connect with channel_binding=disable, or let the administrator use the server's certificate on the proxy \
             or a plaintext connection behind it.",
        ),
    )
}

fn client_violation(error: FramingError) -> Ending {
    Ending::by(
        FaultSide::Client,
        CloseReason::ClientProtocolViolation,
        error.to_string(),
    )
    .telling(
        SqlState::ProtocolViolation,
        "invalid message during authentication",
        None,
    )
}
