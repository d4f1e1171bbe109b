//! [`send_to_all`]: a CancelRequest whose key is unknown here goes to every server where its session may be.
//!
//! Another instance may serve the session, or a predecessor that drains. Where it may be is what the route's backends say: nothing else is
//! known, and no state is shared. A server gets the request once, however many backends and names lead to it: PostgreSQL signals its
//! process for each, and the second one might hit the next statement.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::Poll;

use crate::backend::Backend;
use crate::connection::cancel::Forwarded;
use crate::connection::choose::targets_in_order;
use crate::connection::connect::Target;
use crate::connection::ending::Ending;
use crate::options::BackendAddress;
use crate::report::CloseReason;
use crate::routes::Route;

/// To how many servers a request with an unknown key is sent at most.
const MAX_TARGETS: usize = 8;

/// Sends it to all of them at the same time, [`MAX_TARGETS`] at most; one success is enough. `host` is the row of
/// `[[proxy.listener.host]]` whose identity the client was shown.
pub(crate) async fn send_to_all(
    route: &Route,
    host: Option<usize>,
    request: Forwarded<'_>,
) -> Result<(), Ending> {
    let places = places(&candidates(route, host));
    let share = Share::of(places.len());
    let sending = places.iter().map(|place| {
        let sent = place.send(&share, request);
        async move { sent.await.map_err(|ending| ending.naming(place.address)) }
    });
    at_the_same_time(sending).await
}

/// The backends that may serve the session, the likely ones first.
fn candidates(route: &Route, host: Option<usize>) -> Vec<&Backend> {
    // A hook may have led the session away from its host's backend.
    let of_host = host
        .filter(|_| !route.hooks.route)
        .and_then(|row| route.backends.of_host(row));
    match of_host {
        Some(named) => vec![&*named.backend],
        None => route.backends.by_likelihood(),
    }
}

/// An address, and the backends that have it, each with its own way of connecting.
struct Place<'a> {
    address: &'a BackendAddress,
    backends: Vec<&'a Backend>,
}

/// The addresses of all of them, each once.
fn places<'a>(backends: &[&'a Backend]) -> Vec<Place<'a>> {
    let mut places: Vec<Place<'a>> = Vec::new();
    for backend in backends {
        for address in &backend.addresses {
            match places.iter_mut().find(|place| place.address == address) {
                Some(place) => place.backends.push(backend),
                None => places.push(Place {
                    address,
                    backends: vec![backend],
                }),
            }
        }
    }
    places.truncate(MAX_TARGETS);
    places
}

/// Which servers get the request: one behind every address, and as many more as the limit leaves.
struct Share {
    spare: Cell<usize>,
    taken: RefCell<Vec<Target>>,
}

impl Share {
    fn of(places: usize) -> Self {
        Self {
            spare: Cell::new(MAX_TARGETS.saturating_sub(places)),
            taken: RefCell::default(),
        }
    }

    /// Those of one address' servers that are to be sent to.
    fn take(&self, targets: &[Target]) -> Vec<Target> {
        let mut taken = self.taken.borrow_mut();
        let mut mine = targets.to_vec();
        mine.retain(|target| !taken.iter().any(|other| target.is_same_server(other)));
        let spare = self.spare.get();
        mine.truncate(spare.saturating_add(1));
        // An address without a server, or whose servers are served already, leaves its place to others.
        let left = spare.saturating_add(1).saturating_sub(mine.len());
        self.spare.set(left);
        taken.extend(mine.iter().cloned());
        mine
    }
}

impl Place<'_> {
    async fn send(&self, share: &Share, request: Forwarded<'_>) -> Result<(), Ending> {
        let Some(first) = self.backends.first() else {
            return Ok(());
        };
        let found = targets_in_order(first, self.address).await;
        let targets = share.take(found.as_deref().unwrap_or_default());
        found?;
        let sending = targets.iter().map(|target| self.send_to(target, request));
        at_the_same_time(sending).await
    }

    /// By the way of the first backend that gets there.
    async fn send_to(&self, target: &Target, request: Forwarded<'_>) -> Result<(), Ending> {
        let mut result = Err(Ending::quiet(CloseReason::CancelFailed));
        for backend in &self.backends {
            result = request.send_to(backend, target).await;
            if result.is_ok() {
                break;
            }
        }
        result
    }
}

/// Waits for all of them; the error is that of the last that has something to say.
async fn at_the_same_time<F: Future<Output = Result<(), Ending>>>(
    sending: impl Iterator<Item = F>,
) -> Result<(), Ending> {
    let mut pending: Vec<_> = sending.map(Box::pin).collect();
    let mut result = Err(Ending::quiet(CloseReason::CancelFailed));
    poll_fn(|context| {
        pending.retain_mut(|sending| match sending.as_mut().poll(context) {
            Poll::Pending => true,
            Poll::Ready(sent) => {
                let says_nothing = matches!(&sent, Err(ending) if ending.message.is_none());
                if result.is_err() && !says_nothing {
                    result = sent;
                }
                false
            }
        });
        if pending.is_empty() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    result
}
