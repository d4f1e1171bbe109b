//! [`RelayState`]: which direction of a session still carries bytes, without any I/O.
//!
//! Each direction ends by itself, so that a half-closed session still gets its answer: the receiver is told only once all that
//! came before was sent. Not representable: an end told twice, bytes after an end.

use pgtls_wire::tag;

/// The whole of a `Terminate` message.
const TERMINATE: [u8; 5] = [tag::TERMINATE, 0, 0, 0, 4];

/// What a `ReadyForQuery` begins with; the transaction status follows.
const READY_FOR_QUERY: [u8; 5] = [tag::READY_FOR_QUERY, 0, 0, 0, 5];

/// One direction, named by its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// The source may send.
    Open,
    /// The source has ended; the destination is not told yet.
    Ended,
    /// `close_notify` stands in the destination's outbox; its socket is still open for writing.
    Notified,
    /// The destination was told, or cannot be told any more.
    Over,
}

/// What has to be done now to pass an end on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndStep {
    /// Nothing, or not yet: bytes still wait.
    None,
    /// Send `close_notify`.
    Notify,
    /// Shut the socket's write side down.
    Shutdown,
}

/// Both directions of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RelayState {
    /// Client to backend.
    pub(crate) inward: Flow,
    /// Backend to client.
    pub(crate) outward: Flow,
    /// Which side ended first.
    pub(crate) first_end: Option<FirstEnd>,
    asked: Asked,
}

/// What the client has sent last. One byte: every idle session keeps two of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// Nothing since the backend last said `ReadyForQuery`.
    Nothing,
    /// Something.
    Something,
    /// `Terminate`, while the backend had not left it.
    Terminate,
}

/// The side that ended first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FirstEnd {
    Client,
    Backend,
}

impl Flow {
    /// What to do next, given whether the destination still has bytes waiting.
    pub(crate) fn step(self, has_residue: bool) -> EndStep {
        match self {
            Self::Ended if !has_residue => EndStep::Notify,
            Self::Notified if !has_residue => EndStep::Shutdown,
            Self::Open | Self::Ended | Self::Notified | Self::Over => EndStep::None,
        }
    }
}

impl RelayState {
    pub(crate) fn new() -> Self {
        Self {
            inward: Flow::Open,
            outward: Flow::Open,
            first_end: None,
            asked: Asked::Nothing,
        }
    }

    /// Whether the backend may be in the middle of a statement. A `ReadyForQuery` that two reads cut in two is not seen: then it may be
    /// idle all the same.
    pub(crate) fn is_busy(self) -> bool {
        self.asked != Asked::Nothing
    }

    /// Notes whether the backend is ready for the next query with the last of these bytes.
    pub(crate) fn backend_sent(&mut self, bytes: &[u8]) {
        if let Some((rest, _status)) = bytes.split_last_chunk::<1>()
            && rest.ends_with(&READY_FOR_QUERY)
            && self.asked == Asked::Something
        {
            self.asked = Asked::Nothing;
        }
    }

    /// Notes whether the client has taken its leave with the last of these bytes; not if the backend has left it before.
    pub(crate) fn client_sent(&mut self, bytes: &[u8]) {
        if self.first_end.is_none() && !bytes.is_empty() {
            self.asked = if bytes.ends_with(&TERMINATE) {
                Asked::Terminate
            } else {
                Asked::Something
            };
        }
    }

    pub(crate) fn client_ended(&mut self) {
        self.inward = Flow::Ended;
        self.first_end.get_or_insert(FirstEnd::Client);
    }

    pub(crate) fn backend_ended(&mut self) {
        self.outward = Flow::Ended;
        self.first_end.get_or_insert(FirstEnd::Backend);
    }

    /// The backend takes nothing more, but what it has sent may still reach the client.
    pub(crate) fn backend_broken(&mut self) {
        self.inward = Flow::Over;
        self.first_end.get_or_insert(FirstEnd::Backend);
    }

    /// Whose decision the end was. A server answers `Terminate` by closing the connection, often before the client has closed its
    /// own end: that is the client's doing all the same.
    pub(crate) fn who_left(self) -> FirstEnd {
        match self.first_end {
            Some(FirstEnd::Backend) if self.asked != Asked::Terminate => FirstEnd::Backend,
            Some(FirstEnd::Client | FirstEnd::Backend) | None => FirstEnd::Client,
        }
    }

    /// Whether the client has taken its leave, by its end or by `Terminate`, of a backend that had not left it.
    pub(crate) fn has_client_left(self) -> bool {
        match self.first_end {
            Some(FirstEnd::Client) => true,
            Some(FirstEnd::Backend) => false,
            None => self.asked == Asked::Terminate,
        }
    }

    /// Both directions are done with.
    pub(crate) fn is_over(self) -> bool {
        self.inward == Flow::Over && self.outward == Flow::Over
    }

    /// The client was told that the backend has ended; what is still on its way inward has a deadline.
    pub(crate) fn awaits_client_only(self) -> bool {
        self.outward == Flow::Over && self.inward != Flow::Over
    }

    /// The backend takes nothing more and has not ended its direction yet: that wait has a deadline.
    pub(crate) fn awaits_broken_backend(self) -> bool {
        self.inward == Flow::Over
            && self.first_end == Some(FirstEnd::Backend)
            && self.outward != Flow::Over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_destination_only_when_nothing_waits() {
        assert_eq!(Flow::Ended.step(true), EndStep::None);
        assert_eq!(Flow::Ended.step(false), EndStep::Notify);
        assert_eq!(Flow::Notified.step(true), EndStep::None);
        assert_eq!(Flow::Notified.step(false), EndStep::Shutdown);
        assert_eq!(Flow::Open.step(false), EndStep::None);
        assert_eq!(Flow::Over.step(false), EndStep::None);
    }

    #[test]
    fn goes_on_outward_after_the_client_half_closed() {
        let mut state = RelayState::new();
        state.client_ended();
        state.inward = Flow::Over;
        assert!(!state.is_over());
        assert_eq!(state.outward, Flow::Open);
        state.backend_ended();
        state.outward = Flow::Over;
        assert!(state.is_over());
        assert_eq!(state.first_end, Some(FirstEnd::Client));
    }

    #[test]
    fn a_server_that_closes_at_terminate_was_left_by_the_client() {
        let mut state = RelayState::new();
        state.client_sent(b"Q\0\0\0\x05\0X\0\0\0\x04");
        state.backend_ended();
        assert_eq!(state.who_left(), FirstEnd::Client);
    }

    #[test]
    fn a_client_that_terminates_once_the_server_has_left_comes_too_late() {
        let mut state = RelayState::new();
        state.backend_ended();
        state.client_sent(b"X\0\0\0\x04");
        state.client_ended();
        assert_eq!(state.who_left(), FirstEnd::Backend);
    }

    #[test]
    fn a_server_that_closes_by_itself_has_left_the_client() {
        let mut state = RelayState::new();
        state.client_sent(b"X\0\0\0\x04");
        state.client_sent(b"Q\0\0\0\x05\0");
        state.backend_ended();
        assert_eq!(state.who_left(), FirstEnd::Backend);
    }

    #[test]
    fn a_client_has_left_with_its_end_or_terminate_unless_the_backend_was_first() {
        let new = RelayState::new;
        let (mut ended, mut terminated, mut late) = (new(), new(), new());
        ended.client_ended();
        terminated.client_sent(b"X\0\0\0\x04");
        late.backend_broken();
        late.client_sent(b"X\0\0\0\x04");
        late.client_ended();
        assert!(ended.has_client_left() && terminated.has_client_left());
        assert!(!late.has_client_left() && !new().has_client_left());
    }

    #[test]
    fn a_backend_is_busy_from_a_message_of_the_client_to_ready_for_query() {
        let mut state = RelayState::new();
        assert!(!state.is_busy());
        state.client_sent(b"Q\0\0\0\x05\0");
        state.backend_sent(b"C\0\0\0\x05\0");
        assert!(state.is_busy());
        state.backend_sent(b"C\0\0\0\x05\0Z\0\0\0\x05I");
        assert!(!state.is_busy());
        state.backend_sent(b"A\0\0\0\x04");
        assert!(!state.is_busy(), "a notification says nothing");
    }

    #[test]
    fn waits_for_the_client_alone_once_the_backend_is_gone() {
        let mut state = RelayState::new();
        state.backend_ended();
        state.outward = Flow::Over;
        assert!(state.awaits_client_only());
    }
}
