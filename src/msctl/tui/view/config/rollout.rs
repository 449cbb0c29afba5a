//! How a save spreads: which instances run it by their own word, who refused it, who has not answered.

use fleet::rollout::{Answer, Rollout};

use crate::tui::state::area::Area;
use crate::tui::state::config::Saved;
use crate::tui::theme::Role;
use crate::tui::view::paint::{Paint, Span};

/// A save that is on its way.
pub(super) fn sending(paint: &mut Paint<'_>, area: Area) {
    let (rule, rest) = area.top(1);
    paint.rule(rule, "saving", Role::Accent);
    let text = "The transaction is on its way; the draft is kept until etcd has answered.";
    let room = rest.width.saturating_sub(4);
    paint.text(rest.x + 3, rest.y, room, text, Role::Text);
}

/// `order  ▰▰▰▰▰▱ 5/6 applied   order-7f3a-2 has not answered (runs r811)`
pub(super) fn rollout(paint: &mut Paint<'_>, area: Area, saved: &Saved) {
    let (rule, rest) = area.top(1);
    paint.rule(rule, &format!("saved as r{}", saved.revision), Role::Good);
    let (x, room) = (rest.x + 3, rest.width.saturating_sub(4));
    let mut rows = rest.y..rest.y + rest.height;
    let widest = saved
        .rollouts
        .iter()
        .map(|(scope, _)| scope.to_string().len());
    let widest = widest.max().unwrap_or(0).min(40);
    for (scope, rollout) in &saved.rollouts {
        let Some(y) = rows.next() else { return };
        let mut spans = vec![Span::plain(format!("{:<widest$}   ", scope.to_string()))];
        spans.extend(progress(paint, rollout));
        paint.spans(x, y, room, &spans);
        let keys = saved.keys.iter().filter(|key| key.scope == *scope);
        for key in keys {
            let Some(y) = rows.next() else { return };
            paint.text(x + 2, y, room.saturating_sub(2), key.path(), Role::Dim);
        }
    }
}

fn progress(paint: &Paint<'_>, rollout: &Rollout) -> Vec<Span<'static>> {
    let total = rollout.instances.len();
    if total == 0 {
        return vec![Span::dim("reaches no running instance")];
    }
    let applied = rollout.applied();
    let part = applied as f64 / total as f64;
    let role = if applied == total {
        Role::Good
    } else {
        Role::Warn
    };
    let mut spans = vec![
        Span::new(paint.gauge(part, total.clamp(4, 12)), role),
        Span::new(format!(" {applied}/{total} applied"), role),
    ];
    // Who refused is told before who has not answered.
    let open = |target: &&fleet::rollout::Target| target.answer != Answer::Applied;
    let refused = rollout.refused().next().map(|(target, _)| target);
    let first = refused.or_else(|| rollout.instances.iter().find(open));
    if let Some(target) = first {
        let role = match target.answer {
            Answer::Refused { .. } => Role::Bad,
            _ => Role::Dim,
        };
        let text = format!("   {} {}", target.instance, target.answer);
        spans.push(Span::new(text, role));
        let more = total - applied - 1;
        if more > 0 {
            spans.push(Span::dim(format!(", and {more} more have not")));
        }
    }
    spans
}
