//! How long a service takes from nothing to its first answer, whatever etcd does: there, absent,
//! refusing, or swallowing every packet. Prints figures of one run; machines differ.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark that cannot go on says so"
)]

use std::time::{Duration, Instant};

use platform::{Channel, ChannelOptions, Platform, Service};
use tests::proxy::{Mode, Proxy};
use tests::realetcd::RealEtcd;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

const TIMES: usize = 20;

async fn once(etcd: Option<&str>) -> Duration {
    let begun = Instant::now();
    let platform = Platform::builder("order")
        .etcd(etcd)
        .environment([])
        .no_config_cache()
        .default("timeout.write", "1s")
        .start()
        .await
        .unwrap();
    let serving = platform.bind(Service::new()).await.unwrap();
    let endpoint = fleet::Endpoint::parse(&format!("grpc://{}", serving.local_addr())).unwrap();
    let channel = Channel::fixed("order", [endpoint], ChannelOptions::default());
    let mut health = HealthClient::new(channel);
    health.check(HealthCheckRequest::default()).await.unwrap();
    begun.elapsed()
}

async fn measure(what: &str, etcd: Option<&str>) {
    let mut took = Vec::new();
    for _ in 0..TIMES {
        took.push(once(etcd).await);
    }
    took.sort();
    let (median, slowest) = (took[TIMES / 2], took[TIMES - 1]);
    println!(
        "start to first answer, etcd {what:<12} median {median:>8.1?}, slowest {slowest:>8.1?}"
    );
}

#[tokio::main]
async fn main() {
    let etcd = RealEtcd::start().await;
    let hole = Proxy::start_in(etcd.address(), Mode::BlackHole).await;
    measure("none", None).await;
    measure("there", Some(&etcd.endpoint())).await;
    measure("refusing", Some("127.0.0.1:1")).await;
    measure("black-holed", Some(&hole.endpoint())).await;
}
