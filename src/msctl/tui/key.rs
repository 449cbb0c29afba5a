//! Keys and chords as the console knows them, apart from any terminal library, so that state, keymap
//! and tests can speak of them. `Display` and `FromStr` are inverse: what help shows is what a keymap
//! file may say.

use std::{fmt, str::FromStr};

/// What was pressed, without modifiers. Shifted characters are the character they give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// A printable character.
    Char(char),
    /// Function key 1–12.
    F(u8),
    /// Return.
    Enter,
    /// Escape.
    Esc,
    /// Tab.
    Tab,
    /// Backspace.
    Backspace,
    /// Delete.
    Delete,
    /// Cursor up.
    Up,
    /// Cursor down.
    Down,
    /// Cursor left.
    Left,
    /// Cursor right.
    Right,
    /// Home.
    Home,
    /// End.
    End,
    /// Page up.
    PageUp,
    /// Page down.
    PageDown,
}

/// Which modifiers were held. Shift counts only for keys that are not characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Modifiers {
    /// Control.
    pub ctrl: bool,
    /// Alt or Meta.
    pub alt: bool,
    /// Shift, for keys that are not characters.
    pub shift: bool,
}

/// One key press.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The key.
    pub code: Code,
    /// What was held with it.
    pub modifiers: Modifiers,
}

impl Key {
    /// A key without modifiers.
    pub const fn plain(code: Code) -> Self {
        Self {
            code,
            modifiers: Modifiers {
                ctrl: false,
                alt: false,
                shift: false,
            },
        }
    }

    /// A character without modifiers.
    pub const fn char(character: char) -> Self {
        Self::plain(Code::Char(character))
    }

    /// A character with control held.
    pub const fn ctrl(character: char) -> Self {
        Self {
            code: Code::Char(character),
            modifiers: Modifiers {
                ctrl: true,
                alt: false,
                shift: false,
            },
        }
    }

    /// The character this key types, if it types one.
    pub fn typed(self) -> Option<char> {
        match (self.code, self.modifiers) {
            (
                Code::Char(character),
                Modifiers {
                    ctrl: false,
                    alt: false,
                    ..
                },
            ) => Some(character),
            _ => None,
        }
    }
}

const NAMED: &[(Code, &str)] = &[
    (Code::Enter, "enter"),
    (Code::Esc, "esc"),
    (Code::Tab, "tab"),
    (Code::Backspace, "backspace"),
    (Code::Delete, "delete"),
    (Code::Up, "up"),
    (Code::Down, "down"),
    (Code::Left, "left"),
    (Code::Right, "right"),
    (Code::Home, "home"),
    (Code::End, "end"),
    (Code::PageUp, "pageup"),
    (Code::PageDown, "pagedown"),
    (Code::Char(' '), "space"),
];

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.modifiers.ctrl {
            f.write_str("ctrl-")?;
        }
        if self.modifiers.alt {
            f.write_str("alt-")?;
        }
        if self.modifiers.shift {
            f.write_str("shift-")?;
        }
        if let Some((_, name)) = NAMED.iter().find(|(code, _)| *code == self.code) {
            return f.write_str(name);
        }
        match self.code {
            Code::Char(character) => write!(f, "{character}"),
            Code::F(number) => write!(f, "f{number}"),
            _ => Ok(()),
        }
    }
}

/// A key name that means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is no key. Write for example 'x', 'G', 'ctrl-s', 'alt-enter', 'shift-tab', 'f5', 'space'"
)]
pub struct UnknownKey(pub String);

impl FromStr for Key {
    type Err = UnknownKey;

    fn from_str(text: &str) -> Result<Self, UnknownKey> {
        let mut modifiers = Modifiers::default();
        let mut rest = text;
        // A lone "-" is a key; a prefix is a modifier only with something behind it.
        while let Some((head, tail)) = rest.split_once('-').filter(|(_, tail)| !tail.is_empty()) {
            match head {
                "ctrl" => modifiers.ctrl = true,
                "alt" => modifiers.alt = true,
                "shift" => modifiers.shift = true,
                _ => break,
            }
            rest = tail;
        }
        let unknown = || UnknownKey(text.to_owned());
        if let Some((code, _)) = NAMED.iter().find(|(_, name)| *name == rest) {
            return Ok(Self {
                code: *code,
                modifiers,
            });
        }
        let mut characters = rest.chars();
        let code = match (characters.next(), characters.as_str()) {
            (Some(character), "") => Code::Char(character),
            (Some('f'), number) => match number.parse() {
                Ok(number @ 1..=12) => Code::F(number),
                _ => return Err(unknown()),
            },
            _ => return Err(unknown()),
        };
        Ok(Self { code, modifiers })
    }
}

/// What a mouse did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MouseKind {
    /// The left button went down.
    Press,
    /// The wheel turned away from the user.
    WheelUp,
    /// The wheel turned towards the user.
    WheelDown,
}

/// One mouse event, in cells from the upper left corner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mouse {
    /// What happened.
    pub kind: MouseKind,
    /// Column, from 0.
    pub column: u16,
    /// Row, from 0.
    pub row: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_as_it_is_shown() {
        for text in [
            "x",
            "G",
            "ctrl-s",
            "alt-enter",
            "shift-tab",
            "f5",
            "space",
            "-",
            "ctrl--",
            "?",
        ] {
            let key: Key = text.parse().unwrap();
            assert_eq!(key.to_string(), text);
        }
    }

    #[test]
    fn a_name_that_is_no_key_is_refused() {
        for text in ["", "xx", "f13", "ctrl-", "hyper-x"] {
            assert!(text.parse::<Key>().is_err(), "{text}");
        }
    }
}
