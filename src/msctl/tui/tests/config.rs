//! A config edit from the key to the store, through keys and answers.

use fleet::{Change, Conflict, Outcome, Revision, Seen, Write};

use super::*;
use crate::tui::event::Deed;

mod review;
mod schema;
mod secrets;

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
