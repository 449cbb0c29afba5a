//! The one place that says what of a stored value may be shown, for every face that shows one.
//!
//! A value is hidden whole where its key is a secret's, and member by member where a mapping holds
//! secrets. A text that cannot be read is hidden whole as soon as it names a secret: nobody can say
//! what in it is one. Canaries and release records are read for the values in them.

use std::borrow::Cow;

use serde_yaml::{Mapping, Value};

use super::{MASK, is_secret};
use crate::config::canary::{self, Canary};
use crate::config::value::{one_line, parse};
use crate::config::{ConfigKey, Published, Scope};
use crate::kv::Key;
use crate::prefixes::Prefixes;
use crate::release::Release;

mod written;

use written::as_written;

/// What stands behind the mask of a secret that another value has replaced.
const CHANGED: &str = "•••••• (changed)";

/// The value of a config key as it may be shown: itself, with its secrets masked, or the mask.
#[must_use]
pub fn redact<'v>(known: &Published, key: &ConfigKey, value: &'v [u8]) -> Cow<'v, [u8]> {
    redact_beside(known, key, value, None)
}

/// The same for a value that is shown beside the one before it: a secret member that differs is
/// told apart from one that stays.
#[must_use]
pub fn redact_beside<'v>(
    known: &Published,
    key: &ConfigKey,
    value: &'v [u8],
    before: Option<&[u8]>,
) -> Cow<'v, [u8]> {
    if known.is_secret(key) {
        return Cow::Borrowed(MASK.as_bytes());
    }
    let Ok(parsed) = parse(value) else {
        return unread(value);
    };
    let before = before.and_then(|before| parse(before).ok());
    let Some(shown) = masked(known, &key.scope, key.path(), &parsed, before.as_ref()) else {
        return Cow::Borrowed(value);
    };
    let text = std::str::from_utf8(value).ok();
    match text.and_then(|text| as_written(text, &parsed, &shown)) {
        Some(written) => Cow::Owned(written.into_bytes()),
        None if value.contains(&b'\n') => Cow::Owned(
            serde_yaml::to_string(&shown)
                .unwrap_or_default()
                .into_bytes(),
        ),
        None => Cow::Owned(one_line(&shown).into_bytes()),
    }
}

/// A value that was read already, as it may be shown at a path of a scope.
#[must_use]
pub fn redact_value(known: &Published, key: &ConfigKey, value: &Value) -> Value {
    if known.is_secret(key) {
        return MASK.into();
    }
    masked(known, &key.scope, key.path(), value, None).unwrap_or_else(|| value.clone())
}

/// Whether a value is a secret, or holds one.
#[must_use]
pub fn holds_secret(known: &Published, key: &ConfigKey, value: &[u8]) -> bool {
    known.is_secret(key)
        || match parse(value) {
            Ok(parsed) => holds(known, &key.scope, key.path(), &parsed),
            Err(_) => names_secret(value),
        }
}

/// The value of any key of the store as it may be shown.
#[must_use]
pub fn redact_stored<'v>(
    known: &Published,
    prefixes: &Prefixes,
    key: &Key,
    value: &'v [u8],
) -> Cow<'v, [u8]> {
    if let Ok(named) = ConfigKey::from_key(&prefixes.config, key) {
        return redact(known, &named, value);
    }
    if let Some(service) = canary::service_of(&prefixes.config, key) {
        let scope = Scope::Service(service);
        return match Canary::from_json(value) {
            Ok(canary) => match redact_canary(known, &scope, canary) {
                Some(shown) => json_of(&shown),
                None => Cow::Borrowed(value),
            },
            Err(_) => Cow::Borrowed(MASK.as_bytes()),
        };
    }
    if prefixes.releases.contains(key) {
        return match serde_json::from_slice::<Release>(value) {
            Ok(release) => match redact_release(known, release) {
                Some(shown) => json_of(&shown),
                None => Cow::Borrowed(value),
            },
            Err(_) => unread(value),
        };
    }
    // Whoever keeps it there: a name tells all the same.
    let name = key.to_string();
    match name.rsplit('/').next().is_some_and(is_secret) {
        true => Cow::Borrowed(MASK.as_bytes()),
        false if prefixes.config.contains(key) => unread(value),
        false => Cow::Borrowed(value),
    }
}

fn json_of<'v>(shown: &impl serde::Serialize) -> Cow<'v, [u8]> {
    Cow::Owned(serde_json::to_vec(shown).unwrap_or_default())
}

/// `None` where it may be shown as it is.
fn redact_canary(known: &Published, scope: &Scope, mut canary: Canary) -> Option<Canary> {
    let mut hidden = false;
    for (path, trial) in &mut canary.changes {
        let key = ConfigKey::new(scope.clone(), path);
        for side in [&mut trial.value, &mut trial.base].into_iter().flatten() {
            hidden |= hide(known, key.as_ref().ok(), side);
        }
    }
    hidden.then_some(canary)
}

fn redact_release(known: &Published, mut release: Release) -> Option<Release> {
    let mut hidden = false;
    for changed in &mut release.changes {
        let key = ConfigKey::parse(&changed.key);
        let sides = [&mut changed.before, &mut changed.after];
        for side in sides.into_iter().flatten() {
            hidden |= hide(known, key.as_ref().ok(), side);
        }
    }
    hidden.then_some(release)
}

fn hide(known: &Published, key: Option<&ConfigKey>, side: &mut String) -> bool {
    let shown = match key {
        Some(key) => redact(known, key, side.as_bytes()),
        None => unread(side.as_bytes()),
    };
    let shown = String::from_utf8_lossy(&shown).into_owned();
    let hidden = shown != *side;
    *side = shown;
    hidden
}

/// A text that says nothing of what its parts are.
fn unread(value: &[u8]) -> Cow<'_, [u8]> {
    if names_secret(value) {
        Cow::Borrowed(MASK.as_bytes())
    } else {
        Cow::Borrowed(value)
    }
}

fn names_secret(value: &[u8]) -> bool {
    let text = String::from_utf8_lossy(value);
    text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-')))
        .any(is_secret)
}

fn member_path(path: &str, name: &Value) -> String {
    format!("{path}.{}", name.as_str().unwrap_or_default())
}

fn secret_at(known: &Published, scope: &Scope, path: &str) -> bool {
    is_secret(path) || ConfigKey::new(scope.clone(), path).is_ok_and(|key| known.is_secret(&key))
}

/// Whether a value has secret members.
fn holds(known: &Published, scope: &Scope, path: &str, value: &Value) -> bool {
    match value {
        Value::Mapping(members) => members.iter().any(|(name, member)| {
            let path = member_path(path, name);
            secret_at(known, scope, &path) || holds(known, scope, &path, member)
        }),
        Value::Sequence(items) => items.iter().any(|item| holds(known, scope, path, item)),
        Value::Tagged(tagged) => holds(known, scope, path, &tagged.value),
        _ => false,
    }
}

/// The value with its secret members masked; `None` where it has none.
fn masked(
    known: &Published,
    scope: &Scope,
    path: &str,
    value: &Value,
    before: Option<&Value>,
) -> Option<Value> {
    match value {
        Value::Mapping(members) => {
            let mut shown: Option<Mapping> = None;
            for (name, member) in members {
                let path = member_path(path, name);
                let was = before.and_then(|before| before.get(name));
                let instead = if secret_at(known, scope, &path) {
                    let mask = match was {
                        Some(was) if was != member => CHANGED,
                        _ => MASK,
                    };
                    Some(mask.into())
                } else {
                    masked(known, scope, &path, member, was)
                };
                if let Some(instead) = instead {
                    let shown = shown.get_or_insert_with(|| members.clone());
                    shown.insert(name.clone(), instead);
                }
            }
            shown.map(Value::Mapping)
        }
        Value::Sequence(items) => {
            let shown: Vec<_> = items
                .iter()
                .enumerate()
                .map(|(at, item)| {
                    let was = before.and_then(|before| before.get(at));
                    masked(known, scope, path, item, was)
                })
                .collect();
            let any = shown.iter().any(Option::is_some);
            let items = items.iter().zip(shown);
            any.then(|| {
                let item =
                    |(item, shown): (&Value, Option<Value>)| shown.unwrap_or_else(|| item.clone());
                Value::Sequence(items.map(item).collect())
            })
        }
        Value::Tagged(tagged) => masked(known, scope, path, &tagged.value, before),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::Prefix;
    use proptest::prelude::*;

    const SCHEMA: &str = r#"{"properties": {"pin": {"x-secret": true}, "card": {"properties": {"pin": {"x-secret": true}}}}}"#;

    fn prefixes() -> Prefixes {
        Prefixes::new("/services", "/config", "/schema", "/status", "/releases").unwrap()
    }

    fn known() -> Published {
        let mut known = Published::default();
        let prefix = Prefix::new("/schema/").unwrap();
        known.learn(&prefix, &prefix.join("order"), SCHEMA.as_bytes());
        known
    }

    fn shown(key: &str, value: &str) -> String {
        let shown =
            redact_stored(&known(), &prefixes(), &key.into(), value.as_bytes()).into_owned();
        String::from_utf8(shown).unwrap()
    }

    #[test]
    fn secrets_are_masked_wherever_they_stand() {
        for (key, value, wanted) in [
            ("/config/order/a", "5s # fast", "5s # fast"),
            ("/config/order/db.password", "x", MASK),
            ("/config/order/pin", "1234", MASK),
            ("/config/global/pin", "1234", MASK),
            ("/config/user/pin", "1234", "1234"),
            (
                "/config/order/db",
                "{host: h, password: x}",
                "{host: h, password: ••••••}",
            ),
            (
                "/config/order/db",
                "host: h # x\npassword: x\n",
                "host: h\npassword: ••••••\n",
            ),
            (
                "/config/order/users",
                "[{name: a, token: x}, b]",
                "[{name: a, token: ••••••}, b]",
            ),
            (
                "/config/order/a",
                "{b: {c: {api_key: x}}}",
                "{b: {c: {api_key: ••••••}}}",
            ),
            // Nobody can say what in it is a secret.
            ("/config/order/db", "{password: x", MASK),
            ("/config/order/db", "{host: x", "{host: x"),
            ("/config/order/a b/password", "x", MASK),
            ("/other/password", "x", MASK),
            ("/other/name", "password: x", "password: x"),
            ("/config/order/@canary", "{", MASK),
        ] {
            assert_eq!(shown(key, value), wanted, "{key} {value}");
        }
    }

    #[test]
    fn the_values_in_canaries_and_records_are_masked_too() {
        let canary = r#"{"instances":["o-1"],"changes":{"a":{"value":"1","mod_revision":3},"pin":{"value":"1234","base":"99","mod_revision":3},"db":{"value":"{password: x}","mod_revision":0}},"author":"lin","time":"2026-01-01T00:00:00Z"}"#;
        let text = shown("/config/order/@canary", canary);
        assert_eq!(text.matches(MASK).count(), 3, "{text}");
        assert!(
            !text.contains("1234") && !text.contains("99") && !text.contains("x}"),
            "{text}"
        );
        // Written before the schema said that it is a secret.
        let record = r#"{"author":"lin","time":"2026-01-01T00:00:00Z","changes":[{"key":"order/pin","before":"1234","after":null,"mod_revision":3},{"key":"order/a","before":null,"after":"1","mod_revision":0}]}"#;
        let text = shown("/releases/order/1", record);
        assert!(
            text.contains(MASK) && !text.contains("1234") && text.contains("\"1\""),
            "{text}"
        );
        let open = record.replace("pin", "nip");
        assert_eq!(shown("/releases/order/1", &open), open);
    }

    #[test]
    fn a_secret_member_that_changes_is_told_from_one_that_stays() {
        let key = ConfigKey::parse("order/db").unwrap();
        let before: &[u8] = b"{host: a, password: x, token: t}";
        let after = redact_beside(
            &known(),
            &key,
            b"{host: b, password: y, token: t}",
            Some(before),
        );
        assert_eq!(
            String::from_utf8_lossy(&after),
            "{host: b, password: •••••• (changed), token: ••••••}"
        );
    }

    proptest! {
        #[test]
        fn no_secret_gets_through(
            parts in prop::collection::vec(prop_oneof![Just("a"), Just("password"), Just("list"), Just("pin")], 1..5),
            listed in any::<bool>(),
        ) {
            let mut value = Value::from("hunter2");
            for part in parts.iter().rev().take(parts.len() - 1) {
                let mut members = serde_yaml::Mapping::new();
                members.insert((*part).into(), value);
                value = members.into();
                if listed {
                    value = Value::Sequence(vec![value]);
                }
            }
            let key = format!("/config/order/{}", parts[0]);
            let secret = parts.contains(&"password") || parts[0] == "pin";
            for text in [serde_yaml::to_string(&value).unwrap(), one_line(&value)] {
                prop_assert_eq!(!shown(&key, &text).contains("hunter2"), secret, "{} {}", key, text);
                let named = ConfigKey::parse(key.trim_start_matches("/config/")).unwrap();
                prop_assert_eq!(holds_secret(&known(), &named, text.as_bytes()), secret);
            }
        }
    }
}
