//! The first two lines: where one is and how etcd is; the pages, how much shows, what narrows it.

use super::paint::{Focus, Paint, Span, width};
use crate::settings::{Access, Stage};
use crate::tui::state::area::Area;
use crate::tui::state::config;
use crate::tui::state::freshness::Freshness;
use crate::tui::state::services::Pane;
use crate::tui::state::{State, View};
use crate::tui::text;
use crate::tui::theme::Role;

/// Context and path on the left, etcd on the right.
pub(super) fn header(paint: &mut Paint<'_>, area: Area, state: &State) {
    let production = state.context.stage == Stage::Production;
    let dim = if production {
        Role::HeaderProduction
    } else {
        Role::Dim
    };
    let base = if production {
        Role::HeaderProduction
    } else {
        Role::Header
    };
    let marks = paint.marks();
    if production {
        let style = paint.theme().style(Role::HeaderProduction);
        paint.clear(area);
        paint.tint(area, style);
    }
    let etcd = etcd(paint, state, area.width, production);
    let mut left = vec![Span::new(state.context.name.as_str(), base)];
    if production {
        left.push(Span::new("  PRODUCTION", base));
    }
    if state.context.access == Access::ReadOnly {
        left.push(Span::new(
            "  read-only",
            if production { base } else { Role::Warn },
        ));
    }
    for part in path(state) {
        left.push(Span::new(format!(" {} ", marks.path), dim));
        left.push(Span::new(part, base));
    }
    let inner = area.inset(1);
    let right = u16::try_from(width(&etcd)).unwrap_or(u16::MAX);
    // The path gives way to the state of etcd, down to a third.
    let room = inner.width.saturating_sub(right + 2).max(inner.width / 3);
    paint.spans(inner.x, area.y, room, &left);
    let (_, rest) = inner.left(room + 2);
    paint.spans_right(rest, &etcd);
}

fn path(state: &State) -> Vec<String> {
    let mut path = vec![state.view.title().to_lowercase()];
    match state.view {
        View::Services if state.services.pane != Pane::Services => {
            path.extend(state.services.of().map(ToString::to_string));
            if state.services.pane == Pane::Detail {
                path.extend(state.services.instance().map(|i| i.record.id.to_string()));
            }
        }
        View::Config if state.config.pane != config::Pane::Scopes => {
            path.extend(state.config.scope.as_ref().map(ToString::to_string));
        }
        View::Calls => path.extend(state.calls.chosen.as_ref().map(|(_, m)| m.full_name())),
        _ => {}
    }
    path
}

/// `etcd ●●● leader m1   rev 18 204   fresh 0.2s`
fn etcd<'a>(paint: &Paint<'_>, state: &'a State, columns: u16, production: bool) -> Vec<Span<'a>> {
    let role = |role: Role| {
        if production {
            Role::HeaderProduction
        } else {
            role
        }
    };
    let marks = paint.marks();
    let mut spans = vec![Span::new("etcd ", role(Role::Dim))];
    for member in &state.members {
        let (glyph, tone) = match member.up {
            Some(true) => (marks.serving, Role::Good),
            Some(false) => (marks.unreachable, Role::Bad),
            None => (marks.unknown, Role::Dim),
        };
        spans.push(Span::new(glyph, role(tone)));
    }
    if let Some(Ok(cluster)) = &state.cluster {
        if let Some(leader) = cluster.leader() {
            // A leader is the first to go where room is short; having none is not.
            if columns >= 90 {
                spans.push(Span::new(" leader ", role(Role::Dim)));
                spans.push(Span::new(
                    text::fit_id(leader, 16, marks.ellipsis),
                    role(Role::Text),
                ));
            }
        } else {
            spans.push(Span::new(" no leader", role(Role::Warn)));
        }
        if !cluster.alarms.is_empty() {
            spans.push(Span::new(
                format!("  {}", cluster.alarms.join(" ")),
                role(Role::Bad),
            ));
        }
    }
    if state.revision().0 > 0 {
        spans.push(Span::new("   rev ", role(Role::Dim)));
        spans.push(Span::new(
            text::number(state.revision().0),
            role(Role::Text),
        ));
    }
    let now = state.now.mono;
    let (word, tone) = match state.freshness() {
        Freshness::Loading => ("   connecting".to_owned(), Role::Warn),
        Freshness::Fresh { at } if state.shows_gauges() => {
            let age = fleet::finding::age(now.saturating_sub(at));
            (format!("   fresh {age}"), Role::Good)
        }
        // Pages that do not change by themselves show no number that would have to.
        Freshness::Fresh { .. } => ("   fresh".to_owned(), Role::Good),
        Freshness::Stale { since, .. } => {
            let age = fleet::finding::age(now.saturating_sub(since));
            (format!("   stale {age}"), Role::Warn)
        }
    };
    spans.push(Span::new(word, role(tone)));
    spans
}

/// The pages, and what narrows the list that has the focus.
pub(super) fn tabs(paint: &mut Paint<'_>, area: Area, state: &State) {
    let mut x = area.x + 1;
    let (shown, total) = counts(state);
    let filter = crate::tui::update::filter_text(state)
        .unwrap_or_default()
        .to_owned();
    let mut right: Vec<Span<'_>> = Vec::new();
    if total > 0 && (shown != total || !filter.is_empty()) {
        right.push(Span::dim(format!(
            "{} of {}",
            text::number(shown),
            text::number(total)
        )));
    } else if total > 0 {
        right.push(Span::dim(text::number(total)));
    }
    let typing = state.filtering.as_ref().map(|(editor, _)| editor);
    if typing.is_none() && !filter.is_empty() {
        right.push(Span::new(format!("   / {filter}"), Role::Accent));
    }
    let wanted = u16::try_from(width(&right)).unwrap_or(u16::MAX);
    let typed = if typing.is_some() {
        28.min(area.width / 2)
    } else {
        0
    };
    let keep = wanted.saturating_add(typed).saturating_add(2);
    let end = area.x + area.width.saturating_sub(keep.min(area.width / 2));
    for (digit, view) in View::TABS {
        let here = view == state.view;
        let role = if here { Role::Accent } else { Role::Dim };
        let label = format!("{digit} {}", view.title());
        let cells = u16::try_from(text::width(&label)).unwrap_or(0);
        if x + cells > end {
            break;
        }
        let mut style = paint.theme().style(role);
        if here {
            style = style.add_modifier(ratatui::style::Modifier::BOLD);
        }
        paint.styled(x, area.y, cells, &label, style);
        x += cells + 2;
    }
    let (rest, field) = area
        .inset(1)
        .bottom(1)
        .1
        .left(area.width.saturating_sub(2 + typed));
    paint.spans_right(rest, &right);
    if let Some(editor) = typing {
        let field = Area {
            x: field.x + 1,
            width: field.width.saturating_sub(1),
            ..field
        };
        let x = paint.text(field.x, field.y, field.width, "/ ", Role::Accent);
        let left = field.width.saturating_sub(x - field.x);
        paint.editor(
            Area {
                x,
                width: left,
                ..field
            },
            editor,
            Focus::Here,
        );
    }
}

/// How many rows the list with the focus shows, of how many.
fn counts(state: &State) -> (i64, i64) {
    let count = |rows: usize, total: usize| {
        (
            i64::try_from(rows).unwrap_or(i64::MAX),
            i64::try_from(total).unwrap_or(i64::MAX),
        )
    };
    match state.view {
        View::Services if state.services.pane == Pane::Services => count(
            state.services.services.rows().len(),
            state.services.services.total(),
        ),
        View::Services => count(
            state.services.instances.rows().len(),
            state.services.instances.total(),
        ),
        View::Config if state.config.pane == config::Pane::Scopes => count(
            state.config.scopes.rows().len(),
            state.config.scopes.total(),
        ),
        View::Config => count(state.config.passing, state.config.keys.total()),
        View::Leases => count(state.leases.list.rows().len(), state.leases.list.total()),
        View::Events => count(state.events.list.rows().len(), state.events.list.total()),
        View::Keys => count(state.keys.list.rows().len(), state.keys.list.total()),
        View::Doctor => count(state.doctor.list.rows().len(), state.doctor.list.total()),
        View::Calls | View::Overview | View::Messages => (0, 0),
    }
}
