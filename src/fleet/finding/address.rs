//! Which instances of a service name which address. Addresses that several name are found; what an
//! instance that comes or goes costs does not grow with how many there are.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::{Code, Finding, Severity};
use crate::kv::Key;
use crate::registry::Service;
use crate::service::Instance;

/// So many instances are named in one finding.
const NAMED: usize = 5;

/// The addresses of a service's instances, with who names them.
#[derive(Debug, Clone, Default)]
pub struct Addresses {
    holders: HashMap<Arc<str>, Holders>,
    /// Those that more than one instance names.
    shared: BTreeSet<Arc<str>>,
}

/// Nearly every address has one holder, and that costs no more than a pointer.
#[derive(Debug, Clone)]
enum Holders {
    One(Arc<Instance>),
    Several(BTreeMap<Key, Arc<Instance>>),
}

impl Addresses {
    /// Takes an instance in. One that is known by its key already is to be removed first.
    pub fn add(&mut self, instance: &Arc<Instance>) {
        for address in named(instance) {
            let Some(holders) = self.holders.get_mut(&address) else {
                let one = Holders::One(Arc::clone(instance));
                self.holders.insert(address, one);
                continue;
            };
            let own = (instance.key.clone(), Arc::clone(instance));
            match holders {
                Holders::One(other) => {
                    let other = (other.key.clone(), Arc::clone(other));
                    *holders = Holders::Several(BTreeMap::from([other, own]));
                    self.shared.insert(address);
                }
                Holders::Several(all) => drop(all.insert(own.0, own.1)),
            }
        }
    }

    /// Lets an instance go, as it was taken in.
    pub fn remove(&mut self, instance: &Instance) {
        for address in named(instance) {
            match self.holders.get_mut(&address) {
                Some(Holders::Several(all)) => {
                    all.remove(&instance.key);
                    if all.len() == 1
                        && let Some((_, one)) = all.pop_first()
                    {
                        self.shared.remove(&address);
                        self.holders.insert(address, Holders::One(one));
                    }
                }
                Some(Holders::One(one)) if one.key == instance.key => {
                    self.holders.remove(&address);
                }
                _ => {}
            }
        }
    }

    /// What is wrong with the addresses of an instance: one process that is registered more than
    /// once, or a record whose process is gone and whose port is another's now. Instances of
    /// different services may share a port, as one process serves both.
    #[must_use]
    pub fn findings(&self, instance: &Instance) -> Vec<Finding> {
        if self.shared.is_empty() {
            return Vec::new();
        }
        let several =
            named(instance)
                .into_iter()
                .filter_map(|address| match self.holders.get(&address)? {
                    Holders::Several(all) => Some(finding(&address, all, &instance.key)),
                    Holders::One(_) => None,
                });
        several.collect()
    }

    /// The instances that share an address with another; one that shares several comes as often.
    pub fn sharing(&self) -> impl Iterator<Item = &Arc<Instance>> {
        let several = self
            .shared
            .iter()
            .filter_map(|address| match self.holders.get(address)? {
                Holders::Several(all) => Some(all.values()),
                Holders::One(_) => None,
            });
        several.flatten()
    }
}

/// The findings of all instances of a service that name an address which another of them names too.
#[must_use]
pub fn shared_addresses(service: &Service) -> Vec<(Key, Finding)> {
    let mut addresses = Addresses::default();
    for instance in service.instances() {
        addresses.add(instance);
    }
    let mut found = Vec::new();
    for address in &addresses.shared {
        if let Some(Holders::Several(all)) = addresses.holders.get(address) {
            let each = all
                .keys()
                .map(|key| (key.clone(), finding(address, all, key)));
            found.extend(each);
        }
    }
    found
}

/// The addresses an instance names. gRPC and HTTP on one port are one address.
fn named(instance: &Instance) -> Vec<Arc<str>> {
    let endpoints = instance.record.endpoints.iter();
    let mut named: Vec<_> = endpoints.map(|one| Arc::clone(&one.address)).collect();
    named.sort_unstable();
    named.dedup();
    named
}

fn finding(address: &str, holders: &BTreeMap<Key, Arc<Instance>>, own: &Key) -> Finding {
    let others = holders.iter().filter(|(key, _)| *key != own);
    let others: Vec<&str> = others
        .take(NAMED)
        .map(|(_, other)| other.record.id.as_str())
        .collect();
    let more = match holders.len() - 1 - others.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Finding {
        code: Code::SharedAddress,
        severity: Severity::Warning,
        message: format!("{address} is registered by {}{more} too", others.join(", ")),
        next: "one process answers there: deregister the records that are not its own".into(),
    }
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

    fn of(id: &str, addresses: &[&str]) -> Arc<Instance> {
        let mut registry = Registry::new(Prefix::new("/services/").unwrap());
        let endpoints: Vec<String> = addresses
            .iter()
            .map(|at| format!("\"grpc://{at}\""))
            .collect();
        let endpoints = endpoints.join(",");
        let value = format!(r#"{{"service":"user","id":"{id}","endpoints":[{endpoints}]}}"#);
        let key: Key = format!("/services/user/{id}").as_str().into();
        registry.apply(&Change::Put(Entry {
            key: key.clone(),
            value: value.into_bytes().into(),
            create_revision: Revision(1),
            mod_revision: Revision(1),
            version: 1,
            lease: None,
        }));
        Arc::clone(registry.instance(&key).unwrap())
    }

    #[test]
    fn who_comes_and_goes_leaves_the_addresses_as_if_they_were_listed_anew() {
        let mut addresses = Addresses::default();
        let [a, b, c] = ["a", "b", "c"].map(|id| of(id, &["h:1"]));
        for instance in [&a, &b, &c] {
            addresses.add(instance);
        }
        let told = |addresses: &Addresses| -> Vec<String> {
            let all = addresses.sharing().flat_map(|one| addresses.findings(one));
            all.map(|finding| finding.message).collect()
        };
        let three = [
            "h:1 is registered by b, c too",
            "h:1 is registered by a, c too",
            "h:1 is registered by a, b too",
        ];
        assert_eq!(told(&addresses), three);
        // It moved: its record names another port now.
        addresses.remove(&b);
        addresses.add(&of("b", &["h:2"]));
        assert_eq!(told(&addresses).len(), 2);
        addresses.remove(&a);
        assert!(told(&addresses).is_empty());
        assert!(addresses.shared.is_empty());
        addresses.remove(&c);
        assert_eq!(addresses.holders.len(), 1);
    }

    #[test]
    fn of_many_holders_a_few_are_named() {
        let mut addresses = Addresses::default();
        for index in 0..9 {
            addresses.add(&of(&format!("i{index}"), &["h:1"]));
        }
        let first = of("i0", &["h:1"]);
        let found = addresses.findings(&first);
        let message = "h:1 is registered by i1, i2, i3, i4, i5 and 3 more too";
        assert_eq!(found[0].message, message);
    }
}
