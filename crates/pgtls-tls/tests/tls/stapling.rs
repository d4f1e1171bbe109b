//! OCSP responses: which are stapled, and what is said about the others.

use pgtls_testkit::{CertificateSpec, OcspAnswer, OcspHash, OcspStatus};
use pgtls_tls::options::ListenerTlsOptions;

use crate::observer::{Shelf, Stored, host_of, inspected, listener_of, problems, shown, shown_in};

fn stapled(shelf: &Shelf, stored: &Stored, answer: &OcspAnswer) -> ListenerTlsOptions {
    ListenerTlsOptions {
        ocsp_files: vec![shelf.staple("leaf.ocsp", stored, answer)],
        ..listener_of(&[stored])
    }
}

fn leaf(shelf: &Shelf) -> Stored {
    shelf.issue("leaf", &CertificateSpec::server(&["a.example"]))
}

/// What is stapled of an answer, and the warnings about it.
fn outcome(answer: &OcspAnswer) -> (bool, Vec<String>) {
    let shelf = Shelf::new();
    let stored = leaf(&shelf);
    let options = stapled(&shelf, &stored, answer);
    let inspection = inspected(&options);
    assert!(inspection.problems.is_empty(), "{:?}", inspection.problems);
    let messages = inspection.warnings.into_iter().map(|warning| {
        assert_eq!(warning.path, "listener.ssl_ocsp_file");
        warning.message
    });
    let is_sent = !shown(&options, "a.example").unwrap().ocsp.is_empty();
    (is_sent, messages.collect())
}

#[test]
fn a_current_response_is_stapled_in_both_versions() {
    let shelf = Shelf::new();
    let stored = leaf(&shelf);
    let answer = OcspAnswer::now(OcspStatus::Good);
    let options = stapled(&shelf, &stored, &answer);
    let expected = std::fs::read(&options.ocsp_files[0]).unwrap();
    for version in rustls::ALL_VERSIONS {
        let shown = shown_in(&options, "a.example", version).unwrap();
        assert_eq!(shown.ocsp, expected, "{version:?}");
    }
    assert_eq!(outcome(&answer), (true, Vec::new()));
    let for_ever = OcspAnswer {
        next_update_seconds: None,
        ..answer
    };
    assert_eq!(outcome(&for_ever), (true, Vec::new()));
}

#[test]
fn a_response_names_the_certificate_with_any_hash_and_spelling_of_its_serial() {
    for hash in OcspHash::ALL {
        for has_padded_serial in [false, true] {
            let answer = OcspAnswer {
                hash,
                has_padded_serial,
                ..OcspAnswer::now(OcspStatus::Good)
            };
            assert_eq!(outcome(&answer), (true, Vec::new()), "{answer:?}");
        }
    }
}

#[test]
fn a_response_that_has_expired_is_left_out_with_a_warning() {
    let answer = OcspAnswer::now(OcspStatus::Good);
    let (is_sent, warnings) = outcome(&OcspAnswer {
        next_update_seconds: Some(answer.this_update_seconds + 1),
        ..answer
    });
    assert!(!is_sent);
    assert!(warnings[0].contains("has expired"), "{warnings:?}");
    let (is_sent, warnings) = outcome(&OcspAnswer {
        this_update_seconds: answer.this_update_seconds + 3000,
        ..answer
    });
    assert!(!is_sent);
    assert!(warnings[0].contains("from the future"), "{warnings:?}");
}

#[test]
fn a_revocation_of_our_own_certificate_is_sent_with_a_loud_warning() {
    let (is_sent, warnings) = outcome(&OcspAnswer::now(OcspStatus::Revoked(1_700_000_000)));
    assert!(is_sent);
    assert!(warnings[0].contains("REVOKED"), "{warnings:?}");
    let (is_sent, warnings) = outcome(&OcspAnswer::now(OcspStatus::Unknown));
    assert!(!is_sent);
    assert!(warnings[0].contains("does not know"), "{warnings:?}");
}

#[test]
fn each_identity_of_a_row_has_its_own_response() {
    let shelf = Shelf::new();
    let stored = leaf(&shelf);
    let answer = OcspAnswer::now(OcspStatus::Good);
    let mut row = host_of(&["a.example"], &[&stored]);
    row.ocsp_files = vec![shelf.staple("row.ocsp", &stored, &answer)];
    let own = shelf.issue("own", &CertificateSpec::server(&["other.test"]));
    let options = ListenerTlsOptions {
        hosts: vec![row],
        ..listener_of(&[&own])
    };
    assert!(!shown(&options, "a.example").unwrap().ocsp.is_empty());
    assert!(shown(&options, "other.test").unwrap().ocsp.is_empty());
}

#[test]
fn a_response_about_another_certificate_is_a_problem() {
    let shelf = Shelf::new();
    let intermediate = shelf.ca.intermediate("intermediate");
    let spec = CertificateSpec::server(&["a.example"]);
    let stored = shelf.issue_from(&intermediate, "leaf", &spec);
    let other = shelf.issue_from(&intermediate, "other", &spec);
    let answer = OcspAnswer::now(OcspStatus::Good);
    let other_leaf = intermediate.ocsp_response(&other.issued, &answer);
    // The root answers about a certificate that it did not issue.
    let other_issuer = shelf.ca.ocsp_response(&stored.issued, &answer);
    // An authority of the same name with another key: only the key's hash tells them apart.
    let namesake = shelf.ca.intermediate("intermediate");
    let other_key = namesake.ocsp_response(&stored.issued, &answer);
    for (text, expected) in [
        (other_leaf, "about another certificate"),
        (other_issuer, "about another certificate"),
        (other_key, "about another certificate"),
        (b"\x30\x03\x0a\x01\x03".to_vec(), "responseStatus 3"),
        (b"\x30\x03\x0a\x01\x06".to_vec(), "ask the responder again"),
        (
            b"-----BEGIN OCSP RESPONSE-----".to_vec(),
            "not an OCSP response in DER",
        ),
    ] {
        let options = ListenerTlsOptions {
            ocsp_files: vec![shelf.write("wrong.ocsp", &text)],
            ..listener_of(&[&stored])
        };
        let [(path, code, message)] = &problems(&options)[..] else {
            panic!("expected one problem");
        };
        assert_eq!(path, "listener.ssl_ocsp_file");
        assert_eq!(*code, "PGTLS_TLS_CERTIFICATE_INVALID");
        assert!(message.contains(expected), "{message}");
    }
    let options = ListenerTlsOptions {
        ocsp_files: vec![shelf.write(
            "right.ocsp",
            &intermediate.ocsp_response(&stored.issued, &answer),
        )],
        ..listener_of(&[&stored])
    };
    assert!(problems(&options).is_empty());
}

#[test]
fn no_truncation_of_a_response_is_accepted() {
    let shelf = Shelf::new();
    let stored = leaf(&shelf);
    let der = shelf
        .ca
        .ocsp_response(&stored.issued, &OcspAnswer::now(OcspStatus::Good));
    for length in 0..der.len() {
        let options = ListenerTlsOptions {
            ocsp_files: vec![shelf.write("cut.ocsp", &der[..length])],
            ..listener_of(&[&stored])
        };
        assert_eq!(problems(&options).len(), 1, "{length} bytes");
    }
}

#[test]
fn nothing_may_follow_a_response() {
    let shelf = Shelf::new();
    let stored = leaf(&shelf);
    let answer = OcspAnswer::now(OcspStatus::Good);
    let der = shelf.ca.ocsp_response(&stored.issued, &answer);
    let options = ListenerTlsOptions {
        ocsp_files: vec![shelf.write("long.ocsp", &[&der[..], b"\n"].concat())],
        ..listener_of(&[&stored])
    };
    let [(_, _, message)] = &problems(&options)[..] else {
        panic!("expected one problem");
    };
    assert!(message.contains("not an OCSP response in DER"), "{message}");
}

#[test]
fn a_file_too_large_for_a_response_and_a_directory_are_problems() {
    let shelf = Shelf::new();
    let stored = leaf(&shelf);
    let too_large = shelf.write("large.ocsp", &vec![0x30; 64 * 1024 + 1]);
    for (path, code, text) in [
        (
            too_large,
            "PGTLS_TLS_CERTIFICATE_INVALID",
            "not an OCSP response in DER",
        ),
        (
            shelf.directory.path().to_owned(),
            "PGTLS_TLS_FILE_UNREADABLE",
            "not a regular file; give a readable file with an OCSP response",
        ),
    ] {
        let options = ListenerTlsOptions {
            ocsp_files: vec![path],
            ..listener_of(&[&stored])
        };
        let [(_, found, message)] = &problems(&options)[..] else {
            panic!("expected one problem");
        };
        assert_eq!(*found, code);
        assert!(message.contains(text), "{message}");
    }
}

#[test]
fn responses_are_paired_with_certificates() {
    let shelf = Shelf::new();
    let stored = leaf(&shelf);
    let options = ListenerTlsOptions {
        ocsp_files: vec!["/a.ocsp".into(), "/b.ocsp".into()],
        ..listener_of(&[&stored])
    };
    let found = problems(&options);
    assert_eq!(found.last().unwrap().0, "listener.ssl_ocsp_file");
    let options = ListenerTlsOptions {
        ocsp_files: vec!["/nowhere.ocsp".into()],
        ..listener_of(&[&stored])
    };
    assert_eq!(problems(&options)[0].1, "PGTLS_TLS_FILE_UNREADABLE");
}
