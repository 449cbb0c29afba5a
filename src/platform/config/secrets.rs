//! Which values are never quoted, in no error, log or report: those that their name or the
//! service's own schema marks as secrets, and those that hold one.

use std::sync::Arc;

use fleet::config::schema::Schema;
use fleet::config::secret::is_secret;
use serde_yaml::Value;

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct Secrets {
    schema: Option<Arc<Schema>>,
}

impl Secrets {
    pub(super) fn new(schema: Option<Arc<Schema>>) -> Secrets {
        Secrets { schema }
    }

    /// The error as it may be shown. `path` is what was read, `key` the key that gave the value.
    pub(super) fn shown(
        &self,
        path: &str,
        key: &str,
        value: Option<&Value>,
        error: String,
    ) -> String {
        let hidden = self.names(path) || self.names(key) || value.is_some_and(holds_secret);
        if hidden {
            "the value is refused (a secret: not shown)".into()
        } else {
            error
        }
    }

    fn names(&self, path: &str) -> bool {
        let by_schema = |schema: &Arc<Schema>| schema.is_secret(path);
        is_secret(path) || self.schema.as_ref().is_some_and(by_schema)
    }
}

/// Whether a member of a mapping is named like a secret.
fn holds_secret(value: &Value) -> bool {
    match value {
        Value::Mapping(members) => members
            .iter()
            .any(|(name, member)| name.as_str().is_some_and(is_secret) || holds_secret(member)),
        Value::Sequence(items) => items.iter().any(holds_secret),
        Value::Tagged(tagged) => holds_secret(&tagged.value),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_name_a_schema_or_a_member_marks_is_not_quoted() {
        let schema =
            br#"{"properties": {"db": {"properties": {"dsn": {"x-secret": true}, "pool": {}}}}}"#;
        let secrets = Secrets::new(Schema::from_json(schema).ok().map(Arc::new));
        for (path, value, shown) in [
            ("db.dsn", "hunter2", false),
            ("db", "{dsn: hunter2}", false),
            ("db.pool", "hunter2", true),
            ("api.token", "hunter2", false),
            ("mail", "{host: a, password: hunter2}", false),
            ("mails", "[{password: hunter2}]", false),
            ("name", "hunter2", true),
        ] {
            let value = serde_yaml::from_str(value).unwrap();
            let text = secrets.shown(path, path, Some(&value), "hunter2 is no duration".into());
            assert_eq!(text.contains("hunter2"), shown, "{path}: {text}");
        }
    }
}
