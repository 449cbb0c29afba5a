//! The list of config keys: as a tree, and with what stands in etcd and is no key.

use fleet::Change;

use super::screens::check;
use super::*;

/// The keys of `order`, with a few more that share what stands before a dot.
fn console() -> State {
    let mut state = blank(100, 30);
    fleet(&mut state);
    for (key, value) in [
        ("/config/order/db.pool.idle", "30s"),
        ("/config/order/db.pool.size", "8"),
        ("/config/order/timeout", "{}"),
    ] {
        put(&mut state, key, value);
    }
    press(&mut state, "2 j j enter");
    state
}

fn put(state: &mut State, key: &str, value: &str) {
    let entry = entry(key, value, 820, 0);
    changed(state, Source::Config, Change::Put(entry));
    state.settle();
}

/// What tells the lines apart, from the first to the last.
fn lines(state: &State) -> Vec<String> {
    let lines = state.config.keys.rows().iter();
    lines.map(|line| line.id().to_string()).collect()
}

fn under_cursor(state: &State) -> String {
    let line = state.config.keys.current().unwrap();
    line.id().to_string()
}

#[test]
fn keys_show_as_a_tree_that_folds_and_unfolds() {
    let mut state = console();
    press(&mut state, "t");
    check("config_tree", &state, "dark");
    let all = lines(&state);
    press(&mut state, "g g j j space");
    assert_eq!(under_cursor(&state), "db.pool.");
    check("config_tree_folded", &state, "dark");
    press(&mut state, "enter");
    assert_eq!(lines(&state), all, "unfolded again");
    press(&mut state, "j j space");
    assert_eq!(under_cursor(&state), "db.pool.", "a key folds its folder");
    assert!(!lines(&state).contains(&"db.pool.size".to_owned()));
    press(&mut state, "g g space");
    assert!(!lines(&state).contains(&"db.pool.".to_owned()));
    assert!(lines(&state).contains(&"timeout.".to_owned()));
}

#[test]
fn the_cursor_stays_where_it_is_when_the_layout_turns() {
    let mut state = console();
    press(&mut state, "G");
    assert_eq!(under_cursor(&state), "timeout.write");
    press(&mut state, "t");
    assert_eq!(under_cursor(&state), "timeout.write");
    press(&mut state, "space");
    assert_eq!(under_cursor(&state), "timeout.");
    press(&mut state, "t");
    assert_eq!(under_cursor(&state), "timeout.read", "its first key");
    press(&mut state, "j t");
    assert_eq!(under_cursor(&state), "timeout.write", "its folder unfolds");
}

#[test]
fn a_filter_finds_in_the_tree_what_is_folded() {
    let mut state = console();
    press(&mut state, "t");
    press(&mut state, "G space / w r i t e enter");
    assert_eq!(lines(&state), ["timeout.write"]);
    press(&mut state, "esc");
    assert!(!lines(&state).contains(&"timeout.write".to_owned()));
    press(&mut state, "/ t i m e o u t . enter");
    assert_eq!(
        lines(&state),
        ["timeout.", "timeout.read", "timeout.write"],
        "nothing is folded under a filter"
    );
}

#[test]
fn a_value_is_edited_in_the_tree_as_in_the_list() {
    let mut state = console();
    press(&mut state, "t G enter ctrl-u 5 s enter");
    let drafts: Vec<_> = state
        .config
        .drafts
        .keys()
        .map(ToString::to_string)
        .collect();
    assert_eq!(drafts, ["order/timeout.write"]);
    press(&mut state, "g g x");
    assert_eq!(state.config.drafts.len(), 1, "a folder is no key");
}

#[test]
fn what_cannot_be_read_is_shown_with_its_reason() {
    let mut state = console();
    let canary = r#"{"instances":["order-7f3a-1"],"author":"lin","time":"2026-01-01T00:00:00Z",
        "changes":{"page.size":{"value":"60","mod_revision":655}}}"#;
    for (key, value) in [
        ("/config/order/@canary", canary),
        ("/config/order/a..b", "1"),
        ("/config/order/page.size", "[50"),
        ("/config/order/api.token", "[sesame"),
        ("/config/nowhere", "1"),
        ("/config/billing/x y", "1"),
    ] {
        put(&mut state, key, value);
    }
    check("config_unreadable", &state, "dark");
    let shown = screen(&state, "dark");
    for words in [
        "1 key on order-7f3a-1",
        "@canary",
        "no config key",
        "the value is n",
    ] {
        assert!(shown.contains(words), "{words}:\n{shown}");
    }
    press(&mut state, "/ p a g e enter");
    let reason = screen(&state, "dark");
    assert!(reason.contains("the value is not YAML"), "{reason}");
    press(&mut state, "esc");
    assert!(!shown.contains("sesame"), "{shown}");
    press(&mut state, "G");
    let read = press(&mut state, "enter");
    assert_eq!(read, [Effect::Read("/config/order/a..b".into())]);
    press(&mut state, "esc");
    state.settle();
    let shown = screen(&state, "dark");
    assert!(shown.contains("3 unreadable"), "{shown}");
    assert!(shown.contains("billing"), "{shown}");
    press(&mut state, "g g enter G");
    let shown = screen(&state, "dark");
    assert!(shown.contains("/config/nowhere"), "{shown}");
    // Written anew, or gone, they are no longer among what is wrong.
    put(&mut state, "/config/order/page.size", "50");
    let gone = Change::Delete {
        key: "/config/nowhere".into(),
        revision: Revision(821),
    };
    changed(&mut state, Source::Config, gone);
    state.settle();
    assert!(!screen(&state, "dark").contains("nowhere"));
}
