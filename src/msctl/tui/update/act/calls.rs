//! What the Calls page does: a method chosen, its request, headers and instance, and the call sent.

use std::sync::Arc;

use fleet::{Health, Instance, Key, ServiceName};

use super::{prompt, show};
use crate::tui::effect::{Call, Effect};
use crate::tui::state::calls::{self, TreeRow};
use crate::tui::state::editor::Editor;
use crate::tui::state::overlay::{Overlay, Prompt, Purpose};
use crate::tui::state::services::Pane;
use crate::tui::state::toast::Tone;
use crate::tui::state::{State, View};

pub(super) fn call_service(state: &mut State) -> Vec<Effect> {
    let instance = match state.services.pane {
        Pane::Services => None,
        _ => state
            .services
            .instance()
            .map(|instance| instance.key.clone()),
    };
    let Some(service) = state.services.of().cloned() else {
        return Vec::new();
    };
    show(state, View::Calls);
    state.calls.pane = calls::Pane::Methods;
    state.calls.instance = instance;
    state.calls.tree.set_filter("");
    let ask = state.calls.unfold(&service);
    let key = (service.clone(), Arc::from(""), Arc::from(""));
    state.calls.tree.table.select_key(key);
    if ask {
        ask_methods(state, service)
    } else {
        Vec::new()
    }
}

pub(in crate::tui::update) fn ask_methods(state: &State, service: ServiceName) -> Vec<Effect> {
    let instances = candidates(state, &service, None);
    vec![Effect::AskMethods { service, instances }]
}

/// Who may be asked or called: the chosen instance alone, else the serving ones first.
pub(super) fn candidates(
    state: &State,
    service: &ServiceName,
    chosen: Option<&Key>,
) -> Vec<Arc<Instance>> {
    let Some(service) = state.directory.registry.service(service.as_str()) else {
        return Vec::new();
    };
    if let Some(instance) = chosen.and_then(|key| service.instance(key)) {
        return vec![Arc::clone(instance)];
    }
    // A large service is not sorted as a whole for one call: the first serving ones will do.
    let mut instances: Vec<Arc<Instance>> = service
        .instances()
        .filter(|i| i.record.grpc().is_some())
        .take(1_000)
        .cloned()
        .collect();
    instances.sort_by_key(|instance| match state.directory.state_of(&instance.key) {
        Health::Serving => 0,
        Health::Unknown => 1,
        Health::NotServing => 2,
        Health::Hung => 3,
        Health::Unreachable => 4,
    });
    let serving = |i: &Arc<Instance>| state.directory.state_of(&i.key) == Health::Serving;
    let best = instances
        .iter()
        .take_while(|instance| serving(instance))
        .count();
    if best > 1 {
        // Calls go round among those that serve.
        let turn = state.calls.answer.as_ref().map_or(0, |answer| answer.id);
        let by = usize::try_from(turn).unwrap_or(0) % best;
        instances[..best].rotate_left(by);
    }
    instances.truncate(8);
    instances
}

pub(super) fn send(state: &mut State) -> Vec<Effect> {
    if state.calls.chosen.is_none() {
        state.calls.choose();
    }
    let Some((service, method)) = state.calls.chosen.clone() else {
        state.say(Tone::Plain, "choose a method first");
        return Vec::new();
    };
    let request = state.calls.request().map(Editor::text).unwrap_or_default();
    let instances = candidates(state, &service, state.calls.instance.as_ref());
    let headers = state.calls.headers();
    let (now, wall) = (state.now.mono, state.now.wall);
    let Some(id) = state.calls.begin(now, wall) else {
        return Vec::new();
    };
    vec![Effect::Call(Call {
        id,
        service,
        method,
        request,
        headers,
        instances,
    })]
}

pub(super) fn cancel(state: &mut State) -> Vec<Effect> {
    match &mut state.calls.answer {
        Some(answer) if answer.is_running() => {
            answer.failed = Some("cancelled".into());
            vec![Effect::CancelCall]
        }
        _ => Vec::new(),
    }
}

/// Asks which instance gets the calls.
pub(super) fn pick_instance(state: &mut State) {
    if service(state).is_none() {
        return state.say(Tone::Plain, "choose a service first");
    }
    let chosen = state.calls.instance.as_ref();
    let chosen = chosen.and_then(|key| state.directory.registry.instance(key));
    let id = chosen.map_or_else(String::new, |chosen| chosen.record.id.to_string());
    prompt(state, Purpose::Instance, &id);
}

/// The service whose method is chosen, or that the cursor is on.
pub(super) fn service(state: &State) -> Option<ServiceName> {
    match (&state.calls.chosen, state.calls.tree.current()) {
        (Some((service, _)), _) => Some(service.clone()),
        (None, Some(row)) => Some(TreeRow::service(row).clone()),
        (None, None) => None,
    }
}

/// Calls go to the instance of this name from now on.
pub(super) fn take_instance(state: &mut State, mut asked: Prompt) {
    let id = asked.editor.text();
    let id = id.trim();
    if id.is_empty() {
        state.calls.instance = None;
        return;
    }
    let Some(name) = service(state) else { return };
    let service = state.directory.registry.service(name.as_str());
    let mut instances = service.into_iter().flat_map(|service| service.instances());
    match instances.find(|instance| instance.record.id.as_str() == id) {
        Some(instance) => state.calls.instance = Some(instance.key.clone()),
        None => {
            asked.error = Some(format!("{name} has no running instance '{id}'"));
            state.overlay = Some(Overlay::Prompt(asked));
        }
    }
}

/// Opens the headers of the service.
pub(super) fn edit_headers(state: &mut State) {
    if state.calls.chosen.is_none() {
        state.calls.choose();
    }
    if state.calls.headers_mut().is_some() {
        state.calls.pane = calls::Pane::Headers;
    } else {
        state.say(Tone::Plain, "choose a method first");
    }
}

/// Opens the requests sent to the method before.
pub(super) fn past(state: &mut State) {
    if state.calls.chosen.is_none() {
        state.calls.choose();
    }
    if state.calls.sent_before().is_empty() {
        return state.say(Tone::Plain, "nothing was sent to this method yet");
    }
    state.calls.past_cursor = 0;
    state.calls.pane = calls::Pane::Past;
}

pub(super) fn reset_request(state: &mut State) {
    let Some((_, method)) = state.calls.chosen.clone() else {
        return;
    };
    if let Some(request) = state.calls.request_mut() {
        request.replace(&method.template);
        let (row, column) = calls::template(&method).cursor();
        request.place(row, column);
    }
}
