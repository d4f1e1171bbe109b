//! A real client for the end-to-end tests: tokio-postgres over TLS, verified like
//! `sslmode=verify-full`, with ALPN `postgresql`.
//!
//! `pgtls-tokio-postgres-client <connection string> <CA file>` goes through what applications do and
//! prints one line of JSON, `{"ok": true, …}` or `{"ok": false, "step": …, "error": …}`. Exit code
//! 0 or 1.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "the line on stdout is what it is for")]

use std::error::Error;
use std::fmt::Write;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{join, try_join_all};
use futures_util::{SinkExt, StreamExt};
use pgtls_testkit::{Checksum, PostgresConnector, TlsClient};
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::{AsyncMessage, Client, Config, SimpleQueryMessage};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// How long one step may take.
const DEADLINE: Duration = Duration::from_mins(1);
/// How much goes through COPY each way.
const COPY_BYTES: usize = 10_000_000;
/// How many queries are under way at once.
const PIPELINED: i32 = 200;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut report = Map::new();
    let outcome = run(&mut report).await;
    report.insert("ok".to_owned(), json!(outcome.is_ok()));
    if let Err(error) = &outcome {
        report.insert("error".to_owned(), json!(with_causes(&**error)));
    }
    println!("{}", Value::Object(report));
    if outcome.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn with_causes(error: &(dyn Error + 'static)) -> String {
    let cause = error.source().map(with_causes);
    cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

fn roots(ca_file: &str) -> Outcome<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca_file)? {
        roots.add(certificate?)?;
    }
    Ok(roots)
}

async fn run(report: &mut Map<String, Value>) -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(connection), Some(ca_file), None) =
        (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("usage: pgtls-tokio-postgres-client <connection string> <CA file>".into());
    };
    let mut config: Config = connection.parse()?;
    config.ssl_mode(SslMode::Require);
    let connector = PostgresConnector::new(&TlsClient::with_roots(roots(&ca_file)?));
    let mut session = step(report, "connect", connect(&config, &connector)).await?;
    let client = &mut session.client;
    step(report, "simpleQuery", simple_query(client)).await?;
    step(report, "prepared", prepared(client)).await?;
    step(report, "transaction", transaction(client)).await?;
    step(report, "copy", copy(client)).await?;
    step(report, "pipelined", pipelined(client)).await?;
    step(report, "cancel", cancel(&config, &connector, client)).await?;
    step(report, "notify", notify(&mut session)).await?;
    step(report, "close", session.close()).await?;
    Ok(())
}

/// Runs one step by the deadline and notes what it gives; a failure names the step.
async fn step<T: Reported>(
    report: &mut Map<String, Value>,
    name: &str,
    future: impl Future<Output = Outcome<T>>,
) -> Outcome<T> {
    report.insert("step".to_owned(), json!(name));
    let done = timeout(DEADLINE, future)
        .await
        .map_err(|_| "not done by the deadline")??;
    report.insert(name.to_owned(), done.report());
    report.remove("step");
    Ok(done)
}

/// What a step shows of its outcome.
trait Reported {
    fn report(&self) -> Value;
}

impl Reported for Value {
    fn report(&self) -> Value {
        self.clone()
    }
}

impl Reported for Session {
    fn report(&self) -> Value {
        self.tls.clone()
    }
}

/// A connection.
struct Session {
    client: Client,
    /// Reads and writes for the client; ends by itself once the client is dropped.
    driver: JoinHandle<()>,
    /// Channel and payload of each notification. The driver drops what nobody takes.
    notifications: mpsc::Receiver<(String, String)>,
    tls: Value,
}

impl Session {
    /// Sends Terminate and ends the connection in order.
    async fn close(self) -> Outcome<Value> {
        drop(self.client);
        self.driver.await?;
        Ok(json!(true))
    }
}

async fn connect(config: &Config, connector: &PostgresConnector) -> Outcome<Session> {
    let (client, mut connection) = config.connect(connector.clone()).await?;
    let (sender, notifications) = mpsc::channel(16);
    let tls = connector.negotiated();
    let driver = tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notification(note) = message {
                let _ = sender.try_send((note.channel().to_owned(), note.payload().to_owned()));
            }
        }
    });
    Ok(Session {
        client,
        driver,
        notifications,
        tls,
    })
}

async fn simple_query(client: &Client) -> Outcome<Value> {
    let messages = client
        .simple_query("select 1 as one; select version()")
        .await?;
    let rows = messages.iter().filter_map(|message| {
        let SimpleQueryMessage::Row(row) = message else {
            return None;
        };
        row.get(0).map(ToOwned::to_owned)
    });
    let rows: Vec<String> = rows.collect();
    ensure(
        rows.len() == 2 && rows.first().is_some_and(|row| row == "1"),
        "two rows",
    )?;
    Ok(json!(rows.last()))
}

async fn prepared(client: &Client) -> Outcome<Value> {
    let statement = client
        .prepare("select $1::int8 + 1, upper($2::text)")
        .await?;
    let row = client.query_one(&statement, &[&41_i64, &"pgtls"]).await?;
    let (sum, text): (i64, String) = (row.try_get(0)?, row.try_get(1)?);
    ensure(sum == 42 && text == "PGTLS", "42 and PGTLS")?;
    Ok(json!(true))
}

async fn transaction(client: &mut Client) -> Outcome<Value> {
    client
        .batch_execute("create temp table pgtls_rows (n int)")
        .await?;
    let kept = client.transaction().await?;
    kept.execute("insert into pgtls_rows values ($1)", &[&1_i32])
        .await?;
    kept.commit().await?;
    let dropped = client.transaction().await?;
    dropped
        .execute("insert into pgtls_rows values ($1)", &[&2_i32])
        .await?;
    dropped.rollback().await?;
    let row = client
        .query_one("select count(*), max(n) from pgtls_rows", &[])
        .await?;
    let (count, max): (i64, i32) = (row.try_get(0)?, row.try_get(1)?);
    ensure(count == 1 && max == 1, "the committed row only")?;
    Ok(json!(true))
}

async fn copy(client: &Client) -> Outcome<Value> {
    client
        .batch_execute("create temp table pgtls_copy (id int, filling text)")
        .await?;
    let sent = copy_in(client).await?;
    let received = copy_out(client).await?;
    ensure(sent == received, "equal bytes and checksums both ways")?;
    let (bytes, checksum) = sent;
    Ok(json!({ "bytes": bytes, "checksum": format!("{checksum:016x}") }))
}

async fn copy_in(client: &Client) -> Outcome<(usize, u64)> {
    let sink = client
        .copy_in::<_, Bytes>("copy pgtls_copy from stdin")
        .await?;
    let mut sink = pin!(sink);
    let (mut bytes, mut checksum, mut id) = (0, Checksum::default(), 0_u32);
    while bytes < COPY_BYTES {
        let mut chunk = String::new();
        while chunk.len() < 60_000 {
            id += 1;
            let seed = id.wrapping_mul(0x9e37_79b1);
            writeln!(
                chunk,
                "{id}\t{seed:08x}{:08x}{}",
                seed.rotate_left(13),
                "x".repeat(80)
            )?;
        }
        checksum.update(chunk.as_bytes());
        bytes += chunk.len();
        sink.send(Bytes::from(chunk)).await?;
    }
    let rows = sink.as_mut().finish().await?;
    ensure(rows == u64::from(id), "as many rows as were sent")?;
    Ok((bytes, checksum.value()))
}

async fn copy_out(client: &Client) -> Outcome<(usize, u64)> {
    let statement = "copy (select * from pgtls_copy order by id) to stdout";
    let mut stream = pin!(client.copy_out(statement).await?);
    let (mut bytes, mut checksum) = (0, Checksum::default());
    while let Some(chunk) = stream.next().await {
        let chunk = chunk?;
        checksum.update(&chunk);
        bytes += chunk.len();
    }
    Ok((bytes, checksum.value()))
}

async fn pipelined(client: &Client) -> Outcome<Value> {
    let statement = client.prepare("select $1::int4").await?;
    let queries = (0..PIPELINED).map(|number| {
        let statement = &statement;
        async move {
            client
                .query_one(statement, &[&number])
                .await?
                .try_get::<_, i32>(0)
        }
    });
    let numbers = try_join_all(queries).await?;
    ensure(
        numbers.into_iter().eq(0..PIPELINED),
        "the answers in the order of the queries",
    )?;
    Ok(json!(PIPELINED))
}

/// Cancels a sleep on a session of its own, over TLS, as soon as `observer` sees it sleeping.
async fn cancel(
    config: &Config,
    connector: &PostgresConnector,
    observer: &Client,
) -> Outcome<Value> {
    let session = connect(config, connector).await?;
    let sleeper = &session.client;
    let row = sleeper.query_one("select pg_backend_pid()", &[]).await?;
    let process_id: i32 = row.try_get(0)?;
    let token = sleeper.cancel_token();
    let cancelling = async {
        wait_until_asleep(observer, process_id).await?;
        token.cancel_query(connector.clone()).await?;
        Outcome::Ok(())
    };
    let (slept, cancelled) = join(sleeper.simple_query("select pg_sleep(600)"), cancelling).await;
    cancelled?;
    let error = slept.err().ok_or("the sleep was not cancelled")?;
    ensure(
        error.code() == Some(&SqlState::QUERY_CANCELED),
        "SQLSTATE 57014",
    )?;
    sleeper.simple_query("select 1").await?;
    session.close().await
}

/// Asks again until it is so; the step's deadline bounds it.
async fn wait_until_asleep(observer: &Client, process_id: i32) -> Outcome<()> {
    let statement =
        "select count(*) from pg_stat_activity where pid = $1 and wait_event = 'PgSleep'";
    loop {
        let count: i64 = observer
            .query_one(statement, &[&process_id])
            .await?
            .try_get(0)?;
        if count == 1 {
            return Ok(());
        }
    }
}

async fn notify(session: &mut Session) -> Outcome<Value> {
    session.client.batch_execute("listen pgtls_channel").await?;
    let payload = "payload, 8 bytes or more";
    let notify = "select pg_notify('pgtls_channel', $1)";
    session.client.execute(notify, &[&payload]).await?;
    let received = session
        .notifications
        .recv()
        .await
        .ok_or("the connection ended")?;
    ensure(
        received == ("pgtls_channel".to_owned(), payload.to_owned()),
        "the notification sent",
    )?;
    Ok(json!(true))
}

fn ensure(condition: bool, expected: &str) -> Outcome<()> {
    if condition {
        Ok(())
    } else {
        Err(format!("expected {expected}").into())
    }
}
