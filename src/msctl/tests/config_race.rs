//! Many people change config at once, and no update is lost.

use std::sync::Arc;

use fleet::config::ConfigKey;
use fleet::release::Action;
use fleet::{Edit, Outcome};
use msctl::change::{self, Proposal};
use msctl::session::Session;
use msctl::settings::Context;

use crate::world::over_both;

const WRITERS: usize = 50;

fn with_session(endpoint: &str, test: impl AsyncFnOnce(Session)) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let context = Context::from_endpoints(&[endpoint.to_owned()]);
        test(Session::open(context).unwrap()).await;
    });
}

/// Adds one to a key, again and again until it is written. Gives how often it had to repeat.
async fn add_one(session: &Session, key: &str) -> usize {
    let writer = session.writer().unwrap();
    let at = ConfigKey::parse(key)
        .unwrap()
        .to_key(&session.prefixes().config);
    for repeated in 0.. {
        let (entry, revision) = session.get(&at).await.unwrap();
        let now = entry.as_ref().map_or(0, |entry| {
            std::str::from_utf8(&entry.value)
                .unwrap()
                .parse::<u64>()
                .unwrap()
        });
        let edit = Edit::put(at.clone(), entry.into(), (now + 1).to_string().into_bytes());
        let proposal = Proposal::new(session, vec![edit], revision, Action::Change)
            .await
            .unwrap();
        match change::commit(&writer, &proposal, "one more")
            .await
            .unwrap()
        {
            Outcome::Applied { .. } => return repeated,
            Outcome::Refused { conflicts } => assert_eq!(conflicts[0].key, at),
            Outcome::Unknown { cause } => panic!("{cause}"),
        }
    }
    unreachable!("it is repeated for ever")
}

#[test]
fn fifty_writers_of_one_key_lose_no_update() {
    over_both(|world| {
        with_session(&world.endpoint, async |session| {
            let session = Arc::new(session);
            let mut tasks = tokio::task::JoinSet::new();
            for _ in 0..WRITERS {
                let session = session.clone();
                tasks.spawn(async move { add_one(&session, "order/counter").await });
            }
            while let Some(done) = tasks.join_next().await {
                done.unwrap();
            }
        });
        let got = world.msctl(&["config", "get", "order/counter"]).ok().out;
        assert_eq!(got, format!("{WRITERS}\n"));
        let history = world
            .msctl(&["config", "history", "order", "-n", "1000", "-o", "json"])
            .ok()
            .json();
        // Each change has its record, and no other tool is suspected.
        assert_eq!(history.as_array().unwrap().len(), WRITERS);
        assert!(
            history
                .as_array()
                .unwrap()
                .iter()
                .all(|one| one["author"] == "tester" || one["author"].is_string())
        );
    });
}

#[test]
fn writers_of_different_keys_of_one_service_do_not_meet() {
    over_both(|world| {
        with_session(&world.endpoint, async |session| {
            let session = Arc::new(session);
            let mut tasks = tokio::task::JoinSet::new();
            for i in 0..WRITERS {
                let session = session.clone();
                tasks.spawn(async move { add_one(&session, &format!("order/counter-{i}")).await });
            }
            while let Some(done) = tasks.join_next().await {
                assert_eq!(done.unwrap(), 0, "nobody had to repeat");
            }
        });
        let listed = world
            .msctl(&["config", "list", "order", "-o", "json"])
            .ok()
            .json();
        assert_eq!(listed.as_array().unwrap().len(), WRITERS);
    });
}

#[test]
fn old_records_go_with_new_changes() {
    over_both(|world| {
        with_session(&world.endpoint, async |session| {
            let mut context = (**session.context()).clone();
            context.keep_releases = 3;
            let session = Session::open(context).unwrap();
            for _ in 0..6 {
                add_one(&session, "order/counter").await;
            }
        });
        let history = world
            .msctl(&["config", "history", "order", "-o", "json"])
            .ok()
            .json();
        let kept = history.as_array().unwrap();
        assert_eq!(kept.len(), 3, "{history}");
        assert!(kept.iter().all(|one| one["foreign"].is_null()), "{history}");
    });
}
