//! A server to call: one named by its address, or an instance of a registered service that serves.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use fleet::{Health, Instance, ServiceName};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tonic::Code;
use tonic::transport::Channel;

use crate::probe::{ProbeOptions, Prober, Verdict};
use crate::report::{Failure, Kind};
use crate::settings::file::TlsFiles;

/// How many instances are tried at the same time.
const AT_ONCE: usize = 3;

/// How long a server has to show whether it speaks TLS.
const HELLO: Duration = Duration::from_secs(2);

/// How servers are reached.
#[derive(Debug, Clone)]
pub struct Reach {
    /// TLS to a server named by its address; instances say themselves whether they want it.
    pub tls: Option<reflect::Tls>,
    /// For instances that want it, where `tls` is not given.
    pub service_tls: TlsFiles,
    /// The `:authority` to send instead of the address.
    pub authority: Option<String>,
    /// For name resolution, TCP and TLS together.
    pub connect_timeout: Duration,
}

impl Default for Reach {
    fn default() -> Self {
        Self {
            tls: None,
            service_tls: TlsFiles::default(),
            authority: None,
            connect_timeout: Duration::from_secs(2),
        }
    }
}

/// A server that was connected to.
#[derive(Debug, Clone)]
pub struct Server {
    /// `host:port`.
    pub address: String,
    /// Everything that decides who answers there: address, TLS, authority.
    pub means: String,
    /// The instance it is, when it was found by its service.
    pub instance: Option<Arc<Instance>>,
    /// The connection.
    pub channel: Channel,
    /// How long connecting took.
    pub connected_in: Duration,
}

/// TLS from files.
///
/// # Errors
/// When a file cannot be read, or a certificate comes without its key.
pub fn tls(files: &TlsFiles) -> Result<reflect::Tls, Failure> {
    let read = files.read()?;
    Ok(reflect::Tls {
        ca: read.ca,
        identity: read.identity,
        server_name: read.server_name,
    })
}

/// The same, beside the runtime: the disk may be slow.
///
/// # Errors
/// As [`tls`].
pub async fn tls_of(files: TlsFiles) -> Result<reflect::Tls, Failure> {
    let read = tokio::task::spawn_blocking(move || tls(&files)).await;
    read.unwrap_or_else(|error| Err(Failure::failed(error.to_string())))
}

/// Connects to a server by its address.
///
/// # Errors
/// Kind `Grpc(14)`, UNAVAILABLE, when there is no connection to be had.
pub async fn connect(address: &str, reach: &Reach) -> Result<Server, Failure> {
    let target = reflect::Target {
        tls: reach.tls.clone(),
        authority: reach.authority.clone(),
        connect_timeout: reach.connect_timeout,
        ..reflect::Target::new(address)
    };
    let connected = target.connect().await.map_err(|error| match error {
        reflect::Error::Target { .. } => {
            Failure::usage(error.to_string()).next("Write an address like 127.0.0.1:9000.")
        }
        error => unavailable(error.to_string())
            .next("See whether the server runs and the port is right."),
    })?;
    let secure = reach.tls.as_ref().map_or("plain", |_| "tls");
    let name = reach
        .tls
        .as_ref()
        .and_then(|tls| tls.server_name.as_deref());
    Ok(Server {
        means: format!("{address} {secure} {name:?} {:?}", reach.authority),
        address: address.to_owned(),
        instance: None,
        channel: connected.channel,
        connected_in: connected.took,
    })
}

/// Connects to one instance, whatever its health.
///
/// # Errors
/// When it has no gRPC endpoint, or no connection is to be had.
pub async fn connect_instance(instance: &Arc<Instance>, reach: &Reach) -> Result<Server, Failure> {
    let endpoint = instance
        .record
        .grpc()
        .ok_or_else(|| Failure::failed(format!("{} has no gRPC endpoint", instance.record.id)))?;
    let mut reach = reach.clone();
    if endpoint.secure && reach.tls.is_none() {
        reach.tls = Some(tls_of(reach.service_tls.clone()).await?);
    }
    let mut server = connect(&endpoint.address, &reach).await?;
    server.instance = Some(Arc::clone(instance));
    Ok(server)
}

/// Connects to an instance that serves: a few are asked at once, in random order, and the first
/// that says so is taken. One without health checks will do, one that is hung or drains will not.
///
/// # Errors
/// Kind `Grpc(14)` with what each instance said.
pub async fn connect_any(
    service: &ServiceName,
    instances: &[Arc<Instance>],
    reach: &Reach,
) -> Result<Server, Failure> {
    let nothing = |_| std::future::ready(());
    let (server, ()) = connect_any_and(service, instances, reach, &nothing).await?;
    Ok(server)
}

/// The same, with something else asked of each server beside its health; the answer of the one
/// that is taken is given, the others' questions end.
///
/// # Errors
/// As [`connect_any`].
pub async fn connect_any_and<T, F: Future<Output = T>>(
    service: &ServiceName,
    instances: &[Arc<Instance>],
    reach: &Reach,
    also: &impl Fn(Server) -> F,
) -> Result<(Server, T), Failure> {
    let mut candidates: Vec<&Arc<Instance>> = instances
        .iter()
        .filter(|instance| instance.record.grpc().is_some())
        .collect();
    if candidates.is_empty() {
        return Err(
            Failure::failed(format!("no instance of {service} has a gRPC endpoint"))
                .next("It may speak HTTP alone; see 'msctl services'."),
        );
    }
    // Who was drained by hand is called when there is nobody else.
    let drained = |instance: &&Arc<Instance>| fleet::drain::is_drained(&instance.record);
    if !candidates.iter().all(drained) {
        candidates.retain(|instance| !drained(instance));
    }
    // A fresh state hashes with fresh keys: an order that differs each time.
    let random = RandomState::new();
    candidates.sort_by_cached_key(|instance| random.hash_one(instance.key.as_bytes()));
    let prober = Prober::new(ProbeOptions {
        connect_timeout: reach.connect_timeout,
        ..ProbeOptions::default()
    });
    let ask = |instance: &Arc<Instance>| {
        let (prober, instance, reach) = (prober.clone(), Arc::clone(instance), reach.clone());
        async move {
            let verdict = match connect_instance(&instance, &reach).await {
                Ok(server) => {
                    let health = prober.channel_health(&server.channel);
                    let (verdict, also) = beside(health, also(server.clone())).await;
                    match also {
                        Some(also) => return Ok((server, also)),
                        None => verdict,
                    }
                }
                Err(failure) => Verdict::unreachable(failure.message()),
            };
            Err((instance, verdict))
        }
    };
    let mut waiting = candidates.into_iter();
    let mut asked: FuturesUnordered<_> = waiting.by_ref().take(AT_ONCE).map(ask).collect();
    let mut reasons = Vec::new();
    while let Some(answer) = asked.next().await {
        match answer {
            Ok(taken) => return Ok(taken),
            Err((instance, verdict)) => {
                let detail = match verdict.detail.as_str() {
                    "" => String::new(),
                    detail => format!(" ({detail})"),
                };
                reasons.push(format!("{} {}{detail}", instance.record.id, verdict.health));
            }
        }
        asked.extend(waiting.next().map(ask));
    }
    reasons.sort();
    reasons.truncate(5);
    Err(unavailable(format!(
        "no instance of {service} serves: {}",
        reasons.join("; ")
    ))
    .next("--instance ID calls one anyway."))
}

/// Health, and what is asked beside it: waited for only where the server may be called.
async fn beside<T>(
    health: impl Future<Output = Verdict>,
    also: impl Future<Output = T>,
) -> (Verdict, Option<T>) {
    let mut health = std::pin::pin!(health);
    let mut also = std::pin::pin!(also);
    let mut early = None;
    let verdict = loop {
        tokio::select! {
            verdict = &mut health => break verdict,
            answer = &mut also, if early.is_none() => early = Some(answer),
        }
    };
    if !matches!(verdict.health, Health::Serving | Health::Unknown) {
        return (verdict, None);
    }
    let answer = match early {
        Some(answer) => answer,
        None => also.await,
    };
    (verdict, Some(answer))
}

/// What a plain call to a server that speaks TLS ends with depends on timing, and none of it says so.
/// Where that is what was wrong the failure is another one, always the same.
pub async fn explained(failure: Failure, address: Option<&str>, is_plain: bool) -> Failure {
    let broken =
        [Code::Unknown, Code::Internal, Code::Unavailable].map(|code| Kind::Grpc(code as i32));
    let doubtful = broken.contains(&failure.kind()) || failure.kind() == Kind::Failed;
    match address {
        Some(address)
            if is_plain && doubtful && reflect::call::speaks_tls(address, HELLO).await =>
        {
            let code = Code::Unavailable as i32;
            let cause = "the server speaks TLS: add --tls";
            unavailable(format!("{address}: {cause}")).with_status(code, cause)
        }
        _ => failure,
    }
}

pub(crate) fn unavailable(message: String) -> Failure {
    Failure::new(Kind::Grpc(Code::Unavailable as i32), message)
}
