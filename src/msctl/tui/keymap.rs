//! From keys to actions, by focus: the innermost scope that knows a key decides. Made from the action
//! list, and from a user's bindings on top. Pure.

use std::collections::HashMap;

use super::action::{ACTIONS, Action, NEVER, Scope, Spec};
use super::key::{Key, UnknownKey};

/// Which keys do what, where.
#[derive(Clone, Debug)]
pub struct Keymap {
    bound: HashMap<(Scope, Vec<Key>), Action>,
    shown: HashMap<Action, String>,
}

/// What a sequence of keys means in a focus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// It is complete.
    Run(Action),
    /// More keys must follow.
    Begun,
    /// Nothing.
    Nothing,
}

/// A user's binding that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeymapError {
    /// No such action.
    #[error("keymap: there is no action '{0}'. `msctl tui --help` and `?` list them")]
    Action(String),
    /// No such key.
    #[error("keymap: {0}")]
    Key(#[from] UnknownKey),
}

impl Default for Keymap {
    fn default() -> Self {
        let mut map = Self {
            bound: HashMap::new(),
            shown: HashMap::new(),
        };
        for spec in ACTIONS {
            for keys in spec.keys {
                // The list's own keys are proved to parse by its test.
                if let Ok(keys) = parse(keys) {
                    map.bind(spec, &keys);
                }
            }
            map.shown.insert(
                spec.action,
                spec.keys.first().map_or(String::new(), |k| (*k).into()),
            );
        }
        map
    }
}

impl Keymap {
    /// Binds an action, by its name, to keys in place of its own.
    ///
    /// # Errors
    /// When there is no such action or key.
    pub fn rebind(&mut self, action: &str, keys: &str) -> Result<(), KeymapError> {
        let spec = ACTIONS
            .iter()
            .find(|spec| spec.name == action)
            .ok_or_else(|| KeymapError::Action(action.to_owned()))?;
        let parsed = parse(keys)?;
        self.bound.retain(|_, bound| *bound != spec.action);
        self.bind(spec, &parsed);
        self.shown.insert(spec.action, keys.to_owned());
        Ok(())
    }

    fn bind(&mut self, spec: &Spec, keys: &[Key]) {
        for scope in spec.scopes {
            self.bound.insert((*scope, keys.to_vec()), spec.action);
        }
    }

    /// What keys mean where `scopes` have the focus, the innermost first.
    pub fn meaning(&self, scopes: &[Scope], keys: &[Key]) -> Meaning {
        for scope in scopes {
            if let Some(action) = self.bound.get(&(*scope, keys.to_vec())) {
                return Meaning::Run(*action);
            }
            let begun = self.bound.keys().any(|(at, bound)| {
                at == scope && bound.len() > keys.len() && bound.starts_with(keys)
            });
            if begun {
                return Meaning::Begun;
            }
        }
        Meaning::Nothing
    }

    /// The keys of an action as help shows them.
    pub fn keys_of(&self, action: Action) -> &str {
        self.shown.get(&action).map_or("", String::as_str)
    }

    /// The actions that work in a focus, in the order of the list.
    pub fn available<'a>(&self, scopes: &'a [Scope]) -> impl Iterator<Item = &'static Spec> + 'a {
        ACTIONS
            .iter()
            .filter(|spec| spec.scopes.iter().any(|scope| scopes.contains(scope)))
    }

    /// What the footer shows in a focus, the most wanted first.
    pub fn hints(&self, scopes: &[Scope]) -> Vec<&'static Spec> {
        let mut hints: Vec<_> = self
            .available(scopes)
            .filter(|spec| spec.hint != NEVER)
            .collect();
        hints.sort_by_key(|spec| spec.hint);
        hints
    }
}

fn parse(keys: &str) -> Result<Vec<Key>, UnknownKey> {
    keys.split(' ').map(str::parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(map: &Keymap, scopes: &[Scope], keys: &str) -> Meaning {
        map.meaning(scopes, &parse(keys).unwrap())
    }

    #[test]
    fn the_innermost_scope_decides() {
        let map = Keymap::default();
        let keys = [Scope::ConfigKeys, Scope::List, Scope::Global];
        let instances = [
            Scope::Instances,
            Scope::Services,
            Scope::List,
            Scope::Global,
        ];
        assert_eq!(meaning(&map, &keys, "x"), Meaning::Run(Action::Unset));
        assert_eq!(
            meaning(&map, &instances, "x"),
            Meaning::Run(Action::Deregister)
        );
        assert_eq!(meaning(&map, &keys, "g"), Meaning::Begun);
        assert_eq!(meaning(&map, &keys, "g g"), Meaning::Run(Action::Top));
        assert_eq!(meaning(&map, &keys, "ctrl-q"), Meaning::Nothing);
    }

    #[test]
    fn a_user_may_rebind_by_name() {
        let mut map = Keymap::default();
        map.rebind("quit", "ctrl-q").unwrap();
        assert_eq!(meaning(&map, &[Scope::Global], "q"), Meaning::Nothing);
        assert_eq!(
            meaning(&map, &[Scope::Global], "ctrl-q"),
            Meaning::Run(Action::Quit)
        );
        assert_eq!(map.keys_of(Action::Quit), "ctrl-q");
        assert!(map.rebind("explode", "x").is_err());
        assert!(map.rebind("quit", "hyper-q").is_err());
    }
}
