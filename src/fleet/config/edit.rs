//! An edit of config becomes a plan: keys and values checked, guarded by what was seen.

use crate::config::value::{self, ValueError};
use crate::config::{ConfigKey, ConfigKeyError};
use crate::kv::Prefix;
use crate::plan::{Edit, Plan, PlanError, Seen};

/// What is to become of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigEdit {
    /// It gets this value.
    Set {
        /// The key.
        key: ConfigKey,
        /// YAML text.
        value: String,
    },
    /// It goes, and the layer below counts.
    Unset {
        /// The key.
        key: ConfigKey,
    },
}

impl ConfigEdit {
    /// The key that is edited.
    #[must_use]
    pub fn key(&self) -> &ConfigKey {
        match self {
            Self::Set { key, .. } | Self::Unset { key } => key,
        }
    }
}

/// Why edits cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The key is no config key.
    #[error(transparent)]
    Key(#[from] ConfigKeyError),
    /// The value of this key is no value.
    #[error("{key}: {source}")]
    Value {
        /// The key.
        key: ConfigKey,
        /// What is wrong.
        #[source]
        source: ValueError,
    },
    /// The edits are no plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

/// Makes the plan of these edits; `seen` says how each key stood when the edit was made.
///
/// # Errors
/// [`EditError`] names the key that cannot be written and why.
pub fn plan(
    config: &Prefix,
    edits: impl IntoIterator<Item = ConfigEdit>,
    mut seen: impl FnMut(&ConfigKey) -> Seen,
) -> Result<Plan, EditError> {
    let edits: Vec<_> = edits
        .into_iter()
        .map(|edit| {
            let (key, seen) = (edit.key().to_key(config), seen(edit.key()));
            match edit {
                ConfigEdit::Unset { .. } => Ok(Edit::delete(key, seen)),
                ConfigEdit::Set { key: named, value } => match value::parse(value.as_bytes()) {
                    Ok(_) => Ok(Edit::put(key, seen, value.into_bytes())),
                    Err(source) => Err(EditError::Value { key: named, source }),
                },
            }
        })
        .collect::<Result<_, _>>()?;
    Ok(Plan::new(edits)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::{Entry, Revision};
    use crate::plan::Write;

    fn set(key: &str, value: &str) -> ConfigEdit {
        ConfigEdit::Set {
            key: ConfigKey::parse(key).unwrap(),
            value: value.into(),
        }
    }

    #[test]
    fn a_set_puts_the_text_as_it_was_typed_guarded_by_what_was_seen() {
        let config = Prefix::new("/config/").unwrap();
        let seen = Seen::At(Entry {
            key: "/config/order/a".into(),
            value: (*b"1").into(),
            create_revision: Revision(1),
            mod_revision: Revision(4),
            version: 1,
            lease: None,
        });
        let plan = plan(&config, [set("order/a", "5s # slow disk")], |_| {
            seen.clone()
        })
        .unwrap();
        let [edit] = plan.edits() else {
            panic!("one edit")
        };
        assert_eq!(edit.key.to_string(), "/config/order/a");
        assert_eq!(edit.seen.revision(), Revision(4));
        assert!(matches!(&edit.write, Write::Put { value, .. } if **value == *b"5s # slow disk"));
    }

    #[test]
    fn a_bad_value_names_its_key() {
        let config = Prefix::new("/config/").unwrap();
        let error = plan(&config, [set("order/a", "")], |_| Seen::Absent).unwrap_err();
        assert!(
            error.to_string().starts_with("order/a: the value is empty"),
            "{error}"
        );
    }
}
