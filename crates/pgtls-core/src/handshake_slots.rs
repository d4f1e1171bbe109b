//! [`HandshakeSlots`]: how many handshakes go on at a time, and whose turn it is when more want to.
//!
//! The queue is fair to routes first, then to addresses within a route: a login storm on one route, or of one address, holds up the
//! others by about one handshake, however many wait before them.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::cpu_pressure::{self, Pressure};
use crate::handshake_limit::HandshakeLimit;

/// A bounded number of slots, and those who wait for one.
#[derive(Debug)]
pub(crate) struct HandshakeSlots {
    /// Guards the count and the queues; nothing is awaited, and nobody is woken, under it.
    state: Mutex<State>,
}

/// How handshakes with clients go on at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandshakeQueue {
    /// How many may go on at a time.
    pub limit: u32,
    /// Connections that wait for their turn.
    pub waiting: u32,
}

/// One handshake's place, until it is dropped.
#[derive(Debug)]
pub(crate) struct HandshakeSlot {
    /// None once the place was passed on.
    slots: Option<Arc<HandshakeSlots>>,
}

/// Is sent its slot; nobody listens any more when the connection is over.
#[derive(Debug)]
struct Waiter {
    since: Instant,
    sender: oneshot::Sender<HandshakeSlot>,
}

/// Nobody waits while `limit` allows one more than are taken.
#[derive(Debug)]
struct State {
    taken: usize,
    limit: HandshakeLimit,
    routes: Turns<u32, Turns<Option<IpAddr>, VecDeque<Waiter>>>,
}

/// Queues of which each is served in its turn; those that have become empty are forgotten.
#[derive(Debug)]
struct Turns<K, Q> {
    queues: HashMap<K, Q>,
    /// The keys of `queues`, the next one first.
    order: VecDeque<K>,
}

impl HandshakeSlots {
    /// `most` slots, and never less than `fewest` of them.
    pub(crate) fn new(fewest: usize, most: usize) -> Arc<Self> {
        let state = Mutex::new(State {
            taken: 0,
            limit: HandshakeLimit::new(fewest, most),
            routes: Turns::default(),
        });
        Arc::new(Self { state })
    }

    /// Waits for a slot; `address` is asked for only then. Cancel-safe: who is dropped while it waits is passed over.
    pub(crate) async fn acquire(
        self: &Arc<Self>,
        route_id: u32,
        address: impl FnOnce() -> Option<IpAddr>,
    ) -> Option<HandshakeSlot> {
        let waiting = {
            let mut state = self.lock();
            state.forget_what_is_stale();
            if state.take() {
                return Some(self.slot());
            }
            let (sender, waiting) = oneshot::channel();
            let since = Instant::now();
            let route = state.routes.queue(route_id);
            route.queue(address()).push_back(Waiter { since, sender });
            waiting
        };
        // The queue lives as long as `self`.
        waiting.await.ok()
    }

    fn slot(self: &Arc<Self>) -> HandshakeSlot {
        HandshakeSlot {
            slots: Some(Arc::clone(self)),
        }
    }

    /// How long a handshake that begins now may keep its slot.
    pub(crate) fn patience(&self) -> Duration {
        self.lock().limit.patience()
    }

    /// The limit and the queue as they are now; takes as long as the queue is.
    pub(crate) fn snapshot(&self) -> HandshakeQueue {
        let mut state = self.lock();
        state.forget_what_is_stale();
        HandshakeQueue {
            limit: u32::try_from(state.limit.now()).unwrap_or(u32::MAX),
            waiting: u32::try_from(state.waiting()).unwrap_or(u32::MAX),
        }
    }

    /// Gives the place to whose turn it is, and those that `pressure` allows beyond it.
    fn pass_on(self: &Arc<Self>, pressure: Option<Pressure>) {
        {
            let mut state = self.lock();
            if let Some(pressure) = pressure {
                state.limit.adapt(pressure);
            }
            state.give_back();
        }
        while let Some(waiter) = self.next() {
            if let Err(mut unwanted) = waiter.sender.send(self.slot()) {
                unwanted.slots = None;
                self.lock().give_back();
            }
        }
    }

    fn next(&self) -> Option<Waiter> {
        let mut state = self.lock();
        if !state.take() {
            return None;
        }
        let next = state.next();
        match &next {
            Some(waiter) => state.limit.note_wait(waiter.since.elapsed()),
            None => state.give_back(),
        }
        next
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self) -> bool {
        let is_free = self.limit.allows(self.taken);
        if is_free {
            self.taken = self.taken.saturating_add(1);
        }
        is_free
    }

    fn give_back(&mut self) {
        self.taken = self.taken.saturating_sub(1);
    }

    /// As long as somebody waits, the limit is looked at whenever a slot comes back.
    fn forget_what_is_stale(&mut self) {
        if self.routes.order.is_empty() {
            self.limit.forget_what_is_stale();
        }
    }

    /// Without those who gave up and were not passed over yet.
    fn waiting(&self) -> usize {
        let addresses = self.routes.queues.values();
        let waiters = addresses.flat_map(|of_route| of_route.queues.values().flatten());
        waiters.filter(|one| !one.sender.is_closed()).count()
    }

    fn next(&mut self) -> Option<Waiter> {
        self.routes.next(|addresses| {
            let waiter = addresses.next(|queue| (queue.pop_front(), queue.is_empty()));
            (waiter, addresses.order.is_empty())
        })
    }
}

impl<K, Q> Default for Turns<K, Q> {
    fn default() -> Self {
        Self {
            queues: HashMap::new(),
            order: VecDeque::new(),
        }
    }
}

impl<K: Copy + Eq + Hash, Q: Default> Turns<K, Q> {
    /// The queue of `key`, which is last in turn if it is new.
    fn queue(&mut self, key: K) -> &mut Q {
        let order = &mut self.order;
        self.queues.entry(key).or_insert_with(|| {
            order.push_back(key);
            Q::default()
        })
    }

    /// Takes from the queue whose turn it is; `take` says whether it is empty then.
    fn next<T>(&mut self, take: impl FnOnce(&mut Q) -> (Option<T>, bool)) -> Option<T> {
        let key = self.order.pop_front()?;
        let (taken, is_empty) = take(self.queues.get_mut(&key)?);
        if is_empty {
            self.queues.remove(&key);
        } else {
            self.order.push_back(key);
        }
        taken
    }
}

impl Drop for HandshakeSlot {
    fn drop(&mut self) {
        if let Some(slots) = self.slots.take() {
            slots.pass_on(cpu_pressure::of_this_thread());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    type Waiting = Pin<Box<dyn Future<Output = Option<HandshakeSlot>>>>;

    fn queue(slots: &Arc<HandshakeSlots>, route_id: u32, address: Option<IpAddr>) -> Waiting {
        let slots = Arc::clone(slots);
        let mut waiting: Waiting =
            Box::pin(async move { slots.acquire(route_id, || address).await });
        assert!(poll(&mut waiting).is_none(), "a slot was free");
        waiting
    }

    fn poll(waiting: &mut Waiting) -> Option<HandshakeSlot> {
        match waiting
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(slot) => Some(slot.expect("a slot")),
            Poll::Pending => None,
        }
    }

    fn take(slots: &Arc<HandshakeSlots>) -> HandshakeSlot {
        let slots = Arc::clone(slots);
        let mut waiting: Waiting = Box::pin(async move { slots.acquire(0, || None).await });
        poll(&mut waiting).expect("a free slot")
    }

    /// Lets everybody have the one slot in turn, and says in which order.
    fn order_of(slots: &Arc<HandshakeSlots>, mut waiting: Vec<(String, Waiting)>) -> Vec<String> {
        drop(take_last(slots));
        let mut order = Vec::new();
        while !waiting.is_empty() {
            let ready = waiting
                .iter_mut()
                .position(|(_, one)| poll(one).is_some())
                .expect("somebody's turn");
            order.push(waiting.remove(ready).0);
        }
        order
    }

    /// The slot that [`HandshakeSlots::new`] with one slot has given already.
    fn take_last(slots: &Arc<HandshakeSlots>) -> HandshakeSlot {
        slots.slot()
    }

    fn occupied() -> Arc<HandshakeSlots> {
        let slots = HandshakeSlots::new(1, 1);
        let mut slot = take(&slots);
        slot.slots = None;
        slots
    }

    #[test]
    fn a_storm_on_one_route_holds_up_another_by_one_handshake() {
        let slots = occupied();
        let mut waiting: Vec<_> = (0..1000)
            .map(|n| (format!("storm {n}"), queue(&slots, 1, None)))
            .collect();
        waiting.push(("other".to_owned(), queue(&slots, 2, None)));
        let order = order_of(&slots, waiting);
        assert_eq!(order.get(..3).unwrap(), ["storm 0", "other", "storm 1"]);
        assert_eq!(order.last().unwrap(), "storm 999");
    }

    #[test]
    fn within_a_route_addresses_take_turns_and_each_is_first_come_first_served() {
        let slots = occupied();
        let ip = |last: u8| Some(IpAddr::from([192, 0, 2, last]));
        let waiting = [
            ("a1", 1),
            ("a2", 1),
            ("a3", 1),
            ("b1", 2),
            ("c1", 3),
            ("b2", 2),
        ];
        let waiting = waiting
            .into_iter()
            .map(|(name, last)| (name.to_owned(), queue(&slots, 7, ip(last))))
            .collect();
        assert_eq!(
            order_of(&slots, waiting),
            ["a1", "b1", "c1", "a2", "b2", "a3"]
        );
    }

    #[test]
    fn those_who_gave_up_are_passed_over_and_no_slot_is_lost() {
        let slots = occupied();
        let gone: Vec<_> = (0..10_000).map(|_| queue(&slots, 1, None)).collect();
        let mut stays = queue(&slots, 1, None);
        assert_eq!(slots.snapshot().waiting, 10_001);
        drop(gone);
        assert_eq!(slots.snapshot().waiting, 1);
        drop(take_last(&slots));
        let slot = poll(&mut stays).expect("its turn");
        let told = queue(&slots, 1, None);
        drop(slot);
        // Given a slot, and gone before it looked.
        assert_eq!(slots.lock().taken, 1);
        drop(told);
        let state = slots.lock();
        assert_eq!(state.taken, 0);
        assert!(state.routes.queues.is_empty() && state.routes.order.is_empty());
    }

    #[test]
    fn as_many_slots_as_there_are_can_be_had_at_once() {
        let slots = HandshakeSlots::new(3, 3);
        let held: Vec<_> = (0..3).map(|_| take(&slots)).collect();
        let mut fourth = queue(&slots, 1, None);
        drop(held);
        assert!(poll(&mut fourth).is_some());
        drop(fourth);
        assert_eq!(slots.lock().taken, 0);
    }

    /// Ends a handshake whose worker says this of its CPU.
    fn end(mut slot: HandshakeSlot, pressure: Pressure) {
        let slots = slot.slots.take().expect("a slot in use");
        slots.pass_on(Some(pressure));
    }

    #[test]
    fn once_cpus_are_to_be_had_those_who_wait_get_the_slots_that_come_back() {
        let slots = HandshakeSlots::new(1, 4);
        end(take(&slots), Pressure::Starved);
        end(take(&slots), Pressure::Starved);
        assert_eq!(slots.snapshot().limit, 1);
        let slot = take(&slots);
        let mut waiting: Vec<_> = (0..5).map(|_| queue(&slots, 1, None)).collect();
        let mut serve = || {
            let mut served = Vec::new();
            waiting.retain_mut(|one| poll(one).map(|slot| served.push(slot)).is_none());
            served
        };
        end(slot, Pressure::Relaxed);
        let mut held = serve();
        assert_eq!(held.len(), 2);
        end(held.pop().expect("a slot"), Pressure::Relaxed);
        held.extend(serve());
        assert_eq!(held.len(), 4, "the slots there may be");
        drop(held);
        assert_eq!(serve().len(), 0, "all five had their turn");
    }
}
