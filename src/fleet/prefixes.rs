//! Where a fleet keeps what: the prefixes of a context and the keys below them.

use crate::kv::{EmptyPrefix, Key, Prefix};
use crate::service::{InstanceId, ServiceName};

/// The prefixes of one context. Each ends in `/`, so that `/config` never takes `/config-old`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefixes {
    /// Registrations: `<service>/<instance-id>`.
    pub services: Prefix,
    /// Config: `<service>/<dotted.key>` and `global/<dotted.key>`.
    pub config: Prefix,
    /// Published schemas: `<service>`.
    pub schema: Prefix,
    /// What instances say of themselves: `<service>/<instance-id>`.
    pub status: Prefix,
    /// Release records: `<service>/<sortable id>`.
    pub releases: Prefix,
}

impl Prefixes {
    /// Prefixes from text; the trailing `/` is added where it is missing.
    ///
    /// # Errors
    /// [`EmptyPrefix`] when one of them is empty.
    pub fn new(
        services: &str,
        config: &str,
        schema: &str,
        status: &str,
        releases: &str,
    ) -> Result<Self, EmptyPrefix> {
        Ok(Self {
            services: directory(services)?,
            config: directory(config)?,
            schema: directory(schema)?,
            status: directory(status)?,
            releases: directory(releases)?,
        })
    }

    /// The key under which an instance registers.
    #[must_use]
    pub fn instance(&self, service: &ServiceName, id: &InstanceId) -> Key {
        self.services.join(&format!("{service}/{id}"))
    }

    /// The key under which an instance reports.
    #[must_use]
    pub fn instance_status(&self, service: &ServiceName, id: &InstanceId) -> Key {
        self.status.join(&format!("{service}/{id}"))
    }

    /// The service and instance that a status key belongs to.
    #[must_use]
    pub fn of_status(&self, key: &Key) -> Option<(ServiceName, InstanceId)> {
        let (service, id) = std::str::from_utf8(self.status.strip(key)?)
            .ok()?
            .split_once('/')?;
        Some((ServiceName::new(service).ok()?, InstanceId::new(id).ok()?))
    }
}

/// One prefix from text, ending in `/`.
///
/// # Errors
/// [`EmptyPrefix`] when there is none.
pub fn directory(text: &str) -> Result<Prefix, EmptyPrefix> {
    if text.is_empty() || text.ends_with('/') {
        Prefix::new(text)
    } else {
        Prefix::new(format!("{text}/"))
    }
}

impl Default for Prefixes {
    #[allow(clippy::expect_used, reason = "the texts are literals and not empty")]
    fn default() -> Self {
        Self::new(
            "/services/",
            "/config/",
            "/schema/",
            "/status/",
            "/msctl/releases/",
        )
        .expect("the default prefixes are not empty")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_a_directory() {
        assert_eq!(directory("/config").unwrap().to_string(), "/config/");
        assert_eq!(directory("config/").unwrap().to_string(), "config/");
        assert!(directory("").is_err());
    }

    #[test]
    fn a_status_key_is_made_and_read_alike() {
        let prefixes = Prefixes::default();
        let (service, id) = (
            ServiceName::new("order").unwrap(),
            InstanceId::new("o-1").unwrap(),
        );
        let key = prefixes.instance_status(&service, &id);
        assert_eq!(key.to_string(), "/status/order/o-1");
        assert_eq!(prefixes.of_status(&key), Some((service, id)));
        assert_eq!(prefixes.of_status(&"/status/order".into()), None);
    }
}
