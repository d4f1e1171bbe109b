//! [`ProbeLogin`]: a PostgreSQL login that asks for nothing but the server's role. Sans-IO: messages in, bytes to send out.
//!
//! PostgreSQL 14 and later tell `in_hot_standby` and `default_transaction_read_only` at login; older servers are asked.

use std::io;

use pgtls_wire::{AuthenticationRequest, Message, SqlState, error_field, tag};
use postgres_protocol::authentication::sasl::ScramSha256;

use crate::backend::probe_password::{Answer, Credentials, Protection, answer};
use crate::backend::role::ServerRole;
use crate::backend::told_role::{Answers, QUESTION, Told};

const SASL_CONTINUE: u32 = 11;
const SASL_FINAL: u32 = 12;
const DATA_ROW: u8 = b'D';
const QUERY: u8 = b'Q';

/// Why a server did not tell its role.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProbeError {
    #[error("{sqlstate}: {message}")]
    Refused { sqlstate: String, message: String },
    #[error("it asks for a password; set probe_password_file")]
    PasswordMissing,
    #[error(
        "it asks for the password in cleartext, which is sent over verified TLS or a unix socket only"
    )]
    CleartextRefused,
    #[error(
        "it asks for the password in cleartext, and its certificate is not verified; set sslmode = \"verify-full\""
    )]
    CleartextUnverified,
    #[error("it asks for an authentication that probes do not know (request {0})")]
    AuthenticationUnknown(u32),
    #[error("it offers no SASL mechanism that probes know")]
    MechanismUnknown,
    #[error("SCRAM failed: {0}")]
    Scram(#[from] io::Error),
    #[error("it broke the protocol ({0})")]
    Protocol(&'static str),
    #[error("it closed the connection before it told its role")]
    Closed,
    #[error("{0}")]
    Unreachable(String),
}

/// What to do next.
pub(crate) enum Step {
    /// Read the next message.
    Wait,
    /// Send these bytes, then read on.
    Send(Vec<u8>),
    /// The server told its role.
    Done(ServerRole),
}

/// A login on its way, named by what it waits for.
pub(crate) struct ProbeLogin<'a> {
    credentials: &'a Credentials,
    protection: Protection,
    state: Awaiting,
}

enum Awaiting {
    Request,
    SaslContinue(Box<ScramSha256>),
    SaslFinal(Box<ScramSha256>),
    /// The server proved that it knows the password.
    Ok,
    Ready(Told),
    Answer(Answers),
}

impl<'a> ProbeLogin<'a> {
    pub(crate) fn new(credentials: &'a Credentials, protection: Protection) -> Self {
        Self {
            credentials,
            protection,
            state: Awaiting::Request,
        }
    }

    /// The StartupMessage, protocol 3.0.
    pub(crate) fn startup(&self) -> Vec<u8> {
        let Credentials { user, database, .. } = self.credentials;
        let mut body = vec![0, 3, 0, 0];
        for text in [
            "user",
            user,
            "database",
            database,
            "application_name",
            "pgtls probe",
        ] {
            body.extend(text.as_bytes());
            body.push(0);
        }
        body.push(0);
        with_length(&[], &body)
    }

    /// Takes one message of the server.
    pub(crate) fn receive(self, message: Message<'_>) -> Result<(Self, Step), ProbeError> {
        match message.tag {
            tag::ERROR_RESPONSE => Err(refused(message.body)),
            tag::NOTICE_RESPONSE => Ok((self, Step::Wait)),
            _ => {
                let awaiting = self.state;
                let (state, step) = awaiting.next(self.credentials, &self.protection, message)?;
                Ok((Self { state, ..self }, step))
            }
        }
    }
}

impl Awaiting {
    fn next(
        self,
        credentials: &Credentials,
        protection: &Protection,
        message: Message<'_>,
    ) -> Result<(Self, Step), ProbeError> {
        let body = message.body;
        Ok(match (self, message.tag) {
            (Self::Request, tag::AUTHENTICATION) => match answer(credentials, protection, body)? {
                Answer::Nothing => (Self::Ready(Told::default()), Step::Wait),
                Answer::Password(bytes) => (Self::Ok, Step::Send(bytes)),
                Answer::Scram(scram, bytes) => (Self::SaslContinue(scram), Step::Send(bytes)),
            },
            (Self::SaslContinue(mut scram), tag::AUTHENTICATION) => {
                scram.update(sasl_data(body, SASL_CONTINUE)?)?;
                let response = with_length(&[tag::PASSWORD], scram.message());
                (Self::SaslFinal(scram), Step::Send(response))
            }
            (Self::SaslFinal(mut scram), tag::AUTHENTICATION) => {
                scram.finish(sasl_data(body, SASL_FINAL)?)?;
                (Self::Ok, Step::Wait)
            }
            (Self::Ok, tag::AUTHENTICATION) => match AuthenticationRequest::parse(body) {
                Some(AuthenticationRequest::Ok) => (Self::Ready(Told::default()), Step::Wait),
                _ => return Err(ProbeError::Protocol("no AuthenticationOk")),
            },
            (Self::Ready(mut told), tag::PARAMETER_STATUS) => {
                told.note(body);
                (Self::Ready(told), Step::Wait)
            }
            (Self::Ready(told), tag::READY_FOR_QUERY) => match told.role() {
                Some(role) => (Self::Ready(told), Step::Done(role)),
                None => (Self::Answer(Answers::default()), Step::Send(question())),
            },
            (Self::Answer(mut answers), DATA_ROW) => {
                answers.note(body);
                (Self::Answer(answers), Step::Wait)
            }
            (Self::Answer(answers), tag::READY_FOR_QUERY) => {
                let role = answers.role().ok_or(ProbeError::Protocol("no answer"))?;
                (Self::Answer(answers), Step::Done(role))
            }
            // BackendKeyData, RowDescription and whatever is new.
            (state @ (Self::Ready(_) | Self::Answer(_)), _) => (state, Step::Wait),
            (_, _) => return Err(ProbeError::Protocol("an unexpected message in a login")),
        })
    }
}

/// The Query that older servers answer.
fn question() -> Vec<u8> {
    with_length(&[QUERY], &[QUESTION.as_bytes(), b"\0"].concat())
}

fn sasl_data(body: &[u8], kind: u32) -> Result<&[u8], ProbeError> {
    match AuthenticationRequest::parse(body) {
        Some(AuthenticationRequest::Other(found)) if found == kind => {
            Ok(body.get(4..).unwrap_or_default())
        }
        _ => Err(ProbeError::Protocol("SASL out of order")),
    }
}

/// Every session that finds no server logs it: no server is to fill the log.
const MAX_QUOTED_CHARACTERS: usize = 200;

fn refused(body: &[u8]) -> ProbeError {
    let text = |field| {
        let value = String::from_utf8_lossy(error_field(body, field).unwrap_or_default());
        value
            .chars()
            .take(MAX_QUOTED_CHARACTERS)
            .collect::<String>()
    };
    let sqlstate = Some(text(b'C')).filter(|code| !code.is_empty());
    ProbeError::Refused {
        sqlstate: sqlstate.unwrap_or_else(|| SqlState::InternalError.code().to_owned()),
        message: text(b'M'),
    }
}

/// `prefix`, the length that counts itself, and `body`.
pub(crate) fn with_length(prefix: &[u8], body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len().saturating_add(4)).unwrap_or(u32::MAX);
    [prefix, &length.to_be_bytes(), body].concat()
}

/// What ends a session properly.
pub(crate) fn terminate() -> Vec<u8> {
    with_length(&[tag::TERMINATE], &[])
}

#[cfg(test)]
mod tests {
    use pgtls_wire::next_message;

    use super::*;

    const PRIMARY: ServerRole = ServerRole {
        is_in_hot_standby: false,
        is_read_only: false,
    };

    fn credentials(password: Option<&str>) -> Credentials {
        Credentials {
            user: "probe".to_owned(),
            database: "postgres".to_owned(),
            password: password.map(|text| text.as_bytes().to_vec()),
        }
    }

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        with_length(&[tag], body)
    }

    /// Feeds `messages` to a login; everything it sent, and its last step's role or error.
    fn run(
        credentials: &Credentials,
        protection: Protection,
        messages: &[Vec<u8>],
    ) -> (Vec<Vec<u8>>, Result<Option<ServerRole>, String>) {
        let mut login = ProbeLogin::new(credentials, protection);
        let mut sent = Vec::new();
        for bytes in messages {
            let parsed = next_message(bytes, 100_000).unwrap().unwrap();
            match login.receive(parsed) {
                Ok((_, Step::Done(role))) => return (sent, Ok(Some(role))),
                Ok((next, step)) => {
                    login = next;
                    if let Step::Send(bytes) = step {
                        sent.push(bytes);
                    }
                }
                Err(error) => return (sent, Err(error.to_string())),
            }
        }
        (sent, Ok(None))
    }

    fn error_of(password: Option<&str>, protection: Protection, messages: &[Vec<u8>]) -> String {
        run(&credentials(password), protection, messages)
            .1
            .unwrap_err()
    }

    fn status(name: &str, value: &str) -> Vec<u8> {
        message(b'S', format!("{name}\0{value}\0").as_bytes())
    }

    fn ok() -> Vec<u8> {
        message(b'R', &[0; 4])
    }

    fn ready() -> Vec<u8> {
        message(b'Z', b"I")
    }

    #[test]
    fn the_startup_packet_names_user_database_and_itself() {
        let credentials = credentials(None);
        let packet = ProbeLogin::new(&credentials, Protection::Local).startup();
        let body = b"\0\x03\0\0user\0probe\0database\0postgres\0application_name\0pgtls probe\0\0";
        assert_eq!(packet[4..], body[..]);
        assert_eq!(
            packet[..4],
            u32::try_from(packet.len()).unwrap().to_be_bytes()
        );
    }

    #[test]
    fn a_server_of_postgresql_14_tells_its_role_without_being_asked() {
        for (standby, read_only, expected) in [
            ("off", "off", PRIMARY),
            (
                "off",
                "on",
                ServerRole {
                    is_read_only: true,
                    ..PRIMARY
                },
            ),
            (
                "on",
                "off",
                ServerRole {
                    is_in_hot_standby: true,
                    is_read_only: true,
                },
            ),
        ] {
            let messages = [
                ok(),
                status("in_hot_standby", standby),
                status("default_transaction_read_only", read_only),
                message(b'K', &[0; 8]),
                ready(),
            ];
            let (sent, role) = run(&credentials(None), Protection::None, &messages);
            assert_eq!(
                (sent.len(), role),
                (0, Ok(Some(expected))),
                "{standby} {read_only}"
            );
        }
    }

    #[test]
    fn an_older_server_is_asked() {
        let row = |value: &str| {
            let length = u8::try_from(value.len()).unwrap();
            message(b'D', &[&[0, 1, 0, 0, 0, length], value.as_bytes()].concat())
        };
        let messages = [
            ok(),
            status("server_version", "13.0"),
            ready(),
            message(b'T', b"\0\0"),
            row("on"),
            message(b'C', b"SHOW\0"),
            message(b'T', b"\0\0"),
            row("t"),
            message(b'C', b"SELECT 1\0"),
            ready(),
        ];
        let (sent, role) = run(&credentials(None), Protection::None, &messages);
        assert!(sent[0].starts_with(b"Q"));
        let standby = ServerRole {
            is_in_hot_standby: true,
            is_read_only: true,
        };
        assert_eq!(role, Ok(Some(standby)));
        assert!(error_of(None, Protection::None, &[ok(), ready(), ready()]).contains("no answer"));
    }

    #[test]
    fn a_refusal_is_told_with_its_sqlstate() {
        let refusal = message(b'E', b"SFATAL\0C28P01\0Mno such user\0\0");
        assert_eq!(
            error_of(None, Protection::None, &[refusal]),
            "28P01: no such user"
        );
    }

    #[test]
    fn a_refusal_of_many_words_is_cut() {
        let words = "ä".repeat(30_000);
        let refusal = message(b'E', format!("C28P01\0M{words}\0\0").as_bytes());
        let told = error_of(None, Protection::None, &[refusal]);
        assert_eq!(told.chars().count(), "28P01: ".len() + 200);
    }

    #[test]
    fn what_is_out_of_order_ends_the_probe_and_never_panics() {
        let continued = message(b'R', b"\0\0\0\x0br=x,s=,i=1");
        let sasl = message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0");
        for messages in [
            vec![ready()],
            vec![continued.clone()],
            vec![message(b'R', b"")],
            vec![sasl.clone(), ok()],
            vec![sasl.clone(), ready()],
            vec![sasl.clone(), continued],
            vec![sasl, message(b'R', b"\0\0\0\x0cv=x")],
        ] {
            let error = error_of(Some("secret"), Protection::None, &messages);
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
