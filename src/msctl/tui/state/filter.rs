//! What `/` narrows a list by: words, `!words`, and comparisons like `ttl<10s` or `version=1.4.2`.
//! Parsed once per keystroke, then asked per row without allocating. A text that does not parse is
//! matched as words, so that half-typed input never empties the list.

use std::time::Duration;

/// What a row answers a filter.
pub trait Facts {
    /// Whether any of its texts contains a lower-case word.
    fn contains(&self, word: &str) -> bool;
    /// A field's number: counts as they are, times in seconds. `None` where the row has none.
    fn number(&self, field: &str) -> Option<f64>;
    /// A field's text, compared without regard to case.
    fn text(&self, field: &str) -> Option<&str>;
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
    /// `=`
    Equal,
    /// `!=`
    Unequal,
}

#[derive(Clone, Debug, PartialEq)]
enum Term {
    Word { lower: String, wanted: bool },
    Field { name: String, compare: Compare, number: Option<f64>, lower: String },
}

/// A parsed filter. The empty one lets everything through.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    text: String,
    terms: Vec<Term>,
}

// Longest first: `<=` must not be read as `<`.
const SIGNS: &[(&str, Compare)] = &[
    ("<=", Compare::AtMost),
    (">=", Compare::AtLeast),
    ("!=", Compare::Unequal),
    ("<", Compare::Less),
    (">", Compare::Greater),
    ("=", Compare::Equal),
];

impl Filter {
    /// Reads a filter as typed.
    pub fn parse(text: &str) -> Self {
        Self { text: text.to_owned(), terms: text.split_whitespace().map(term).collect() }
    }

    /// As it was typed.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it lets everything through.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether a row passes: all terms hold.
    pub fn admits(&self, row: &impl Facts) -> bool {
        self.terms.iter().all(|term| match term {
            Term::Word { lower, wanted } => row.contains(lower) == *wanted,
            Term::Field { name, compare, number, lower } => {
                if let (Some(wanted), Some(value)) = (*number, row.number(name)) {
                    holds(*compare, value.total_cmp(&wanted))
                } else if let Some(value) = row.text(name) {
                    let equal = value.len() == lower.len() && value.eq_ignore_ascii_case(lower);
                    match compare {
                        Compare::Equal => equal,
                        Compare::Unequal => !equal,
                        _ => holds(*compare, value.to_lowercase().as_str().cmp(lower)),
                    }
                } else {
                    *compare == Compare::Unequal
                }
            }
        })
    }
}

fn term(text: &str) -> Term {
    let sign = SIGNS
        .iter()
        .filter_map(|(sign, compare)| text.find(sign).map(|at| (at, *sign, *compare)))
        .min_by_key(|(at, sign, _)| (*at, usize::MAX - sign.len()));
    if let Some((at, sign, compare)) = sign
        && at > 0
        && at + sign.len() < text.len()
        && text[..at].chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-'))
    {
        let value = &text[at + sign.len()..];
        return Term::Field {
            name: text[..at].to_lowercase(),
            compare,
            number: quantity(value),
            lower: value.to_lowercase(),
        };
    }
    match text.strip_prefix('!') {
        Some(word) if !word.is_empty() => Term::Word { lower: word.to_lowercase(), wanted: false },
        _ => Term::Word { lower: text.to_lowercase(), wanted: true },
    }
}

fn holds(compare: Compare, order: std::cmp::Ordering) -> bool {
    match compare {
        Compare::Less => order.is_lt(),
        Compare::AtMost => order.is_le(),
        Compare::Greater => order.is_gt(),
        Compare::AtLeast => order.is_ge(),
        Compare::Equal => order.is_eq(),
        Compare::Unequal => order.is_ne(),
    }
}

/// A number, or a time in seconds: `12`, `10s`, `250ms`, `3h`.
fn quantity(text: &str) -> Option<f64> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let number: f64 = text[..split].parse().ok()?;
    let unit = match &text[split..] {
        "" | "s" => Duration::from_secs(1).as_secs_f64(),
        "ms" => 0.001,
        "us" => 0.000_001,
        "m" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return None,
    };
    Some(number * unit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Row;

    impl Facts for Row {
        fn contains(&self, word: &str) -> bool {
            "order-7f3a-1 hung zone=a".contains(word)
        }
        fn number(&self, field: &str) -> Option<f64> {
            (field == "ttl").then_some(6.8)
        }
        fn text(&self, field: &str) -> Option<&str> {
            (field == "version").then_some("1.4.2")
        }
    }

    #[test]
    fn words_and_comparisons_narrow_together() {
        for (filter, admitted) in [
            ("", true),
            ("ORDER", true),
            ("order hung", true),
            ("!serving", true),
            ("!hung", false),
            ("ttl<10s", true),
            ("ttl<=6.8", true),
            ("ttl>10s", false),
            ("ttl<7000ms", true),
            ("version=1.4.2", true),
            ("version!=1.4.2", false),
            ("nothing=1", false),
            ("nothing!=1", true),
            ("ttl<", false),
            ("!", false),
        ] {
            assert_eq!(Filter::parse(filter).admits(&Row), admitted, "{filter}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_filter(text in ".{0,40}") {
            let _ = Filter::parse(&text).admits(&Row);
        }
    }
}
