//! State becomes cells. Reads state and theme, changes nothing, waits for nothing, and does no work
//! that grows with the fleet: only rows that show are made.

use jiff::tz::TimeZone;
use ratatui::buffer::Buffer;

use super::state::area::{Area, MINIMUM};
use super::state::overlay::Overlay;
use super::state::toast::Tone;
use super::state::{State, View, layout};
use super::text;
use super::theme::{Role, Theme};
use paint::{Paint, Span};

/// A toast takes at most so many rows; the list of messages has it in full.
const TOAST_ROWS: usize = 3;

mod calls;
mod columns;
mod config;
mod doctor;
mod events;
mod header;
mod instances;
mod keys;
mod leases;
mod messages;
mod overlay;
mod overview;
mod paint;
mod services;

/// How things look, beside the state: what the terminal can and where its user lives.
#[derive(Clone, Debug)]
pub struct Look {
    /// Colours and glyphs.
    pub theme: Theme,
    /// The zone that times are shown in.
    pub zone: TimeZone,
}

/// Where the titles of columns were drawn: which of them a click hits depends on how wide the rows
/// in sight are.
#[derive(Clone, Debug, Default)]
pub struct Titles(Vec<(Area, usize)>);

impl Titles {
    /// The column whose title stands at a cell.
    pub fn at(&self, column: u16, row: u16) -> Option<usize> {
        let hit = self.0.iter().find(|(area, _)| area.contains(column, row));
        hit.map(|(_, index)| *index)
    }
}

/// Draws everything. Returns where the titles of columns stand.
pub fn draw(state: &State, look: &Look, buffer: &mut Buffer) -> Titles {
    let area = Area {
        x: 0,
        y: 0,
        width: buffer.area.width,
        height: buffer.area.height,
    };
    let mut paint = Paint::new(buffer, look);
    if area.width < MINIMUM.0 || area.height < MINIMUM.1 {
        let (columns, rows) = MINIMUM;
        let line = format!("too small: {columns}x{rows} min");
        paint.text(area.x, area.y, area.width, &line, Role::Warn);
        return Titles::default();
    }
    let frame = layout::frame(state);
    header::header(&mut paint, frame.header, state);
    header::tabs(&mut paint, frame.tabs, state);
    match &state.overlay {
        Some(Overlay::Reader(reader)) => overlay::reader(&mut paint, frame.body, reader),
        _ => page(&mut paint, frame.body, state),
    }
    match &state.overlay {
        Some(Overlay::Palette(palette)) => overlay::palette(&mut paint, frame.body, state, palette),
        Some(Overlay::Question(question)) => {
            overlay::question(&mut paint, frame.body, state, question);
        }
        Some(Overlay::Prompt(prompt)) => overlay::prompt(&mut paint, frame.body, prompt),
        Some(Overlay::Reader(_)) | None => {}
    }
    toast(&mut paint, frame.body, state);
    footer(&mut paint, frame.footer, state);
    paint.into_titles()
}

fn page(paint: &mut Paint<'_>, body: Area, state: &State) {
    match state.view {
        View::Services => services::page(paint, state),
        View::Config => config::page(paint, state),
        View::Calls => calls::page(paint, state),
        View::Leases => leases::page(paint, body, state),
        View::Events => events::page(paint, body, state),
        View::Keys => keys::page(paint, body, state),
        View::Doctor => doctor::page(paint, body, state),
        View::Overview => overview::page(paint, body, state),
        View::Messages => messages::page(paint, body, state),
    }
}

/// What the console just said: on the last row of the page, until it goes.
fn toast(paint: &mut Paint<'_>, body: Area, state: &State) {
    // What is asked stands where messages do, and its last line is the answers.
    let asked = matches!(
        state.overlay,
        Some(Overlay::Question(_) | Overlay::Prompt(_))
    );
    if state.view == View::Messages || asked {
        return;
    }
    let Some(message) = state.messages.toast(state.now.mono) else {
        return;
    };
    let role = tone(message.tone);
    let mark = match message.tone {
        Tone::Good => paint.marks().serving,
        Tone::Plain => paint.marks().dot,
        Tone::Warn => "!",
        Tone::Bad => paint.marks().unreachable,
    };
    let times = match message.times {
        1 => String::new(),
        times => format!("  {}{times}", paint.marks().times),
    };
    let text = format!("{}{times}", fleet::safe::escape(&message.text));
    let lines = text::wrap(&text, usize::from(body.width.saturating_sub(4)));
    let rows = lines.len().min(TOAST_ROWS);
    let (_, area) = body.bottom(u16::try_from(rows).unwrap_or(1));
    paint.clear(area);
    paint.text(area.x + 1, area.y, 2, mark, role);
    for (line, y) in lines.iter().zip(area.y..area.y + area.height) {
        paint.text(area.x + 3, y, area.width.saturating_sub(4), line, role);
    }
}

/// How a tone looks.
fn tone(tone: Tone) -> Role {
    match tone {
        Tone::Good => Role::Good,
        Tone::Plain => Role::Accent,
        Tone::Warn => Role::Warn,
        Tone::Bad => Role::Bad,
    }
}

/// The keys that work here: as many as fit, the way out always.
fn footer(paint: &mut Paint<'_>, area: Area, state: &State) {
    let mut x = area.x + 1;
    if !state.pending.is_empty() {
        let begun: Vec<String> = state.pending.iter().map(ToString::to_string).collect();
        paint.text(
            x,
            area.y,
            area.width - 1,
            &format!("{} …", begun.join(" ")),
            Role::Accent,
        );
        return;
    }
    let hints = state.keymap.hints(state.scopes());
    let width = |spec: &&super::action::Spec| {
        text::width(state.keymap.keys_of(spec.action)) + text::width(spec.title) + 4
    };
    let (always, rest): (Vec<_>, Vec<_>) = hints.into_iter().partition(|spec| spec.hint >= 95);
    let room = usize::from(area.width.saturating_sub(1));
    let mut left = room.saturating_sub(always.iter().map(width).sum());
    let rest: Vec<_> = rest
        .into_iter()
        .take_while(|spec| {
            let fits = width(spec) <= left;
            left = left.saturating_sub(width(spec));
            fits
        })
        .collect();
    for spec in rest.into_iter().chain(always) {
        let room = (area.x + area.width).saturating_sub(x);
        if width(&spec) > usize::from(room) + 3 {
            break;
        }
        let keys = state.keymap.keys_of(spec.action);
        let after = paint.spans(
            x,
            area.y,
            room,
            &[
                Span::new(keys, Role::Accent),
                Span::new(" ", Role::Text),
                Span::new(spec.title, Role::Dim),
            ],
        );
        x = after + 3;
    }
}
