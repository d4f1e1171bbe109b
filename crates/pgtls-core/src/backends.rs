//! [`Backends`]: all backends of a route, and which of them a session goes to.
//!
//! The row of `[[proxy.listener.host]]` that the client's server name (SNI) picked decides first, if it names a backend; then the
//! first `[[proxy.route]]` that matches the startup packet; then `[proxy.backend]`.

use std::sync::Arc;

use pgtls_tls::config_key::{self as keys, Table};
use pgtls_tls::error::TlsConfigError;
use pgtls_tls::identity_error::IdentityError;

use crate::backend::Backend;
use crate::counters::RouteCounters;
use crate::options::{RouteOptions, RouteRule};
use crate::routes::RouteProblem;

/// A backend with the name it is configured under.
#[derive(Debug)]
pub(crate) struct NamedBackend {
    /// None for `[proxy.backend]`.
    pub(crate) name: Option<Arc<str>>,
    pub(crate) backend: Arc<Backend>,
}

/// The names that decide something, as they came: what a `Startup` shows of them has replacement characters where it isn't UTF-8,
/// and is for people only.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Names<'a> {
    pub(crate) user: Option<&'a [u8]>,
    pub(crate) database: Option<&'a [u8]>,
}

/// What the choice depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish<'a> {
    /// The row of `[[proxy.listener.host]]` whose identity the client was shown.
    pub(crate) host: Option<usize>,
    pub(crate) names: Names<'a>,
}

/// The backends of a route.
#[derive(Debug)]
pub(crate) struct Backends {
    default: NamedBackend,
    named: Vec<NamedBackend>,
    /// By row of `[[proxy.listener.host]]`: a place in `named`.
    by_host: Vec<Option<usize>>,
    rules: Vec<Rule>,
}

/// One `[[proxy.route]]`.
#[derive(Debug)]
struct Rule {
    user: Option<String>,
    database: Option<String>,
    /// A place in `named`.
    backend: usize,
}

impl Backends {
    /// Loads what TLS towards each backend needs, and finds the backends that rows and rules name.
    /// Those that `previous` has under the same name go on, as far as nothing about them has changed.
    pub(crate) fn build(
        options: &RouteOptions,
        counters: &Arc<RouteCounters>,
        previous: Option<&Self>,
    ) -> Result<Self, RouteProblem> {
        let replaced = previous.map(|old| &old.default.backend);
        let default = NamedBackend {
            name: None,
            backend: Backend::build(&options.backend, counters, replaced)?,
        };
        let mut named = Vec::with_capacity(options.backends.len());
        for (name, options) in &options.backends {
            let replaced = previous.and_then(|old| old.named(name));
            let backend = Backend::build(options, counters, replaced.map(|old| &old.backend))
                .map_err(|problem| problem.within(Table::Backend(name.clone())))?;
            named.push(NamedBackend {
                name: Some(name.as_str().into()),
                backend,
            });
        }
        let place = |name: &str, key, table| {
            let found = named
                .iter()
                .position(|one| one.name.as_deref() == Some(name));
            found.ok_or_else(|| unknown(name, key).within(table))
        };
        let hosts = options.listener.tls.iter().flat_map(|tls| &tls.hosts);
        let by_host = hosts.enumerate().map(|(row, host)| {
            let name = host.backend.as_deref();
            name.map(|name| place(name, keys::HOST_BACKEND, Table::Host(row)))
                .transpose()
        });
        let by_host = by_host.collect::<Result<_, _>>()?;
        let rules = options.rules.iter().enumerate().map(|(row, rule)| {
            let backend = place(&rule.backend, keys::ROUTE_BACKEND, Table::Route(row))?;
            Ok(Rule::new(rule, backend))
        });
        let rules = rules.collect::<Result<_, TlsConfigError>>()?;
        Ok(Self {
            default,
            named,
            by_host,
            rules,
        })
    }

    /// Where a session goes.
    pub(crate) fn choose(&self, wish: Wish<'_>) -> &NamedBackend {
        let of_rule = || {
            let rule = self.rules.iter().find(|rule| rule.matches(wish))?;
            self.named.get(rule.backend)
        };
        let of_host = wish.host.and_then(|row| self.of_host(row));
        of_host.or_else(of_rule).unwrap_or(&self.default)
    }

    /// The one that this row of `[[proxy.listener.host]]` names.
    pub(crate) fn of_host(&self, row: usize) -> Option<&NamedBackend> {
        let place = (*self.by_host.get(row)?)?;
        self.named.get(place)
    }

    /// The one of that name in `[proxy.backends]`.
    pub(crate) fn named(&self, name: &str) -> Option<&NamedBackend> {
        self.named
            .iter()
            .find(|one| one.name.as_deref() == Some(name))
    }

    /// All of them, `[proxy.backend]` first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Backend>> {
        let all = std::iter::once(&self.default).chain(&self.named);
        all.map(|one| &one.backend)
    }

    /// All of them, each once: those first that a client without a server name is led to, then those of server names, then those that
    /// only a hook can name.
    pub(crate) fn by_likelihood(&self) -> Vec<&Backend> {
        let rank = |place: usize| {
            let is_ruled = self.rules.iter().any(|rule| rule.backend == place);
            (!is_ruled, !self.by_host.contains(&Some(place)))
        };
        let mut named: Vec<_> = self.named.iter().enumerate().collect();
        named.sort_by_key(|(place, _)| rank(*place));
        let named = named.into_iter().map(|(_, one)| one);
        let all = std::iter::once(&self.default).chain(named);
        all.map(|one| &*one.backend).collect()
    }
}

fn unknown(name: &str, key: &'static str) -> TlsConfigError {
    let name = name.to_owned();
    IdentityError::BackendUnknown { key, name }.into()
}

impl Rule {
    fn new(options: &RouteRule, backend: usize) -> Self {
        Self {
            user: options.user.clone(),
            database: options.database.clone(),
            backend,
        }
    }

    /// Whether every pattern there is matches; a database that isn't named is the user's, as for PostgreSQL. A name that isn't UTF-8
    /// matches no pattern.
    fn matches(&self, wish: Wish<'_>) -> bool {
        let fits = |pattern: &Option<String>, value: Option<&[u8]>| match (pattern, value) {
            (None, _) => true,
            (Some(pattern), Some(value)) => {
                str::from_utf8(value).is_ok_and(|value| matches_glob(pattern, value))
            }
            (Some(_), None) => false,
        };
        let Names { user, database } = wish.names;
        let database = database.filter(|name| !name.is_empty());
        fits(&self.user, user) && fits(&self.database, database.or(user))
    }
}

/// Whether `text` is `pattern`, in which each `*` stands for any characters, also none. Case counts, as in PostgreSQL's names.
fn matches_glob(pattern: &str, text: &str) -> bool {
    let Some((head, mut pattern)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(head) else {
        return false;
    };
    // Taking each part where it first occurs leaves the most for those behind it.
    while let Some((part, behind)) = pattern.split_once('*') {
        let Some((_, rest)) = text.split_once(part) else {
            return false;
        };
        (pattern, text) = (behind, rest);
    }
    text.ends_with(pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        let table = [
            ("orders", "orders", true),
            ("orders", "orders_eu", false),
            ("orders", "Orders", false),
            ("orders_*", "orders_eu", true),
            ("orders_*", "orders_", true),
            ("orders_*", "orders", false),
            ("*_eu", "orders_eu", true),
            ("*_eu", "orders_eu_2", false),
            ("*_eu", "a_eu_eu", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a*a", "a", false),
            ("a**a", "aa", true),
            ("*ab*ab", "abab", true),
            ("*ab*ab", "abb", false),
            ("*", "", true),
            ("", "", true),
            ("*ü*", "büro", true),
        ];
        for (pattern, text, expected) in table {
            assert_eq!(matches_glob(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_pattern_full_of_stars_takes_no_time() {
        let pattern = "a*".repeat(2000) + "b";
        assert!(!matches_glob(&pattern, &"a".repeat(9000)));
    }

    fn rule(user: Option<&str>, database: Option<&str>) -> Rule {
        Rule {
            user: user.map(str::to_owned),
            database: database.map(str::to_owned),
            backend: 0,
        }
    }

    #[test]
    fn a_rule_matches_when_all_it_names_does() {
        let wish = |user: Option<&'static str>, database: Option<&'static str>| Wish {
            host: None,
            names: Names {
                user: user.map(str::as_bytes),
                database: database.map(str::as_bytes),
            },
        };
        let both = rule(Some("app_*"), Some("orders"));
        assert!(both.matches(wish(Some("app_1"), Some("orders"))));
        assert!(!both.matches(wish(Some("root"), Some("orders"))));
        assert!(!both.matches(wish(Some("app_1"), Some("billing"))));
        assert!(!both.matches(wish(None, Some("orders"))));
        let database = rule(None, Some("alice"));
        assert!(
            database.matches(wish(Some("alice"), None)),
            "the default is the user's"
        );
        assert!(database.matches(wish(Some("alice"), Some(""))));
        assert!(!database.matches(wish(None, None)));
        assert!(rule(None, None).matches(wish(None, None)));
    }
}
