//! From drafts to a release and back: the review, a canary, the history.

use super::*;

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
