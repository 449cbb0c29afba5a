//! The instances of a service, one instance in full, and why it is as it is.

use std::sync::Arc;
use std::time::Duration;

use fleet::drain::is_drained;
use fleet::finding::{Code, Severity, age};
use fleet::status::Taken;
use fleet::{Health, Instance};

use super::columns::{Column, Grid, Row};
use super::paint::{Focus, Paint, Span, glyph, role};
use crate::tui::action::Action;
use crate::tui::state::State;
use crate::tui::state::area::Area;
use crate::tui::state::directory::HealthSeen;
use crate::tui::state::services::Pane;
use crate::tui::text;
use crate::tui::theme::Role;

/// Cells of a lease's gauge in the list.
const GAUGE: usize = 8;

const COLUMNS: [Column; 7] = [
    Column::left("INSTANCE", 12, 40, 0),
    Column::left("ENDPOINT", 14, 28, 4),
    Column::left("HEALTH", 17, 20, 1),
    Column::left("LEASE", 16, 20, 2),
    Column::right("CONFIG", 6, 10, 5),
    Column::right("UP", 6, 8, 3),
    Column::left("ZONE", 4, 14, 6),
];

/// The list under its rule.
pub(super) fn pane(paint: &mut Paint<'_>, area: Area, state: &State) {
    let Some(service) = state.services.of() else {
        return;
    };
    if area.height < 2 {
        return;
    }
    let list = &state.services.instances;
    let (rule, rest) = area.top(1);
    let total = list.total();
    let word = if total == 1 { "instance" } else { "instances" };
    let mut title = format!("{service}: {} {word}", text::number(count(total)));
    let filter = list.filter_text();
    if !filter.is_empty() && state.services.pane != Pane::Instances {
        title = format!(
            "{title}, {} pass / {filter}",
            text::number(count(list.rows().len()))
        );
    }
    let marked = list.table.marks().len();
    if marked > 0 {
        title = format!("{title}, {marked} marked");
    }
    let here = state.services.pane == Pane::Instances;
    paint.rule(rule, &title, if here { Role::Accent } else { Role::Text });
    let first = list.table.visible(list.rows().len()).start;
    let grid = Grid {
        columns: &COLUMNS,
        rows: list
            .visible()
            .map(|(_, instance)| row(paint, state, instance))
            .collect(),
        cursor: list.table.cursor().checked_sub(first),
        marked: list
            .visible()
            .filter(|(_, instance)| list.table.is_marked(&instance.key))
            .map(|(index, _)| index - first)
            .collect(),
        sort: Some(list.table.sort),
        focus: Focus::from(here),
    };
    grid.draw(paint, rest);
    if list.rows().is_empty() && rest.height > 1 {
        let why = if filter.is_empty() {
            "none"
        } else {
            "no instance passes the filter"
        };
        paint.text(
            rest.x + 3,
            rest.y + 1,
            rest.width.saturating_sub(4),
            why,
            Role::Dim,
        );
    }
}

fn count(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

fn row<'a>(paint: &Paint<'_>, state: &'a State, instance: &'a Arc<Instance>) -> Row<'a> {
    let record = &instance.record;
    let marks = paint.marks();
    let endpoint = record.grpc().or_else(|| record.endpoints.first());
    let status = state.directory.status(instance);
    let newest = state.directory.newest_config(&record.service);
    let config = match status {
        None => Span::dim("–"),
        // What it has listed is no config: there is none in etcd.
        Some(status) if newest == Taken::default() && status.rejected.is_empty() => Span::dim("–"),
        Some(status) => {
            let bad = status.behind(&newest).is_some() || !status.rejected.is_empty();
            Span::new(
                text::number(status.revision),
                if bad { Role::Warn } else { Role::Text },
            )
        }
    };
    let up = record.started_at.map(|at| since(state, at));
    vec![
        vec![Span::plain(text::fit_id(
            record.id.as_str(),
            40,
            marks.ellipsis,
        ))],
        vec![endpoint.map_or_else(
            || Span::new("no endpoint", Role::Warn),
            |endpoint| Span::plain(&*endpoint.address),
        )],
        health(paint, state, state.directory.health(&instance.key)),
        lease(paint, state, instance, GAUGE),
        vec![config],
        vec![up.map_or_else(|| Span::dim("–"), Span::plain)],
        vec![record.zone().map_or_else(|| Span::dim("–"), Span::plain)],
    ]
}

fn since(state: &State, at: jiff::Timestamp) -> String {
    let gone = state.now.wall.duration_since(at);
    age(Duration::try_from(gone).unwrap_or_default())
}

/// `● serving 2ms`, `⧗ hung 41s`
fn health(paint: &Paint<'_>, state: &State, seen: Option<&HealthSeen>) -> Vec<Span<'static>> {
    let marks = paint.marks();
    let Some(seen) = seen else {
        return vec![Span::dim(format!("{} not asked", marks.unknown))];
    };
    let role = role(seen.health);
    let head = Span::new(
        format!("{} {}", glyph(marks, seen.health), seen.health),
        role,
    );
    let tail = match (seen.health, seen.latency) {
        (Health::Serving, Some(latency)) => text::millis(latency),
        (Health::Serving | Health::Unknown, _) => String::new(),
        _ => age(state.now.mono.saturating_sub(seen.since)),
    };
    vec![
        head,
        Span::new(
            format!(" {tail}"),
            if role == Role::Good { Role::Dim } else { role },
        ),
    ]
}

/// `▰▰▰▰▰▰▱▱  6.8/10s`
pub(super) fn lease(
    paint: &Paint<'_>,
    state: &State,
    instance: &Instance,
    cells: usize,
) -> Vec<Span<'static>> {
    match instance.lease {
        None => vec![Span::new("no lease", Role::Warn)],
        Some(id) => gauge(paint, state, id, cells),
    }
}

/// The gauge of a lease, or why there is none.
pub(super) fn gauge(
    paint: &Paint<'_>,
    state: &State,
    id: fleet::LeaseId,
    cells: usize,
) -> Vec<Span<'static>> {
    let Some(seen) = state.directory.lease(id) else {
        return vec![Span::dim("–")];
    };
    if seen.ttl.is_none() {
        return vec![Span::new("ended", Role::Bad)];
    }
    let Some(left) = seen.left(state.now.mono) else {
        let ago = age(state.now.mono.saturating_sub(seen.at));
        return vec![Span::dim(format!("not known, {ago}"))];
    };
    let part = left / seen.granted.max(1) as f64;
    // Keepalives come at a third of the time, so less than half is late and a quarter is alarming.
    let role = match part {
        ..0.25 => Role::Bad,
        ..0.5 => Role::Warn,
        _ => Role::Good,
    };
    let granted = match seen.granted {
        ..100 => format!("{}s", seen.granted),
        long => text::left(long as f64),
    };
    let left = text::left(left);
    // Short times share their unit: 6.8/10s.
    let left = if seen.granted < 100 {
        left.trim_end_matches('s').to_owned()
    } else {
        left
    };
    let room = if seen.granted < 100 { 4 } else { granted.len() };
    vec![
        Span::new(paint.gauge(part, cells), role),
        Span::plain(format!(" {left:>room$}")),
        Span::dim(format!("/{granted}")),
    ]
}

/// Why the instance under the cursor is as it is, and what can be done.
pub(super) fn why(paint: &mut Paint<'_>, area: Area, state: &State) {
    let Some(instance) = state.services.instance() else {
        return;
    };
    if area.height < 2 {
        return;
    }
    let (rule, rest) = area.top(1);
    let found = state.directory.findings(instance, state.now.mono);
    paint.rule(
        rule,
        if found.is_empty() { "state" } else { "why" },
        Role::Text,
    );
    let rest = Area {
        x: rest.x + 3,
        width: rest.width.saturating_sub(4),
        ..rest
    };
    let mut lines: Vec<(String, Role)> = sentences(paint, state, instance);
    for finding in &found {
        let role = if finding.severity == Severity::Error {
            Role::Bad
        } else {
            Role::Warn
        };
        // The sentences tell of health already, with more to it.
        let told = matches!(
            finding.code,
            Code::Hung | Code::Unreachable | Code::NotServing
        );
        let (head, role) = if told {
            (String::new(), Role::Text)
        } else {
            (format!("{}. ", capital(&finding.message)), role)
        };
        lines.push((format!("{head}{}.", capital(&finding.next)), role));
    }
    let mut y = rest.y;
    let last = rest.y + rest.height - 1;
    for (line, role) in lines {
        for part in text::wrap(&line, usize::from(rest.width)) {
            if y >= last {
                break;
            }
            paint.text(rest.x, y, rest.width, &part, role);
            y += 1;
        }
    }
    let keys = next_keys(state);
    paint.spans(rest.x, y, rest.width, &keys);
}

/// A sentence begins with a capital; a command is typed as it is.
fn capital(text: &str) -> String {
    if text.starts_with("msctl ") {
        return text.to_owned();
    }
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_uppercase().chain(characters).collect(),
        None => String::new(),
    }
}

/// The evidence in sentences: since when, by which sign, and how the others are.
fn sentences(paint: &Paint<'_>, state: &State, instance: &Instance) -> Vec<(String, Role)> {
    let id = &instance.record.id;
    let Some(seen) = state.directory.health(&instance.key) else {
        return vec![(format!("{id} was not asked yet."), Role::Dim)];
    };
    let gone = state.now.mono.saturating_sub(seen.since);
    let began = jiff::SignedDuration::try_from(gone)
        .ok()
        .and_then(|gone| state.now.wall.checked_sub(gone).ok());
    let began = began.map_or_else(String::new, |at| paint.clock(at));
    let since = age(gone);
    let kept = instance
        .lease
        .and_then(|lease| state.directory.lease(lease)?.left(state.now.mono));
    let kept = if kept.is_some() {
        "The lease is kept alive and the port"
    } else {
        "The port"
    };
    let mut lines = match seen.health {
        Health::Serving => vec![(format!("{id} serves since {began} ({since})."), Role::Text)],
        Health::Hung => vec![(
            format!("{kept} accepts, but grpc.health.v1 has not answered since {began} ({since})."),
            Role::Text,
        )],
        Health::Unreachable => vec![(
            format!("No connection since {began} ({since}): {}.", seen.detail),
            Role::Text,
        )],
        Health::NotServing => vec![(
            format!("It says of itself since {began} ({since}) that it does not serve."),
            Role::Text,
        )],
        Health::Unknown => {
            let why = if seen.detail.is_empty() {
                "it does not say"
            } else {
                &seen.detail
            };
            vec![(
                format!("Whether {id} serves is not known: {why}."),
                Role::Text,
            )]
        }
    };
    if seen.health != Health::Serving {
        lines.extend(others(state).map(|line| (line, Role::Text)));
    }
    lines
}

/// How the other instances on the screen answer.
fn others(state: &State) -> Option<String> {
    let latencies: Vec<Duration> = state
        .services
        .instances
        .visible()
        .filter_map(|(_, instance)| state.directory.health(&instance.key))
        .filter(|seen| seen.health == Health::Serving)
        .filter_map(|seen| seen.latency)
        .collect();
    let (least, most) = (latencies.iter().min()?, latencies.iter().max()?);
    let (least, most) = (text::millis(*least), text::millis(*most));
    let range = if least == most {
        least
    } else {
        format!("{least} to {most}")
    };
    Some(format!("Other instances answer in {range}."))
}

fn next_keys(state: &State) -> Vec<Span<'static>> {
    let mut spans = vec![Span::dim("Next: ")];
    let drained = state
        .services
        .instance()
        .is_some_and(|one| is_drained(&one.record));
    let turn = if drained {
        (Action::Undrain, "give it its calls back")
    } else {
        (Action::Drain, "drain it")
    };
    let actions = [
        turn,
        (Action::Deregister, "deregister it"),
        (Action::CallService, "call it"),
        (Action::EventsOfThis, "its events"),
        (Action::RawRecord, "its record"),
    ];
    let mut first = true;
    for (action, words) in actions {
        // Only keys that work where the focus is.
        if !crate::tui::update::works(state, action) {
            continue;
        }
        if !std::mem::take(&mut first) {
            spans.push(Span::dim(" · "));
        }
        spans.push(Span::new(
            state.keymap.keys_of(action).to_owned(),
            Role::Accent,
        ));
        spans.push(Span::plain(format!(" {words}")));
    }
    spans
}

/// One instance on the whole page.
pub(super) fn detail(paint: &mut Paint<'_>, area: Area, state: &State) {
    let Some(instance) = state.services.instance() else {
        paint.text(
            area.x + 3,
            area.y + 1,
            area.width - 4,
            "the instance is gone",
            Role::Warn,
        );
        return;
    };
    let lines = detail_lines(paint, state, instance);
    let skip = state
        .services
        .detail_scroll
        .min(lines.len().saturating_sub(1));
    for (line, y) in lines.iter().skip(skip).zip(area.y..area.y + area.height) {
        match line {
            Line::Rule(title) => {
                let row = Area {
                    y,
                    height: 1,
                    ..area
                };
                paint.rule(row, title, Role::Text);
            }
            Line::Pair(name, spans) => {
                paint.text(area.x + 3, y, 14, name, Role::Dim);
                paint.spans(area.x + 18, y, area.width.saturating_sub(19), spans);
            }
            Line::Text(text, role) => {
                paint.text(area.x + 3, y, area.width.saturating_sub(4), text, *role);
            }
        }
    }
}

enum Line {
    Rule(&'static str),
    Pair(String, Vec<Span<'static>>),
    Text(String, Role),
}

fn detail_lines(paint: &Paint<'_>, state: &State, instance: &Instance) -> Vec<Line> {
    let record = &instance.record;
    let pair = |name: &str, spans: Vec<Span<'static>>| Line::Pair(name.into(), spans);
    let plain = |text: String| vec![Span::plain(text)];
    let mut lines = vec![
        pair("instance", plain(record.id.to_string())),
        pair("service", plain(record.service.to_string())),
        pair("version", plain(record.version.clone())),
        pair(
            "health",
            health(paint, state, state.directory.health(&instance.key)),
        ),
        pair("lease", lease(paint, state, instance, 24)),
    ];
    if let Some(id) = instance.lease {
        lines.push(pair("lease id", plain(id.to_string())));
    }
    if let Some(at) = record.started_at {
        lines.push(pair(
            "up",
            plain(format!("{}, since {at}", since(state, at))),
        ));
    }
    lines.push(pair("weight", plain(record.weight.to_string())));
    let found = state.directory.findings(instance, state.now.mono);
    lines.push(Line::Rule("why"));
    for (text, role) in sentences(paint, state, instance) {
        lines.push(Line::Text(text, role));
    }
    for finding in found {
        let role = if finding.severity == Severity::Error {
            Role::Bad
        } else {
            Role::Warn
        };
        lines.push(Line::Text(format!("{}.", finding.message), role));
        lines.push(Line::Text(format!("Next: {}.", finding.next), Role::Text));
    }
    lines.push(Line::Rule("endpoints"));
    for endpoint in &record.endpoints {
        let secure = if endpoint.secure { "TLS" } else { "plain text" };
        lines.push(Line::Pair(
            endpoint.protocol.to_string(),
            vec![
                Span::plain(endpoint.address.to_string()),
                Span::dim(format!("   {secure}")),
            ],
        ));
    }
    if record.endpoints.is_empty() {
        lines.push(Line::Text("none".into(), Role::Warn));
    }
    lines.push(Line::Rule("metadata"));
    for (name, value) in &record.metadata {
        lines.push(pair(name, plain(value.clone())));
    }
    if record.metadata.is_empty() {
        lines.push(Line::Text("none".into(), Role::Dim));
    }
    lines.push(Line::Rule("config"));
    match state.directory.status(instance) {
        None => lines.push(Line::Text("it reports no status".into(), Role::Dim)),
        Some(status) => {
            let applied = format!("revision {}", text::number(status.revision));
            lines.push(pair("applied", plain(applied)));
            let view = match &status.watch.stale {
                None => vec![Span::new("fresh", Role::Good)],
                Some(why) => vec![Span::new(format!("stale: {why}"), Role::Warn)],
            };
            lines.push(pair("its view", view));
            for rejected in &status.rejected {
                let text = format!("r{}: {}", rejected.revision, rejected.error);
                lines.push(pair(&rejected.key, vec![Span::new(text, Role::Warn)]));
            }
        }
    }
    lines.push(Line::Rule("record"));
    lines.push(pair("key", plain(instance.key.to_string())));
    let revisions = format!(
        "{}, created {}",
        instance.mod_revision, instance.create_revision
    );
    lines.push(pair("revision", plain(revisions)));
    lines.push(pair("format", plain(instance.format.to_string())));
    lines
}
