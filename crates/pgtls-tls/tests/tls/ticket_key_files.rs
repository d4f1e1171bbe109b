//! Ticket keys that instances share by a file, and what is said about files that can't be used.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use pgtls_tls::client_config::build_client_config;
use pgtls_tls::options::{BackendVerification, ListenerTlsOptions, TicketKeySource};
use pgtls_tls::server_config::{ServerTls, build_server_config};
use rustls::HandshakeKind::{Full, Resumed};

use crate::resumption_support::{Means, careless, kind, resumption};
use crate::support::{Directory, Files, Pki, listener};

/// 64 bytes of the same value, in base64.
fn key(letter: char) -> String {
    format!("{}==", letter.to_string().repeat(85) + "A")
}

fn keyed(files: &Files, file: PathBuf) -> ListenerTlsOptions {
    ListenerTlsOptions {
        resumption: Some(resumption(TicketKeySource::File(file))),
        ..listener(&[files])
    }
}

fn server(files: &Files, name: &str, keys: &[char]) -> (ServerTls, Directory) {
    let directory = Directory::new();
    let text: Vec<_> = keys.iter().copied().map(key).collect();
    let file = directory.write(name, &text.join("\n"));
    (build_server_config(&keyed(files, file)).unwrap(), directory)
}

#[test]
fn instances_that_share_a_file_resume_each_others_sessions() {
    let pki = Pki::new();
    let files = pki.good();
    let (one, _one_directory) = server(&files, "one.keys", &['B']);
    let (other, _other_directory) = server(&files, "elsewhere.keys", &['B']);
    let client = build_client_config(&pki.backend(BackendVerification::Full)).unwrap();
    assert_eq!(kind(&one, &client, "db.example"), Full);
    assert_eq!(kind(&other, &client, "db.example"), Resumed);
    assert_eq!(kind(&one, &client, "db.example"), Resumed);
}

#[test]
fn the_first_key_encrypts_and_all_of_them_decrypt() {
    let pki = Pki::new();
    let files = pki.good();
    let (old, _old) = server(&files, "keys", &['B']);
    let (announced, _announced) = server(&files, "keys", &['B', 'C']);
    let (new, _new) = server(&files, "keys", &['C', 'B']);
    let (newest, _newest) = server(&files, "keys", &['C']);
    let client = build_client_config(&pki.backend(BackendVerification::Full)).unwrap();
    let client = careless(&client, Means::Ticket);
    // Each hands out a ticket of its own on the way.
    assert_eq!(kind(&old, &client, "db.example"), Full);
    assert_eq!(kind(&new, &client, "db.example"), Resumed);
    assert_eq!(kind(&announced, &client, "db.example"), Resumed);
    assert_eq!(kind(&old, &client, "db.example"), Resumed);
    assert_eq!(kind(&newest, &client, "db.example"), Full);
    assert_eq!(kind(&new, &client, "db.example"), Resumed);
    assert_eq!(kind(&old, &client, "db.example"), Full);
}

fn problem(text: &str) -> (String, &'static str, &'static str) {
    let pki = Pki::new();
    let file = pki.directory.write("ticket.keys", text);
    let error = build_server_config(&keyed(&pki.good(), file.clone())).unwrap_err();
    let message = error.to_string();
    let message = message.strip_prefix(&file.display().to_string()).unwrap();
    (message.to_owned(), error.code(), error.key())
}

#[test]
fn comments_and_empty_lines_are_passed_over() {
    let pki = Pki::new();
    let text = format!("# made today\n\n  {}\r\n", key('B'));
    let file = pki.directory.write("ticket.keys", &text);
    build_server_config(&keyed(&pki.good(), file)).unwrap();
}

#[test]
fn a_line_that_is_no_key_is_named_and_not_shown() {
    let (message, code, key_path) = problem(&format!("{}\nc2VjcmV0\n", key('B')));
    assert!(
        message.starts_with(":2: 6 bytes instead of 64; "),
        "{message}"
    );
    assert_eq!(code, "PGTLS_TLS_KEY_INVALID");
    assert_eq!(key_path, "listener.ticket_key_file");
    let (message, ..) = problem("no key\n");
    assert!(message.starts_with(":1: not base64; expected 64 random bytes"));
    assert!(!message.contains("no key"), "{message}");
    let (message, ..) = problem(&format!("{}\n{}\n", key('B'), key('B')));
    assert!(
        message.starts_with(":2: the key is there twice; "),
        "{message}"
    );
}

#[test]
fn a_file_without_a_key_is_refused() {
    for text in ["", "\n", "# none yet\n"] {
        let (message, code, _) = problem(text);
        assert_eq!(
            message,
            ": contains no key; make one with `openssl rand -base64 64 | tr -d '\\n'`"
        );
        assert_eq!(code, "PGTLS_TLS_KEY_INVALID");
    }
}

#[test]
fn a_file_that_others_may_read_is_refused() {
    let pki = Pki::new();
    let file = pki.directory.write("ticket.keys", &key('B'));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o604)).unwrap();
    let error = build_server_config(&keyed(&pki.good(), file)).unwrap_err();
    assert_eq!(error.code(), "PGTLS_TLS_KEY_PERMISSIONS");
    assert!(error.to_string().contains("(mode 0604)"), "{error}");
}

#[test]
fn a_missing_file_is_named_along_with_other_problems() {
    let pki = Pki::new();
    let missing = pki.directory.path("missing.keys");
    let options = ListenerTlsOptions {
        alpn: vec![String::new()],
        ..keyed(&pki.good(), missing.clone())
    };
    let found = pgtls_tls::inspect::inspect(Some(&options), None, &[]);
    let codes: Vec<_> = found
        .problems
        .iter()
        .map(pgtls_tls::error::TlsConfigError::code)
        .collect();
    assert_eq!(
        codes,
        ["PGTLS_TLS_FILE_UNREADABLE", "PGTLS_TLS_CONFIG_INVALID"]
    );
    let message = found.problems[0].to_string();
    assert!(
        message.starts_with(&missing.display().to_string()),
        "{message}"
    );
}
