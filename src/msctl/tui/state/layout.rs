//! Where the panes of a page stand, for the view that draws them and the mouse that hits them, and
//! how many rows each list shows. Pure arithmetic over state.

use super::area::{Area, Frame, share};
use super::services;
use super::{State, View, config};

/// Panes of the Services page. Each list's first row is its column titles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServicesLayout {
    /// The services, titles included.
    pub services: Area,
    /// The instances: a rule, titles, rows.
    pub instances: Area,
    /// Why: a rule and text.
    pub why: Area,
}

/// Panes of the Config page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConfigLayout {
    /// The canary under way, in one line.
    pub banner: Area,
    /// What a history may not have, a line each.
    pub notes: Area,
    /// The keys, or who has any: titles and rows.
    pub list: Area,
    /// The lower pane: editor, diff, conflict or what became of a save.
    pub lower: Area,
}

/// Panes of the Calls page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallsLayout {
    /// The tree.
    pub methods: Area,
    /// The request: a title and text.
    pub request: Area,
    /// The answer: a title and text.
    pub response: Area,
}

/// The lines around the page.
pub fn frame(state: &State) -> Frame {
    Frame::of(state.size.0, state.size.1)
}

/// Divides the Services page.
pub fn services(state: &State) -> ServicesLayout {
    let body = frame(state).body;
    let page = &state.services;
    if page.pane == services::Pane::Detail {
        return ServicesLayout {
            why: body,
            ..ServicesLayout::default()
        };
    }
    let rows = |count: usize| u16::try_from(count).unwrap_or(u16::MAX).saturating_add(1);
    let services = rows(page.services.rows().len().max(1));
    let instances = rows(page.instances.rows().len().max(1)).saturating_add(1);
    let why = if body.height >= 15 { 6 } else { 0 };
    let given = if page.pane == services::Pane::Instances {
        // The one with the focus grows first.
        let given = share(
            body.height,
            &[body.height.min(5), why, 2.min(services)],
            &[instances, why, services],
        );
        let spare = given[2].saturating_sub(services);
        [given[2] - spare, given[0], given[1] + spare]
    } else {
        let most = (body.height / 2).max(4);
        let given = share(
            body.height,
            &[services.min(most), instances.min(6), why],
            &[services, instances, why],
        );
        [given[0], given[1], given[2]]
    };
    let (services, rest) = body.top(given[0]);
    let (instances, why) = rest.top(given[1]);
    ServicesLayout {
        services,
        instances,
        why,
    }
}

/// Divides the Config page.
pub fn config(state: &State) -> ConfigLayout {
    let body = frame(state).body;
    let page = &state.config;
    let lower = match page.pane {
        config::Pane::Scopes => 0,
        config::Pane::Value => {
            let lines = page
                .editing
                .as_ref()
                .map_or(1, |editing| editing.editor.lines().len());
            let lines = u16::try_from(lines).unwrap_or(u16::MAX).saturating_add(5);
            lines.clamp(7.min(body.height / 2), (body.height * 2 / 3).max(4))
        }
        config::Pane::Conflict | config::Pane::Review => body.height * 2 / 3,
        config::Pane::History => body.height / 2,
        config::Pane::Keys
            if page.drafts.is_empty() && page.sent.is_none() && page.saved.is_none() =>
        {
            if body.height >= 14 { 5 } else { 0 }
        }
        config::Pane::Keys => (body.height / 2).max(6.min(body.height)),
    };
    let tried = page.trial.is_some() && page.pane != config::Pane::Scopes;
    let (banner, body) = body.top(u16::from(tried));
    // The list comes first where there is little room.
    let notes = match (page.pane, &page.history) {
        (config::Pane::History, Some(history)) => history.gaps.len(),
        _ => 0,
    };
    let notes = u16::try_from(notes).unwrap_or(0).min(body.height / 6);
    let (notes, body) = body.top(notes);
    let (list, lower) = body.bottom(lower);
    ConfigLayout {
        banner,
        notes,
        list,
        lower,
    }
}

/// Divides the Calls page.
pub fn calls(state: &State) -> CallsLayout {
    let body = frame(state).body;
    let tree = (body.width * 3 / 10).clamp(20.min(body.width), 48);
    let (methods, rest) = body.left(tree);
    let (_, rest) = rest.left(1);
    if body.width >= 100 {
        let (request, rest) = rest.left(rest.width * 2 / 5);
        let (_, response) = rest.left(1);
        CallsLayout {
            methods,
            request,
            response,
        }
    } else {
        let (request, response) = rest.top(rest.height / 2);
        CallsLayout {
            methods,
            request,
            response,
        }
    }
}

/// Tells the lists of the page how many rows they show.
pub fn fit(state: &mut State) {
    let body = frame(state).body;
    match state.view {
        View::Services => {
            let layout = services(state);
            state
                .services
                .services
                .resize(layout.services.height.saturating_sub(1));
            state
                .services
                .instances
                .resize(layout.instances.height.saturating_sub(2));
        }
        View::Config => {
            let rows = config(state).list.height.saturating_sub(1);
            state.config.scopes.resize(rows);
            state.config.keys.resize(rows);
            if let Some(history) = &mut state.config.history {
                history.list.resize(rows);
            }
        }
        View::Calls => {
            let rows = calls(state).methods.height;
            state.calls.tree.resize(rows);
        }
        View::Leases => state.leases.list.resize(body.height.saturating_sub(1)),
        View::Events => state.events.list.resize(body.height.saturating_sub(1)),
        View::Keys => state.keys.list.resize(body.height.saturating_sub(1)),
        View::Doctor => state.doctor.list.resize(body.height.saturating_sub(4)),
        View::Overview | View::Messages => {}
    }
}

/// Where the reader's text stands: over the whole page.
pub fn reader(state: &State) -> Area {
    frame(state).body
}
