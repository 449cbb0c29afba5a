//! etcd's own authentication: a token fetched once, renewed when etcd forgets it, streams included.

use std::sync::atomic::Ordering::Relaxed;

use etcd::{Client, Credentials, Error, Settings};
use fleet::LeaseRule;
use tests::proxy::{Mode, Proxy};
use tests::realetcd::RealEtcd;

use crate::observer::Observer;
use crate::world::{PATIENCE, begun, prefix, put, until};

fn user(etcd: &RealEtcd, name: &str, password: &str) -> Client {
    let mut settings = Settings::new([etcd.endpoint()]);
    settings.user = Some(Credentials::new(name, password));
    settings.request_timeout = PATIENCE;
    Client::new(settings).unwrap()
}

/// Authentication on, `root` with everything and `reader` with a prefix to read.
async fn guarded() -> RealEtcd {
    // The least bcrypt cost, for the sake of the machine.
    let etcd = RealEtcd::start_with(&["--bcrypt-cost=4"]).await;
    for command in [
        "user add root:secret",
        "user grant-role root root",
        "role add reading",
        "role grant-permission reading --prefix=true read /a/",
        "user add reader:read",
        "user grant-role reader reading",
        "auth enable",
    ] {
        let words: Vec<&str> = command.split(' ').collect();
        if command == "user grant-role root root" {
            etcd.etcdctl(&["role", "add", "root"]).await;
        }
        etcd.etcdctl(&words).await;
    }
    etcd
}

/// Makes every token invalid, without touching a connection.
async fn forget_tokens(etcd: &RealEtcd) {
    etcd.etcdctl(&["--user=root:secret", "auth", "disable"])
        .await;
    etcd.etcdctl(&["auth", "enable"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_lets_in_and_a_wrong_one_is_named() {
    let etcd = guarded().await;
    let root = user(&etcd, "root", "secret");
    put(&root, "/a/a", "1", LeaseRule::None).await;
    let wrong = user(&etcd, "root", "hunter2")
        .get(&"/a/a".into())
        .await
        .unwrap_err();
    assert!(matches!(wrong, Error::Auth { .. }), "{wrong}");
    assert!(!wrong.to_string().contains("hunter2"), "{wrong}");
    let nobody = crate::world::client(&[etcd.endpoint()]);
    let error = nobody.get(&"/a/a".into()).await.unwrap_err();
    assert!(matches!(error, Error::Auth { .. }), "{error}");
    let reader = user(&etcd, "reader", "read");
    reader.get(&"/a/a".into()).await.unwrap();
    let error = reader.get(&"/b/b".into()).await.unwrap_err();
    assert!(matches!(error, Error::PermissionDenied { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_where_none_is_needed_does_no_harm() {
    let etcd = RealEtcd::start().await;
    let client = user(&etcd, "root", "secret");
    put(&client, "/a/a", "1", LeaseRule::None).await;
}

/// A restarted etcd has forgotten its tokens, and so has one whose authentication was off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_etcd_forgot_is_renewed_and_streams_are_reopened() {
    let etcd = guarded().await;
    let root = user(&etcd, "root", "secret");
    put(&root, "/a/a", "1", LeaseRule::None).await;
    let reader = user(&etcd, "reader", "read");
    let mut seen = Observer::new(&reader, &prefix("/a/"));
    seen.until_fresh().await;
    for round in 0..2 {
        etcd.kill();
        etcd.revive();
        etcd.ready().await;
        let written = put(&root, "/a/a", &format!("restart {round}"), LeaseRule::None).await;
        seen.until_at(written).await;
        forget_tokens(&etcd).await;
        let written = put(
            &root,
            "/a/a",
            &format!("forgotten {round}"),
            LeaseRule::None,
        )
        .await;
        reader.get(&"/a/a".into()).await.unwrap();
        seen.until_at(written).await;
    }
    seen.until_fresh().await;
    assert_eq!(seen.batches.len(), 4, "{:?}", seen.batches);
}

/// An etcd that is back and refuses is another trouble than one that is away, with another remedy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_is_told_when_the_reason_of_a_loss_is_another() {
    let etcd = RealEtcd::start_with(&["--bcrypt-cost=4"]).await;
    let proxy = Proxy::start(etcd.address()).await;
    let nobody = crate::world::client(&[proxy.endpoint()]);
    let mut seen = Observer::new(&nobody, &prefix("/a/"));
    seen.until_fresh().await;
    proxy.set(Mode::Refuse);
    seen.until("a loss", |seen| !seen.stale.is_empty()).await;
    etcd.turn_auth_on("secret").await;
    proxy.set(Mode::Forward);
    seen.until("the refusal", |seen| seen.stale.len() > 1).await;
    let why = seen.stale.last().unwrap();
    assert!(why.contains("not authenticated"), "{:?}", seen.stale);
    etcd.turn_auth_off("secret").await;
    seen.until_fresh().await;
    assert_eq!(seen.stale.len(), 2, "once each: {:?}", seen.stale);
}

/// A lease is kept under authentication, too, across the loss of the token.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_is_replayed_to_who_may_read_it_and_with_a_new_token() {
    let etcd = guarded().await;
    let root = user(&etcd, "root", "secret");
    let written = [
        put(&root, "/a/a", "1", LeaseRule::None).await,
        put(&root, "/a/a", "2", LeaseRule::None).await,
    ];
    let options = etcd::ReplayOptions {
        time: PATIENCE,
        ..etcd::ReplayOptions::default()
    };
    let reader = user(&etcd, "reader", "read");
    for _ in 0..2 {
        let replay = reader.replay(&prefix("/a/"), options).await.unwrap();
        let told: Vec<_> = replay.changes.iter().map(fleet::Change::revision).collect();
        assert_eq!(told, written);
        forget_tokens(&etcd).await;
    }
    let error = reader.replay(&prefix("/b/"), options).await.unwrap_err();
    assert!(matches!(error, Error::PermissionDenied { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_is_kept_across_a_renewal() {
    let etcd = guarded().await;
    let root = user(&etcd, "root", "secret");
    let options = etcd::LeaseOptions::new(std::time::Duration::from_secs(30));
    let keeper = etcd::LeaseKeeper::spawn(root.clone(), options, etcd::Gate::Open);
    let mut state = keeper.state();
    let held = tokio::time::timeout(PATIENCE, state.wait_for(|state| state.id().is_some()));
    let id = held.await.unwrap().unwrap().id();
    etcd.revive();
    etcd.ready().await;
    let begun = std::time::Instant::now();
    let kept = |state: &etcd::LeaseState| matches!(state, etcd::LeaseState::Held { deadline, .. } if *deadline > begun + std::time::Duration::from_secs(25));
    tokio::time::timeout(PATIENCE, state.wait_for(kept))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(state.borrow().id(), id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_many_calls_fetches_the_token_and_streams_follow_it() {
    let etcd = guarded().await;
    let root = user(&etcd, "root", "secret");
    put(&root, "/a/a", "1", LeaseRule::None).await;
    let before = begun(&etcd, "Authenticate").await;
    let reader = user(&etcd, "reader", "read");
    let mut seen = Observer::new(&reader, &prefix("/a/"));
    seen.until_fresh().await;
    let watches = begun(&etcd, "Watch").await;
    assert_eq!(begun(&etcd, "Authenticate").await, before + 1);
    forget_tokens(&etcd).await;
    let own = begun(&etcd, "Authenticate").await;
    let calls = (0..50).map(|_| {
        let reader = reader.clone();
        tokio::spawn(async move { reader.get(&"/a/a".into()).await.unwrap() })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    assert_eq!(begun(&etcd, "Authenticate").await, own + 1);
    // The watch stood on the old token: it is opened again, though nothing broke.
    until("a new watch", async || {
        begun(&etcd, "Watch").await == watches + 1
    })
    .await;
    let written = put(&root, "/a/a", "2", LeaseRule::None).await;
    seen.until_at(written).await;
    assert_eq!(seen.stale, [""; 0]);
}

/// Tokens that carry the revision of the users' store and an end of their own, as JWTs do.
async fn guarded_by_jwt(directory: &std::path::Path, ttl: &str) -> RealEtcd {
    let key = directory.join("key");
    std::fs::write(&key, "a secret of the members").unwrap();
    let token = format!(
        "--auth-token=jwt,sign-method=HS256,priv-key={},ttl={ttl}",
        key.display()
    );
    let etcd = RealEtcd::start_with(&["--bcrypt-cost=4", &token]).await;
    etcd.turn_auth_on("secret").await;
    etcd
}

/// Tokens that end every two seconds, under calls that go on without one failing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_ends_is_renewed_under_the_calls() {
    let directory = tempfile::tempdir().unwrap();
    let etcd = guarded_by_jwt(directory.path(), "2s").await;
    let root = user(&etcd, "root", "secret");
    let mut seen = Observer::new(&root, &prefix("/a/"));
    seen.until_fresh().await;
    let tokens = begun(&etcd, "Authenticate").await;
    let mut written = Vec::new();
    until("three tokens have ended", async || {
        let value = written.len().to_string();
        written.push(put(&root, "/a/a", &value, LeaseRule::None).await);
        begun(&etcd, "Authenticate").await >= tokens + 3
    })
    .await;
    seen.until_at(*written.last().unwrap()).await;
    let given: Vec<_> = seen.batches.iter().map(|(revision, _)| *revision).collect();
    assert_eq!(given, written);
    assert_eq!(seen.stale, [""; 0], "a renewal is no loss");
}

/// A change of any role or user makes every token old that says which users it was made of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_a_role_under_a_watch_and_a_lease_is_survived() {
    let directory = tempfile::tempdir().unwrap();
    let etcd = guarded_by_jwt(directory.path(), "10m").await;
    let root = user(&etcd, "root", "secret");
    let mut seen = Observer::new(&root, &prefix("/a/"));
    seen.until_fresh().await;
    let options = etcd::LeaseOptions::new(std::time::Duration::from_secs(60));
    let keeper = etcd::LeaseKeeper::spawn(root.clone(), options, etcd::Gate::Open);
    let mut lease = keeper.state();
    let held = tokio::time::timeout(PATIENCE, lease.wait_for(|state| state.id().is_some()));
    let id = held.await.unwrap().unwrap().id();
    let tokens = begun(&etcd, "Authenticate").await;
    let mut written = Vec::new();
    for round in 0..3 {
        let role = format!("role{round}");
        etcd.etcdctl(&["--user=root:secret", "role", "add", &role])
            .await;
        written.push(put(&root, "/a/a", &role, LeaseRule::None).await);
        root.get(&"/a/a".into()).await.unwrap();
    }
    seen.until_at(*written.last().unwrap()).await;
    let given: Vec<_> = seen.batches.iter().map(|(revision, _)| *revision).collect();
    assert_eq!(given, written);
    seen.until_fresh().await;
    assert!(
        begun(&etcd, "Authenticate").await >= tokens + 3,
        "never old"
    );
    assert_eq!(lease.borrow().id(), id);
}

/// etcd's own tokens end some seconds after their last use.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_ended_for_want_of_use_is_fetched_anew() {
    let etcd = RealEtcd::start_with(&["--bcrypt-cost=4", "--auth-token-ttl=1"]).await;
    etcd.turn_auth_on("secret").await;
    let root = user(&etcd, "root", "secret");
    put(&root, "/a/a", "1", LeaseRule::None).await;
    let tokens = begun(&etcd, "Authenticate").await;
    // Nothing tells when etcd drops a token that nobody uses: it is left alone for longer and
    // longer, until the next call costs another one.
    let mut idle = std::time::Duration::from_secs(1);
    until("another token", async || {
        idle *= 2;
        tokio::time::sleep(idle).await;
        root.get(&"/a/a".into()).await.unwrap();
        begun(&etcd, "Authenticate").await > tokens
    })
    .await;
}

/// Authentication is turned on under a client that has a password and needed none so far.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authentication_may_be_turned_on_while_connected() {
    let etcd = RealEtcd::start_with(&["--bcrypt-cost=4"]).await;
    let root = user(&etcd, "root", "secret");
    let mut seen = Observer::new(&root, &prefix("/a/"));
    let first = put(&root, "/a/a", "before", LeaseRule::None).await;
    seen.until_at(first).await;
    etcd.turn_auth_on("secret").await;
    let second = put(&root, "/a/a", "after", LeaseRule::None).await;
    seen.until_at(second).await;
    let third = put(&root, "/a/a", "again", LeaseRule::None).await;
    seen.until_at(third).await;
    seen.until_fresh().await;
    etcd.turn_auth_off("secret").await;
    let last = put(&root, "/a/a", "off", LeaseRule::None).await;
    seen.until_at(last).await;
    assert_eq!(seen.value("/a/a"), Some("off"));
}

/// A new token has all streams of the client opened again: a right that is missing must not cost one
/// for every attempt.
#[tokio::test]
async fn a_missing_right_to_watch_costs_one_token_and_no_more() {
    let (_server, client, [watches, tokens]) = crate::interposer::without_the_right_to_watch();
    let options = etcd::MirrorOptions {
        retry_ceiling: std::time::Duration::from_millis(100),
        ..etcd::MirrorOptions::default()
    };
    let mut seen = Observer::with(&client, &prefix("/a/"), options);
    seen.until("refused", |seen| !seen.stale.is_empty()).await;
    assert!(
        seen.stale[0].contains("permission denied"),
        "{:?}",
        seen.stale
    );
    until("several attempts", async || watches.load(Relaxed) >= 6).await;
    assert_eq!(tokens.load(Relaxed), 2, "the first, and one to be sure");
}
