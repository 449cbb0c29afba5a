//! What lies over a page and takes the keys: the palette, a question, a line asked for, a text in
//! full. One at a time.

use super::editor::Editor;
use crate::tui::action::Action;
use crate::tui::effect::Effect;

/// The one that is open.
#[derive(Clone, Debug)]
pub enum Overlay {
    /// Run anything by name.
    Palette(Palette),
    /// Yes or no, or a name to be typed.
    Question(Question),
    /// A line is asked for.
    Prompt(Prompt),
    /// A text in full.
    Reader(Reader),
}

/// The palette: what is typed and what fits.
#[derive(Clone, Debug)]
pub struct Palette {
    /// What is typed.
    pub editor: Editor,
    /// What fits, the best first.
    pub entries: Vec<PaletteEntry>,
    /// The entry under the cursor.
    pub cursor: usize,
}

/// Something the palette can run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaletteEntry {
    /// What it does.
    pub run: PaletteRun,
    /// Its name.
    pub name: String,
    /// A sentence.
    pub help: String,
}

/// What a palette entry does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PaletteRun {
    /// An action.
    Action(Action),
    /// Go to this service.
    Service(String),
    /// Take this theme.
    Theme(String),
    /// Go to this context.
    Context(String),
}

/// A question before something that cannot be undone.
#[derive(Clone, Debug)]
pub struct Question {
    /// What is asked.
    pub text: String,
    /// What will be lost or written, line by line.
    pub lines: Vec<String>,
    /// The name that must be typed, and what is typed so far. Without it, y or N.
    pub typed: Option<(String, Editor)>,
    /// What is done on yes.
    pub then: Effect,
}

/// A line that is asked for.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// What for.
    pub purpose: Purpose,
    /// The line.
    pub editor: Editor,
    /// Why it cannot be taken.
    pub error: Option<String>,
}

/// What a line is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The name of a new config key.
    NewKey,
    /// Why config is changed.
    Message,
    /// Which instances try a change first.
    Canary,
    /// Which instance gets a call.
    Instance,
}

impl Purpose {
    /// What to type.
    pub fn title(self) -> &'static str {
        match self {
            Self::NewKey => "new key (dotted, like timeout.write)",
            Self::Message => "message (why this change)",
            Self::Instance => {
                "instance that gets the call, or nothing for any healthy one (tab completes)"
            }
            Self::Canary => "instances that get it first (tab completes)",
        }
    }
}

/// A text in full.
#[derive(Clone, Debug)]
pub struct Reader {
    /// What it is.
    pub title: String,
    /// Its lines; made safe when they are drawn.
    pub lines: Vec<String>,
    /// The first line that shows.
    pub scroll: usize,
}

impl Reader {
    /// A reader at the first line.
    pub fn new(title: impl Into<String>, lines: Vec<String>) -> Self {
        Self {
            title: title.into(),
            lines,
            scroll: 0,
        }
    }
}
