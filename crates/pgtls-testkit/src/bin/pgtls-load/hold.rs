//! Sessions that are opened, kept and closed by command: idle ones, clients that don't read, backends that don't.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use pgtls_testkit::messages::copy_data;

use crate::client::{Client, Dialler, Start};

/// So many sessions are opened or closed at a time.
const AT_ONCE: usize = 64;
/// What a client that doesn't read has its kernel keep (Linux doubles it).
const SMALL_RECEIVE_BUFFER: u32 = 4096;
const COPY_BYTES: usize = 32 * 1024;

/// What a session does once it is logged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Idle,
    /// Asks for so many bytes and reads none.
    SlowReader(usize),
    /// Sends so many bytes to a backend that reads none.
    SlowBackend(usize),
}

/// The sessions that are open.
#[derive(Default)]
pub(crate) struct Held {
    clients: RefCell<Vec<Client>>,
    /// Tasks that write for clients that can't be written for at once.
    writers: RefCell<Vec<tokio::task::JoinHandle<()>>>,
}

impl Held {
    /// Opens `count` more; the error is the first one.
    pub(crate) async fn open(
        &self,
        dialler: &Rc<Dialler>,
        count: usize,
        kind: Kind,
    ) -> io::Result<()> {
        let left = Rc::new(RefCell::new(count));
        let opened = Rc::new(RefCell::new(Vec::new()));
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..AT_ONCE {
            let (dialler, left, opened) =
                (Rc::clone(dialler), Rc::clone(&left), Rc::clone(&opened));
            tasks.spawn_local(async move {
                while take_one(&left) {
                    let client = open_one(&dialler, kind).await?;
                    opened.borrow_mut().push(client);
                }
                io::Result::Ok(())
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.map_err(io::Error::other)??;
        }
        for client in opened.take() {
            self.keep(client, kind);
        }
        Ok(())
    }

    fn keep(&self, mut client: Client, kind: Kind) {
        let Kind::SlowBackend(bytes) = kind else {
            self.clients.borrow_mut().push(client);
            return;
        };
        let writer = tokio::task::spawn_local(async move {
            let row = copy_data(&vec![7; COPY_BYTES]);
            for _ in 0..bytes / COPY_BYTES {
                if client.send_for_ever(&row).await.is_err() {
                    return;
                }
            }
            std::future::pending::<()>().await;
        });
        self.writers.borrow_mut().push(writer);
    }

    pub(crate) fn len(&self) -> usize {
        self.clients
            .borrow()
            .len()
            .saturating_add(self.writers.borrow().len())
    }

    /// Ends all: those that read as libpq does, the others by vanishing.
    pub(crate) async fn close(&self, is_abrupt: bool) {
        for writer in self.writers.take() {
            writer.abort();
        }
        let clients = Rc::new(RefCell::new(self.clients.take()));
        if is_abrupt {
            clients.take();
        }
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..AT_ONCE {
            let clients = Rc::clone(&clients);
            tasks.spawn_local(async move {
                loop {
                    let Some(client) = clients.borrow_mut().pop() else {
                        return;
                    };
                    // One that can't be closed any more is closed.
                    let _ = client.close().await;
                }
            });
        }
        while tasks.join_next().await.is_some() {}
    }
}

fn take_one(left: &RefCell<usize>) -> bool {
    let mut left = left.borrow_mut();
    let has_one = *left > 0;
    *left = left.saturating_sub(1);
    has_one
}

async fn open_one(dialler: &Dialler, kind: Kind) -> io::Result<Client> {
    let account = dialler.ledger.open("held", false, "held-");
    let buffer = matches!(kind, Kind::SlowReader(_)).then_some(SMALL_RECEIVE_BUFFER);
    let (mut client, _) = dialler.log_in(&account, Start::Negotiated, buffer).await?;
    match kind {
        Kind::Idle => {}
        Kind::SlowReader(bytes) => client.query(&format!("flood {bytes}")).await?,
        Kind::SlowBackend(_) => client.query("deaf 3600000").await?,
    }
    client.rest();
    dialler.ledger.forget(&account);
    Ok(client)
}
