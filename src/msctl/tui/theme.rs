//! What colours and glyphs mean, in five sets: dark, light, sixteen colours, none, and ASCII glyphs beside any of them.
//! Colour never carries meaning alone: each state has a glyph, each mark a character. Roles only; no view names a colour.

use ratatui::style::{Color, Modifier, Style};

/// Which colours the terminal is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Palette {
    /// 24-bit colours on a dark background.
    Dark,
    /// 24-bit colours on a light background.
    Light,
    /// The terminal's own sixteen colours.
    Sixteen,
    /// No colours at all: bold, dim and reverse only.
    None,
}

/// Which characters draw marks, gauges and rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glyphs {
    /// Unicode symbols.
    Unicode,
    /// Nothing beyond ASCII.
    Ascii,
}

/// The role a piece of text plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The terminal's own foreground.
    Text,
    /// What is not news.
    Dim,
    /// Where one is; keys that work.
    Accent,
    /// Serving, applied, done.
    Good,
    /// Degraded, stale, pending.
    Warn,
    /// Broken, refused, lost.
    Bad,
    /// Column titles.
    Title,
    /// The header's own line.
    Header,
    /// The header's line in a production context.
    HeaderProduction,
    /// A removed piece of text.
    Removed,
    /// An added piece of text.
    Added,
}

/// The glyphs of one set.
#[derive(Debug)]
pub struct Marks {
    /// `●` serving.
    pub serving: &'static str,
    /// `◐` answering that it does not serve.
    pub not_serving: &'static str,
    /// `⧗` lease alive, health unanswered.
    pub hung: &'static str,
    /// `✗` no connection.
    pub unreachable: &'static str,
    /// `○` not known.
    pub unknown: &'static str,
    /// Full part of a gauge.
    pub full: &'static str,
    /// Empty part of a gauge.
    pub empty: &'static str,
    /// Selected row.
    pub cursor: &'static str,
    /// Marked row.
    pub marked: &'static str,
    /// Horizontal rule.
    pub rule: &'static str,
    /// Between parts of a path.
    pub path: &'static str,
    /// End of a shortened text.
    pub ellipsis: &'static str,
    /// Before to after.
    pub arrow: &'static str,
    /// Between small facts.
    pub dot: &'static str,
    /// Sorted downwards and upwards.
    pub descending: &'static str,
    /// Sorted upwards.
    pub ascending: &'static str,
    /// Times: `×5`.
    pub times: &'static str,
    /// Text cursor at the end of a line.
    pub caret: &'static str,
    /// A folded and an unfolded branch.
    pub folded: &'static str,
    /// An unfolded branch.
    pub unfolded: &'static str,
}

const UNICODE: Marks = Marks {
    serving: "●",
    not_serving: "◐",
    hung: "⧗",
    unreachable: "✗",
    unknown: "○",
    full: "▰",
    empty: "▱",
    cursor: "▌",
    marked: "•",
    rule: "─",
    path: "▸",
    ellipsis: "…",
    arrow: "→",
    dot: "·",
    descending: "↓",
    ascending: "↑",
    times: "×",
    caret: "▏",
    folded: "▸",
    unfolded: "▾",
};

const ASCII: Marks = Marks {
    serving: "+",
    not_serving: "~",
    hung: "!",
    unreachable: "x",
    unknown: "?",
    full: "#",
    empty: ".",
    cursor: ">",
    marked: "*",
    rule: "-",
    path: ">",
    ellipsis: "~",
    arrow: "->",
    dot: "-",
    descending: "v",
    ascending: "^",
    times: "x",
    caret: "|",
    folded: "+",
    unfolded: "-",
};

/// Colours and glyphs together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    /// The colours.
    pub palette: Palette,
    /// The glyphs.
    pub glyphs: Glyphs,
}

/// What the terminal's surroundings say about colour, as read by the caller: this module reads no environment.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// `NO_COLOR` is set and not empty.
    pub no_color: bool,
    /// `COLORTERM`.
    pub colorterm: Option<String>,
    /// `TERM`.
    pub term: Option<String>,
    /// `COLORFGBG`, as `foreground;background`.
    pub colorfgbg: Option<String>,
    /// The first set of `LC_ALL`, `LC_CTYPE`, `LANG`.
    pub locale: Option<String>,
}

/// What the user asked for with `--color`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColorChoice {
    /// As the terminal can.
    #[default]
    Auto,
    /// Colours even where `NO_COLOR` says no.
    Always,
    /// None.
    Never,
}

impl Theme {
    /// The best theme for a terminal: `NO_COLOR` and `--color never` win, `COLORTERM` gives 24 bits, a light `COLORFGBG`
    /// the light set, a locale without UTF-8 the ASCII glyphs.
    pub fn detect(choice: ColorChoice, around: &Surroundings) -> Self {
        let term = around.term.as_deref().unwrap_or_default();
        let dumb = matches!(term, "dumb" | "unknown");
        let rich = around
            .colorterm
            .as_deref()
            .is_some_and(|v| v.contains("truecolor") || v.contains("24bit"))
            || term.ends_with("-direct");
        let light = around
            .colorfgbg
            .as_deref()
            .and_then(|v| v.rsplit(';').next())
            .is_some_and(|background| matches!(background, "7" | "15"));
        let palette = match choice {
            ColorChoice::Never => Palette::None,
            ColorChoice::Auto if around.no_color || dumb => Palette::None,
            _ if rich && light => Palette::Light,
            _ if rich => Palette::Dark,
            _ => Palette::Sixteen,
        };
        let ascii = around.locale.as_deref().is_some_and(|locale| {
            let locale = locale.to_ascii_lowercase();
            !locale.is_empty() && !locale.contains("utf-8") && !locale.contains("utf8")
        }) || term == "linux"
            || dumb;
        Self {
            palette,
            glyphs: if ascii {
                Glyphs::Ascii
            } else {
                Glyphs::Unicode
            },
        }
    }

    /// A theme by its name, as `:theme` takes it.
    pub fn named(name: &str) -> Option<Self> {
        let (palette, glyphs) = match name {
            "dark" => (Palette::Dark, Glyphs::Unicode),
            "light" => (Palette::Light, Glyphs::Unicode),
            "16" => (Palette::Sixteen, Glyphs::Unicode),
            "none" => (Palette::None, Glyphs::Unicode),
            "ascii" => (Palette::None, Glyphs::Ascii),
            _ => return None,
        };
        Some(Self { palette, glyphs })
    }

    /// The names [`Theme::named`] knows.
    pub const NAMES: [&'static str; 5] = ["dark", "light", "16", "none", "ascii"];

    /// The theme after this one in [`Theme::NAMES`].
    pub fn next(self) -> Self {
        let at = Self::NAMES
            .iter()
            .position(|name| Self::named(name) == Some(self));
        let name = Self::NAMES[at.map_or(0, |at| (at + 1) % Self::NAMES.len())];
        Self::named(name).unwrap_or(self)
    }

    /// Its glyphs.
    pub fn marks(self) -> &'static Marks {
        match self.glyphs {
            Glyphs::Unicode => &UNICODE,
            Glyphs::Ascii => &ASCII,
        }
    }

    /// How a role looks.
    pub fn style(self, role: Role) -> Style {
        let plain = Style::new();
        match self.palette {
            Palette::None => match role {
                Role::Dim => plain.add_modifier(Modifier::DIM),
                Role::Accent | Role::Bad | Role::Added => plain.add_modifier(Modifier::BOLD),
                Role::Title => plain.add_modifier(Modifier::DIM),
                Role::HeaderProduction => plain.add_modifier(Modifier::REVERSED | Modifier::BOLD),
                Role::Removed => plain.add_modifier(Modifier::CROSSED_OUT),
                Role::Text | Role::Good | Role::Warn | Role::Header => plain,
            },
            Palette::Sixteen => match role {
                Role::Text | Role::Header => plain,
                Role::Dim | Role::Title => plain.fg(Color::DarkGray),
                Role::Accent => plain.fg(Color::Cyan),
                Role::Good | Role::Added => plain.fg(Color::Green),
                Role::Warn => plain.fg(Color::Yellow),
                Role::Bad | Role::Removed => plain.fg(Color::Red),
                Role::HeaderProduction => plain
                    .fg(Color::White)
                    .bg(Color::Red)
                    .add_modifier(Modifier::BOLD),
            },
            Palette::Dark => match role {
                Role::Text | Role::Header => plain,
                Role::Dim | Role::Title => plain.fg(Color::Rgb(0x80, 0x87, 0x92)),
                Role::Accent => plain.fg(Color::Rgb(0x7a, 0xb8, 0xff)),
                Role::Good | Role::Added => plain.fg(Color::Rgb(0x7f, 0xd1, 0x8b)),
                Role::Warn => plain.fg(Color::Rgb(0xf0, 0xb7, 0x5a)),
                Role::Bad | Role::Removed => plain.fg(Color::Rgb(0xf2, 0x6d, 0x6d)),
                Role::HeaderProduction => plain
                    .fg(Color::Rgb(255, 255, 255))
                    .bg(Color::Rgb(0xa8, 0x1e, 0x2b))
                    .add_modifier(Modifier::BOLD),
            },
            Palette::Light => match role {
                Role::Text | Role::Header => plain,
                Role::Dim | Role::Title => plain.fg(Color::Rgb(0x6b, 0x72, 0x7c)),
                Role::Accent => plain.fg(Color::Rgb(0x0b, 0x57, 0xc2)),
                Role::Good | Role::Added => plain.fg(Color::Rgb(0x1a, 0x7a, 0x33)),
                Role::Warn => plain.fg(Color::Rgb(0x96, 0x5c, 0x00)),
                Role::Bad | Role::Removed => plain.fg(Color::Rgb(0xb4, 0x1e, 0x24)),
                Role::HeaderProduction => plain
                    .fg(Color::Rgb(255, 255, 255))
                    .bg(Color::Rgb(0xb4, 0x1e, 0x24))
                    .add_modifier(Modifier::BOLD),
            },
        }
    }

    /// How the row under the cursor looks where its pane has the focus.
    pub fn selected(self) -> Style {
        match self.palette {
            Palette::None => Style::new().add_modifier(Modifier::BOLD),
            Palette::Sixteen => Style::new().add_modifier(Modifier::BOLD),
            Palette::Dark => Style::new()
                .bg(Color::Rgb(0x26, 0x30, 0x3d))
                .add_modifier(Modifier::BOLD),
            Palette::Light => Style::new()
                .bg(Color::Rgb(0xe2, 0xea, 0xf5))
                .add_modifier(Modifier::BOLD),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_terminal_decides_unless_the_user_does() {
        let around = |no_color, colorterm: &str, locale: &str| Surroundings {
            no_color,
            colorterm: Some(colorterm.into()),
            term: Some("xterm-256color".into()),
            colorfgbg: None,
            locale: Some(locale.into()),
        };
        let detect = |choice, s: Surroundings| Theme::detect(choice, &s);
        let utf8 = "C.UTF-8";
        assert_eq!(
            detect(ColorChoice::Auto, around(false, "truecolor", utf8)).palette,
            Palette::Dark
        );
        assert_eq!(
            detect(ColorChoice::Auto, around(false, "", utf8)).palette,
            Palette::Sixteen
        );
        assert_eq!(
            detect(ColorChoice::Auto, around(true, "truecolor", utf8)).palette,
            Palette::None
        );
        assert_eq!(
            detect(ColorChoice::Always, around(true, "truecolor", utf8)).palette,
            Palette::Dark
        );
        assert_eq!(
            detect(ColorChoice::Never, around(false, "truecolor", utf8)).palette,
            Palette::None
        );
        assert_eq!(
            detect(ColorChoice::Auto, around(false, "", "C")).glyphs,
            Glyphs::Ascii
        );
    }

    #[test]
    fn the_ascii_set_is_ascii() {
        let set = format!("{ASCII:?}");
        assert!(set.is_ascii());
    }
}
