//! A desired tree against what stands in the store: what has to be added, changed and, only where
//! it was asked for, deleted. Applying the same tree again finds nothing to do.

use std::collections::{BTreeMap, BTreeSet};

use serde_yaml::Value;

use super::conflict::written;
use super::tree::{Leaf, Tree, TreeError, text_of};
use super::value::{self, ValueError};
use super::{ConfigKey, Layer, Layers, Origin, Scope, flatten};
use crate::kv::{Entry, Prefix};
use crate::plan::{Edit, MAX_BYTES, MAX_EDITS, Plan, PlanError, Seen};

/// What becomes of keys that the tree does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Prune {
    /// They stay.
    #[default]
    Keep,
    /// They go, in the scopes the tree speaks of.
    Delete,
}

/// What a tree asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// Guarded edits, in the order of the keys.
    pub edits: Vec<Edit>,
    /// How many keys stand as the tree wants them.
    pub unchanged: usize,
    /// Keys in the scopes of the tree that it does not have, and that stay.
    pub left: Vec<ConfigKey>,
}

/// Compares a tree with all that stands under the config prefix.
///
/// # Errors
/// [`TreeError::Value`] names the key whose value cannot be written.
pub fn difference(
    tree: &Tree,
    config: &Prefix,
    entries: &[Entry],
    prune: Prune,
) -> Result<Difference, TreeError> {
    let standing: BTreeMap<ConfigKey, &Entry> = entries
        .iter()
        .filter_map(|entry| Some((ConfigKey::from_key(config, &entry.key).ok()?, entry)))
        .collect();
    let mut found = Difference::default();
    let mut wanted = BTreeSet::new();
    for scope in &tree.scopes {
        let own: BTreeMap<&str, &Entry> = standing
            .iter()
            .filter(|(key, _)| key.scope == *scope)
            .map(|(key, entry)| (key.path(), *entry))
            .collect();
        let meant = |leaf: &Leaf| !matches!(leaf, Leaf::Text(_) | Leaf::Masked);
        let effective = tree
            .leaves
            .iter()
            .any(|(key, leaf)| key.scope == *scope && meant(leaf))
            .then(|| effective(&own));
        let mut want = |key: &ConfigKey, leaf: &Leaf| -> Result<(), TreeError> {
            let entry = standing.get(key).copied();
            let there = effective.as_ref().and_then(|all| all.get(key.path()));
            let there = there.map(|found| found.value);
            if entry.is_some() {
                wanted.insert(key.clone());
            }
            if stands(leaf, entry, there.as_ref()) {
                found.unchanged += 1;
                return Ok(());
            }
            let value = bytes_of(key, leaf)?;
            let seen = Seen::from(entry.cloned());
            found.edits.push(Edit::put(key.to_key(config), seen, value));
            Ok(())
        };
        for (key, leaf) in tree.leaves.iter().filter(|(key, _)| key.scope == *scope) {
            match taken_apart(key, leaf, &own, tree) {
                None => want(key, leaf)?,
                Some(parts) => {
                    for (key, leaf) in &parts {
                        want(key, leaf)?;
                    }
                }
            }
        }
    }
    for (key, entry) in &standing {
        if wanted.contains(key) || !tree.scopes.contains(&key.scope) {
            continue;
        }
        match prune {
            Prune::Keep => found.left.push(key.clone()),
            Prune::Delete => {
                let seen = Seen::At((*entry).clone());
                found.edits.push(Edit::delete(entry.key.clone(), seen));
            }
        }
    }
    found.edits.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(found)
}

/// Splits edits into plans that can be sent, each with room for its records: one where that is
/// enough, else service by service. Each plan is all or nothing; the whole is not.
///
/// # Errors
/// [`PlanError::TooLarge`] when one edit alone is too much.
pub fn batches(config: &Prefix, edits: Vec<Edit>) -> Result<Vec<Plan>, PlanError> {
    let scope_of = |edit: &Edit| {
        ConfigKey::from_key(config, &edit.key)
            .map(|key| key.scope)
            .ok()
    };
    // One operation is each record's, one is left for a record that goes.
    let scopes: BTreeSet<_> = edits.iter().map(scope_of).collect();
    let bytes: usize = edits.iter().map(with_record).sum();
    if edits.len() + scopes.len() <= MAX_EDITS && bytes <= MAX_BYTES {
        let plan = Plan::new(edits)?;
        return Ok(if plan.is_empty() { vec![] } else { vec![plan] });
    }
    let most = MAX_EDITS - 1;
    let mut plans = Vec::new();
    let mut batch: Vec<Edit> = Vec::new();
    let (mut bytes, mut scope): (usize, Option<Scope>) = (0, None);
    for edit in edits {
        let (weight, whose) = (with_record(&edit), scope_of(&edit));
        let full = batch.len() >= most || bytes + weight > MAX_BYTES || whose != scope;
        if full && !batch.is_empty() {
            plans.push(Plan::new(std::mem::take(&mut batch))?);
            bytes = 0;
        }
        bytes += weight;
        scope = whose;
        batch.push(edit);
    }
    if !batch.is_empty() {
        plans.push(Plan::new(batch)?);
    }
    plans.retain(|plan| !plan.is_empty());
    Ok(plans)
}

/// The bytes of an edit and of its place in the record.
fn with_record(edit: &Edit) -> usize {
    let kept = |value: Option<&[u8]>| {
        // Quotes and line ends are escaped in the record.
        value.map_or(0, |value| value.len().min(crate::release::MAX_VALUE) * 2)
    };
    let after = written(&edit.write).map(|value| &**value);
    edit.bytes() + kept(edit.seen.value()) + kept(after) + edit.key.as_bytes().len() + 128
}

fn effective(own: &BTreeMap<&str, &Entry>) -> super::Effective {
    let mut layers = Layers::new();
    for (path, entry) in own {
        if let Ok(value) = value::parse(&entry.value) {
            layers.put(Layer::Service, path, value, Origin::Default);
        }
    }
    layers.effective()
}

/// A mapping for a path below which the store has longer keys would be hidden by them: its members
/// are meant. `None` where it is meant as it is.
fn taken_apart(
    key: &ConfigKey,
    leaf: &Leaf,
    own: &BTreeMap<&str, &Entry>,
    tree: &Tree,
) -> Option<Vec<(ConfigKey, Leaf)>> {
    let below = format!("{}.", key.path());
    let hidden = own
        .range(below.as_str()..)
        .next()
        .is_some_and(|(path, _)| path.starts_with(&below));
    // In a tree that names the longer keys itself, the mapping is meant as it is.
    let named_too = || {
        let mut others = tree.leaves.keys().filter(|other| other.scope == key.scope);
        others.any(|other| other.path().starts_with(&below))
    };
    if !hidden || own.contains_key(key.path()) || named_too() {
        return None;
    }
    let value = match leaf {
        Leaf::Text(text) => text.value().ok().cloned(),
        Leaf::Meaning(value) => Some(value.clone()),
        Leaf::Bytes(_) | Leaf::Masked => None,
    };
    let Some(value @ Value::Mapping(_)) = value else {
        return None;
    };
    let mut leaves = Vec::new();
    flatten(key.path(), &value, &mut leaves);
    leaves
        .into_iter()
        .map(|(path, value)| {
            let key = ConfigKey::new(key.scope.clone(), &path).ok()?;
            Some((key, Leaf::Meaning(value)))
        })
        .collect()
}

fn stands(leaf: &Leaf, entry: Option<&Entry>, effective: Option<&Value>) -> bool {
    match leaf {
        Leaf::Masked => true,
        Leaf::Text(text) => entry.is_some_and(|entry| *entry.value == *text.text().as_bytes()),
        Leaf::Bytes(bytes) => entry.is_some_and(|entry| *entry.value == **bytes),
        Leaf::Meaning(value) => match entry {
            Some(entry) => value::parse(&entry.value).is_ok_and(|found| found == *value),
            None => effective == Some(value),
        },
    }
}

fn bytes_of(key: &ConfigKey, leaf: &Leaf) -> Result<Vec<u8>, TreeError> {
    let refuse = |source: ValueError| TreeError::Value {
        key: key.clone(),
        source,
    };
    let text = match leaf {
        Leaf::Text(text) => {
            text.value().map_err(|error| refuse(error.clone()))?;
            return Ok(text.text().into());
        }
        Leaf::Meaning(value) => text_of(value),
        Leaf::Bytes(_) => return Err(refuse(ValueError::NotText)),
        Leaf::Masked => String::new(),
    };
    value::parse(text.as_bytes()).map_err(refuse)?;
    Ok(text.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::diff::Secrets;
    use crate::config::import::{Notation, read_scope};
    use crate::config::secret::is_secret;
    use crate::config::tree::{export, from_yaml};
    use crate::kv::Revision;
    use proptest::prelude::*;

    fn config() -> Prefix {
        Prefix::new("/config/").unwrap()
    }

    fn entries(values: &[(&str, &str)]) -> Vec<Entry> {
        values
            .iter()
            .map(|(key, value)| Entry {
                key: format!("/config/{key}").into(),
                value: value.as_bytes().into(),
                create_revision: Revision(1),
                mod_revision: Revision(4),
                version: 1,
                lease: None,
            })
            .collect()
    }

    fn shown(found: &Difference) -> Vec<String> {
        found
            .edits
            .iter()
            .map(|edit| {
                let key = ConfigKey::from_key(&config(), &edit.key).unwrap();
                match written(&edit.write) {
                    Some(value) => format!("{key}={}", String::from_utf8_lossy(value)),
                    None => format!("{key}-"),
                }
            })
            .collect()
    }

    fn check(store: &[(&str, &str)], tree: &str, prune: Prune, wanted: &[&str]) {
        let tree = from_yaml(tree).unwrap();
        let found = difference(&tree, &config(), &entries(store), prune).unwrap();
        assert_eq!(shown(&found), wanted, "{tree:?}");
    }

    #[test]
    fn a_tree_adds_and_changes_and_deletes_only_when_asked() {
        let store = [("order/a", "1"), ("order/b", "2 # why"), ("user/x", "1")];
        let tree = "order:\n  a: 1\n  c: 3\n";
        check(&store, tree, Prune::Keep, &["order/c=3"]);
        check(&store, tree, Prune::Delete, &["order/b-", "order/c=3"]);
        check(
            &store,
            "order:\n  b: 2 # other\n",
            Prune::Keep,
            &["order/b=2 # other"],
        );
        check(&store, "order: {b: 2}", Prune::Keep, &[]);
        check(&store, "user:\n", Prune::Delete, &["user/x-"]);
        check(&store, "", Prune::Delete, &[]);
        let found = difference(
            &from_yaml(tree).unwrap(),
            &config(),
            &entries(&store),
            Prune::Keep,
        );
        let left: Vec<_> = found
            .unwrap()
            .left
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(left, ["order/b"]);
    }

    #[test]
    fn a_mapping_does_not_hide_behind_longer_keys() {
        let store = [("order/timeout.write", "2s"), ("order/timeout.read", "1s")];
        let nested = "order:\n  timeout:\n    write: 5s\n    read: 1s\n";
        check(&store, nested, Prune::Delete, &["order/timeout.write=5s"]);
        check(
            &[],
            nested,
            Prune::Keep,
            &["order/timeout=write: 5s\nread: 1s\n"],
        );
    }

    #[test]
    fn what_a_mapping_says_already_is_not_said_again() {
        let store = entries(&[("order/retry", "{attempts: 3, backoff: 100ms} # tuned")]);
        let scope = Scope::parse("order").unwrap();
        let read = |text| read_scope(Notation::Json, text, &scope, []).unwrap();
        let found = |text| difference(&read(text), &config(), &store, Prune::Keep).unwrap();
        assert_eq!(found(r#"{"retry": {"attempts": 3}}"#).edits, []);
        assert_eq!(
            shown(&found(r#"{"retry": {"attempts": 5}}"#)),
            ["order/retry.attempts=5"]
        );
    }

    #[test]
    fn masked_secrets_stay_and_binary_values_are_not_written() {
        let store = [("order/db.password", "hunter2")];
        check(
            &store,
            "order:\n  db.password: !masked\n",
            Prune::Delete,
            &[],
        );
        let tree = from_yaml("order:\n  a: !binary \"/w==\"\n").unwrap();
        let error = difference(&tree, &config(), &[], Prune::Keep).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("order/a: the value is not UTF-8"),
            "{error}"
        );
    }

    #[test]
    fn many_edits_become_plans_that_can_be_sent() {
        let tree: String = (0..300).map(|i| format!("  k{i}: 1\n")).collect();
        let tree = from_yaml(&format!("order:\n{tree}user:\n  a: 1\n")).unwrap();
        let edits = difference(&tree, &config(), &[], Prune::Keep)
            .unwrap()
            .edits;
        let sizes: Vec<_> = batches(&config(), edits)
            .unwrap()
            .iter()
            .map(|plan| plan.edits().len())
            .collect();
        assert_eq!(sizes, [126, 126, 48, 1]);
        let large = "x".repeat(700_000);
        let edits = ["a", "b", "c"].map(|key| {
            Edit::put(
                format!("/config/order/{key}").into(),
                Seen::Absent,
                large.as_bytes(),
            )
        });
        assert_eq!(batches(&config(), edits.to_vec()).unwrap().len(), 2);
        let huge = Edit::put("/config/order/a".into(), Seen::Absent, vec![b'x'; 2 << 20]);
        assert!(batches(&config(), vec![huge]).is_err());
    }

    proptest! {
        #[test]
        fn what_was_exported_is_applied_already(
            values in prop::collection::btree_map("(order|user|global)/[a-c](\\.[a-c]){0,2}", "[ \\na-c:#\\-{}\\[\\],0-9]{0,16}", 0..8),
        ) {
            let values: Vec<_> = values.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            let entries = entries(&values);
            let text = export(&config(), &entries, Secrets::Revealed, |key, _| is_secret(key.path())).text;
            let tree = from_yaml(&text).unwrap();
            let found = difference(&tree, &config(), &entries, Prune::Delete).unwrap();
            prop_assert_eq!(shown(&found), Vec::<String>::new());
        }

        #[test]
        fn applying_twice_changes_nothing_the_second_time(
            store in prop::collection::btree_map("(order|user)/[a-c](\\.[a-c]){0,2}", "[0-3]|\\{a: 1, b: \\{c: 2\\}\\}", 0..6),
            tree in prop::collection::btree_map("[a-c](\\.[a-c]){0,2}", "[0-3]|\\{a: 1, b: \\{c: 2\\}\\}", 0..6),
            prune in prop_oneof![Just(Prune::Keep), Just(Prune::Delete)],
        ) {
            let mut store = store;
            let text: String = tree.iter().map(|(path, value)| format!("  {path}: {value}\n")).collect();
            let tree = from_yaml(&format!("order:\n{text}")).unwrap();
            for round in 0..2 {
                let values: Vec<_> = store.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
                let found = difference(&tree, &config(), &entries(&values), prune).unwrap();
                prop_assert!(round == 0 || found.edits.is_empty(), "{:?}", shown(&found));
                for edit in &found.edits {
                    let key = ConfigKey::from_key(&config(), &edit.key).unwrap().to_string();
                    match written(&edit.write) {
                        Some(value) => drop(store.insert(key, String::from_utf8_lossy(value).into_owned())),
                        None => drop(store.remove(&key)),
                    }
                }
            }
        }
    }
}
