//! Questions to the owner of the data plane in the middle of a connection: may this certificate pass, which backend is it?
//!
//! A connection asks through an [`Event`](crate::Event) and waits, within its login's deadline, for [`DataPlane::answer`]. A route
//! without a hook asks nothing: [`HookSet`] says what there is.
//!
//! [`DataPlane::answer`]: crate::DataPlane::answer

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Which questions a route asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "four questions, each asked or not, independent of each other"
)]
pub struct HookSet {
    /// Before the handshake with the client: [`Question::ClientHello`].
    pub client_hello: bool,
    /// After it: [`Question::ClientCertificate`].
    pub client_certificate: bool,
    /// After the handshake with the backend: [`Question::BackendCertificate`].
    pub backend_certificate: bool,
    /// Once the startup packet is known: [`Question::Route`].
    pub route: bool,
}

/// A certificate that a peer showed and that was verified as the route demands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// Distinguished name.
    pub subject: String,
    /// Distinguished name.
    pub issuer: String,
    /// Subject alternative names.
    pub sans: Vec<String>,
    /// Unix seconds.
    pub not_before: i64,
    /// Unix seconds.
    pub not_after: i64,
    /// Lower-case hexadecimal.
    pub sha256: String,
    /// The certificate as DER.
    pub der: Vec<u8>,
}

/// What is asked, with all that is known by then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Which identity and protocols answer this ClientHello?
    ClientHello {
        /// As handed over.
        client_addr: String,
        /// The server name, if any.
        server_name: Option<String>,
        /// Protocols offered by ALPN, most preferred first.
        alpn: Vec<String>,
    },
    /// Is this client welcome?
    ClientCertificate {
        /// As handed over.
        client_addr: String,
        /// The ClientHello's.
        server_name: Option<String>,
        /// None if the client showed none.
        certificate: Option<PeerCertificate>,
    },
    /// Is this backend the right one?
    BackendCertificate {
        /// The address that was dialled.
        backend_addr: String,
        /// Its certificate.
        certificate: PeerCertificate,
    },
    /// Which backend serves this session?
    Route {
        /// As handed over.
        client_addr: String,
        /// The ClientHello's.
        server_name: Option<String>,
        /// The protocol agreed on.
        alpn: Option<String>,
        /// None if the client showed none.
        certificate: Option<PeerCertificate>,
        /// From the StartupMessage.
        user: Option<String>,
        /// From the StartupMessage, or its user.
        database: Option<String>,
    },
}

/// What a question is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Go on as configured.
    Accept,
    /// End the connection; the reason is for the log.
    Refuse(String),
    /// To [`Question::ClientHello`]: the identity of another server name, other protocols. None keeps what is configured.
    Identity {
        /// Whose identity is shown.
        server_name: Option<String>,
        /// Protocols that are accepted.
        alpn: Option<Vec<String>>,
    },
    /// To [`Question::Route`]: a named backend.
    Backend(String),
}

/// The questions that wait for an answer.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    last_id: AtomicU64,
    /// Held for one change of the map.
    waiting: Mutex<HashMap<u64, oneshot::Sender<Answer>>>,
}

impl Questions {
    /// Asks by `tell`, which is given the question's id, and waits. Dropped early, it is forgotten. The caller sets the deadline.
    pub(crate) async fn ask(&self, tell: impl FnOnce(u64)) -> Answer {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, answered) = oneshot::channel();
        self.lock().insert(id, sender);
        let _asked = Asked {
            questions: self,
            id,
        };
        tell(id);
        answered
            .await
            .unwrap_or_else(|_gone| Answer::Refuse("the question was lost".to_owned()))
    }

    /// False when nobody waits for it any more.
    pub(crate) fn answer(&self, id: u64, answer: Answer) -> bool {
        let asked = self.lock().remove(&id);
        asked.is_some_and(|asked| asked.send(answer).is_ok())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Answer>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question that is forgotten when its connection does not wait any more.
struct Asked<'q> {
    questions: &'q Questions,
    id: u64,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.questions.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn an_answer_reaches_the_one_who_asked() {
        let questions = Questions::default();
        let id = Cell::new(0);
        let mut cx = Context::from_waker(Waker::noop());
        let mut asked = pin!(questions.ask(|it| id.set(it)));
        assert!(asked.as_mut().poll(&mut cx).is_pending());
        let backend = Answer::Backend("b".to_owned());
        assert!(questions.answer(id.get(), backend.clone()));
        assert_eq!(asked.as_mut().poll(&mut cx), Poll::Ready(backend));
        assert!(!questions.answer(id.get(), Answer::Accept));
    }

    #[test]
    fn a_question_of_a_connection_that_is_gone_is_forgotten() {
        let questions = Questions::default();
        let id = Cell::new(0);
        let mut cx = Context::from_waker(Waker::noop());
        let mut asked = Box::pin(questions.ask(|it| id.set(it)));
        assert!(asked.as_mut().poll(&mut cx).is_pending());
        drop(asked);
        assert!(questions.lock().is_empty());
        assert!(!questions.answer(id.get(), Answer::Accept));
    }

    #[test]
    fn an_answer_that_comes_at_once_is_not_lost() {
        let questions = Questions::default();
        let mut cx = Context::from_waker(Waker::noop());
        let mut asked = pin!(questions.ask(|id| {
            questions.answer(id, Answer::Accept);
        }));
        assert_eq!(asked.as_mut().poll(&mut cx), Poll::Ready(Answer::Accept));
    }
}
