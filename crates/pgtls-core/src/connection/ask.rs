//! What a connection asks its owner's hooks, and what becomes of the answers. A route without a hook passes through here for nothing.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Poll, ready};

use pgtls_tls::client_hello_reader::{ClientHelloProgress, ClientHelloReader};
use pgtls_tls::leaf::LeafInfo;
use pgtls_tls::server_config::ServerTls;
use pgtls_tls::stream::{READ_BYTES, Transport as _};
use pgtls_tls::summary::TlsSummary;
use pgtls_wire::SqlState;

use crate::connection::connect::Link;
use crate::connection::ending::Ending;
use crate::connection::handshake::{Client, FailedClient, Greeting};
use crate::connection::journal::{Journal, Origin};
use crate::connection::peer::{ClientPeer, Peer, PlainStream, Scratch};
use crate::connection::route::Startup;
use crate::connection::serve::Context;
use crate::data_plane::{ClientEncryption, Event};
use crate::questions::{Answer, PeerCertificate, Question};
use crate::report::{CloseReason, FaultSide};

/// RFC 8446 section 6: a fatal alert, `access_denied`, in a plaintext record; there is no connection yet that could make one.
const ACCESS_DENIED: [u8; 7] = [21, 3, 3, 0, 2, 2, 49];

/// Asks about the `ClientHello`, which it reads for that. Some is the TLS to answer with in place of the route's.
pub(crate) async fn about_client_hello(
    greeting: Greeting,
    context: Context<'_>,
    journal: &Journal,
) -> Result<(Greeting, Option<ServerTls>), Box<FailedClient>> {
    let route = Arc::clone(journal.route());
    let is_tls = greeting.encryption != ClientEncryption::None;
    let (true, Some(tls)) = (is_tls && route.hooks.client_hello, &route.listener_tls) else {
        return Ok((greeting, None));
    };
    let mut reader = ClientHelloReader::of(tls);
    let answer = match read_client_hello(&greeting, &mut reader, context.scratch).await {
        ClientHelloProgress::Complete(hello) => {
            ask(context, journal, |origin| Question::ClientHello {
                client_addr: origin.client_addr,
                server_name: hello.server_name,
                alpn: hello.alpn,
            })
            .await
        }
        // Nobody could be asked: the connection may find out what is wrong with it, but no handshake can succeed.
        ClientHelloProgress::Incomplete | ClientHelloProgress::Invalid => {
            let prefix = reader.into_received();
            return Ok((Greeting { prefix, ..greeting }, Some(tls.refusing())));
        }
    };
    let tls = match answer {
        Answer::Identity { server_name, alpn } => Some(tls.answering(server_name, alpn)),
        Answer::Accept => None,
        Answer::Backend(_) => return Err(denied(greeting, OUT_OF_PLACE, context)),
        Answer::Refuse(reason) => return Err(denied(greeting, &reason, context)),
    };
    let prefix = reader.into_received();
    Ok((Greeting { prefix, ..greeting }, tls))
}

/// Reads until the `ClientHello` is whole or never will be. What was read stays in the reader.
async fn read_client_hello(
    greeting: &Greeting,
    reader: &mut ClientHelloReader,
    scratch: &RefCell<Scratch>,
) -> ClientHelloProgress {
    let mut progress = reader.push(&greeting.prefix);
    while progress == ClientHelloProgress::Incomplete {
        let received = poll_fn(|cx| {
            let plaintext = &mut scratch.borrow_mut().plaintext;
            plaintext.clear();
            let count = ready!(
                greeting
                    .socket
                    .poll_receive(cx, plaintext.spare_mut(READ_BYTES))
            )?;
            plaintext.commit(count);
            let next = (count > 0).then(|| reader.push(plaintext.filled()));
            Poll::Ready(io::Result::Ok(next))
        });
        // An end or a failure shows again, with its reason, when the handshake reads.
        let Ok(Some(next)) = received.await else {
            return ClientHelloProgress::Incomplete;
        };
        progress = next;
    }
    progress
}

/// A client that is told so by an alert, and no more.
fn denied(greeting: Greeting, reason: &str, context: Context<'_>) -> Box<FailedClient> {
    let peer: ClientPeer = Peer::Plain(PlainStream::new(greeting.socket, Vec::new()));
    // A client that can't be told is gone.
    let _ = peer.send(&ACCESS_DENIED, &mut context.scratch.borrow_mut().tls);
    let ending = Ending {
        notice: None,
        ..Hook::ClientHello.refused(reason)
    };
    Box::new(FailedClient {
        peer,
        sni: None,
        ending,
    })
}

/// Asks whether this client is welcome; one without TLS has shown no certificate.
pub(crate) async fn about_client(
    client: &Client,
    context: Context<'_>,
    journal: &Journal,
) -> Result<(), Ending> {
    if !journal.route().hooks.client_certificate {
        return Ok(());
    }
    let hook = Hook::ClientCertificate;
    let certificate = certificate(client.tls.as_ref(), hook)?;
    let answer = ask(context, journal, |origin| Question::ClientCertificate {
        client_addr: origin.client_addr,
        server_name: client.sni.clone(),
        certificate,
    });
    hook.accepted(answer.await)
}

/// Asks whether this backend is the right one; one without TLS has shown nothing to ask about.
pub(crate) async fn about_backend(
    link: &Link,
    context: Context<'_>,
    journal: &Journal,
) -> Result<(), Ending> {
    if !journal.route().hooks.backend_certificate {
        return Ok(());
    }
    let hook = Hook::BackendCertificate;
    let Some(certificate) = certificate(link.tls.as_ref(), hook)? else {
        return Ok(());
    };
    let answer = ask(context, journal, |_| Question::BackendCertificate {
        backend_addr: link.target.to_string(),
        certificate,
    });
    hook.accepted(answer.await)
}

/// Asks for the name of the backend; none leaves it to the configuration.
pub(crate) async fn about_route(
    client: &Client,
    startup: &Startup,
    context: Context<'_>,
    journal: &Journal,
) -> Result<Option<String>, Ending> {
    if !journal.route().hooks.route {
        return Ok(None);
    }
    let hook = Hook::Route;
    let certificate = certificate(client.tls.as_ref(), hook)?;
    let answer = ask(context, journal, |origin| Question::Route {
        client_addr: origin.client_addr,
        server_name: client.sni.clone(),
        alpn: client.tls.as_ref().and_then(|tls| tls.alpn.clone()),
        certificate,
        user: startup.user.clone(),
        database: startup.database.clone(),
    });
    match answer.await {
        Answer::Accept => Ok(None),
        Answer::Backend(name) => Ok(Some(name)),
        Answer::Refuse(reason) => Err(hook.refused(&reason)),
        Answer::Identity { .. } => Err(hook.refused(OUT_OF_PLACE)),
    }
}

async fn ask(
    context: Context<'_>,
    journal: &Journal,
    question: impl FnOnce(Origin) -> Question,
) -> Answer {
    let Some(origin) = journal.origin() else {
        return Answer::Refuse("the connection is over".to_owned());
    };
    let (connection_id, route_id) = (origin.connection_id, origin.route_id);
    let question = question(origin);
    let asked = context.shared.questions.ask(|question_id| {
        (context.shared.events)(Event::Asked {
            question_id,
            connection_id,
            route_id,
            question,
        });
    });
    asked.await
}

/// Who was asked.
#[derive(Clone, Copy)]
enum Hook {
    ClientHello,
    ClientCertificate,
    BackendCertificate,
    Route,
}

/// Said of an answer to another question. Whoever gave it meant something, and it was not "go on".
const OUT_OF_PLACE: &str = "its answer has no meaning here";

impl Hook {
    const fn name(self) -> &'static str {
        match self {
            Self::ClientHello => "onClientHello",
            Self::ClientCertificate => "onClientCertificate",
            Self::BackendCertificate => "onBackendCertificate",
            Self::Route => "route",
        }
    }

    /// Of a question that knows yes and no.
    fn accepted(self, answer: Answer) -> Result<(), Ending> {
        match answer {
            Answer::Accept => Ok(()),
            Answer::Refuse(reason) => Err(self.refused(&reason)),
            Answer::Backend(_) | Answer::Identity { .. } => Err(self.refused(OUT_OF_PLACE)),
        }
    }

    /// The log gets the hook's reason; the client none of it.
    fn refused(self, reason: &str) -> Ending {
        let fault = match self {
            Self::ClientHello | Self::ClientCertificate | Self::Route => FaultSide::Client,
            Self::BackendCertificate => FaultSide::Backend,
        };
        let message = format!("refused by the {} hook: {reason}", self.name());
        Ending::by(fault, CloseReason::HookRefused, message).telling(
            SqlState::InvalidAuthorization,
            "connection not permitted",
            Some("A rule of the proxy in front of the server refused it; its log tells which."),
        )
    }
}

/// The route hook's fault.
pub(crate) fn no_backend_named(name: &str) -> Ending {
    let reason = format!("it named \"{name}\", which is none of proxy.backends");
    Ending {
        fault: Some(FaultSide::Proxy),
        ..Hook::Route.refused(&reason)
    }
}

/// What the peer showed. A certificate that passed TLS but can't be told to the hook is not passed over.
fn certificate(tls: Option<&TlsSummary>, hook: Hook) -> Result<Option<PeerCertificate>, Ending> {
    let Some(der) = tls.and_then(|tls| tls.peer_certificate.clone()) else {
        return Ok(None);
    };
    let leaf = tls.and_then(TlsSummary::peer_leaf);
    let LeafInfo {
        subject,
        issuer,
        sans,
        not_before,
        not_after,
        sha256,
        ..
    } = leaf.ok_or_else(|| hook.refused("it was not asked: the certificate can't be read"))?;
    Ok(Some(PeerCertificate {
        subject,
        issuer,
        sans,
        not_before,
        not_after,
        sha256,
        der,
    }))
}
