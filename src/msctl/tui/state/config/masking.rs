//! What may be shown of a value, by the word of a schema or by the name of its key: also where the
//! value stands inside a canary's record, and before any schema is known.

use fleet::config::canary::{self, Canary};
use fleet::config::diff::Secrets;
use fleet::config::secret::{MASK, Sensitivity, is_secret};
use fleet::config::{ConfigKey, Scope};
use fleet::{Key, ServiceName};

use super::ConfigPage;

impl ConfigPage {
    /// Whether a key's value is masked unless the user asks for it.
    pub fn sensitivity(&self, key: &ConfigKey) -> Sensitivity {
        self.schemas.sensitivity(key)
    }

    /// Whether a key's value stays masked now.
    pub fn hides(&self, key: &ConfigKey) -> bool {
        self.secrets() == Secrets::Masked && self.sensitivity(key) == Sensitivity::Secret
    }

    /// Whether secrets show.
    pub fn secrets(&self) -> Secrets {
        if self.revealed {
            Secrets::Revealed
        } else {
            Secrets::Masked
        }
    }

    /// What stands in place of the value of a raw key; `None` where it may be shown as it is.
    pub fn mask(&self, key: &Key, value: &[u8]) -> Option<String> {
        if !self.prefix.contains(key) {
            return None;
        }
        match self.name_of(key) {
            Some(name) => (self.sensitivity(&name) == Sensitivity::Secret).then(|| MASK.to_owned()),
            None => match canary::service_of(&self.prefix, key) {
                Some(service) => Some(self.mask_canary(&service, value)),
                None => is_secret(&key.to_string().replace('/', ".")).then(|| MASK.to_owned()),
            },
        }
    }

    /// A canary's record with the secrets among its values masked; all of it where it cannot be read.
    fn mask_canary(&self, service: &ServiceName, value: &[u8]) -> String {
        let Ok(mut canary) = Canary::from_json(value) else {
            return MASK.to_owned();
        };
        for (path, trial) in &mut canary.changes {
            let key = ConfigKey::new(Scope::Service(service.clone()), path);
            let open = key.is_ok_and(|key| self.sensitivity(&key) == Sensitivity::Open);
            if let (false, Some(value)) = (open, &mut trial.value) {
                MASK.clone_into(value);
            }
        }
        serde_json::to_string(&canary).unwrap_or_else(|_| MASK.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{entry, page};
    use super::*;

    #[test]
    fn a_secret_is_masked_wherever_its_value_stands() {
        let mut page = page();
        let schema = r#"{"properties": {"session.key": {"type": "string", "x-secret": true}}}"#;
        page.apply_schema(&fleet::Change::Put(entry("/schema/order", schema, 3)));
        let canary = r#"{"instances":["o-1"],"author":"lin","time":"2026-01-01T00:00:00Z","changes":
            {"session.key":{"value":"hush","mod_revision":0},"page.size":{"value":"50","mod_revision":0}}}"#;
        for (key, value, shown) in [
            ("/config/order/session.key", "hush", Some(MASK)),
            ("/config/order/db.password", "hush", Some(MASK)),
            ("/config/order/page.size", "50", None),
            ("/config/order/a..password", "hush", Some(MASK)),
            ("/config/order/@canary", "{", Some(MASK)),
            ("/services/order/password", "no config", None),
        ] {
            let found = page.mask(&key.into(), value.as_bytes());
            assert_eq!(found.as_deref(), shown, "{key}");
        }
        let shown = page.mask(&"/config/order/@canary".into(), canary.as_bytes());
        let shown = shown.unwrap();
        assert!(!shown.contains("hush") && shown.contains("50"), "{shown}");
    }
}
