//! Limits on connections, counted when a socket is adopted and given back when its session is over.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

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
    live: AtomicU32,
    /// (route, address) → sessions; only for routes with a limit per address. Nothing else runs under this lock.
    per_address: Mutex<HashMap<(u32, IpAddr), u32>>,
    handshakes: Arc<Semaphore>,
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
    /// Over a limit: go on as far as it takes to tell the client, or to serve a CancelRequest.
    OverLimit(Permit, OwnedSemaphorePermit),
}

/// One live session in the counts; dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Permit {
    admission: Arc<Admission>,
    route: Arc<Route>,
    address: Option<IpAddr>,
}

impl Admission {
    pub(crate) fn new(max_client_conn: u32, max_concurrent_handshakes: usize) -> Arc<Self> {
        Arc::new(Self {
            max_client_conn,
            live: AtomicU32::new(0),
            per_address: Mutex::default(),
            handshakes: Arc::new(Semaphore::new(
                max_concurrent_handshakes.clamp(1, Semaphore::MAX_PERMITS),
            )),
            peak: AtomicU32::new(0),
            idle: Notify::new(),
            shrunk: Notify::new(),
        })
    }

    /// Slots for handshakes that may go on at the same time; fair.
    pub(crate) fn handshakes(&self) -> &Arc<Semaphore> {
        &self.handshakes
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
    ) -> Result<Verdict, AdoptError> {
        let all = self.live.fetch_add(1, Ordering::AcqRel).saturating_add(1);
        self.peak.fetch_max(all, Ordering::AcqRel);
        let of_route = route
            .counters
            .live_sessions()
            .fetch_add(1, Ordering::AcqRel)
            .saturating_add(1);
        let address = if route.max_client_conn_per_ip > 0 {
            peer.parse::<SocketAddr>()
                .ok()
                .map(|peer| peer.ip().to_canonical())
        } else {
            None
        };
        let of_address = address.map_or(0, |address| self.count_address(route.id, address));
        let permit = Permit {
            admission: Arc::clone(self),
            route: Arc::clone(route),
            address,
        };
        let is_over = all > self.max_client_conn
            || exceeds(of_route, route.max_client_conn)
            || exceeds(of_address, route.max_client_conn_per_ip);
        if !is_over {
            return Ok(Verdict::Admitted(permit));
        }
        let slot = Arc::clone(&self.handshakes)
            .try_acquire_owned()
            .map_err(|_| AdoptError::TooManyConnections)?;
        Ok(Verdict::OverLimit(permit, slot))
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

/// Whether `count` is over `limit`, where 0 is no limit.
fn exceeds(count: u32, limit: u32) -> bool {
    limit > 0 && count > limit
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(address) = self.address {
            self.admission.discount_address(self.route.id, address);
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
