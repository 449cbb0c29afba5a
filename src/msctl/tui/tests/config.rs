//! A config edit from the key to the store, through keys and answers.

use fleet::{Change, Conflict, Outcome, Revision, Seen, Write};

use super::*;
use crate::tui::event::Deed;

fn edited() -> State {
    let mut state = blank(120, 40);
    fleet(&mut state);
    press(&mut state, "2 j j enter G enter ctrl-u 5 s enter");
    state
}

fn saved_value(effects: &[Effect]) -> (i64, String) {
    let [Effect::Save { plan, .. }] = effects else {
        panic!("{effects:?}")
    };
    let [edit] = plan.edits() else {
        panic!("{plan:?}")
    };
    let Write::Put { value, .. } = &edit.write else {
        panic!("{edit:?}")
    };
    (
        edit.seen.revision().0,
        String::from_utf8_lossy(value).into_owned(),
    )
}

#[test]
fn a_save_carries_the_value_the_guard_and_the_message() {
    let mut state = edited();
    press(&mut state, "m w h y enter");
    let effects = press(&mut state, "ctrl-s ctrl-s");
    assert_eq!(saved_value(&effects), (811, "5s".into()));
    let [Effect::Save { message, .. }] = effects.as_slice() else {
        panic!()
    };
    assert_eq!(message, "why");
}

#[test]
fn a_second_save_waits_for_the_first() {
    let mut state = edited();
    assert_eq!(press(&mut state, "ctrl-s ctrl-s").len(), 1);
    assert!(press(&mut state, "ctrl-s").is_empty());
    assert!(
        state.overlay.is_none(),
        "nothing is asked while the first is out"
    );
}

#[test]
fn mine_is_written_over_theirs_only_when_chosen_and_guarded_by_theirs() {
    let mut state = edited();
    let sent = number(&press(&mut state, "ctrl-s ctrl-s"));
    let key = fleet::Key::from("/config/order/timeout.write");
    let theirs = entry("/config/order/timeout.write", "3s", 813, 0);
    changed(&mut state, Source::Config, Change::Put(theirs.clone()));
    let seen = Seen::At(entry("/config/order/timeout.write", "2s", 811, 0));
    let conflicts = vec![Conflict {
        key,
        seen,
        current: Some(theirs),
    }];
    answered(&mut state, sent, Outcome::Refused { conflicts });
    assert!(
        press(&mut state, "ctrl-s").is_empty(),
        "nothing is chosen yet"
    );
    let effects = press(&mut state, "m ctrl-s ctrl-s");
    assert_eq!(saved_value(&effects), (813, "5s".into()));
    let revision = Revision(814);
    answered(&mut state, number(&effects), Outcome::Applied { revision });
    assert!(state.config.drafts.is_empty());
}

#[test]
fn a_draft_survives_leaving_the_page_and_losing_etcd() {
    let mut state = edited();
    press(&mut state, "1 2 esc");
    let cause = "gone".to_owned();
    update(
        &mut state,
        at(50),
        Event::Feed(0, Feed::Stale(Source::Config, cause)),
    );
    let failed = Err("etcd 127.0.0.1:2379: connection refused".to_owned());
    let sent = number(&press(&mut state, "enter ctrl-s ctrl-s"));
    let reply = Reply::Written(Deed::SaveConfig(sent), failed);
    update(&mut state, at(51), Event::Reply(0, reply));
    assert_eq!(state.config.drafts.len(), 1);
}

#[test]
fn a_new_key_is_checked_before_it_is_edited() {
    let mut state = edited();
    press(&mut state, "n a . . b enter");
    assert!(state.overlay.is_some(), "a bad key stays in the prompt");
    press(&mut state, "ctrl-u f e a t u r e . x enter t r u e enter");
    let names: Vec<_> = state
        .config
        .drafts
        .keys()
        .map(ToString::to_string)
        .collect();
    assert_eq!(names, ["order/feature.x", "order/timeout.write"]);
}

#[test]
fn unset_takes_only_what_the_service_itself_has() {
    let mut state = edited();
    press(&mut state, "u");
    assert!(state.config.drafts.is_empty());
    press(&mut state, "x");
    assert_eq!(state.config.drafts.len(), 1);
    press(&mut state, "k x");
    assert_eq!(state.config.drafts.len(), 1, "timeout.read is global");
}

#[test]
fn a_hostile_value_reaches_no_cell_unescaped() {
    let mut state = edited();
    let hostile = entry("/config/order/banner", "\u{1b}[2J\u{202e}evil\u{7}", 900, 0);
    changed(&mut state, Source::Config, Change::Put(hostile));
    state.settle();
    let shown = screen(&state, "dark");
    assert!(shown.contains("\\u{1b}[2J"), "{shown}");
    assert!(!shown.contains(['\u{1b}', '\u{202e}', '\u{7}']));
}

const SCHEMA: &str = r#"{"type": "object", "properties": {
    "timeout": {"type": "object", "properties": {
        "write": {"type": "string", "format": "duration", "x-minimum": "10ms", "x-maximum": "1m",
                  "default": "3s", "description": "How long a write may take."},
        "connect": {"type": "string", "format": "duration", "default": "800ms"}}},
    "page": {"type": "object", "properties": {
        "size": {"type": "integer", "minimum": 1, "maximum": 500, "default": 10}}},
    "retry": {"type": "object", "properties": {"attempts": {"type": "integer", "default": 2}}},
    "mode": {"enum": ["fast", "safe"], "default": "safe"},
    "session.key": {"type": "string", "x-secret": true, "default": "open sesame"}}}"#;

fn described() -> State {
    let mut state = blank(120, 40);
    fleet(&mut state);
    let schema = vec![entry("/schema/order", SCHEMA, 700, 0)];
    let listed = Feed::Listed(Source::Schema, Revision(18_204), schema, Part::Last);
    update(&mut state, at(41), Event::Feed(0, listed));
    press(&mut state, "2 j j enter");
    state.settle();
    state
}

fn line(screen: &str, of: &str) -> String {
    let line = screen.lines().find(|line| line.contains(of));
    line.unwrap_or_else(|| panic!("no {of} in\n{screen}"))
        .into()
}

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
fn answered(state: &mut State, id: u64, outcome: Outcome) {
    let now = state.now;
    let reply = Reply::Written(Deed::SaveConfig(id), Ok(outcome));
    update(state, now, Event::Reply(0, reply));
}

fn number(effects: &[Effect]) -> u64 {
    let [Effect::Save { id, .. }] = effects else {
        panic!("{effects:?}")
    };
    *id
}

#[test]
fn an_edit_made_while_a_save_is_out_is_not_lost_with_it() {
    let mut state = edited();
    let first = press(&mut state, "ctrl-s ctrl-s");
    press(&mut state, "g g j enter ctrl-u 9 enter");
    assert!(press(&mut state, "ctrl-s").is_empty(), "the first is out");
    let revision = Revision(820);
    answered(&mut state, number(&first), Outcome::Applied { revision });
    let kept: Vec<_> = state
        .config
        .drafts
        .keys()
        .map(ToString::to_string)
        .collect();
    assert_eq!(kept, ["order/page.size"]);
    let second = press(&mut state, "ctrl-s ctrl-s");
    // An answer to a save that is done with says nothing of the one that is out.
    answered(&mut state, number(&first), Outcome::Applied { revision });
    assert_eq!(state.config.drafts.len(), 1);
    answered(&mut state, number(&second), Outcome::Applied { revision });
    assert!(state.config.drafts.is_empty());
}

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

#[test]
fn the_changes_are_read_with_their_facts_before_they_are_saved() {
    let mut state = described();
    press(&mut state, "G enter ctrl-u 5 s enter ctrl-s");
    type_text(&mut state, "slow disk");
    let shown = screen(&state, "dark");
    for words in [
        "1 change, one transaction",
        "- 2s",
        "+ 5s",
        "duration, 10ms … 1m",
        "reaches 6 instances",
        "message  slow disk",
    ] {
        assert!(shown.contains(words), "{words}:\n{shown}");
    }
    press(&mut state, "tab");
    let beside = screen(&state, "dark");
    let line = line(&beside, "- 2s");
    assert!(line.contains("+ 5s"), "{beside}");
    // The message is kept when the save waits.
    press(&mut state, "esc ctrl-s");
    let effects = press(&mut state, "enter");
    let [Effect::Save { message, .. }] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    assert_eq!(message, "slow disk");
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
fn a_canary_is_given_to_the_named_and_its_drafts_go_with_it() {
    let mut state = edited();
    press(&mut state, "ctrl-s ctrl-t ctrl-u");
    type_text(&mut state, "order-9");
    assert!(press(&mut state, "enter").is_empty());
    assert!(screen(&state, "dark").contains("no running instance 'order-9'"));
    press(&mut state, "ctrl-u");
    type_text(&mut state, "order-7f3a-1");
    let effects = press(&mut state, "enter");
    let [Effect::Save { plan, action, .. }] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    assert!(
        matches!(action, fleet::release::Action::Canary { .. }),
        "{action:?}"
    );
    let [edit] = plan.edits() else {
        panic!("{plan:?}")
    };
    let Write::Put { value, .. } = &edit.write else {
        panic!("{edit:?}")
    };
    let text = String::from_utf8_lossy(value).into_owned();
    let revision = Revision(820);
    let put = entry("/config/order/@canary", &text, 820, 0);
    changed(&mut state, Source::Config, Change::Put(put));
    answered(&mut state, number(&effects), Outcome::Applied { revision });
    state.settle();
    assert!(state.config.drafts.is_empty());
    let shown = screen(&state, "dark");
    assert!(shown.contains("timeout.write on order-7f3a-1"), "{shown}");
    assert!(shown.contains("0/1 applied"), "{shown}");
    // Promoted on what was seen, after a question.
    let effects = press(&mut state, "P y");
    let [Effect::Save { action, .. }] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    assert_eq!(*action, fleet::release::Action::Promote(820));
    assert!(press(&mut state, "A").is_empty());
    press(&mut state, "n W");
    assert!(state.config.watch.is_some());
    assert_eq!(press(&mut state, "W"), [Effect::LeaveCanary]);
}

#[test]
fn history_is_asked_shown_and_gone_back_to() {
    let mut state = edited();
    press(&mut state, "u");
    let asked = press(&mut state, "h");
    let [Effect::ReadHistory { scope, only }] = asked.as_slice() else {
        panic!("{asked:?}")
    };
    assert_eq!(only.as_ref().unwrap().to_string(), "order/timeout.write");
    let record = r#"{"author":"lin","time":"2026-11-21T13:00:00Z","message":"slow disk on b",
        "changes":[{"key":"order/timeout.write","before":"1s","after":"2s","mod_revision":700}]}"#;
    let records = fleet::release::history([entry("/msctl/releases/order/1", record, 811, 0)]);
    let foreign = fleet::release::timeline::Foreign {
        key: only.clone().unwrap(),
        when: fleet::release::timeline::When::At(Revision(812)),
        after: Some(fleet::release::timeline::Value::Bytes(
            b"3s".as_slice().into(),
        )),
    };
    use fleet::release::timeline::Happening;
    let mut all = vec![Happening::Foreign(foreign)];
    all.extend(records.into_iter().map(Happening::Release));
    let told = crate::change::history::Told {
        happenings: all,
        gaps: vec!["etcd was compacted at r790: changes of other tools up to then show as far as they left traces".to_owned()],
    };
    let reply = Reply::History(scope.clone(), only.clone(), Ok(told));
    update(&mut state, at(42), Event::Reply(0, reply));
    state.settle();
    let shown = screen(&state, "dark");
    for words in [
        "another tool",
        "lin",
        "slow disk on b",
        "1s → 2s",
        "2d0h",
        "etcd was compacted at r790",
    ] {
        assert!(shown.contains(words), "{words}:\n{shown}");
    }
    assert!(press(&mut state, "b").is_empty(), "no record, no way back");
    let effects = press(&mut state, "j o");
    assert!(
        matches!(effects.as_slice(), [Effect::FindWayBack { .. }]),
        "{effects:?}"
    );
    let seen = Seen::At(entry("/config/order/timeout.write", "2s", 811, 0));
    let way = crate::tui::state::config::past::WayBack {
        edits: vec![fleet::Edit::put(
            "/config/order/timeout.write".into(),
            seen,
            *b"1s",
        )],
        open: Vec::new(),
        conflicts: Vec::new(),
        action: fleet::release::Action::Revert(811),
        blind: false,
    };
    update(
        &mut state,
        at(43),
        Event::Reply(0, Reply::WayBack(scope.clone(), Ok(way))),
    );
    state.settle();
    let shown = screen(&state, "dark");
    assert!(
        shown.contains("1 change, one transaction, reverts r811"),
        "{shown}"
    );
    let effects = press(&mut state, "ctrl-s");
    let [Effect::Save { action, .. }] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    assert_eq!(*action, fleet::release::Action::Revert(811));
    let revision = Revision(820);
    answered(&mut state, number(&effects), Outcome::Applied { revision });
    // `u` takes back what was just saved.
    let effects = press(&mut state, "u");
    assert!(
        matches!(effects.as_slice(), [Effect::FindWayBack { .. }]),
        "{effects:?}"
    );
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
