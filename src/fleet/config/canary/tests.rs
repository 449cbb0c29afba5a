//! Canaries begun, laid over, promoted and ended.

use super::*;
use crate::config::conflict::three_ways;
use crate::config::edit::{ConfigEdit, plan};
use crate::plan::Conflict;
use proptest::prelude::*;

fn config() -> Prefix {
    Prefix::new("/config/").unwrap()
}

fn id(name: &str) -> InstanceId {
    InstanceId::new(name).unwrap()
}

fn entry(key: Key, value: &[u8], revision: i64) -> Entry {
    Entry {
        key,
        value: value.into(),
        create_revision: Revision(revision),
        mod_revision: Revision(revision),
        version: 1,
        lease: None,
    }
}

fn set(key: &str, value: &str) -> ConfigEdit {
    ConfigEdit::Set {
        key: ConfigKey::parse(key).unwrap(),
        value: value.into(),
    }
}

fn unset(key: &str) -> ConfigEdit {
    ConfigEdit::Unset {
        key: ConfigKey::parse(key).unwrap(),
    }
}

fn start(edits: Vec<ConfigEdit>, standing: Option<&Entry>) -> Result<Standing, CanaryError> {
    let seen = |key: &ConfigKey| Seen::At(entry(key.to_key(&config()), b"1", 4));
    let plan = plan(&config(), edits, seen).unwrap();
    let time = "2026-11-22T10:00:00Z".parse().unwrap();
    let who = ("lin", time, "try it");
    let (_, plan) = begin(&config(), &plan, vec![id("o-1")], standing, who)?;
    let value = written(&plan.edits()[0].write).unwrap();
    let entry = entry(plan.edits()[0].key.clone(), value, 7);
    Standing::read(&config(), &entry).unwrap()
}

#[test]
fn a_canary_is_one_key_that_no_config_key_is_called_like() {
    let standing = start(vec![set("order/a", "2"), unset("order/b")], None).unwrap();
    assert_eq!(standing.entry.key.to_string(), "/config/order/@canary");
    assert!(ConfigKey::from_key(&config(), &standing.entry.key).is_err());
    assert_eq!(service_of(&config(), &"/config/order/a".into()), None);
    assert_eq!(service_of(&config(), &"/config/a/b/@canary".into()), None);
    assert!(standing.canary.names(&id("o-1")) && !standing.canary.names(&id("o-2")));
}

#[test]
fn what_cannot_be_tried_is_refused() {
    let under_way = entry("/config/order/@canary".into(), b"{}", 6);
    for (edits, standing, wanted) in [
        (vec![set("global/a", "2")], None, "for all services"),
        (
            vec![set("order/a", "2"), set("user/a", "2")],
            None,
            "touches order and user",
        ),
        (vec![], None, "changes nothing"),
        (
            vec![set("order/a", "2")],
            Some(&under_way),
            "under way since revision 6",
        ),
    ] {
        let error = start(edits, standing).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
    assert!(
        matches!(Canary::from_json(b"{\x1b"), Err(CanaryError::Damaged(why)) if !why.contains('\x1b'))
    );
}

#[test]
fn chosen_instances_run_the_canary_and_fall_back_when_it_ends() {
    let standing = start(vec![set("order/a", "2"), unset("order/b")], None).unwrap();
    let mut layers = Layers::new();
    let service = Origin::Service {
        revision: Revision(4),
    };
    layers.put(Layer::Service, "a", Value::from(1), service.clone());
    layers.put(Layer::Service, "b", Value::from(1), service);
    layers.put(
        Layer::Global,
        "b",
        Value::from(9),
        Origin::Global {
            revision: Revision(2),
        },
    );
    standing.canary.lay_over(&mut layers, Revision(7));
    let value = |layers: &Layers, path: &str| layers.effective().get(path).unwrap().value;
    assert_eq!(
        (value(&layers, "a"), value(&layers, "b")),
        (Value::from(2), Value::from(9))
    );
    assert_eq!(
        layers.effective().get("a").unwrap().origin.to_string(),
        "canary r7"
    );
    lift(&mut layers);
    assert_eq!(
        (value(&layers, "a"), value(&layers, "b")),
        (Value::from(1), Value::from(1))
    );
}

#[test]
fn promotion_is_guarded_by_what_stood_there_when_the_canary_began() {
    let standing = start(vec![set("order/a", "2")], None).unwrap();
    for (now, guard) in [
        (Some(("1", 4)), Some(4)),
        (Some(("5", 9)), Some(4)),
        (None, Some(4)),
        // The wanted value stands there already: nothing to write but the end of the canary.
        (Some(("2", 9)), None),
    ] {
        let seen =
            |key: &Key| Seen::from(now.map(|(value, at)| entry(key.clone(), value.as_bytes(), at)));
        let plan = standing.promote(&config(), seen).unwrap();
        assert_eq!(plan.edits()[0], standing.abort());
        let found = plan.edits().get(1).map(|edit| edit.seen.revision().0);
        assert_eq!(found, guard, "{now:?}");
    }
}

/// What a conflict of a promotion offers, when `base` was there at first and `theirs` is now.
fn offered(base: &str, theirs: &str, mine: &str) -> Option<String> {
    let seen = |key: &ConfigKey| Seen::At(entry(key.to_key(&config()), base.as_bytes(), 4));
    let edits = plan(&config(), [set("order/a", mine)], seen).unwrap();
    let who = ("lin", Timestamp::UNIX_EPOCH, "");
    let (_, begun) = begin(&config(), &edits, vec![id("o-1")], None, who).unwrap();
    let record = written(&begun.edits()[0].write).unwrap();
    let at = entry(begun.edits()[0].key.clone(), record, 7);
    let standing = Standing::read(&config(), &at).unwrap().unwrap();
    let now = entry("/config/order/a".into(), theirs.as_bytes(), 9);
    let promoted = standing
        .promote(&config(), |_| Seen::At(now.clone()))
        .unwrap();
    let conflicts = [Conflict {
        key: now.key.clone(),
        seen: promoted.edits()[1].seen.clone(),
        current: Some(now),
    }];
    let way = &three_ways(&promoted, &conflicts)[0];
    let merged = way.merged()?;
    Some(String::from_utf8(merged.to_vec()).unwrap())
}

#[test]
fn promotion_merges_with_what_another_changed_meanwhile_and_loses_nothing_of_it() {
    assert_eq!(
        offered("{a: 1, b: 1}", "{a: 1, b: 7}", "{a: 2, b: 1}").as_deref(),
        Some("a: 2\nb: 7\n")
    );
    assert_eq!(offered("{a: 1}", "{a: 7}", "{a: 2}"), None);
    // What is too long to be kept in the record is unknown, and nothing is merged with it.
    let long = format!("{{a: 1, b: {}}}", "x".repeat(MAX_VALUE));
    assert_eq!(offered(&long, "{a: 1, b: 7}", "{a: 2, b: 1}"), None);
}

#[test]
fn the_end_of_a_canary_shows_what_its_instances_fall_back_to() {
    let standing = start(vec![set("order/a", "2"), unset("order/b")], None).unwrap();
    let now =
        |key: &Key| (key.to_string() == "/config/order/b").then(|| entry(key.clone(), b"1", 4));
    let back: Vec<_> = standing
        .falls_back(&config(), now)
        .iter()
        .map(|edit| {
            let text = |value: Option<&[u8]>| value.map(|v| String::from_utf8_lossy(v).into());
            let after: Option<String> = text(written(&edit.write).map(|value| &**value));
            (text(edit.seen.value()), after)
        })
        .collect();
    assert_eq!(
        back,
        [(Some("2".to_owned()), None), (None, Some("1".to_owned())),]
    );
}

proptest! {
    #[test]
    fn a_record_is_read_as_it_was_written(
        values in prop::collection::btree_map("[a-z]{1,4}(\\.[a-z]{1,4})?", prop::option::of(".{0,20}"), 1..5),
        bytes in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let changes = values.into_iter().map(|(path, value)| (path, Trial { base: value.clone(), value, mod_revision: 3 })).collect();
        let canary = Canary { instances: vec![id("o-1")], changes, author: "a".into(), time: Timestamp::UNIX_EPOCH, message: String::new() };
        prop_assert_eq!(Canary::from_json(&serde_json::to_vec(&canary).unwrap()).unwrap(), canary);
        let _ = Canary::from_json(&bytes);
    }
}
