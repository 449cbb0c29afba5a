//! Calls from the keys: headers, the requests sent before, the instance, the command lines.

use super::screens::{calls, check, news};
use super::*;
use crate::tui::state::calls::{Ended, Pane, Progress};

fn console() -> State {
    calls(120, 30)
}

fn copied(state: &mut State) -> String {
    let effects = press(state, "Y");
    let [Effect::Copy(text)] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    text.clone()
}

/// Sends a request with this id, and has it end.
fn sent(state: &mut State, id: &str, code: &str) {
    press(state, "enter ctrl-t");
    type_text(state, id);
    press(state, "ctrl-enter");
    let ended = Ended {
        code: code.into(),
        ok: code == "OK",
        message: String::new(),
        details: Vec::new(),
        trailers: Vec::new(),
        took: Duration::from_millis(3),
    };
    news(state, 41, Progress::Ended(ended));
    press(state, "esc");
}

#[test]
fn headers_go_with_every_call_of_their_service() {
    let mut state = console();
    press(&mut state, "h");
    type_text(&mut state, "authorization: Bearer ${TOKEN}");
    press(&mut state, "enter");
    type_text(&mut state, "x-tenant: hq");
    check("calls_headers", &state, "dark");
    press(&mut state, "esc");
    let wanted = ["authorization: Bearer ${TOKEN}", "x-tenant: hq"];
    for keys in ["s", "j s"] {
        let effects = press(&mut state, keys);
        let [Effect::Call(call)] = effects.as_slice() else {
            panic!("{effects:?}")
        };
        assert_eq!(call.headers, wanted);
    }
    assert!(screen(&state, "dark").contains("2 headers"));
}

#[test]
fn a_request_sent_before_is_taken_up_again() {
    let mut state = console();
    press(&mut state, "ctrl-r");
    assert_eq!(state.calls.pane, Pane::Methods, "there is none yet");
    sent(&mut state, "1", "OK");
    sent(&mut state, "2", "NOT_FOUND");
    press(&mut state, "ctrl-r");
    check("calls_history", &state, "dark");
    assert!(press(&mut state, "j enter").is_empty(), "nothing is sent");
    assert_eq!(state.calls.pane, Pane::Request);
    let request = state.calls.request().unwrap().text();
    assert!(request.contains("\"1\""), "{request}");
    press(&mut state, "esc j ctrl-r");
    assert_eq!(
        state.calls.pane,
        Pane::Methods,
        "another method has its own"
    );
}

#[test]
fn an_instance_is_chosen_by_its_name() {
    let mut state = console();
    press(&mut state, "i");
    type_text(&mut state, "user-9");
    press(&mut state, "enter");
    assert!(screen(&state, "dark").contains("user has no running instance 'user-9'"));
    press(&mut state, "ctrl-u u s e r tab 2 enter");
    let effects = press(&mut state, "s");
    let [Effect::Call(call)] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    let ids: Vec<_> = call
        .instances
        .iter()
        .map(|one| one.record.id.as_str())
        .collect();
    assert_eq!(ids, ["user-2"]);
    press(&mut state, "i ctrl-u enter");
    assert_eq!(state.calls.instance, None, "any healthy one again");
}

#[test]
fn the_call_is_copied_for_both_tools() {
    let mut state = console();
    press(&mut state, "enter");
    type_text(&mut state, "it's");
    press(&mut state, "esc h");
    type_text(&mut state, "x-key: ${KEY}");
    press(&mut state, "esc i ctrl-u u s e r - 1 enter");
    assert_eq!(
        copied(&mut state),
        r#"msctl call user.Get --instance user-1 -H 'x-key: ${KEY}' -d '{"id":"it'\''s"}'"#
    );
    assert_eq!(
        copied(&mut state),
        r#"grpcurl -plaintext -expand-headers -H 'x-key: ${KEY}' -d '{"id":"it'\''s"}' 10.0.0.20:9000 user.v1.UserService/Get"#
    );
    assert!(copied(&mut state).starts_with("msctl"), "and round again");
}
