//! 100,000 keys: puts, ranges, pages, watch catch-up, and the way from a put to a watcher.
//! Prints figures of one run; there is no threshold, as machines differ.

use std::time::{Duration, Instant};

use etcd_client::{Client, GetOptions, WatchOptions};
use etcdlite::{Options, Server};
use futures::future::join_all;

const KEYS: usize = 100_000;
const VALUE: usize = 200;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(run())
}

fn say(what: &str, took: Duration) {
    #[allow(clippy::print_stdout)]
    {
        println!("{what:<58} {took:>12.2?}");
    }
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::bind("127.0.0.1:0".parse()?, Options::default()).await?;
    let addr = server.local_addr().ok_or("no address")?;
    let client = Client::connect([format!("http://{addr}")], None).await?;

    let start = Instant::now();
    let writers = (0..16).map(|writer| {
        let mut kv = client.kv_client();
        async move {
            let value = vec![b'v'; VALUE];
            for number in (writer..KEYS).step_by(16) {
                kv.put(
                    format!("/services/s{}/{number:06}", number % 100),
                    value.clone(),
                    None,
                )
                .await?;
            }
            Ok::<_, etcd_client::Error>(())
        }
    });
    for written in join_all(writers).await {
        written?;
    }
    let took = start.elapsed();
    say("100,000 puts of 200 bytes, 16 at a time", took);
    say("  each", took / u32::try_from(KEYS)?);

    let mut kv = client.kv_client().max_decoding_message_size(usize::MAX);
    for _ in 0..3 {
        let start = Instant::now();
        let answer = kv
            .get("/services/", Some(GetOptions::new().with_prefix()))
            .await?;
        assert_eq!(answer.kvs().len(), KEYS);
        say("the whole prefix in one range", start.elapsed());
    }
    let start = Instant::now();
    let (mut from, mut count) = (b"/services/".to_vec(), 0);
    loop {
        let options = GetOptions::new().with_range("/services0").with_limit(1_000);
        let answer = kv.get(from.clone(), Some(options)).await?;
        count += answer.kvs().len();
        let Some(last) = answer.kvs().last() else {
            break;
        };
        from = [last.key(), b"\0"].concat();
    }
    assert_eq!(count, KEYS);
    say("the whole prefix in pages of 1,000", start.elapsed());
    let start = Instant::now();
    let options = GetOptions::new().with_prefix().with_count_only();
    assert_eq!(
        kv.get("/services/", Some(options)).await?.count(),
        i64::try_from(KEYS)?
    );
    say("count of the whole prefix", start.elapsed());

    for (what, prefix, expected) in [
        ("watch catch-up over all of history", "/services/", KEYS),
        (
            "watch catch-up of one key in all of history",
            "/services/s7/000007",
            1,
        ),
        (
            "watch catch-up of 1,000 keys in all of history",
            "/services/s7/",
            1_000,
        ),
    ] {
        let start = Instant::now();
        let options = WatchOptions::new().with_prefix().with_start_revision(1);
        let mut stream = client
            .watch_client()
            .max_decoding_message_size(usize::MAX)
            .watch(prefix, Some(options))
            .await?;
        let mut seen = 0;
        while seen < expected {
            seen += stream
                .message()
                .await?
                .ok_or("the watch ended")?
                .events()
                .len();
        }
        say(what, start.elapsed());
    }

    let mut stream = client.watch_client().watch("/ping", None).await?;
    stream.message().await?;
    let mut took = Vec::new();
    for _ in 0..2_000 {
        let start = Instant::now();
        kv.put("/ping", "", None).await?;
        while stream
            .message()
            .await?
            .ok_or("the watch ended")?
            .events()
            .is_empty()
        {}
        took.push(start.elapsed());
    }
    took.sort();
    say("put to watcher, median", took[took.len() / 2]);
    say("put to watcher, 99 of 100", took[took.len() * 99 / 100]);
    server.shutdown().await;
    Ok(())
}
