//! [`Servers`]: the servers behind one address of a backend, as the keeper's look-ups of its name and its probes found them.
//!
//! A name may be answered differently each time (round robin): a server counts as long as one of the last answers had it, and
//! sessions look nothing up themselves. So no login waits for a name server, and none meets a server that nobody knows.

use std::time::Duration;

use tokio::time::Instant;

use crate::backend::role::ServerRole;
use crate::connection::Target;

/// What is known of one address.
#[derive(Debug, Default)]
pub(crate) struct Servers {
    look_up: LookUp,
    /// Those of the last answer first, in its order.
    known: Vec<Server>,
}

/// How the last look-up of the name ended.
#[derive(Debug, Default)]
enum LookUp {
    #[default]
    NeverEnded,
    Answered,
    Failed(String),
}

#[derive(Debug)]
struct Server {
    target: Target,
    /// When an answer last had it.
    named_at: Instant,
    finding: Option<Finding>,
}

/// The result of a probe, and when it came.
#[derive(Clone, Debug)]
struct Finding {
    /// Or why the server did not tell.
    role: Result<ServerRole, String>,
    at: Instant,
}

/// What a session is told about one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) target: Target,
    /// Whether the last answer had it.
    pub(crate) is_current: bool,
    /// None before its first probe; an error says why it did not tell.
    pub(crate) role: Option<Result<ServerRole, String>>,
}

impl Servers {
    /// Takes the answer of a look-up, or why there is none. Servers that no answer of the last `max_age` had are forgotten.
    pub(crate) fn note_look_up(
        &mut self,
        answer: Result<Vec<Target>, String>,
        now: Instant,
        max_age: Duration,
    ) {
        let mut former = std::mem::take(&mut self.known);
        self.look_up = match answer {
            Err(reason) => LookUp::Failed(reason),
            Ok(targets) => {
                for target in targets {
                    if self.known.iter().any(|one| one.target == target) {
                        continue;
                    }
                    let place = former.iter().position(|one| one.target == target);
                    let finding = place.and_then(|place| former.remove(place).finding);
                    self.known.push(Server {
                        target,
                        named_at: now,
                        finding,
                    });
                }
                LookUp::Answered
            }
        };
        former.retain(|one| now.saturating_duration_since(one.named_at) <= max_age);
        former.sort_by_key(|one| std::cmp::Reverse(one.named_at));
        self.known.extend(former);
    }

    /// Takes what a probe found.
    pub(crate) fn note_role(
        &mut self,
        target: &Target,
        role: Result<ServerRole, String>,
        now: Instant,
    ) {
        if let Some(server) = self.known.iter_mut().find(|one| one.target == *target) {
            server.finding = Some(Finding { role, at: now });
        }
    }

    /// Every server to be probed.
    pub(crate) fn targets(&self) -> Vec<Target> {
        self.known.iter().map(|one| one.target.clone()).collect()
    }

    /// Whether there is something to choose from, or a reason why there is nothing.
    pub(crate) fn is_looked_up(&self) -> bool {
        !self.known.is_empty() || !matches!(self.look_up, LookUp::NeverEnded)
    }

    /// Why there is no server.
    pub(crate) fn failure(&self) -> &str {
        match &self.look_up {
            LookUp::NeverEnded => "no look-up of the name has ended yet",
            LookUp::Answered => "the name has no address",
            LookUp::Failed(reason) => reason,
        }
    }

    /// Every server; those of the last answer first. A finding older than `max_age` is none.
    pub(crate) fn all(&self, now: Instant, max_age: Duration) -> Vec<Known> {
        let newest = self.known.iter().map(|one| one.named_at).max();
        let known = self.known.iter().map(|one| Known {
            target: one.target.clone(),
            is_current: Some(one.named_at) == newest,
            role: one.role(now, max_age).cloned(),
        });
        known.collect()
    }

    /// The role of `target`, or why it is not known; none if a probe is to tell yet.
    pub(crate) fn role_of(
        &self,
        target: &Target,
        now: Instant,
        max_age: Duration,
    ) -> Option<Result<ServerRole, String>> {
        match self.known.iter().find(|one| one.target == *target) {
            Some(server) => server.role(now, max_age).cloned(),
            None => Some(Err("the name does not stand for it any more".to_owned())),
        }
    }
}

impl Server {
    fn role(&self, now: Instant, max_age: Duration) -> Option<&Result<ServerRole, String>> {
        let finding = self.finding.as_ref()?;
        let age = now.saturating_duration_since(finding.at);
        (age <= max_age).then_some(&finding.role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_AGE: Duration = Duration::from_secs(8);
    const STANDBY: ServerRole = ServerRole {
        is_in_hot_standby: true,
        is_read_only: true,
    };

    fn target(path: &str) -> Target {
        Target::Unix(path.into())
    }

    /// The servers in order; in brackets those that the last answer did not have, with an exclamation mark those of known role.
    fn list(servers: &Servers, now: Instant) -> String {
        let texts = servers.all(now, MAX_AGE).into_iter().map(|one| {
            let mark = if one.role.is_some() { "!" } else { "" };
            let Target::Unix(path) = one.target else {
                return String::new();
            };
            let text = format!("{}{mark}", path.display());
            if one.is_current {
                text
            } else {
                format!("({text})")
            }
        });
        texts.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_server_counts_as_long_as_one_of_the_last_answers_had_it() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut servers = Servers::default();
        let answer = |names: &[&str]| Ok(names.iter().map(|name| target(name)).collect());
        assert!(!servers.is_looked_up());
        servers.note_look_up(answer(&["a"]), start, MAX_AGE);
        servers.note_role(&target("a"), Ok(STANDBY), start);
        servers.note_role(&target("elsewhere"), Ok(STANDBY), start);
        servers.note_look_up(answer(&["b"]), after(1), MAX_AGE);
        assert_eq!(list(&servers, after(1)), "b (a!)");
        servers.note_look_up(answer(&["c", "b"]), after(2), MAX_AGE);
        assert_eq!(list(&servers, after(2)), "c b (a!)");
        assert_eq!(servers.targets().len(), 3, "all of them are probed");
        assert_eq!(
            list(&servers, after(9)),
            "c b (a)",
            "the finding is too old"
        );
        servers.note_look_up(Err("no".to_owned()), after(9), MAX_AGE);
        assert_eq!(list(&servers, after(9)), "c b");
        servers.note_look_up(answer(&["a"]), after(11), MAX_AGE);
        assert_eq!(list(&servers, after(11)), "a");
    }

    #[test]
    fn that_there_is_no_server_has_a_reason() {
        let mut servers = Servers::default();
        assert!(servers.failure().contains("has ended yet"));
        servers.note_look_up(Err("look-up failed".to_owned()), Instant::now(), MAX_AGE);
        assert!(servers.is_looked_up() && servers.failure() == "look-up failed");
        servers.note_look_up(Ok(Vec::new()), Instant::now(), MAX_AGE);
        assert_eq!(servers.failure(), "the name has no address");
    }
}
