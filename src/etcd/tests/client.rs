//! Single calls: pages at one revision, leases, the cluster, and errors that name the cause.

use std::time::{Duration, Instant};

use etcd::{Client, Condition, Error, LeaseKeys, ListOptions, Settings, Transport};
use fleet::{Key, LeaseRule, Revision};
use tests::proxy::Mode;

use crate::world::{World, applied, client, create, prefix, put};

crate::on_both!(
    pages_of_a_listing_fit_together,
    answers_beyond_the_usual_limit_are_taken,
    a_compacted_revision_is_named,
    leases_are_granted_looked_at_and_revoked,
    the_cluster_is_described,
    a_refused_connection_fails_at_once,
    a_black_hole_fails_at_the_deadline,
    the_link_state_follows_the_members,
    many_calls_share_one_connection,
);

async fn pages_of_a_listing_fit_together(world: World) {
    for chunk in 0..3 {
        let edits = (0..100).map(|i| create(&format!("/p/{:03}", chunk * 100 + i), "old"));
        applied(&world.direct, edits).await;
    }
    world.put("/q", "beyond the prefix").await;
    let options = ListOptions {
        page: 7,
        revision: None,
    };
    // Writers change what has been read and what has not, page by page.
    let (listing, ()) = tokio::join!(
        async { world.client.list(&prefix("/p/"), options).await.unwrap() },
        async {
            for i in (0..300).step_by(29) {
                world.put(&format!("/p/{i:03}"), "new").await;
                world.put(&format!("/p/{i:03}-more"), "new").await;
            }
        },
    );
    let at = ListOptions {
        page: 10_000,
        revision: Some(listing.revision),
    };
    let whole = world.direct.list(&prefix("/p/"), at).await.unwrap();
    assert_eq!(listing.entries, whole.entries);
    let keys = world.client.keys(&prefix("/p/"), at).await.unwrap();
    let names: Vec<&Key> = keys.keys.iter().map(|head| &head.key).collect();
    assert_eq!(
        names,
        whole
            .entries
            .iter()
            .map(|entry| &entry.key)
            .collect::<Vec<_>>()
    );
    let (count, _) = world.client.count(&prefix("/p/")).await.unwrap();
    assert_eq!(count, 311);
}

async fn answers_beyond_the_usual_limit_are_taken(world: World) {
    let value = "x".repeat(1_000_000);
    for i in 0..6 {
        applied(&world.direct, [create(&format!("/p/{i}"), &value)]).await;
    }
    let listing = world
        .client
        .list(&prefix("/p/"), ListOptions::default())
        .await
        .unwrap();
    assert_eq!(listing.entries.len(), 6);
    // Where even that is too much, it is read in smaller pages.
    let mut settings = Settings::new([world.proxy.endpoint()]);
    settings.max_response = 2_500_000;
    let narrow = Client::new(settings).unwrap();
    let same = narrow
        .list(&prefix("/p/"), ListOptions::default())
        .await
        .unwrap();
    assert_eq!(same.entries, listing.entries);
}

async fn a_compacted_revision_is_named(world: World) {
    let early = world.put("/p/a", "1").await;
    world.put("/p/a", "2").await;
    world.put("/p/a", "3").await;
    let (then, _) = world.client.get_at(&"/p/a".into(), early).await.unwrap();
    assert_eq!(*then.unwrap().value, *b"1");
    world.compact().await;
    let gone = world
        .client
        .get_at(&"/p/a".into(), early)
        .await
        .unwrap_err();
    assert_eq!(gone, Error::Compacted { revision: early });
    let future = Revision(1_000_000);
    let error = world
        .client
        .get_at(&"/p/a".into(), future)
        .await
        .unwrap_err();
    assert_eq!(error, Error::Future { revision: future });
}

async fn leases_are_granted_looked_at_and_revoked(world: World) {
    let granted = world
        .client
        .lease_grant(Duration::from_millis(29_500))
        .await
        .unwrap();
    assert_eq!(granted.ttl, Duration::from_secs(30));
    put(&world.direct, "/p/a", "1", LeaseRule::Attach(granted.id)).await;
    let info = world
        .client
        .lease_ttl(granted.id, LeaseKeys::Listed)
        .await
        .unwrap();
    assert_eq!(info.granted, 30);
    assert!(
        info.ttl.is_some_and(|ttl| (1..=30).contains(&ttl)),
        "{info:?}"
    );
    assert_eq!(info.keys, ["/p/a".into()]);
    assert_eq!(world.client.leases().await.unwrap(), [granted.id]);
    world.client.lease_revoke(granted.id).await.unwrap();
    world.client.lease_revoke(granted.id).await.unwrap();
    let gone = world
        .client
        .lease_ttl(granted.id, LeaseKeys::Omitted)
        .await
        .unwrap_err();
    assert_eq!(gone, Error::LeaseNotFound { id: granted.id });
    assert_eq!(world.client.get(&"/p/a".into()).await.unwrap().0, None);
}

async fn the_cluster_is_described(world: World) {
    let revision = world.put("/p/a", "1").await;
    let members = world.client.members().await.unwrap();
    assert_eq!(members.len(), 1);
    let status = world.client.status(&members[0]).await.unwrap();
    assert!(status.is_leader());
    assert_eq!(status.revision, revision);
    assert!(!status.version.is_empty());
    let all = world.client.endpoint_statuses().await;
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].1.as_ref().unwrap().id, status.id);
    assert_eq!(world.client.alarms().await.unwrap(), []);
}

async fn a_refused_connection_fails_at_once(world: World) {
    world.proxy.set(Mode::Refuse);
    let begun = Instant::now();
    let error = world.client.get(&"/p/a".into()).await.unwrap_err();
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "{:?}",
        begun.elapsed()
    );
    let expected = format!("etcd {}: connection refused", world.proxy.endpoint());
    assert_eq!(error.to_string(), expected);
    world.proxy.set(Mode::Forward);
    world.client.get(&"/p/a".into()).await.unwrap();
}

async fn a_black_hole_fails_at_the_deadline(world: World) {
    world.proxy.set(Mode::BlackHole);
    let mut settings = Settings::new([world.proxy.endpoint()]);
    settings.request_timeout = Duration::from_secs(1);
    let client = Client::new(settings).unwrap();
    let begun = Instant::now();
    let error = client.get(&"/p/a".into()).await.unwrap_err();
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    assert!(error.is_absence(), "{error}");
    world.proxy.set(Mode::Forward);
    crate::world::until("calls work again", async || {
        client.get(&"/p/a".into()).await.is_ok()
    })
    .await;
}

async fn the_link_state_follows_the_members(world: World) {
    let mut state = world.client.link_state();
    assert_eq!(state.borrow().members[0].condition, Condition::Untried);
    world.client.get(&"/p/a".into()).await.unwrap();
    assert!(state.borrow().is_up());
    assert_eq!(state.borrow().current, Some(0));
    world.proxy.set(Mode::Refuse);
    world.client.get(&"/p/a".into()).await.unwrap_err();
    let down = tokio::time::timeout(
        crate::world::PATIENCE,
        state.wait_for(|state| state.is_down()),
    );
    let cause = down.await.unwrap().unwrap().members[0].last_error.clone();
    assert!(cause.is_some());
    // It comes back by itself, without a call.
    world.proxy.set(Mode::Forward);
    let up = tokio::time::timeout(
        crate::world::PATIENCE,
        state.wait_for(|state| state.is_up()),
    );
    up.await.unwrap().unwrap();
}

async fn many_calls_share_one_connection(world: World) {
    let calls = (0..200).map(|_| {
        let client = world.client.clone();
        tokio::spawn(async move { client.get(&"/p/a".into()).await.unwrap() })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    assert_eq!(world.proxy.accepted(), 1);
}

#[tokio::test]
async fn a_server_in_this_process_needs_no_socket() {
    let (server, channel) = etcdlite::Server::in_process(etcdlite::Options::default());
    let client = Client::from_service(Settings::new([""; 0]), Transport::new(channel));
    let revision = applied(&client, [create("/a", "1")]).await;
    assert_eq!(client.get(&"/a".into()).await.unwrap().1, revision);
    let mut seen = crate::observer::Observer::new(&client, &prefix("/"));
    seen.until_fresh().await;
    let members = client.members().await.unwrap();
    client.status(&members[0]).await.unwrap();
    drop(server);
}

/// The usual limit of a message would make six requests of this page.
#[tokio::test]
async fn a_page_of_large_values_is_one_request() {
    let truth = crate::interposer::Lie {
        method: "/Range",
        code: 0,
        message: "",
        done: true,
    };
    let (_server, client, honest, asked) = crate::interposer::lying(truth, 0);
    let value = "x".repeat(1_000_000);
    for i in 0..6 {
        applied(&honest, [create(&format!("/p/{i}"), &value)]).await;
    }
    let listing = client
        .list(&prefix("/p/"), ListOptions::default())
        .await
        .unwrap();
    assert_eq!(listing.entries.len(), 6);
    assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 1);
}

/// A grant whose answer was lost is not made a second time.
#[tokio::test]
async fn a_grant_that_is_repeated_makes_one_lease() {
    let lie = crate::interposer::Lie {
        method: "/LeaseGrant",
        code: 14,
        message: "etcdserver: request timed out",
        done: true,
    };
    let (_server, client, honest, _) = crate::interposer::lying(lie, 1);
    let granted = client.lease_grant(Duration::from_secs(30)).await.unwrap();
    assert_eq!(honest.leases().await.unwrap(), [granted.id]);
}

#[tokio::test]
async fn a_request_beyond_etcds_limit_is_not_sent() {
    let nowhere = client(&["192.0.2.1:2379".to_owned()]);
    let key = Key::from(vec![b'x'; 2 << 20]);
    let error = nowhere.get(&key).await.unwrap_err();
    assert!(
        matches!(error, Error::TooLarge { bytes, .. } if bytes > 2 << 20),
        "{error}"
    );
}

#[test]
fn making_a_client_needs_neither_network_nor_runtime() {
    client(&["192.0.2.1:2379".to_owned()]);
    let error = Client::new(Settings::new([""; 0])).unwrap_err();
    assert!(matches!(error, Error::Settings(_)));
}

/// The client of the crate `etcd-client` fails calls while one member is down, panics on unknown
/// events and lets a delete escape its prefix; only its messages are used.
#[test]
fn of_the_crate_etcd_client_only_the_messages_are_used() {
    fn sources(directory: &std::path::Path, found: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            // What is measured beside ours is that client.
            let beside = path.ends_with("tests") || path.ends_with("benches");
            if path.is_dir() && !beside {
                sources(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    sources(std::path::Path::new(env!("CARGO_MANIFEST_DIR")), &mut found);
    assert!(found.len() > 10);
    for path in found {
        let text = std::fs::read_to_string(&path).unwrap();
        for (at, _) in text.match_indices("etcd_client::") {
            let rest = &text[at + "etcd_client::".len()..];
            assert!(rest.starts_with("proto"), "{}", path.display());
        }
    }
}
