//! Which config values are secrets, and what is shown in their place.

pub mod redact;

/// What stands where a secret would.
pub const MASK: &str = "••••••";

/// Whether a key's value may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sensitivity {
    /// It may.
    Open,
    /// Only where the user asks for it.
    Secret,
}

impl Sensitivity {
    /// Told from the name of a key alone; a schema may know better.
    #[must_use]
    pub fn of(path: &str) -> Self {
        if is_secret(path) {
            Self::Secret
        } else {
            Self::Open
        }
    }
}

/// Words that make a key a secret's, where no schema says.
const WORDS: [&str; 10] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "credential",
    "credentials",
    "apikey",
    "privatekey",
    "accesskey",
];

/// Whether the name of a key says that its value is a secret: `db.password`, `auth.api_key`,
/// `oauth.clientSecret`.
#[must_use]
pub fn is_secret(path: &str) -> bool {
    may_name(path) && names(path)
}

/// Whether any of the words stands in it at all, wherever words begin and end: most names are told
/// apart by that alone.
fn may_name(path: &str) -> bool {
    let letters = path.bytes().filter(u8::is_ascii_alphanumeric);
    let letters: Vec<u8> = letters.map(|letter| letter.to_ascii_lowercase()).collect();
    (0..letters.len()).any(|at| {
        let begins = |word: &&str| letters[at..].starts_with(word.as_bytes());
        matches!(letters[at], b'a' | b'c' | b'p' | b's' | b't') && WORDS.iter().any(begins)
    })
}

fn names(path: &str) -> bool {
    path.split('.').any(|part| {
        let words = words(part);
        let named = |word: &str| WORDS.contains(&word);
        words.iter().any(|word| named(word)) || words.windows(2).any(|pair| named(&pair.concat()))
    })
}

/// The value, or the mask when the key is a secret's.
#[must_use]
pub fn masked<'v>(path: &str, value: &'v str) -> &'v str {
    if is_secret(path) { MASK } else { value }
}

fn words(part: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for c in part.chars() {
        if matches!(c, '_' | '-') || (c.is_ascii_uppercase() && was_lower) {
            words.push(String::new());
        }
        was_lower = c.is_ascii_lowercase();
        if let (true, Some(word)) = (c.is_ascii_alphanumeric(), words.last_mut()) {
            word.push(c.to_ascii_lowercase());
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_tell_secrets_from_the_rest() {
        for (path, secret) in [
            ("db.password", true),
            ("auth.api_key", true),
            ("auth.apiKey", true),
            ("oauth.clientSecret", true),
            ("oauth.client-secret.current", true),
            ("TOKEN", true),
            ("timeout.write", false),
            ("tokens.max", false),
            ("keyboard", false),
            ("page.size", false),
        ] {
            assert_eq!(is_secret(path), secret, "{path}");
        }
        assert!(WORDS.iter().all(|word| "acpst".contains(&word[..1])));
    }

    proptest! {
        #[test]
        fn a_name_is_a_secret_by_its_words_alone(
            path in "(a|pass|word|Pass|Word|api|Key|key|TOKEN|secret|s|_|-|\\.| |é|1){0,6}",
        ) {
            prop_assert_eq!(is_secret(&path), names(&path), "{}", path);
        }
    }
}
