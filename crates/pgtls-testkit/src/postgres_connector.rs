//! `PostgresConnector`: tokio-postgres over rustls, for sessions and for their CancelRequests.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect};
use tokio_rustls::TlsConnector;

use crate::tls::TlsClient;

/// Makes TLS connections and remembers what the last one agreed upon.
#[derive(Debug, Clone)]
pub struct PostgresConnector {
    config: Arc<ClientConfig>,
    /// Guards one value, never held across an await.
    negotiated: Arc<std::sync::Mutex<Value>>,
}

impl PostgresConnector {
    /// Does TLS as `tls` says, but verifies the host of the connection string.
    #[must_use]
    pub fn new(tls: &TlsClient) -> Self {
        Self {
            config: Arc::new(tls.config()),
            negotiated: Arc::default(),
        }
    }

    /// `{tlsVersion, cipher, group, alpn}` of the handshake done last; null before any.
    #[must_use]
    pub fn negotiated(&self) -> Value {
        self.negotiated
            .lock()
            .map_or(Value::Null, |last| last.clone())
    }

    async fn handshake(self, host: String, socket: Socket) -> io::Result<Encrypted> {
        let name = ServerName::try_from(host).map_err(io::Error::other)?;
        let stream = TlsConnector::from(self.config)
            .connect(name, socket)
            .await?;
        let (_, session) = stream.get_ref();
        let negotiated = json!({
            "tlsVersion": session.protocol_version().and_then(|version| version.as_str()),
            "cipher": session.negotiated_cipher_suite()
                .and_then(|suite| suite.suite().as_str()),
            "group": session.negotiated_key_exchange_group()
                .map(|group| format!("{:?}", group.name())),
            "alpn": session.alpn_protocol().map(String::from_utf8_lossy),
        });
        if let Ok(mut last) = self.negotiated.lock() {
            *last = negotiated;
        }
        Ok(Encrypted(stream))
    }
}

impl MakeTlsConnect<Socket> for PostgresConnector {
    type Stream = Encrypted;
    type TlsConnect = Handshake;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> Result<Handshake, io::Error> {
        Ok(Handshake {
            connector: self.clone(),
            host: host.to_owned(),
        })
    }
}

/// One handshake to be made.
#[derive(Debug)]
pub struct Handshake {
    connector: PostgresConnector,
    host: String,
}

impl TlsConnect<Socket> for Handshake {
    type Stream = Encrypted;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Encrypted>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(self.connector.handshake(self.host, socket))
    }
}

/// A TLS stream without channel binding, which no terminator can pass on.
#[derive(Debug)]
pub struct Encrypted(tokio_rustls::client::TlsStream<Socket>);

impl tokio_postgres::tls::TlsStream for Encrypted {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
