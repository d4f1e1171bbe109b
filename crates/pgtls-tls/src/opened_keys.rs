//! Remembers what became of encrypted keys, so that `ssl_passphrase_command` runs once for each and not whenever files are read.
//!
//! For the whole process, by command, path and the SHA-256 of what is encrypted. An opened key stays until its file changes or
//! nobody has used it for [`UNUSED`]; the passphrase is not kept. A failure stays for [`FAILURE`], or [`PATIENCE`] times as long as it
//! took to fail when that is longer: whoever tries unusable files again and again must not wait for the command all the time. A
//! command that was interrupted is no failure of its own.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustls::sign::SigningKey;

use crate::encrypted_key::KeyDecryptionError;
use crate::leaf::sha256_hex;
use crate::passphrase_command::PassphraseError;

/// How long a key that no configuration holds is kept: from one reading of the files to the next at a start.
const UNUSED: Duration = Duration::from_mins(1);
/// How long a failure is kept at least: whoever mends the command and reloads waits no longer.
const FAILURE: Duration = Duration::from_secs(10);
/// A command that hangs keeps the program busy for one part in so many at most.
const PATIENCE: u32 = 6;
/// More files than any configuration has; the one that was used least recently goes.
const MAX_ENTRIES: usize = 1024;

/// Why a key stays closed.
#[derive(Debug, Clone)]
pub(crate) enum Closed {
    /// The command gave no passphrase.
    Command(PassphraseError),
    /// The passphrase didn't open it.
    Decryption(KeyDecryptionError),
    /// It is open, but of a kind that isn't supported.
    Unsupported(String),
}

type Outcome = Result<Arc<dyn SigningKey>, Closed>;

/// What is opened with what.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Lock {
    command: String,
    path: PathBuf,
}

#[derive(Debug)]
struct Entry {
    sha256: String,
    outcome: Outcome,
    used: Instant,
    /// A failure's end.
    until: Instant,
}

impl Entry {
    /// Whether it is still an answer, or may be one at the next reading.
    fn is_alive(&self, now: Instant) -> bool {
        match &self.outcome {
            Ok(key) => {
                Arc::strong_count(key) > 1 || now.saturating_duration_since(self.used) < UNUSED
            }
            Err(_) => now < self.until,
        }
    }
}

/// The key in `encrypted`, which is the content of `path`: as remembered, or by `open`.
pub(crate) fn open_once(
    command: &str,
    path: &Path,
    encrypted: &[u8],
    open: impl FnOnce() -> Outcome,
) -> Outcome {
    let lock = Lock {
        command: command.to_owned(),
        path: path.to_owned(),
    };
    let sha256 = sha256_hex(encrypted);
    let begun = Instant::now();
    forget_unused(begun);
    if let Some(entry) = entries().get_mut(&lock)
        && entry.sha256 == sha256
    {
        entry.used = begun;
        return entry.outcome.clone();
    }
    let outcome = open();
    if let Err(Closed::Command(PassphraseError::Interrupted)) = outcome {
        return outcome;
    }
    let now = Instant::now();
    let took = now.saturating_duration_since(begun);
    let entry = Entry {
        sha256,
        outcome: outcome.clone(),
        used: now,
        until: now + FAILURE.max(took.saturating_mul(PATIENCE)),
    };
    let mut entries = entries();
    entries.insert(lock, entry);
    if entries.len() > MAX_ENTRIES {
        let oldest = entries.iter().min_by_key(|(_, entry)| entry.used);
        if let Some(oldest) = oldest.map(|(lock, _)| lock.clone()) {
            entries.remove(&oldest);
        }
    }
    drop(entries);
    outcome
}

/// Drops what nobody uses any more.
pub(crate) fn forget_unused(now: Instant) {
    entries().retain(|_, entry| entry.is_alive(now));
}

/// Nothing runs under the lock but a look-up; never the command.
fn entries() -> MutexGuard<'static, HashMap<Lock, Entry>> {
    static ENTRIES: OnceLock<Mutex<HashMap<Lock, Entry>>> = OnceLock::new();
    let entries = ENTRIES.get_or_init(Mutex::default);
    entries.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(outcome: Outcome, used: Instant, until: Instant) -> Entry {
        let sha256 = String::new();
        Entry {
            sha256,
            outcome,
            used,
            until,
        }
    }

    #[test]
    fn a_failure_is_forgotten_in_time_and_a_key_when_nobody_uses_it() {
        let now = Instant::now();
        let failed = entry(Err(Closed::Unsupported(String::new())), now, now + FAILURE);
        assert!(failed.is_alive(now) && !failed.is_alive(now + FAILURE));
        let der = rcgen::KeyPair::generate().unwrap().serialize_der();
        let der = rustls_pki_types::PrivatePkcs8KeyDer::from(der).into();
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&der).unwrap();
        let held = entry(Ok(Arc::clone(&key)), now, now);
        assert!(held.is_alive(now + 2 * UNUSED), "a configuration holds it");
        drop(key);
        assert!(held.is_alive(now), "the next reading may want it");
        assert!(!held.is_alive(now + 2 * UNUSED));
    }
}
