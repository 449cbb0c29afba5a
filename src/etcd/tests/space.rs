//! A full database: writes fail by name, and one that was applied all the same is found out.

use etcd::{AlarmKind, Error};
use fleet::{LeaseRule, Outcome, Plan};
use tests::realetcd::RealEtcd;

use crate::figures::{figure, recorder};
use crate::observer::Observer;
use crate::world::{create, patient, prefix, put};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_database_is_named_and_nothing_is_claimed() {
    recorder();
    let etcd = RealEtcd::start_with(&["--quota-backend-bytes=4194304"]).await;
    let client = patient(&[etcd.endpoint()]);
    let value = "x".repeat(500_000);
    let mut refused = None;
    for step in 0..40 {
        let key = format!("/s/{step}");
        match client
            .commit(&Plan::new([create(&key, &value)]).unwrap())
            .await
        {
            Ok(Outcome::Applied { revision }) => {
                // What is said to be applied stands there.
                let found = client.get(&key.as_str().into()).await.unwrap().0.unwrap();
                assert_eq!(found.mod_revision, revision);
            }
            Ok(other) => panic!("{other:?}"),
            Err(error) => {
                // What is said not to be written is not there.
                assert_eq!(client.get(&key.as_str().into()).await.unwrap().0, None);
                refused = Some(error);
                break;
            }
        }
    }
    let refused = refused.expect("a quota that is reached");
    assert!(matches!(refused, Error::NoSpace { .. }), "{refused}");
    assert!(figure("etcd_no_space_total") >= 1.0);
    let told = refused.to_string();
    assert!(told.contains("compact, defragment and disarm"), "{told}");
    let alarms = client.alarms().await.unwrap();
    assert!(
        alarms.iter().any(|alarm| alarm.kind == AlarmKind::NoSpace),
        "{alarms:?}"
    );
    // Reads and watches go on, and so do writes once there is room.
    let mut seen = Observer::new(&client, &prefix("/room/"));
    seen.until_fresh().await;
    for step in 0..40 {
        let key = format!("/s/{step}");
        if client.get(&key.as_str().into()).await.unwrap().0.is_some() {
            etcd.etcdctl(&["del", &key]).await;
        }
    }
    etcd.make_room().await;
    let written = put(&client, "/room/a", "1", LeaseRule::None).await;
    seen.until_at(written).await;
    assert_eq!(client.alarms().await.unwrap(), []);
}
