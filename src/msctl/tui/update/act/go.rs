//! Moving about: cursors, panes, into things and back out.

use fleet::config::diff::Line;

use super::{ask_methods, read};
use crate::tui::effect::Effect;
use crate::tui::state::calls::{self, TreeRow};
use crate::tui::state::config::past::History;
use crate::tui::state::findings::About;
use crate::tui::state::overlay::Overlay;
use crate::tui::state::services::Pane;
use crate::tui::state::table::Motion;
use crate::tui::state::{State, View, config, layout};
use crate::tui::update::{outdate_page, set_filter};

/// Moves the cursor or the text that has the focus.
pub(in crate::tui::update) fn go(state: &mut State, motion: Motion) {
    let height = usize::from(layout::frame(state).body.height);
    if let Some(Overlay::Reader(reader)) = &mut state.overlay {
        reader.scroll = scrolled(reader.scroll, motion, height, reader.lines.len());
        return;
    }
    match state.view {
        View::Services => {
            let page = &mut state.services;
            match page.pane {
                Pane::Services => page.services.go(motion, Clone::clone),
                Pane::Instances => page.instances.go(motion, |instance| instance.key.clone()),
                Pane::Detail => {
                    page.detail_scroll = scrolled(page.detail_scroll, motion, height, 400);
                }
            }
        }
        View::Config => match state.config.pane {
            config::Pane::Scopes => state.config.scopes.go(motion, |row| row.scope.clone()),
            config::Pane::Keys => state.config.keys.go(motion, config::Line::id),
            config::Pane::Conflict => {
                if let Some(clash) = &mut state.config.clash {
                    clash.cursor = scrolled(clash.cursor, motion, 1, clash.conflicts.len());
                }
            }
            config::Pane::Review => {
                let height = usize::from(layout::config(state).lower.height.saturating_sub(2));
                let rows = state.config.reviewed.len();
                if let Some(review) = &mut state.config.review {
                    review.scroll = scrolled(review.scroll, motion, height, rows);
                }
            }
            config::Pane::History => {
                if let Some(history) = &mut state.config.history {
                    history.list.go(motion, |at| *at);
                }
            }
            config::Pane::Value => {}
        },
        View::Calls => match state.calls.pane {
            calls::Pane::Methods => {
                state.calls.tree.go(motion, TreeRow::key);
                state.calls.choose();
            }
            calls::Pane::Response => {
                let height = usize::from(layout::calls(state).response.height);
                if let Some(answer) = &mut state.calls.answer {
                    let lines = answer.lines.len();
                    let from = if answer.following {
                        lines.saturating_sub(height.saturating_sub(3))
                    } else {
                        answer.scroll
                    };
                    answer.scroll = scrolled(from, motion, height, lines);
                    answer.following = motion == Motion::Bottom;
                }
            }
            calls::Pane::Past => {
                let rows = state.calls.sent_before().len();
                let cursor = state.calls.past_cursor;
                state.calls.past_cursor = scrolled(cursor, motion, height, rows);
            }
            calls::Pane::Request | calls::Pane::Headers => {}
        },
        View::Leases => state.leases.list.go(motion, |row| row.id),
        View::Events => {
            let page = &mut state.events;
            page.list.go(motion, |number| *number);
            page.following = page.at_newest();
        }
        View::Keys => state.keys.list.go(motion, |row| row.key.clone()),
        View::Doctor => {
            state.doctor.list.go(motion, |(at, row)| {
                (row.about.clone(), row.finding.code, *at)
            });
        }
        View::Messages => {
            let lines = state.messages.newest().len();
            state.messages.scroll = scrolled(state.messages.scroll, motion, height, lines);
        }
        View::Overview => {}
    }
}

fn scrolled(from: usize, motion: Motion, height: usize, lines: usize) -> usize {
    let by = |rows: usize, sign: isize| sign * isize::try_from(rows.max(1)).unwrap_or(1);
    let to = match motion {
        Motion::Rows(rows) => from.saturating_add_signed(rows),
        Motion::Half(sign) => from.saturating_add_signed(by(height / 2, sign)),
        Motion::Page(sign) => from.saturating_add_signed(by(height, sign)),
        Motion::Top => 0,
        Motion::Bottom => lines.saturating_sub(height.saturating_sub(1).max(1)),
    };
    to.min(lines.saturating_sub(1))
}

/// Goes into what is under the cursor.
pub(in crate::tui::update) fn open(state: &mut State) -> Vec<Effect> {
    match state.view {
        View::Services => match state.services.pane {
            Pane::Services if state.services.of().is_some() => {
                state.services.pane = Pane::Instances;
            }
            Pane::Instances if state.services.instance().is_some() => {
                state.services.pane = Pane::Detail;
                state.services.detail_scroll = 0;
            }
            _ => {}
        },
        View::Config => match state.config.pane {
            config::Pane::Scopes => {
                if let Some(scope) = state.config.scopes.current().map(|row| row.scope.clone()) {
                    state.config.open(scope);
                }
            }
            config::Pane::History => open_change(state),
            config::Pane::Keys => {
                match state.config.keys.current() {
                    Some(config::Line::Folder(_)) => super::fold(state),
                    Some(config::Line::Stray(stray)) => {
                        return vec![Effect::Read(stray.entry.key.clone())];
                    }
                    Some(config::Line::Key(..)) | None => {}
                }
                if crate::tui::update::write::allowed(state)
                    && let Some(key) = state.config.current()
                {
                    state.config.edit(key);
                }
            }
            _ => {}
        },
        View::Calls => match state.calls.tree.current().cloned() {
            Some(TreeRow::Service { name, .. }) if state.calls.toggle(&name) => {
                return ask_methods(state, name);
            }
            Some(TreeRow::Note { of, .. }) if state.calls.unfold(&of) => {
                return ask_methods(state, of);
            }
            Some(TreeRow::Method { .. }) if state.calls.choose() => {
                state.calls.pane = calls::Pane::Request;
            }
            Some(TreeRow::Heading { .. }) => go(state, Motion::Rows(1)),
            _ => {}
        },
        View::Leases => open_lease(state),
        View::Events => open_event(state),
        View::Keys => {
            let key = state.keys.list.current().map(|row| row.key.clone());
            return key.map(Effect::Read).into_iter().collect();
        }
        View::Doctor => return open_finding(state),
        View::Overview | View::Messages => {}
    }
    Vec::new()
}

/// Goes to the instance that something is wrong with, or shows the record that is none; of etcd's
/// members the overview tells.
fn open_finding(state: &mut State) -> Vec<Effect> {
    let about = state.doctor.list.current();
    let key = match about.map(|(_, row)| row.about.clone()) {
        Some(About::Key(key)) => key,
        Some(About::Member(_)) => {
            crate::tui::update::show(state, View::Overview);
            return Vec::new();
        }
        None => return Vec::new(),
    };
    let instance = state.directory.registry.instance(&key);
    let Some(service) = instance.map(|instance| instance.record.service.clone()) else {
        return vec![Effect::Read(key)];
    };
    crate::tui::update::show(state, View::Services);
    go_to_service(state, service);
    // The instances are those of the service under the cursor: it has to stand there first.
    state.settle();
    state.services.instances.set_filter("");
    state.services.instances.table.select_key(key);
    state.services.pane = Pane::Instances;
    Vec::new()
}

/// A change in full, line by line.
fn open_change(state: &mut State) {
    let past = state.config.history.as_ref();
    let Some(past) = past.and_then(History::current).cloned() else {
        return;
    };
    let author = past.author.as_ref();
    let mut lines = vec![
        format!("change    {}", past.when),
        format!("author    {}", author.map_or("another tool", |by| &by.name)),
    ];
    lines.extend(author.map(|by| format!("time      {}", by.time)));
    if !past.message.is_empty() {
        lines.push(format!("message   {}", past.message));
    }
    lines.extend(past.damaged.clone());
    for (key, difference) in &past.changes {
        lines.extend([String::new(), key.clone()]);
        let line = |line: &Line| format!("{} {}", line.side.sign(), line.text());
        lines.extend(difference.lines.iter().map(line));
    }
    read(state, format!("change {}", past.when), lines);
}

fn open_lease(state: &mut State) {
    let Some(id) = state.leases.list.current().map(|row| row.id) else {
        return;
    };
    let mut lines = vec![format!("lease    {id}"), format!("decimal  {}", id.get())];
    match state.directory.lease(id) {
        None => lines.push("not asked yet".into()),
        Some(seen) => {
            lines.push(format!("granted  {}s", seen.granted));
            match seen.left(state.now.mono) {
                Some(left) => lines.push(format!("left     {left:.1}s")),
                None if seen.ttl.is_none() => {
                    lines.push("ended    etcd has no such lease any longer".into());
                }
                None => lines.push("left     not known: it was asked too long ago".into()),
            }
            lines.push(String::new());
            match seen.keys.as_deref() {
                Some([]) => lines.push("no keys".into()),
                Some(keys) => lines.extend(keys.iter().map(ToString::to_string)),
                None => lines.push("its keys were not asked for yet".into()),
            }
        }
    }
    read(state, format!("lease {id}"), lines);
}

fn open_event(state: &mut State) {
    let event = state
        .events
        .list
        .current()
        .and_then(|number| state.events.get(*number));
    let Some(event) = event else { return };
    let mut lines = vec![
        format!("at        {}", event.at),
        format!("what      {}", event.what.word()),
        format!("subject   {}", event.subject),
    ];
    lines.extend(
        event
            .revision
            .map(|revision| format!("revision  {revision}")),
    );
    lines.extend(event.key.as_ref().map(|key| format!("key       {key}")));
    lines.extend(event.lease.map(|lease| format!("lease     {lease}")));
    lines.extend([String::new(), event.text.clone()]);
    read(state, format!("event {}", event.subject), lines);
}

/// Goes back: closes what is open, drops a filter, leaves a pane, goes to the page before.
pub(super) fn back(state: &mut State) {
    if state.overlay.take().is_some() {
        return;
    }
    if state.messages.toast(state.now.mono).is_some() {
        state.messages.dismiss();
    }
    let filtered = crate::tui::update::filter_text(state).is_some_and(|text| !text.is_empty());
    if filtered {
        return set_filter(state, "");
    }
    match (state.view, state.services.pane) {
        (View::Services, Pane::Detail) => state.services.pane = Pane::Instances,
        (View::Services, Pane::Instances) => {
            state.services.instances.table.clear_marks();
            state.services.pane = Pane::Services;
        }
        (View::Config, _) if state.config.pane == config::Pane::Keys => {
            state.config.pane = config::Pane::Scopes;
            state.config.scopes.outdate_now();
        }
        (View::Config, _) if state.config.pane == config::Pane::History => {
            state.config.history = None;
            state.config.pane = match state.config.scope {
                Some(_) => config::Pane::Keys,
                None => config::Pane::Scopes,
            };
        }
        (View::Calls, _) if state.calls.pane == calls::Pane::Past => {
            state.calls.pane = calls::Pane::Request;
        }
        (View::Calls, _) if state.calls.pane == calls::Pane::Response => {
            state.calls.pane = calls::Pane::Methods;
        }
        (View::Services, Pane::Services) => {}
        _ => history(state, -1),
    }
}

/// Goes through the pages shown before.
pub(super) fn history(state: &mut State, by: isize) {
    let (from, to) = match by {
        ..0 => (&mut state.history.0, &mut state.history.1),
        _ => (&mut state.history.1, &mut state.history.0),
    };
    if let Some(view) = from.pop() {
        to.push(state.view);
        state.view = view;
        outdate_page(state);
    }
}

/// Goes to the next pane of the page, or the one before.
pub(super) fn pane(state: &mut State, by: isize) {
    match state.view {
        View::Services => {
            state.services.pane = match state.services.pane {
                Pane::Services if state.services.of().is_some() => Pane::Instances,
                Pane::Instances => Pane::Services,
                other => other,
            };
        }
        View::Config => {
            if state.config.pane == config::Pane::Keys {
                state.config.pane = config::Pane::Scopes;
            } else if state.config.pane == config::Pane::Scopes && state.config.scope.is_some() {
                state.config.pane = config::Pane::Keys;
            }
        }
        View::Calls => {
            use calls::Pane::{Methods, Request, Response};
            let order = [Methods, Request, Response];
            let at = order
                .iter()
                .position(|pane| *pane == state.calls.pane)
                .unwrap_or(0);
            let next = if by > 0 { at + 1 } else { at + order.len() - 1 };
            let pane = order[next % order.len()];
            if pane != Request || state.calls.request().is_some() {
                state.calls.pane = pane;
            } else {
                state.calls.pane = if by > 0 { Response } else { Methods };
            }
        }
        _ => {}
    }
}

/// Shows a service on the Services page.
pub(in crate::tui::update) fn go_to_service(state: &mut State, service: fleet::ServiceName) {
    state.services.pane = Pane::Services;
    state.services.services.set_filter("");
    state.services.services.table.select_key(service);
}
