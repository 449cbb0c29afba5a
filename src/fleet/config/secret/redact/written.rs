//! A masked value as it was written, with its lines and comments, where that says no more than the
//! masked value does: it is read back and compared, and a comment that names a secret or repeats one
//! is left out.

use std::collections::BTreeMap;

use serde_yaml::Value;

use super::names_secret;
use crate::config::value::{one_line, parse};

/// The text with the masks of `shown` in it; `None` where it cannot be told from the lines.
pub(super) fn as_written(text: &str, value: &Value, shown: &Value) -> Option<String> {
    let mut hidden = Hidden::default();
    hidden.find(value, shown, None)?;
    let written = if text.contains('\n') {
        hidden.in_lines(text)
    } else {
        let (_, comment) = hidden.apart(text);
        format!("{} {}", one_line(shown), comment?)
    };
    let same = parse(written.as_bytes()).is_ok_and(|read| read == *shown);
    same.then_some(written)
}

/// What is masked.
#[derive(Default)]
struct Hidden {
    /// The members, with what stands in their place.
    members: BTreeMap<String, String>,
    /// The texts of their values.
    texts: Vec<String>,
}

impl Hidden {
    /// `None` where what shows is not the value with some members masked.
    fn find(&mut self, value: &Value, shown: &Value, name: Option<&str>) -> Option<()> {
        match (value, shown) {
            _ if value == shown => {}
            (Value::Mapping(members), Value::Mapping(others)) => {
                for (name, member) in members {
                    self.find(member, others.get(name)?, name.as_str())?;
                }
            }
            (Value::Sequence(items), Value::Sequence(others)) => {
                for (item, other) in items.iter().zip(others) {
                    self.find(item, other, None)?;
                }
            }
            (value, Value::String(mask)) => {
                self.members.insert(name?.to_owned(), mask.clone());
                self.tell(value);
            }
            _ => return None,
        }
        Some(())
    }

    fn tell(&mut self, value: &Value) {
        match value {
            Value::Mapping(members) => members.values().for_each(|member| self.tell(member)),
            Value::Sequence(items) => items.iter().for_each(|item| self.tell(item)),
            Value::String(text) => self.texts.push(text.trim().to_owned()),
            other => self.texts.push(one_line(other)),
        }
    }

    fn in_lines(&self, text: &str) -> String {
        let mut written = String::new();
        // The lines of a masked member lie further in than its name.
        let mut within: Option<usize> = None;
        for line in text.lines() {
            let content = line.trim_start_matches([' ', '-']);
            let depth = line.len() - content.len();
            if within.is_some_and(|outer| depth > outer || content.is_empty()) {
                continue;
            }
            within = None;
            let member = content.split_once(':').and_then(|(name, rest)| {
                let name = name.trim_end();
                let ends = rest.is_empty() || rest.starts_with(' ');
                let mask = self.members.get(name.trim_matches(['"', '\'']))?;
                ends.then(|| format!("{}{name}: {mask}", &line[..depth]))
            });
            let kept = match member {
                Some(masked) => {
                    within = Some(depth);
                    masked
                }
                None => match self.apart(line) {
                    (before, None) if before.trim().is_empty() && !line.trim().is_empty() => {
                        continue;
                    }
                    (before, None) => before.to_owned(),
                    (before, Some(comment)) => format!("{before}{comment}"),
                },
            };
            written.push_str(&kept);
            written.push('\n');
        }
        written
    }

    /// A line before its comment, and the comment where it may be shown.
    fn apart<'l>(&self, line: &'l str) -> (&'l str, Option<&'l str>) {
        let begins = |at: &usize| line[..*at].is_empty() || line[..*at].ends_with([' ', '\t']);
        let Some(at) = line.match_indices('#').map(|(at, _)| at).find(begins) else {
            return (line, None);
        };
        let (before, comment) = line.split_at(at);
        let repeats = |text: &String| !text.is_empty() && comment.contains(text.as_str());
        let tells = names_secret(comment.as_bytes()) || self.texts.iter().any(repeats);
        if tells {
            (before.trim_end(), None)
        } else {
            (before, Some(comment))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Published, redact};
    use crate::config::ConfigKey;

    #[test]
    fn a_masked_mapping_keeps_its_lines_and_the_comments_that_tell_nothing() {
        for (value, wanted) in [
            (
                "# of the shop\nhost: h # near\npassword: hunter2 # old\nport: 1\n",
                "# of the shop\nhost: h # near\npassword: ••••••\nport: 1\n",
            ),
            (
                "{b: 1, password: x9} # tuned",
                "{b: 1, password: ••••••} # tuned",
            ),
            (
                "# was hunter2\n\na: 1 # the password is long\npassword: hunter2\n",
                "\na: 1\npassword: ••••••\n",
            ),
            (
                "users:\n  - name: a # first\n    token: |\n      hunter2\n      more\n\n  - name: b\n",
                "users:\n  - name: a # first\n    token: ••••••\n  - name: b\n",
            ),
            // What the lines do not tell is written anew.
            (
                "a: {password: x9} # b\nc: 1\n",
                "a:\n  password: ••••••\nc: 1\n",
            ),
            (
                "a: '# password: x9'\npassword: x9\n",
                "a: '# password: x9'\npassword: ••••••\n",
            ),
        ] {
            let key = ConfigKey::parse("order/db").unwrap();
            let shown = redact(&Published::default(), &key, value.as_bytes());
            assert_eq!(String::from_utf8_lossy(&shown), wanted, "{value}");
        }
    }
}
