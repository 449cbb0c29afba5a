//! The Config page: who has config, the keys of one, and below them what is being changed: the value
//! being edited, the difference to be saved, a conflict, or how a save spreads.

use fleet::config::diff::{Difference, Emphasis, Meaning, Secrets, Side as DiffSide};
use fleet::config::schema::Field;
use fleet::config::secret::{MASK, Sensitivity};
use fleet::config::{ConfigKey, Scope};
use fleet::status::Applied;
use fleet::{Entry, Service};

use super::columns::{Column, Grid, Row};
use super::paint::{Focus, Paint, Span};
use crate::tui::state::area::Area;
use crate::tui::state::config::{Choice, Clash, Editing, KeyRow, Pane, Saving, Wanted};
use crate::tui::state::{State, layout};
use crate::tui::text;
use crate::tui::theme::Role;

/// Above this many instances, who runs a value is not counted per row.
const COUNTED: usize = 200;

const SCOPES: [Column; 4] = [
    Column::left("SERVICE", 12, 40, 0),
    Column::right("KEYS", 5, 8, 1),
    Column::right("NEWEST", 7, 12, 2),
    Column::left("CHANGES", 8, 40, 3),
];

const KEYS: [Column; 5] = [
    Column::left("KEY", 14, 48, 0),
    Column::left("VALUE", 12, 48, 1),
    Column::left("FROM", 8, 24, 3),
    Column::left("SINCE", 6, 16, 4),
    Column::left("RUNS", 20, 60, 2).late(),
];

/// Draws the page.
pub(super) fn page(paint: &mut Paint<'_>, state: &State) {
    let panes = layout::config(state);
    match state.config.pane {
        Pane::Scopes => scopes(paint, panes.list, state),
        _ => keys(paint, panes.list, state),
    }
    if panes.lower.is_empty() {
        return;
    }
    match (
        &state.config.pane,
        &state.config.editing,
        &state.config.clash,
    ) {
        (Pane::Value, Some(editing), _) => editor(paint, panes.lower, state, editing),
        (Pane::Conflict, _, Some(clash)) => conflict(paint, panes.lower, state, clash),
        (Pane::Keys, ..) if !state.config.drafts.is_empty() => drafts(paint, panes.lower, state),
        (Pane::Keys, ..) => match &state.config.saving {
            Some(saving) => rollout(paint, panes.lower, state, saving),
            None => layers(paint, panes.lower, state),
        },
        _ => {}
    }
}

fn scopes(paint: &mut Paint<'_>, area: Area, state: &State) {
    let list = &state.config.scopes;
    let pending = |scope: &Scope| {
        let count = state
            .config
            .drafts
            .keys()
            .filter(|key| key.scope == *scope)
            .count();
        match count {
            0 => Vec::new(),
            count => vec![Span::new(format!("{count} pending"), Role::Warn)],
        }
    };
    let rows = list
        .visible()
        .map(|(_, row)| {
            let keys = i64::try_from(row.keys).unwrap_or(i64::MAX);
            let newest = match row.newest.0 {
                0 => Span::dim("–"),
                revision => Span::plain(format!("r{revision}")),
            };
            vec![
                vec![Span::plain(row.scope.to_string())],
                vec![Span::new(
                    text::number(keys),
                    if keys == 0 { Role::Dim } else { Role::Text },
                )],
                vec![newest],
                pending(&row.scope),
            ]
        })
        .collect();
    let grid = Grid {
        columns: &SCOPES,
        rows,
        cursor: list
            .table
            .cursor()
            .checked_sub(list.table.visible(list.rows().len()).start),
        marked: Vec::new(),
        sort: None,
        focus: Focus::Here,
    };
    grid.draw(paint, area);
}

fn keys(paint: &mut Paint<'_>, area: Area, state: &State) {
    let list = &state.config.keys;
    let rows = list
        .visible()
        .map(|(_, row)| key_row(paint, state, row))
        .collect();
    let grid = Grid {
        columns: &KEYS,
        rows,
        cursor: list
            .table
            .cursor()
            .checked_sub(list.table.visible(list.rows().len()).start),
        marked: Vec::new(),
        sort: None,
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

fn key_row<'a>(paint: &Paint<'_>, state: &'a State, row: &'a KeyRow) -> Row<'a> {
    let page = &state.config;
    let name = page
        .scope
        .clone()
        .and_then(|scope| ConfigKey::new(scope, &row.path).ok());
    let draft = name.as_ref().and_then(|name| page.drafts.get(name));
    let held = row.entry();
    let hidden = name.as_ref().is_some_and(|name| hidden(state, name));
    let mut value = match (held, &row.default) {
        (Some(entry), _) => vec![Span::plain(shown(hidden, &entry.value))],
        (None, Some(default)) => vec![Span::dim(shown(hidden, default.as_bytes()))],
        (None, None) => vec![Span::dim("–")],
    };
    if let Some(draft) = draft {
        value.push(Span::dim(format!(" {} ", paint.marks().arrow)));
        value.push(match &draft.wanted {
            Wanted::Set(text) => Span::new(shown(hidden, text.as_bytes()), Role::Added),
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
        |e| Span::dim(format!("r{}", e.mod_revision)),
    );
    let known = held.is_some() || draft.is_some();
    vec![
        vec![Span::new(
            &*row.path,
            if known { Role::Text } else { Role::Dim },
        )],
        value,
        from,
        vec![since],
        runs(state, row, held),
    ]
}

/// Whether a key's value stays masked.
fn hidden(state: &State, key: &ConfigKey) -> bool {
    state.config.sensitivity(key) == Sensitivity::Secret
        && state.config.secrets() == Secrets::Masked
}

/// A value in one line, masked where it is hidden.
fn shown(hidden: bool, value: &[u8]) -> String {
    if hidden {
        return MASK.to_owned();
    }
    let head = &value[..value.len().min(512)];
    let text = String::from_utf8_lossy(head);
    let text = text.trim();
    if text.contains('\n') {
        let parts: Vec<&str> = text.lines().map(str::trim).collect();
        return parts.join(" ⏎ ");
    }
    text.to_owned()
}

/// `5/6  order-91c0-1 refused: "1x"`
fn runs(state: &State, row: &KeyRow, entry: Option<&Entry>) -> Vec<Span<'static>> {
    let (Some(Scope::Service(service)), Some(entry)) = (&state.config.scope, entry) else {
        return Vec::new();
    };
    let Some(service) = state.directory.registry.service(service.as_str()) else {
        return vec![Span::dim("not running")];
    };
    let scope = if row.own.is_some() {
        state.config.scope.as_ref()
    } else {
        Some(&Scope::Global)
    };
    let Some(key) = scope.map(|scope| format!("{scope}/{}", row.path)) else {
        return Vec::new();
    };
    let tally = tally(state, service, &key, entry.mod_revision.0);
    let Some(tally) = tally else {
        return vec![Span::dim("–")];
    };
    let role = if tally.applied == tally.total {
        Role::Good
    } else {
        Role::Warn
    };
    let mut spans = vec![Span::new(
        format!("{}/{}", tally.applied, tally.total),
        role,
    )];
    if let Some((id, error)) = tally.refused {
        spans.push(Span::new(format!("  {id} refused: {error}"), Role::Warn));
    }
    spans
}

struct Tally {
    applied: usize,
    total: usize,
    refused: Option<(String, String)>,
    silent: Vec<String>,
}

/// Who of a service runs a revision of a key; `None` where nobody reports or there are too many.
fn tally(state: &State, service: &Service, key: &str, revision: i64) -> Option<Tally> {
    if state.directory.reporting() == 0 || service.len() > COUNTED {
        return None;
    }
    let reports = service
        .instances()
        .any(|instance| state.directory.status(instance).is_some());
    if !reports {
        return None;
    }
    let mut tally = Tally {
        applied: 0,
        total: 0,
        refused: None,
        silent: Vec::new(),
    };
    for instance in service.instances() {
        tally.total += 1;
        match state
            .directory
            .status(instance)
            .map(|status| status.applied(key, revision))
        {
            Some(Applied::Yes) => tally.applied += 1,
            Some(Applied::Refused(rejected)) => {
                tally.refused.get_or_insert_with(|| {
                    (instance.record.id.to_string(), rejected.error.clone())
                });
            }
            // It has answered; what it runs instead is its own.
            Some(Applied::Overridden(_)) => {}
            Some(Applied::NotYet) | None => tally.silent.push(instance.record.id.to_string()),
        }
    }
    Some(tally)
}

/// All layers of the key under the cursor, and what its service says of it.
fn layers(paint: &mut Paint<'_>, area: Area, state: &State) {
    let Some(row) = state.config.keys.current() else {
        return;
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
    let hidden = state
        .config
        .current()
        .is_some_and(|key| hidden(state, &key));
    let layers = [(own.as_str(), &row.own)].into_iter().chain(global);
    let (rest, last) = match &row.field {
        Some(_) => rest.bottom(2),
        None => (rest, Area::default()),
    };
    if let Some(field) = &row.field {
        let default = match &row.default {
            Some(default) => Span::plain(shown(hidden, default.as_bytes())),
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
            Some(entry) => vec![
                Span::plain(shown(hidden, &entry.value)),
                Span::dim(format!(
                    "   r{}, written {} time{}",
                    entry.mod_revision,
                    entry.version,
                    if entry.version == 1 { "" } else { "s" }
                )),
            ],
        };
        paint.text(rest.x + 3, y, 20, layer, Role::Dim);
        paint.spans(rest.x + 24, y, rest.width.saturating_sub(25), &spans);
    }
}

fn editor(paint: &mut Paint<'_>, area: Area, state: &State, editing: &Editing) {
    let (rule, rest) = area.top(1);
    let seen = match editing.seen.revision().0 {
        0 => "new".to_owned(),
        revision => format!("r{revision}"),
    };
    paint.rule(rule, &format!("{} {seen}", editing.key), Role::Accent);
    let (text_area, last) = rest.bottom(1);
    let text_area = match &editing.field {
        Some(field) => about(paint, text_area, state, editing, field),
        None => text_area,
    };
    let text_area = Area {
        x: text_area.x + 3,
        width: text_area.width.saturating_sub(4),
        ..text_area
    };
    paint.editor(text_area, &editing.editor, Focus::Here);
    let x = last.x + 3;
    let room = last.width.saturating_sub(4);
    match &editing.error {
        Some(error) => {
            paint.text(x, last.y, room, error, Role::Bad);
        }
        None => {
            let now = state
                .config
                .entry(&editing.key)
                .map_or(0, |entry| entry.mod_revision.0);
            if now == editing.seen.revision().0 {
                let hint =
                    "YAML: 5s, true, 10MiB, [a, b], {a: 1}. Nothing is written before the save.";
                paint.text(x, last.y, room, hint, Role::Dim);
            } else {
                let text = format!(
                    "changed by someone else at r{now} while you edit; saving will show both"
                );
                paint.text(x, last.y, room, &text, Role::Warn);
            }
        }
    }
}

/// What the service says of the key that is edited, below the text. Returns what is left above.
fn about(
    paint: &mut Paint<'_>,
    area: Area,
    state: &State,
    editing: &Editing,
    field: &Field,
) -> Area {
    let lines = 1 + u16::from(field.description.is_some());
    // The text comes first where there is little room.
    let (rest, about) = area.bottom(lines.min(area.height.saturating_sub(2)));
    if about.is_empty() {
        return area;
    }
    let (x, room) = (about.x + 3, about.width.saturating_sub(4));
    let default = field.default.as_ref().map(|default| {
        let text = fleet::config::value::one_line(default);
        let text = shown(hidden(state, &editing.key), text.as_bytes());
        Span::dim(format!("   default {text}"))
    });
    let required = field.required.then(|| Span::dim("   required"));
    let mut spans = vec![Span::plain(&field.kind)];
    spans.extend(default);
    spans.extend(required);
    paint.spans(x, about.y, room, &spans);
    if let (Some(docs), true) = (&field.description, about.height > 1) {
        paint.text(x, about.y + 1, room, docs, Role::Dim);
    }
    rest
}

fn drafts(paint: &mut Paint<'_>, area: Area, state: &State) {
    let page = &state.config;
    let count = page.drafts.len();
    let changes = if count == 1 {
        "1 change".into()
    } else {
        format!("{count} changes")
    };
    let (rule, rest) = area.top(1);
    paint.rule(rule, &format!("{changes}, one transaction"), Role::Accent);
    let (rest, last) = rest.bottom(1);
    let overtaken: Vec<&ConfigKey> = page.overtaken().collect();
    let keys = (rest.width / 3).clamp(16, 40);
    let mut y = rest.y;
    let end = rest.y + rest.height;
    // The change under the cursor is always among those that show.
    let current = page.current();
    let first = current.and_then(|key| page.drafts.keys().position(|draft| *draft == key));
    let order = page.drafts.iter().skip(first.unwrap_or(0));
    let order = order.chain(page.drafts.iter().take(first.unwrap_or(0)));
    for (key, draft) in order {
        if y >= end {
            break;
        }
        let x = paint.text(rest.x + 3, y, keys, &key.to_string(), Role::Text);
        if overtaken.contains(&key) {
            paint.text(x + 2, y, 24, "changed meanwhile", Role::Warn);
        }
        if y + 1 < end
            && draft.difference.lines.len() > 1
            && let Some(reach) = reach(state, key)
        {
            paint.text(rest.x + 3, y + 1, keys, &format!("  {reach}"), Role::Dim);
        }
        let x = rest.x + 3 + keys;
        let room = rest.width.saturating_sub(keys + 4);
        y = difference(
            paint,
            Area {
                x,
                y,
                width: room,
                height: end - y,
            },
            &draft.difference,
        );
        if let Some(doubt) = &draft.doubt
            && y < end
        {
            paint.text(x, y, room, doubt, Role::Warn);
            y += 1;
        }
    }
    let message = if state.save_message.is_empty() {
        Span::dim("none; m writes one")
    } else {
        Span::plain(&state.save_message)
    };
    let spans = [Span::dim("message  "), message];
    paint.spans(last.x + 3, last.y, last.width.saturating_sub(4), &spans);
}

/// Whom a change reaches.
fn reach(state: &State, key: &ConfigKey) -> Option<String> {
    match &key.scope {
        Scope::Global => Some("reaches every service".into()),
        Scope::Service(service) => {
            let running = state.directory.registry.service(service.as_str())?.len();
            let word = if running == 1 {
                "instance"
            } else {
                "instances"
            };
            Some(format!("reaches {running} {word}"))
        }
    }
}

/// The lines of a difference. Returns the row after them.
fn difference(paint: &mut Paint<'_>, area: Area, difference: &Difference) -> u16 {
    let mut y = area.y;
    let end = area.y + area.height;
    // Long values show the lines that differ, with the rest in the editor.
    let lines: Vec<_> = if difference.lines.len() > usize::from(area.height.max(1)) {
        difference
            .lines
            .iter()
            .filter(|line| line.side != DiffSide::Both)
            .collect()
    } else {
        difference.lines.iter().collect()
    };
    for line in lines {
        if y >= end {
            return y;
        }
        let (sign, role) = match line.side {
            DiffSide::Both => ("  ", Role::Dim),
            DiffSide::Before => ("- ", Role::Removed),
            DiffSide::After => ("+ ", Role::Added),
        };
        let mut x = paint.text(area.x, y, area.width, sign, role);
        for piece in &line.pieces {
            let room = (area.x + area.width).saturating_sub(x);
            let mut style = paint.theme().style(role);
            if piece.emphasis == Emphasis::Changed {
                style = style.add_modifier(ratatui::style::Modifier::BOLD);
            }
            x = paint.styled(x, y, room, piece.text.trim_end_matches('\n'), style);
        }
        y += 1;
    }
    if difference.meaning == Meaning::Stays && y < end {
        paint.text(
            area.x,
            y,
            area.width,
            "the same value, written differently",
            Role::Dim,
        );
        y += 1;
    }
    y
}

/// Base, theirs, mine: three columns, a block of rows for each key.
fn conflict(paint: &mut Paint<'_>, area: Area, state: &State, clash: &Clash) {
    let (rule, rest) = area.top(1);
    let count = clash.conflicts.len();
    let keys = if count == 1 {
        "1 key".to_owned()
    } else {
        format!("{count} keys")
    };
    paint.rule(
        rule,
        &format!("{keys} changed meanwhile; nothing was written"),
        Role::Warn,
    );
    let third = rest.width.saturating_sub(4) / 3;
    let mut y = rest.y;
    let end = rest.y + rest.height;
    for (index, (conflict, choice)) in clash
        .conflicts
        .iter()
        .zip(&clash.choices)
        .enumerate()
        .skip(clash.cursor.saturating_sub(1))
    {
        if y >= end {
            break;
        }
        let name = state.config.name_of(&conflict.key);
        let path = name
            .as_ref()
            .map_or_else(|| conflict.key.to_string(), ToString::to_string);
        let chosen = match choice {
            Choice::Open => Span::new("choose: t theirs, m mine", Role::Warn),
            Choice::Theirs => Span::new("theirs is kept", Role::Good),
            Choice::Mine => Span::new("mine is written", Role::Good),
        };
        paint.spans(
            rest.x + 3,
            y,
            rest.width.saturating_sub(4),
            &[Span::plain(path.clone()), Span::plain("   "), chosen],
        );
        if index == clash.cursor {
            paint.cursor(Area { width: 3, ..rest }, y, Focus::Here);
        }
        y += 1;
        let mine = name
            .as_ref()
            .and_then(|name| state.config.drafts.get(name))
            .map(|draft| match &draft.wanted {
                Wanted::Set(text) => Some(text.clone().into_bytes()),
                Wanted::Unset => None,
            });
        let seen = conflict.seen.value().map(<[u8]>::to_vec);
        let current = conflict.current.as_ref().map(|entry| entry.value.to_vec());
        let now = conflict
            .current
            .as_ref()
            .map_or(0, |entry| entry.mod_revision.0);
        let ago = fleet::finding::age(state.now.mono.saturating_sub(clash.at));
        let columns = [
            (
                format!("base r{}", conflict.seen.revision()),
                seen,
                Role::Dim,
            ),
            (
                if now == 0 {
                    "theirs: deleted".into()
                } else {
                    format!("theirs r{now}, seen {ago} ago")
                },
                current,
                Role::Removed,
            ),
            ("mine".to_owned(), mine.flatten(), Role::Added),
        ];
        let mut tallest = 1;
        for (column, (title, value, role)) in columns.into_iter().enumerate() {
            let x = rest.x + 3 + third * u16::try_from(column).unwrap_or(0);
            paint.text(x, y, third.saturating_sub(2), &title, Role::Title);
            let lines = match &value {
                None => vec!["(not set)".to_owned()],
                Some(value) => {
                    value_lines(name.as_ref().is_some_and(|key| hidden(state, key)), value)
                }
            };
            tallest = tallest.max(lines.len().min(6));
            for (line, y) in lines.iter().take(6).zip(y + 1..end) {
                paint.text(x, y, third.saturating_sub(2), line, role);
            }
        }
        y += 1 + u16::try_from(tallest).unwrap_or(1) + 1;
    }
}

fn value_lines(hidden: bool, value: &[u8]) -> Vec<String> {
    if hidden {
        return vec![MASK.to_owned()];
    }
    String::from_utf8_lossy(value)
        .lines()
        .map(str::to_owned)
        .collect()
}

/// `r812  ▰▰▰▰▰▱ 5/6 applied   order-7f3a-2 has not answered`
fn rollout(paint: &mut Paint<'_>, area: Area, state: &State, saving: &Saving) {
    let (rule, rest) = area.top(1);
    let Saving::Saved { revision, keys, .. } = saving else {
        paint.rule(rule, "saving", Role::Accent);
        let text = "The transaction is on its way; the draft is kept until etcd has answered.";
        paint.text(
            rest.x + 3,
            rest.y,
            rest.width.saturating_sub(4),
            text,
            Role::Text,
        );
        return;
    };
    paint.rule(rule, &format!("saved as r{revision}"), Role::Good);
    let mut y = rest.y;
    let names = keys.iter().filter_map(|key| state.config.name_of(key));
    let widest = names
        .map(|name| name.to_string().len())
        .max()
        .unwrap_or(0)
        .min(40);
    for key in keys {
        let Some(name) = state.config.name_of(key) else {
            continue;
        };
        if y >= rest.y + rest.height {
            break;
        }
        let x = rest.x + 3;
        let room = rest.width.saturating_sub(4);
        let Scope::Service(service) = &name.scope else {
            let text = format!("{name}: reaches every service without a value of its own");
            paint.text(x, y, room, &text, Role::Text);
            y += 1;
            continue;
        };
        let running = state.directory.registry.service(service.as_str());
        let tally =
            running.and_then(|service| tally(state, service, &name.to_string(), revision.0));
        let mut spans = vec![Span::plain(format!("{:<widest$}   ", name.to_string()))];
        match tally {
            None => spans.push(Span::dim("no instance reports what it runs")),
            Some(tally) => {
                let part = tally.applied as f64 / tally.total.max(1) as f64;
                let done = tally.applied == tally.total;
                let role = if done { Role::Good } else { Role::Warn };
                spans.push(Span::new(paint.gauge(part, tally.total.clamp(4, 12)), role));
                spans.push(Span::new(
                    format!(" {}/{} applied", tally.applied, tally.total),
                    role,
                ));
                if let Some((id, error)) = tally.refused {
                    spans.push(Span::new(format!("   {id} refused: {error}"), Role::Bad));
                } else if let Some(silent) = tally.silent.first() {
                    let more = match tally.silent.len() {
                        1 => String::new(),
                        more => format!(" and {} more", more - 1),
                    };
                    spans.push(Span::dim(format!("   {silent}{more} has not answered")));
                }
            }
        }
        paint.spans(x, y, room, &spans);
        y += 1;
    }
}
