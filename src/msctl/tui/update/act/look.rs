//! From what is under the cursor to what other pages, or etcd, know of it.

use fleet::config::Scope;

use super::{Effect, State, View};
use crate::tui::state::services::Pane;
use crate::tui::update::show;

pub(super) fn config_of_service(state: &mut State) {
    let Some(service) = state.services.of().cloned() else {
        return;
    };
    show(state, View::Config);
    state.config.open(Scope::Service(service));
}

pub(super) fn events_of_this(state: &mut State) {
    let filter = match state.services.pane {
        Pane::Services => state.services.of().map(ToString::to_string),
        _ => state
            .services
            .instance()
            .map(|instance| instance.record.id.to_string()),
    };
    show(state, View::Events);
    state.events.list.set_filter(&filter.unwrap_or_default());
}

pub(super) fn raw(state: &mut State) -> Vec<Effect> {
    let key = match state.view {
        View::Services => state
            .services
            .instance()
            .map(|instance| instance.key.clone()),
        View::Leases => {
            let row = state.leases.list.current();
            row.and_then(|row| row.instance.as_ref())
                .map(|instance| instance.key.clone())
        }
        _ => None,
    };
    key.map(Effect::Read).into_iter().collect()
}
