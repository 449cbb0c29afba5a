//! Everything the console said, the newest first.

use super::paint::{Paint, Span};
use super::tone;
use crate::tui::state::State;
use crate::tui::state::area::Area;
use crate::tui::theme::Role;

/// Draws the page.
pub(super) fn page(paint: &mut Paint<'_>, area: Area, state: &State) {
    let messages = &state.messages;
    if messages.newest().len() == 0 {
        paint.text(
            area.x + 3,
            area.y,
            area.width - 4,
            "Nothing was said yet.",
            Role::Dim,
        );
    }
    let shown = messages
        .newest()
        .skip(messages.scroll)
        .zip(area.y..area.y + area.height);
    for (message, y) in shown {
        let times = match message.times {
            1 => String::new(),
            times => format!("  {}{times}", paint.marks().times),
        };
        let spans = [
            Span::dim(format!("{}  ", paint.clock(message.at))),
            Span::new(message.text.as_str(), tone(message.tone)),
            Span::dim(times),
        ];
        paint.spans(area.x + 3, y, area.width.saturating_sub(4), &spans);
    }
}
