//! Tones and whether they are painted: colour carries meaning and never alone.

use crate::report::Color;

/// What a piece of text means; what it looks like is the palette's affair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tone {
    /// The terminal's own foreground.
    #[default]
    Plain,
    /// Serving, added, applied.
    Good,
    /// Degraded, stale, changed.
    Warn,
    /// Broken, removed.
    Bad,
    /// Not news.
    Dim,
    /// Where one is; headings.
    Strong,
}

/// Whether tones are painted on one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Palette {
    /// ANSI colours of the terminal's own theme.
    Ansi,
    /// Text only.
    Plain,
}

impl Palette {
    /// The palette for a stream: an explicit choice first, then NO_COLOR and TERM, then whether
    /// it is a terminal.
    #[must_use]
    pub fn choose(color: Color, is_terminal: bool) -> Self {
        let wanted = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                let set =
                    |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
                is_terminal
                    && !set("NO_COLOR")
                    && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
            }
        };
        if wanted { Self::Ansi } else { Self::Plain }
    }

    /// The text in its tone, standing out from what is beside it: inverse, so that it shows without
    /// colour too.
    #[must_use]
    pub fn emphasize(self, text: &str, tone: Tone) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Ansi => {
                let text = self.paint(text, tone);
                format!("\u{1b}[7m{text}\u{1b}[27m")
            }
        }
    }

    /// The text in its tone.
    #[must_use]
    pub fn paint(self, text: &str, tone: Tone) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Good => "32",
            Tone::Warn => "33",
            Tone::Bad => "31",
            Tone::Dim => "2",
            Tone::Strong => "1",
        };
        match self {
            Self::Plain => text.to_owned(),
            Self::Ansi => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        }
    }
}
