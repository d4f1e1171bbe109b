//! What was sent and received, told by both ends of every session: the book that the soak is closed with.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use pgtls_testkit::Checksum;
use serde_json::{Value, json};
use tokio::sync::Notify;

/// What one end did: plaintext behind the negotiation, the startup packet included.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    sent: Cell<u64>,
    received: Cell<u64>,
    sent_checksum: Cell<Checksum>,
    received_checksum: Cell<Checksum>,
}

/// One session, found by both ends under its user name.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) user: String,
    /// What was meant to happen to it.
    pub(crate) scenario: &'static str,
    /// Whether every byte has to arrive, in both directions.
    pub(crate) survives: bool,
    pub(crate) client: Traffic,
    pub(crate) backend: Traffic,
    /// What went wrong although it should not have.
    pub(crate) failure: RefCell<Option<String>>,
}

/// A session of the backend that a CancelRequest may name.
#[derive(Debug)]
pub(crate) struct Cancellable {
    pub(crate) secret_key: [u8; 4],
    pub(crate) cancelled: Rc<Notify>,
}

/// Everything that the two ends share.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    accounts: RefCell<HashMap<String, Rc<Account>>>,
    pub(crate) cancellable: RefCell<HashMap<u32, Cancellable>>,
    /// TCP connections that the proxy's kernel accepted.
    pub(crate) connections: Cell<u64>,
    /// Sessions that the backend serves now.
    pub(crate) backend_sessions: Cell<u64>,
    pub(crate) backend_sent: Cell<u64>,
    pub(crate) backend_received: Cell<u64>,
    pub(crate) client_sent: Cell<u64>,
    pub(crate) client_received: Cell<u64>,
    /// Ends the sessions of backends that are told to read nothing.
    pub(crate) released: Notify,
    last: Cell<u32>,
}

pub(crate) fn add(counter: &Cell<u64>, count: usize) {
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    counter.set(counter.get().saturating_add(count));
}

impl Traffic {
    pub(crate) fn note_sent(&self, bytes: &[u8]) {
        add(&self.sent, bytes.len());
        let mut checksum = self.sent_checksum.get();
        checksum.update(bytes);
        self.sent_checksum.set(checksum);
    }

    pub(crate) fn note_received(&self, bytes: &[u8]) {
        add(&self.received, bytes.len());
        let mut checksum = self.received_checksum.get();
        checksum.update(bytes);
        self.received_checksum.set(checksum);
    }
}

impl Account {
    /// One line of the record that the soak compares with the proxy's log.
    pub(crate) fn to_json(&self) -> Value {
        let (client, backend) = (&self.client, &self.backend);
        let same_bytes = client.sent_checksum == backend.received_checksum
            && backend.sent_checksum == client.received_checksum;
        json!({
            "user": self.user,
            "scenario": self.scenario,
            "survives": self.survives,
            "clientSent": client.sent.get(),
            "backendReceived": backend.received.get(),
            "backendSent": backend.sent.get(),
            "clientReceived": client.received.get(),
            "sameBytes": same_bytes,
            "failure": *self.failure.borrow(),
        })
    }
}

impl Ledger {
    /// A number that was not given before.
    pub(crate) fn next_number(&self) -> u32 {
        self.last.set(self.last.get().wrapping_add(1));
        self.last.get()
    }

    /// Opens the account of a session; `prefix` may tell the backend what to do at startup.
    pub(crate) fn open(&self, scenario: &'static str, survives: bool, prefix: &str) -> Rc<Account> {
        let user = format!("{prefix}{}", self.next_number());
        let account = Rc::new(Account {
            user: user.clone(),
            scenario,
            survives,
            client: Traffic::default(),
            backend: Traffic::default(),
            failure: RefCell::default(),
        });
        self.accounts.borrow_mut().insert(user, Rc::clone(&account));
        account
    }

    pub(crate) fn find(&self, user: &str) -> Option<Rc<Account>> {
        self.accounts.borrow().get(user).cloned()
    }

    /// Forgets an account that nobody will compare.
    pub(crate) fn forget(&self, account: &Account) {
        self.accounts.borrow_mut().remove(&account.user);
    }

    /// All accounts, one line of JSON each.
    pub(crate) fn lines(&self) -> String {
        let accounts = self.accounts.borrow();
        let mut lines: Vec<String> = accounts
            .values()
            .map(|one| one.to_json().to_string())
            .collect();
        lines.sort_unstable();
        lines.join("\n")
    }

    pub(crate) fn totals(&self) -> Value {
        let failures = self.accounts.borrow();
        let failed = failures
            .values()
            .filter(|one| one.failure.borrow().is_some());
        json!({
            "connections": self.connections.get(),
            "sessions": failures.len(),
            "failures": failed.count(),
            "backendSessions": self.backend_sessions.get(),
            "backendSent": self.backend_sent.get(),
            "backendReceived": self.backend_received.get(),
            "clientSent": self.client_sent.get(),
            "clientReceived": self.client_received.get(),
        })
    }
}
