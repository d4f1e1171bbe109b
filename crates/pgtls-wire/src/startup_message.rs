//! `StartupMessage`: the parameters a session begins with, and what PostgreSQL makes of them.

use crate::startup_error::StartupError;
use crate::strings::split_string;

/// A `StartupMessage` with well-formed parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartupMessage<'a> {
    /// Protocol version asked for: (major, minor). The major is always 3.
    pub protocol: (u16, u16),
    /// Checked by [`check_parameters`].
    parameters: &'a [u8],
}

impl<'a> StartupMessage<'a> {
    /// Takes `parameters`, what follows the protocol version, once they are checked.
    pub(crate) fn parse(protocol: (u16, u16), parameters: &'a [u8]) -> Result<Self, StartupError> {
        check_parameters(parameters)?;
        Ok(Self {
            protocol,
            parameters,
        })
    }

    /// The parameters in the order sent, as (name, value) without terminators. PostgreSQL gives
    /// them no encoding.
    #[must_use]
    pub fn parameters(&self) -> Parameters<'a> {
        Parameters {
            rest: self.parameters,
        }
    }

    /// The value of the parameter `name`; the last one wins, as in PostgreSQL.
    #[must_use]
    pub fn parameter(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.parameters()
            .filter(|(candidate, _)| *candidate == name)
            .last()
            .map(|(_, value)| value)
    }

    /// The user name. `None` when absent or empty, which PostgreSQL refuses by itself.
    #[must_use]
    pub fn user(&self) -> Option<&'a [u8]> {
        self.parameter(b"user").filter(|user| !user.is_empty())
    }

    /// The database name; absent or empty means the user's name.
    #[must_use]
    pub fn database(&self) -> Option<&'a [u8]> {
        self.parameter(b"database")
            .filter(|database| !database.is_empty())
            .or_else(|| self.user())
    }

    /// What the client calls itself.
    #[must_use]
    pub fn application_name(&self) -> Option<&'a [u8]> {
        self.parameter(b"application_name")
    }

    /// Whether a walsender is asked for, physical (`replication=true` in any spelling of a
    /// PostgreSQL boolean) or logical (`replication=database`).
    #[must_use]
    pub fn is_replication(&self) -> bool {
        self.parameter(b"replication")
            .is_some_and(|value| value == b"database" || is_true(value))
    }
}

/// Iterator over the parameters of a [`StartupMessage`].
#[derive(Debug, Clone)]
pub struct Parameters<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Parameters<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, rest) = split_string(self.rest)?;
        if name.is_empty() {
            return None;
        }
        let (value, rest) = split_string(rest)?;
        self.rest = rest;
        Some((name, value))
    }
}

/// Checks that `parameters` is pairs of non-empty name and value, then one zero byte, then nothing.
fn check_parameters(mut parameters: &[u8]) -> Result<(), StartupError> {
    loop {
        let (name, rest) = split_string(parameters).ok_or(StartupError::MissingTerminator)?;
        if name.is_empty() {
            return if rest.is_empty() {
                Ok(())
            } else {
                Err(StartupError::TrailingBytes)
            };
        }
        if rest.is_empty() {
            return Err(StartupError::MissingValue);
        }
        let (_, rest) = split_string(rest).ok_or(StartupError::MissingTerminator)?;
        parameters = rest;
    }
}

/// PostgreSQL's `parse_bool`: unambiguous prefixes of `true` and `yes`, `on` and `1`, in any case.
fn is_true(value: &[u8]) -> bool {
    let is_prefix_of = |word: &[u8]| {
        word.get(..value.len())
            .is_some_and(|prefix| prefix.eq_ignore_ascii_case(value))
    };
    !value.is_empty()
        && (is_prefix_of(b"true")
            || is_prefix_of(b"yes")
            || value.eq_ignore_ascii_case(b"on")
            || value == b"1")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(parameters: &[u8]) -> StartupMessage<'_> {
        StartupMessage::parse((3, 0), parameters).expect("well-formed parameters")
    }

    fn error(parameters: &[u8]) -> StartupError {
        StartupMessage::parse((3, 0), parameters).expect_err("malformed parameters")
    }

    #[test]
    fn parameters_are_listed_in_order() {
        let bytes = b"user\0alice\0application_name\0psql\0options\0\0\0";
        let parsed = message(bytes);
        let expected: [(&[u8], &[u8]); 3] = [
            (b"user", b"alice"),
            (b"application_name", b"psql"),
            (b"options", b""),
        ];
        assert_eq!(parsed.parameters().collect::<Vec<_>>(), expected);
        assert_eq!(parsed.application_name(), Some(&b"psql"[..]));
    }

    #[test]
    fn the_database_defaults_to_the_user() {
        let named = b"user\0alice\0database\0orders\0\0";
        assert_eq!(message(named).database(), Some(&b"orders"[..]));
        let empty = b"database\0\0user\0alice\0\0";
        assert_eq!(message(empty).database(), Some(&b"alice"[..]));
        assert_eq!(message(b"\0").database(), None);
    }

    #[test]
    fn the_last_of_repeated_parameters_wins() {
        let bytes = b"user\0alice\0user\0bob\0\0";
        assert_eq!(message(bytes).user(), Some(&b"bob"[..]));
    }

    #[test]
    fn replication_is_told_as_postgresql_tells_it() {
        for value in ["database", "true", "T", "tr", "yes", "ON", "1"] {
            let body = format!("replication\0{value}\0\0");
            assert!(message(body.as_bytes()).is_replication(), "{value}");
        }
        for value in ["", "false", "off", "o", "0", "truex", "Database"] {
            let body = format!("replication\0{value}\0\0");
            assert!(!message(body.as_bytes()).is_replication(), "{value}");
        }
    }

    #[test]
    fn malformed_parameters_are_refused() {
        assert_eq!(error(b""), StartupError::MissingTerminator);
        assert_eq!(error(b"user"), StartupError::MissingTerminator);
        assert_eq!(error(b"user\0"), StartupError::MissingValue);
        assert_eq!(error(b"user\0\0"), StartupError::MissingTerminator);
        assert_eq!(error(b"user\0alice\0"), StartupError::MissingTerminator);
        assert_eq!(
            error(b"user\0alice\0database\0"),
            StartupError::MissingValue
        );
        assert_eq!(error(b"user\0alice\0\0x"), StartupError::TrailingBytes);
    }
}
