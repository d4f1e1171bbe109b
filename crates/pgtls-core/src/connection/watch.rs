//! [`Watch`]: who looks at a session's bytes on their way through the relay, and [`Boundaries`], which looks at message boundaries alone.

use pgtls_wire::MessageWalk;

use crate::connection::ending::Ending;

/// Looks at the bytes on their way, before they are sent.
pub(crate) trait Watch {
    /// What goes on to the backend now.
    fn client_sent<'c>(&'c mut self, chunk: &'c [u8]) -> Result<&'c [u8], Ending>;
    /// Sees what the backend sent.
    fn backend_sent(&mut self, chunk: &[u8]) -> Result<Step, Ending>;
    /// What goes on to the client now, of the chunk that was seen last.
    fn for_client<'b>(&'b self, chunk: &'b [u8]) -> &'b [u8] {
        chunk
    }
    /// The backend has ended its direction, and the client had not left: an ending if that must not be passed on as it is.
    fn backend_ended(&self) -> Option<Ending>;
    /// Whether a message of our own may follow what the client was sent.
    fn is_at_boundary(&self) -> bool;
    /// Sees no more of `chunk` than up to the next boundary, and says how many bytes that is.
    fn to_boundary(&mut self, chunk: &[u8]) -> Result<usize, Ending>;
}

/// Whether the mode goes on after a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Stay,
    Leave,
}

/// Streaming: nothing is looked at but message boundaries.
#[derive(Debug)]
pub(crate) struct Boundaries {
    /// None once the stream turned out not to be framed; then no message of ours can enter it.
    walk: Option<MessageWalk>,
}

impl Boundaries {
    pub(crate) fn new(walk: MessageWalk) -> Self {
        Self { walk: Some(walk) }
    }
}

impl Watch for Boundaries {
    fn client_sent<'c>(&'c mut self, chunk: &'c [u8]) -> Result<&'c [u8], Ending> {
        Ok(chunk)
    }

    fn backend_sent(&mut self, chunk: &[u8]) -> Result<Step, Ending> {
        if let Some(walk) = self.walk.as_mut()
            && walk.advance(chunk).is_err()
        {
            self.walk = None;
        }
        Ok(Step::Stay)
    }

    fn backend_ended(&self) -> Option<Ending> {
        None
    }

    fn is_at_boundary(&self) -> bool {
        self.walk.as_ref().is_some_and(MessageWalk::is_at_boundary)
    }

    fn to_boundary(&mut self, chunk: &[u8]) -> Result<usize, Ending> {
        let step = self
            .walk
            .as_mut()
            .and_then(|walk| walk.advance_to_boundary(chunk).ok());
        if step.is_none() {
            self.walk = None;
        }
        Ok(step.unwrap_or(chunk.len()))
    }
}
