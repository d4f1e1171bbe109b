//! What a fake backend can be told to do.

use std::sync::Arc;

use rustls::ServerConfig;
use tokio::sync::Semaphore;

use crate::flood::Flood;

/// How the backend answers an SSLRequest.
#[derive(Debug, Clone)]
pub enum EncryptionAnswer {
    /// `N`; the session goes on in plaintext.
    Refuse,
    /// `S`, then a TLS handshake.
    Accept(Arc<ServerConfig>),
    /// No SSLRequest is waited for: TLS from the first byte.
    Direct(Arc<ServerConfig>),
    /// `S` and these bytes in one write, then a TLS handshake (the CVE-2021-23222 class).
    AcceptStuffed(Arc<ServerConfig>, Vec<u8>),
    /// These bytes in place of an answer, then FIN.
    Raw(Vec<u8>),
    /// Nothing, ever; the connection stays open.
    Silence,
    /// A close without an answer.
    Close,
}

/// What the backend does once it has read the StartupMessage.
#[derive(Debug, Clone)]
pub enum BackendBehaviour {
    /// Login, then every byte comes back; EOF is answered by EOF.
    Echo,
    /// Login, then every byte comes back, and TLS 1.3 renews its keys before each answer.
    EchoUpdatingKeys,
    /// Login, then everything is read and counted; EOF is answered by EOF.
    Discard,
    /// Login; the first bytes start a COPY out, then everything is read.
    CopyOutFlood(Flood),
    /// Login, then the backend ends its own direction and goes on reading.
    HalfClose,
    /// Login, then everything is read; these bytes are the answer to EOF, then EOF.
    AnswerAfterEof(Vec<u8>),
    /// Login; the first bytes are answered by these, then everything is read.
    Answer(Vec<u8>),
    /// Login; the first bytes are answered by these, one by one, each after a permit of the semaphore; then everything is read.
    AnswerOnPermit(Vec<Vec<u8>>, Arc<Semaphore>),
    /// Login; the first bytes are answered by these, again and again without end; nothing more is read.
    AnswerForever(Arc<Vec<u8>>),
    /// Login; the first bytes are answered by a reset (RST).
    AbruptReset,
    /// Login; the first bytes are answered by these, then a reset (RST).
    AnswerThenReset(Vec<u8>),
    /// Login; the first bytes are answered by these, and by a close that leaves the rest unread.
    LastWords(Vec<u8>),
    /// Login; the first bytes are answered by these below TLS, then everything is read.
    BelowTls(Vec<u8>),
    /// Login; the first bytes are answered by FIN without close_notify.
    TruncateTls,
    /// Login, then nothing is read, ever.
    NeverRead,
    /// These bytes (an ErrorResponse, say) in place of a login, then EOF.
    RefuseLogin(Vec<u8>),
    /// AuthenticationSASL with these mechanisms, then everything is read.
    OfferSasl(Vec<&'static str>),
    /// No answer to the StartupMessage; everything is read.
    SilentLogin,
    /// These bytes in place of a login, then everything is read.
    StallLogin(Vec<u8>),
    /// A reset (RST) in place of a login.
    ResetAtStartup,
    /// A close in place of a login.
    CloseAtStartup,
}

impl BackendBehaviour {
    /// Whether AuthenticationOk, the parameters, the key and ReadyForQuery are sent first.
    pub(crate) fn logs_in(&self) -> bool {
        !matches!(
            self,
            Self::RefuseLogin(_)
                | Self::OfferSasl(_)
                | Self::SilentLogin
                | Self::StallLogin(_)
                | Self::ResetAtStartup
                | Self::CloseAtStartup
        )
    }

    /// Whether it ends without waiting for the peer to end its direction properly.
    pub(crate) fn leaves(&self) -> bool {
        matches!(
            self,
            Self::AbruptReset
                | Self::AnswerThenReset(_)
                | Self::LastWords(_)
                | Self::TruncateTls
                | Self::NeverRead
                | Self::ResetAtStartup
                | Self::CloseAtStartup
        )
    }
}
