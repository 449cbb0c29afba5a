//! Discovery of a large service: load, memory, processor time for each change, and the way from a
//! put to the view beside a raw watch, all against one real etcd in one run. Prints figures; there
//! is no threshold, as machines differ.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark that cannot go on says so"
)]

use std::collections::HashMap;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use etcd::{Client, ListOptions, Settings};
use etcd_client::{Txn, TxnOp, WatchOptions};
use fleet::{Key, Prefix, ServiceName};
use platform::discover::{Discovery, ServiceView};
use tests::realetcd::RealEtcd;
use tokio::sync::watch;

const INSTANCES: usize = 100_000;
const PUTS: usize = 1_000;
const FLOOD: usize = 20_000;

fn key(number: usize) -> String {
    format!("/services/user/u-{number:06}")
}

fn record(number: usize, step: usize) -> String {
    format!(
        r#"{{"service":"user","id":"u-{number:06}","version":"1.4.2","endpoints":["grpc://10.0.{}.{}:9000","http://10.0.{}.{}:9000"],"weight":100,"metadata":{{"zone":"eu-{}","step":"{step}"}},"started_at":"2026-01-01T00:00:00Z"}}"#,
        number / 250 % 250,
        number % 250,
        number / 250 % 250,
        number % 250,
        number % 3,
    )
}

/// Memory in use by this process.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// Processor time that a thread of this process has had.
fn processor(thread: u32) -> Duration {
    let path = format!("/proc/self/task/{thread}/schedstat");
    let text = std::fs::read_to_string(path).unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

fn this_thread() -> u32 {
    let link = std::fs::read_link("/proc/thread-self").unwrap();
    link.file_name().unwrap().to_str().unwrap().parse().unwrap()
}

/// The service, once all of it is known.
async fn loaded(discovery: &Discovery) -> watch::Receiver<Arc<ServiceView>> {
    let mut views = discovery.view(&ServiceName::new("user").unwrap());
    let all = views.wait_for(|view| view.instances.len() == INSTANCES);
    drop(all.await.unwrap());
    views
}

enum Ask {
    /// Tell when this key stands at this revision in the view.
    Wait(Key, i64),
    Over,
}

/// A thread that does nothing but follow the service: what it costs is what discovery costs.
fn follower(endpoint: String) -> (tokio::sync::mpsc::Sender<Ask>, mpsc::Receiver<Instant>, u32) {
    let (ask, mut asked) = tokio::sync::mpsc::channel(1);
    let (tell, told) = mpsc::sync_channel(1);
    let (name, named) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        name.send(this_thread()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let client = Client::new(Settings::new([endpoint])).unwrap();
            let discovery = Discovery::new(client, Prefix::new("/services/").unwrap());
            let mut views = loaded(&discovery).await;
            tell.send(Instant::now()).unwrap();
            while let Some(Ask::Wait(key, revision)) = asked.recv().await {
                let seen = views.wait_for(|view| {
                    let found = view.instances.get(&key);
                    found.is_some_and(|one| one.mod_revision.0 >= revision)
                });
                seen.await.unwrap();
                tell.send(Instant::now()).unwrap();
            }
        });
    });
    (ask, told, named.recv().unwrap())
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

#[tokio::main]
async fn main() {
    let etcd = RealEtcd::start().await;
    let mut raw = etcd_client::Client::connect([etcd.endpoint()], None)
        .await
        .unwrap();
    for first in (0..INSTANCES).step_by(100) {
        let puts = (first..first + 100).map(|n| TxnOp::put(key(n), record(n, 0), None));
        raw.txn(Txn::new().and_then(puts.collect::<Vec<_>>()))
            .await
            .unwrap();
    }
    let client = Client::new(Settings::new([etcd.endpoint()])).unwrap();
    let prefix = Prefix::new("/services/user/").unwrap();
    let mut ranges = Vec::new();
    for _ in 0..3 {
        let begun = Instant::now();
        let listed = client.list(&prefix, ListOptions::default()).await.unwrap();
        assert_eq!(listed.entries.len(), INSTANCES);
        ranges.push(begun.elapsed());
    }
    ranges.sort();
    // As services run: on a runtime of several threads, where the listing is read by another one
    // than it comes in on.
    let mut loads = Vec::new();
    for _ in 0..3 {
        let begun = Instant::now();
        let client = Client::new(Settings::new([etcd.endpoint()])).unwrap();
        let discovery = Discovery::new(client, Prefix::new("/services/").unwrap());
        loaded(&discovery).await;
        loads.push(begun.elapsed());
    }
    loads.sort();
    let before = resident();
    let begun = Instant::now();
    let (ask, told, thread) = follower(etcd.endpoint());
    let load = told.recv().unwrap() - begun;
    println!("{INSTANCES} instances of one service");
    println!("  raw paged range {:>8.0?}", ranges[1]);
    println!(
        "  loaded          {:>8.0?}   {:.2} x the range",
        loads[1],
        loads[1].as_secs_f64() / ranges[1].as_secs_f64()
    );
    println!(
        "  by one thread   {load:>8.0?}   {:.2} x the range, {:.0?} processor time",
        load.as_secs_f64() / ranges[1].as_secs_f64(),
        processor(thread)
    );
    println!(
        "  memory          {:>5} MiB",
        (resident().saturating_sub(before)) >> 20
    );

    // One put after another, each seen by a raw watch and by discovery.
    let options = WatchOptions::new().with_prefix();
    let mut stream = raw.watch("/services/user/", Some(options)).await.unwrap();
    let (saw, mut seen) = tokio::sync::mpsc::channel(1_000);
    tokio::spawn(async move {
        while let Ok(Some(answer)) = stream.message().await {
            let now = Instant::now();
            for event in answer.events() {
                let revision = event.kv().unwrap().mod_revision();
                if saw.send((revision, now)).await.is_err() {
                    return;
                }
            }
        }
    });
    let (mut by_watch, mut by_discovery) = (HashMap::new(), Vec::new());
    let mut puts = HashMap::new();
    let used = processor(thread);
    for step in 1..=PUTS {
        let number = step * 97 % INSTANCES;
        let begun = Instant::now();
        let answer = raw
            .put(key(number), record(number, step), None)
            .await
            .unwrap();
        let revision = answer.header().unwrap().revision();
        ask.send(Ask::Wait(key(number).as_str().into(), revision))
            .await
            .unwrap();
        // It may have been seen before it was asked for: then the put's answer was the later one.
        by_discovery.push(told.recv().unwrap() - begun);
        puts.insert(revision, begun);
        while let Ok((revision, at)) = seen.try_recv() {
            by_watch.insert(revision, at);
        }
    }
    let each = (processor(thread) - used) / u32::try_from(PUTS).unwrap();
    let mut by_watch: Vec<Duration> = by_watch
        .into_iter()
        .filter_map(|(revision, at)| Some(at - *puts.get(&revision)?))
        .collect();
    by_watch.sort();
    by_discovery.sort();
    println!("{PUTS} puts, one after another: put to seen");
    for percent in [50, 99] {
        let (watch, found) = (
            percentile(&by_watch, percent),
            percentile(&by_discovery, percent),
        );
        println!(
            "  p{percent}  raw watch {watch:>8.0?}   discovery {found:>8.0?}   {:.2} x",
            found.as_secs_f64() / watch.as_secs_f64()
        );
    }
    println!("  processor time for each change {each:.1?}");

    // As many as etcd takes: what a storm costs.
    let used = processor(thread);
    let begun = Instant::now();
    let mut last = 0;
    for first in (0..FLOOD).step_by(50) {
        let puts = (first..first + 50).map(|n| {
            let kv = raw.kv_client();
            async move {
                let mut kv = kv;
                let answer = kv.put(key(n), record(n, PUTS + 1), None).await.unwrap();
                (answer.header().unwrap().revision(), n)
            }
        });
        let done = futures::future::join_all(puts).await;
        let newest = done.into_iter().max().unwrap();
        last = newest.1;
        if first + 50 >= FLOOD {
            ask.send(Ask::Wait(key(last).as_str().into(), newest.0))
                .await
                .unwrap();
        }
    }
    let seen = told.recv().unwrap() - begun;
    let spent = processor(thread) - used;
    println!(
        "{FLOOD} changes at {:.0} a second: {:.1?} for each, {:.0} % of a core (last {last})",
        FLOOD as f64 / seen.as_secs_f64(),
        spent / u32::try_from(FLOOD).unwrap(),
        100.0 * spent.as_secs_f64() / seen.as_secs_f64()
    );
    drop(ask.send(Ask::Over).await);
}
