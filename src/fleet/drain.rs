//! Draining by hand: an operator takes a registered instance out of the calls without touching its
//! process. Its record's weight becomes 0 and the weight before is kept beside it; balancers send
//! nothing to a weight of 0 while the service has another instance.
//!
//! The lease stays, and the process keeps the mark when it writes its record anew; a process that
//! is started again begins undrained.

use serde_json::{Map, Value};

use crate::kv::{Entry, Key};
use crate::plan::{Edit, Seen};
use crate::registry::Service;
use crate::service::{Format, Instance, InstanceRecord};

/// The entry of a record's metadata that keeps the weight from before.
pub const KEPT: &str = "drained.weight";

/// Which way an instance is turned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// No new calls.
    Out,
    /// Calls again, with the weight from before.
    Back,
}

/// Whether no new calls go to the instance of this record.
#[must_use]
pub fn is_drained(record: &InstanceRecord) -> bool {
    record.weight == 0
}

/// Whether an instance can be drained by its record.
///
/// # Errors
/// When the record is another framework's, whose clients know no drain by weight.
pub fn drainable(instance: &Instance) -> Result<(), Foreign> {
    match instance.format {
        Format::Native => Ok(()),
        format => Err(Foreign {
            instance: format!("{}/{}", instance.record.service, instance.record.id),
            format,
        }),
    }
}

/// A record of another framework.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{instance} is a record of {format}: its clients know no drain by weight")]
pub struct Foreign {
    /// `service/id`.
    pub instance: String,
    /// Whose record it is.
    pub format: Format,
}

/// Whether a service is left without an undrained instance when these leave: calls go to drained
/// ones all the same then.
#[must_use]
pub fn takes_the_last(service: &Service, leave: impl Fn(&Key) -> bool) -> bool {
    let mut all = service.instances();
    !all.any(|instance| !is_drained(&instance.record) && !leave(&instance.key))
}

/// The edit that turns the instance which an entry holds; it keeps the lease and everything that
/// is not understood. It changes nothing where the instance stands like that already.
///
/// # Errors
/// When the entry holds no record of the native layout, in one safe line.
pub fn edit(entry: &Entry, turn: Turn) -> Result<Edit, String> {
    let no_record = || "its value is no instance record".to_owned();
    let mut value: Value = serde_json::from_slice(&entry.value).map_err(|_| no_record())?;
    let record: InstanceRecord = serde_json::from_value(value.clone()).map_err(|_| no_record())?;
    let fields = value.as_object_mut().ok_or_else(no_record)?;
    let stands = Edit::put(
        entry.key.clone(),
        Seen::At(entry.clone()),
        entry.value.clone(),
    );
    match (turn, is_drained(&record)) {
        (Turn::Out, true) | (Turn::Back, false) => return Ok(stands),
        (Turn::Out, false) => {
            fields.insert("weight".into(), 0.into());
            let kept = record.weight.to_string();
            metadata(fields, |map| drop(map.insert(KEPT.into(), kept.into())));
        }
        (Turn::Back, true) => {
            fields.insert("weight".into(), before(&record).into());
            metadata(fields, |map| drop(map.remove(KEPT)));
        }
    }
    let bytes = serde_json::to_vec(&value).map_err(|error| error.to_string())?;
    Ok(Edit::put(entry.key.clone(), Seen::At(entry.clone()), bytes))
}

/// The record's metadata, made where there is none.
fn metadata(fields: &mut Map<String, Value>, change: impl FnOnce(&mut Map<String, Value>)) {
    let mut metadata = match fields.remove("metadata") {
        Some(Value::Object(metadata)) => metadata,
        _ => Map::new(),
    };
    change(&mut metadata);
    fields.insert("metadata".into(), Value::Object(metadata));
}

/// The weight from before; 100, as for any record that says nothing.
fn before(record: &InstanceRecord) -> u32 {
    let kept = record.metadata.get(KEPT).and_then(|text| text.parse().ok());
    kept.filter(|weight| *weight > 0).unwrap_or(100)
}

/// A process's own record as it is to be written while an operator has drained it.
#[must_use]
pub fn drained(own: &InstanceRecord) -> InstanceRecord {
    let mut record = own.clone();
    record.weight = 0;
    record.metadata.insert(KEPT.into(), own.weight.to_string());
    record
}

/// Whether a value is this process's own record, drained by an operator.
#[must_use]
pub fn is_own_drained(own: &InstanceRecord, value: &[u8]) -> bool {
    own.weight > 0
        && serde_json::from_slice::<InstanceRecord>(value).is_ok_and(|found| found == drained(own))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::{LeaseId, Revision};
    use crate::plan::{LeaseRule, Write};
    use crate::service::{InstanceId, ServiceName};

    fn entry(value: &[u8]) -> Entry {
        Entry {
            key: "/services/order/o-1".into(),
            value: value.into(),
            create_revision: Revision(1),
            mod_revision: Revision(3),
            version: 1,
            lease: LeaseId::new(7),
        }
    }

    fn written(edit: &Edit) -> Vec<u8> {
        match &edit.write {
            Write::Put { value, lease } => {
                assert_eq!(*lease, LeaseRule::Keep);
                value.to_vec()
            }
            Write::Delete => panic!("a drain deletes nothing"),
        }
    }

    #[test]
    fn a_drain_is_undone_to_the_weight_before_and_keeps_what_it_does_not_know() {
        let mut own = InstanceRecord::new(
            ServiceName::new("order").unwrap(),
            InstanceId::new("o-1").unwrap(),
        );
        own.weight = 30;
        let out = edit(&entry(&own.to_json().unwrap()), Turn::Out).unwrap();
        assert_eq!(out.seen.revision(), Revision(3));
        let value = written(&out);
        assert!(is_own_drained(&own, &value));
        assert!(!is_own_drained(&own, &own.to_json().unwrap()));
        let again = edit(&entry(&value), Turn::Out).unwrap();
        assert!(again.changes_nothing());
        let back = written(&edit(&entry(&value), Turn::Back).unwrap());
        assert_eq!(
            serde_json::from_slice::<InstanceRecord>(&back).unwrap(),
            own
        );

        let odd = br#"{"service":"order","id":"o-1","metadata":null,"note":[1]}"#;
        let out = written(&edit(&entry(odd), Turn::Out).unwrap());
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains(r#""note":[1]"#), "{text}");
        assert!(text.contains(r#""drained.weight":"100""#), "{text}");
    }

    #[test]
    fn what_holds_no_record_is_not_drained() {
        for value in [&b"nonsense"[..], b"[]", b"{\"service\":7}"] {
            assert!(edit(&entry(value), Turn::Out).is_err());
        }
    }

    #[test]
    fn a_weight_of_nothing_that_was_meant_so_is_put_back_to_the_usual_one() {
        let value = br#"{"service":"order","id":"o-1","weight":0}"#;
        let back = written(&edit(&entry(value), Turn::Back).unwrap());
        assert!(String::from_utf8(back).unwrap().contains("\"weight\":100"));
    }
}
