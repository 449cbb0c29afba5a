//! What edits come to for the services that read the keys: the value each runs before and after,
//! over all layers that etcd knows. A set that its own key hides changes nothing; an unset shows
//! what stood below.
//!
//! As with [`super::explain`], the file and the environment of an instance are its own.

use std::collections::BTreeSet;

use serde_yaml::Value;

use super::conflict::written;
use super::explain::layers;
use super::{ConfigKey, Origin, Published, Resolved, Scope};
use crate::kv::{Entry, Key, Prefix, Revision};
use crate::plan::Edit;
use crate::service::ServiceName;

/// What an edit of one key comes to for one service.
#[derive(Debug, Clone, PartialEq)]
pub struct Effect {
    /// The service.
    pub service: ServiceName,
    /// The key that is edited; of the service or global.
    pub key: ConfigKey,
    /// What the service runs now, and from where; `None` where no layer has it.
    pub before: Option<(Value, Origin)>,
    /// What it runs then. What the edit writes stands at revision 0: there is none yet.
    pub after: Option<(Value, Origin)>,
}

impl Effect {
    /// Whether the service runs another value then.
    #[must_use]
    pub fn changes(&self) -> bool {
        let value = |side: &Option<(Value, Origin)>| side.as_ref().map(|(value, _)| value.clone());
        value(&self.before) != value(&self.after)
    }

    /// Whether what is written is hidden by another layer: the edit is of no use to this service.
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        let own = |origin: &Origin| match self.key.scope {
            Scope::Global => matches!(origin, Origin::Global { .. }),
            Scope::Service(_) => matches!(origin, Origin::Service { .. }),
        };
        self.after.as_ref().is_some_and(|(_, origin)| !own(origin))
    }
}

/// What edits come to, for each service that reads one of the keys, in the order of the edits.
/// `entries` are those of `global` and of the services; other entries do no harm.
pub fn effects<'s>(
    config: &Prefix,
    known: &Published,
    entries: &[Entry],
    edits: &[(ConfigKey, &Edit)],
    services: impl IntoIterator<Item = &'s ServiceName>,
) -> Vec<Effect> {
    let touched: BTreeSet<&Key> = edits.iter().map(|(_, edit)| &edit.key).collect();
    let stand = |side: &dyn Fn(&Edit) -> Option<Entry>| {
        let others = entries.iter().filter(|e| !touched.contains(&e.key));
        let mut all: Vec<Entry> = others.cloned().collect();
        all.extend(edits.iter().filter_map(|(_, edit)| side(edit)));
        all
    };
    let entry = |edit: &Edit, value: &[u8], revision: Revision| Entry {
        key: edit.key.clone(),
        value: value.into(),
        create_revision: revision,
        mod_revision: revision,
        version: 1,
        lease: None,
    };
    let before = stand(&|edit| {
        let value = edit.seen.value()?;
        Some(entry(edit, value, edit.seen.revision()))
    });
    let after = stand(&|edit| Some(entry(edit, written(&edit.write)?, Revision::ZERO)));
    let mut found = Vec::new();
    for service in services {
        let own = Scope::Service(service.clone());
        let reads = |key: &&(ConfigKey, &Edit)| key.0.scope == Scope::Global || key.0.scope == own;
        let mut read = edits.iter().filter(reads).peekable();
        if read.peek().is_none() {
            continue;
        }
        let of = |entries| {
            layers(config, service, entries, known.get(&own), None)
                .0
                .effective()
        };
        let (before, after) = (of(&before), of(&after));
        let side = |found: Option<Resolved>| found.map(|found| (found.value, found.origin));
        found.extend(read.map(|(key, _)| Effect {
            service: service.clone(),
            before: side(before.get(key.path())),
            after: side(after.get(key.path())),
            key: key.clone(),
        }));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::one_line;
    use crate::plan::Seen;

    fn check(stand: &[(&str, &str)], edits: &[(&str, Option<&str>)], wanted: &[&str]) {
        let config = Prefix::new("/config/").unwrap();
        let schema = Prefix::new("/schema/").unwrap();
        let mut known = Published::default();
        let text = br#"{"properties": {"timeout": {"default": "1s"}}}"#;
        known.learn(&schema, &schema.join("order"), text);
        let entries: Vec<_> = stand
            .iter()
            .map(|(key, value)| Entry {
                key: ConfigKey::parse(key).unwrap().to_key(&config),
                value: value.as_bytes().into(),
                create_revision: Revision(4),
                mod_revision: Revision(4),
                version: 1,
                lease: None,
            })
            .collect();
        let edits: Vec<_> = edits
            .iter()
            .map(|(key, value)| {
                let key = ConfigKey::parse(key).unwrap();
                let at = key.to_key(&config);
                let seen = Seen::from(entries.iter().find(|entry| entry.key == at).cloned());
                let edit = match value {
                    Some(value) => Edit::put(at, seen, value.as_bytes()),
                    None => Edit::delete(at, seen),
                };
                (key, edit)
            })
            .collect();
        let edits: Vec<_> = edits
            .iter()
            .map(|(key, edit)| (key.clone(), edit))
            .collect();
        let services = ["order", "user"].map(|name| ServiceName::new(name).unwrap());
        let found = effects(&config, &known, &entries, &edits, &services);
        let said: Vec<_> = found
            .iter()
            .map(|effect| {
                let side = |side: &Option<(Value, Origin)>| {
                    side.as_ref().map_or("-".to_owned(), |(value, origin)| {
                        format!("{} ({origin})", one_line(value))
                    })
                };
                let note = match (effect.changes(), effect.is_hidden()) {
                    (true, _) => "changes",
                    (false, true) => "hidden",
                    (false, false) => "stays",
                };
                let (before, after) = (side(&effect.before), side(&effect.after));
                format!("{}: {before} → {after} {note}", effect.service)
            })
            .collect();
        assert_eq!(said, wanted, "{stand:?} {edits:?}");
    }

    #[test]
    fn an_edit_comes_to_what_each_service_runs_then() {
        let both = [("global/timeout", "3s"), ("order/timeout", "5s")];
        check(
            &both,
            &[("global/timeout", Some("4s"))],
            &[
                "order: 5s (service r4) → 5s (service r4) hidden",
                "user: 3s (global r4) → 4s (global r0) changes",
            ],
        );
        check(
            &both,
            &[("order/timeout", None)],
            &["order: 5s (service r4) → 3s (global r4) changes"],
        );
        check(
            &both,
            &[("order/timeout", None), ("global/timeout", None)],
            &[
                "order: 5s (service r4) → 1s (default) changes",
                "order: 5s (service r4) → 1s (default) changes",
                "user: 3s (global r4) → - changes",
            ],
        );
        check(
            &[],
            &[("order/timeout", Some("1s"))],
            &["order: 1s (default) → 1s (service r0) stays"],
        );
        check(
            &[("global/retry", "{n: 1, b: 2}")],
            &[("user/retry.n", Some("7"))],
            &["user: 1 (global r4) → 7 (service r0) changes"],
        );
    }
}
