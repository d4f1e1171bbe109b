//! [`ServerResumption`]: how one configuration of a listener lets clients resume.

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls::time_provider::TimeProvider;

use crate::certificate_judge::SharedJudge;
use crate::config_key as keys;
use crate::error::TlsConfigError;
use crate::options::{ResumptionOptions, TicketKeySource};
use crate::policy_hash::PolicyHash;
use crate::resumption_state::ResumptionState;
use crate::session_cache::ServerSessions;
use crate::session_rules::SessionRules;
use crate::ticket_key_file::{FileKey, TicketKeyError, read_ticket_keys};
use crate::tickets::{TicketKey, TicketKeys, Tickets};

/// How long tickets under a file's keys are good: as long as by default under generated ones.
const FILE_TICKET_LIFETIME: Duration = Duration::from_hours(6);

/// Ticket keys as configured, a file's being read.
pub(crate) enum KeySource {
    Generated { rotation: Duration },
    File(Vec<FileKey>),
}

/// Reads what `options` name.
pub(crate) fn read_key_source(options: &ResumptionOptions) -> Result<KeySource, TicketKeyError> {
    match &options.keys {
        TicketKeySource::Generated { rotation } => Ok(KeySource::Generated {
            rotation: *rotation,
        }),
        TicketKeySource::File(path) => read_ticket_keys(path).map(KeySource::File),
    }
}

/// What a session is established under, and what that rests on.
pub(crate) struct SessionPolicy {
    pub(crate) hash: PolicyHash,
    /// When something a client certificate is verified by ends, Unix seconds.
    pub(crate) trust_ends: Vec<i64>,
    /// Asked again before a session is resumed.
    pub(crate) client_judge: Option<SharedJudge>,
}

/// Makes sessions of a configuration resumable.
pub(crate) struct ServerResumption {
    clock: Arc<dyn TimeProvider>,
    tickets_per_handshake: usize,
    tickets: Tickets,
    sessions: ServerSessions,
}

impl ServerResumption {
    pub(crate) fn new(
        options: &ResumptionOptions,
        source: &KeySource,
        policy: SessionPolicy,
        state: &Arc<ResumptionState>,
    ) -> Result<Self, TlsConfigError> {
        let SessionPolicy {
            hash,
            trust_ends,
            client_judge,
        } = policy;
        let (keys, lifetime) = match source {
            KeySource::Generated { rotation } => {
                let generated = TicketKeys::Generated {
                    state: Arc::clone(state),
                    policy: hash,
                    rotation: rotation.as_secs().max(1),
                };
                (generated, *rotation)
            }
            KeySource::File(secrets) => {
                let derived = secrets.iter().map(|key| TicketKey::derive(&**key, &hash));
                let derived = derived.collect::<Option<_>>().ok_or_else(underivable)?;
                (TicketKeys::File(derived), FILE_TICKET_LIFETIME)
            }
        };
        let clock = Arc::clone(state.clock());
        let rules = SessionRules::new(Arc::clone(&clock), lifetime, trust_ends);
        let rules = Arc::new(rules.judged_by(client_judge));
        Ok(Self {
            clock,
            tickets_per_handshake: usize::from(options.tickets.get()),
            tickets: Tickets {
                keys,
                rules: Arc::clone(&rules),
            },
            sessions: ServerSessions {
                cache: state.session_cache(hash),
                rules,
            },
        })
    }
}

fn underivable() -> TlsConfigError {
    TlsConfigError::Refused {
        key: keys::LISTENER_TICKET_KEYS,
        source: rustls::Error::FailedToGetRandomBytes,
    }
}

/// Sets `config` up for `resumption`, or for none. Early data is never accepted: it can be replayed.
pub(crate) fn set_resumption(config: &mut ServerConfig, resumption: Option<ServerResumption>) {
    config.max_early_data_size = 0;
    match resumption {
        None => {
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.ticketer = Arc::new(NoTickets);
            config.send_tls13_tickets = 0;
        }
        Some(resumption) => {
            config.time_provider = resumption.clock;
            config.session_storage = Arc::new(resumption.sessions);
            config.ticketer = Arc::new(resumption.tickets);
            config.send_tls13_tickets = resumption.tickets_per_handshake;
            config.max_tls13_tickets = resumption.tickets_per_handshake;
        }
    }
}

/// Neither encrypts nor decrypts tickets.
#[derive(Debug)]
struct NoTickets;

impl ProducesTickets for NoTickets {
    fn enabled(&self) -> bool {
        false
    }

    fn lifetime(&self) -> u32 {
        0
    }

    fn encrypt(&self, _plain: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn decrypt(&self, _cipher: &[u8]) -> Option<Vec<u8>> {
        None
    }
}
