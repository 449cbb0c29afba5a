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
    }
}
