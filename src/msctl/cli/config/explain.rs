//! `config explain`: every layer's value of a key, which one counts, since which change, and what
//! each instance says it runs.

use fleet::Revision;
use fleet::config::canary::Standing;
use fleet::config::diff::Secrets;
use fleet::config::explain::{Explanation, Rank, explain};
use fleet::config::secret::redact::redact_value;
use fleet::config::{ConfigKey, Origin, Scope, value};
use fleet::rollout::Rollout;
use serde_json::{Value as Json, json};

use super::{key, secrets};
use crate::change::reach::{Audience, Reach};
use crate::change::{history, schemas};
use crate::report::{Cell, Failure, Report, Table, Tone};
use crate::session::Session;

/// Show every layer's value of a key, which one counts and since when.
#[derive(Debug, clap::Args)]
pub(super) struct Explain {
    /// <service>/<dotted.key>
    key: String,
    /// Print secrets as they are
    #[arg(long)]
    reveal: bool,
}

impl Explain {
    pub(super) async fn run(&self, session: &Session, report: &mut Report) -> Result<(), Failure> {
        let named = key(&self.key)?;
        let Scope::Service(service) = &named.scope else {
            return Err(
                Failure::usage("a global key is one layer; name a service that reads it")
                    .next(format!("'msctl config explain SERVICE/{}'.", named.path())),
            );
        };
        let config = &session.prefixes().config;
        let mut entries = session.list(&named.scope.prefix(config)).await?.entries;
        entries.extend(session.list(&Scope::Global.prefix(config)).await?.entries);
        let known = schemas::read(session, std::slice::from_ref(&named.scope)).await?;
        let mut records = history::records(session, &named.scope).await?;
        records.extend(history::records(session, &Scope::Global).await?);
        let canary = entries
            .iter()
            .find_map(|entry| Standing::read(config, entry));
        let canary = super::canary::readable(canary, &named.scope, report);
        let schema = known.get(&named.scope);
        let found = explain(
            config,
            (service, named.path()),
            &entries,
            schema,
            canary.as_ref(),
            &records,
        )
        .map_err(|error| Failure::usage(error.to_string()))?;
        if found.says.is_empty() && found.unreadable.is_empty() {
            return Err(super::read::absent(session, &named).await?);
        }
        let mut found = found;
        if secrets(self.reveal) == Secrets::Masked {
            for says in &mut found.says {
                says.value = redact_value(&known, &named, &says.value);
            }
        }
        let reach = Reach::read(session).await?;
        let own = [named.clone()];
        let rollout = reach.rollout_of(session.prefixes(), &counting(&found, &named), &{
            let instances = reach.instances(&own, &Audience::Everyone);
            Audience::Only(
                instances
                    .map(|instance| instance.record.id.clone())
                    .collect(),
            )
        });
        let field = schema.and_then(|schema| schema.field(named.path()));
        if !report.is_table() {
            let mut document = document(&named, &found, &rollout);
            if let Some(field) = field {
                document["kind"] = json!(field.kind);
                document["description"] = json!(field.description);
            }
            return report.one(&document, |_, _| String::new());
        }
        let mut text = format!("{named}");
        if let Some(field) = field {
            for part in [Some(field.kind), field.description].into_iter().flatten() {
                if !part.is_empty() {
                    text.push_str(&format!("   {part}"));
                }
            }
        }
        report.text(&format!("{}\n", fleet::safe::escape(&text)))?;
        report.table(&table(&found))?;
        for (key, why) in &found.unreadable {
            report.warn(&format!("{key} cannot be read by any service: {why}"));
        }
        report.text(&format!("instances: {rollout}\n"))
    }
}

/// The changes that made what counts, each in its scope.
fn counting(found: &Explanation, named: &ConfigKey) -> Vec<(ConfigKey, Revision)> {
    let counting = found
        .says
        .iter()
        .filter(|says| says.standing != Rank::Hidden);
    let mut changes: Vec<_> = counting
        .filter_map(|says| match &says.origin {
            Origin::Service { revision } => Some((named.clone(), *revision)),
            Origin::Global { revision } => {
                let key = ConfigKey::new(Scope::Global, named.path()).ok()?;
                Some((key, *revision))
            }
            _ => None,
        })
        .collect();
    if changes.is_empty() {
        // Nothing of etcd's counts: everyone who reports runs it.
        changes.push((named.clone(), Revision::ZERO));
    }
    changes
}

fn rank(rank: Rank) -> &'static str {
    match rank {
        Rank::Counts => "counts",
        Rank::InPart => "counts in part",
        Rank::OnTrial => "on trial",
        Rank::Hidden => "hidden",
    }
}

fn table(found: &Explanation) -> Table {
    let mut table = Table::new(&["LAYER", "VALUE", "", "SINCE"]);
    for says in &found.says {
        let tone = match says.standing {
            Rank::Counts | Rank::InPart => Tone::Good,
            Rank::OnTrial => Tone::Warn,
            Rank::Hidden => Tone::Dim,
        };
        let since = match says.release.as_ref().map(|record| &record.release) {
            Some(Ok(release)) => {
                let time = release.time.strftime("%Y-%m-%d %H:%M:%SZ");
                format!("{time} {} {}", release.author, release.message)
            }
            Some(Err(_)) => "a damaged record".to_owned(),
            None => String::new(),
        };
        let from = if says.key == found.path {
            says.origin.to_string()
        } else {
            format!("{} by {}", says.origin, says.key)
        };
        table.push(vec![
            from.into(),
            Cell::new(value::one_line(&says.value), tone),
            Cell::new(rank(says.standing), tone),
            since.trim_end().to_owned().into(),
        ]);
    }
    table
}

fn document(named: &ConfigKey, found: &Explanation, rollout: &Rollout) -> Json {
    let layers: Vec<Json> = found
        .says
        .iter()
        .map(|says| {
            let release = says.release.as_ref().and_then(|record| {
                let release = record.release.as_ref().ok()?;
                Some(json!({"revision": record.revision.0, "author": release.author, "time": release.time, "message": release.message}))
            });
            json!({
                "origin": says.origin.to_string(),
                "key": says.key,
                "value": json!(says.value),
                "standing": rank(says.standing),
                "release": release,
            })
        })
        .collect();
    json!({
        "key": named.to_string(),
        "layers": layers,
        "unreadable": found.unreadable.iter().map(|(key, why)| json!({"key": key.to_string(), "error": why})).collect::<Vec<_>>(),
        "instances": rollout.instances,
    })
}
