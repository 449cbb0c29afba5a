//! The mirror beside what it cannot be faster than: a raw paged range and a raw watch, of the same
//! etcd in the same run. Prints ratios; judges nothing.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::panic,
    reason = "a benchmark prints, and ends where it cannot go on"
)]

use std::time::{Duration, Instant};

use etcd::{Client, ListOptions, Mirror, MirrorEvent, MirrorOptions, Settings};
use etcd_client::{GetOptions, KvClient, SortOrder, SortTarget, WatchOptions};
use fleet::{Edit, Plan, Prefix, Seen};
use tests::realetcd::RealEtcd;
use tokio::sync::mpsc;

const INSTANCES: usize = 100_000;
const PREFIX: &str = "/services/user/";
/// As a mirror's options have it.
const PAGE: i64 = 2_000;
const LOADS: usize = 9;
const PUTS: usize = 300;
const ROUNDS: usize = 8;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let etcd = RealEtcd::start_with(&["--quota-backend-bytes=8589934592"]).await;
        let client = Client::new(Settings::new([etcd.endpoint()])).unwrap();
        let raw = etcd_client::Client::connect([etcd.endpoint()], None)
            .await
            .unwrap();
        seen(&client, &raw).await;
        fill(&client).await;
        load(&client, &raw.kv_client()).await;
        memory(&client).await;
    });
}

fn instance(number: usize) -> String {
    format!(
        r#"{{"service":"user","id":"user-{number:06}","version":"1.4.2","endpoints":["grpc://10.0.{}.{}:8080","http://10.0.{}.{}:8080"],"weight":100,"metadata":{{"zone":"a"}},"started_at":"2026-01-01T00:00:00Z"}}"#,
        number / 250 % 250,
        number % 250,
        number / 250 % 250,
        number % 250
    )
}

async fn fill(client: &Client) {
    let numbers: Vec<usize> = (0..INSTANCES).collect();
    for chunk in numbers.chunks(100) {
        let edits = chunk.iter().map(|number| {
            let key = format!("{PREFIX}user-{number:06}");
            Edit::put(key.into(), Seen::Absent, instance(*number).into_bytes())
        });
        client.commit(&Plan::new(edits).unwrap()).await.unwrap();
    }
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// The pages of a raw client, held until the last is there.
async fn raw_range(kv: &KvClient) -> usize {
    let mut kv = kv.clone().max_decoding_message_size(64 << 20);
    let end = Prefix::new(PREFIX).unwrap().range_end();
    let mut start = PREFIX.as_bytes().to_vec();
    let (mut revision, mut all) = (0, Vec::new());
    loop {
        let options = GetOptions::new()
            .with_range(end.clone())
            .with_limit(PAGE)
            .with_revision(revision)
            .with_sort(SortTarget::Key, SortOrder::None);
        let mut page = kv.get(start.clone(), Some(options)).await.unwrap();
        revision = page.header().unwrap().revision();
        all.extend(page.take_kvs());
        if !page.more() {
            return all.len();
        }
        start = all.last().unwrap().key().to_vec();
        start.push(0);
    }
}

/// The same over the link: its failover, its words, no mirror.
async fn listed(client: &Client) -> usize {
    let prefix = Prefix::new(PREFIX).unwrap();
    let listing = client.list(&prefix, ListOptions::default()).await.unwrap();
    listing.entries.len()
}

async fn mirrored(client: &Client) -> usize {
    let (_mirror, mut events) = mirror(client);
    match events.recv().await.unwrap() {
        MirrorEvent::Listed { entries, .. } => entries.len(),
        other => panic!("{other:?}"),
    }
}

fn mirror(client: &Client) -> (Mirror, mpsc::Receiver<MirrorEvent>) {
    let prefix = Prefix::new(PREFIX).unwrap();
    Mirror::spawn(client.clone(), prefix, MirrorOptions::default())
}

async fn load(client: &Client, kv: &KvClient) {
    let (mut raw, mut lists, mut mirrors) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..LOADS {
        let begun = Instant::now();
        assert_eq!(raw_range(kv).await, INSTANCES);
        raw.push(begun.elapsed());
        let begun = Instant::now();
        assert_eq!(listed(client).await, INSTANCES);
        lists.push(begun.elapsed());
        let begun = Instant::now();
        assert_eq!(mirrored(client).await, INSTANCES);
        mirrors.push(begun.elapsed());
    }
    let (raw, list, mirror) = (median(&mut raw), median(&mut lists), median(&mut mirrors));
    let ratio = |time: Duration| time.as_secs_f64() / raw.as_secs_f64();
    println!("load of {INSTANCES} instances, medians of {LOADS}:");
    let ratios = [list, mirror].map(ratio);
    let [raw, list, mirror] = [raw, list, mirror].map(|time| time.as_millis());
    println!("  raw paged range (etcd-client)  {raw} ms");
    println!(
        "  list                           {list} ms  {:.2}x",
        ratios[0]
    );
    println!(
        "  mirror, until it is listed     {mirror} ms  {:.2}x (goal 1.2x)",
        ratios[1]
    );
}

/// The resident memory of this process, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// What mirrors keep beyond what they gave away: several, as the allocator keeps what was freed.
async fn memory(client: &Client) {
    const MIRRORS: u64 = 4;
    mirrored(client).await;
    let before = resident();
    let mut kept = Vec::new();
    for _ in 0..MIRRORS {
        let (mirror, mut events) = mirror(client);
        let MirrorEvent::Listed { entries, .. } = events.recv().await.unwrap() else {
            panic!("not listed");
        };
        // What a reader keeps is its own; here it keeps the keys alone.
        let keys: Vec<fleet::Key> = entries.into_iter().map(|entry| entry.key).collect();
        kept.push((mirror, events, keys));
    }
    let each = resident().saturating_sub(before) / MIRRORS;
    println!("memory of a mirror of {INSTANCES} instances, keys included: {each} KiB");
}

/// How long after a put was begun it is seen, over a watch of each kind in turn.
async fn seen(client: &Client, raw: &etcd_client::Client) {
    let (mut over_raw, mut over_mirror) = (Vec::new(), Vec::new());
    let mut kv = raw.kv_client();
    for round in 0..ROUNDS {
        let options = WatchOptions::new().with_prefix();
        let mut stream = raw
            .watch_client()
            .watch(PREFIX, Some(options))
            .await
            .unwrap();
        for put in 0..PUTS {
            let begun = Instant::now();
            kv.put(format!("{PREFIX}probe"), instance(put), None)
                .await
                .unwrap();
            while stream.message().await.unwrap().unwrap().events().is_empty() {}
            over_raw.push(begun.elapsed());
        }
        drop(stream);
        let (_mirror, mut events) = mirror(client);
        while !matches!(events.recv().await.unwrap(), MirrorEvent::Fresh { .. }) {}
        for put in 0..PUTS {
            let begun = Instant::now();
            kv.put(format!("{PREFIX}probe"), instance(put + round), None)
                .await
                .unwrap();
            while !matches!(events.recv().await.unwrap(), MirrorEvent::Changed { .. }) {}
            over_mirror.push(begun.elapsed());
        }
    }
    kv.delete(format!("{PREFIX}probe"), None).await.unwrap();
    println!("put to seen, {} puts each way:", over_raw.len());
    for (name, share) in [("p50", 50), ("p90", 90), ("p99", 99)] {
        let at = |times: &mut Vec<Duration>| {
            times.sort();
            times[times.len() * share / 100]
        };
        let (raw, mirror) = (at(&mut over_raw), at(&mut over_mirror));
        let ratio = mirror.as_secs_f64() / raw.as_secs_f64();
        println!("  {name}  raw watch {raw:.1?}, mirror {mirror:.1?}  {ratio:.2}x");
    }
}
