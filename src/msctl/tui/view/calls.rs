//! The Calls page: the tree of methods, the request, the answer.

use super::paint::{Focus, Paint, Span};
use crate::tui::state::area::Area;
use crate::tui::state::calls::{Answer, Kind, Pane, TreeRow};
use crate::tui::state::layout::CallsLayout;
use crate::tui::state::{State, layout};
use crate::tui::text;
use crate::tui::theme::Role;

/// Draws the page.
pub(super) fn page(paint: &mut Paint<'_>, state: &State) {
    let panes = layout::calls(state);
    tree(paint, panes.methods, state);
    match state.calls.pane {
        Pane::Headers => headers(paint, panes.request, state),
        Pane::Past => return past(paint, panes, state),
        Pane::Methods | Pane::Request | Pane::Response => request(paint, panes.request, state),
    }
    response(paint, panes.response, state);
}

fn tree(paint: &mut Paint<'_>, area: Area, state: &State) {
    let page = &state.calls;
    let marks = paint.marks();
    let list = &page.tree;
    let here = page.pane == Pane::Methods;
    if list.rows().is_empty() {
        let why = if list.filter_text().is_empty() {
            "no service runs"
        } else {
            "nothing passes the filter"
        };
        paint.text(
            area.x + 3,
            area.y,
            area.width.saturating_sub(3),
            why,
            Role::Dim,
        );
    }
    let room = area.width.saturating_sub(3);
    for ((index, row), y) in list.visible().zip(area.y..area.y + area.height) {
        let x = area.x + 3;
        match row {
            TreeRow::Service { name, unfolded } => {
                let fold = if *unfolded {
                    marks.unfolded
                } else {
                    marks.folded
                };
                let spans = [Span::dim(format!("{fold} ")), Span::plain(name.as_str())];
                paint.spans(x, y, room, &spans);
            }
            TreeRow::Heading { name, .. } => {
                paint.text(x + 2, y, room.saturating_sub(2), name, Role::Dim);
            }
            TreeRow::Note { text, .. } => {
                paint.text(x + 2, y, room.saturating_sub(2), text, Role::Warn);
            }
            TreeRow::Method { method, .. } => {
                let arrow = marks.arrow;
                let kind = match method.kind {
                    Kind::Unary => "unary".to_owned(),
                    Kind::ServerStream => format!("{arrow} stream"),
                    Kind::ClientStream => format!("stream {arrow}"),
                    Kind::Bidi => "bidi".to_owned(),
                };
                let width = u16::try_from(text::width(&kind)).unwrap_or(0);
                let names = room.saturating_sub(width + 6);
                paint.text(x + 4, y, names, &method.name, Role::Text);
                let at = (area.x + area.width).saturating_sub(width + 1);
                paint.text(at, y, width, &kind, Role::Dim);
            }
        }
        if index == list.table.cursor() {
            paint.cursor(area, y, Focus::from(here));
        }
    }
}

fn request(paint: &mut Paint<'_>, area: Area, state: &State) {
    let page = &state.calls;
    let (title, rest) = area.top(1);
    let here = page.pane == Pane::Request;
    let role = if here { Role::Accent } else { Role::Title };
    let mut spans = vec![Span::new("REQUEST", role)];
    if let Some((service, _)) = &page.chosen {
        let known = state.directory.registry.service(service.as_str());
        let to = match &page.instance {
            Some(key) => known.and_then(|service| service.instance(key)).map_or_else(
                || "an instance that is gone".into(),
                |i| i.record.id.to_string(),
            ),
            None => {
                let count = known.map_or(0, fleet::Service::len);
                format!("any healthy {service} ({count})")
            }
        };
        match page.headers().len() {
            0 => {}
            1 => spans.push(Span::dim("  1 header")),
            count => spans.push(Span::dim(format!("  {count} headers"))),
        }
        spans.push(Span::dim(format!("  to {to}")));
    }
    paint.spans(title.x, title.y, title.width, &spans);
    let Some((_, method)) = &page.chosen else {
        let hint = "Choose a method: enter unfolds a service.";
        paint.text(rest.x, rest.y, rest.width, hint, Role::Dim);
        return;
    };
    let about: Vec<String> = method
        .about
        .lines()
        .flat_map(|line| text::wrap(line, usize::from(rest.width)))
        .collect();
    let lines = u16::try_from(about.len())
        .unwrap_or(u16::MAX)
        .min(rest.height / 3);
    let (text_area, below) = rest.bottom(lines);
    if let Some(editor) = page.request() {
        paint.editor(text_area, editor, Focus::from(here));
    }
    for (line, y) in about.iter().zip(below.y..below.y + below.height) {
        paint.text(below.x, y, below.width, line, Role::Dim);
    }
}

/// The headers of a service, one a line.
fn headers(paint: &mut Paint<'_>, area: Area, state: &State) {
    let (title, rest) = area.top(1);
    let of = state.calls.chosen.as_ref();
    let of = of.map_or_else(String::new, |(service, _)| format!("  of {service}"));
    let spans = [Span::new("HEADERS", Role::Accent), Span::dim(of)];
    paint.spans(title.x, title.y, title.width, &spans);
    let hint = "One a line, like authorization: Bearer ${TOKEN}. ${NAME} is taken from the \
                environment when the call is sent.";
    let hint = text::wrap(hint, usize::from(rest.width));
    let lines = u16::try_from(hint.len()).unwrap_or(0).min(rest.height / 2);
    let (text_area, below) = rest.bottom(lines);
    if let Some(editor) = state.calls.headers_editor() {
        paint.editor(text_area, editor, Focus::Here);
    }
    for (line, y) in hint.iter().zip(below.y..below.y + below.height) {
        paint.text(below.x, y, below.width, line, Role::Dim);
    }
}

/// The requests sent before: in a list where the answer stands, and the one under the cursor in
/// full where the request does.
fn past(paint: &mut Paint<'_>, panes: CallsLayout, state: &State) {
    let before = state.calls.sent_before();
    let cursor = state.calls.past_cursor;
    let (title, rest) = panes.request.top(1);
    paint.text(title.x, title.y, title.width, "SENT BEFORE", Role::Title);
    if let Some(sent) = before.get(cursor) {
        let lines = sent.request.lines().zip(rest.y..rest.y + rest.height);
        for (line, y) in lines {
            paint.text(rest.x, y, rest.width, line, Role::Text);
        }
    }
    let (title, rest) = panes.response.top(1);
    let count = format!("HISTORY  {}", before.len());
    paint.text(title.x, title.y, title.width, &count, Role::Accent);
    let first = (cursor + 1).saturating_sub(usize::from(rest.height).max(1));
    let rows = before.iter().enumerate().skip(first);
    for ((index, sent), y) in rows.zip(rest.y..rest.y + rest.height) {
        let outcome = match &sent.outcome {
            None => Span::new("running", Role::Warn),
            Some(outcome) => {
                let role = if outcome.ok { Role::Good } else { Role::Bad };
                let took = outcome.took.map_or_else(String::new, text::latency);
                Span::new(format!("{} {took}", outcome.code), role)
            }
        };
        let one_line: Vec<&str> = sent.request.lines().map(str::trim).collect();
        let spans = [
            Span::dim(format!("{}  ", paint.clock(sent.at))),
            outcome,
            Span::plain(format!("  {}", one_line.join(" "))),
        ];
        paint.spans(rest.x + 3, y, rest.width.saturating_sub(3), &spans);
        if index == cursor {
            paint.cursor(rest, y, Focus::Here);
        }
    }
}

fn response(paint: &mut Paint<'_>, area: Area, state: &State) {
    let page = &state.calls;
    let (title, rest) = area.top(1);
    let role = if page.pane == Pane::Response {
        Role::Accent
    } else {
        Role::Title
    };
    let mut spans = vec![Span::new("RESPONSE", role)];
    let Some(answer) = &page.answer else {
        paint.spans(title.x, title.y, title.width, &spans);
        return;
    };
    spans.extend(outcome(state, answer));
    paint.spans(title.x, title.y, title.width, &spans);
    let mut lines: Vec<(String, Role)> = Vec::new();
    let tail = tail(answer);
    let height = usize::from(rest.height).saturating_sub(tail.len()).max(1);
    let first = if answer.following {
        answer.lines.len().saturating_sub(height)
    } else {
        answer.scroll.min(answer.lines.len())
    };
    lines.extend(
        answer
            .lines
            .iter()
            .skip(first)
            .take(height)
            .map(|line| (line.clone(), Role::Text)),
    );
    lines.extend(tail);
    for ((line, role), y) in lines.iter().zip(rest.y..rest.y + rest.height) {
        paint.text(rest.x, y, rest.width, line, *role);
    }
}

/// Status, time, who answered.
fn outcome(state: &State, answer: &Answer) -> Vec<Span<'static>> {
    let mut spans = vec![Span::plain("  ")];
    match (&answer.ended, &answer.failed) {
        (Some(ended), _) => {
            let role = if ended.ok { Role::Good } else { Role::Bad };
            spans.push(Span::new(ended.code.clone(), role));
            spans.push(Span::plain(format!("  {}", text::latency(ended.took))));
        }
        (None, Some(_)) => spans.push(Span::new("FAILED", Role::Bad)),
        (None, None) => {
            let took = state.now.mono.saturating_sub(answer.sent_at);
            spans.push(Span::new("running", Role::Warn));
            spans.push(Span::plain(format!("  {}s", took.as_secs())));
        }
    }
    if answer.messages > 1 {
        spans.push(Span::dim(format!("  {} messages", answer.messages)));
    }
    if let Some(to) = &answer.to {
        spans.push(Span::dim(format!("  {to}")));
    }
    spans
}

/// What stands below the messages: the error, its details, the trailers.
fn tail(answer: &Answer) -> Vec<(String, Role)> {
    let mut tail = Vec::new();
    if let Some(why) = &answer.failed {
        tail.extend(why.lines().map(|line| (line.to_owned(), Role::Bad)));
    }
    if let Some(ended) = &answer.ended {
        tail.extend(
            ended
                .message
                .lines()
                .map(|line| (line.to_owned(), Role::Bad)),
        );
        for detail in &ended.details {
            tail.extend(detail.lines().map(|line| (line.to_owned(), Role::Warn)));
        }
        for (name, value) in &ended.trailers {
            tail.push((format!("trailer  {name}: {value}"), Role::Dim));
        }
    }
    if answer.cut {
        tail.push(("the oldest messages are dropped".into(), Role::Dim));
    }
    tail
}
