//! The keys of a scope: value, where it comes from, since when and who runs it; below, all layers of
//! the key under the cursor.

use fleet::config::ConfigKey;
use fleet::rollout::Answer;

use crate::tui::state::State;
use crate::tui::state::area::Area;
use crate::tui::state::config::line::{Stray, StrayKind};
use crate::tui::state::config::tree::{Arrangement, Folder, Place};
use crate::tui::state::config::{ConfigPage, KeyRow, Line, Pane, Wanted};
use crate::tui::state::table::Sort;
use crate::tui::text;
use crate::tui::theme::Role;
use crate::tui::view::columns::{Column, Grid, Row};
use crate::tui::view::paint::{Focus, Paint, Span};

const KEYS: [Column; 5] = [
    Column::left("KEY", 14, 48, 0),
    Column::left("VALUE", 12, 48, 1),
    Column::left("FROM", 8, 24, 3),
    Column::left("SINCE", 6, 28, 4),
    Column::left("RUNS", 20, 60, 2).late(),
];

pub(super) fn keys(paint: &mut Paint<'_>, area: Area, state: &State) {
    let list = &state.config.keys;
    let rows = list
        .visible()
        .map(|(_, line)| match line {
            Line::Key(row, place) => key_row(paint, state, row, *place),
            Line::Folder(folder) => folder_row(paint, folder),
            Line::Stray(stray) => stray_row(paint, state, stray),
        })
        .collect();
    let grid = Grid {
        columns: &KEYS,
        rows,
        cursor: list
            .table
            .cursor()
            .checked_sub(list.table.visible(list.rows().len()).start),
        marked: Vec::new(),
        sort: match state.config.arrangement {
            Arrangement::Flat => Some(list.table.sort),
            Arrangement::Tree => Some(Sort::default()),
        },
        focus: Focus::from(state.config.pane == Pane::Keys),
    };
    grid.draw(paint, area);
    if list.rows().is_empty() && area.height > 2 {
        let scope = state
            .config
            .scope
            .as_ref()
            .map_or_else(String::new, ToString::to_string);
        let lines = if list.filter_text().is_empty() {
            [
                format!("{scope} has no config in etcd."),
                "n adds a key.".to_owned(),
            ]
        } else {
            [
                "No key passes the filter.".to_owned(),
                "esc drops it.".to_owned(),
            ]
        };
        paint.text(
            area.x + 3,
            area.y + 1,
            area.width - 4,
            &lines[0],
            Role::Text,
        );
        paint.text(area.x + 3, area.y + 2, area.width - 4, &lines[1], Role::Dim);
    }
}

/// The gap before what stands in folders.
fn indent(place: Place) -> Span<'static> {
    Span::plain("  ".repeat(place.depth))
}

/// `▾ timeout  2 keys`
fn folder_row<'a>(paint: &Paint<'_>, folder: &'a Folder) -> Row<'a> {
    let sign = match folder.folded {
        true => paint.marks().folded,
        false => paint.marks().unfolded,
    };
    let name = folder.path.get(folder.place.from..).unwrap_or_default();
    let name = [
        indent(folder.place),
        Span::dim(format!("{sign} ")),
        Span::new(name, Role::Title),
    ];
    let count = vec![Span::dim(format!("{} keys", folder.keys))];
    vec![name.into(), count]
}

/// What is no key, and why.
fn stray_row<'a>(paint: &Paint<'_>, state: &'a State, stray: &'a Stray) -> Row<'a> {
    let (mark, role, why) = match &stray.kind {
        StrayKind::Canary(what) => (paint.marks().dot, Role::Accent, what),
        StrayKind::Unreadable(why) => (paint.marks().unreachable, Role::Bad, why),
    };
    let name = vec![
        Span::new(format!("{mark} "), role),
        Span::new(stray.name.as_str(), role),
    ];
    let scope = state.config.scope.as_ref();
    let from = Span::dim(scope.map_or_else(String::new, ToString::to_string));
    let written = Span::dim(since(state, stray.entry.mod_revision));
    vec![
        name,
        vec![Span::new(why.as_str(), role)],
        vec![from],
        vec![written],
        vec![Span::dim("–")],
    ]
}

fn key_row<'a>(paint: &Paint<'_>, state: &'a State, row: &'a KeyRow, place: Place) -> Row<'a> {
    let page = &state.config;
    let name = page
        .scope
        .clone()
        .and_then(|scope| ConfigKey::new(scope, &row.path).ok());
    let draft = name.as_ref().and_then(|name| page.drafts.get(name));
    let held = row.entry();
    // What holds no secret needs not be looked through again.
    let veils = name.as_ref().filter(|_| row.hidden);
    let shown = |value: &[u8]| shown(page, veils, value);
    let mut value = match (held, &row.default) {
        (Some(entry), _) if row.fault.is_some() => vec![
            Span::new(format!("{} ", paint.marks().unreachable), Role::Bad),
            Span::new(shown(&entry.value), Role::Bad),
        ],
        (Some(entry), _) => vec![Span::plain(shown(&entry.value))],
        (None, Some(default)) => vec![Span::dim(one_line(default.as_bytes()))],
        (None, None) => vec![Span::dim("–")],
    };
    if let Some(draft) = draft {
        value.push(Span::dim(format!(" {} ", paint.marks().arrow)));
        value.push(match &draft.wanted {
            Wanted::Set(text) => Span::new(
                self::shown(page, name.as_ref(), text.as_bytes()),
                Role::Added,
            ),
            Wanted::Unset => Span::new("unset", Role::Removed),
        });
    }
    let own = match &page.scope {
        Some(scope) => scope.to_string(),
        None => String::new(),
    };
    let from = match (&row.own, &row.global) {
        (Some(_), _) => vec![Span::plain(own)],
        (None, Some(_)) => vec![Span::dim("global")],
        (None, None) if row.default.is_some() => vec![Span::dim("default")],
        (None, None) if draft.is_some() => vec![Span::new("new", Role::Added)],
        (None, None) => vec![Span::dim("not set")],
    };
    let since = held.map_or_else(
        || Span::dim("–"),
        |entry| Span::dim(since(state, entry.mod_revision)),
    );
    let known = held.is_some() || draft.is_some();
    vec![
        vec![
            indent(place),
            Span::new(
                row.path.get(place.from..).unwrap_or_default(),
                if known { Role::Text } else { Role::Dim },
            ),
        ],
        value,
        from,
        vec![since],
        runs(row),
    ]
}

/// A value in one line; with its secrets masked where it is named whose it is.
fn shown(page: &ConfigPage, key: Option<&ConfigKey>, value: &[u8]) -> String {
    let veil = key.and_then(|key| page.veil(key, value));
    one_line(veil.as_deref().unwrap_or(value))
}

/// A value in one line.
fn one_line(value: &[u8]) -> String {
    let head = &value[..value.len().min(512)];
    let text = String::from_utf8_lossy(head);
    let text = text.trim();
    if text.contains('\n') {
        let parts: Vec<&str> = text.lines().map(str::trim).collect();
        return parts.join(" ⏎ ");
    }
    text.to_owned()
}

/// `r811 lin, 2d5h ago`
pub(super) fn since(state: &State, revision: fleet::Revision) -> String {
    match state.config.authors.at(revision) {
        None => format!("r{revision}"),
        Some(by) => match super::history::age(state, by.time) {
            age if age.is_empty() => format!("r{revision} {}", by.name),
            age => format!("r{revision} {}, {age} ago", by.name),
        },
    }
}

/// `5/6  order-91c0-1 refused: "1x"`
fn runs(row: &KeyRow) -> Vec<Span<'static>> {
    let fault = || {
        row.fault
            .as_ref()
            .map(|why| Span::new(format!("  {why}"), Role::Bad))
    };
    let Some(count) = &row.runs else {
        return [Span::dim("–")].into_iter().chain(fault()).collect();
    };
    let role = if count.applied == count.total {
        Role::Good
    } else {
        Role::Warn
    };
    let mut spans = vec![Span::new(
        format!("{}/{}", count.applied, count.total),
        role,
    )];
    match &count.otherwise {
        Some((id, Answer::Refused { error, .. })) => {
            spans.push(Span::new(format!("  {id} refused: {error}"), Role::Warn));
        }
        Some((id, answer @ Answer::Overridden { .. })) => {
            spans.push(Span::new(format!("  {id} {answer}"), Role::Warn));
        }
        _ => spans.extend(fault()),
    }
    spans
}

/// What is no key, in full.
fn reason(paint: &mut Paint<'_>, area: Area, stray: &Stray) {
    let (rule, rest) = area.top(1);
    let (why, next) = match &stray.kind {
        StrayKind::Canary(what) => (what, "P promotes it, A aborts it; enter shows the record"),
        StrayKind::Unreadable(why) => (why, "enter shows what stands there"),
    };
    paint.rule(rule, &stray.entry.key.to_string(), Role::Text);
    let room = usize::from(rest.width.saturating_sub(4));
    let mut lines = text::wrap(why, room);
    lines.truncate(usize::from(rest.height.saturating_sub(1)));
    lines.push(next.to_owned());
    for (line, y) in lines.iter().zip(rest.y..rest.y + rest.height) {
        paint.text(
            rest.x + 3,
            y,
            rest.width.saturating_sub(4),
            line,
            Role::Text,
        );
    }
}

/// All layers of the key under the cursor, and what its service says of it.
pub(super) fn layers(paint: &mut Paint<'_>, area: Area, state: &State) {
    let row = match state.config.keys.current() {
        Some(Line::Key(row, _)) => row,
        Some(Line::Stray(stray)) => return reason(paint, area, stray),
        Some(Line::Folder(_)) | None => return,
    };
    let (rule, rest) = area.top(1);
    paint.rule(
        rule,
        &format!("{}: where it comes from", row.path),
        Role::Text,
    );
    let own = state
        .config
        .scope
        .as_ref()
        .map_or_else(String::new, ToString::to_string);
    let global = if own == "global" {
        None
    } else {
        Some(("global", &row.global))
    };
    let page = &state.config;
    let name = page.scope.clone();
    let name = name.and_then(|scope| ConfigKey::new(scope, &row.path).ok());
    let layers = [(own.as_str(), &row.own)].into_iter().chain(global);
    let (rest, last) = match &row.field {
        Some(_) => rest.bottom(2),
        None => (rest, Area::default()),
    };
    if let Some(field) = &row.field {
        let default = match &row.default {
            Some(default) => Span::plain(one_line(default.as_bytes())),
            None => Span::dim("none"),
        };
        let room = last.width.saturating_sub(25);
        paint.text(last.x + 3, last.y, 20, "default", Role::Dim);
        let kind = Span::dim(format!("   {}", field.kind));
        paint.spans(last.x + 24, last.y, room, &[default, kind]);
        if let (Some(docs), true) = (&field.description, last.height > 1) {
            let room = last.width.saturating_sub(4);
            paint.text(last.x + 3, last.y + 1, room, docs, Role::Dim);
        }
    }
    for ((layer, entry), y) in layers.zip(rest.y..rest.y + rest.height) {
        let spans = match entry {
            None => vec![Span::dim("not set")],
            Some(entry) => {
                let mut spans = vec![Span::plain(shown(page, name.as_ref(), &entry.value))];
                if let Some(why) = row.fault.as_ref().filter(|_| row.entry() == Some(entry)) {
                    spans.push(Span::new(format!("   {why}"), Role::Bad));
                }
                spans.push(Span::dim(format!(
                    "   r{}, written {} time{}",
                    entry.mod_revision,
                    entry.version,
                    if entry.version == 1 { "" } else { "s" }
                )));
                spans
            }
        };
        paint.text(rest.x + 3, y, 20, layer, Role::Dim);
        paint.spans(rest.x + 24, y, rest.width.saturating_sub(25), &spans);
    }
}
