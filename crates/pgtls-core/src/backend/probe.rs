//! [`Prober`]: learns a server's role by logging in, since a relay learns it only after authentication, when it is too late to choose.

use std::cell::RefCell;
use std::time::Duration;

use pgtls_tls::channel_binding::server_end_point;
use pgtls_tls::client_config::ClientTls;
use pgtls_tls::stream::Received;
use pgtls_wire::next_message;
use tokio::time::timeout;

use crate::backend::Backend;
use crate::backend::password_file::read_password_file;
use crate::backend::probe_login::{ProbeError, ProbeLogin, Step, terminate};
use crate::backend::probe_password::{Credentials, Protection};
use crate::backend::role::ServerRole;
use crate::connection::{Link, Peer, Scratch, Target, connect_in_time};
use crate::options::RoleOptions;
use crate::routes::RouteProblem;

/// The longest message a server may send in a probe's login; errors and notices are the longest there are.
const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// How long the server may take to close the connection after Terminate.
const FAREWELL_TIMEOUT: Duration = Duration::from_millis(250);

/// Who probes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Prober {
    credentials: Credentials,
}

impl Prober {
    /// Reads the password file.
    pub(crate) fn build(options: &RoleOptions) -> Result<Self, RouteProblem> {
        let password = options
            .probe_password_file
            .as_deref()
            .map(read_password_file)
            .transpose()?;
        Ok(Self {
            credentials: Credentials {
                user: options.probe_user.clone(),
                database: options.probe_database.clone(),
                password,
            },
        })
    }

    /// Asks `target` for its role, within `connect_timeout`; or says why it did not tell. Cancel-safe.
    pub(crate) async fn probe(
        &self,
        backend: &Backend,
        target: &Target,
        scratch: &RefCell<Scratch>,
    ) -> Result<ServerRole, String> {
        let asking = async {
            let link = connect_in_time(backend, target, None, scratch).await;
            let link = link.map_err(|ending| {
                let reason = ending.message.unwrap_or_else(|| "no connection".to_owned());
                ProbeError::Unreachable(reason)
            })?;
            let role = self.ask(backend, &link, scratch).await?;
            part(&link, scratch).await;
            Ok::<_, ProbeError>(role)
        };
        let result = timeout(backend.connect_timeout, asking).await;
        backend.counters.add_probe(matches!(result, Ok(Ok(_))));
        let user = &self.credentials.user;
        match result {
            Ok(Ok(role)) => Ok(role),
            Ok(Err(ProbeError::Unreachable(reason))) => Err(reason),
            Ok(Err(error)) => Err(format!("the probe as \"{user}\" failed: {error}")),
            Err(_elapsed) => {
                let millis = backend.connect_timeout.as_millis();
                Err(format!(
                    "the probe as \"{user}\" failed: connect_timeout of {millis} ms passed"
                ))
            }
        }
    }

    async fn ask(
        &self,
        backend: &Backend,
        link: &Link,
        scratch: &RefCell<Scratch>,
    ) -> Result<ServerRole, ProbeError> {
        let mut login = ProbeLogin::new(&self.credentials, protection(backend, link));
        send(link, &login.startup(), scratch).await?;
        let mut received = Vec::new();
        loop {
            while let Some(message) = next_message(&received, MAX_MESSAGE_BYTES)
                .map_err(|_| ProbeError::Protocol("not framed as messages"))?
            {
                let length = message.length;
                let (next, step) = login.receive(message)?;
                login = next;
                received.drain(..length);
                match step {
                    Step::Wait => {}
                    Step::Send(bytes) => send(link, &bytes, scratch).await?,
                    Step::Done(role) => return Ok(role),
                }
            }
            match link.peer.receive(scratch).await {
                Ok(Received::Data) => received.extend(scratch.borrow().plaintext.filled()),
                Ok(Received::End(_)) => return Err(ProbeError::Closed),
                Err(error) => return Err(ProbeError::Unreachable(error.to_string())),
            }
        }
    }
}

async fn send(link: &Link, bytes: &[u8], scratch: &RefCell<Scratch>) -> Result<(), ProbeError> {
    let lost = |error: pgtls_tls::session::SessionError| ProbeError::Unreachable(error.to_string());
    link.peer
        .send(bytes, &mut scratch.borrow_mut().tls)
        .map_err(lost)?;
    link.peer.flush().await.map_err(lost)
}

/// Says goodbye; what goes wrong now does not matter any more.
async fn part(link: &Link, scratch: &RefCell<Scratch>) {
    if send(link, &terminate(), scratch).await.is_ok() {
        let _ = link.peer.send_close_notify(&mut scratch.borrow_mut().tls);
        // The server closes first, so that the end is no reset for it.
        let _ = timeout(FAREWELL_TIMEOUT, link.peer.discard(scratch)).await;
    }
}

fn protection(backend: &Backend, link: &Link) -> Protection {
    match (&link.peer, &link.target) {
        (Peer::Tls(_), _) => {
            let leaf = link
                .tls
                .as_ref()
                .and_then(|tls| tls.peer_certificate.as_deref());
            let tls = backend.tls.as_ref();
            Protection::Tls {
                end_point: leaf.and_then(server_end_point),
                verification: tls.map(ClientTls::verification).unwrap_or_default(),
            }
        }
        (Peer::Plain(_), Target::Unix(_)) => Protection::Local,
        (Peer::Plain(_), Target::Tcp { .. }) => Protection::None,
    }
}
