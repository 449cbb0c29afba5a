//! The native format: `/services/<service>/<instance-id>` holds an [`InstanceRecord`] as JSON.
//! Key and value must name the same instance.

use crate::kv::{Entry, Prefix};
use crate::safe::escape;
use crate::service::{Format, Instance, InstanceRecord, check_name};

/// A record of this size names no endpoint list a process would write; reading on would let one
/// key fill the memory of every watcher.
const MAX_RECORD: usize = 256 * 1024;

/// Reads one entry, or says in one safe line why it holds no instance.
pub(super) fn read(prefix: &Prefix, entry: &Entry) -> Result<Instance, String> {
    let rest = prefix
        .strip(&entry.key)
        .ok_or("the key lies outside the prefix")?;
    let rest = std::str::from_utf8(rest).map_err(|_| "the key is not UTF-8")?;
    let (service, id) = rest
        .split_once('/')
        .ok_or("the key is not <service>/<instance-id>")?;
    check_name(service).map_err(|e| format!("service in the key: {e}"))?;
    check_name(id).map_err(|e| format!("instance in the key: {e}"))?;
    if entry.value.len() > MAX_RECORD {
        return Err(format!(
            "the value has {} bytes, at most {MAX_RECORD} are read",
            entry.value.len()
        ));
    }
    let record: InstanceRecord = serde_json::from_slice(&entry.value)
        .map_err(|e| escape(&format!("the value is not an instance record: {e}")).into_owned())?;
    if record.service.as_str() != service {
        return Err(format!(
            "the key says service {service}, the value says {}",
            record.service
        ));
    }
    if record.id.as_str() != id {
        return Err(format!(
            "the key says instance {id}, the value says {}",
            record.id
        ));
    }
    Ok(Instance {
        record,
        key: entry.key.clone(),
        lease: entry.lease,
        mod_revision: entry.mod_revision,
        create_revision: entry.create_revision,
        format: Format::Native,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::Revision;

    #[test]
    fn each_fault_of_a_record_has_its_reason() {
        let large = format!(
            r#"{{"service":"a","id":"b","version":"{}"}}"#,
            "x".repeat(MAX_RECORD)
        );
        for (key, value, reason) in [
            ("/services/a/b", r#"{"service":"a","id":"b"}"#, None),
            (
                "/services/a/b",
                r#"{"service":"a","id":"b","metadata":null,"unknown":1}"#,
                None,
            ),
            (
                "/services/a",
                "{}",
                Some("the key is not <service>/<instance-id>"),
            ),
            (
                "/services/a/",
                "{}",
                Some("instance in the key: the name is empty"),
            ),
            ("/services/-/b", "{}", Some("service in the key")),
            ("/services/a/b/c", "{}", Some("instance in the key")),
            (
                "/services/a/b",
                "",
                Some("the value is not an instance record"),
            ),
            (
                "/services/a/b",
                r#"{"service":"a"}"#,
                Some("missing field `id`"),
            ),
            (
                "/services/a/b",
                r#"{"service":"a","id":7}"#,
                Some("invalid type"),
            ),
            (
                "/services/a/b",
                r#"{"service":"c","id":"b"}"#,
                Some("the key says service a, the value says c"),
            ),
            (
                "/services/a/b",
                r#"{"service":"a","id":"c"}"#,
                Some("the key says instance b, the value says c"),
            ),
            (
                "/services/a/b",
                r#"{"service":"a","id":"b","endpoints":["h:1"]}"#,
                Some("it has no scheme"),
            ),
            ("/services/a/b", large.as_str(), Some("at most")),
        ] {
            let entry = Entry {
                key: key.into(),
                value: value.as_bytes().into(),
                create_revision: Revision(1),
                mod_revision: Revision(1),
                version: 1,
                lease: None,
            };
            let read = read(&Prefix::new("/services/").unwrap(), &entry);
            match (reason, read) {
                (None, Ok(_)) => {}
                (Some(reason), Err(found)) => assert!(found.contains(reason), "{key} {found}"),
                (wanted, found) => panic!("{key} {value}: wanted {wanted:?}, found {found:?}"),
            }
        }
    }
}
