//! The canary under way, in one line above the keys.

use crate::tui::state::State;
use crate::tui::state::area::Area;
use crate::tui::state::config::trial::Trial;
use crate::tui::theme::Role;
use crate::tui::view::paint::{Paint, Span};

/// `canary r812 of lin   timeout.write on order-7f3a-1   1/1 applied   P promote  A abort`
pub(super) fn banner(paint: &mut Paint<'_>, area: Area, state: &State, trial: &Trial) {
    let mut spans = vec![Span::new("canary ", Role::Warn)];
    match &trial.standing {
        Err(why) => spans.push(Span::new(why.as_str(), Role::Bad)),
        Ok(standing) => {
            let canary = &standing.canary;
            let keys: Vec<&str> = canary.changes.keys().map(String::as_str).collect();
            let names: Vec<&str> = canary.instances.iter().map(|id| id.as_str()).collect();
            spans.push(Span::dim(format!(
                "r{} by {}   ",
                standing.entry.mod_revision, canary.author
            )));
            spans.push(Span::plain(keys.join(", ")));
            spans.push(Span::dim(" on "));
            spans.push(Span::plain(names.join(", ")));
            if let Some(rollout) = &trial.rollout {
                let (applied, all) = (rollout.applied(), canary.instances.len());
                let role = if applied == all {
                    Role::Good
                } else {
                    Role::Warn
                };
                spans.push(Span::new(format!("   {applied}/{all} applied"), role));
                if let Some((target, why)) = rollout.refused().next() {
                    let text = format!("   {} refused: {why}", target.instance);
                    spans.push(Span::new(text, Role::Bad));
                }
            }
        }
    }
    let watched = match &state.config.watch {
        Some(_) => "   watched",
        None => "",
    };
    spans.push(Span::new(watched, Role::Accent));
    for (action, word) in [
        (crate::tui::action::Action::Promote, " promote"),
        (crate::tui::action::Action::AbortCanary, " abort"),
    ] {
        spans.push(Span::plain("   "));
        spans.push(Span::new(state.keymap.keys_of(action), Role::Accent));
        spans.push(Span::dim(word));
    }
    paint.spans(area.x + 1, area.y, area.width.saturating_sub(2), &spans);
}
