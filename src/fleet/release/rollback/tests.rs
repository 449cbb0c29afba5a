use proptest::prelude::*;

use super::*;
use crate::plan::Plan;
use crate::release::history;

mod store;

use store::Recorder::{Foreign, Ours};
use store::Store;

fn config() -> Prefix {
    Prefix::new("/config/").unwrap()
}

fn scope() -> Scope {
    Scope::parse("order").unwrap()
}

#[test]
fn one_release_is_taken_back_on_top_of_newer_changes() {
    let mut store = Store::default();
    store.change(
        &[("a", Some("1")), ("b", Some("1")), ("c", Some("1"))],
        Ours,
    );
    let bad = store.change(&[("a", Some("2")), ("b", Some("2")), ("c", None)], Ours);
    store.change(&[("b", Some("3")), ("d", Some("4"))], Ours);
    let (edits, conflicts) = store.revert(bad).unwrap();
    let keys: Vec<_> = edits.iter().map(|edit| edit.key.to_string()).collect();
    assert_eq!(keys, ["/config/order/a", "/config/order/c"]);
    let [way] = &conflicts[..] else {
        panic!("one conflict")
    };
    assert_eq!(way.base.as_deref(), Some(b"2".as_slice()));
    assert_eq!(
        way.theirs.as_ref().map(|e| &*e.value),
        Some(b"3".as_slice())
    );
    assert_eq!(way.mine.as_deref(), Some(b"1".as_slice()));
    store.commit(&Plan::new(edits).unwrap());
    assert_eq!(store.values(store.revision())["/config/order/c"], "1");
}

#[test]
fn a_revert_of_what_stands_as_before_writes_nothing() {
    let mut store = Store::default();
    store.change(&[("a", Some("1"))], Ours);
    let bad = store.change(&[("a", Some("2"))], Ours);
    store.change(&[("a", Some("1"))], Foreign);
    assert_eq!(store.revert(bad).unwrap(), (vec![], vec![]));
}

#[test]
fn the_value_of_a_secret_comes_from_etcds_history_or_not_at_all() {
    let mut store = Store::default();
    store.change(&[("db.password", Some("old"))], Ours);
    let bad = store.change(&[("db.password", Some("new"))], Ours);
    let (edits, _) = store.revert(bad).unwrap();
    assert!(matches!(&edits[0].write, Write::Put { value, .. } if **value == *b"old"));

    let history = store.history();
    let read = Read {
        key: "/config/order/db.password".into(),
        revision: Revision(bad.0 - 1),
    };
    let compacted = Answers::from([(
        read,
        Err(Compacted {
            oldest: Revision(9),
        }),
    )]);
    let error = revert(
        &scope(),
        &config(),
        &history[0],
        |key| store.get(key),
        &compacted,
    )
    .unwrap_err()
    .to_string();
    assert!(
        error.contains("db.password")
            && error.contains("compacted up to 9")
            && !error.contains("old is"),
        "{error}"
    );
}

#[test]
fn a_large_value_is_recorded_without_its_text_and_still_comes_back() {
    let mut store = Store::default();
    let large = "x".repeat(100_000);
    store.change(&[("a", Some(&large))], Ours);
    let bad = store.change(&[("a", Some("small"))], Ours);
    assert!(store.history()[0].release.as_ref().unwrap().changes[0].withheld);
    let (edits, _) = store.revert(bad).unwrap();
    assert!(matches!(&edits[0].write, Write::Put { value, .. } if value.len() == 100_000));
}

#[test]
fn a_damaged_or_foreign_record_is_refused_by_name() {
    let mut store = Store::default();
    let at = store.change(&[("a", Some("1"))], Ours);
    let mut record = store.history().remove(0);
    if let Ok(release) = &mut record.release {
        release.changes[0].key = "user/a".into();
    }
    let refused = revert(&scope(), &config(), &record, |_| None, &Answers::new()).unwrap_err();
    assert!(matches!(refused, RollbackError::Foreign { .. }));
    record.release = history([Entry {
        value: (*b"{").into(),
        ..store.under("/r/", at).remove(0)
    }])
    .remove(0)
    .release;
    let refused = revert(&scope(), &config(), &record, |_| None, &Answers::new()).unwrap_err();
    assert!(
        refused.to_string().contains("the record of revision 1"),
        "{refused}"
    );
}

proptest! {
    #[test]
    fn a_rollback_brings_back_exactly_what_was(
        steps in prop::collection::vec((prop::collection::btree_map("[ab]|db\\.password", prop::option::of("[1-4]"), 1..3), any::<bool>()), 1..10),
        to in any::<prop::sample::Index>(),
    ) {
        let mut store = Store::default();
        let mut ours = vec![];
        let mut deleted_by_others = false;
        for (edits, recorded) in &steps {
            let edits: Vec<_> = edits.iter().map(|(path, value)| (path.as_str(), value.as_deref())).collect();
            let before = store.revision();
            deleted_by_others |= !recorded && edits.iter().any(|(_, value)| value.is_none());
            let at = store.change(&edits, if *recorded { Ours } else { Foreign });
            if at > before && *recorded { ours.push(at); }
        }
        prop_assume!(!ours.is_empty());
        let to = *to.get(&ours);
        let then = store.under("/config/", to);
        for then in [Some(&then[..]), None] {
            // A key that another tool removed leaves no trace but in etcd's own history.
            if then.is_none() && deleted_by_others { continue; }
            let edits = store.roll_back(to, then).unwrap();
            let mut rolled = Store { states: store.states.clone(), log: vec![] };
            let plan = Plan::new(edits).unwrap();
            if !plan.is_empty() { rolled.commit(&plan); }
            prop_assert_eq!(rolled.values(rolled.revision()), store.values(to));
        }
    }
}
