//! What a service says of its config, in the editor and beside the keys.

use super::*;

#[test]
fn keys_that_only_the_schema_knows_show_their_defaults() {
    let state = described();
    let shown = screen(&state, "dark");
    for (key, words) in [
        ("timeout.connect", ["800ms", "default"]),
        ("mode", ["safe", "default"]),
        ("timeout.write", ["2s", "order"]),
    ] {
        let line = line(&shown, key);
        assert!(words.iter().all(|word| line.contains(word)), "{line}");
    }
    // Its parts stand in one key's mapping.
    assert!(!shown.contains("retry.attempts"), "{shown}");
    assert!(!shown.contains("sesame"), "{shown}");
}

#[test]
fn an_editor_shows_what_the_service_says_and_refuses_what_it_would() {
    let mut state = described();
    press(&mut state, "G enter");
    let shown = screen(&state, "dark");
    for words in [
        "duration, 10ms … 1m   default 3s",
        "How long a write may take.",
    ] {
        assert!(shown.contains(words), "{shown}");
    }
    press(&mut state, "ctrl-u 4 5 h enter");
    assert!(state.config.drafts.is_empty());
    let error = state.config.editing.as_ref().unwrap().error.clone();
    let wanted = "timeout.write: \"45h\" is too high, allowed is 10ms … 1m";
    assert_eq!(error.as_deref(), Some(wanted));
    press(&mut state, "ctrl-u 4 5 s enter");
    assert_eq!(state.config.drafts.len(), 1);
}

#[test]
fn a_key_the_service_does_not_have_is_told_with_the_nearest_name() {
    let mut state = described();
    press(&mut state, "n p a g e . s i z enter 2 0 enter");
    assert_eq!(state.config.drafts.len(), 1);
    let shown = screen(&state, "dark");
    assert!(shown.contains("Did you mean 'page.size'?"), "{shown}");
}

#[test]
fn a_schema_that_comes_later_holds_back_what_was_pending() {
    let mut state = edited();
    press(&mut state, "enter ctrl-u 4 5 h enter");
    let schema = entry("/schema/order", SCHEMA, 18_300, 0);
    changed(&mut state, Source::Schema, Change::Put(schema));
    assert!(press(&mut state, "ctrl-s").is_empty());
    assert!(state.config.review.is_none(), "it is not even shown");
    let broken = entry("/schema/order", "{", 18_301, 0);
    changed(&mut state, Source::Schema, Change::Put(broken));
    press(&mut state, "ctrl-s");
    assert!(
        state.config.review.is_some(),
        "a broken schema refuses nothing"
    );
}

#[test]
fn tab_completes_values_keys_and_instances() {
    let mut state = described();
    press(&mut state, "/ m o d e enter enter ctrl-u s tab enter");
    let wanted = |state: &State, key: &str| {
        let key = fleet::config::ConfigKey::parse(key).unwrap();
        state
            .config
            .drafts
            .get(&key)
            .map(|draft| draft.wanted.clone())
    };
    let set = |text: &str| Some(crate::tui::state::config::Wanted::Set(text.into()));
    assert_eq!(wanted(&state, "order/mode"), set("safe"));
    press(&mut state, "esc n t i m e o u t . c tab enter 1 s");
    let editing = state.config.editing.as_ref().unwrap();
    assert_eq!(editing.key.to_string(), "order/timeout.connect");
    press(
        &mut state,
        "esc ctrl-s ctrl-t ctrl-u o r d e r - 7 tab 2 , o r d e r - 9 tab",
    );
    let Some(crate::tui::state::overlay::Overlay::Prompt(prompt)) = &state.overlay else {
        panic!("{:?}", state.overlay)
    };
    assert_eq!(prompt.editor.text(), "order-7f3a-2,order-91c0-1");
}

#[test]
fn why_tells_every_layer_and_what_each_instance_runs() {
    let mut state = described();
    press(&mut state, "G w");
    let shown = screen(&state, "dark");
    for words in [
        "service r811",
        "counts",
        "global r640",
        "default",
        "order-91c0-1",
    ] {
        assert!(shown.contains(words), "{words}:\n{shown}");
    }
}
