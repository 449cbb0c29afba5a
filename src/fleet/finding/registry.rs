//! The rules about what is registered: keys that hold no instance, instances that share an address.

use std::collections::BTreeMap;

use super::{Code, Finding, Severity};
use crate::kv::Key;
use crate::registry::{Poison, Service};

/// So many instances are named in one finding.
const NAMED: usize = 5;

/// The finding that a quarantined key is.
#[must_use]
pub fn of_poison(key: &Key, poison: &Poison) -> Finding {
    Finding {
        code: Code::PoisonRecord,
        severity: Severity::Warning,
        message: format!("{key} holds no instance: {}", poison.reason),
        next: format!("see it with: msctl keys '{key}'"),
    }
}

/// The instances of a service that name an address which another of its instances names too: one
/// process that is registered more than once, or a record whose process is gone and whose port is
/// another's now. Instances of different services may share a port, as one process serves both.
#[must_use]
pub fn shared_addresses(service: &Service) -> Vec<(Key, Finding)> {
    let mut holders: BTreeMap<&str, Vec<(&Key, &str)>> = BTreeMap::new();
    for instance in service.instances() {
        let mut own: Vec<&str> = instance
            .record
            .endpoints
            .iter()
            .map(|endpoint| &*endpoint.address)
            .collect();
        // gRPC and HTTP on one port are one address of one instance.
        own.sort_unstable();
        own.dedup();
        for address in own {
            holders
                .entry(address)
                .or_default()
                .push((&instance.key, instance.record.id.as_str()));
        }
    }
    let mut found = Vec::new();
    for (address, holders) in holders.into_iter().filter(|(_, all)| all.len() > 1) {
        for (at, (key, _)) in holders.iter().enumerate() {
            let others: Vec<&str> = holders
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != at)
                .map(|(_, (_, id))| *id)
                .take(NAMED)
                .collect();
            let more = match holders.len() - 1 - others.len() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let finding = Finding {
                code: Code::SharedAddress,
                severity: Severity::Warning,
                message: format!("{address} is registered by {}{more} too", others.join(", ")),
                next: "one process answers there: deregister the records that are not its own"
                    .into(),
            };
            found.push(((*key).clone(), finding));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::{Change, Entry, Prefix, Revision};
    use crate::registry::Registry;

    #[test]
    fn an_address_that_two_instances_name_is_found_at_both_and_two_protocols_are_no_two_addresses()
    {
        let mut registry = Registry::new(Prefix::new("/services/").unwrap());
        for (id, endpoints) in [
            ("a", r#"["grpc://h:1","http://h:1"]"#),
            ("b", r#"["grpc://h:1"]"#),
            ("c", r#"["grpc://h:2"]"#),
        ] {
            let value = format!(r#"{{"service":"user","id":"{id}","endpoints":{endpoints}}}"#);
            registry.apply(&Change::Put(Entry {
                key: format!("/services/user/{id}").as_str().into(),
                value: value.into_bytes().into(),
                create_revision: Revision(1),
                mod_revision: Revision(1),
                version: 1,
                lease: None,
            }));
        }
        let found = shared_addresses(registry.service("user").unwrap());
        let told: Vec<_> = found
            .iter()
            .map(|(key, finding)| (key.to_string(), finding.message.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                ("/services/user/a".to_owned(), "h:1 is registered by b too"),
                ("/services/user/b".to_owned(), "h:1 is registered by a too"),
            ]
        );
    }
}
