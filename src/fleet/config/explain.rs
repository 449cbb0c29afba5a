//! Why a key has the value it has: what each layer says, which one counts, and since when.
//!
//! From outside a process only etcd's layers and the schema's default are known; the file, the
//! cache and the environment of an instance are its own, and nothing is claimed of them.

use serde_yaml::Value;

use super::canary::Standing;
use super::schema::Schema;
use super::value;
use super::{ConfigKey, ConfigKeyError, Layer, Layers, Origin, Scope};
use crate::kv::{Entry, Prefix, Revision};
use crate::release::Recorded;
use crate::safe::escape;
use crate::service::ServiceName;

/// What is known of one key from outside.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The service.
    pub service: ServiceName,
    /// The dotted path.
    pub path: String,
    /// What each layer says, the highest first.
    pub says: Vec<Says>,
    /// Values in etcd that no service can read: the key and why.
    pub unreadable: Vec<(ConfigKey, String)>,
}

/// What one layer says.
#[derive(Debug, Clone, PartialEq)]
pub struct Says {
    /// Which layer.
    pub layer: Layer,
    /// Its value.
    pub value: Value,
    /// Where it came from.
    pub origin: Origin,
    /// The key that gave it: another than the path where a mapping was taken apart.
    pub key: String,
    /// Whether it is what counts, as far as etcd knows.
    pub standing: Rank,
    /// The record of the change that wrote it, where there is one.
    pub release: Option<Recorded>,
}

/// Whether a layer's value counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rank {
    /// It does.
    Counts,
    /// It counts in part: a layer above gives some members of the mapping.
    InPart,
    /// It counts for the instances of the canary alone.
    OnTrial,
    /// A layer above hides it.
    Hidden,
}

/// The layers of a service that etcd and its schema know of.
#[must_use]
pub fn layers(
    config: &Prefix,
    service: &ServiceName,
    entries: &[Entry],
    schema: Option<&Schema>,
    canary: Option<&Standing>,
) -> (Layers, Vec<(ConfigKey, String)>) {
    let mut layers = Layers::new();
    let mut unreadable = Vec::new();
    for field in schema.map(Schema::fields).unwrap_or_default() {
        if let Some(default) = field.default {
            layers.put(Layer::Default, &field.path, default, Origin::Default);
        }
    }
    for entry in entries {
        let Ok(key) = ConfigKey::from_key(config, &entry.key) else {
            continue;
        };
        let revision = entry.mod_revision;
        let (layer, origin) = match &key.scope {
            Scope::Global => (Layer::Global, Origin::Global { revision }),
            Scope::Service(name) if name == service => {
                (Layer::Service, Origin::Service { revision })
            }
            Scope::Service(_) => continue,
        };
        match value::parse(&entry.value) {
            Ok(value) => layers.put(layer, key.path(), value, origin),
            Err(error) => unreadable.push((key, error.to_string())),
        }
    }
    if let Some(standing) = canary {
        standing
            .canary
            .lay_over(&mut layers, standing.entry.mod_revision);
    }
    (layers, unreadable)
}

/// Explains one path of a service. `history` are the records of the service and of `global`.
///
/// # Errors
/// [`ConfigKeyError`] when the path is none.
pub fn explain(
    config: &Prefix,
    (service, path): (&ServiceName, &str),
    entries: &[Entry],
    schema: Option<&Schema>,
    canary: Option<&Standing>,
    history: &[Recorded],
) -> Result<Explanation, ConfigKeyError> {
    super::check_path(path)?;
    let (layers, unreadable) = layers(config, service, entries, schema, canary);
    let mut usual = layers.clone();
    super::canary::lift(&mut usual);
    let counts = usual.effective().get(path);
    let says = layers
        .explain(path)
        .into_iter()
        .map(|(layer, found)| {
            let standing = match (&counts, layer) {
                (_, Layer::Canary) => Rank::OnTrial,
                (Some(counts), _)
                    if counts.origin == found.origin && counts.value == found.value =>
                {
                    Rank::Counts
                }
                (Some(counts), _) if shares(&counts.value, &found.value, &usual, path, layer) => {
                    Rank::InPart
                }
                _ => Rank::Hidden,
            };
            Says {
                layer,
                standing,
                release: release_of(&found.origin, history),
                key: escape(&found.key).into_owned(),
                value: found.value,
                origin: found.origin,
            }
        })
        .collect();
    let unreadable = unreadable
        .into_iter()
        .filter(|(key, _)| key.path() == path)
        .collect();
    Ok(Explanation {
        service: service.clone(),
        path: path.to_owned(),
        says,
        unreadable,
    })
}

/// The record of the change that wrote a value.
fn release_of(origin: &Origin, history: &[Recorded]) -> Option<Recorded> {
    let revision = revision(origin)?;
    let found = history
        .iter()
        .find(|recorded| recorded.revision == revision);
    found.cloned()
}

fn revision(origin: &Origin) -> Option<Revision> {
    match origin {
        Origin::Global { revision }
        | Origin::Service { revision }
        | Origin::Canary { revision } => Some(*revision),
        Origin::Default | Origin::File(_) | Origin::Cache { .. } | Origin::Environment(_) => None,
    }
}

/// Whether some leaf of a mapping comes from this layer.
fn shares(counts: &Value, found: &Value, layers: &Layers, path: &str, layer: Layer) -> bool {
    if !(counts.is_mapping() && found.is_mapping()) {
        return false;
    }
    let below = format!("{path}.");
    let alone = layers.alone(layer);
    let effective = layers.effective();
    alone.leaves().any(|(at, leaf)| {
        at.starts_with(&below)
            && effective
                .get(at)
                .is_some_and(|found| found.origin == leaf.origin)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::canary::{Canary, Trial, key_of};
    use crate::release::history;
    use crate::service::InstanceId;

    fn config() -> Prefix {
        Prefix::new("/config/").unwrap()
    }

    fn entry(key: &str, value: &str, revision: i64) -> Entry {
        Entry {
            key: key.into(),
            value: value.as_bytes().into(),
            create_revision: Revision(revision),
            mod_revision: Revision(revision),
            version: 1,
            lease: None,
        }
    }

    fn check(
        entries: &[(&str, &str, i64)],
        path: &str,
        canary: Option<&Standing>,
        wanted: &[&str],
    ) {
        let entries: Vec<_> = entries
            .iter()
            .map(|(key, value, at)| entry(&format!("/config/{key}"), value, *at))
            .collect();
        let schema = Schema::from_json(
            br#"{"properties": {"timeout": {"properties": {"write": {"default": "2s"}}}}}"#,
        )
        .unwrap();
        let record = r#"{"author":"lin","time":"2026-01-01T00:00:00Z","changes":[]}"#;
        let history = history([entry("/r/order/1", record, 9)]);
        let order = ServiceName::new("order").unwrap();
        let found = explain(
            &config(),
            (&order, path),
            &entries,
            Some(&schema),
            canary,
            &history,
        )
        .unwrap();
        let mut said: Vec<_> = found
            .says
            .iter()
            .map(|says| {
                let by = says.release.as_ref().map_or("", |_| " by lin");
                format!(
                    "{} {} {:?}{by}",
                    says.origin,
                    value::one_line(&says.value),
                    says.standing
                )
            })
            .collect();
        said.extend(
            found
                .unreadable
                .iter()
                .map(|(key, _)| format!("{key} unreadable")),
        );
        assert_eq!(said, wanted, "{entries:?}");
    }

    #[test]
    fn every_layer_says_its_value_and_one_counts() {
        check(
            &[
                ("order/timeout.write", "5s", 9),
                ("global/timeout.write", "3s", 4),
                ("user/timeout.write", "1s", 5),
            ],
            "timeout.write",
            None,
            &[
                "service r9 5s Counts by lin",
                "global r4 3s Hidden",
                "default 2s Hidden",
            ],
        );
        check(&[], "timeout.write", None, &["default 2s Counts"]);
        check(
            &[
                ("order/retry.n", "5", 9),
                ("global/retry", "{n: 1, b: 2}", 4),
            ],
            "retry",
            None,
            &[
                "service r9 {n: 5} InPart by lin",
                "global r4 {b: 2, n: 1} InPart",
            ],
        );
        check(
            &[("order/timeout.write", "{a: [", 9)],
            "timeout.write",
            None,
            &["default 2s Counts", "order/timeout.write unreadable"],
        );
    }

    #[test]
    fn a_canary_stands_beside_what_counts_for_the_others() {
        let canary = Canary {
            instances: vec![InstanceId::new("o-1").unwrap()],
            changes: [(
                "timeout.write".into(),
                Trial {
                    value: Some("9s".into()),
                    base: Some("5s".into()),
                    mod_revision: 4,
                },
            )]
            .into(),
            author: "lin".into(),
            time: jiff::Timestamp::UNIX_EPOCH,
            message: String::new(),
        };
        let order = ServiceName::new("order").unwrap();
        let mut at = entry("/x", "", 12);
        at.key = key_of(&config(), &order);
        let standing = Standing {
            service: order,
            entry: at,
            canary,
        };
        check(
            &[("order/timeout.write", "5s", 9)],
            "timeout.write",
            Some(&standing),
            &[
                "canary r12 9s OnTrial",
                "service r9 5s Counts by lin",
                "default 2s Hidden",
            ],
        );
    }
}
