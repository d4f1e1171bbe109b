//! Runs `ssl_passphrase_command`, which prints the passphrase of a private key (`PostgreSQL` documentation, "SSL" in "Connections
//! and Authentication").
//!
//! The command runs when files are loaded, in a process group of its own that can't read from a terminal. What it prints is wiped
//! from memory after use and appears in no message.

use std::io::Read;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use crate::interrupt::is_interrupted;

/// How long the command may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long the rest of what a command wrote is waited for when it ended without a passphrase.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How often it is asked whether it has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(2);
/// How often a wait for its output looks whether it is still wanted.
const INTERRUPT_INTERVAL: Duration = Duration::from_millis(20);
/// What takes `%p`'s place: OpenSSL's prompt, as in `PostgreSQL`.
const PROMPT: &str = "Enter PEM pass phrase:";
/// More output than this is not kept; `PostgreSQL` reads one line of 1024 bytes.
const MAX_OUTPUT_BYTES: u16 = 4096;
/// More of what it said is not quoted.
const MAX_QUOTED_CHARACTERS: usize = 200;
/// Tells the command which key it is for, should several have passphrases of their own.
const KEY_FILE_VARIABLE: &str = "PGTLS_SSL_KEY_FILE";

/// What was read from a pipe.
type Output = Zeroizing<Vec<u8>>;

/// Why there is no passphrase.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PassphraseError {
    /// A `%` that stands for nothing.
    #[error(
        "has an unexpected placeholder \"{placeholder}\"; known: %p for the prompt, %% for a %"
    )]
    Placeholder {
        /// As written.
        placeholder: String,
    },
    /// The shell could not be started.
    #[error("could not be run: {reason}")]
    NotRun {
        /// The operating system's reason.
        reason: String,
    },
    /// It ran too long.
    #[error("gave no passphrase within {} s and was ended", TIMEOUT.as_secs())]
    TimedOut,
    /// Nobody waited for it any more ([`Interrupt`](crate::interrupt::Interrupt)).
    #[error("was ended, since its result is not wanted any more")]
    Interrupted,
    /// It ended with an error.
    #[error("failed with {status}{}", said(stderr))]
    Failed {
        /// Exit code or signal.
        status: String,
        /// What it said.
        stderr: String,
    },
    /// It printed nothing.
    #[error("printed no passphrase on its standard output{}", said(stderr))]
    Empty {
        /// What it said instead.
        stderr: String,
    },
}

fn said(stderr: &str) -> String {
    if stderr.is_empty() {
        String::new()
    } else {
        format!("; it said: {stderr}")
    }
}

/// The first line that `command` prints, for the key in `key_file`.
pub(crate) fn passphrase(
    command: &str,
    key_file: &Path,
) -> Result<Zeroizing<Vec<u8>>, PassphraseError> {
    run(command, key_file, TIMEOUT)
}

fn run(
    command: &str,
    key_file: &Path,
    limit: Duration,
) -> Result<Zeroizing<Vec<u8>>, PassphraseError> {
    let deadline = Instant::now() + limit;
    let not_run = |reason: &dyn ToString| PassphraseError::NotRun {
        reason: reason.to_string(),
    };
    let mut child = Command::new("/bin/sh")
        .arg("-c")
        .arg(expand(command)?)
        .env(KEY_FILE_VARIABLE, key_file)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| not_run(&error))?;
    let stdout = child.stdout.take().map(read_in_background);
    let stderr = child.stderr.take().map(read_in_background);
    let Some(status) = wait(&mut child, deadline).map_err(|error| not_run(&error))? else {
        end(&mut child);
        return Err(given_up());
    };
    if !status.success() {
        let deadline = deadline.min(Instant::now() + LAST_WORDS);
        let printed = collect(stdout, deadline);
        let stderr = quotable(collect(stderr, deadline), printed);
        let status = status.to_string();
        return Err(PassphraseError::Failed { status, stderr });
    }
    // Not to be read to the end: a process that outlives the shell holds it open.
    let Some(stdout) = collect(stdout, deadline) else {
        end(&mut child);
        return Err(given_up());
    };
    // Standard error may stay open for as long as it likes then.
    let passphrase = first_line(&stdout);
    if passphrase.is_empty() {
        let deadline = deadline.min(Instant::now() + LAST_WORDS);
        let stderr = quotable(collect(stderr, deadline), Some(stdout));
        return Err(PassphraseError::Empty { stderr });
    }
    Ok(Zeroizing::new(passphrase.to_vec()))
}

/// `%p` becomes the prompt and `%%` a `%`, unquoted, as in `PostgreSQL`.
fn expand(command: &str) -> Result<String, PassphraseError> {
    let mut expanded = String::with_capacity(command.len());
    let mut characters = command.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            expanded.push(character);
            continue;
        }
        match characters.next() {
            Some('p') => expanded.push_str(PROMPT),
            Some('%') => expanded.push('%'),
            other => {
                let placeholder = std::iter::once('%').chain(other).collect();
                return Err(PassphraseError::Placeholder { placeholder });
            }
        }
    }
    Ok(expanded)
}

/// Reads from a thread of its own, so that no pipe that stays open can keep us; the thread ends with the pipe.
fn read_in_background(mut pipe: impl Read + Send + 'static) -> Receiver<Output> {
    let (sender, receiver) = sync_channel(1);
    thread::spawn(move || {
        // As large as it can get: a vector that grows leaves copies behind.
        let mut text = Zeroizing::new(Vec::with_capacity(usize::from(MAX_OUTPUT_BYTES)));
        let mut chunk = Zeroizing::new([0; 512]);
        while let Ok(count @ 1..) = pipe.read(chunk.as_mut_slice()) {
            let room = usize::from(MAX_OUTPUT_BYTES).saturating_sub(text.len());
            text.extend_from_slice(chunk.get(..count.min(room)).unwrap_or_default());
        }
        // Nobody listens any more after the deadline.
        let _ = sender.send(text);
    });
    receiver
}

/// Why a command that did not end is not waited for.
fn given_up() -> PassphraseError {
    if is_interrupted() {
        PassphraseError::Interrupted
    } else {
        PassphraseError::TimedOut
    }
}

/// `None` once the deadline is over, or when interrupted.
fn collect(reader: Option<Receiver<Output>>, deadline: Instant) -> Option<Output> {
    let reader = reader?;
    loop {
        let left = remaining(deadline);
        match reader.recv_timeout(left.min(INTERRUPT_INTERVAL)) {
            Ok(text) => return Some(text),
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) if left.is_zero() || is_interrupted() => return None,
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// `None` once the deadline is over, or when interrupted.
fn wait(child: &mut Child, deadline: Instant) -> std::io::Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if remaining(deadline).is_zero() || is_interrupted() {
            return Ok(None);
        }
        thread::sleep(POLL_INTERVAL);
    }
}

fn remaining(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// Ends the shell and everything it has started. The standard library signals single processes only.
fn end(child: &mut Child) {
    let _ = Command::new("/bin/sh")
        .arg("-c")
        .arg(format!("kill -s KILL -- -{}", child.id()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let _ = child.kill();
    let _ = child.wait();
}

fn first_line(text: &[u8]) -> &[u8] {
    let line = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// What may be told of standard error: nothing that has the passphrase in it, and no line that a shell writes under `set -x`.
/// Nothing at all when it isn't known what the passphrase is.
fn quotable(stderr: Option<Output>, stdout: Option<Output>) -> String {
    let (Some(stderr), Some(stdout)) = (stderr, stdout) else {
        return String::new();
    };
    let secret = first_line(&stdout);
    let mut lines: Vec<_> = stderr.split(|&byte| byte == b'\n').collect();
    if stderr.len() >= usize::from(MAX_OUTPUT_BYTES) && lines.len() > 1 {
        // It was cut off, and the passphrase with it, perhaps.
        lines.pop();
    }
    lines.retain(|line| !line.starts_with(b"+") && !has(line, secret));
    let words = String::from_utf8_lossy(&lines.join(&b' ')).into_owned();
    let text = words.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(MAX_QUOTED_CHARACTERS) {
        None => text,
        Some((end, _)) => text.get(..end).unwrap_or_default().to_owned() + "…",
    }
}

fn has(line: &[u8], secret: &[u8]) -> bool {
    !secret.is_empty() && line.windows(secret.len()).any(|part| part == secret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interrupt::Interrupt;

    fn ask(command: &str) -> Result<String, PassphraseError> {
        passphrase(command, Path::new("/keys/server.key"))
            .map(|found| String::from_utf8(found.to_vec()).unwrap())
    }

    #[test]
    fn the_first_line_is_the_passphrase() {
        assert_eq!(
            ask("printf 'open sesame\\r\\nsecond\\n'").unwrap(),
            "open sesame"
        );
        assert_eq!(ask("printf 'no newline '").unwrap(), "no newline ");
    }

    #[test]
    fn the_prompt_takes_the_place_of_its_placeholder() {
        assert_eq!(
            ask("echo '%p' 100%%").unwrap(),
            "Enter PEM pass phrase: 100%"
        );
        for (command, placeholder) in [("echo %d", "%d"), ("echo %", "%")] {
            let placeholder = placeholder.to_owned();
            assert_eq!(
                ask(command),
                Err(PassphraseError::Placeholder { placeholder })
            );
        }
    }

    #[test]
    fn the_command_is_told_which_key_it_is_for_and_has_no_input() {
        assert_eq!(
            ask("cat; echo $PGTLS_SSL_KEY_FILE").unwrap(),
            "/keys/server.key"
        );
    }

    #[test]
    fn a_command_that_fails_is_quoted_with_what_it_said_and_not_what_it_printed() {
        let error = ask("echo secret; echo 'vault: sealed' >&2; exit 3").unwrap_err();
        assert_eq!(
            error.to_string(),
            "failed with exit status: 3; it said: vault: sealed"
        );
    }

    #[test]
    fn a_command_that_prints_nothing_is_an_error() {
        let stderr = String::new();
        assert_eq!(ask("true"), Err(PassphraseError::Empty { stderr }));
        assert!(matches!(ask("echo"), Err(PassphraseError::Empty { .. })));
    }

    #[test]
    fn a_command_that_hangs_is_ended_with_all_it_started() {
        let directory =
            std::env::temp_dir().join(format!("pgtls-passphrase-{}", std::process::id()));
        let command = format!("sleep 600 & echo $! > {}; wait", directory.display());
        let result = run(&command, Path::new("/k"), Duration::from_secs(3));
        assert_eq!(result.unwrap_err(), PassphraseError::TimedOut);
        let pid = std::fs::read_to_string(&directory).unwrap();
        std::fs::remove_file(&directory).unwrap();
        let is_gone = || {
            let state = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
            state.map_or(true, |state| state.contains(") Z "))
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        while !is_gone() {
            assert!(Instant::now() < deadline, "what it started still runs");
            thread::sleep(POLL_INTERVAL);
        }
    }

    #[test]
    fn a_command_whose_result_is_not_wanted_any_more_is_ended_at_once() {
        let name = format!("pgtls-unwanted-{}", std::process::id());
        let begun = std::env::temp_dir().join(name);
        for rest in ["sleep 600", "sleep 600 & echo too late"] {
            let command = format!("echo > {}; {rest}", begun.display());
            let interrupt = Interrupt::default();
            let raiser = (interrupt.clone(), begun.clone());
            let raiser = thread::spawn(move || {
                while !raiser.1.exists() {
                    thread::sleep(POLL_INTERVAL);
                }
                raiser.0.raise();
            });
            let limit = Duration::from_secs(500);
            let result = interrupt.during(|| run(&command, Path::new("/k"), limit));
            raiser.join().unwrap();
            std::fs::remove_file(&begun).unwrap();
            assert_eq!(result.unwrap_err(), PassphraseError::Interrupted);
        }
    }

    #[test]
    fn output_beyond_all_measure_is_kept_in_part() {
        let whole = ask("head -c 100000 /dev/zero | tr '\\0' x").unwrap();
        assert_eq!(whole.len(), usize::from(MAX_OUTPUT_BYTES));
    }

    #[test]
    fn what_a_command_said_is_quoted_without_the_passphrase_and_in_short() {
        for command in [
            "echo 'open sesame'; echo 'got open sesame' >&2; echo sealed >&2; exit 3",
            "set -x; word='open sesame'; echo sealed >&2; exit 3",
            "set -x; echo 'open sesame'; { echo sealed >&2; exit 3; }",
        ] {
            let error = ask(command).unwrap_err().to_string();
            assert!(!error.contains("sesame"), "{error}");
            assert!(error.contains("it said: sealed"), "{error}");
        }
        let error = ask("echo; echo sealed >&2").unwrap_err().to_string();
        assert!(error.contains("it said: sealed"), "{error}");
        let long = ask("head -c 3000 /dev/zero | tr '\\0' x >&2; exit 1").unwrap_err();
        let PassphraseError::Failed { stderr, .. } = long else {
            panic!("{long}");
        };
        assert_eq!(stderr, "x".repeat(MAX_QUOTED_CHARACTERS) + "…");
    }

    #[test]
    fn a_process_that_keeps_standard_error_open_is_not_waited_for() {
        let limit = Duration::from_secs(20);
        let begun = Instant::now();
        let command = "sleep 20 > /dev/null & echo open sesame";
        let found = run(command, Path::new("/k"), limit).unwrap();
        assert_eq!(found.as_slice(), b"open sesame");
        assert!(begun.elapsed() < limit);
    }
}
