//! The Services page: services above, the instances of one below, and why one of them is as it is.

use fleet::{Health, ServiceName};

use super::columns::{Column, Grid, Row};
use super::instances;
use super::paint::{Focus, Paint, Span, glyph, role};
use crate::tui::state::directory::Summary;
use crate::tui::state::freshness::Freshness;
use crate::tui::state::services::{Pane, TTL_ASKED_UP_TO};
use crate::tui::state::{State, layout};
use crate::tui::text;
use crate::tui::theme::{Marks, Role};

/// One glyph stands for an instance up to so many; more are counted.
const GLYPHS: usize = 12;

const COLUMNS: [Column; 6] = [
    Column::left("SERVICE", 10, 40, 0),
    Column::left("HEALTH", 8, 26, 1),
    Column::left("VERSION", 8, 28, 3).late(),
    Column::left("CONFIG", 6, 16, 5),
    Column::right("TTL MIN", 7, 7, 4),
    Column::left("FINDINGS", 20, 80, 2).late(),
];

/// Draws the page.
pub(super) fn page(paint: &mut Paint<'_>, state: &State) {
    let panes = layout::services(state);
    if state.services.pane == Pane::Detail {
        instances::detail(paint, panes.why, state);
        return;
    }
    if state.services.services.rows().is_empty() {
        let whole = layout::frame(state).body;
        empty(paint, whole, state);
        return;
    }
    let list = &state.services.services;
    let marks = paint.marks();
    let grid = Grid {
        columns: &COLUMNS,
        rows: list
            .visible()
            .map(|(_, name)| row(marks, state, name))
            .collect(),
        cursor: list
            .table
            .cursor()
            .checked_sub(list.table.visible(list.rows().len()).start),
        marked: Vec::new(),
        sort: Some(list.table.sort),
        focus: Focus::from(state.services.pane == Pane::Services),
    };
    grid.draw(paint, panes.services);
    instances::pane(paint, panes.instances, state);
    instances::why(paint, panes.why, state);
}

fn empty(paint: &mut Paint<'_>, area: crate::tui::state::area::Area, state: &State) {
    let prefix = &state.context.prefixes.services;
    let lines: Vec<(String, Role)> = if !state.services.services.filter_text().is_empty() {
        vec![
            ("No service passes the filter.".into(), Role::Text),
            ("esc drops it.".into(), Role::Dim),
        ]
    } else if let (false, Freshness::Stale { cause, .. }) = (state.is_loaded(), state.freshness()) {
        vec![
            (format!("etcd does not answer: {cause}"), Role::Warn),
            (
                "It is tried again for ever; this page fills as soon as it answers.".into(),
                Role::Dim,
            ),
        ]
    } else if !state.is_loaded() {
        vec![("Reading the registry…".into(), Role::Dim)]
    } else {
        vec![
            (
                format!("No service is registered below {prefix}"),
                Role::Text,
            ),
            (
                "A service that starts shows here at once. `msctl demo` brings four along.".into(),
                Role::Dim,
            ),
        ]
    };
    for ((line, role), y) in lines.iter().zip(area.y + 1..area.y + area.height) {
        paint.text(area.x + 3, y, area.width.saturating_sub(4), line, *role);
    }
}

fn row<'a>(marks: &'static Marks, state: &'a State, name: &'a ServiceName) -> Row<'a> {
    let Some(summary) = state.directory.summary(name) else {
        return vec![vec![Span::plain(name.as_str())]];
    };
    let ttl = state
        .directory
        .least_ttl(name, state.now.mono, TTL_ASKED_UP_TO);
    let ttl = ttl.map_or_else(
        || Span::dim("–"),
        |ttl| {
            Span::new(
                text::left(ttl),
                if ttl < 2.0 { Role::Warn } else { Role::Text },
            )
        },
    );
    vec![
        vec![Span::plain(name.as_str())],
        health(marks, summary),
        versions(marks, summary),
        config(marks, summary),
        vec![ttl],
        findings(marks, summary),
    ]
}

/// `5/6  ●●●●●⧗`, or counts where glyphs would be too many.
pub(super) fn health(marks: &'static Marks, summary: &Summary) -> Vec<Span<'static>> {
    let serving = summary.count(Health::Serving);
    let all_unknown = summary.count(Health::Unknown) == summary.instances;
    let tone = match summary.worst() {
        Health::Serving if serving == summary.instances => Role::Good,
        Health::Unknown => Role::Dim,
        Health::Serving => Role::Text,
        worst => role(worst),
    };
    let count = if all_unknown {
        format!("{}", summary.instances)
    } else {
        format!("{serving}/{}", summary.instances)
    };
    let mut spans = vec![Span::new(format!("{count:<5}"), tone)];
    for health in Health::ALL {
        let count = summary.count(health);
        if count == 0 {
            continue;
        }
        let mark = glyph(marks, health);
        let text = if summary.instances <= GLYPHS {
            mark.repeat(count)
        } else {
            format!("{mark}{count} ")
        };
        spans.push(Span::new(text, role(health)));
    }
    spans
}

fn versions(marks: &'static Marks, summary: &Summary) -> Vec<Span<'static>> {
    let mut spans = Vec::new();
    for (index, (version, count)) in summary.versions.iter().enumerate().take(3) {
        let version = if version.is_empty() { "–" } else { version };
        let times = if summary.versions.len() > 1 && *count > 1 {
            format!(" {}{count}", marks.times)
        } else {
            String::new()
        };
        let gap = if index == 0 { "" } else { "  " };
        let role = if index == 0 { Role::Text } else { Role::Warn };
        spans.push(Span::new(format!("{gap}{version}{times}"), role));
    }
    if summary.versions.len() > 3 {
        spans.push(Span::dim(format!("  +{}", summary.versions.len() - 3)));
    }
    spans
}

fn config(marks: &'static Marks, summary: &Summary) -> Vec<Span<'static>> {
    match summary.config {
        None => vec![Span::dim("–")],
        Some((newest, 0)) => vec![Span::plain(text::number(newest))],
        Some((newest, behind)) => vec![
            Span::plain(text::number(newest)),
            Span::new(format!(" {}{behind} behind", marks.times), Role::Warn),
        ],
    }
}

fn findings(marks: &'static Marks, summary: &Summary) -> Vec<Span<'static>> {
    let mut spans = Vec::new();
    for (index, finding) in summary.findings.iter().enumerate() {
        if index > 0 {
            spans.push(Span::dim(format!(" {} ", marks.dot)));
        }
        let broken = finding.ends_with("hung") || finding.ends_with("unreachable");
        spans.push(Span::new(
            finding.clone(),
            if broken { Role::Bad } else { Role::Warn },
        ));
    }
    spans
}
