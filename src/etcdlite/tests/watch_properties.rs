//! What etcd promises about watches, under concurrent writers: bookmarkable, ordered, unique, atomic,
//! reliable, resumable, with previous values, creations told as such, filtered. The same checks hold
//! etcdlite and a real etcd to it.

use std::collections::BTreeMap;

use etcd_client::proto::*;
use futures::future::join_all;

use super::client::{Api, WatchStream, mod_revision, prefix, put_op};
use super::peer::Peer;
use crate::watch::Wish;
use crate::{Options, Server};

/// What was written, by revision and key; a deletion has no value.
type Written = BTreeMap<i64, BTreeMap<String, Option<String>>>;

const WRITERS: usize = 4;
const WRITES: usize = 80;

/// Whether progress answers can be relied on; 3.4 gives them before it is up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Honest,
    Hasty,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_keep_their_promises_under_concurrent_writers() {
    let (_server, channel) = Server::in_process(Options::default());
    check(&Api::new(channel), Progress::Honest).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_etcd_passes_the_same_checks() {
    let peer = Peer::start().await;
    let progress = if peer.is_3_4() {
        Progress::Hasty
    } else {
        Progress::Honest
    };
    check(&peer.api, progress).await;
}

async fn check(api: &Api, progress: Progress) {
    let first = api.put_value("k/begin", "").await;
    let wishes = [
        Wish {
            prev_kv: true,
            ..prefix("k/")
        },
        Wish {
            start_revision: first,
            ..prefix("k/")
        },
        Wish {
            start_revision: first + 20,
            prev_kv: true,
            ..prefix("k/")
        },
        Wish {
            filters: vec![1],
            ..prefix("k/1")
        },
        Wish {
            filters: vec![0],
            prev_kv: true,
            ..prefix("k/")
        },
        Wish {
            key: b"k/2".into(),
            ..Wish::default()
        },
        Wish {
            key: b"k/".into(),
            range_end: b"k/2".into(),
            ..Wish::default()
        },
    ];
    let mut watchers = Vec::new();
    for wish in wishes {
        let mut stream = api.watch();
        let answers = vec![stream.created(wish.clone()).await];
        watchers.push(Watcher {
            stream,
            wish,
            answers,
        });
    }
    let (end, ended) = tokio::sync::watch::channel(false);
    let ((), (written, last), resumed) = tokio::join!(
        async {
            join_all(
                watchers
                    .iter_mut()
                    .map(|watcher| watcher.read(ended.clone())),
            )
            .await;
        },
        async {
            let written = write(api).await;
            let last = api.put_value("k/end", "").await;
            end.send_replace(true);
            (written, last)
        },
        resume(api, first + 1),
    );
    for mut watcher in watchers {
        let wish = watcher.wish.clone();
        let from = if wish.start_revision == 0 {
            first + 1
        } else {
            wish.start_revision
        };
        let mut expected = expected(&written, &wish, from);
        if from == first {
            expected.insert(0, (first, "k/begin".to_owned(), Some(String::new())));
        }
        watcher.read_rest(expected.len(), last, progress).await;
        ordered_unique_and_atomic(&watcher.answers);
        if progress == Progress::Honest {
            bookmarkable(&watcher.answers);
        }
        let events: Vec<_> = watcher
            .answers
            .into_iter()
            .flat_map(|answer| answer.events)
            .collect();
        let told: Vec<_> = events
            .iter()
            .map(told)
            .filter(|told| told.0 < last)
            .collect();
        assert_eq!(told, expected, "reliable and filtered: {wish:?}");
        creations_and_previous(&written, &events, &wish);
    }
    let resumed: Vec<_> = resumed
        .iter()
        .map(told)
        .filter(|told| told.0 < last)
        .collect();
    assert_eq!(
        resumed,
        expected(&written, &prefix("k/"), first + 1),
        "resumable"
    );
}

/// Writes of many tasks at once, with what each did as the server told it.
async fn write(api: &Api) -> Written {
    let writers = (0..WRITERS).map(|writer| async move {
        let mut written = Written::new();
        for number in 0..WRITES {
            let key = format!("k/{}", (number * 7 + writer) % 6);
            let value = format!("{writer}-{number}");
            if number % 5 == 4 {
                let request = PbDeleteRequest {
                    key: key.clone().into(),
                    ..Default::default()
                };
                let answer = api.delete(request).await.unwrap();
                if answer.deleted == 1 {
                    let revision = answer.header.unwrap().revision;
                    written.entry(revision).or_default().insert(key, None);
                }
            } else if number % 7 == 3 {
                let other = format!("k/{}", (number * 7 + writer + 1) % 6);
                // In key order, as the expectation has them.
                let mut keys = [&key, &other];
                keys.sort();
                let success = keys.iter().map(|key| put_op(key, &value)).collect();
                let request = PbTxnRequest {
                    success,
                    ..PbTxnRequest::default()
                };
                let revision = api.txn(request).await.unwrap().header.unwrap().revision;
                let both = [(key, Some(value.clone())), (other, Some(value))];
                written.entry(revision).or_default().extend(both);
            } else {
                let revision = api.put_value(&key, &value).await;
                written
                    .entry(revision)
                    .or_default()
                    .insert(key, Some(value));
            }
        }
        written
    });
    let all = join_all(writers).await.into_iter().flatten();
    let mut written = Written::new();
    for (revision, changes) in all {
        assert!(
            written.insert(revision, changes).is_none(),
            "two writes at revision {revision}"
        );
    }
    written
}

struct Watcher {
    stream: WatchStream,
    wish: Wish,
    answers: Vec<PbWatchResponse>,
}

impl Watcher {
    /// Reads while the writers write, asking for progress now and then.
    async fn read(&mut self, mut ended: tokio::sync::watch::Receiver<bool>) {
        loop {
            if self.answers.len() % 10 == 5 {
                self.stream.ask_progress().await;
            }
            tokio::select! {
                answer = self.stream.next() => self.answers.push(answer),
                _ = ended.wait_for(|ended| *ended) => return,
            }
        }
    }

    /// Reads up to as many events as must come; then, where progress is honest, up to a progress
    /// answer for `last`, so that one event too many would show.
    async fn read_rest(&mut self, count: usize, last: i64, progress: Progress) {
        let events =
            |answers: &[PbWatchResponse]| answers.iter().map(|answer| answer.events.len()).sum();
        while count > events(&self.answers) {
            self.answers.push(self.stream.next().await);
        }
        if progress == Progress::Honest {
            loop {
                self.stream.ask_progress().await;
                let answer = self.stream.next().await;
                let known = answer.header.as_ref().unwrap().revision;
                let is_progress = answer.events.is_empty();
                self.answers.push(answer);
                if is_progress && known >= last {
                    return;
                }
            }
        }
    }
}

/// Watches a few answers at a time, each time on a new stream from where the last one ended.
async fn resume(api: &Api, from: i64) -> Vec<PbEvent> {
    let mut events: Vec<PbEvent> = Vec::new();
    loop {
        let mut stream = api.watch();
        let next = events.last().map_or(from, |event| mod_revision(event) + 1);
        stream
            .created(Wish {
                start_revision: next,
                ..prefix("k/")
            })
            .await;
        for _ in 0..3 {
            events.extend(stream.next().await.events);
            if events.iter().any(|event| told(event).1 == "k/end") {
                return events;
            }
        }
    }
}

fn told(event: &PbEvent) -> (i64, String, Option<String>) {
    let kv = event.kv.as_ref().expect("a key");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (
        kv.mod_revision,
        text(&kv.key),
        (event.r#type == 0).then(|| text(&kv.value)),
    )
}

fn expected(written: &Written, wish: &Wish, from: i64) -> Vec<(i64, String, Option<String>)> {
    let selects = |key: &str| match wish.range_end.as_slice() {
        [] => wish.key == key.as_bytes(),
        end => wish.key.as_slice() <= key.as_bytes() && key.as_bytes() < end,
    };
    let mut expected = Vec::new();
    for (revision, changes) in written.range(from..) {
        for (key, value) in changes {
            let filtered = wish.filters.contains(&i32::from(value.is_none()));
            if selects(key) && !filtered {
                expected.push((*revision, key.clone(), value.clone()));
            }
        }
    }
    expected
}

fn ordered_unique_and_atomic(answers: &[PbWatchResponse]) {
    let mut last = 0;
    for answer in answers {
        let mut keys = Vec::new();
        for event in &answer.events {
            let (revision, key, _) = told(event);
            assert!(revision >= last, "ordered: {revision} after {last}");
            keys.push((revision, key));
            last = revision;
        }
        // The next answer begins with a later revision: none is split.
        last += i64::from(!answer.events.is_empty());
        let count = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), count, "unique");
    }
}

fn bookmarkable(answers: &[PbWatchResponse]) {
    let mut known = 0;
    // The announcement names the present revision, whatever the watch still has to be told.
    for answer in answers.iter().filter(|answer| !answer.created) {
        let oldest = answer.events.iter().map(mod_revision).min();
        assert!(
            oldest.is_none_or(|oldest| oldest > known),
            "{oldest:?} after being told {known}"
        );
        known = known.max(answer.header.as_ref().unwrap().revision);
    }
}

fn creations_and_previous(written: &Written, events: &[PbEvent], wish: &Wish) {
    for event in events {
        let (revision, key, value) = told(event);
        if !written.contains_key(&revision) {
            continue;
        }
        let before = written
            .range(..revision)
            .rev()
            .find_map(|(_, changes)| changes.get(&key));
        let before = before.cloned().flatten();
        let kv = event.kv.as_ref().unwrap();
        if value.is_some() {
            assert_eq!(
                kv.create_revision == revision,
                before.is_none(),
                "is_create: {event:?}"
            );
        } else {
            let bare = PbKeyValue {
                key: kv.key.clone(),
                mod_revision: revision,
                ..PbKeyValue::default()
            };
            assert_eq!(*kv, bare, "a deletion tells key and revision only");
        }
        if wish.prev_kv {
            let prev = event
                .prev_kv
                .as_ref()
                .map(|kv| String::from_utf8(kv.value.clone()).unwrap());
            assert_eq!(prev, before, "prev_kv: {event:?}");
        }
    }
}
