//! Which part of etcd is mirrored: one prefix or several.
//!
//! Never empty, and no key lies in two of its prefixes.

use fleet::Prefix;

/// One or more prefixes that share no key, in the order of their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope(Vec<Prefix>);

impl Scope {
    /// A prefix and further ones; one that lies within another adds nothing and is left out.
    #[must_use]
    pub fn new(first: Prefix, more: impl IntoIterator<Item = Prefix>) -> Self {
        let mut prefixes: Vec<Prefix> = std::iter::once(first).chain(more).collect();
        prefixes.sort();
        // A prefix sorts right before what continues it.
        prefixes.dedup_by(|later, kept| later.as_bytes().starts_with(kept.as_bytes()));
        Self(prefixes)
    }

    /// The prefixes, in order.
    #[must_use]
    pub fn prefixes(&self) -> &[Prefix] {
        &self.0
    }
}

impl From<Prefix> for Scope {
    fn from(prefix: Prefix) -> Self {
        Self(vec![prefix])
    }
}

/// The prefixes, separated by commas; safe for a terminal.
impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, prefix) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{prefix}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_in_order_and_holds_no_key_twice() {
        let prefix = |text: &str| Prefix::new(text).unwrap();
        let scope = Scope::new(
            prefix("/config/order/"),
            [
                "/config/global/",
                "/config/order/a",
                "/b",
                "/config/global/",
            ]
            .map(prefix),
        );
        assert_eq!(scope.to_string(), "/b, /config/global/, /config/order/");
        assert_eq!(Scope::from(prefix("/a")).prefixes(), [prefix("/a")]);
    }
}
