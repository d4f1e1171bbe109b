//! [`send_to_all`]: a CancelRequest whose key is unknown here goes to every server where its session may be.
//!
//! Another instance may serve the session, or a predecessor that drains. Where it may be is what the route's backends say: nothing else is
//! known, and no state is shared. A server gets the request once, however many backends and names lead to it: PostgreSQL signals its
//! process for each, and the second one might hit the next statement.

use std::cell::{Cell, OnceCell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::backend::Backend;
use crate::connection::cancel::Forwarded;
use crate::connection::choose::targets_in_order;
use crate::connection::connect::{Link, Target};
use crate::connection::ending::Ending;
use crate::options::BackendAddress;
use crate::report::CloseReason;
use crate::routes::Route;

/// To how many servers a request with an unknown key is sent at most.
const MAX_TARGETS: usize = 8;

/// In how many ways a server is tried at most: each may cost it a TLS handshake or two, for a packet that anybody can send.
const MAX_WAYS: usize = 3;

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
                Some(place) => place.add(backend),
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
    taken: RefCell<Vec<Rc<Server>>>,
}

impl Share {
    fn of(places: usize) -> Self {
        Self {
            spare: Cell::new(MAX_TARGETS.saturating_sub(places)),
            taken: RefCell::default(),
        }
    }

    /// Those of one address' servers that are to be sent to, each with what it is called there.
    fn take(&self, targets: &[Target]) -> Vec<(Rc<Server>, Target)> {
        let mut taken = self.taken.borrow_mut();
        let mut left = self.spare.get().saturating_add(1);
        let mut mine = Vec::new();
        for target in targets {
            let known = taken.iter().find(|server| server.is_at(target));
            let server = match known.map(Rc::clone) {
                Some(server) => server,
                None if left == 0 => continue,
                None => {
                    left = left.saturating_sub(1);
                    let server = Rc::new(Server::at(target));
                    taken.push(Rc::clone(&server));
                    server
                }
            };
            mine.push((server, target.clone()));
        }
        // An address without a server, or whose servers are served already, leaves its place to others.
        self.spare.set(left);
        mine
    }
}

impl<'a> Place<'a> {
    fn add(&mut self, backend: &'a Backend) {
        if !self.backends.iter().any(|one| one.connects_like(backend)) {
            self.backends.push(backend);
        }
    }

    async fn send(&self, share: &Share, request: Forwarded<'_>) -> Result<(), Ending> {
        let Some(first) = self.backends.first() else {
            return Ok(());
        };
        let found = targets_in_order(first, self.address).await;
        let servers = share.take(found.as_deref().unwrap_or_default());
        found?;
        let sending = servers
            .iter()
            .map(|(server, target)| server.send(target, &self.backends, request));
        at_the_same_time(sending).await
    }
}

/// A server that gets the request by the first way that leads there: of all backends, and under all names.
struct Server {
    /// What the first address calls it.
    target: Target,
    /// The addresses that lead here try one after the other.
    turn: Semaphore,
    /// How many ways may still be tried: none once the request is on its way, or nobody answers.
    ways_left: Cell<usize>,
    /// For all of them: the `connect_timeout` of the first.
    deadline: OnceCell<Instant>,
}

impl Server {
    fn at(target: &Target) -> Self {
        Self {
            target: target.clone(),
            turn: Semaphore::new(1),
            ways_left: Cell::new(MAX_WAYS),
            deadline: OnceCell::new(),
        }
    }

    fn is_at(&self, target: &Target) -> bool {
        self.target.is_same_server(target)
    }

    async fn send(
        &self,
        target: &Target,
        backends: &[&Backend],
        request: Forwarded<'_>,
    ) -> Result<(), Ending> {
        let link = {
            let _turn = self.turn.acquire().await;
            self.connect(target, backends, request).await?
        };
        request.send_over(&link).await
    }

    /// By the way of the first backend that gets there; the error is that of the last one tried.
    async fn connect(
        &self,
        target: &Target,
        backends: &[&Backend],
        request: Forwarded<'_>,
    ) -> Result<Link, Ending> {
        let mut last = Ending::quiet(CloseReason::CancelFailed);
        for backend in backends {
            let patience = self.patience(backend);
            if self.ways_left.get() == 0 || patience.is_zero() {
                break;
            }
            let left = self.ways_left.replace(0).saturating_sub(1);
            last = match request.connect(patience, backend, target).await {
                Ok(link) => return Ok(link),
                Err(ending) => ending,
            };
            if is_disagreement(&last) {
                self.ways_left.set(left);
            }
        }
        Err(last)
    }

    /// What is left until the deadline, which begins with the first attempt.
    fn patience(&self, backend: &Backend) -> Duration {
        let now = Instant::now();
        let deadline = || now.checked_add(backend.connect_timeout).unwrap_or(now);
        let deadline = self.deadline.get_or_init(deadline);
        deadline.saturating_duration_since(now)
    }
}

/// Whether the server was there in time, but the two did not agree on TLS or on what comes before it: another way may lead on.
fn is_disagreement(ending: &Ending) -> bool {
    ending.connect_failure.is_none()
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
