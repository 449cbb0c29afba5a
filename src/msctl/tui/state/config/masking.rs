//! What the page may show of a value: what [`redact`] says, unless the user asked for secrets.

use std::borrow::Cow;

use fleet::Key;
use fleet::config::diff::Secrets;
use fleet::config::secret::redact::{self, holds_secret};
use fleet::config::{ConfigKey, Published};
use serde_yaml::Value;

use super::ConfigPage;

impl ConfigPage {
    /// What services say is a secret.
    pub fn published(&self) -> &Published {
        self.schemas.published()
    }

    /// Whether the whole value of a key stays masked now.
    pub fn hides(&self, key: &ConfigKey) -> bool {
        self.secrets() == Secrets::Masked && self.published().is_secret(key)
    }

    /// Whether secrets show.
    pub fn secrets(&self) -> Secrets {
        if self.revealed {
            Secrets::Revealed
        } else {
            Secrets::Masked
        }
    }

    /// What shows of a value in its place, where it is a secret or holds some; `None` where it may be
    /// shown as it is.
    pub fn veil(&self, key: &ConfigKey, value: &[u8]) -> Option<Vec<u8>> {
        let masked = self.secrets() == Secrets::Masked;
        (masked && holds_secret(self.published(), key, value))
            .then(|| redact::redact(self.published(), key, value).into_owned())
    }

    /// The same for a value that was read.
    pub fn shown<'v>(&self, key: &ConfigKey, value: &'v Value) -> Cow<'v, Value> {
        match self.secrets() {
            Secrets::Masked => Cow::Owned(redact::redact_value(self.published(), key, value)),
            Secrets::Revealed => Cow::Borrowed(value),
        }
    }

    /// What stands in place of the value of a raw key; `None` where it may be shown as it is.
    pub fn mask(&self, key: &Key, value: &[u8]) -> Option<String> {
        let shown = redact::redact_stored(self.published(), &self.prefixes, key, value);
        (*shown != *value).then(|| String::from_utf8_lossy(&shown).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use fleet::config::secret::MASK;

    use super::super::tests::{entry, page};

    #[test]
    fn a_secret_is_masked_wherever_its_value_stands() {
        let mut page = page();
        let schema = r#"{"properties": {"session.key": {"type": "string", "x-secret": true}}}"#;
        page.apply_schema(&fleet::Change::Put(entry("/schema/order", schema, 3)));
        let canary = r#"{"instances":["o-1"],"author":"lin","time":"2026-01-01T00:00:00Z","changes":
            {"session.key":{"value":"hush","mod_revision":0},"page.size":{"value":"50","mod_revision":0}}}"#;
        let record = r#"{"author":"lin","time":"2026-01-01T00:00:00Z","changes":
            [{"key":"order/session.key","before":null,"after":"hush","mod_revision":0}]}"#;
        for (key, value, shown) in [
            ("/config/order/session.key", "hush", Some(MASK)),
            ("/config/order/db.password", "hush", Some(MASK)),
            ("/config/order/page.size", "50", None),
            (
                "/config/order/db",
                "{host: h, password: hush}",
                Some("{host: h, password: ••••••}"),
            ),
            ("/config/order/a..password", "hush", Some(MASK)),
            ("/config/order/@canary", "{", Some(MASK)),
            ("/services/order/o-1", "no config", None),
        ] {
            let found = page.mask(&key.into(), value.as_bytes());
            assert_eq!(found.as_deref(), shown, "{key}");
        }
        for (key, value) in [
            ("/config/order/@canary", canary),
            ("/msctl/releases/order/1", record),
        ] {
            let shown = page.mask(&key.into(), value.as_bytes()).unwrap();
            assert!(!shown.contains("hush") && shown.contains("lin"), "{shown}");
        }
    }
}
