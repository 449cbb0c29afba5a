//! `msctl events`: the live journal of the fleet: registrations, config, releases, as they happen.

use std::collections::BTreeMap;

use etcd::MirrorEvent;
use fleet::config::secret::redact::redact_stored;
use fleet::config::{ConfigKey, Published, value};
use fleet::{Change, Entry, Instance, Key, Prefixes, Registry, Revision};
use serde_json::{Value as Json, json};

use crate::change::schemas;
use crate::report::{Failure, Report, Tone};
use crate::session::Session;

/// Follow what happens in the fleet.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  msctl events                               lines for people
  msctl events -o ndjson                     one JSON document each
What stands there when it starts is not told; 'services' and 'config list' show it.")]
pub struct Events {}

/// The prefixes that are followed, with what is needed to say what changed.
struct Journal {
    registry: Registry,
    prefixes: Prefixes,
    values: BTreeMap<Key, Entry>,
    /// What the services say of their config: which values are secrets.
    published: Published,
}

impl Events {
    /// Follows until the reader goes away or the process is interrupted.
    ///
    /// # Errors
    /// When etcd cannot be reached to begin with.
    pub async fn run(&self, session: &Session, report: &mut Report) -> Result<(), Failure> {
        let prefixes = session.prefixes();
        let mut journal = Journal {
            registry: Registry::new(prefixes.services.clone()),
            prefixes: prefixes.clone(),
            values: BTreeMap::new(),
            published: schemas::read_all(session).await?,
        };
        let (_schemas, mut schemas) = session.follow(&prefixes.schema).await?;
        let (_services, mut services) = session.follow(&prefixes.services).await?;
        let (_config, mut config) = session.follow(&prefixes.config).await?;
        report.note("following; ctrl-c ends it");
        let mut stale = false;
        loop {
            let event = tokio::select! {
                event = services.recv() => event,
                event = config.recv() => event,
                event = schemas.recv() => event,
            };
            match event {
                None => return Err(Failure::failed("the watch ended by itself")),
                Some(MirrorEvent::Listed { entries, .. }) => {
                    for entry in entries {
                        journal.take(&Change::Put(entry));
                    }
                }
                Some(MirrorEvent::Changed { changes, .. }) => {
                    for change in changes {
                        if let Some(told) = journal.take(&change) {
                            print(&told, report)?;
                        }
                    }
                }
                Some(MirrorEvent::Stale { cause }) if !stale => {
                    stale = true;
                    let told =
                        json!({ "time": now(), "event": "stale", "what": "etcd", "detail": cause });
                    print(&told, report)?;
                }
                Some(MirrorEvent::Fresh { revision }) if stale => {
                    stale = false;
                    let told = json!({
                        "time": now(), "event": "fresh", "what": "etcd", "revision": revision.0,
                    });
                    print(&told, report)?;
                }
                Some(MirrorEvent::Stale { .. } | MirrorEvent::Fresh { .. }) => {}
            }
        }
    }
}

fn now() -> String {
    jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%S%.3fZ")
        .to_string()
}

impl Journal {
    fn take(&mut self, change: &Change) -> Option<Json> {
        let key = change.key();
        if self.prefixes.schema.contains(key) {
            self.published.apply(&self.prefixes.schema, change);
            None
        } else if self.prefixes.config.contains(key) {
            self.configured(change)
        } else {
            self.registered(change)
        }
    }

    fn registered(&mut self, change: &Change) -> Option<Json> {
        let key = change.key().clone();
        let before = self.registry.instance(&key).cloned();
        self.registry.apply(change);
        let now = self.registry.instance(&key).cloned();
        let revision = change.revision();
        let (event, instance) = match (&before, &now) {
            (None, Some(now)) => ("registered", now),
            (Some(before), Some(now)) if before.record == now.record => return None,
            (Some(_), Some(now)) => ("updated", now),
            (Some(before), None) => ("deregistered", before),
            (None, None) => {
                let told = told("unreadable", &key.to_string(), "", revision);
                return matches!(change, Change::Put(_)).then_some(told);
            }
        };
        let name = format!("{}/{}", instance.record.service, instance.record.id);
        Some(told(event, &name, &summary(instance), revision))
    }

    fn configured(&mut self, change: &Change) -> Option<Json> {
        let key = change.key();
        let name = ConfigKey::from_key(&self.prefixes.config, key);
        let (published, prefixes) = (&self.published, &self.prefixes);
        let shown = |entry: Option<&Entry>| match entry {
            None => "∅".to_owned(),
            Some(entry) => {
                let text = redact_stored(published, prefixes, &entry.key, &entry.value);
                match value::parse(&text) {
                    Ok(parsed) => value::one_line(&parsed),
                    Err(_) => fleet::safe::escape_bytes(&text).into_owned(),
                }
            }
        };
        let (event, before, after) = match change {
            Change::Put(entry) => {
                let before = self.values.insert(key.clone(), entry.clone());
                ("set", shown(before.as_ref()), shown(Some(entry)))
            }
            Change::Delete { .. } => {
                let before = self.values.remove(key);
                ("unset", shown(before.as_ref()), shown(None))
            }
        };
        let name = name.map_or_else(|_| key.to_string(), |key| key.to_string());
        Some(told(
            event,
            &name,
            &format!("{before} → {after}"),
            change.revision(),
        ))
    }
}

fn summary(instance: &Instance) -> String {
    let endpoints: Vec<String> = instance
        .record
        .endpoints
        .iter()
        .map(ToString::to_string)
        .collect();
    format!("{} {}", instance.record.version, endpoints.join(" "))
        .trim()
        .to_owned()
}

fn told(event: &str, what: &str, detail: &str, revision: Revision) -> Json {
    json!({
        "time": now(), "event": event, "what": what, "detail": detail, "revision": revision.0,
    })
}

fn print(told: &Json, report: &mut Report) -> Result<(), Failure> {
    if !report.is_table() {
        return report.event(told);
    }
    let text = |name: &str| told[name].as_str().unwrap_or("").to_owned();
    let palette = report.palette();
    let event = text("event");
    let tone = match event.as_str() {
        "registered" | "fresh" => Tone::Good,
        "deregistered" | "stale" | "unreadable" => Tone::Bad,
        _ => Tone::Warn,
    };
    let time = text("time");
    let revision = told["revision"]
        .as_i64()
        .map_or_else(String::new, |r| format!("r{r}"));
    let line = format!(
        "{}  {:<7} {}  {}  {}\n",
        palette.paint(time.get(11..23).unwrap_or(&time), Tone::Dim),
        revision,
        palette.paint(&format!("{event:<12}"), tone),
        palette.paint(&fleet::safe::escape(&text("what")), Tone::Strong),
        fleet::safe::escape(&text("detail")),
    );
    report.text(&line)
}
