//! Reports on their way to JavaScript: a worker gathers those of a moment, so that many connections that end together wake the
//! JavaScript thread once.

use std::cell::RefCell;
use std::mem;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;

use crate::data_plane::{Event, EventSink};
use crate::report::ConnectionReport;

/// How long a report may wait for others. A log line is so much late at most.
const GATHERED_FOR: Duration = Duration::from_millis(50);

/// So many are not kept waiting.
const MOST_GATHERED: usize = 64;

thread_local! {
    /// The gathering of this thread, if it is a worker's.
    static GATHERING: RefCell<Option<Rc<Gathering>>> = const { RefCell::new(None) };
}

/// Reports that a worker has not sent yet.
struct Gathering {
    events: EventSink,
    reports: RefCell<Vec<ConnectionReport>>,
    /// Told with the first of them.
    begun: Notify,
}

/// Lets a worker's thread gather; what is left is sent when it is dropped.
pub(crate) struct Gatherer(Rc<Gathering>);

/// Sends a report, at once where this thread does not gather any.
pub(crate) fn send(report: ConnectionReport, events: &EventSink) {
    let gathering = GATHERING
        .try_with(|gathering| gathering.borrow().clone())
        .ok()
        .flatten();
    match gathering {
        Some(gathering) => gathering.add(report),
        None => events(Event::ConnectionsClosed(vec![report])),
    }
}

impl Gathering {
    fn add(&self, report: ConnectionReport) {
        let gathered = {
            let mut reports = self.reports.borrow_mut();
            reports.push(report);
            reports.len()
        };
        match gathered {
            1 => self.begun.notify_one(),
            MOST_GATHERED.. => self.flush(),
            _ => {}
        }
    }

    fn flush(&self) {
        let reports = mem::take(&mut *self.reports.borrow_mut());
        if !reports.is_empty() {
            (self.events)(Event::ConnectionsClosed(reports));
        }
    }
}

impl Gatherer {
    pub(crate) fn begin(events: &EventSink) -> Self {
        let gathering = Rc::new(Gathering {
            events: EventSink::clone(events),
            reports: RefCell::default(),
            begun: Notify::new(),
        });
        GATHERING.set(Some(Rc::clone(&gathering)));
        Self(gathering)
    }

    /// Sends what was gathered, whenever it is time; never ends.
    pub(crate) async fn run(&self) {
        loop {
            self.0.begun.notified().await;
            sleep(GATHERED_FOR).await;
            self.0.flush();
        }
    }
}

impl Drop for Gatherer {
    fn drop(&mut self) {
        // Fails only when the thread's own variables are gone already.
        let _ = GATHERING.try_with(RefCell::take);
        self.0.flush();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, PoisonError};

    use tokio::time::timeout;

    use super::*;

    /// A sink, and the ids that each event brought.
    fn sink() -> (EventSink, Arc<Mutex<Vec<Vec<u64>>>>) {
        let told = Arc::<Mutex<Vec<Vec<u64>>>>::default();
        let heard = Arc::clone(&told);
        let events: EventSink = Arc::new(move |event| {
            if let Event::ConnectionsClosed(reports) = event {
                let ids = reports.iter().map(|report| report.connection_id);
                let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                heard.push(ids.collect());
            }
        });
        (events, told)
    }

    fn end(id: u64, events: &EventSink) {
        let report = ConnectionReport::opened(id, 0, String::new(), String::new());
        send(report, events);
    }

    fn so_far(told: &Mutex<Vec<Vec<u64>>>) -> Vec<Vec<u64>> {
        told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    #[tokio::test]
    async fn a_thread_that_gathers_none_sends_each_at_once() {
        let (events, told) = sink();
        end(1, &events);
        end(2, &events);
        assert_eq!(so_far(&told), [[1], [2]]);
    }

    #[tokio::test]
    async fn those_of_a_moment_go_together_and_in_order() {
        let (events, told) = sink();
        let gatherer = Gatherer::begin(&events);
        let ends = async {
            for round in 0..2 {
                end(round * 10, &events);
                end(round * 10 + 1, &events);
                let before = so_far(&told).len();
                while so_far(&told).len() == before {
                    sleep(Duration::from_millis(1)).await;
                }
            }
        };
        let deadline = Duration::from_mins(1);
        tokio::select! {
            () = gatherer.run() => {}
            done = timeout(deadline, ends) => done.expect("both rounds are told in time"),
        }
        assert_eq!(so_far(&told), [[0, 1], [10, 11]]);
    }

    #[tokio::test]
    async fn many_are_not_kept_waiting_and_the_rest_goes_with_the_worker() {
        let (events, told) = sink();
        let gatherer = Gatherer::begin(&events);
        for id in 0..=u64::try_from(MOST_GATHERED).unwrap_or(0) {
            end(id, &events);
        }
        assert_eq!(so_far(&told).len(), 1);
        drop(gatherer);
        assert_eq!(so_far(&told).last().map(Vec::len), Some(1));
        end(99, &events);
        assert_eq!(so_far(&told).last(), Some(&vec![99]));
    }
}
