//! What a change comes to, shown before it is made: which value each service runs then, where the
//! lines of the change alone do not say it, and how many instances it reaches.

use fleet::Revision;
use fleet::config::diff::Secrets;
use fleet::config::effect::Effect;
use fleet::config::secret::MASK;
use fleet::config::secret::redact::redact_value;
use fleet::config::value::one_line;
use fleet::config::{ConfigKey, Origin, Published, Scope};
use serde_json::{Value as Json, json};
use serde_yaml::Value;

use crate::change::effect::Foreseen;

/// What a change comes to, as far as its own lines do not say it.
pub(super) fn text(foreseen: &Foreseen, known: &Published, secrets: Secrets) -> String {
    let mut text = String::new();
    let shown = |effect: &Effect, value: &Value| one_line(&shown(effect, value, known, secrets));
    for effect in &foreseen.effects {
        let own = effect.key.scope != Scope::Global;
        let said = match (&effect.before, &effect.after) {
            (_, Some((value, origin))) if effect.is_hidden() => {
                let then = if effect.changes() {
                    "then runs"
                } else {
                    "keeps"
                };
                format!("{then} {} ({})", shown(effect, value), named(origin))
            }
            (Some(_), None) => "then has it in no layer of etcd".to_owned(),
            (Some((value, origin)), Some(_))
                if own && !matches!(origin, Origin::Service { .. }) =>
            {
                format!("runs {} ({origin}) until then", shown(effect, value))
            }
            _ => continue,
        };
        let key = if own {
            String::new()
        } else {
            format!("{}: ", effect.key)
        };
        text.push_str(&format!("    {key}{} {said}\n", effect.service));
    }
    text.push_str(&match foreseen.reached {
        0 => "  reaches no running instance\n".to_owned(),
        1 => "  reaches 1 instance\n".to_owned(),
        many => format!("  reaches {many} instances\n"),
    });
    text
}

/// The same as a document.
pub(super) fn document(foreseen: &Foreseen, known: &Published, secrets: Secrets) -> Json {
    let effects = foreseen.effects.iter().map(|effect| {
        let side = |side: &Option<(Value, Origin)>| {
            side.as_ref().map(|(value, origin)| {
                let value = shown(effect, value, known, secrets);
                let from = named(origin);
                json!({ "value": value, "from": from })
            })
        };
        json!({
            "service": effect.service,
            "key": effect.key.to_string(),
            "before": side(&effect.before),
            "after": side(&effect.after),
        })
    });
    effects.collect()
}

fn shown(effect: &Effect, value: &Value, known: &Published, secrets: Secrets) -> Value {
    let key = ConfigKey::new(Scope::Service(effect.service.clone()), effect.key.path());
    match (key, secrets) {
        (Ok(key), Secrets::Masked) if known.is_secret(&effect.key) || known.is_secret(&key) => {
            MASK.into()
        }
        (Ok(key), Secrets::Masked) => redact_value(known, &key, value),
        _ => value.clone(),
    }
}

/// Where a value comes from; what is still to be written has no revision.
fn named(origin: &Origin) -> String {
    match origin {
        Origin::Service {
            revision: Revision::ZERO,
        }
        | Origin::Global {
            revision: Revision::ZERO,
        } => "this change".to_owned(),
        origin => origin.to_string(),
    }
}
