//! Whose record it is, and which news of it means that it is to be looked at.

use fleet::{Endpoint, InstanceId, ServiceName};

use super::*;

fn record(port: u16, started: &str) -> InstanceRecord {
    let mut record = InstanceRecord::new(
        ServiceName::new("order").unwrap(),
        InstanceId::new("o-1").unwrap(),
    );
    record.endpoints = vec![Endpoint::parse(&format!("grpc://h:{port}")).unwrap()];
    record.started_at = Some(started.parse().unwrap());
    record
}

fn entry(value: Vec<u8>, lease: i64) -> Entry {
    Entry {
        key: "/services/order/o-1".into(),
        value: value.into(),
        create_revision: Revision(1),
        mod_revision: Revision(1),
        version: 1,
        lease: LeaseId::new(lease),
    }
}

#[test]
fn only_what_is_provably_ours_is_written_over() {
    const NOW: &str = "2026-11-22T10:00:00Z";
    const EARLIER: &str = "2026-11-22T09:00:00Z";
    let ours = record(1, NOW);
    let value = ours.to_json().unwrap();
    let lease = LeaseId::new(7).unwrap();
    let leases = VecDeque::from([LeaseId::new(5).unwrap(), lease]);
    let json = |record: InstanceRecord| record.to_json().unwrap();
    let check = |found: Option<Entry>| decide(&ours, &value, lease, &leases, found.as_ref());
    assert_eq!(check(None), Move::Put);
    assert_eq!(check(Some(entry(value.clone(), 7))), Move::Keep);
    assert_eq!(
        check(Some(entry(b"edited".to_vec(), 7))),
        Move::Put,
        "edited by hand under our lease"
    );
    assert_eq!(
        check(Some(entry(value.clone(), 5))),
        Move::Put,
        "our lost lease"
    );
    assert_eq!(
        check(Some(entry(value.clone(), 0))),
        Move::TakeOver(None),
        "our lease was detached by hand"
    );
    let out = drain::drained(&ours).to_json().unwrap();
    assert_eq!(
        check(Some(entry(out, 7))),
        Move::Keep,
        "drained by an operator"
    );
    let same_place = json(record(1, EARLIER));
    assert_eq!(
        check(Some(entry(same_place, 3))),
        Move::TakeOver(LeaseId::new(3)),
        "our earlier process"
    );
    let poison = entry(b"\xff".to_vec(), 3);
    assert_eq!(check(Some(poison)), Move::TakeOver(None));
    let other = entry(json(record(2, EARLIER)), 3);
    match check(Some(other)) {
        Move::Refuse(cause) => assert!(
            cause.contains("grpc://h:2") && cause.contains("instance_id"),
            "{cause}"
        ),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_record_lost_or_edited_before_it_was_watched_is_looked_at() {
    let record = record(1, "2026-11-22T10:00:00Z");
    let ours = entry(record.to_json().unwrap(), 7);
    let client = Client::new(etcd::Settings::new(["127.0.0.1:1"])).unwrap();
    let said = Said {
        key: ours.key.clone(),
        publish: watch::Sender::new(RegistrationState::Waiting {
            cause: String::new(),
        }),
        registered: metrics::Gauge::noop(),
    };
    let mut task = Task::new(client, said, record, FleetSize::default());
    task.remember(LeaseId::new(7).unwrap());
    let mut concerns = |entries: &[&Entry]| {
        task.concerns(&MirrorEvent::Listed {
            revision: Revision(9),
            entries: entries.iter().map(|&entry| entry.clone()).collect(),
        })
    };
    let neighbour = Entry {
        key: "/services/order/o-10".into(),
        ..ours.clone()
    };
    assert!(!concerns(&[&ours, &neighbour]));
    assert!(concerns(&[&neighbour]), "deleted");
    assert!(concerns(&[&entry(ours.value.to_vec(), 8)]), "another's");
    assert!(concerns(&[&entry(b"edited".to_vec(), 7)]), "edited");
}
