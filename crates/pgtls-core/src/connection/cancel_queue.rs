//! [`CancelQueue`]: how many of a route's CancelRequests with unknown keys are on their way at a time, and which of the others wait.
//!
//! Anybody can send them. Each route has a queue of its own, so that servers that do not answer hold up no other route's.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::connection::ending::Ending;
use crate::report::{CloseReason, FaultSide};

/// How many may be on their way at a time.
const MAX_UNDER_WAY: usize = 32;

/// How many may wait for that.
const MAX_WAITING: usize = 64;

/// How long they wait: one that comes late hits the session's next statement. The client's end of its direction is no sign that it has
/// lost interest: some drivers end it right behind the request.
const PATIENCE: Duration = Duration::from_secs(2);

/// The places of one route.
#[derive(Debug)]
pub(crate) struct CancelQueue {
    under_way: Semaphore,
    waiting: Semaphore,
}

impl Default for CancelQueue {
    fn default() -> Self {
        Self {
            under_way: Semaphore::new(MAX_UNDER_WAY),
            waiting: Semaphore::new(MAX_WAITING),
        }
    }
}

impl CancelQueue {
    /// A place for a request, at once or, where it `may_wait`, within [`PATIENCE`]. Cancel-safe: who is dropped while it waits is passed
    /// over.
    pub(crate) async fn enter(&self, may_wait: bool) -> Result<SemaphorePermit<'_>, Ending> {
        if let Ok(place) = self.under_way.try_acquire() {
            return Ok(place);
        }
        if !may_wait {
            return Err(too_many("one over a limit of connections does not wait"));
        }
        let Ok(_waiting) = self.waiting.try_acquire() else {
            return Err(too_many("and too many wait"));
        };
        let waited = timeout(PATIENCE, self.under_way.acquire()).await;
        let Ok(Ok(place)) = waited else {
            return Err(too_many("and none of them came to its end in time"));
        };
        Ok(place)
    }
}

/// There is no place for a request.
pub(crate) fn too_many(why: &str) -> Ending {
    let message = format!("too many CancelRequests with unknown keys are on their way: {why}");
    Ending::by(FaultSide::Proxy, CloseReason::CancelFailed, message)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::{Pin, pin};
    use std::task::Poll;

    use super::*;

    /// Polls once; whether that was enough.
    async fn is_ready<F: Future + Unpin>(future: &mut F) -> bool {
        poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx).is_ready())).await
    }

    async fn fill(queue: &CancelQueue) -> Vec<SemaphorePermit<'_>> {
        let mut places = Vec::new();
        for _ in 0..MAX_UNDER_WAY {
            places.push(queue.enter(false).await.unwrap());
        }
        places
    }

    #[tokio::test]
    async fn who_waits_gets_the_next_place_that_is_free() {
        let queue = CancelQueue::default();
        let mut places = fill(&queue).await;
        let mut waiting = pin!(queue.enter(true));
        assert!(!is_ready(&mut waiting).await);
        drop(places.pop());
        assert!(queue.enter(false).await.is_err(), "others were first");
        assert!(waiting.await.is_ok());
    }

    #[tokio::test]
    async fn nobody_waits_who_must_not_or_for_whom_there_is_no_room() {
        let queue = CancelQueue::default();
        let places = fill(&queue).await;
        assert!(queue.enter(false).await.is_err());
        let mut waiting = Vec::new();
        for _ in 0..MAX_WAITING {
            let mut one = Box::pin(queue.enter(true));
            assert!(!is_ready(&mut one).await);
            waiting.push(one);
        }
        let mut next = Box::pin(queue.enter(true));
        assert!(is_ready(&mut next).await);
        drop(waiting.pop());
        let mut next = Box::pin(queue.enter(true));
        assert!(!is_ready(&mut next).await, "one has left");
        drop(places);
    }
}
