//! `config watch`: changes of config as one JSON document each. What stands there at first is told
//! as `present`.

use std::collections::BTreeMap;

use etcd::MirrorEvent;
use fleet::config::{ConfigKey, Scope};
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
        let mut mask = Mask::read(session, &[Scope::Global], self.reveal).await?;
        let (prefix, only) = match &self.what {
            None => (config.clone(), None),
            Some(text) if text.trim_end_matches('/').contains('/') => {
                let named = key(text)?;
                (named.scope.prefix(config), Some(named.to_key(config)))
            }
            Some(text) => (scope(text)?.prefix(config), None),
        };
        let wanted = |key: &Key| only.as_ref().is_none_or(|only| only == key);
        let schema = &session.prefixes().schema;
        let (_schemas, mut schemas) = session.follow(schema).await?;
        let (_mirror, mut events) = session.follow(&prefix).await?;
        let mut held: BTreeMap<Key, Json> = BTreeMap::new();
        let mut stale = false;
        loop {
            let (event, of_schemas) = tokio::select! {
                event = events.recv() => (event, false),
                event = schemas.recv() => (event, true),
            };
            let event = match (event, of_schemas) {
                (None, _) => return Err(Failure::failed("the watch ended by itself")),
                (Some(MirrorEvent::Listed { entries, .. }), true) => {
                    let put = entries.into_iter().map(Change::Put);
                    put.for_each(|put| mask.known.apply(schema, &put));
                    continue;
                }
                (Some(MirrorEvent::Changed { changes, .. }), true) => {
                    let changes = changes.iter();
                    changes.for_each(|change| mask.known.apply(schema, change));
                    continue;
                }
                (Some(_), true) => continue,
                (Some(event), false) => event,
            };
            match event {
                MirrorEvent::Listed { entries, .. } => {
                    for entry in entries.into_iter().filter(|entry| wanted(&entry.key)) {
                        let value = as_json(&mask.stored(session, &entry.key, &entry.value));
                        let mut told = told("present", config, &entry.key, entry.mod_revision.0);
                        told["value"] = value.clone();
                        held.insert(entry.key, value);
                        report.event(&told)?;
                    }
                }
                MirrorEvent::Changed { changes, .. } => {
                    for change in changes.iter().filter(|change| wanted(change.key())) {
                        report.event(&step(session, change, &mask, &mut held))?;
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
    }
}

fn step(session: &Session, change: &Change, mask: &Mask, held: &mut BTreeMap<Key, Json>) -> Json {
    let config = &session.prefixes().config;
    let revision = change.revision().0;
    match change {
        Change::Put(entry) => {
            let value = as_json(&mask.stored(session, &entry.key, &entry.value));
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
