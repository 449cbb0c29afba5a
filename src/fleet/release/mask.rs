//! Records that were written before a schema said that a value is a secret: what they hold of it is
//! masked afterwards, in the transaction of the next change, as far as it has room.
//!
//! Only the values of secrets change: order, author and what a newer msctl wrote stay. etcd's own
//! history keeps the old text until it is compacted.

use serde_json::Value as Json;

use super::Release;
use crate::config::secret::redact::redact;
use crate::config::{ConfigKey, Published};
use crate::kv::Entry;
use crate::plan::{Edit, Seen};

/// The most bytes that one change spends on other records.
pub const MAX_BYTES: usize = 256 * 1024;

/// The records that hold secrets by what is known now, rewritten without them. Damaged ones stay.
#[must_use]
pub fn masked(records: &[Entry], known: &Published) -> Vec<Edit> {
    let edits = records.iter().filter_map(|record| {
        let value = without_secrets(&record.value, known)?;
        Some(Edit::put(
            record.key.clone(),
            Seen::At(record.clone()),
            value,
        ))
    });
    edits.collect()
}

/// `None` where the record holds no secret, or is none.
fn without_secrets(record: &[u8], known: &Published) -> Option<Vec<u8>> {
    let release: Release = serde_json::from_slice(record).ok()?;
    let mut document: Json = serde_json::from_slice(record).ok()?;
    let changes = document.get_mut("changes")?.as_array_mut()?;
    let mut found = false;
    for (changed, document) in release.changes.iter().zip(changes) {
        let Ok(key) = ConfigKey::parse(&changed.key) else {
            continue;
        };
        let sides = [("before", &changed.before), ("after", &changed.after)];
        for (name, side) in sides {
            let Some(text) = side.as_ref().filter(|_| !changed.withheld) else {
                continue;
            };
            let shown = redact(known, &key, text.as_bytes());
            if *shown != *text.as_bytes() {
                document[name] = String::from_utf8_lossy(&shown).into();
                document["secret"] = true.into();
                found = true;
            }
        }
    }
    found.then(|| serde_json::to_vec(&document).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::{Prefix, Revision};

    fn known() -> Published {
        let mut known = Published::default();
        let prefix = Prefix::new("/schema/").unwrap();
        let schema = br#"{"properties": {"pin": {"x-secret": true}}}"#;
        known.learn(&prefix, &prefix.join("order"), schema);
        known
    }

    fn check(changes: &str, wanted: Option<&str>) {
        let record = |changes: &str| {
            format!(
                r#"{{"author":"lin","changes":[{changes}],"later":{{"a":1}},"time":"2026-01-01T00:00:00Z"}}"#
            )
        };
        let entry = Entry {
            key: "/msctl/releases/order/1".into(),
            value: record(changes).as_bytes().into(),
            create_revision: Revision(3),
            mod_revision: Revision(3),
            version: 1,
            lease: None,
        };
        let edits = masked(std::slice::from_ref(&entry), &known());
        let read = |bytes: &[u8]| serde_json::from_slice::<Json>(bytes).unwrap();
        let found: Vec<_> = edits
            .iter()
            .map(|edit| {
                assert_eq!(edit.seen, Seen::At(entry.clone()));
                let value = crate::config::conflict::written(&edit.write).unwrap();
                read(value)
            })
            .collect();
        let wanted: Vec<_> = wanted
            .map(|changes| read(record(changes).as_bytes()))
            .into_iter()
            .collect();
        assert_eq!(found, wanted, "{changes}");
    }

    #[test]
    fn what_became_a_secret_is_masked_and_the_rest_stays() {
        check(
            r#"{"key":"order/pin","before":"1234","after":null,"mod_revision":3,"newer":7},{"key":"order/a","before":null,"after":"1","mod_revision":0}"#,
            Some(
                r#"{"key":"order/pin","before":"••••••","after":null,"mod_revision":3,"newer":7,"secret":true},{"key":"order/a","before":null,"after":"1","mod_revision":0}"#,
            ),
        );
        check(
            r#"{"key":"order/card","before":null,"after":"{pin: 1, a: 2}","mod_revision":0}"#,
            None,
        );
        check(
            r#"{"key":"order/db","before":null,"after":"{password: x, a: 2}","mod_revision":0}"#,
            Some(
                r#"{"key":"order/db","before":null,"after":"{password: ••••••, a: 2}","mod_revision":0,"secret":true}"#,
            ),
        );
        for stays in [
            r#"{"key":"order/pin","before":"••••••","after":null,"mod_revision":3,"secret":true}"#,
            r#"{"key":"order/pin","before":"(20000 bytes, kept by etcd alone)","after":null,"mod_revision":3,"withheld":true}"#,
            r#"{"key":"user/pin","before":"1234","after":null,"mod_revision":3}"#,
            r#"{"key":"no key","before":"1234","after":null,"mod_revision":3}"#,
            r#"{"key":7}"#,
        ] {
            check(stays, None);
        }
    }
}
