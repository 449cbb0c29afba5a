//! The cluster and the fleet at a glance.

use fleet::Health;

use super::events;
use super::paint::{Paint, Span, glyph, role};
use crate::tui::state::State;
use crate::tui::state::area::Area;
use crate::tui::text;
use crate::tui::theme::Role;

/// Cells of a bar.
const BAR: usize = 32;

/// Draws the page.
pub(super) fn page(paint: &mut Paint<'_>, area: Area, state: &State) {
    let mut lines: Vec<Option<Vec<Span<'_>>>> = Vec::new();
    cluster(paint, state, &mut lines);
    fleet_bars(paint, state, &mut lines);
    let (above, below) = area.top(u16::try_from(lines.len()).unwrap_or(u16::MAX));
    let titles = ["etcd", "fleet"];
    let mut title = titles.iter();
    for (line, y) in lines.iter().zip(above.y..above.y + above.height) {
        match line {
            None => {
                let row = Area {
                    y,
                    height: 1,
                    ..above
                };
                paint.rule(row, title.next().copied().unwrap_or_default(), Role::Text);
            }
            Some(spans) => {
                paint.spans(above.x + 3, y, above.width.saturating_sub(4), spans);
            }
        }
    }
    let findings = u16::try_from(state.doctor.list.rows().len()).unwrap_or(u16::MAX);
    let wanted = findings.clamp(1, 6).saturating_add(1);
    let (doctor, journal) = below.top(wanted);
    if doctor.height >= 2 {
        let (errors, warnings) = state.doctor.counts();
        let (rule, rest) = doctor.top(1);
        paint.rule(
            rule,
            &format!(
                "{}, {}",
                text::count(errors, "error"),
                text::count(warnings, "warning")
            ),
            Role::Text,
        );
        if findings == 0 {
            let calm = "Nothing is wrong, as far as it was asked.";
            paint.text(
                rest.x + 3,
                rest.y,
                rest.width.saturating_sub(4),
                calm,
                Role::Good,
            );
        }
        let rows = state
            .doctor
            .list
            .rows()
            .iter()
            .zip(rest.y..rest.y + rest.height);
        for ((_, row), y) in rows {
            let (mark, role) = super::doctor::mark(paint, row.finding.severity);
            let subject = text::fit_id(&row.subject, 24, paint.marks().ellipsis);
            let spans = [
                Span::new(mark, role),
                Span::plain(format!(" {subject:<24} ")),
                Span::plain(row.finding.message.as_str()),
            ];
            paint.spans(rest.x + 3, y, rest.width.saturating_sub(4), &spans);
        }
    }
    if journal.height >= 2 {
        let (rule, rest) = journal.top(1);
        paint.rule(rule, "events", Role::Text);
        if state.events.is_empty() {
            paint.text(
                rest.x + 3,
                rest.y,
                rest.width.saturating_sub(4),
                "none yet",
                Role::Dim,
            );
        }
        for (happened, y) in state.events.newest().zip(rest.y..rest.y + rest.height) {
            let spans = [
                Span::dim(format!("{}  ", paint.clock(happened.at))),
                Span::new(
                    format!("{:<15} ", happened.what.word()),
                    events::role(happened.what),
                ),
                Span::plain(format!("{}  ", happened.subject)),
                Span::dim(happened.text.as_str()),
            ];
            paint.spans(rest.x + 3, y, rest.width.saturating_sub(4), &spans);
        }
    }
}

fn cluster<'a>(paint: &Paint<'_>, state: &'a State, lines: &mut Vec<Option<Vec<Span<'a>>>>) {
    let marks = paint.marks();
    lines.push(None);
    match &state.cluster {
        None => lines.push(Some(vec![Span::dim("not asked yet")])),
        Some(Err(error)) => lines.push(Some(vec![Span::new(error.as_str(), Role::Bad)])),
        Some(Ok(cluster)) => {
            for member in &cluster.members {
                let mut spans = match &member.status {
                    Ok(_) => vec![Span::new(marks.serving, Role::Good)],
                    Err(_) => vec![Span::new(marks.unreachable, Role::Bad)],
                };
                spans.push(Span::plain(format!(
                    " {:<16} {:<28} ",
                    member.name, member.endpoint
                )));
                match &member.status {
                    Err(error) => spans.push(Span::new(error.as_str(), Role::Bad)),
                    Ok(facts) => {
                        let leads = if facts.leads { "leader" } else { "" };
                        spans.push(Span::new(format!("{leads:<8}"), Role::Accent));
                        spans.push(Span::dim(format!(
                            "etcd {}   db {}   rev {}",
                            facts.version,
                            text::size(facts.db_size),
                            text::number(facts.revision.0)
                        )));
                        for error in &facts.errors {
                            spans.push(Span::new(format!("   {error}"), Role::Bad));
                        }
                    }
                }
                lines.push(Some(spans));
            }
            for alarm in &cluster.alarms {
                lines.push(Some(vec![Span::new(format!("alarm {alarm}"), Role::Bad)]));
            }
        }
    }
    lines.push(Some(Vec::new()));
}

fn fleet_bars<'a>(paint: &Paint<'_>, state: &'a State, lines: &mut Vec<Option<Vec<Span<'a>>>>) {
    let marks = paint.marks();
    lines.push(None);
    let mut by_health = [0usize; 5];
    let mut services = 0usize;
    for (_, summary) in state.directory.summaries() {
        services += 1;
        for (sum, count) in by_health.iter_mut().zip(summary.by_health) {
            *sum += count;
        }
    }
    let total: usize = by_health.iter().sum();
    let number = |count: usize| text::number(i64::try_from(count).unwrap_or(i64::MAX));
    lines.push(Some(vec![Span::plain(format!(
        "{}, {}, {}",
        text::count(services, "service"),
        text::count(total, "instance"),
        text::count(state.config.len(), "config key")
    ))]));
    for (health, count) in Health::ALL.into_iter().zip(by_health) {
        let part = count as f64 / total.max(1) as f64;
        lines.push(Some(vec![
            Span::new(glyph(marks, health), role(health)),
            Span::plain(format!(
                " {:<12} {:>9}  ",
                health.to_string(),
                number(count)
            )),
            Span::new(paint.gauge(part, BAR), role(health)),
        ]));
    }
    lines.push(Some(Vec::new()));
}
