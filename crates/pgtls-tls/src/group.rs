//! The key exchange groups there are, by all the names in use.

use rustls::crypto::SupportedKxGroup;
use rustls::crypto::aws_lc_rs::kx_group as groups;

use crate::config_key;
use crate::error::TlsConfigError;

/// The groups offered when none are configured, most preferred first.
pub const DEFAULT_GROUPS: [&str; 4] = ["X25519MLKEM768", "X25519", "secp256r1", "secp384r1"];

/// A group by all its names, the first being the one shown.
struct NamedGroup {
    names: &'static [&'static str],
    group: &'static dyn SupportedKxGroup,
}

static GROUPS: [NamedGroup; 5] = [
    NamedGroup {
        names: &["X25519MLKEM768"],
        group: groups::X25519MLKEM768,
    },
    NamedGroup {
        names: &["SecP256r1MLKEM768"],
        group: groups::SECP256R1MLKEM768,
    },
    NamedGroup {
        names: &["X25519"],
        group: groups::X25519,
    },
    NamedGroup {
        names: &["secp256r1", "prime256v1", "P-256"],
        group: groups::SECP256R1,
    },
    NamedGroup {
        names: &["secp384r1", "P-384"],
        group: groups::SECP384R1,
    },
];

impl NamedGroup {
    fn is_called(&self, name: &str) -> bool {
        self.names
            .iter()
            .any(|known| known.eq_ignore_ascii_case(name))
    }
}

/// The group called `name`.
pub(crate) fn find(name: &str) -> Result<&'static dyn SupportedKxGroup, TlsConfigError> {
    let found = GROUPS.iter().find(|group| group.is_called(name));
    found.map(|found| found.group).ok_or_else(|| unknown(name))
}

/// The name a negotiated group is configured by, e.g. `X25519MLKEM768`.
#[must_use]
pub fn group_name(group: &dyn SupportedKxGroup) -> &'static str {
    let known = GROUPS
        .iter()
        .find(|known| known.group.name() == group.name());
    known
        .and_then(|known| known.names.first())
        .copied()
        .unwrap_or("unknown")
}

fn unknown(name: &str) -> TlsConfigError {
    let known = GROUPS
        .iter()
        .flat_map(|group| group.names)
        .copied()
        .collect::<Vec<_>>();
    TlsConfigError::GroupUnknown {
        key: config_key::LISTENER_GROUPS,
        name: name.to_owned(),
        known: known.join(", "),
    }
}
