//! Keys that are understood and not served yet. Where one would change what happens it is refused, so that nobody
//! believes in a setting that does nothing. Serving a key means deleting its entry here.

use toml::de::{DeTable, DeValue};

use super::fault::{Collector, join};
use super::value;

/// A key and the values of it that are served. `*` stands for any name.
struct NotYet {
    key: &'static str,
    served: Served,
}

enum Served {
    /// No value.
    Nothing,
    /// These values only.
    Words(&'static [&'static str]),
    /// An address on loopback.
    Loopback,
}

const NOT_YET: [NotYet; 12] = [
    NotYet { key: "link.*.initial", served: Served::Words(&["none", "data"]) },
    NotYet { key: "link.*.start_at", served: Served::Nothing },
    NotYet { key: "link.*.admin.listen", served: Served::Loopback },
    NotYet { key: "link.*.admin.token_file", served: Served::Nothing },
    NotYet { key: "link.*.admin.tls_cert", served: Served::Nothing },
    NotYet { key: "link.*.admin.tls_key", served: Served::Nothing },
    NotYet { key: "link.*.admin.tls_ca", served: Served::Nothing },
    NotYet { key: "region.*.relay.admin.listen", served: Served::Loopback },
    NotYet { key: "region.*.relay.admin.token_file", served: Served::Nothing },
    NotYet { key: "region.*.relay.admin.tls_cert", served: Served::Nothing },
    NotYet { key: "region.*.relay.admin.tls_key", served: Served::Nothing },
    NotYet { key: "region.*.relay.admin.tls_ca", served: Served::Nothing },
];

/// Faults what the file asks for and this build does not do.
pub(super) fn refuse(tree: &DeTable<'_>, faults: &Collector) {
    for entry in &NOT_YET {
        let steps: Vec<&str> = entry.key.split('.').collect();
        visit(tree, "", &steps, &mut |path, value| {
            if entry.served.has(value) {
                return;
            }
            // A value that is wrong in itself was faulted before; the collector keeps one fault a key.
            let served = entry.served.describe();
            faults.fault(path, format!("not supported yet: {}{served}", shown(value)));
        });
    }
}

/// Calls `found` for every key that fits the steps.
fn visit(table: &DeTable<'_>, path: &str, steps: &[&str], found: &mut dyn FnMut(&str, &DeValue<'_>)) {
    let Some((step, rest)) = steps.split_first() else { return };
    for (key, value) in table {
        if *step != "*" && key.get_ref() != step {
            continue;
        }
        let path = join(path, key.get_ref());
        match (rest.is_empty(), value.get_ref()) {
            (true, value) => found(&path, value),
            (false, DeValue::Table(inner)) => visit(inner, &path, rest, found),
            (false, _) => {}
        }
    }
}

impl Served {
    fn has(&self, value: &DeValue<'_>) -> bool {
        match self {
            Self::Nothing => false,
            Self::Words(words) => words.contains(&shown(value).as_str()),
            Self::Loopback => {
                value.as_str().is_some_and(|v| value::listen(v).is_ok_and(|l| value::is_loopback(&l)))
            }
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Nothing => "; leave it out".into(),
            Self::Words(words) => format!("; only {} are", words.join(" and ")),
            Self::Loopback => "; only loopback is".into(),
        }
    }
}

/// A value as an error shows it; tables and lists by their kind.
fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(integer) => integer.to_string(),
        DeValue::Boolean(flag) => flag.to_string(),
        other => format!("this {}", other.type_str()),
    }
}
