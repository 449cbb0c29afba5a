//! The words of a line as the person wrote them. bash takes `a:b` and `a=b` apart at its word
//! breaks and replaces what stands behind the last one alone.

/// A line, and the word of it that is to be completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// The words; the first is the command itself.
    pub(super) words: Vec<String>,
    /// Which of them is completed.
    pub(super) at: usize,
    /// So much of the beginning of that word the shell keeps.
    pub(super) kept: usize,
}

impl Line {
    /// A line whose words are whole. A word behind the last one is empty.
    pub(super) fn whole(mut words: Vec<String>, at: usize) -> Self {
        let at = at.min(words.len());
        if at == words.len() {
            words.push(String::new());
        }
        Self { words, at, kept: 0 }
    }

    /// A line as bash hands it over.
    pub(super) fn of_bash(words: Vec<String>, at: usize) -> Self {
        let parted = Self::whole(words, at);
        let mut line = Self {
            words: Vec::new(),
            at: 0,
            kept: 0,
        };
        let is_break =
            |word: &str| !word.is_empty() && word.chars().all(|c| matches!(c, ':' | '='));
        let mut glue = false;
        for (number, word) in parted.words.into_iter().enumerate() {
            let breaks = number > 1 && is_break(&word);
            let before = match line.words.last_mut() {
                Some(last) if glue || breaks => {
                    let before = last.len();
                    last.push_str(&word);
                    before
                }
                _ => {
                    line.words.push(word);
                    0
                }
            };
            glue = breaks;
            if number == parted.at {
                line.at = line.words.len() - 1;
                line.kept = before;
            }
        }
        line
    }

    /// The words before the one that is completed.
    pub(super) fn before(&self) -> &[String] {
        &self.words[..self.at]
    }

    /// The word that is completed, as far as it is typed.
    pub(super) fn typed(&self) -> &str {
        self.words.get(self.at).map_or("", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_bash_took_apart_is_one_word_again() {
        for (parted, at, whole, place, kept) in [
            (&["msctl", "con"][..], 1, &["msctl", "con"][..], 1, 0),
            (
                &["msctl", "--endpoints", "h", ":", "1", "config", "get", ""],
                7,
                &["msctl", "--endpoints", "h:1", "config", "get", ""],
                5,
                0,
            ),
            (
                &["msctl", "--context", "=", "pr"],
                3,
                &["msctl", "--context=pr"],
                1,
                "--context=".len(),
            ),
            (
                &["msctl", "--endpoints", "http", ":", "//h", ":", "1"],
                6,
                &["msctl", "--endpoints", "http://h:1"],
                2,
                "http://h:".len(),
            ),
            (&["msctl"], 1, &["msctl", ""], 1, 0),
        ] {
            let words = |all: &[&str]| all.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
            let line = Line::of_bash(words(parted), at);
            let wanted = Line {
                words: words(whole),
                at: place,
                kept,
            };
            assert_eq!(line, wanted, "{parted:?}");
        }
    }
}
