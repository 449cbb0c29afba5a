//! The pending changes as they are read before a save: one row under the other, with what each one
//! means, and the message that goes with them. Made when something changed, never while drawing.

use fleet::config::ConfigKey;
use fleet::config::Scope;
use fleet::config::diff::{Line, Meaning, Side};

use super::{ConfigPage, Draft, Pane, Wanted};
use crate::tui::state::directory::Directory;
use crate::tui::state::editor::{Editor, Shape};

/// How differences are laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// What goes above what comes.
    #[default]
    Unified,
    /// What goes left of what comes.
    Beside,
}

/// How a fact is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// To be known.
    Plain,
    /// To be looked at.
    Doubt,
}

/// A row: the key it begins, a part of the difference, a fact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReviewRow {
    /// Whose change begins here.
    pub key: Option<ConfigKey>,
    /// A line, or the two lines that stand beside each other.
    pub lines: (Option<Line>, Option<Line>),
    /// What is to be known.
    pub fact: Option<(Weight, String)>,
}

/// What is typed and seen while the changes are read.
#[derive(Clone, Debug)]
pub struct Review {
    /// Why the change is made.
    pub message: Editor,
    /// The first row that shows.
    pub scroll: usize,
}

impl ConfigPage {
    /// Shows the pending changes in full, before they are saved.
    pub fn open_review(&mut self, message: &str) {
        self.review = Some(Review {
            message: Editor::new(Shape::Line, message),
            scroll: 0,
        });
        self.pane = Pane::Review;
        self.keys.outdate_now();
    }

    /// Leaves them. Returns the message as it was typed so far.
    pub fn close_review(&mut self) -> Option<String> {
        self.pane = Pane::Keys;
        self.keys.outdate_now();
        let review = self.review.take()?;
        Some(review.message.text().trim().to_owned())
    }

    /// Lays the differences out the other way.
    pub fn turn_layout(&mut self) {
        self.layout = match self.layout {
            Layout::Unified => Layout::Beside,
            Layout::Beside => Layout::Unified,
        };
        self.keys.outdate_now();
    }

    /// The first row of a key's change.
    pub fn row_of(&self, key: &ConfigKey) -> usize {
        let begins = |row: &ReviewRow| row.key.as_ref() == Some(key);
        self.reviewed.iter().position(begins).unwrap_or(0)
    }

    /// Makes the rows anew.
    pub(super) fn rebuild_review(&mut self, directory: &Directory) {
        let mut rows = Vec::new();
        for (key, draft) in &self.drafts {
            let (doubts, facts): (Vec<_>, Vec<_>) = self
                .facts(key, draft, directory)
                .into_iter()
                .partition(|(weight, _)| *weight == Weight::Doubt);
            let mut lines = match self.layout {
                Layout::Unified => unified(&draft.difference.lines),
                Layout::Beside => beside(&draft.difference.lines),
            };
            // Beside each other the two sides need the whole width: facts come first.
            if self.layout == Layout::Beside {
                let blank = facts.len().max(1);
                lines.splice(0..0, std::iter::repeat_n((None, None), blank));
            }
            // One row more than facts: where they stand below the key, none is cut off.
            let least = facts.len() + 1;
            let mut facts = facts.into_iter();
            let mut lines = lines.into_iter();
            let mut name = Some(key.clone());
            rows.extend(doubts.into_iter().map(|fact| ReviewRow {
                key: name.take(),
                lines: (None, None),
                fact: Some(fact),
            }));
            for at in 0.. {
                let (line, fact) = (lines.next(), facts.next());
                if line.is_none() && fact.is_none() && at >= least {
                    break;
                }
                rows.push(ReviewRow {
                    key: name.take(),
                    lines: line.unwrap_or_default(),
                    fact,
                });
            }
        }
        if let Some(review) = &mut self.review {
            review.scroll = review.scroll.min(rows.len().saturating_sub(1));
        }
        self.reviewed = rows;
    }

    /// What is to be known of a change, the most worrying first.
    fn facts(
        &self,
        key: &ConfigKey,
        draft: &Draft,
        directory: &Directory,
    ) -> Vec<(Weight, String)> {
        let mut facts = Vec::new();
        let now = self.entry(key).map(|entry| entry.mod_revision);
        if now.unwrap_or_default() != draft.seen.revision() {
            facts.push((Weight::Doubt, "changed meanwhile".to_owned()));
        }
        facts.extend(draft.doubt.clone().map(|doubt| (Weight::Doubt, doubt)));
        if draft.difference.meaning == Meaning::Stays {
            let text = "the same value, written differently".to_owned();
            facts.push((Weight::Plain, text));
        }
        let field = self.schemas.field(key);
        if let Some(field) = field.as_ref().filter(|field| !field.kind.is_empty()) {
            facts.push((Weight::Plain, field.kind.clone()));
        }
        facts.push((Weight::Plain, self.reach(key, directory)));
        if let Some(below) = self.below_own(key) {
            let text = match draft.wanted {
                Wanted::Unset => format!("{below} counts then"),
                Wanted::Set(_) if draft.seen.value().is_none() => {
                    format!("{below} counts until then")
                }
                Wanted::Set(_) => return facts,
            };
            facts.push((Weight::Plain, text));
        }
        facts
    }

    /// `global 1s`, `default 3s`: what a service's key has where it has no value of its own.
    fn below_own(&self, key: &ConfigKey) -> Option<String> {
        let global = ConfigKey::new(Scope::Global, key.path()).ok();
        let global = global.filter(|_| key.scope != Scope::Global);
        if let Some(entry) = global.and_then(|global| self.entry(&global)) {
            let veil = self.veil(key, &entry.value);
            let text = String::from_utf8_lossy(veil.as_deref().unwrap_or(&entry.value));
            return Some(format!("global {}", text.trim()));
        }
        let default = self.schemas.field(key)?.default?;
        let text = fleet::config::value::one_line(&self.shown(key, &default));
        Some(format!("default {text}"))
    }

    /// Whom a change reaches.
    fn reach(&self, key: &ConfigKey, directory: &Directory) -> String {
        let registry = &directory.registry;
        let count = |running: usize| match running {
            1 => "1 instance".to_owned(),
            running => format!("{running} instances"),
        };
        let Scope::Service(service) = &key.scope else {
            let own = |name: &fleet::ServiceName| {
                let own = ConfigKey::new(Scope::Service(name.clone()), key.path());
                own.is_ok_and(|own| self.entry(&own).is_some())
            };
            let (keep, read): (Vec<_>, Vec<_>) =
                registry.services().partition(|(name, _)| own(name));
            let running = read.iter().map(|(_, service)| service.len()).sum();
            let mut text = format!("reaches {} of {} services", count(running), read.len());
            if let Some((first, _)) = keep.first() {
                let more = match keep.len() {
                    1 => String::new(),
                    more => format!(" and {} more", more - 1),
                };
                text.push_str(&format!("; {first}{more} keeps its own value"));
            }
            return text;
        };
        let running = registry.service(service.as_str());
        match running.map_or(0, fleet::Service::len) {
            0 => "reaches no running instance".to_owned(),
            running => format!("reaches {}", count(running)),
        }
    }
}

type Pair = (Option<Line>, Option<Line>);

fn unified(lines: &[Line]) -> Vec<Pair> {
    lines
        .iter()
        .map(|line| (Some(line.clone()), None))
        .collect()
}

/// What goes beside what comes in its place; what stays on both sides.
fn beside(lines: &[Line]) -> Vec<Pair> {
    let mut pairs: Vec<Pair> = Vec::new();
    // The first row of the run of changes that still wants its right side.
    let mut open = 0;
    for line in lines {
        match line.side {
            Side::Both => {
                pairs.push((Some(line.clone()), Some(line.clone())));
                open = pairs.len();
            }
            Side::Before => pairs.push((Some(line.clone()), None)),
            Side::After => {
                match pairs.get_mut(open) {
                    Some(pair) => pair.1 = Some(line.clone()),
                    None => pairs.push((None, Some(line.clone()))),
                }
                open += 1;
            }
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use fleet::config::diff::{Secrets, difference};

    use super::*;

    fn check(before: &str, after: &str, wanted: &[(&str, &str)]) {
        let found = difference(
            "a",
            Some(before.as_bytes()),
            Some(after.as_bytes()),
            Secrets::Masked,
        );
        let text = |line: &Option<Line>| line.as_ref().map(Line::text).unwrap_or_default();
        let pairs: Vec<_> = beside(&found.lines)
            .iter()
            .map(|(left, right)| (text(left), text(right)))
            .collect();
        let wanted: Vec<_> = wanted
            .iter()
            .map(|(left, right)| ((*left).to_owned(), (*right).to_owned()))
            .collect();
        assert_eq!(pairs, wanted, "{before:?} {after:?}");
    }

    #[test]
    fn what_goes_stands_beside_what_comes_in_its_place() {
        check("2s", "5s", &[("2s", "5s")]);
        check("a\nb\n", "a\nc\nd\n", &[("a", "a"), ("b", "c"), ("", "d")]);
        check("a\nb\nc\n", "c\n", &[("a", ""), ("b", ""), ("c", "c")]);
    }
}
