//! Both neighbours of a proxy under load, in one process: clients with TLS by the thousand, and a fake backend without.
//!
//! `pgtls-load <directory>` writes a CA and a listener's certificate into the directory, starts the backend, and prints a
//! line of JSON that says where. Then it takes commands, a line of JSON each, and answers each with a line when it is done:
//!
//! | command                                                                           |                                        |
//! |-----------------------------------------------------------------------------------|----------------------------------------|
//! | `{"do": "proxy", "address": "127.0.0.1:6432"}`                                    | where the clients go                   |
//! | `{"do": "open", "count": 1000, "kind": "idle"}`                                   | opens more sessions                    |
//! | `{"do": "open", "count": 1000, "kind": "slow-reader" \| "slow-backend", "bytes": N}` | the same, with so much on its way   |
//! | `{"do": "close", "abrupt": false}`                                                | closes all of them                     |
//! | `{"do": "soak", "seconds": 60, "players": 24, "seed": 1}`                         | churn, see scenario.rs                 |
//! | `{"do": "totals"}`                                                                | what was sent and received so far      |
//! | `{"do": "record", "file": "…"}`                                                   | writes what both ends say of each session |
//!
//! `totals` is answered while another command is under way. It ends when its input does.

#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    reason = "the lines on stdout are what it is for"
)]

mod backend;
mod client;
mod hold;
mod ledger;
mod random;
mod scenario;
mod soak;

use std::error::Error;
use std::io::BufRead;
use std::path::Path;
use std::rc::Rc;
use std::thread;

use pgtls_testkit::{CertificateSpec, TestCa};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use crate::client::Dialler;
use crate::hold::{Held, Kind};
use crate::ledger::Ledger;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Commands that wait for an earlier one.
const QUEUE: usize = 16;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let directory = std::env::args()
        .nth(1)
        .ok_or("usage: pgtls-load <directory>")?;
    LocalSet::new().run_until(run(Path::new(&directory))).await
}

async fn run(directory: &Path) -> Outcome<()> {
    let ca = TestCa::new("pgtls load");
    let ca_file = ca.write_to(directory, "ca");
    let server = ca
        .issue(&CertificateSpec::localhost())
        .write_to(directory, "server");
    let ledger = Rc::new(Ledger::default());
    let listener = backend::listen()?;
    let backend = listener.local_addr()?;
    tokio::task::spawn_local(backend::serve(listener, Rc::clone(&ledger)));
    println!(
        "{}",
        json!({
            "done": "start",
            "backend": backend.to_string(),
            "caFile": ca_file,
            "certFile": server.cert_file,
            "keyFile": server.key_file,
        })
    );
    let commander = Rc::new(Commander {
        ca,
        ledger,
        held: Held::default(),
        dialler: std::cell::RefCell::default(),
    });
    let mut commands = read_commands();
    while let Some(command) = commands.recv().await {
        let commander = Rc::clone(&commander);
        let is_done = async move {
            let word = command.get("do").cloned();
            let answer = match commander.obey(&command).await {
                Ok(answer) => json!({"done": word, "answer": answer}),
                Err(error) => json!({"done": word, "error": error.to_string()}),
            };
            println!("{answer}");
        };
        tokio::task::spawn_local(is_done);
    }
    Ok(())
}

/// Lines of stdin, read by a thread of their own.
fn read_commands() -> mpsc::Receiver<Value> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let command = serde_json::from_str(&line).unwrap_or(Value::Null);
            if sender.blocking_send(command).is_err() {
                return;
            }
        }
    });
    receiver
}

struct Commander {
    ca: TestCa,
    ledger: Rc<Ledger>,
    held: Held,
    dialler: std::cell::RefCell<Option<Rc<Dialler>>>,
}

impl Commander {
    async fn obey(&self, command: &Value) -> Outcome<Value> {
        match text(command, "do") {
            "proxy" => {
                let address = text(command, "address").parse()?;
                let dialler = Dialler::new(address, &self.ca, Rc::clone(&self.ledger));
                *self.dialler.borrow_mut() = Some(Rc::new(dialler));
                Ok(Value::Null)
            }
            "open" => {
                let count = usize::try_from(number(command, "count"))?;
                self.held
                    .open(&self.dialler()?, count, kind(command)?)
                    .await?;
                Ok(json!({"open": self.held.len()}))
            }
            "close" => {
                let is_abrupt = command.get("abrupt").and_then(Value::as_bool);
                self.held.close(is_abrupt.unwrap_or(false)).await;
                self.ledger.released.notify_waiters();
                Ok(Value::Null)
            }
            "soak" => {
                let plan = soak::Plan {
                    seconds: number(command, "seconds"),
                    players: number(command, "players"),
                    seed: number(command, "seed"),
                };
                soak::run(&self.dialler()?, plan).await;
                Ok(self.ledger.totals())
            }
            "totals" => Ok(self.ledger.totals()),
            "record" => {
                std::fs::write(text(command, "file"), self.ledger.lines())?;
                Ok(Value::Null)
            }
            other => Err(format!("no such command: {other:?}").into()),
        }
    }

    fn dialler(&self) -> Outcome<Rc<Dialler>> {
        let dialler = self.dialler.borrow().clone();
        dialler.ok_or_else(|| "say where the proxy is first".into())
    }
}

fn text<'c>(command: &'c Value, key: &str) -> &'c str {
    command.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn number(command: &Value, key: &str) -> u64 {
    command.get(key).and_then(Value::as_u64).unwrap_or(0)
}

fn kind(command: &Value) -> Outcome<Kind> {
    let bytes = usize::try_from(number(command, "bytes"))?;
    match text(command, "kind") {
        "idle" => Ok(Kind::Idle),
        "slow-reader" => Ok(Kind::SlowReader(bytes)),
        "slow-backend" => Ok(Kind::SlowBackend(bytes)),
        other => Err(format!("no such kind of session: {other:?}").into()),
    }
}
