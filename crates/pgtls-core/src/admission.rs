//! Limits on connections, counted when a socket is adopted and given back when its session is over.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::connection::socket_address;
use crate::handshake_slots::HandshakeSlots;
use crate::routes::Route;

/// Why `adopt` refused a socket. The caller still owns its descriptor and closes it.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// No route has this id.
    #[error("no route has the id {0}")]
    RouteUnknown(u32),
    /// A limit is reached, and so is the number of handshakes that could tell the client so.
    #[error("too many connections")]
    TooManyConnections,
    /// The data plane is closed or draining.
    #[error("the data plane is closed")]
    Closed,
    /// The descriptor could not be duplicated or used.
    #[error("the socket cannot be adopted: {0}")]
    Descriptor(#[from] std::io::Error),
}

/// Counts every live session; knows the global limits.
#[derive(Debug)]
pub(crate) struct Admission {
    max_client_conn: u32,
    /// Every session, also those that only live to be refused.
    live: AtomicU32,
    /// Sessions within the limits: what the limits are compared with.
    admitted: AtomicU32,
    /// (route, address) → sessions; only for routes with a limit per address. Nothing else runs under this lock.
    per_address: Mutex<HashMap<(u32, IpAddr), u32>>,
    handshakes: Arc<HandshakeSlots>,
    /// Connections over a limit that are being told so.
    refusals: Arc<Semaphore>,
    /// CancelRequests over a limit.
    cancels: Arc<Semaphore>,
    /// Those of them with unknown keys, which may take half of the slots: a known key always finds one.
    unknown_cancels: Semaphore,
    /// Most sessions at once since memory was last given back.
    peak: AtomicU32,
    /// Told when the last session ends.
    pub(crate) idle: Notify,
    /// Told when less than half of the peak is left: memory may be given back.
    pub(crate) shrunk: Notify,
}

/// Below so many sessions at the peak, giving memory back is not worth the walk through the heap.
const WORTH_TRIMMING: u32 = 64;

/// What `adopt` decided.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Go on; a handshake slot is to be waited for.
    Admitted(Permit),
    /// Over a limit: go on as far as it takes to tell the client, or to serve a CancelRequest. The slot, of a kind of its own for each,
    /// bounds how many do.
    OverLimit(Permit, OwnedSemaphorePermit),
}

/// One live session in the counts; dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Permit {
    admission: Arc<Admission>,
    route: Arc<Route>,
    /// None for a session over a limit, which takes nobody's place.
    place: Option<Place>,
}

/// A place within the limits.
#[derive(Debug)]
struct Place {
    /// Counted only where the route limits sessions per address.
    address: Option<IpAddr>,
}

impl Admission {
    /// Handshakes at a time are at most `max_concurrent_handshakes`, and at least `min_concurrent_handshakes` while CPUs are short.
    pub(crate) fn new(
        max_client_conn: u32,
        min_concurrent_handshakes: usize,
        max_concurrent_handshakes: usize,
    ) -> Arc<Self> {
        let slots = max_concurrent_handshakes.clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(Self {
            max_client_conn,
            live: AtomicU32::new(0),
            admitted: AtomicU32::new(0),
            per_address: Mutex::default(),
            handshakes: HandshakeSlots::new(min_concurrent_handshakes, slots),
            refusals: Arc::new(Semaphore::new(slots)),
            cancels: Arc::new(Semaphore::new(slots)),
            unknown_cancels: Semaphore::new(slots / 2),
            peak: AtomicU32::new(0),
            idle: Notify::new(),
            shrunk: Notify::new(),
        })
    }

    /// Slots for handshakes that may go on at the same time.
    pub(crate) fn handshakes(&self) -> &Arc<HandshakeSlots> {
        &self.handshakes
    }

    /// What a CancelRequest over a limit needs besides its slot, if its key turns out to be unknown.
    pub(crate) fn admit_unknown_cancel(&self) -> Option<SemaphorePermit<'_>> {
        self.unknown_cancels.try_acquire().ok()
    }

    /// Sessions of all routes.
    pub(crate) fn live(&self) -> u32 {
        self.live.load(Ordering::Acquire)
    }

    /// The peak is counted anew from here on.
    pub(crate) fn reset_peak(&self) {
        self.peak.store(self.live(), Ordering::Release);
    }

    /// Counts a session of `route` from `peer`, and says whether it is within the limits.
    pub(crate) fn admit(
        self: &Arc<Self>,
        route: &Arc<Route>,
        peer: &str,
        is_cancel: bool,
    ) -> Result<Verdict, AdoptError> {
        let place = self.take_place(route, peer);
        let slot = if place.is_some() {
            None
        } else {
            let slots = if is_cancel {
                &self.cancels
            } else {
                &self.refusals
            };
            let slot = Arc::clone(slots).try_acquire_owned();
            Some(slot.map_err(|_| AdoptError::TooManyConnections)?)
        };
        let live = self.live.fetch_add(1, Ordering::AcqRel).saturating_add(1);
        self.peak.fetch_max(live, Ordering::AcqRel);
        route
            .counters
            .live_sessions()
            .fetch_add(1, Ordering::AcqRel);
        let permit = Permit {
            admission: Arc::clone(self),
            route: Arc::clone(route),
            place,
        };
        Ok(match slot {
            None => Verdict::Admitted(permit),
            Some(slot) => Verdict::OverLimit(permit, slot),
        })
    }

    /// A place within every limit, or none at all.
    fn take_place(&self, route: &Route, peer: &str) -> Option<Place> {
        let all = take(&self.admitted);
        let of_route = take(route.counters.admitted());
        let address = (route.max_client_conn_per_ip > 0)
            .then(|| ip_of(peer))
            .flatten();
        let of_address = address.map_or(0, |address| self.count_address(route.id, address));
        let place = Place { address };
        let is_over = all > self.max_client_conn
            || exceeds(of_route, route.max_client_conn)
            || exceeds(of_address, route.max_client_conn_per_ip);
        if is_over {
            self.give_back(route, &place);
            return None;
        }
        Some(place)
    }

    fn give_back(&self, route: &Route, place: &Place) {
        self.admitted.fetch_sub(1, Ordering::AcqRel);
        route.counters.admitted().fetch_sub(1, Ordering::AcqRel);
        if let Some(address) = place.address {
            self.discount_address(route.id, address);
        }
    }

    fn count_address(&self, route_id: u32, address: IpAddr) -> u32 {
        let mut counts = self
            .per_address
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry((route_id, address)).or_insert(0);
        *count = count.saturating_add(1);
        *count
    }

    fn discount_address(&self, route_id: u32, address: IpAddr) {
        let mut counts = self
            .per_address
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&(route_id, address)) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&(route_id, address));
            }
        }
    }
}

/// The address in `host:port`, less the zone that a link-local address has; none for a Unix-domain socket.
pub(crate) fn ip_of(peer: &str) -> Option<IpAddr> {
    socket_address(peer).map(|peer| peer.ip())
}

/// Takes a place and says how many are taken now.
fn take(count: &AtomicU32) -> u32 {
    count.fetch_add(1, Ordering::AcqRel).saturating_add(1)
}

/// Whether `count` is over `limit`, where 0 is no limit.
fn exceeds(count: u32, limit: u32) -> bool {
    limit > 0 && count > limit
}

impl Permit {
    /// The route whose session this is.
    pub(crate) fn route(&self) -> &Arc<Route> {
        &self.route
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(place) = &self.place {
            self.admission.give_back(&self.route, place);
        }
        self.route
            .counters
            .live_sessions()
            .fetch_sub(1, Ordering::AcqRel);
        let left = self
            .admission
            .live
            .fetch_sub(1, Ordering::AcqRel)
            .saturating_sub(1);
        if left == 0 {
            self.admission.idle.notify_one();
        }
        let peak = self.admission.peak.load(Ordering::Acquire);
        if peak >= WORTH_TRIMMING && left < peak / 2 {
            self.admission.shrunk.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_address_of_a_peer() {
        let ip = |peer: &str| ip_of(peer).map(|ip| ip.to_string());
        assert_eq!(ip("192.0.2.1:5").as_deref(), Some("192.0.2.1"));
        assert_eq!(ip("[::ffff:192.0.2.1]:5").as_deref(), Some("192.0.2.1"));
        assert_eq!(ip("[fe80::1%eth0]:5").as_deref(), Some("fe80::1"));
        assert_eq!(ip("unix:/tmp/.s.PGSQL.5432"), None);
    }
}
