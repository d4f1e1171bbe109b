//! Private keys under a passphrase, and the command that tells it.

use pgtls_testkit::{CertificateSpec, KeyEncryption};
use pgtls_tls::options::ListenerTlsOptions;
use pgtls_tls::server_config::build_server_config;

use crate::observer::{Shelf, host_of, listener_of, problems};
use crate::support::pem;

/// A listener whose key is encrypted in that way with `open sesame`.
fn locked(shelf: &Shelf, encryption: KeyEncryption) -> ListenerTlsOptions {
    let stored = shelf.issue("locked", &CertificateSpec::server(&["a.example"]));
    let encrypted = encryption.encrypt(stored.issued.key_der.secret_der(), "open sesame");
    let text = pem("ENCRYPTED PRIVATE KEY", &encrypted);
    std::fs::write(&stored.files.key_file, text).unwrap();
    listener_of(&[&stored])
}

fn with_command(command: &str, options: ListenerTlsOptions) -> ListenerTlsOptions {
    ListenerTlsOptions {
        passphrase_command: Some(command.to_owned()),
        ..options
    }
}

#[test]
fn a_key_opens_with_the_passphrase_of_the_command() {
    let shelf = Shelf::new();
    for aes_bits in [128, 192, 256] {
        for hmac_sha in [1, 256, 384, 512] {
            let encryption = KeyEncryption { aes_bits, hmac_sha };
            let options = with_command("echo open sesame", locked(&shelf, encryption));
            assert!(build_server_config(&options).is_ok(), "{encryption:?}");
        }
    }
}

#[test]
fn a_row_uses_the_command_of_its_listener() {
    let shelf = Shelf::new();
    let ListenerTlsOptions {
        cert_files,
        key_files,
        ..
    } = locked(&shelf, KeyEncryption::DEFAULT);
    let mut row = host_of(&["a.example"], &[]);
    (row.cert_files, row.key_files) = (cert_files, key_files);
    let options = ListenerTlsOptions {
        hosts: vec![row],
        ..ListenerTlsOptions::default()
    };
    assert_eq!(problems(&options)[0].0, "listener.host[0].ssl_key_file");
    assert!(problems(&with_command("echo open sesame", options.clone())).is_empty());
    let failing = problems(&with_command("exit 1", options));
    assert_eq!(failing[0].0, "listener.ssl_passphrase_command");
}

#[test]
fn what_keeps_a_key_closed_is_said_with_its_key() {
    let shelf = Shelf::new();
    let options = locked(&shelf, KeyEncryption::DEFAULT);
    let (key, command) = ("listener.ssl_key_file", "listener.ssl_passphrase_command");
    let without = problems(&options);
    assert_eq!(
        (without[0].0.as_str(), without[0].1),
        (key, "PGTLS_TLS_KEY_INVALID")
    );
    assert!(
        without[0].2.contains("set ssl_passphrase_command"),
        "{without:?}"
    );
    for (text, place, expected) in [
        ("echo wrong", key, "the passphrase is wrong"),
        (
            "echo no >&2; exit 2",
            command,
            "exit status: 2; it said: no",
        ),
        ("true", command, "printed no passphrase"),
        ("echo %x", command, "unexpected placeholder \"%x\""),
    ] {
        let found = problems(&with_command(text, options.clone()));
        assert_eq!(found[0].0, place, "{found:?}");
        assert!(found[0].2.contains(expected), "{found:?}");
        assert!(!found[0].2.contains("wrong\n"), "no output in a message");
    }
}

#[test]
fn a_key_in_openssls_older_form_is_refused_with_the_command_that_converts() {
    let shelf = Shelf::new();
    let options = locked(&shelf, KeyEncryption::DEFAULT);
    let legacy = pem("RSA PRIVATE KEY", b"ciphertext").replacen(
        '\n',
        "\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00112233445566778899AABBCCDDEEFF\n\n",
        1,
    );
    std::fs::write(&options.key_files[0], legacy).unwrap();
    let found = problems(&with_command("echo open sesame", options));
    assert_eq!(found[0].0, "listener.ssl_key_file");
    assert!(found[0].2.contains("openssl pkcs8 -topk8"), "{found:?}");
}

/// A command that counts its runs, and the file it counts them in.
fn counting(shelf: &Shelf, rest: &str) -> (String, std::path::PathBuf) {
    let file = shelf.directory.path().join("runs");
    (format!("echo >> {}; {rest}", file.display()), file)
}

fn runs(file: &std::path::Path) -> usize {
    std::fs::read(file).map_or(0, |text| text.len())
}

#[test]
fn the_command_runs_once_for_each_key_until_its_file_or_the_command_changes() {
    let shelf = Shelf::new();
    let (command, file) = counting(&shelf, "echo open sesame");
    let options = with_command(&command, locked(&shelf, KeyEncryption::DEFAULT));
    for _ in 0..3 {
        build_server_config(&options).unwrap();
        assert_eq!(runs(&file), 1);
        assert!(problems(&options).is_empty());
        assert_eq!(runs(&file), 1);
    }
    let renewed = with_command(&command, locked(&shelf, KeyEncryption::DEFAULT));
    for _ in 0..2 {
        build_server_config(&renewed).unwrap();
        assert_eq!(runs(&file), 2);
    }
    let otherwise = with_command(&format!("{command} "), renewed);
    build_server_config(&otherwise).unwrap();
    assert_eq!(runs(&file), 3);
}

#[test]
fn a_command_that_failed_is_not_run_again_at_once() {
    let shelf = Shelf::new();
    for (rest, words) in [
        ("echo no >&2; exit 1", "it said: no"),
        ("echo open says me", "the passphrase is wrong"),
    ] {
        let (command, file) = counting(&shelf, rest);
        let options = with_command(&command, locked(&shelf, KeyEncryption::DEFAULT));
        let before = runs(&file);
        for _ in 0..5 {
            let found = problems(&options);
            assert!(found[0].2.contains(words), "{found:?}");
        }
        assert_eq!(runs(&file), before + 1, "{rest}");
        // Another key is another matter.
        let renewed = with_command(&command, locked(&shelf, KeyEncryption::DEFAULT));
        assert!(!problems(&renewed).is_empty());
        assert_eq!(runs(&file), before + 2, "{rest}");
    }
}
