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
    /// No such preset.
    #[error("keymap: there is no preset '{0}'; there are default and k9s")]
    Preset(String),
    /// An action without a key could not be reached.
    #[error("keymap: '{0}' is given no key")]
    NoKey(String),
    /// One key for two actions in one place.
    #[error(
        "keymap: '{keys}' would be both {one} and {other} {place}; give one of them another key"
    )]
    Twice {
        /// The key.
        keys: String,
        /// An action.
        one: &'static str,
        /// The other.
        other: &'static str,
        /// Where both work.
        place: String,
    },
}

/// What users of k9s have in their fingers, as far as vim does not mean something else by it: the
/// console has no key that destroys at a touch, so ctrl-d stays half a page and ctrl-k nothing.
const K9S: &[(&str, &[&str])] = &[
    ("call-service", &["c", "s"]),
    ("events-of-this", &["o", "l"]),
    // There `d` describes: who presses it by habit must not be asked for a drain.
    ("drain", &["D"]),
    ("raw-record", &["v", "d"]),
    ("services", &["1", "ctrl-a"]),
    ("explain", &["w", "d"]),
    ("sort", &["S", "O"]),
    ("redraw", &["ctrl-l", "ctrl-r"]),
    ("history-back", &["[", "-"]),
];

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
    /// The bindings of a preset.
    ///
    /// # Errors
    /// When there is no such preset.
    pub fn preset(name: &str) -> Result<Self, KeymapError> {
        let mut map = Self::default();
        match name {
            "default" => {}
            "k9s" => {
                for (action, keys) in K9S {
                    map.rebind(action, keys)?;
                }
            }
            other => return Err(KeymapError::Preset(other.to_owned())),
        }
        Ok(map)
    }

    /// A preset with bindings of a user's own on top: what they gave a key to loses it nowhere
    /// silently. Two actions they gave one key in one place are an error.
    ///
    /// # Errors
    /// When there is no such preset, action or key, or a key would mean two things.
    pub fn custom<'a>(
        preset: Option<&str>,
        bindings: impl IntoIterator<Item = (&'a str, Vec<&'a str>)>,
    ) -> Result<Self, KeymapError> {
        let mut map = Self::preset(preset.unwrap_or("default"))?;
        let mut given: HashMap<(Scope, Vec<Key>), &'static str> = HashMap::new();
        let mut bound = Vec::new();
        for (action, keys) in bindings {
            let spec = spec(action)?;
            for keys in &keys {
                for scope in spec.scopes {
                    let before = given.insert((*scope, parse(keys)?), spec.name);
                    if let Some(other) = before {
                        return Err(KeymapError::Twice {
                            keys: (*keys).to_owned(),
                            one: other,
                            other: spec.name,
                            place: format!("in {scope:?}"),
                        });
                    }
                }
            }
            bound.push((spec.name, keys));
        }
        for (action, keys) in bound {
            map.rebind(action, &keys)?;
        }
        Ok(map)
    }

    /// Binds an action, by its name, to any of these keys in place of its own.
    ///
    /// # Errors
    /// When there is no such action or key.
    pub fn rebind(&mut self, action: &str, keys: &[&str]) -> Result<(), KeymapError> {
        let spec = spec(action)?;
        let parsed: Vec<_> = keys
            .iter()
            .map(|keys| parse(keys))
            .collect::<Result<_, _>>()?;
        let Some(first) = keys.first() else {
            return Err(KeymapError::NoKey(action.to_owned()));
        };
        self.bound.retain(|_, bound| *bound != spec.action);
        for keys in &parsed {
            self.bind(spec, keys);
        }
        self.shown.insert(spec.action, (*first).to_owned());
        Ok(())
    }

    /// All keys that do something in a scope, as they are typed.
    pub fn keys_in(&self, action: Action, scope: Scope) -> Vec<String> {
        let mut keys: Vec<String> = self
            .bound
            .iter()
            .filter(|((at, _), bound)| *at == scope && **bound == action)
            .map(|((_, keys), _)| {
                let words: Vec<_> = keys.iter().map(ToString::to_string).collect();
                words.join(" ")
            })
            .collect();
        let first = self.keys_of(action);
        keys.sort_by_key(|keys| (keys != first, keys.clone()));
        keys
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

fn spec(action: &str) -> Result<&'static Spec, KeymapError> {
    let found = ACTIONS.iter().find(|spec| spec.name == action);
    found.ok_or_else(|| KeymapError::Action(action.to_owned()))
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
        map.rebind("quit", &["ctrl-q"]).unwrap();
        assert_eq!(meaning(&map, &[Scope::Global], "q"), Meaning::Nothing);
        assert_eq!(
            meaning(&map, &[Scope::Global], "ctrl-q"),
            Meaning::Run(Action::Quit)
        );
        assert_eq!(map.keys_of(Action::Quit), "ctrl-q");
        assert!(map.rebind("explode", &["x"]).is_err());
        assert!(map.rebind("quit", &["hyper-q"]).is_err());
        assert!(map.rebind("quit", &[]).is_err());
    }

    #[test]
    fn a_preset_takes_no_key_from_what_it_does_not_name() {
        let (usual, k9s) = (Keymap::default(), Keymap::preset("k9s").unwrap());
        let named = |action: Action| K9S.iter().any(|(name, _)| *name == action.spec().name);
        for ((scope, keys), action) in &usual.bound {
            if !named(*action) {
                assert_eq!(
                    k9s.bound[&(*scope, keys.clone())],
                    *action,
                    "{keys:?} {scope:?}"
                );
            }
        }
        assert_eq!(
            meaning(&k9s, &[Scope::Instances], "d"),
            Meaning::Run(Action::RawRecord)
        );
        assert!(Keymap::preset("emacs").is_err());
    }

    #[test]
    fn bindings_of_ones_own_are_checked_together() {
        let custom = |bindings: &[(&'static str, &'static str)]| {
            let bindings = bindings.iter().map(|(action, keys)| (*action, vec![*keys]));
            Keymap::custom(None, bindings)
        };
        let map = custom(&[("quit", "ctrl-q"), ("filter", "q")]).unwrap();
        assert_eq!(
            meaning(&map, &[Scope::List], "q"),
            Meaning::Run(Action::StartFilter)
        );
        let twice = custom(&[("quit", "x"), ("help", "x")])
            .unwrap_err()
            .to_string();
        assert!(twice.contains("both"), "{twice}");
    }
}
