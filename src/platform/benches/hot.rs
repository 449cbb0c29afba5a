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
    let directory = tempfile::tempdir();
    let Ok(directory) = directory else { return };
    let file = directory.path().join("config.yaml");
    let write =
        |number: u64| std::fs::write(&file, format!("timeout: {{write: {number}ms}}\nname: a\n"));
    if write(1).is_err() {
        return;
    }
    let platform = runtime.block_on(async {
        // Nobody answers there: the file is followed all the same.
        Platform::builder("order")
            .etcd(["127.0.0.1:1"])
            .environment([])
            .no_config_cache()
            .config_file(&file)
            .start()
            .await
    });
    let Ok(platform) = platform else { return };
    let config = platform.config();
    let (Ok(live), Ok(name)) = (
        config.live::<Duration>("timeout.write"),
        config.live::<String>("name"),
    ) else {
        return;
    };
    let over = Arc::new(AtomicBool::new(false));
    let updates = {
        let (over, file) = (over.clone(), file.clone());
        std::thread::spawn(move || {
            let mut number = 1;
            while !over.load(Ordering::Relaxed) {
                number += 1;
                // Values differ in length, so that each look at the file finds a change.
                let text = format!("timeout: {{write: {}ms}}\nname: a\n", 10u64.pow(number % 6));
                let _ = std::fs::write(&file, text);
                std::thread::sleep(Duration::from_millis(900));
            }
        })
    };
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
    over.store(true, Ordering::Relaxed);
    let _ = updates.join();
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
