//! Calls over a channel while its endpoints die, drain, fail, hang and come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fleet::{Format, Instance, InstanceId, InstanceRecord, Revision, ServiceName};
use platform::discover::{Knowledge, ServiceView};
use platform::{Channel, ChannelOptions};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::peer::Peer;
use crate::world::{check, until};

mod balance;
mod breaker;
mod deadline;
mod health;
mod loss;
mod repeat;
mod tls;

const CHECK: &str = "/grpc.health.v1.Health/Check";

fn options() -> ChannelOptions {
    ChannelOptions::default()
}

fn channel(peers: &[&Peer], options: ChannelOptions) -> Channel {
    Channel::fixed("user", peers.iter().map(|peer| peer.endpoint()), options)
}

async fn ready(channel: &Channel) {
    channel.ready(Duration::from_secs(30)).await.unwrap();
}

/// Waits until each of these takes calls.
async fn all_called(channel: &Channel, peers: &[Peer]) {
    until("all are called", || {
        peers.iter().all(|peer| peer.calls() > 0)
    })
    .await_with(channel, &mut 0)
    .await;
}

/// Calls without pause from several tasks; counts what failed.
struct Load {
    over: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<Vec<tonic::Status>>>,
}

const CALLERS: usize = 8;

impl Load {
    fn start(channel: &Channel) -> Load {
        let over = Arc::new(AtomicBool::new(false));
        let done = Arc::new(AtomicU64::new(0));
        let tasks = (0..CALLERS).map(|_| {
            let (channel, over, done) = (channel.clone(), over.clone(), done.clone());
            tokio::spawn(async move {
                let mut failed = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    if let Err(status) = check(&channel).await {
                        failed.push(status);
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                }
                failed
            })
        });
        Load {
            tasks: tasks.collect(),
            over,
            done,
        }
    }

    async fn calls(&self, more: u64) {
        let from = self.done.load(Ordering::Relaxed);
        until("calls to be made", || {
            self.done.load(Ordering::Relaxed) >= from + more
        })
        .await;
    }

    async fn end(self) -> Vec<tonic::Status> {
        self.over.store(true, Ordering::Relaxed);
        let mut failed = Vec::new();
        for task in self.tasks {
            failed.extend(task.await.unwrap());
        }
        failed
    }
}

/// Lets a condition wait while calls are made.
trait AwaitWith: Future<Output = ()> + Sized {
    async fn await_with(self, channel: &Channel, failed: &mut u32) {
        let calls = async {
            loop {
                *failed += u32::from(check(channel).await.is_err());
            }
        };
        tokio::select! {
            () = self => {}
            () = calls => {}
        }
    }
}

impl<F: Future<Output = ()>> AwaitWith for F {}

async fn watch_health(channel: &Channel) -> tonic::Streaming<HealthCheckResponse> {
    let mut client = HealthClient::new(channel.clone());
    let answer = client.watch(HealthCheckRequest::default()).await;
    answer.unwrap().into_inner()
}

fn view(peers: &[(&str, &Peer)]) -> Arc<ServiceView> {
    let service = ServiceName::new("user").unwrap();
    let instances = peers.iter().enumerate().map(|(number, (zone, peer))| {
        let id = InstanceId::new(format!("u-{number}")).unwrap();
        let mut record = InstanceRecord::new(service.clone(), id);
        record.endpoints = vec![peer.endpoint()];
        record.metadata.insert("zone".into(), (*zone).into());
        Arc::new(Instance {
            key: format!("/services/user/u-{number}").into(),
            record,
            lease: None,
            mod_revision: Revision(1),
            create_revision: Revision(1),
            format: Format::Native,
        })
    });
    let instances = instances.collect();
    let knowledge = Knowledge::Fresh {
        revision: Revision(1),
    };
    Arc::new(ServiceView {
        service,
        instances,
        quarantined: 0,
        knowledge,
    })
}
