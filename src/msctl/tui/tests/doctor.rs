//! The Doctor page: what is wrong with etcd itself stands beside what is wrong with the fleet.

use fleet::finding::{Alarm, Cluster, Member, Standing};

use super::screens::check;
use super::*;
use crate::tui::state::View;

fn console() -> State {
    let mut state = blank(120, 30);
    fleet(&mut state);
    press(&mut state, "7");
    state
}

fn told(state: &mut State, cluster: Result<ClusterView, String>) {
    update(state, at(45), Event::Reply(0, Reply::Cluster(cluster)));
    state.settle();
}

#[test]
fn a_lease_that_flaps_is_told_until_it_is_calm_for_a_minute() {
    let mut state = console();
    let key = "/services/audit/audit-9";
    let record = r#"{"service":"audit","id":"audit-9","endpoints":["grpc://10.0.0.99:1"]}"#;
    for time in 0..3 {
        let put = entry(key, record, 18_300 + 2 * time, 99);
        let gone = Change::Delete {
            key: key.into(),
            revision: Revision(18_301 + 2 * time),
        };
        assert!(!screen(&state, "dark").contains("lost and back"));
        changed(&mut state, Source::Services, Change::Put(put.clone()));
        if time < 2 {
            changed(&mut state, Source::Services, gone);
        }
        state.settle();
    }
    let shown = screen(&state, "dark");
    assert!(shown.contains("lost and back 3 times in"), "{shown}");
    let calm = state.wake_at().unwrap();
    assert!(calm < Duration::from_secs(200));
    update(&mut state, at(103), Event::Tick);
    state.settle();
    let shown = screen(&state, "dark");
    assert!(!shown.contains("lost and back"), "{shown}");
}

/// Three members: one full, one that knows no leader, one that does not answer.
fn broken() -> ClusterView {
    let member = |name: &str, standing| Member {
        name: name.into(),
        standing,
    };
    let well = Standing {
        has_leader: true,
        db_size: 97 << 20,
        db_quota: Some(100 << 20),
        errors: Vec::new(),
    };
    let lost = Standing {
        has_leader: false,
        db_size: 1,
        ..well.clone()
    };
    ClusterView {
        examined: Cluster {
            members: vec![
                member("m1", Ok(well)),
                member("m2", Ok(lost)),
                member("m3", Err("connection refused".into())),
            ],
            alarms: vec![Alarm::NoSpace("m1".into())],
        },
        ..cluster()
    }
}

#[test]
fn faults_of_the_cluster_are_findings_as_on_the_command_line() {
    let mut state = console();
    told(&mut state, Ok(broken()));
    check("doctor_cluster", &state, "dark");
    let shown = screen(&state, "dark");
    for words in ["NOSPACE", "it knows no leader", "do not answer", "97 %"] {
        assert!(shown.contains(words), "{words}:\n{shown}");
    }
    press(&mut state, "/ e t c d enter");
    assert_eq!(state.doctor.list.rows().len(), 4);
    press(&mut state, "enter");
    assert_eq!(state.view, View::Overview);
    press(&mut state, "7");
    told(&mut state, Ok(cluster()));
    assert_eq!(
        state.doctor.list.rows().len(),
        0,
        "they go with their cause"
    );
}

#[test]
fn what_is_not_known_of_the_cluster_is_said() {
    let mut state = console();
    let view = ClusterView {
        alarms_unknown: Some("permission denied".into()),
        ..cluster()
    };
    told(&mut state, Ok(view));
    assert!(screen(&state, "dark").contains("alarms are not known: permission denied"));
    told(&mut state, Err("no member answers".into()));
    assert!(screen(&state, "dark").contains("the cluster is not known: no member answers"));
    told(&mut state, Ok(cluster()));
    assert!(!screen(&state, "dark").contains("not known"));
}
