//! Last words: what a client is told when its session ends on our initiative, and how the proxy thread tells it.
//!
//! The session's worker stops relaying at a message boundary and asks; the proxy thread writes the ErrorResponse and
//! `close_notify` through a [`ClientSocket`]; the worker, in [`crate::connection::relay::Relay::read_answer`], waits for that.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use pgtls_tls::buffer::Buffer;
use pgtls_tls::socket_source::Offer;
use pgtls_wire::SqlState;
use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep};

use crate::connection::client_socket::ClientSocket;
use crate::connection::ending::{Ending, Notice};
use crate::report::{CloseReason, FaultSide};

/// Why a session ends on our initiative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// The grace of a drain is over.
    Drained,
    /// `client_login_timeout` passed.
    LoginOverdue,
    /// No byte came in either direction for `client_idle_timeout`.
    Idle,
}

impl Farewell {
    /// How the session's report ends, with the notice that the client is, or would be, sent.
    pub(crate) fn ending(self) -> Ending {
        let ending = match self {
            Self::Drained => Ending::quiet(CloseReason::Drained),
            Self::LoginOverdue => {
                let message = "client_login_timeout passed";
                Ending::by(FaultSide::Client, CloseReason::LoginTimeout, message)
            }
            Self::Idle => Ending::quiet(CloseReason::IdleTimeout),
        };
        Ending {
            notice: Some(self.notice()),
            ..ending
        }
    }

    fn notice(self) -> Notice {
        match self {
            Self::Drained => Notice {
                sqlstate: SqlState::AdminShutdown,
                text: "terminating connection due to administrator command",
                hint: Some(
                    "The proxy is shutting down; connect again. A statement that was running is being cancelled, unless it has just completed.",
                ),
            },
            Self::LoginOverdue => Notice {
                sqlstate: SqlState::QueryCanceled,
                text: "canceling authentication due to timeout",
                hint: Some("The proxy's client_login_timeout passed before the session was ready."),
            },
            Self::Idle => Notice {
                sqlstate: SqlState::IdleSessionTimeout,
                text: "terminating connection due to idle-session timeout",
                hint: Some(
                    "The proxy's client_idle_timeout passed without a byte in either direction.",
                ),
            },
        }
    }
}

/// Asks the proxy thread for last words. Dropping it says that they could not be said.
pub(crate) struct FarewellRequest {
    pub(crate) socket: ClientSocket,
    pub(crate) farewell: Farewell,
    pub(crate) done: oneshot::Sender<()>,
}

impl FarewellRequest {
    /// Writes the words and `close_notify`, never waiting: a client whose outbox is full gets none.
    pub(crate) fn say(self, scratch: &mut Buffer) {
        let words = self.farewell.notice().encode();
        let is_said = matches!(self.socket.offer(&words, scratch), Ok(Offer::Taken))
            && self.socket.close_notify(scratch).is_ok();
        if is_said {
            // The worker may have given up meanwhile: the session is over either way.
            let _ = self.done.send(());
        }
    }
}

/// How long a session that shall end may take to come to a message boundary, or another thread to finish its answer.
pub(crate) const FAREWELL_TIMEOUT: Duration = Duration::from_secs(5);

/// What a session that shall end still has to say, once it stands at a message boundary.
pub(crate) struct LastWords {
    pub(crate) farewell: Farewell,
    deadline: Pin<Box<Sleep>>,
}

impl LastWords {
    /// There are [`FAREWELL_TIMEOUT`] left to say them.
    pub(crate) fn new(farewell: Farewell) -> Self {
        Self {
            farewell,
            deadline: Box::pin(sleep(FAREWELL_TIMEOUT)),
        }
    }
}

/// Ready when a session that has last words has taken too long about them.
pub(crate) fn overdue(last_words: &mut Option<Box<LastWords>>) -> impl Future<Output = Farewell> {
    poll_fn(move |cx| match last_words {
        Some(words) => words.deadline.as_mut().poll(cx).map(|()| words.farewell),
        None => Poll::Pending,
    })
}
