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
