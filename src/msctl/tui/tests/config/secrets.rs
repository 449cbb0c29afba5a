//! A secret shows nowhere until it is asked for.

use super::*;

#[test]
fn a_secret_shows_nowhere_until_it_is_asked_for() {
    let mut state = described();
    let put = |state: &mut State, key: &str, value: &str| {
        changed(
            state,
            Source::Config,
            Change::Put(entry(key, value, 18_300, 0)),
        );
    };
    put(&mut state, "/config/order/session.key", "hush-1");
    put(&mut state, "/config/order/db.password", "hush-2");
    let canary = r#"{"instances":["order-7f3a-1"],"author":"lin","time":"2026-01-01T00:00:00Z",
        "changes":{"session.key":{"value":"hush-3","mod_revision":0}}}"#;
    put(&mut state, "/config/order/@canary", canary);
    let nowhere = |state: &State, place: &str| {
        let shown = screen(state, "dark");
        assert!(!shown.contains("hush"), "{place}:\n{shown}");
    };
    state.settle();
    nowhere(&state, "the keys");
    press(&mut state, "/ h u s h enter");
    assert!(
        state.config.keys.rows().is_empty(),
        "a filter tells what it finds"
    );
    press(&mut state, "esc / s e s s i o n enter enter");
    nowhere(&state, "the editor");
    type_text(&mut state, "hush-4");
    nowhere(&state, "the value being typed");
    press(&mut state, "enter");
    nowhere(&state, "the draft");
    let copied = press(&mut state, "y");
    assert!(!format!("{copied:?}").contains("hush"), "{copied:?}");
    press(&mut state, "5");
    state.settle();
    nowhere(&state, "the journal");
    for key in ["/config/order/session.key", "/config/order/@canary"] {
        let found = entry(
            key,
            if key.ends_with('y') && !key.contains('@') {
                "hush-1"
            } else {
                canary
            },
            1,
            0,
        );
        let reply = Reply::Raw(key.into(), Ok(Some(found)));
        update(&mut state, at(50), Event::Reply(0, reply));
        nowhere(&state, key);
        press(&mut state, "esc");
    }
}

#[test]
fn a_schema_that_comes_later_masks_what_the_journal_has_noted() {
    let mut state = blank(120, 40);
    fleet(&mut state);
    let put = entry("/config/order/session.key", "hush-1", 18_300, 0);
    changed(&mut state, Source::Config, Change::Put(put));
    press(&mut state, "5");
    state.settle();
    assert!(screen(&state, "dark").contains("hush-1"));
    let schema = entry("/schema/order", SCHEMA, 18_301, 0);
    changed(&mut state, Source::Schema, Change::Put(schema));
    state.settle();
    assert!(!screen(&state, "dark").contains("hush-1"));
}
