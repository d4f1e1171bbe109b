//! Connections with TLS, and what is known of one: there is none.

pub mod client_hello {
    use crate::absent::Absent;

    #[derive(Debug, Clone)]
    pub struct AnsweredHello {
        pub server_name: Option<String>,
        pub identity: Option<ServedIdentity>,
        _absent: Absent,
    }

    #[derive(Debug, Clone)]
    pub struct ServedIdentity {
        pub host: Option<usize>,
        absent: Absent,
    }

    impl ServedIdentity {
        #[must_use]
        pub const fn leaf(&self) -> Option<&Vec<u8>> {
            match self.absent {}
        }
    }
}

pub mod client_hello_reader {
    use crate::absent::Absent;
    use crate::server_config::ServerTls;

    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ClientHelloInfo {
        pub server_name: Option<String>,
        pub alpn: Vec<String>,
    }

    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum ClientHelloProgress {
        Incomplete,
        Complete(ClientHelloInfo),
        Invalid,
    }

    pub struct ClientHelloReader(Absent);

    impl ClientHelloReader {
        #[must_use]
        pub const fn of(listener: &ServerTls) -> Self {
            match listener.absent {}
        }

        pub const fn push(&mut self, _bytes: &[u8]) -> ClientHelloProgress {
            match self.0 {}
        }

        #[must_use]
        pub const fn into_received(self) -> Vec<u8> {
            match self.0 {}
        }
    }
}

pub mod endpoint {
    use crate::absent::Absent;
    use crate::client_config::ClientTls;
    use crate::ops::TlsConnectionOps;
    use crate::server_config::ServerTls;
    use crate::session::Error;
    use crate::stream::TlsStream;
    use crate::transport::Transport;

    #[derive(Debug)]
    pub struct ClientFacing(Absent);

    #[derive(Debug)]
    pub struct BackendFacing(Absent);

    impl TlsConnectionOps for ClientFacing {}

    impl TlsConnectionOps for BackendFacing {}

    pub fn accept<S: Transport>(
        tls: &ServerTls,
        _received: Vec<u8>,
        _socket: S,
    ) -> Result<TlsStream<ClientFacing, S>, (Error, S)> {
        match tls.absent {}
    }

    pub fn dial<S: Transport>(
        tls: &ClientTls,
        _host: &str,
        _socket: S,
    ) -> Result<TlsStream<BackendFacing, S>, Error> {
        match tls.0 {}
    }
}

pub mod failure {
    use std::fmt;

    use crate::absent::Absent;
    pub use crate::failure_reason::TlsFailureReason;
    use crate::session::Error;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum AlertDirection {
        Sent,
        Received,
    }

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct TlsAlert {
        pub direction: AlertDirection,
        pub description: &'static str,
        _absent: Absent,
    }

    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct TlsFailure {
        pub reason: TlsFailureReason,
        pub alert: Option<TlsAlert>,
        pub message: String,
        _absent: Absent,
    }

    impl From<&Error> for TlsFailure {
        fn from(error: &Error) -> Self {
            match error.0 {}
        }
    }

    impl fmt::Display for TlsFailure {
        fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str(&self.message)
        }
    }
}

pub mod leaf {
    use crate::absent::Absent;

    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct LeafInfo {
        pub subject: String,
        pub issuer: String,
        pub sans: Vec<String>,
        pub chain_length: usize,
        pub not_before: i64,
        pub not_after: i64,
        pub sha256: String,
        _absent: Absent,
    }
}

pub mod ops {
    pub trait TlsConnectionOps: Send + 'static {}
}

pub mod session {
    use std::{fmt, io};

    use crate::absent::Absent;

    #[derive(Debug)]
    pub struct Error(pub(crate) Absent);

    impl fmt::Display for Error {
        fn fmt(&self, _formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            match self.0 {}
        }
    }

    /// Of these, `Io` and `Poisoned` can happen.
    #[derive(Debug, thiserror::Error)]
    pub enum SessionError {
        #[error("socket: {0}")]
        Io(#[from] io::Error),
        #[error("TLS: {0}")]
        Tls(Error),
        #[error("TLS: {0}")]
        Certificate(Box<Error>),
        #[error("connection closed during the TLS handshake")]
        ClosedInHandshake,
        #[error("the session's lock is poisoned")]
        Poisoned,
    }

    impl SessionError {
        #[must_use]
        pub const fn tls(&self) -> Option<&Error> {
            match self {
                Self::Tls(error) => match error.0 {},
                Self::Certificate(_) | Self::Io(_) | Self::ClosedInHandshake | Self::Poisoned => {
                    None
                }
            }
        }
    }
}

pub mod socket_source {
    use std::io;
    use std::marker::PhantomData;

    use crate::absent::Absent;
    use crate::buffer::Buffer;
    pub use crate::descriptor::{Descriptor, Offer};
    use crate::session::SessionError;

    #[derive(Debug)]
    pub struct ClientSocketSource<C, S>(pub(crate) Absent, pub(crate) PhantomData<(C, S)>);

    impl<C, S> ClientSocketSource<C, S> {
        pub const fn client_socket(&self) -> io::Result<ClientSocket<C>> {
            match self.0 {}
        }
    }

    #[derive(Debug)]
    pub struct ClientSocket<C>(Absent, PhantomData<C>);

    impl<C> ClientSocket<C> {
        pub fn offer(
            &self,
            _messages: &[u8],
            _scratch: &mut Buffer,
        ) -> Result<Offer, SessionError> {
            match self.0 {}
        }

        pub fn send(
            &self,
            _messages: &[u8],
            _scratch: &mut Buffer,
        ) -> std::future::Ready<Result<(), SessionError>> {
            match self.0 {}
        }

        pub fn close_notify(&self, _scratch: &mut Buffer) -> Result<(), SessionError> {
            match self.0 {}
        }
    }
}

pub mod stream {
    use std::io;
    use std::marker::PhantomData;
    use std::task::{Context, Poll};

    use crate::absent::Absent;
    use crate::buffer::Buffer;
    use crate::client_hello::AnsweredHello;
    use crate::session::SessionError;
    use crate::socket_source::ClientSocketSource;
    pub use crate::transport::{EndOfStream, READ_BYTES, Received, Transport, TrySend};
    use crate::{ops::TlsConnectionOps, summary::TlsSummary};

    /// Nothing is encrypted, so no memory for it.
    #[derive(Debug, Default)]
    pub struct TlsScratch;

    #[derive(Debug)]
    pub struct TlsStream<C: TlsConnectionOps, S>(Absent, PhantomData<(C, S)>);

    impl<C: TlsConnectionOps, S> TlsStream<C, S> {
        pub fn map_socket<T>(
            self,
            _convert: impl FnOnce(S) -> io::Result<T>,
        ) -> io::Result<TlsStream<C, T>> {
            match self.0 {}
        }

        #[must_use]
        pub const fn socket_source(&self) -> ClientSocketSource<C, S> {
            match self.0 {}
        }

        #[must_use]
        pub const fn socket(&self) -> &S {
            match self.0 {}
        }

        pub const fn take_answered_hello(&mut self) -> Option<AnsweredHello> {
            match self.0 {}
        }

        pub const fn summary(&self) -> Result<TlsSummary, SessionError> {
            match self.0 {}
        }

        pub const fn put_back(&self, _plaintext: &[u8]) -> Result<(), SessionError> {
            match self.0 {}
        }

        pub const fn has_residue(&self) -> Result<bool, SessionError> {
            match self.0 {}
        }

        pub fn poll_handshake(
            &mut self,
            _cx: &mut Context<'_>,
            _scratch: &mut TlsScratch,
        ) -> Poll<Result<(), SessionError>> {
            match self.0 {}
        }

        pub fn poll_receive(
            &self,
            _cx: &mut Context<'_>,
            _scratch: &mut TlsScratch,
            _plaintext: &mut Buffer,
        ) -> Poll<Result<Received, SessionError>> {
            match self.0 {}
        }

        pub fn poll_attention(&self, _cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
            match self.0 {}
        }

        pub fn send(
            &self,
            _plaintext: &[u8],
            _scratch: &mut TlsScratch,
        ) -> Result<(), SessionError> {
            match self.0 {}
        }

        pub fn send_close_notify(&self, _scratch: &mut TlsScratch) -> Result<(), SessionError> {
            match self.0 {}
        }

        pub fn poll_flush(&self, _cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
            match self.0 {}
        }

        pub const fn shutdown_write(&self) -> io::Result<()> {
            match self.0 {}
        }
    }
}

pub mod summary {
    use crate::absent::Absent;
    use crate::leaf::LeafInfo;

    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct TlsSummary {
        pub version: &'static str,
        pub cipher: String,
        pub group: Option<String>,
        pub alpn: Option<String>,
        pub is_resumed: bool,
        pub peer_certificate: Option<Vec<u8>>,
        absent: Absent,
    }

    impl TlsSummary {
        #[must_use]
        pub const fn peer_leaf(&self) -> Option<LeafInfo> {
            match self.absent {}
        }
    }
}
