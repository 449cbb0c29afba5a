//! What a service pays on every request: reading config, and choosing an endpoint. The pick is
//! measured with its breaker and its bookkeeping, from choosing to the end of the call.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use platform::Platform;
use platform::channel::breaker::{Admission, Breaker, Policy, Role, Verdict};
use platform::channel::pick::{Candidate, Load, Picked, pick};

struct Peer {
    load: Load,
    breaker: Breaker,
}

impl Candidate for Peer {
    fn admission(&self, now: u64) -> Admission {
        self.breaker.admission(now)
    }
    fn claim_probe(&self, now: u64) -> bool {
        self.breaker.claim(now)
    }
    fn cost(&self, now: u64) -> f64 {
        self.load.cost(now)
    }
}

fn config(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    let Ok(runtime) = runtime else { return };
    let over = Arc::new(AtomicBool::new(false));
    let Some((endpoint, updating)) = updates(over.clone()) else {
        return;
    };
    let platform = runtime.block_on(async {
        let platform = Platform::builder("order")
            .etcd([endpoint])
            .environment([])
            .no_config_cache()
            .default("timeout.write", "1ms")
            .default("name", "a")
            .start()
            .await
            .ok()?;
        // Measured is what goes on while changes come in, so they have to come.
        let mut standing = platform.config().standing();
        let first = standing.wait_for(|standing| standing.service.0 > 10);
        first.await.ok()?;
        Some(platform)
    });
    let Some(platform) = platform else { return };
    let config = platform.config();
    let (Ok(live), Ok(name)) = (
        config.live::<Duration>("timeout.write"),
        config.live::<String>("name"),
    ) else {
        return;
    };
    let taken = || config.standing().borrow().service.0;
    let (begun, before) = (Instant::now(), taken());
    let mut group = c.benchmark_group("config under updates");
    group.bench_function("live.get()", |b| {
        b.iter(|| black_box(&live).get());
    });
    group.bench_function("live.get() of a text", |b| {
        b.iter(|| black_box(&name).get());
    });
    group.bench_function("config.duration(key)", |b| {
        b.iter(|| config.duration(black_box("timeout.write")).ok());
    });
    group.finish();
    let rate = (taken() - before) as f64 / begun.elapsed().as_secs_f64();
    #[allow(clippy::print_stdout, reason = "a figure")]
    {
        println!("meanwhile {rate:.0} changes a second were taken in");
    }
    over.store(true, Ordering::Relaxed);
    let _ = updating.join();
}

/// An etcd with a thread that writes two keys in a tight loop until it is over.
fn updates(over: Arc<AtomicBool>) -> Option<(String, std::thread::JoinHandle<()>)> {
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            let any = ([127, 0, 0, 1], 0).into();
            let Ok(server) = etcdlite::Server::bind(any, etcdlite::Options::default()).await else {
                return;
            };
            let Some(endpoint) = server.local_addr().map(|at| at.to_string()) else {
                return;
            };
            let Ok(mut raw) = etcd_client::Client::connect([&*endpoint], None).await else {
                return;
            };
            let _ = tell.send(endpoint);
            let mut number = 0u64;
            while !over.load(Ordering::Relaxed) {
                number += 1;
                let timeout = format!("{}ms", number % 1_000 + 1);
                let _ = raw.put("/config/order/timeout.write", timeout, None).await;
                let name = format!("name-{number}");
                let _ = raw.put("/config/order/name", name, None).await;
            }
        });
    });
    Some((told.recv().ok()?, thread))
}

fn choice(c: &mut Criterion) {
    let epoch = Instant::now();
    let now = || epoch.elapsed().as_nanos() as u64;
    let peers: Vec<Peer> = (0..10)
        .map(|number| {
            let load = Load::new(100);
            load.measure(now(), 1_000_000 + number * 10_000);
            Peer {
                load,
                breaker: Breaker::new(Policy::default()),
            }
        })
        .collect();
    let mut group = c.benchmark_group("among 10 endpoints");
    group.bench_function("pick", |b| {
        b.iter(|| pick(&peers, now(), rand::random()));
    });
    group.bench_function("pick, measure, breaker", |b| {
        b.iter(|| {
            let begun = now();
            if let Some(Picked::Ordinary(index)) = pick(&peers, begun, rand::random()) {
                let peer = &peers[index];
                peer.load.begin();
                let over = now();
                peer.load.measure(over, over - begun);
                peer.breaker
                    .report(over, Role::Ordinary, Verdict::Success, 0.5);
                peer.load.end();
            }
        });
    });
    group.finish();
}

criterion_group!(benches, config, choice);
criterion_main!(benches);
