//! `config watch`: changes of config as one JSON document each. What stands there at first is told
//! as `present`.

use std::collections::BTreeMap;

use etcd::MirrorEvent;
use fleet::config::{ConfigKey, Scope, secret};
use fleet::{Change, Key};
use serde_json::{Value as Json, json};

use super::{Mask, as_json, key, scope};
use crate::report::{Failure, Report};
use crate::session::Session;

/// Follow changes, one JSON document each.
#[derive(Debug, clap::Args)]
pub(super) struct Watch {
    /// A service, global, or one key; everything when absent
    what: Option<String>,
    /// Print secrets as they are
    #[arg(long)]
    reveal: bool,
}

impl Watch {
    pub(super) async fn run(&self, session: &Session, report: &mut Report) -> Result<(), Failure> {
        let config = &session.prefixes().config;
        let mask = Mask::read(session, &[Scope::Global], self.reveal).await?;
        let (prefix, only) = match &self.what {
            None => (config.clone(), None),
            Some(text) if text.trim_end_matches('/').contains('/') => {
                let named = key(text)?;
                (named.scope.prefix(config), Some(named.to_key(config)))
            }
            Some(text) => (scope(text)?.prefix(config), None),
        };
        let wanted = |key: &Key| only.as_ref().is_none_or(|only| only == key);
        let (_mirror, mut events) = session.follow(&prefix).await?;
        let mut held: BTreeMap<Key, Json> = BTreeMap::new();
        let mut stale = false;
        while let Some(event) = events.recv().await {
            match event {
                MirrorEvent::Listed { entries, .. } => {
                    for entry in entries.into_iter().filter(|entry| wanted(&entry.key)) {
                        let value = self::value(config, &entry.key, &entry.value, &mask);
                        let mut told = told("present", config, &entry.key, entry.mod_revision.0);
                        told["value"] = value.clone();
                        held.insert(entry.key, value);
                        report.event(&told)?;
                    }
                }
                MirrorEvent::Changed { changes, .. } => {
                    for change in changes.iter().filter(|change| wanted(change.key())) {
                        report.event(&step(config, change, &mask, &mut held))?;
                    }
                }
                MirrorEvent::Stale { cause } if !stale => {
                    stale = true;
                    report.event(&json!({ "change": "stale", "cause": cause }))?;
                }
                MirrorEvent::Fresh { revision } if stale => {
                    stale = false;
                    report.event(&json!({ "change": "fresh", "revision": revision.0 }))?;
                }
                MirrorEvent::Stale { .. } | MirrorEvent::Fresh { .. } => {}
            }
        }
        Err(Failure::failed("the watch ended by itself"))
    }
}

fn step(
    config: &fleet::Prefix,
    change: &Change,
    mask: &Mask,
    held: &mut BTreeMap<Key, Json>,
) -> Json {
    let revision = change.revision().0;
    match change {
        Change::Put(entry) => {
            let value = value(config, &entry.key, &entry.value, mask);
            let mut told = told("set", config, &entry.key, revision);
            told["before"] = held
                .insert(entry.key.clone(), value.clone())
                .unwrap_or(Json::Null);
            told["value"] = value;
            told
        }
        Change::Delete { key, .. } => {
            let mut told = told("unset", config, key, revision);
            told["before"] = held.remove(key).unwrap_or(Json::Null);
            told
        }
    }
}

fn told(change: &str, config: &fleet::Prefix, key: &Key, revision: i64) -> Json {
    let name =
        ConfigKey::from_key(config, key).map_or_else(|_| key.to_string(), |key| key.to_string());
    json!({ "change": change, "revision": revision, "key": name })
}

fn value(config: &fleet::Prefix, key: &Key, value: &[u8], mask: &Mask) -> Json {
    if mask.hides_raw(config, key) {
        json!(secret::MASK)
    } else {
        as_json(value)
    }
}
