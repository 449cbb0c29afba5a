//! What the console prints: data on stdout as a table, JSON, YAML or NDJSON, everything else on
//! stderr, and errors with their kind, next step and exit code.
//!
//! Nothing from outside reaches the terminal unescaped, and a reader that went away ends the
//! command quietly. No command writes to stdout past this.

pub mod failure;
pub mod json;
pub mod style;
pub mod table;

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

pub use failure::{Failure, Kind};
pub use style::{Palette, Tone};
pub use table::{Cell, Table};

/// How data is written to stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people: aligned columns.
    Table,
    /// One JSON document; lists are one array.
    Json,
    /// One YAML document.
    Yaml,
    /// One JSON document a line.
    Ndjson,
}

/// When colour is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set or TERM is "dumb".
    Auto,
    /// Also into pipes and files.
    Always,
    /// Not at all.
    Never,
}

/// How much is said on stderr beside errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Errors only.
    Quiet,
    /// Warnings and one-line confirmations.
    Normal,
    /// What is being done as well.
    Verbose,
}

/// The two streams of one command, with what may be done on each.
pub struct Report {
    format: Format,
    errors: Format,
    verbosity: Verbosity,
    out_palette: Palette,
    err_palette: Palette,
    out_is_terminal: bool,
    can_ask: bool,
    out: Box<dyn Write + Send>,
}

impl Report {
    /// A report on this process's stdout and stderr; errors may have a format of their own.
    #[must_use]
    pub fn new(format: Format, errors: Format, color: Color, verbosity: Verbosity) -> Self {
        let out_is_terminal = io::stdout().is_terminal();
        let err_is_terminal = io::stderr().is_terminal();
        Self {
            format,
            errors,
            verbosity,
            out_palette: Palette::choose(color, out_is_terminal),
            err_palette: Palette::choose(color, err_is_terminal),
            out_is_terminal,
            can_ask: err_is_terminal && io::stdin().is_terminal(),
            out: Box::new(io::BufWriter::with_capacity(64 * 1024, io::stdout())),
        }
    }

    /// The format asked for.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Whether data is for a person's eyes.
    #[must_use]
    pub fn is_table(&self) -> bool {
        self.format == Format::Table
    }

    /// Whether someone sits there who can answer: stdin and stderr are terminals.
    #[must_use]
    pub fn can_ask(&self) -> bool {
        self.can_ask
    }

    /// The colours of stdout.
    #[must_use]
    pub fn palette(&self) -> Palette {
        self.out_palette
    }

    /// The colours of stderr.
    #[must_use]
    pub fn err_palette(&self) -> Palette {
        self.err_palette
    }

    /// Writes many items: rows of a table, or one document each, without holding the documents.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn list<T: Serialize>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        mut table: Table,
        row: impl Fn(&T) -> Vec<Cell>,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Table => {
                for item in items {
                    table.push(row(&item));
                }
                self.table(&table)?;
            }
            Format::Yaml => {
                let items: Vec<T> = items.into_iter().collect();
                self.yaml(&items)?;
            }
            Format::Json | Format::Ndjson => {
                let mut list = self.begin_list()?;
                for item in items {
                    list.push(&item)?;
                }
                list.end()?;
            }
        }
        self.flush()
    }

    /// Begins a list of documents that come one by one: an array, or NDJSON.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn begin_list(&mut self) -> Result<List<'_>, Failure> {
        if self.format != Format::Ndjson {
            self.out.write_all(b"[")?;
        }
        Ok(List {
            report: self,
            written: 0,
        })
    }

    /// Writes one document; `text` is its form for people.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn one<T: Serialize>(
        &mut self,
        item: &T,
        text: impl FnOnce(&T, Palette) -> String,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Table => {
                let text = text(item, self.out_palette);
                self.out.write_all(text.as_bytes())?;
                if !text.is_empty() && !text.ends_with('\n') {
                    self.out.write_all(b"\n")?;
                }
            }
            Format::Json => {
                json::write_pretty(&mut self.out, item)?;
                self.out.write_all(b"\n")?;
            }
            Format::Yaml => self.yaml(item)?,
            Format::Ndjson => {
                json::write(&mut self.out, item)?;
                self.out.write_all(b"\n")?;
            }
        }
        self.flush()
    }

    /// Writes one document of a stream as one line and hands it on at once. A stream is NDJSON
    /// whatever the format, save YAML, where documents are separated by `---`.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn event<T: Serialize>(&mut self, item: &T) -> Result<(), Failure> {
        if self.format == Format::Yaml {
            self.out.write_all(b"---\n")?;
            self.yaml(item)?;
        } else {
            json::write(&mut self.out, item)?;
            self.out.write_all(b"\n")?;
        }
        self.flush()
    }

    /// Writes text that is safe already, as it is.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn text(&mut self, text: &str) -> Result<(), Failure> {
        self.out.write_all(text.as_bytes())?;
        self.flush()
    }

    /// Writes a table, fitted to the terminal where there is one.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn table(&mut self, table: &Table) -> Result<(), Failure> {
        let width = if self.out_is_terminal {
            crossterm::terminal::size()
                .ok()
                .map(|(columns, _)| usize::from(columns))
                .filter(|columns| *columns > 0)
        } else {
            None
        };
        table.write(&mut self.out, self.out_palette, width)?;
        self.flush()
    }

    /// Says something beside the data, on stderr. The text is escaped.
    pub fn note(&self, text: &str) {
        if self.verbosity >= Verbosity::Normal {
            say(text);
        }
    }

    /// Says something only with `-v`.
    pub fn detail(&self, text: &str) {
        if self.verbosity >= Verbosity::Verbose {
            say(text);
        }
    }

    /// Warns on stderr; `-q` does not silence what is wrong with the fleet.
    pub fn warn(&self, text: &str) {
        let mark = self.err_palette.paint("warning:", Tone::Warn);
        say_raw(&format!("{mark} {}\n", lines_safe(text)));
    }

    /// Shows text on stderr whose colours are ours already, such as a diff before a question.
    pub fn show(&self, text: &str) {
        say_raw(text);
    }

    /// Asks on the terminal; anything but yes is no. `None` when nobody is there.
    #[must_use]
    pub fn confirm(&self, question: &str) -> Option<Answer> {
        if !self.can_ask {
            return None;
        }
        say_raw(&format!("{} [y/N] ", fleet::safe::escape(question)));
        let mut answer = String::new();
        match io::stdin().read_line(&mut answer) {
            Ok(_) if matches!(answer.trim(), "y" | "Y" | "yes" | "Yes") => Some(Answer::Yes),
            _ => Some(Answer::No),
        }
    }

    /// Asks for a word, such as a context's name; `None` when nobody is there.
    #[must_use]
    pub fn ask(&self, question: &str) -> Option<String> {
        if !self.can_ask {
            return None;
        }
        say_raw(&format!("{} ", fleet::safe::escape(question)));
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).ok()?;
        Some(answer.trim().to_owned())
    }

    /// A bar for work of so many steps, on a terminal; elsewhere nothing is shown.
    #[must_use]
    pub fn progress(&self, steps: usize) -> Progress {
        Progress {
            steps,
            shown: self.can_ask && self.verbosity >= Verbosity::Normal,
        }
    }

    /// Prints what went wrong, on stderr.
    pub fn failure(&self, failure: &Failure) {
        failure.print(self.errors, self.err_palette);
    }

    fn yaml<T: Serialize>(&mut self, item: &T) -> Result<(), Failure> {
        let text = serde_yaml::to_string(item)
            .map_err(|error| Failure::failed(format!("the answer has no YAML form: {error}")))?;
        for line in text.split_inclusive('\n') {
            let body = line.strip_suffix('\n').unwrap_or(line);
            self.out.write_all(fleet::safe::escape(body).as_bytes())?;
            self.out.write_all(b"\n")?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.out.flush()?)
    }
}

/// A list that is being written. It is complete once [`List::end`] was called.
pub struct List<'r> {
    report: &'r mut Report,
    written: usize,
}

impl List<'_> {
    /// Writes one more document.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn push<T: Serialize>(&mut self, item: &T) -> Result<(), Failure> {
        let out = &mut self.report.out;
        if self.report.format == Format::Ndjson {
            json::write(out, item)?;
            out.write_all(b"\n")?;
        } else {
            out.write_all(if self.written == 0 { b"\n" } else { b",\n" })?;
            json::write(out, item)?;
        }
        self.written += 1;
        Ok(())
    }

    /// Ends the list.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn end(self) -> Result<(), Failure> {
        if self.report.format != Format::Ndjson {
            let end: &[u8] = if self.written == 0 { b"]\n" } else { b"\n]\n" };
            self.report.out.write_all(end)?;
        }
        self.report.flush()
    }
}

/// An answer to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Go on.
    Yes,
    /// Leave everything as it is.
    No,
}

/// Escapes text line by line, so that its own line ends stay.
#[must_use]
pub fn lines_safe(text: &str) -> String {
    let lines: Vec<_> = text.split('\n').map(fleet::safe::escape).collect();
    lines.join("\n")
}

fn say(text: &str) {
    say_raw(&format!("{}\n", lines_safe(text)));
}

fn say_raw(text: &str) {
    // Nobody is left to tell when stderr is gone.
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Work on its way. What it shows stands on one line of stderr.
pub struct Progress {
    steps: usize,
    shown: bool,
}

impl Progress {
    /// So many steps are done.
    pub fn to(&mut self, done: usize) {
        const WIDTH: usize = 30;
        if self.shown {
            let full = done * WIDTH / self.steps.max(1);
            let bar = format!(
                "{}{}",
                "▰".repeat(full),
                "▱".repeat(WIDTH - full.min(WIDTH))
            );
            say_raw(&format!("\r{bar} {done}/{}", self.steps));
        }
    }

    /// Takes the bar away.
    pub fn end(self) {
        if self.shown {
            say_raw("\r\x1b[K");
        }
    }
}
