//! Questions to JavaScript, which are events, and the answers to them.

use napi_derive::napi;
use pgtls_core as core;

use crate::events::{DataPlaneEvent, number, seconds};

/// Which questions connections ask.
#[napi(object, use_nullable = true)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "four questions, each asked or not, independent of each other"
)]
pub struct HookSet {
    /// Event `client-hello`.
    pub client_hello: bool,
    /// Event `client-certificate`.
    pub client_certificate: bool,
    /// Event `backend-certificate`.
    pub backend_certificate: bool,
    /// Event `route`.
    pub route: bool,
}

impl HookSet {
    pub(crate) const fn into_core(self) -> core::HookSet {
        core::HookSet {
            client_hello: self.client_hello,
            client_certificate: self.client_certificate,
            backend_certificate: self.backend_certificate,
            route: self.route,
        }
    }
}

/// A certificate that a peer showed.
#[napi(object, use_nullable = true)]
pub struct PeerCertificate {
    /// Distinguished name.
    pub subject: String,
    /// Distinguished name.
    pub issuer: String,
    /// Subject alternative names.
    pub sans: Vec<String>,
    /// Unix time.
    pub not_before_seconds: f64,
    /// Unix time.
    pub not_after_seconds: f64,
    /// Lower-case hexadecimal.
    pub sha256: String,
    /// DER, hexadecimal.
    pub der_hex: String,
}

/// What a question is answered with.
#[napi(
    discriminant = "type",
    discriminant_case = "kebab-case",
    use_nullable = true
)]
pub enum Answer {
    /// Go on as configured.
    Accept,
    /// End the connection.
    Refuse {
        /// For the log.
        reason: String,
    },
    /// To `client-hello`; null keeps what is configured.
    Identity {
        /// Whose identity is shown.
        server_name: Option<String>,
        /// Protocols accepted.
        alpn: Option<Vec<String>>,
    },
    /// To `route`.
    Backend {
        /// One of `[proxy.backends]`.
        name: String,
    },
}

impl Answer {
    pub(crate) fn into_core(self) -> core::Answer {
        match self {
            Self::Accept => core::Answer::Accept,
            Self::Refuse { reason } => core::Answer::Refuse(reason),
            Self::Identity { server_name, alpn } => core::Answer::Identity { server_name, alpn },
            Self::Backend { name } => core::Answer::Backend(name),
        }
    }
}

/// The event that asks `question`.
pub(crate) fn question_event(
    question_id: u64,
    connection_id: u64,
    route_id: u32,
    question: core::Question,
) -> DataPlaneEvent {
    let (question_id, connection_id) = (number(question_id), number(connection_id));
    match question {
        core::Question::ClientHello {
            client_addr,
            server_name,
            alpn,
        } => DataPlaneEvent::ClientHello {
            question_id,
            connection_id,
            route_id,
            client_addr,
            server_name,
            alpn,
        },
        core::Question::ClientCertificate {
            client_addr,
            server_name,
            certificate,
        } => DataPlaneEvent::ClientCertificate {
            question_id,
            connection_id,
            route_id,
            client_addr,
            server_name,
            certificate: certificate.map(PeerCertificate::from),
        },
        core::Question::BackendCertificate {
            backend_addr,
            certificate,
        } => DataPlaneEvent::BackendCertificate {
            question_id,
            connection_id,
            route_id,
            backend_addr,
            certificate: PeerCertificate::from(certificate),
        },
        core::Question::Route {
            client_addr,
            server_name,
            alpn,
            certificate,
            user,
            database,
        } => DataPlaneEvent::Route {
            question_id,
            connection_id,
            route_id,
            client_addr,
            server_name,
            alpn,
            certificate: certificate.map(PeerCertificate::from),
            user,
            database,
        },
    }
}

impl From<core::PeerCertificate> for PeerCertificate {
    fn from(certificate: core::PeerCertificate) -> Self {
        Self {
            der_hex: pgtls_tls::leaf::hex(&certificate.der),
            subject: certificate.subject,
            issuer: certificate.issuer,
            sans: certificate.sans,
            not_before_seconds: seconds(certificate.not_before),
            not_after_seconds: seconds(certificate.not_after),
            sha256: certificate.sha256,
        }
    }
}
