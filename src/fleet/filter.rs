//! The filter language of every list: `order ttl<10s !serving version=1.4.2`.
//!
//! Words stand for "some text of the row contains it", case-insensitively; `field<value` compares
//! a field; `!` negates what follows it. All terms must hold. Every text is a filter: what cannot
//! be read as a comparison is a word.

use std::cmp::Ordering;

use crate::config::value::parse_duration;

/// What a row says of a field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Field<'a> {
    /// Text: compared case-insensitively, `=` meaning equal.
    Text(&'a str),
    /// A number; durations are given in seconds.
    Number(f64),
}

/// A row of a list, as the filter sees it.
pub trait Row {
    /// Whether a word, already in lower case, occurs in the texts of the row.
    fn contains(&self, word: &str) -> bool;

    /// The field of this name; `None` when rows of the list have none, or this one has no value.
    fn field(&self, name: &str) -> Option<Field<'_>>;
}

/// A filter that was read. The default lets everything through.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Filter {
    terms: Vec<Term>,
}

#[derive(Debug, Clone, PartialEq)]
struct Term {
    wanted: bool,
    test: Test,
}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    Word(String),
    Compare {
        field: String,
        operator: Operator,
        text: String,
        number: Option<f64>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Less,
    AtMost,
    Equal,
    NotEqual,
    AtLeast,
    More,
}

/// The longer operators first, so that `<=` is not read as `<`.
const OPERATORS: [(&str, Operator); 6] = [
    ("<=", Operator::AtMost),
    (">=", Operator::AtLeast),
    ("!=", Operator::NotEqual),
    ("<", Operator::Less),
    (">", Operator::More),
    ("=", Operator::Equal),
];

impl Filter {
    /// Reads a filter. Every text is one.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self {
            terms: text.split_whitespace().filter_map(Term::parse).collect(),
        }
    }

    /// Whether it lets everything through.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether the row passes.
    #[must_use]
    pub fn matches(&self, row: &impl Row) -> bool {
        self.terms
            .iter()
            .all(|term| term.test.holds(row) == term.wanted)
    }
}

impl Term {
    fn parse(text: &str) -> Option<Self> {
        let (wanted, rest) = match text.strip_prefix('!') {
            Some(rest) => (false, rest),
            None => (true, text),
        };
        if rest.is_empty() {
            return None;
        }
        Some(Self {
            wanted,
            test: Test::parse(rest),
        })
    }
}

impl Test {
    fn parse(text: &str) -> Self {
        let word = || Self::Word(text.to_lowercase());
        let Some(at) = text.find(['<', '>', '=', '!']) else {
            return word();
        };
        let (field, rest) = text.split_at(at);
        let Some((sign, operator)) = OPERATORS
            .into_iter()
            .find(|(sign, _)| rest.starts_with(sign))
        else {
            return word();
        };
        let value = &rest[sign.len()..];
        if field.is_empty() || value.is_empty() {
            return word();
        }
        let number = value
            .replace('_', "")
            .parse()
            .ok()
            .or_else(|| parse_duration(value).map(|duration| duration.as_secs_f64()));
        Self::Compare {
            field: field.to_lowercase(),
            operator,
            text: value.to_lowercase(),
            number,
        }
    }

    fn holds(&self, row: &impl Row) -> bool {
        match self {
            Self::Word(word) => row.contains(word),
            Self::Compare {
                field,
                operator,
                text,
                number,
            } => {
                let order = match (row.field(field), number) {
                    (None, _) | (Some(Field::Number(_)), None) => return false,
                    (Some(Field::Number(found)), Some(number)) => found.partial_cmp(number),
                    (Some(Field::Text(found)), _) => Some(found.to_lowercase().as_str().cmp(text)),
                };
                order.is_some_and(|order| operator.allows(order))
            }
        }
    }
}

impl Operator {
    fn allows(self, order: Ordering) -> bool {
        match self {
            Self::Less => order.is_lt(),
            Self::AtMost => order.is_le(),
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::AtLeast => order.is_ge(),
            Self::More => order.is_gt(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Instance;

    impl Row for Instance {
        fn contains(&self, word: &str) -> bool {
            ["order-7f3a-1", "serving", "10.0.0.4:9000"]
                .iter()
                .any(|text| text.contains(word))
        }

        fn field(&self, name: &str) -> Option<Field<'_>> {
            match name {
                "ttl" => Some(Field::Number(6.8)),
                "version" => Some(Field::Text("1.4.2-Beta")),
                _ => None,
            }
        }
    }

    #[test]
    fn rows_pass_when_every_term_holds() {
        for (filter, passes) in [
            ("", true),
            ("order", true),
            ("ORDER serving", true),
            ("order canary", false),
            ("!canary", true),
            ("!serving", false),
            ("ttl<10s", true),
            ("ttl<=6.8", true),
            ("ttl>10s", false),
            ("!ttl<10s", false),
            ("ttl<5000ms", false),
            ("version=1.4.2-beta", true),
            ("version!=1.4.2", true),
            ("zone=a", false),
            ("!zone=a", true),
            ("ttl<soon", false),
            ("!", true),
            ("<3", false),
            ("ttl<", false),
        ] {
            assert_eq!(
                Filter::parse(filter).matches(&Instance),
                passes,
                "{filter:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn every_text_is_a_filter(text in "\\PC{0,20}") {
            let _ = Filter::parse(&text).matches(&Instance);
        }
    }
}
