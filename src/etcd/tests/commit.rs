//! Commits: applied once, refused with what stands there, and never a lie when the answer is lost.

use etcd::{Client, Settings};
use fleet::{Edit, Key, LeaseRule, Outcome, Plan, Seen};
use std::time::Duration;
use tests::proxy::{Mode, Proxy};

use crate::interposer::{Lie, lying};
use crate::world::{PATIENCE, World, applied, create, keys_of, put, until};

crate::on_both!(
    a_plan_is_written_whole,
    a_changed_key_refuses_the_whole_plan,
    an_edit_of_a_leased_key_keeps_its_lease,
    a_lost_answer_is_resolved_by_reading,
    a_lost_answer_to_a_refusal_is_resolved_by_reading,
    a_lost_answer_is_asked_for_until_the_way_is_open_again,
    a_lost_answer_to_a_refusal_is_asked_for_until_the_way_is_open_again,
    a_lost_request_is_sent_again_and_written_once,
    a_write_is_not_sent_to_a_member_gone_silent,
    what_cannot_be_learned_is_said_to_be_unknown,
    a_full_transaction_fits,
    an_unknown_lease_is_named,
    of_two_writers_one_wins,
);

async fn entry(client: &Client, key: &str) -> fleet::Entry {
    client.get(&key.into()).await.unwrap().0.unwrap()
}

async fn a_plan_is_written_whole(world: World) {
    let first = applied(&world.client, [create("/c/a", "1"), create("/c/b", "1")]).await;
    let (a, b) = (
        entry(&world.client, "/c/a").await,
        entry(&world.client, "/c/b").await,
    );
    assert_eq!((a.mod_revision, b.mod_revision), (first, first));
    let second = applied(
        &world.client,
        [
            Edit::put("/c/a".into(), Seen::At(a), *b"2"),
            Edit::delete("/c/b".into(), Seen::At(b)),
        ],
    )
    .await;
    assert_eq!(entry(&world.client, "/c/a").await.mod_revision, second);
    assert_eq!(world.client.get(&"/c/b".into()).await.unwrap().0, None);
    // An empty plan writes nothing.
    let nothing = applied(&world.client, []).await;
    assert_eq!(nothing, second);
}

async fn a_changed_key_refuses_the_whole_plan(world: World) {
    applied(&world.client, [create("/c/a", "1")]).await;
    let seen = entry(&world.client, "/c/a").await;
    world.put("/c/a", "theirs").await;
    let plan = Plan::new([
        Edit::put("/c/a".into(), Seen::At(seen), *b"mine"),
        create("/c/b", "mine"),
    ])
    .unwrap();
    let Outcome::Refused { conflicts } = world.client.commit(&plan).await.unwrap() else {
        panic!("not refused");
    };
    assert_eq!(conflicts.len(), 1);
    assert_eq!(conflicts[0].key, Key::from("/c/a"));
    assert_eq!(*conflicts[0].current.as_ref().unwrap().value, *b"theirs");
    assert_eq!(world.client.get(&"/c/b".into()).await.unwrap().0, None);
}

async fn an_edit_of_a_leased_key_keeps_its_lease(world: World) {
    let lease = world
        .direct
        .lease_grant(Duration::from_secs(60))
        .await
        .unwrap();
    put(&world.direct, "/c/a", "1", LeaseRule::Attach(lease.id)).await;
    let seen = entry(&world.client, "/c/a").await;
    assert_eq!(seen.lease, Some(lease.id));
    applied(
        &world.client,
        [Edit::put("/c/a".into(), Seen::At(seen), *b"2")],
    )
    .await;
    assert_eq!(entry(&world.client, "/c/a").await.lease, Some(lease.id));
    assert_eq!(keys_of(&world.direct, lease.id).await, ["/c/a".into()]);
}

/// A client of two ways to the same server: the first through a proxy, which it prefers, the
/// second open.
async fn two_ways(world: &World) -> (Proxy, Client) {
    let second = Proxy::start_in(world.address(), Mode::Refuse).await;
    let mut settings = Settings::new([world.proxy.endpoint(), second.endpoint()]);
    settings.request_timeout = Duration::from_secs(4);
    let client = Client::new(settings).unwrap();
    client.get(&"/warm".into()).await.unwrap();
    second.set(Mode::Forward);
    (second, client)
}

async fn a_lost_answer_is_resolved_by_reading(world: World) {
    let (_second, client) = two_ways(&world).await;
    world.proxy.set(Mode::HoldAnswers);
    let plan = Plan::new([create("/c/a", "mine"), create("/c/b", "mine")]).unwrap();
    let outcome = client.commit(&plan).await.unwrap();
    let written = entry(&world.direct, "/c/a").await;
    assert_eq!((written.version, &*written.value), (1, b"mine".as_slice()));
    let revision = written.mod_revision;
    assert_eq!(outcome, Outcome::Applied { revision });
}

async fn a_lost_answer_to_a_refusal_is_resolved_by_reading(world: World) {
    let (_second, client) = two_ways(&world).await;
    world.put("/c/a", "theirs").await;
    world.proxy.set(Mode::HoldAnswers);
    let plan = Plan::new([create("/c/a", "mine")]).unwrap();
    let outcome = client.commit(&plan).await.unwrap();
    assert!(matches!(outcome, Outcome::Refused { conflicts } if conflicts.len() == 1));
    assert_eq!(*entry(&world.direct, "/c/a").await.value, *b"theirs");
}

/// A client of one way, which waits as long as a test does and sends without asking for a sign of
/// life first.
async fn one_way(world: &World) -> Client {
    let mut settings = Settings::new([world.proxy.endpoint()]);
    settings.request_timeout = PATIENCE;
    settings.trusted_silence = PATIENCE;
    let client = Client::new(settings).unwrap();
    client.get(&"/warm".into()).await.unwrap();
    client
}

/// Connections break at their first answer until that was tried several times, then nobody listens.
/// The answers that were held are cut off, too.
async fn shut_for_a_while(proxy: &Proxy) {
    proxy.set(Mode::CutAfter(0));
    let before = proxy.accepted();
    until("it was tried again and again", async || {
        proxy.accepted() >= before + 3
    })
    .await;
    proxy.set(Mode::Refuse);
    until("nobody listens", async || {
        let address = proxy.address();
        tokio::net::TcpStream::connect(address).await.is_err()
    })
    .await;
}

async fn a_lost_answer_is_asked_for_until_the_way_is_open_again(world: World) {
    let client = one_way(&world).await;
    world.proxy.set(Mode::HoldAnswers);
    let plan = Plan::new([create("/c/a", "mine")]).unwrap();
    let away = async {
        until("written", async || {
            world.direct.get(&"/c/a".into()).await.unwrap().0.is_some()
        })
        .await;
        shut_for_a_while(&world.proxy).await;
        world.proxy.set(Mode::Forward);
    };
    let (outcome, ()) = tokio::join!(client.commit(&plan), away);
    let written = entry(&world.direct, "/c/a").await;
    let revision = written.mod_revision;
    assert_eq!(outcome.unwrap(), Outcome::Applied { revision });
    assert_eq!(written.version, 1);
}

async fn a_lost_answer_to_a_refusal_is_asked_for_until_the_way_is_open_again(world: World) {
    let client = one_way(&world).await;
    world.put("/c/a", "theirs").await;
    world.proxy.set(Mode::CutAfter(0));
    let plan = Plan::new([create("/c/a", "mine")]).unwrap();
    let away = async {
        shut_for_a_while(&world.proxy).await;
        world.proxy.set(Mode::Forward);
    };
    let (outcome, ()) = tokio::join!(client.commit(&plan), away);
    let outcome = outcome.unwrap();
    assert!(
        matches!(&outcome, Outcome::Refused { conflicts } if conflicts.len() == 1),
        "{outcome:?}"
    );
    assert_eq!(*entry(&world.direct, "/c/a").await.value, *b"theirs");
}

async fn a_lost_request_is_sent_again_and_written_once(world: World) {
    let (_second, client) = two_ways(&world).await;
    world.proxy.set(Mode::BlackHole);
    let plan = Plan::new([create("/c/a", "mine")]).unwrap();
    let outcome = client.commit(&plan).await.unwrap();
    let written = entry(&world.direct, "/c/a").await;
    let revision = written.mod_revision;
    assert_eq!(outcome, Outcome::Applied { revision });
    // What was held arrives after all; its guard keeps it from happening a second time.
    world.proxy.set(Mode::Forward);
    world.put("/c/after", "1").await;
    assert_eq!(entry(&world.direct, "/c/a").await.version, 1);
}

/// The silent member is asked for a sign of life first, so that the write is known not to be sent.
async fn a_write_is_not_sent_to_a_member_gone_silent(world: World) {
    let mut settings = Settings::new([world.proxy.endpoint()]);
    settings.trusted_silence = Duration::ZERO;
    settings.probe_timeout = Duration::from_millis(300);
    settings.request_timeout = Duration::from_secs(3);
    let client = Client::new(settings).unwrap();
    client.get(&"/warm".into()).await.unwrap();
    world.proxy.set(Mode::BlackHole);
    let plan = Plan::new([create("/c/a", "mine")]).unwrap();
    let error = client.commit(&plan).await.unwrap_err();
    assert!(matches!(error, etcd::Error::Unreachable { .. }), "{error}");
}

async fn what_cannot_be_learned_is_said_to_be_unknown(world: World) {
    let mut settings = Settings::new([world.proxy.endpoint()]);
    settings.request_timeout = Duration::from_secs(2);
    let client = Client::new(settings).unwrap();
    client.get(&"/warm".into()).await.unwrap();
    world.proxy.set(Mode::HoldAnswers);
    let plan = Plan::new([create("/c/a", "mine")]).unwrap();
    let outcome = client.commit(&plan).await.unwrap();
    assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
    // Refused connections are another matter: nothing was sent, and nothing is unknown.
    world.proxy.set(Mode::Refuse);
    until("nobody listens", async || {
        let address = world.proxy.address();
        tokio::net::TcpStream::connect(address).await.is_err()
    })
    .await;
    let client = crate::world::client(&[world.proxy.endpoint()]);
    let error = client.commit(&plan).await.unwrap_err();
    assert!(matches!(error, etcd::Error::Unreachable { .. }), "{error}");
}

async fn a_full_transaction_fits(world: World) {
    let edits = (0..fleet::plan::MAX_EDITS).map(|i| create(&format!("/c/{i}"), "1"));
    applied(&world.client, edits).await;
    let half = "x".repeat(fleet::plan::MAX_BYTES - 1_000);
    applied(&world.client, [create("/c/large", &half)]).await;
}

async fn an_unknown_lease_is_named(world: World) {
    let id = fleet::LeaseId::new(0x1234).unwrap();
    let edit = Edit {
        key: "/c/a".into(),
        seen: Seen::Absent,
        write: fleet::Write::Put {
            value: (*b"1").into(),
            lease: LeaseRule::Attach(id),
        },
    };
    let error = world
        .client
        .commit(&Plan::new([edit]).unwrap())
        .await
        .unwrap_err();
    assert_eq!(error, etcd::Error::LeaseNotFound { id });
}

async fn of_two_writers_one_wins(world: World) {
    world.put("/c/n", "0").await;
    let increments = |client: Client| async move {
        for _ in 0..20 {
            loop {
                let seen = entry(&client, "/c/n").await;
                let n: u32 = std::str::from_utf8(&seen.value).unwrap().parse().unwrap();
                let next = (n + 1).to_string().into_bytes();
                let edit = Edit::put("/c/n".into(), Seen::At(seen), next);
                match client.commit(&Plan::new([edit]).unwrap()).await.unwrap() {
                    Outcome::Applied { .. } => break,
                    Outcome::Refused { .. } => {}
                    Outcome::Unknown { cause } => panic!("{cause}"),
                }
            }
        }
    };
    tokio::join!(
        increments(world.client.clone()),
        increments(world.direct.clone()),
        increments(world.client.clone()),
    );
    assert_eq!(*entry(&world.direct, "/c/n").await.value, *b"60");
}

/// The codes of gRPC that the lies below use.
const RESOURCE_EXHAUSTED: u8 = 8;
const UNAVAILABLE: u8 = 14;

#[tokio::test]
async fn a_write_that_was_applied_is_found_out_whatever_etcd_answered() {
    for (code, message) in [
        (
            RESOURCE_EXHAUSTED,
            "etcdserver: mvcc: database space exceeded",
        ),
        (UNAVAILABLE, "etcdserver: leader changed"),
        (UNAVAILABLE, "etcdserver: request timed out"),
    ] {
        let lie = Lie {
            method: "/Txn",
            code,
            message,
            done: true,
        };
        let (_server, client, honest, _) = lying(lie, 1);
        let plan = Plan::new([create("/c/a", "mine")]).unwrap();
        let outcome = client.commit(&plan).await.unwrap();
        let revision = entry(&honest, "/c/a").await.mod_revision;
        assert_eq!(outcome, Outcome::Applied { revision }, "{message}");
    }
}

#[tokio::test]
async fn a_write_that_was_not_applied_is_not_claimed() {
    let lie = |message, code| Lie {
        method: "/Txn",
        code,
        message,
        done: false,
    };
    let plan = Plan::new([create("/c/a", "mine")]).unwrap();
    // Full: said so, with nothing written.
    let full = lie(
        "etcdserver: mvcc: database space exceeded",
        RESOURCE_EXHAUSTED,
    );
    let (_server, client, honest, _) = lying(full, 1);
    let error = client.commit(&plan).await.unwrap_err();
    assert!(matches!(error, etcd::Error::NoSpace { .. }), "{error}");
    assert_eq!(honest.get(&"/c/a".into()).await.unwrap().0, None);
    // In doubt: read, found untouched, and sent again.
    let changed = lie("etcdserver: leader changed", UNAVAILABLE);
    let (_server, client, honest, told) = lying(changed, 1);
    let outcome = client.commit(&plan).await.unwrap();
    let written = entry(&honest, "/c/a").await;
    let revision = written.mod_revision;
    assert_eq!(outcome, Outcome::Applied { revision });
    assert_eq!(
        told.load(std::sync::atomic::Ordering::SeqCst),
        3,
        "write, read, write"
    );
    // Not even taken: sent again at once, no doubt about it.
    let (_server, client, _, told) = lying(lie("etcdserver: no leader", UNAVAILABLE), 2);
    assert!(matches!(
        client.commit(&plan).await.unwrap(),
        Outcome::Applied { .. }
    ));
    assert_eq!(told.load(std::sync::atomic::Ordering::SeqCst), 3);
}

/// Applied, then overwritten by another before it could be read back: history tells.
#[tokio::test]
async fn a_write_that_was_overwritten_since_is_found_in_history() {
    let lie = Lie {
        method: "/Txn",
        code: UNAVAILABLE,
        message: "etcdserver: request timed out",
        done: true,
    };
    let (_server, client, honest, _) = lying(lie, 2);
    let plan = Plan::new([create("/c/a", "mine")]).unwrap();
    let overwrite = async {
        until("written", async || {
            honest.get(&"/c/a".into()).await.unwrap().0.is_some()
        })
        .await;
        let first = entry(&honest, "/c/a").await;
        put(&honest, "/c/a", "theirs", LeaseRule::None).await;
        first.mod_revision
    };
    let (outcome, revision) = tokio::join!(client.commit(&plan), overwrite);
    assert_eq!(outcome.unwrap(), Outcome::Applied { revision });
    assert_eq!(*entry(&honest, "/c/a").await.value, *b"theirs");
}
