//! The lives of a client that the soak plays: those that survive with every byte, and those that are cut short.
//!
//! A scenario that survives must succeed to its last byte; one that doesn't may fail anywhere, and the bytes that did arrive
//! may not be more than were sent.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use pgtls_testkit::OwnedMessage;
use pgtls_testkit::messages::{copy_data, message, startup_message};
use pgtls_wire::SSL_REQUEST;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use crate::client::{Client, Dialler, Start, within};
use crate::ledger::Account;
use crate::random::Random;

/// How long a client that is cut short looks at what it gets.
const GLANCE: Duration = Duration::from_millis(300);

/// One of the lives, and how often it is played compared with the others.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) weight: u32,
    pub(crate) life: Life,
}

/// What a scenario needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Query,
    Cancel,
    HalfClose,
    CopyIn,
    SlowReader,
    SlowBackend,
    KeyUpdates,
    KillAtRest,
    KillInFlood,
    KillInHandshake,
    KillAtStartup,
    NeverRead,
    NeverReadByBackend,
    BackendReset,
    BackendCut,
    BackendFin,
    BackendDead,
    BackendRefuses,
    BackendMute,
    Garbage,
}

const fn scenario(name: &'static str, weight: u32, life: Life) -> Scenario {
    Scenario { name, weight, life }
}

/// All of them.
pub(crate) const SCENARIOS: [Scenario; 20] = [
    scenario("query", 30, Life::Query),
    scenario("cancel", 8, Life::Cancel),
    scenario("half-close", 8, Life::HalfClose),
    scenario("copy-in", 4, Life::CopyIn),
    scenario("slow-reader", 2, Life::SlowReader),
    scenario("slow-backend", 2, Life::SlowBackend),
    scenario("key-updates", 6, Life::KeyUpdates),
    scenario("kill-at-rest", 5, Life::KillAtRest),
    scenario("kill-in-flood", 5, Life::KillInFlood),
    scenario("kill-in-handshake", 5, Life::KillInHandshake),
    scenario("kill-at-startup", 5, Life::KillAtStartup),
    scenario("never-read", 1, Life::NeverRead),
    scenario("never-read-by-backend", 1, Life::NeverReadByBackend),
    scenario("backend-reset", 6, Life::BackendReset),
    scenario("backend-cut", 6, Life::BackendCut),
    scenario("backend-fin", 5, Life::BackendFin),
    scenario("backend-dead", 3, Life::BackendDead),
    scenario("backend-refuses", 3, Life::BackendRefuses),
    scenario("backend-mute", 1, Life::BackendMute),
    scenario("garbage", 10, Life::Garbage),
];

impl Life {
    /// Whether every byte has to arrive.
    pub(crate) fn survives(self) -> bool {
        matches!(
            self,
            Self::Query
                | Self::Cancel
                | Self::HalfClose
                | Self::CopyIn
                | Self::SlowReader
                | Self::SlowBackend
                | Self::KeyUpdates
        )
    }

    /// Begins the user name: an order to the backend.
    pub(crate) fn prefix(self) -> &'static str {
        if self == Self::BackendDead {
            "dead-"
        } else if self == Self::BackendRefuses {
            "refused-"
        } else if self == Self::BackendMute {
            "mute-"
        } else if self.survives() {
            "survivor-"
        } else {
            "victim-"
        }
    }
}

/// Plays one life to its end.
pub(crate) struct Player<'a> {
    pub(crate) dialler: &'a Dialler,
    pub(crate) account: Rc<Account>,
    pub(crate) random: &'a mut Random,
}

impl Player<'_> {
    pub(crate) async fn play(&mut self, life: Life) -> io::Result<()> {
        match life {
            Life::Query => self.queries().await,
            Life::Cancel => self.cancel().await,
            Life::HalfClose => self.half_close().await,
            Life::CopyIn => self.copy_in(0).await,
            Life::SlowReader => self.slow_reader().await,
            Life::SlowBackend => self.copy_in(40).await,
            Life::KeyUpdates => self.key_updates().await,
            Life::KillAtRest => self.kill_at_rest().await,
            Life::KillInFlood => self.kill_in_flood().await,
            Life::KillInHandshake => self.kill_in_handshake().await,
            Life::KillAtStartup | Life::BackendMute => self.kill_at_startup().await,
            Life::NeverRead => self.never_read("flood 8000000").await,
            Life::NeverReadByBackend => self.never_read_by_backend().await,
            Life::BackendReset => self.endure("reset").await,
            Life::BackendCut => {
                let order = format!("cut {}", self.random.below(300_000));
                self.endure(&order).await
            }
            Life::BackendFin => {
                let order = format!("fin {}", self.random.below(300_000));
                self.endure(&order).await
            }
            Life::BackendDead | Life::BackendRefuses => self.endure_login().await,
            Life::Garbage => self.garbage().await,
        }
    }

    async fn log_in(&mut self) -> io::Result<Client> {
        let start = self.any_start();
        Ok(self.dialler.log_in(&self.account, start, None).await?.0)
    }

    fn any_start(&mut self) -> Start {
        if self.random.below(3) == 0 {
            Start::Direct
        } else {
            Start::Negotiated
        }
    }

    async fn queries(&mut self) -> io::Result<()> {
        let mut client = self.log_in().await?;
        for _ in 0..self.random.below(6) {
            let text = "x".repeat(self.random.below(30_000));
            client.query(&format!("echo {text}")).await?;
            let floods = self.random.below(3);
            for _ in 0..floods {
                client
                    .query(&format!("flood {}", self.random.below(200_000)))
                    .await?;
            }
            for _ in 0..=floods {
                expect(&client.until_ready().await?, b'C')?;
            }
        }
        client.close().await
    }

    async fn cancel(&mut self) -> io::Result<()> {
        let start = self.any_start();
        let (mut client, key) = self.dialler.log_in(&self.account, start, None).await?;
        client.query("wait").await?;
        let in_tls = self.random.below(2) == 0;
        self.dialler.cancel(&key, in_tls).await?;
        expect(&client.until_ready().await?, b'E')?;
        expect(&client.ask("echo still here").await?, b'C')?;
        client.close().await
    }

    async fn half_close(&mut self) -> io::Result<()> {
        let mut client = self.log_in().await?;
        client
            .query(&format!("after-eof {}", self.random.below(500_000)))
            .await?;
        client.half_close().await?;
        client.read_to_end().await
    }

    /// `pause`: the milliseconds that the backend waits before each message.
    async fn copy_in(&mut self, pause: u32) -> io::Result<()> {
        let mut client = self.log_in().await?;
        client.query(&format!("sink {pause}")).await?;
        for _ in 0..self.random.below(40) {
            let row = copy_data(&vec![0x55; self.random.below(60_000)]);
            client.send(&row).await?;
        }
        client.send(&message(b'c', b"")).await?;
        expect(&client.until_ready().await?, b'C')?;
        client.close().await
    }

    async fn slow_reader(&mut self) -> io::Result<()> {
        let mut client = self.log_in().await?;
        client.query("flood 3000000").await?;
        sleep(Duration::from_millis(800)).await;
        for _ in 0..20 {
            client.read_some(2000).await?;
            sleep(Duration::from_millis(30)).await;
        }
        expect(&client.until_ready().await?, b'C')?;
        client.close().await
    }

    async fn key_updates(&mut self) -> io::Result<()> {
        let mut client = self.log_in().await?;
        for _ in 0..self.random.below(8) {
            client.connection.update_keys()?;
            let order = format!("flood {}", self.random.below(50_000));
            expect(&client.ask(&order).await?, b'C')?;
        }
        client.close().await
    }

    async fn kill_at_rest(&mut self) -> io::Result<()> {
        let client = self.log_in().await?;
        sleep(Duration::from_millis(u64::from(self.random.below_u32(50)))).await;
        match self.random.below(2) {
            0 => client.reset(),
            // Dropped: FIN without close_notify.
            _ => Ok(()),
        }
    }

    async fn kill_in_flood(&mut self) -> io::Result<()> {
        let mut client = self.log_in().await?;
        client.query("flood 2000000").await?;
        client.read_some(1000).await?;
        client.reset()
    }

    async fn kill_in_handshake(&mut self) -> io::Result<()> {
        match self.random.below(4) {
            // A TCP probe.
            0 => self.dialler.tcp(None).await.map(drop),
            1 => self.dialler.negotiated(None).await?.reset_on_drop(),
            2 => {
                let mut transport = self.dialler.tcp(None).await?;
                within(transport.write_all(SSL_REQUEST.get(..5).unwrap_or_default())).await
            }
            _ => {
                let transport = self.dialler.negotiated(None).await?;
                let handshake = self.dialler.handshake(transport);
                let patience = Duration::from_micros(u64::from(self.random.below_u32(2000)));
                let _ = timeout(patience, handshake).await;
                Ok(())
            }
        }
    }

    async fn kill_at_startup(&mut self) -> io::Result<()> {
        let start = self.any_start();
        let client = self.dialler.start(&self.account, start, None).await?;
        sleep(Duration::from_micros(u64::from(
            self.random.below_u32(3000),
        )))
        .await;
        match self.random.below(2) {
            0 => client.reset(),
            _ => Ok(()),
        }
    }

    async fn never_read(&mut self, order: &str) -> io::Result<()> {
        let login = self
            .dialler
            .log_in(&self.account, Start::Negotiated, Some(4096));
        let (mut client, _) = login.await?;
        client.query(order).await?;
        sleep(Duration::from_secs(2)).await;
        client.reset()
    }

    async fn never_read_by_backend(&mut self) -> io::Result<()> {
        let mut client = self.log_in().await?;
        client.query("deaf 2000").await?;
        let row = copy_data(&vec![0x33; 60_000]);
        for _ in 0..200 {
            // The backend's reset ends this, as a rule.
            client.send(&row).await?;
        }
        client.reset()
    }

    /// The backend dies; the client reads what it gets, to the end.
    async fn endure(&mut self, order: &str) -> io::Result<()> {
        let mut client = self.log_in().await?;
        client.query(order).await?;
        client.read_to_end().await
    }

    async fn endure_login(&mut self) -> io::Result<()> {
        let start = self.any_start();
        let mut client = self.dialler.start(&self.account, start, None).await?;
        client.read_to_end().await
    }

    async fn garbage(&mut self) -> io::Result<()> {
        let noise = self.random.bytes(300);
        match self.random.below(5) {
            0 => self.throw_at(self.dialler.tcp(None).await?, &noise).await,
            1 => {
                self.throw_at(self.dialler.negotiated(None).await?, &noise)
                    .await
            }
            2 => {
                // What CVE-2021-23214 is about: bytes together with the SSLRequest.
                let stuffed = [
                    &SSL_REQUEST[..],
                    &startup_message(0, &[("user", "mallory")]),
                ]
                .concat();
                self.throw_at(self.dialler.tcp(None).await?, &stuffed).await
            }
            3 => {
                let transport = self.dialler.negotiated(None).await?;
                let connection = self.dialler.handshake(transport).await?;
                self.throw_at(connection, &noise).await
            }
            _ => {
                let mut client = self.log_in().await?;
                client.query("echo before the noise").await?;
                within(client.connection.transport_mut().write_all(&noise)).await?;
                client.read_to_end().await
            }
        }
    }

    async fn throw_at(
        &self,
        mut at: impl AsyncReadExt + AsyncWriteExt + Unpin,
        noise: &[u8],
    ) -> io::Result<()> {
        within(at.write_all(noise)).await?;
        within(at.flush()).await?;
        let mut answer = Vec::new();
        let _ = timeout(GLANCE, at.read_to_end(&mut answer)).await;
        Ok(())
    }
}

/// That a message of this type is among them.
fn expect(messages: &[OwnedMessage], tag: u8) -> io::Result<()> {
    if messages.iter().any(|message| message.tag == tag) {
        return Ok(());
    }
    let tags: String = messages
        .iter()
        .map(|message| char::from(message.tag))
        .collect();
    let wanted = char::from(tag);
    Err(io::Error::other(format!(
        "the answer has no {wanted} but {tags:?}"
    )))
}
