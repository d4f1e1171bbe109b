//! [`UserMap`]: which PostgreSQL users a client certificate may log in as, in the format of `pg_ident.conf`.
//!
//! PostgreSQL's rules (documentation, "User Name Maps"; `check_ident_usermap` in `hba.c`) with one difference: the system
//! user is the certificate's CN or any dNSName, rfc822Name or URI of its subjectAltName, and the map's name is not looked at.
//! Regular expressions are the `regex` crate's, which take linear time and so have no back-references.

use std::path::Path;

use regex::Regex;
use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;

use crate::error::TlsConfigError;
use crate::leaf::parse;
use crate::pem_file::read;
use crate::user_map_line::{Token, tokens_of_lines};

/// The rows of a map.
#[derive(Debug, Default)]
pub struct UserMap {
    rows: Vec<Row>,
}

/// A line that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {detail}")]
pub struct UserMapError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong and what to do.
    pub detail: String,
}

#[derive(Debug)]
struct Row {
    system_user: SystemUser,
    user: User,
}

#[derive(Debug)]
enum SystemUser {
    Exactly(String),
    Matching(Regex),
}

#[derive(Debug)]
enum User {
    /// `all`.
    Anyone,
    Exactly(String),
    /// What the system user's first group matched goes where `\1` stands.
    Substituted {
        before: String,
        behind: String,
    },
    Matching(Regex),
}

impl UserMap {
    /// Reads the file that `key` names.
    pub fn from_file(key: &'static str, path: &Path) -> Result<Self, TlsConfigError> {
        let (_, bytes) = read(key, path)?;
        utf_8(&bytes)
            .and_then(Self::parse)
            .map_err(|source| TlsConfigError::UserMap {
                key,
                path: path.to_owned(),
                source,
            })
    }

    /// Reads a map; the first line that can't be used is the error.
    pub fn parse(text: &str) -> Result<Self, UserMapError> {
        let lines = tokens_of_lines(text).map_err(|(line, detail)| UserMapError {
            line,
            detail: detail.to_owned(),
        })?;
        let rows = lines
            .into_iter()
            .map(|(line, tokens)| Row::of(&tokens).map_err(|detail| UserMapError { line, detail }));
        Ok(Self {
            rows: rows.collect::<Result<_, _>>()?,
        })
    }

    /// Whether a client that proved to be any of `names` may log in as `user`.
    #[must_use]
    pub fn allows(&self, names: &[String], user: &str) -> bool {
        self.rows
            .iter()
            .any(|row| names.iter().any(|name| row.allows(name, user)))
    }
}

/// Nothing is replaced: names that differ in such bytes would become one.
fn utf_8(bytes: &[u8]) -> Result<&str, UserMapError> {
    std::str::from_utf8(bytes).map_err(|error| {
        let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
        UserMapError {
            line: good.split(|&byte| byte == b'\n').count(),
            detail: "is not UTF-8; save the file in that encoding".to_owned(),
        }
    })
}

/// The names by which a map knows a certificate: its CN, then every dNSName, rfc822Name and URI. One with a NUL names nobody.
#[must_use]
pub fn system_users(leaf: &[u8]) -> Vec<String> {
    let leaf = CertificateDer::from(leaf);
    let Ok(certificate) = parse(&leaf) else {
        return Vec::new();
    };
    let common_name = certificate.subject().iter_common_name().next();
    let common_name = common_name.and_then(|name| name.as_str().ok());
    let extension = certificate.subject_alternative_name().ok().flatten();
    let alternatives = extension.map_or(&[][..], |extension| &extension.value.general_names);
    common_name
        .into_iter()
        .chain(alternatives.iter().filter_map(alternative))
        .filter(|name| !name.is_empty() && !name.contains('\0'))
        .map(str::to_owned)
        .collect()
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "no other kind is a name of a user"
)]
fn alternative<'a>(name: &'a GeneralName<'_>) -> Option<&'a str> {
    match name {
        GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => {
            Some(name)
        }
        _ => None,
    }
}

impl Row {
    fn of(tokens: &[Token]) -> Result<Self, String> {
        let [first, ..] = tokens else {
            return Err("is empty".to_owned());
        };
        if first.text.starts_with("include") && !first.is_quoted && tokens.len() == 2 {
            return Err(format!(
                "\"{}\" is not supported; write all rows into one file",
                first.text
            ));
        }
        let [_map_name, system_user, user] = tokens else {
            return Err(format!(
                "has {} fields; expected three: map name, name in the certificate, PostgreSQL user",
                tokens.len()
            ));
        };
        let system_user = SystemUser::of(system_user)?;
        let user = User::of(user)?;
        if let User::Substituted { .. } = user {
            let has_group =
                matches!(&system_user, SystemUser::Matching(regex) if regex.captures_len() > 1);
            if !has_group {
                return Err("\"\\1\" stands for the first group of a regular expression, which the second field does not have; write such as /^(.*)@example\\.com$".to_owned());
            }
        }
        Ok(Self { system_user, user })
    }

    fn allows(&self, name: &str, user: &str) -> bool {
        let group = match &self.system_user {
            SystemUser::Exactly(expected) if expected == name => None,
            SystemUser::Exactly(_) => return false,
            SystemUser::Matching(regex) => match regex.captures(name) {
                None => return false,
                Some(captures) => captures.get(1).map(|group| group.as_str()),
            },
        };
        match &self.user {
            User::Anyone => true,
            User::Exactly(expected) => expected == user,
            User::Matching(regex) => regex.is_match(user),
            User::Substituted { before, behind } => {
                // A group that took no part in the match stands for nothing, and maps to nobody.
                let Some(group) = group else { return false };
                user.strip_prefix(before.as_str())
                    .and_then(|rest| rest.strip_suffix(behind.as_str()))
                    == Some(group)
            }
        }
    }
}

impl SystemUser {
    fn of(token: &Token) -> Result<Self, String> {
        match token.text.strip_prefix('/') {
            Some(pattern) => regex(pattern).map(Self::Matching),
            None => Ok(Self::Exactly(token.text.clone())),
        }
    }
}

impl User {
    /// Quotes take the meaning from `all` and `+`, but not from `/`, as in PostgreSQL.
    fn of(token: &Token) -> Result<Self, String> {
        if let Some(pattern) = token.text.strip_prefix('/') {
            return regex(pattern).map(Self::Matching);
        }
        if !token.is_quoted && token.text == "all" {
            return Ok(Self::Anyone);
        }
        if !token.is_quoted && token.text.starts_with('+') {
            return Err(format!(
                "\"{}\" means the members of a role, whom only PostgreSQL knows; name the users, or put it into quotes",
                token.text
            ));
        }
        Ok(match token.text.split_once("\\1") {
            Some((before, behind)) => Self::Substituted {
                before: before.to_owned(),
                behind: behind.to_owned(),
            },
            None => Self::Exactly(token.text.clone()),
        })
    }
}

fn regex(pattern: &str) -> Result<Regex, String> {
    Regex::new(pattern).map_err(|error| {
        // The library draws the place over several lines; the last one says what is wrong.
        let text = error.to_string();
        let reason = text.lines().last().unwrap_or_default();
        format!(
            "the regular expression \"{pattern}\" cannot be used: {}",
            reason.trim_start_matches("error: ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(map: &str, name: &str, user: &str) -> bool {
        UserMap::parse(map)
            .unwrap()
            .allows(&[name.to_owned()], user)
    }

    fn error(map: &str) -> String {
        UserMap::parse(map).unwrap_err().to_string()
    }

    #[test]
    fn a_row_lets_one_name_be_one_user() {
        let map = "# comment\n\nm alice app # more\nm bob \"b ob\"\n";
        assert!(allows(map, "alice", "app"));
        assert!(allows(map, "bob", "b ob"));
        for (name, user) in [
            ("alice", "alice"),
            ("Alice", "app"),
            ("bob", "app"),
            ("alice", ""),
        ] {
            assert!(!allows(map, name, user), "{name} {user}");
        }
    }

    #[test]
    fn any_name_of_a_certificate_and_any_map_will_do() {
        let map = UserMap::parse("one a x\ntwo b y").unwrap();
        let names = ["b".to_owned(), "a".to_owned()];
        assert!(map.allows(&names, "x") && map.allows(&names, "y"));
        assert!(!map.allows(&[], "x"));
    }

    #[test]
    fn an_empty_map_allows_nobody() {
        assert!(!allows("# nobody\n", "alice", "alice"));
    }

    #[test]
    fn a_regular_expression_matches_anywhere_unless_it_is_anchored() {
        assert!(allows("m /li app", "alice", "app"));
        assert!(!allows("m /^li app", "alice", "app"));
        assert!(allows("m \"/^a b$\" app", "a b", "app"));
    }

    #[test]
    fn the_first_group_goes_where_it_is_referred_to() {
        let map = "m /^(.*)@example\\.com$ \\1\nm /^svc-(.*)$ app_\\1_rw";
        assert!(allows(map, "alice@example.com", "alice"));
        assert!(!allows(map, "alice@example.org", "alice"));
        assert!(!allows(map, "alice@example.com", "bob"));
        assert!(allows(map, "svc-orders", "app_orders_rw"));
        assert!(!allows(map, "svc-orders", "app_orders"));
        // What was put in is a name, not a keyword or a pattern.
        assert!(!allows("m /^(.*)$ \\1", "all", "alice"));
        assert!(!allows("m /^(.*)$ \\1", "/.", "alice"));
        assert!(!allows("m /^x(y)?$ \\1", "x", ""));
        // Prefix and suffix must not share characters.
        assert!(!allows("m /^(.*)$ a\\1a", "", "a"));
    }

    #[test]
    fn a_user_may_be_everybody_or_a_regular_expression_unless_quotes_forbid_it() {
        assert!(allows("m admin all", "admin", "anyone"));
        assert!(!allows("m admin \"all\"", "admin", "anyone"));
        assert!(allows("m admin \"all\"", "admin", "all"));
        assert!(allows("m admin /^app_", "admin", "app_ro"));
        assert!(!allows("m admin /^app_", "admin", "x_app_ro"));
        assert!(allows("m admin \"+ops\"", "admin", "+ops"));
    }

    #[test]
    fn a_line_that_cannot_be_used_is_named() {
        assert_eq!(
            error("m a b\nm a"),
            "line 2: has 2 fields; expected three: map name, name in the certificate, PostgreSQL user"
        );
        assert!(error("\n\nm a +ops").starts_with("line 3: \"+ops\" means the members of a role"));
        assert!(error("m a \\1").starts_with("line 1: \"\\1\" stands for the first group"));
        assert!(error("m /^a$ \\1").starts_with("line 1: \"\\1\" stands for the first group"));
        assert!(
            error("m /( b").starts_with("line 1: the regular expression \"(\" cannot be used: ")
        );
        assert!(error("m /(a)\\1 b").contains("backreferences are not supported"));
        assert!(error("include other.map").contains("not supported"));
        assert!(error("m \"a b").starts_with("line 1: "));
    }

    #[test]
    fn a_file_that_is_not_utf_8_is_an_error_with_its_line() {
        let name = format!("pgtls-user-map-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, b"m alice app\nm bob \xc3\xa9t\xe9\nm x y\n").unwrap();
        let error = UserMap::from_file("listener.user_map_file", &path).unwrap_err();
        std::fs::remove_file(&path).unwrap();
        assert!(
            error.to_string().contains("line 2: is not UTF-8"),
            "{error}"
        );
    }

    #[test]
    fn a_certificate_is_known_by_its_cn_and_its_alternative_names() {
        use rcgen::{CertificateParams, DnType, KeyPair, SanType};
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "alice");
        params.subject_alt_names = vec![
            SanType::Rfc822Name("alice@example.com".try_into().unwrap()),
            SanType::URI("spiffe://example/alice".try_into().unwrap()),
            SanType::DnsName("alice.example".try_into().unwrap()),
            SanType::IpAddress([10, 0, 0, 1].into()),
        ];
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        assert_eq!(
            system_users(certificate.der()),
            [
                "alice",
                "alice@example.com",
                "spiffe://example/alice",
                "alice.example"
            ]
        );
        assert!(system_users(b"garbage").is_empty());
    }
}
