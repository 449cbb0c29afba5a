//! Writing into cells, inside bounds and made safe: the one way by which text reaches the screen.

use std::borrow::Cow;

use fleet::Health;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use super::{Look, Titles};
use crate::tui::state::area::Area;
use crate::tui::state::editor::Editor;
use crate::tui::text;
use crate::tui::theme::{Marks, Role, Theme};

/// A piece of text in one role.
#[derive(Clone, Debug)]
pub(super) struct Span<'a> {
    /// The text.
    pub(super) text: Cow<'a, str>,
    /// Its role.
    pub(super) role: Role,
}

impl<'a> Span<'a> {
    pub(super) fn new(text: impl Into<Cow<'a, str>>, role: Role) -> Self {
        Self {
            text: text.into(),
            role,
        }
    }

    pub(super) fn plain(text: impl Into<Cow<'a, str>>) -> Self {
        Self::new(text, Role::Text)
    }

    pub(super) fn dim(text: impl Into<Cow<'a, str>>) -> Self {
        Self::new(text, Role::Dim)
    }
}

/// How many cells spans take.
pub(super) fn width(spans: &[Span<'_>]) -> usize {
    spans.iter().map(|span| text::width(&span.text)).sum()
}

/// A buffer with the look to write in.
pub(super) struct Paint<'a> {
    buffer: &'a mut Buffer,
    look: &'a Look,
    titles: Titles,
}

impl<'a> Paint<'a> {
    pub(super) fn new(buffer: &'a mut Buffer, look: &'a Look) -> Self {
        Self {
            buffer,
            look,
            titles: Titles::default(),
        }
    }

    /// Notes where the title of a column stands.
    pub(super) fn title(&mut self, area: Area, column: usize) {
        self.titles.0.push((area, column));
    }

    pub(super) fn into_titles(self) -> Titles {
        self.titles
    }

    pub(super) fn theme(&self) -> Theme {
        self.look.theme
    }

    pub(super) fn marks(&self) -> &'static Marks {
        self.look.theme.marks()
    }

    /// A time of day in the user's zone.
    pub(super) fn clock(&self, at: jiff::Timestamp) -> String {
        at.to_zoned(self.look.zone.clone())
            .strftime("%H:%M:%S")
            .to_string()
    }

    /// Writes text into at most `room` cells. Returns the column after it.
    pub(super) fn text(&mut self, x: u16, y: u16, room: u16, text: &str, role: Role) -> u16 {
        let style = self.look.theme.style(role);
        self.styled(x, y, room, text, style)
    }

    /// Writes text in a style of its own.
    pub(super) fn styled(&mut self, x: u16, y: u16, room: u16, text: &str, style: Style) -> u16 {
        let bounds = self.buffer.area;
        if y >= bounds.height || x >= bounds.width {
            return x;
        }
        let room = room.min(bounds.width - x);
        let text = fleet::safe::escape(text);
        let text = text::fit(&text, usize::from(room), self.marks().ellipsis);
        let text = if self.look.theme.glyphs == crate::tui::theme::Glyphs::Ascii {
            ascii(&text)
        } else {
            text
        };
        self.buffer
            .set_stringn(x, y, &text, usize::from(room), style)
            .0
    }

    /// Writes spans one after the other into at most `room` cells.
    pub(super) fn spans(&mut self, x: u16, y: u16, room: u16, spans: &[Span<'_>]) -> u16 {
        let end = x.saturating_add(room);
        let mut x = x;
        for span in spans {
            let room = end.saturating_sub(x);
            if room == 0 {
                break;
            }
            x = self.text(x, y, room, &span.text, span.role);
        }
        x
    }

    /// Writes spans so that they end at the right.
    pub(super) fn spans_right(&mut self, area: Area, spans: &[Span<'_>]) -> u16 {
        let width = u16::try_from(width(spans))
            .unwrap_or(u16::MAX)
            .min(area.width);
        let x = area.x + area.width - width;
        self.spans(x, area.y, width, spans);
        x
    }

    /// Lays a style over cells, keeping their text.
    pub(super) fn tint(&mut self, area: Area, style: Style) {
        let rect = Rect::new(area.x, area.y, area.width, area.height);
        self.buffer
            .set_style(rect.intersection(self.buffer.area), style);
    }

    /// Empties cells.
    pub(super) fn clear(&mut self, area: Area) {
        let rect = Rect::new(area.x, area.y, area.width, area.height);
        for y in rect.intersection(self.buffer.area).rows() {
            for at in y.columns() {
                if let Some(cell) = self.buffer.cell_mut((at.x, at.y)) {
                    cell.reset();
                }
            }
        }
    }

    /// A horizontal rule with a title in it.
    pub(super) fn rule(&mut self, area: Area, title: &str, role: Role) {
        let rule = self.marks().rule;
        let title = format!(" {title} ");
        let start = area.x + 1;
        let x = self.text(start, area.y, 2, &rule.repeat(2), Role::Dim);
        let x = self.text(x, area.y, area.width.saturating_sub(4), &title, role);
        let room = (area.x + area.width).saturating_sub(x + 1);
        self.text(x, area.y, room, &rule.repeat(usize::from(room)), Role::Dim);
    }

    /// The mark of the row under the cursor, and its background where the pane has the focus.
    pub(super) fn cursor(&mut self, area: Area, y: u16, focus: Focus) {
        let row = Area {
            y,
            height: 1,
            ..area
        };
        let role = match focus {
            Focus::Here => {
                self.tint(row, self.look.theme.selected());
                Role::Accent
            }
            Focus::Elsewhere => Role::Dim,
        };
        let style = self.look.theme.style(role);
        self.styled(area.x + 1, y, 1, self.marks().cursor, style);
    }

    /// A gauge of `cells` cells.
    pub(super) fn gauge(&self, part: f64, cells: usize) -> String {
        let full = (part.clamp(0.0, 1.0) * cells as f64).round() as usize;
        let marks = self.marks();
        format!(
            "{}{}",
            marks.full.repeat(full),
            marks.empty.repeat(cells - full)
        )
    }

    /// Draws a text being edited, its cursor in sight where it has the focus. A text of one line
    /// scrolls sideways.
    pub(super) fn editor(&mut self, area: Area, editor: &Editor, focus: Focus) {
        if area.is_empty() {
            return;
        }
        let (row, column) = editor.cursor();
        let height = usize::from(area.height);
        let first = row.saturating_sub(height.saturating_sub(1));
        let room = usize::from(area.width).saturating_sub(1).max(1);
        for (index, line) in editor.lines().iter().enumerate().skip(first).take(height) {
            let y = area.y + u16::try_from(index - first).unwrap_or(0);
            // Only the line with the cursor moves sideways; the others end in an ellipsis.
            let skip = if index == row {
                column.saturating_sub(room)
            } else {
                0
            };
            let shown: String = line.chars().skip(skip).take(room + 1).collect();
            self.text(area.x, y, area.width, &shown, Role::Text);
            if index == row && focus == Focus::Here {
                let before: String = line.chars().skip(skip).take(column - skip).collect();
                let before = text::width(&fleet::safe::escape(&before));
                let x = area.x + u16::try_from(before).unwrap_or(0).min(area.width - 1);
                let style = Style::new().add_modifier(Modifier::REVERSED);
                self.tint(
                    Area {
                        x,
                        y,
                        width: 1,
                        height: 1,
                    },
                    style,
                );
            }
        }
    }
}

/// Whether a pane has the focus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Focus {
    /// It has.
    Here,
    /// Another one has.
    Elsewhere,
}

impl From<bool> for Focus {
    fn from(here: bool) -> Self {
        if here { Self::Here } else { Self::Elsewhere }
    }
}

/// The glyph of a state.
pub(super) fn glyph(marks: &'static Marks, health: Health) -> &'static str {
    match health {
        Health::Serving => marks.serving,
        Health::NotServing => marks.not_serving,
        Health::Hung => marks.hung,
        Health::Unreachable => marks.unreachable,
        Health::Unknown => marks.unknown,
    }
}

/// The role of a state.
pub(super) fn role(health: Health) -> Role {
    match health {
        Health::Serving => Role::Good,
        Health::NotServing => Role::Warn,
        Health::Hung | Health::Unreachable => Role::Bad,
        Health::Unknown => Role::Dim,
    }
}

/// Words of ours carry a few signs that ASCII has not; what is the fleet's own stays as it is.
fn ascii(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '→' => out.push_str("->"),
            '–' | '—' => out.push('-'),
            '…' => out.push('~'),
            '·' => out.push('-'),
            'µ' => out.push('u'),
            '×' => out.push('x'),
            '•' => out.push('*'),
            other if other.is_ascii() => out.push(other),
            _ => out.push('?'),
        }
    }
    Cow::Owned(out)
}
