//! A call over our channel beside a bare tonic channel to the same server, the slowest calls with one
//! slow endpoint of ten beside plain round robin, and the choice of an endpoint under contention.
//! Rounds of both sides alternate, and the figures are ratios: what else the machine does hits both.

#![allow(clippy::print_stdout, reason = "figures are what a benchmark is for")]

use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fleet::Endpoint;
use platform::channel::breaker::{Admission, Breaker, Policy, Role, Verdict};
use platform::channel::pick::{Candidate, Load, Picked, pick};
use platform::{Channel, ChannelOptions};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// How long one round of one side lasts, and how many there are of each.
const ROUND: Duration = Duration::from_millis(700);
const ROUNDS: usize = 7;

struct Api {
    wait: Duration,
}

#[tonic::async_trait]
impl Health for Api {
    async fn check(
        &self,
        _request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if !self.wait.is_zero() {
            tokio::time::sleep(self.wait).await;
        }
        Ok(Response::new(HealthCheckResponse { status: 1 }))
    }

    type WatchStream = tokio_stream::Pending<Result<HealthCheckResponse, Status>>;

    async fn watch(
        &self,
        _request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Ok(Response::new(tokio_stream::pending()))
    }
}

async fn serve(wait: Duration) -> Outcome<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = Server::builder()
        .tcp_nodelay(true)
        .add_service(HealthServer::new(Api { wait }))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);
    Ok(address)
}

async fn bare(address: SocketAddr) -> Outcome<HealthClient<tonic::transport::Channel>> {
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}"))?;
    Ok(HealthClient::new(
        endpoint.tcp_nodelay(true).connect().await?,
    ))
}

async fn balanced(addresses: &[SocketAddr]) -> Outcome<HealthClient<Channel>> {
    let endpoints = addresses
        .iter()
        .map(|address| Endpoint::parse(&format!("grpc://{address}")));
    let endpoints = endpoints.collect::<Result<Vec<_>, _>>()?;
    let channel = Channel::fixed("bench", endpoints, ChannelOptions::default());
    channel.ready(Duration::from_secs(30)).await?;
    Ok(HealthClient::new(channel))
}

/// What one round came to.
struct Round {
    per_second: f64,
    /// Of this process, server and client together, in microseconds.
    cpu_per_call: f64,
}

/// The time that the threads of this process were on a core.
fn cpu() -> Duration {
    let threads = fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    let spent = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(spent.sum())
}

/// Calls from so many tasks, each waiting for its answer before the next call.
async fn round<C, F>(callers: usize, call: C) -> Outcome<Round>
where
    C: Fn() -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), Status>> + Send,
{
    let done = Arc::new(AtomicU64::new(0));
    let (begun, spent) = (Instant::now(), cpu());
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let (call, done) = (call.clone(), done.clone());
            tokio::spawn(async move {
                while begun.elapsed() < ROUND {
                    call().await?;
                    done.fetch_add(1, Ordering::Relaxed);
                }
                Ok::<_, Status>(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    let calls = done.load(Ordering::Relaxed) as f64;
    Ok(Round {
        per_second: calls / begun.elapsed().as_secs_f64(),
        cpu_per_call: (cpu() - spent).as_secs_f64() * 1e6 / calls,
    })
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

fn request() -> HealthCheckRequest {
    HealthCheckRequest::default()
}

async fn overhead() -> Outcome<()> {
    let address = serve(Duration::ZERO).await?;
    let (plain, ours) = (bare(address).await?, balanced(&[address]).await?);
    println!("balanced call over bare tonic, medians of {ROUNDS} rounds of each");
    println!("| callers | tonic/s | ours/s | ratio | tonic CPU µs | ours CPU µs | ratio |");
    for callers in [1, 32, 256] {
        let (mut rates, mut costs) = ([vec![], vec![]], [vec![], vec![]]);
        for _ in 0..ROUNDS {
            let client = plain.clone();
            let one = round(callers, move || {
                let mut client = client.clone();
                async move { client.check(request()).await.map(drop) }
            })
            .await?;
            let client = ours.clone();
            let other = round(callers, move || {
                let mut client = client.clone();
                async move { client.check(request()).await.map(drop) }
            })
            .await?;
            for (side, round) in [one, other].into_iter().enumerate() {
                rates[side].push(round.per_second);
                costs[side].push(round.cpu_per_call);
            }
        }
        let [plain, ours] = rates.map(median);
        let [plain_cost, our_cost] = costs.map(median);
        println!(
            "| {callers} | {plain:.0} | {ours:.0} | {:.3} | {plain_cost:.1} | {our_cost:.1} | {:.3} |",
            plain / ours,
            our_cost / plain_cost
        );
    }
    Ok(())
}

/// The 99th percentile of calls from a few tasks, in milliseconds.
async fn p99<C, F>(call: C) -> Outcome<f64>
where
    C: Fn() -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), Status>> + Send,
{
    const CALLERS: usize = 8;
    let begun = Instant::now();
    let tasks: Vec<_> = (0..CALLERS)
        .map(|_| {
            let call = call.clone();
            tokio::spawn(async move {
                let mut times = Vec::new();
                while begun.elapsed() < 4 * ROUND {
                    let sent = Instant::now();
                    call().await?;
                    times.push(sent.elapsed().as_secs_f64() * 1e3);
                }
                Ok::<_, Status>(times)
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await??);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() * 99 / 100])
}

async fn with_a_slow_one() -> Outcome<()> {
    let mut addresses = Vec::new();
    for _ in 0..9 {
        addresses.push(serve(Duration::ZERO).await?);
    }
    let tenth = serve(Duration::ZERO).await?;
    let slow = serve(Duration::from_millis(100)).await?;
    println!("p99 of 8 callers over ten endpoints, ms, medians of three");
    println!("| | ten alike | one slow by 100 ms | ratio |");
    let (mut ours, mut turns) = ([vec![], vec![]], [vec![], vec![]]);
    for _ in 0..3 {
        for (side, last) in [tenth, slow].into_iter().enumerate() {
            let mut all = addresses.clone();
            all.push(last);
            let client = balanced(&all).await?;
            // Each endpoint is met once before it is known.
            for _ in 0..200 {
                client.clone().check(request()).await?;
            }
            let call = move || {
                let mut client = client.clone();
                async move { client.check(request()).await.map(drop) }
            };
            ours[side].push(p99(call).await?);
            let mut clients = Vec::new();
            for address in all {
                clients.push(bare(address).await?);
            }
            let (clients, turn) = (Arc::new(clients), Arc::new(AtomicUsize::new(0)));
            let call = move || {
                let turn = turn.fetch_add(1, Ordering::Relaxed);
                let mut client = clients[turn % clients.len()].clone();
                async move { client.check(request()).await.map(drop) }
            };
            turns[side].push(p99(call).await?);
        }
    }
    for (name, figures) in [("ours", ours), ("round robin", turns)] {
        let [alike, slow] = figures.map(median);
        println!("| {name} | {alike:.2} | {slow:.2} | {:.2} |", slow / alike);
    }
    Ok(())
}

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

/// Nanoseconds for choosing among ten and reporting the call's end, with so many threads at it.
fn choice(threads: usize) -> f64 {
    const TIMES: u64 = 2_000_000;
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
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                for _ in 0..TIMES {
                    let begun = now();
                    let Some(Picked::Ordinary(index)) = pick(&peers, begun, rand::random()) else {
                        continue;
                    };
                    let peer = black_box(&peers[index]);
                    peer.load.begin();
                    let over = now();
                    peer.load.measure(over, over - begun);
                    peer.breaker
                        .report(over, Role::Ordinary, Verdict::Success, 0.5);
                    peer.load.end();
                }
                // Threads that are gone are in no account.
                SPENT.fetch_add(own_cpu(), Ordering::Relaxed);
            });
        }
    });
    SPENT.swap(0, Ordering::Relaxed) as f64 / (TIMES * threads as u64) as f64
}

static SPENT: AtomicU64 = AtomicU64::new(0);

/// Nanoseconds that this thread was on a core.
fn own_cpu() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ')
        .next()
        .and_then(|first| first.parse().ok())
        .unwrap_or(0)
}

fn main() -> Outcome<()> {
    // Given by `cargo bench`, and of no use here.
    if std::env::args().any(|argument| argument == "--list") {
        return Ok(());
    }
    println!("pick, measure and breaker among ten, CPU ns per call");
    for threads in [1, 2, 4] {
        println!("| {threads} threads | {:.0} |", choice(threads));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        overhead().await?;
        with_a_slow_one().await
    })
}
