//! What changed the config, the newest first, and below it the change under the cursor line by line.

use super::draft::change;
use crate::tui::state::State;
use crate::tui::state::area::Area;
use crate::tui::state::config::past::{History, Past};
use crate::tui::theme::Role;
use crate::tui::view::columns::{Column, Grid, Row};
use crate::tui::view::paint::{Focus, Paint, Span};

const COLUMNS: [Column; 5] = [
    Column::left("REVISION", 8, 14, 0),
    Column::left("AGE", 5, 8, 2),
    Column::left("AUTHOR", 8, 20, 1),
    Column::left("CHANGE", 20, 80, 0),
    Column::left("MESSAGE", 10, 60, 3).late(),
];

/// Draws what it may not have.
pub(super) fn notes(paint: &mut Paint<'_>, area: Area, history: &History) {
    let room = area.width.saturating_sub(4);
    for (gap, y) in history.gaps.iter().zip(area.y..area.y + area.height) {
        paint.text(area.x + 3, y, room, gap, Role::Warn);
    }
}

/// Draws the list.
pub(super) fn list(paint: &mut Paint<'_>, area: Area, state: &State, history: &History) {
    let list = &history.list;
    let all = history.all.as_deref().unwrap_or_default();
    let rows = list.visible().filter_map(|(_, at)| all.get(*at));
    let grid = Grid {
        columns: &COLUMNS,
        rows: rows.map(|past| row(state, past)).collect(),
        cursor: (list.table.cursor()).checked_sub(list.table.visible(list.rows().len()).start),
        marked: Vec::new(),
        sort: None,
        focus: Focus::Here,
    };
    grid.draw(paint, area);
    let words = match (&history.failed, &history.all) {
        (Some(why), _) => Some((why.as_str(), Role::Bad)),
        (None, None) => Some(("asking etcd", Role::Dim)),
        (None, Some(all)) if all.is_empty() => {
            Some(("nothing is known to have changed", Role::Dim))
        }
        (None, Some(_)) if list.rows().is_empty() => {
            Some(("no change passes the filter", Role::Dim))
        }
        _ => None,
    };
    if let Some((words, role)) = words.filter(|_| area.height > 1) {
        paint.text(
            area.x + 3,
            area.y + 1,
            area.width.saturating_sub(4),
            words,
            role,
        );
    }
}

fn row<'a>(state: &State, past: &'a Past) -> Row<'a> {
    let author = match &past.author {
        Some(author) => Span::plain(author.name.as_str()),
        None if past.damaged.is_some() => Span::dim("–"),
        None => Span::new("another tool", Role::Warn),
    };
    let age = past.author.as_ref().map(|by| age(state, by.time));
    let what = match &past.damaged {
        Some(why) => Span::new(why.as_str(), Role::Bad),
        None => Span::plain(past.what.as_str()),
    };
    vec![
        vec![Span::plain(past.when.as_str())],
        vec![Span::dim(age.unwrap_or_default())],
        vec![author],
        vec![what],
        vec![Span::dim(past.message.as_str())],
    ]
}

/// How long ago something was, by the clock of who did it; nothing where that clock is ahead.
pub(super) fn age(state: &State, time: jiff::Timestamp) -> String {
    let since = state.now.wall.duration_since(time);
    std::time::Duration::try_from(since).map_or_else(|_| String::new(), fleet::finding::age)
}

/// Draws the change under the cursor.
pub(super) fn detail(paint: &mut Paint<'_>, area: Area, history: &History) {
    let (rule, rest) = area.top(1);
    let what = match &history.only {
        Some(key) => key.to_string(),
        None => history.scope.to_string(),
    };
    let past = history.current();
    let title = past.map_or(what.clone(), |past| format!("{what} at {}", past.when));
    paint.rule(rule, &title, Role::Accent);
    let Some(past) = past else { return };
    let mut rows = rest.y..rest.y + rest.height;
    let (x, room) = (rest.x + 3, rest.width.saturating_sub(4));
    for (key, difference) in &past.changes {
        let Some(y) = rows.next() else { return };
        paint.text(x, y, room, key, Role::Text);
        for line in &difference.lines {
            let Some(y) = rows.next() else { return };
            let area = Area {
                x: x + 2,
                y,
                width: room.saturating_sub(2),
                height: 1,
            };
            change(paint, area, line);
        }
    }
}
