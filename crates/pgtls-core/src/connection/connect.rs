//! Phase *backend*: name look-up, TCP or Unix-domain socket, TLS as libpq's `sslmode` means it.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use pgtls_tls::client_config::ClientTls;
use pgtls_tls::endpoint::dial;
use pgtls_tls::failure::TlsFailureReason;
use pgtls_tls::session::SessionError;
use pgtls_tls::stream::Received;
use pgtls_tls::summary::TlsSummary;
use pgtls_wire::{SSL_REQUEST, SqlState};
use tokio::time::timeout;

use crate::backend::Backend;
use crate::connection::ending::{Ending, side_of};
use crate::connection::peer::{BackendPeer, Peer, PlainStream, Scratch};
use crate::connection::proxy_header::{ClientEnds, encode_proxy_header};
use crate::connection::socket::Socket;
use crate::metrics::ConnectFailure;
use crate::options::{BackendAddress, Sslmode, Sslnegotiation};
use crate::report::{CloseReason, FaultSide, TlsSide};

/// How long a name look-up may take; `connect_timeout` then counts for each address it gave.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// A backend that is ready for a startup packet.
pub(crate) struct Link {
    pub(crate) peer: BackendPeer,
    /// None without TLS.
    pub(crate) tls: Option<TlsSummary>,
    pub(crate) target: Target,
}

impl Link {
    /// Whether a warning is due, once per certificate: it names the host by its CN only.
    pub(crate) fn is_first_use_of_common_name(&self, backend: &Backend) -> bool {
        let leaf = self
            .tls
            .as_ref()
            .and_then(|tls| tls.peer_certificate.as_deref());
        let (Some(tls), Some(leaf), Target::Tcp { host, .. }) = (&backend.tls, leaf, &self.target)
        else {
            return false;
        };
        tls.is_first_use_of_common_name(leaf, host)
    }
}

/// Exactly where a link leads: a CancelRequest has to go to the same place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    Tcp {
        /// As configured: the name that TLS verifies.
        host: String,
        /// The address that was dialled.
        address: SocketAddr,
    },
    Unix(PathBuf),
}

impl Target {
    /// Whether both lead to the same address, whatever it is called.
    pub(crate) fn is_same_server(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp { address, .. }, Self::Tcp { address: other, .. }) => address == other,
            (Self::Unix(path), Self::Unix(other)) => path == other,
            _ => false,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { address, .. } => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Every place an address stands for; looked up anew each time, no cache.
pub(crate) async fn targets_of(address: &BackendAddress) -> Result<Vec<Target>, Ending> {
    let (host, port) = match address {
        BackendAddress::Unix(path) => return Ok(vec![Target::Unix(path.clone())]),
        BackendAddress::Tcp { host, port } => (host, *port),
    };
    let tcp = |address| Target::Tcp {
        host: host.clone(),
        address,
    };
    if let Ok(ip) = host.parse() {
        return Ok(vec![tcp(SocketAddr::new(ip, port))]);
    }
    match timeout(LOOKUP_TIMEOUT, look_up(host, port)).await {
        Ok(Ok(addresses)) => Ok(addresses.into_iter().map(tcp).collect()),
        Ok(Err(error)) => Err(unreachable(format!("name look-up failed: {error}"))
            .without_connection(ConnectFailure::LookupFailed)),
        Err(_elapsed) => {
            Err(unreachable("name look-up timed out")
                .without_connection(ConnectFailure::LookupTimeout))
        }
    }
}

async fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    #[cfg(feature = "fault-injection")]
    if let Some(answer) = crate::fault::look_up(host).await {
        return answer;
    }
    let addresses = tokio::net::lookup_host((host, port)).await?;
    Ok(addresses.collect())
}

/// Connects to exactly `target`, in the route's mode, within `connect_timeout`; on behalf of the client with these `ends`, or of nobody.
pub(crate) fn connect_in_time(
    backend: &Backend,
    target: &Target,
    ends: Option<&ClientEnds>,
    scratch: &RefCell<Scratch>,
) -> impl Future<Output = Result<Link, Ending>> {
    connect_within(backend.connect_timeout, backend, target, ends, scratch)
}

/// The same within `patience`: what is left of a `connect_timeout`.
pub(crate) async fn connect_within(
    patience: Duration,
    backend: &Backend,
    target: &Target,
    ends: Option<&ClientEnds>,
    scratch: &RefCell<Scratch>,
) -> Result<Link, Ending> {
    let is_in_tls = Cell::new(false);
    let since = Instant::now();
    let connecting = connect_target(backend, target, ends, scratch, &is_in_tls);
    let result = match timeout(patience, connecting).await {
        Ok(result) => result,
        Err(_elapsed) => {
            let millis = backend.connect_timeout.as_millis();
            let ending = unreachable(format!("{target}: connect_timeout of {millis} ms passed"))
                .without_connection(ConnectFailure::Timeout);
            Err(if is_in_tls.get() {
                ending.failing(TlsFailureReason::Timeout)
            } else {
                ending
            })
        }
    };
    count(backend, &result, since.elapsed());
    result
}

/// Failures of handshakes are counted by [`handshake`], but for those that never were any, and those that were given up.
fn count(backend: &Backend, result: &Result<Link, Ending>, took: Duration) {
    let meters = &backend.counters.meters;
    match result {
        Ok(_) => meters.add_connect(took),
        Err(ending) => {
            meters.add_connect_failure(ending.connect_failure());
            if let Some(reason @ (TlsFailureReason::TlsRefused | TlsFailureReason::Timeout)) =
                ending.tls_failure
            {
                meters.backend_tls.fail(reason);
            }
        }
    }
}

/// Connects to exactly `target`, in the route's mode.
async fn connect_target(
    backend: &Backend,
    target: &Target,
    ends: Option<&ClientEnds>,
    scratch: &RefCell<Scratch>,
    is_in_tls: &Cell<bool>,
) -> Result<Link, Ending> {
    let socket = open(backend, target, ends).await?;
    // As in libpq, sslmode means nothing on a Unix-domain socket.
    let (Some(tls), Target::Tcp { host, .. }) = (&backend.tls, target) else {
        return Ok(plain(socket, target));
    };
    let result = match backend.sslnegotiation {
        Sslnegotiation::Direct => {
            is_in_tls.set(true);
            let shaking = shake_hands(tls, host, socket, target, scratch, true);
            handshake(backend, shaking).await
        }
        Sslnegotiation::Postgres => match request_tls(socket, scratch).await? {
            Answer::Willing(socket) => {
                is_in_tls.set(true);
                let shaking = shake_hands(tls, host, socket, target, scratch, false);
                handshake(backend, shaking).await
            }
            Answer::Unwilling(socket) if backend.sslmode == Sslmode::Prefer => {
                return Ok(plain(socket, target));
            }
            Answer::Unwilling(_) => Err(tls_refused()),
        },
    };
    match result {
        // libpq's prefer: whatever fails in TLS is tried again without.
        Err(_) if backend.sslmode == Sslmode::Prefer => {
            is_in_tls.set(false);
            Ok(plain(open(backend, target, ends).await?, target))
        }
        result => result,
    }
}

/// Connects to exactly `target` without TLS, within `connect_timeout`.
pub(crate) async fn connect_plain(
    backend: &Backend,
    target: &Target,
    ends: Option<&ClientEnds>,
) -> Result<Link, Ending> {
    match timeout(backend.connect_timeout, open(backend, target, ends)).await {
        Ok(socket) => Ok(plain(socket?, target)),
        Err(_elapsed) => Err(unreachable(format!("{target}: connect_timeout passed"))),
    }
}

/// Connects, and sends the PROXY header if there has to be one: it comes before all else.
async fn open(
    backend: &Backend,
    target: &Target,
    ends: Option<&ClientEnds>,
) -> Result<Socket, Ending> {
    let opened = async {
        let socket = match target {
            Target::Tcp { address, .. } => {
                Socket::connect_tcp(*address, &backend.keepalive).await?
            }
            Target::Unix(path) => Socket::connect_unix(path).await?,
        };
        if backend.sends_proxy_header {
            socket.send_all(&encode_proxy_header(ends)).await?;
        }
        Ok(socket)
    };
    opened.await.map_err(|error: io::Error| {
        let fault = side_of(&error);
        let why = ConnectFailure::of_connect(&error);
        unreachable(error.to_string())
            .without_connection(why)
            .caused_by(fault)
    })
}

fn plain(socket: Socket, target: &Target) -> Link {
    let peer = Peer::Plain(PlainStream::new(socket, Vec::new()));
    Link {
        peer,
        tls: None,
        target: target.clone(),
    }
}

/// The server's answer to an SSLRequest.
enum Answer {
    Willing(Socket),
    Unwilling(Socket),
}

/// Sends the SSLRequest and takes exactly one byte for the answer (CVE-2021-23222).
async fn request_tls(socket: Socket, scratch: &RefCell<Scratch>) -> Result<Answer, Ending> {
    let stream = PlainStream::new(socket, Vec::new());
    let peer = BackendPeer::Plain(stream);
    peer.send(&SSL_REQUEST, &mut scratch.borrow_mut().tls)
        .map_err(|error| lost(&error))?;
    peer.flush().await.map_err(|error| lost(&error))?;
    let received = peer.receive(scratch).await.map_err(|error| lost(&error))?;
    let Peer::Plain(stream) = peer else {
        return Err(unreachable("a plaintext stream changed its kind"));
    };
    if let Received::End(_) = received {
        return Err(unreachable(
            "the server closed the connection instead of answering the SSLRequest",
        ));
    }
    match scratch.borrow().plaintext.filled() {
        [b'S'] => Ok(Answer::Willing(stream.into_socket())),
        [b'N'] => Ok(Answer::Unwilling(stream.into_socket())),
        [b'S' | b'N', ..] => Err(violation(
            "the server sent unencrypted data behind its answer to the SSLRequest",
        )),
        [b'E', ..] => Err(tls_refused()),
        _ => Err(violation(
            "the answer to the SSLRequest is neither S nor N: not a PostgreSQL server?",
        )),
    }
}

/// Counts a handshake.
async fn handshake(
    backend: &Backend,
    shaking: impl Future<Output = Result<Link, Ending>>,
) -> Result<Link, Ending> {
    let since = Instant::now();
    let result = shaking.await;
    let meters = &backend.counters.meters.backend_tls;
    match &result {
        Ok(link) => {
            if let Some(tls) = &link.tls {
                meters.finish(tls, since.elapsed());
            }
        }
        Err(ending) => {
            if let Some(reason) = ending.tls_failure {
                meters.fail(reason);
            }
        }
    }
    result
}

async fn shake_hands(
    tls: &ClientTls,
    host: &str,
    socket: Socket,
    target: &Target,
    scratch: &RefCell<Scratch>,
    demands_alpn: bool,
) -> Result<Link, Ending> {
    let mut stream =
        dial(tls, host, socket).map_err(|error| tls_failed(&SessionError::Tls(error)))?;
    poll_fn(|cx| stream.poll_handshake(cx, &mut scratch.borrow_mut().tls))
        .await
        .map_err(|error| tls_failed(&error))?;
    let summary = stream.summary().map_err(|error| tls_failed(&error))?;
    if demands_alpn && summary.alpn.is_none() {
        return Err(violation(
            "the server accepted direct TLS without the ALPN protocol \"postgresql\"",
        )
        .failing(TlsFailureReason::NoApplicationProtocol));
    }
    Ok(Link {
        peer: Peer::Tls(stream),
        tls: Some(summary),
        target: target.clone(),
    })
}

/// No connection came about.
pub(crate) fn unreachable(message: impl Into<String>) -> Ending {
    Ending::by(FaultSide::Backend, CloseReason::BackendUnreachable, message).telling(
        SqlState::ConnectionFailure,
        "could not connect to the PostgreSQL server behind the proxy",
        Some("The proxy's log names the reason; the server may be down or restarting."),
    )
}

fn lost(error: &SessionError) -> Ending {
    unreachable(error.to_string())
}

fn tls_refused() -> Ending {
    Ending::by(
        FaultSide::Backend,
        CloseReason::BackendTlsHandshakeFailed,
        "the server does not support TLS, but sslmode demands it",
    )
    .failing(TlsFailureReason::TlsRefused)
    .telling(
        SqlState::SqlclientUnableToEstablish,
        "the PostgreSQL server behind the proxy does not support TLS, which this route demands",
        None,
    )
}

fn tls_failed(error: &SessionError) -> Ending {
    Ending::of_session(
        error,
        CloseReason::BackendTlsHandshakeFailed,
        TlsSide::Backend,
    )
    .telling(
        SqlState::SqlclientUnableToEstablish,
        "could not establish TLS with the PostgreSQL server behind the proxy",
        Some("The proxy's log names the reason: a certificate, a name or a protocol version."),
    )
}

fn violation(message: &str) -> Ending {
    Ending::by(
        FaultSide::Backend,
        CloseReason::BackendProtocolViolation,
        message,
    )
    .telling(
        SqlState::SqlclientUnableToEstablish,
        "the PostgreSQL server behind the proxy broke the start-up protocol",
        None,
    )
}
