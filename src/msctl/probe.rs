//! Asks instances whether they serve, many at once and never for long: `grpc.health.v1` where gRPC
//! is spoken, `/healthz` over HTTP, a bare connection elsewhere.
//!
//! Connections are reused up to a limit, so that watching a fleet costs no handshakes and no more
//! descriptors than allowed. Knows nothing of etcd and keeps no history.

use std::collections::{HashMap, HashSet};
use std::error::Error as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fleet::{Endpoint, Health, InstanceRecord};
use futures::{Stream, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tonic::Code;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::settings::file::TlsFiles;

/// What one instance answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it serves, and if not, how not.
    pub health: Health,
    /// The evidence in a few words, safe to show; empty when there is nothing to add.
    pub detail: String,
    /// How long the answer took, without connecting.
    pub latency: Option<Duration>,
}

impl Verdict {
    fn of(health: Health, detail: impl AsRef<str>) -> Self {
        let detail = fleet::safe::escape(detail.as_ref()).into_owned();
        Self {
            health,
            detail,
            latency: None,
        }
    }

    /// No connection was to be had, and why.
    #[must_use]
    pub fn unreachable(why: &str) -> Self {
        Self::of(Health::Unreachable, why)
    }

    /// Nobody was asked, and why.
    #[must_use]
    pub fn not_asked(why: &str) -> Self {
        Self::of(Health::Unknown, why)
    }
}

/// Bounds of probing.
#[derive(Debug, Clone, Copy)]
pub struct ProbeOptions {
    /// How many are asked at once.
    pub concurrency: usize,
    /// How long a connection may take to come about.
    pub connect_timeout: Duration,
    /// How long an answer may take once connected.
    pub answer_timeout: Duration,
    /// How many connections are kept between two rounds.
    pub keep: usize,
}

impl Default for ProbeOptions {
    fn default() -> Self {
        Self {
            concurrency: 64,
            connect_timeout: Duration::from_secs(1),
            answer_timeout: Duration::from_secs(1),
            keep: 256,
        }
    }
}

/// Probes endpoints within its bounds. Clones share connections and bounds; dropping a probe's
/// future ends it, dropping the last clone closes the connections.
#[derive(Clone)]
pub struct Prober(Arc<Inner>);

struct Inner {
    options: ProbeOptions,
    tls: TlsFiles,
    slots: Semaphore,
    kept: Mutex<HashMap<Endpoint, Channel>>,
}

impl Prober {
    /// A prober within these bounds. Opens nothing yet.
    #[must_use]
    pub fn new(options: ProbeOptions) -> Self {
        Self::trusting(options, TlsFiles::default())
    }

    /// The same, with these files for endpoints that want TLS; they are read for each connection.
    #[must_use]
    pub fn trusting(options: ProbeOptions, tls: TlsFiles) -> Self {
        Self(Arc::new(Inner {
            options,
            tls,
            slots: Semaphore::new(options.concurrency.max(1)),
            kept: Mutex::default(),
        }))
    }

    /// Asks an instance at its best endpoint: gRPC, then HTTP, then any.
    pub async fn instance(&self, record: &InstanceRecord) -> Verdict {
        let endpoint = record
            .grpc()
            .or_else(|| record.endpoints.iter().find(|e| &*e.protocol == "http"))
            .or_else(|| record.endpoints.first());
        match endpoint {
            Some(endpoint) => self.endpoint(endpoint).await,
            None => Verdict::of(Health::Unknown, "it names no endpoint"),
        }
    }

    /// Asks many instances at once; answers come as they arrive, each with the tag it was given.
    pub fn instances<T, I>(&self, asked: I) -> impl Stream<Item = (T, Verdict)> + use<T, I>
    where
        I: IntoIterator<Item = (T, Arc<fleet::Instance>)>,
    {
        let prober = self.clone();
        futures::stream::iter(asked)
            .map(move |(tag, instance)| {
                let prober = prober.clone();
                async move { (tag, prober.instance(&instance.record).await) }
            })
            .buffer_unordered(self.0.options.concurrency.max(1))
    }

    /// Asks one endpoint, when its turn comes.
    pub async fn endpoint(&self, endpoint: &Endpoint) -> Verdict {
        let Ok(_slot) = self.0.slots.acquire().await else {
            return Verdict::not_asked("the prober is closed");
        };
        match &*endpoint.protocol {
            "grpc" => self.grpc(endpoint).await,
            "http" if !endpoint.secure => self.http(endpoint).await,
            _ => self.port(endpoint).await,
        }
    }

    /// Closes the connections to endpoints that are no longer wanted.
    pub fn retain(&self, wanted: &HashSet<Endpoint>) {
        self.kept().retain(|endpoint, _| wanted.contains(endpoint));
    }

    async fn grpc(&self, endpoint: &Endpoint) -> Verdict {
        let channel = match self.channel(endpoint).await {
            Ok(channel) => channel,
            Err(verdict) => return verdict,
        };
        let mut verdict = self.channel_health(&channel).await;
        if verdict.health == Health::Hung {
            verdict = self.silent(endpoint).await;
        }
        match verdict.health {
            Health::Hung | Health::Unreachable => {
                self.kept().remove(endpoint);
            }
            _ => self.keep(endpoint, channel),
        }
        verdict
    }

    /// Asks over a connection that is there already.
    pub async fn channel_health(&self, channel: &Channel) -> Verdict {
        let mut client = HealthClient::new(channel.clone()).max_decoding_message_size(64 * 1024);
        let started = Instant::now();
        let limit = self.0.options.answer_timeout;
        let asked = client.check(HealthCheckRequest {
            service: String::new(),
        });
        match tokio::time::timeout(limit, asked).await {
            Ok(Ok(answer)) => {
                let (health, detail) = match answer.into_inner().status() {
                    ServingStatus::Serving => (Health::Serving, ""),
                    ServingStatus::NotServing => (Health::NotServing, "it says NOT_SERVING"),
                    ServingStatus::Unknown => (Health::Unknown, "it says UNKNOWN"),
                    ServingStatus::ServiceUnknown => (Health::Unknown, "it says SERVICE_UNKNOWN"),
                };
                Verdict {
                    latency: Some(started.elapsed()),
                    ..Verdict::of(health, detail)
                }
            }
            Ok(Err(status)) => of_status(&status),
            Err(_) => Verdict::of(Health::Hung, format!("no answer within {limit:?}")),
        }
    }

    /// Nothing was answered. Whether the port still accepts tells a hung process from a lost host.
    async fn silent(&self, endpoint: &Endpoint) -> Verdict {
        match self.connect(endpoint).await {
            Ok(_) => Verdict::of(
                Health::Hung,
                format!("no answer within {:?}", self.0.options.answer_timeout),
            ),
            Err(verdict) => verdict,
        }
    }

    async fn http(&self, endpoint: &Endpoint) -> Verdict {
        let mut stream = match self.connect(endpoint).await {
            Ok(stream) => stream,
            Err(verdict) => return verdict,
        };
        let request = format!(
            "GET /healthz HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
            endpoint.address
        );
        let started = Instant::now();
        let asked = async {
            stream.write_all(request.as_bytes()).await?;
            let mut head = [0_u8; 12];
            stream.read_exact(&mut head).await?;
            Ok::<_, std::io::Error>(head)
        };
        match tokio::time::timeout(self.0.options.answer_timeout, asked).await {
            Ok(Ok(head)) => {
                let status = std::str::from_utf8(&head)
                    .ok()
                    .and_then(|head| head.strip_prefix("HTTP/1."))
                    .and_then(|rest| rest.get(2..))
                    .and_then(|code| code.parse::<u16>().ok());
                let verdict = match status {
                    Some(200..=299) => Verdict::of(Health::Serving, ""),
                    Some(503) => Verdict::of(Health::NotServing, "/healthz answers 503"),
                    Some(404) => Verdict::of(Health::Unknown, "it has no /healthz"),
                    Some(code) => Verdict::of(Health::Unknown, format!("/healthz answers {code}")),
                    None => Verdict::of(Health::Unknown, "what answers is not HTTP"),
                };
                Verdict {
                    latency: Some(started.elapsed()),
                    ..verdict
                }
            }
            Ok(Err(error)) => Verdict::of(
                Health::Unreachable,
                format!("the connection broke: {error}"),
            ),
            Err(_) => Verdict::of(
                Health::Hung,
                format!("no answer within {:?}", self.0.options.answer_timeout),
            ),
        }
    }

    async fn port(&self, endpoint: &Endpoint) -> Verdict {
        match self.connect(endpoint).await {
            Ok(_) => Verdict::of(
                Health::Unknown,
                format!(
                    "the port accepts; {} has no health check known here",
                    endpoint.protocol
                ),
            ),
            Err(verdict) => verdict,
        }
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<TcpStream, Verdict> {
        let limit = self.0.options.connect_timeout;
        match tokio::time::timeout(limit, TcpStream::connect(&*endpoint.address)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(Verdict::of(Health::Unreachable, reason(&error))),
            Err(_) => Err(Verdict::of(
                Health::Unreachable,
                format!("no connection within {limit:?}"),
            )),
        }
    }

    async fn channel(&self, endpoint: &Endpoint) -> Result<Channel, Verdict> {
        if let Some(channel) = self.kept().get(endpoint) {
            return Ok(channel.clone());
        }
        let unreachable = |why: String| Verdict::of(Health::Unreachable, why);
        let limit = self.0.options.connect_timeout;
        let mut target = reflect::Target::new(&*endpoint.address);
        if endpoint.secure {
            let tls = crate::invoke::server::tls_of(self.0.tls.clone()).await;
            // Ours, and no fault of the instance's.
            let tls = tls.map_err(|failure| Verdict::of(Health::Unknown, failure.message()));
            target.tls = Some(tls?);
        }
        target.connect_timeout = limit;
        // A peer that accepts and then stalls its handshake is hung, not unreachable.
        match tokio::time::timeout(limit + self.0.options.answer_timeout, target.connect()).await {
            Ok(Ok(connected)) => Ok(connected.channel),
            Ok(Err(reflect::Error::Connect { cause, .. })) => Err(unreachable(cause)),
            Ok(Err(error)) => Err(unreachable(error.to_string())),
            Err(_) => Err(self.silent(endpoint).await),
        }
    }

    fn keep(&self, endpoint: &Endpoint, channel: Channel) {
        let mut kept = self.kept();
        if kept.len() < self.0.options.keep {
            kept.entry(endpoint.clone()).or_insert(channel);
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<Endpoint, Channel>> {
        // Every change of the map is one call: a panic elsewhere leaves it whole.
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn of_status(status: &tonic::Status) -> Verdict {
    // A status with a source was made on this side, from what happened to the connection.
    if status.source().is_some() {
        return Verdict::of(Health::Unreachable, innermost(status));
    }
    match status.code() {
        Code::Unimplemented => Verdict::of(Health::Unknown, "it does not implement grpc.health.v1"),
        Code::Unavailable => Verdict::of(
            Health::NotServing,
            format!("it answers UNAVAILABLE: {}", status.message()),
        ),
        Code::DeadlineExceeded => Verdict::of(Health::Hung, "its health check timed out"),
        code => Verdict::of(
            Health::Unknown,
            format!("its health check answers {code:?}: {}", status.message()),
        ),
    }
}

fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    match innermost.downcast_ref::<std::io::Error>() {
        Some(error) => reason(error),
        None => innermost.to_string(),
    }
}

fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;
    use tokio_stream::wrappers::TcpListenerStream;
    use tonic::service::Routes;
    use tonic_health::ServingStatus as Says;

    async fn listener() -> (TcpListener, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        (listener, address)
    }

    /// A gRPC server whose health says this, or that has no health service.
    async fn serving(says: Option<Says>) -> String {
        let (listener, address) = listener().await;
        let (reporter, health) = tonic_health::server::health_reporter();
        let routes = match says {
            Some(says) => {
                reporter.set_service_status("", says).await;
                Routes::new(health)
            }
            None => Routes::default(),
        };
        let server = tonic::transport::Server::builder().add_routes(routes);
        tokio::spawn(async move {
            // Keeps what was reported.
            let _reporter = reporter;
            server
                .serve_with_incoming(TcpListenerStream::new(listener))
                .await
        });
        address
    }

    /// A server that answers every connection with these bytes.
    async fn answering(bytes: &'static [u8]) -> String {
        let (listener, address) = listener().await;
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(bytes).await;
            }
        });
        address
    }

    #[tokio::test]
    async fn each_way_to_answer_and_not_to_is_told_apart() {
        let (silent, silent_at) = listener().await;
        let (gone, refused_at) = listener().await;
        drop(gone);
        let prober = Prober::new(ProbeOptions {
            answer_timeout: Duration::from_millis(500),
            ..ProbeOptions::default()
        });
        for (url, health, detail) in [
            (
                format!("grpc://{}", serving(Some(Says::Serving)).await),
                Health::Serving,
                "",
            ),
            (
                format!("grpc://{}", serving(Some(Says::NotServing)).await),
                Health::NotServing,
                "NOT_SERVING",
            ),
            (
                format!("grpc://{}", serving(None).await),
                Health::Unknown,
                "does not implement",
            ),
            (
                format!("grpc://{silent_at}"),
                Health::Hung,
                "no answer within",
            ),
            (
                format!("grpc://{refused_at}"),
                Health::Unreachable,
                "connection refused",
            ),
            (
                format!("http://{}", answering(b"HTTP/1.1 200 OK\r\n\r\n").await),
                Health::Serving,
                "",
            ),
            (
                format!("http://{}", answering(b"HTTP/1.1 503 No\r\n\r\n").await),
                Health::NotServing,
                "503",
            ),
            (
                format!("http://{}", answering(b"HTTP/1.1 404 No\r\n\r\n").await),
                Health::Unknown,
                "no /healthz",
            ),
            (
                format!("http://{}", answering(b"SSH-2.0-OpenSSH").await),
                Health::Unknown,
                "not HTTP",
            ),
            (
                format!("http://{silent_at}"),
                Health::Hung,
                "no answer within",
            ),
            (
                format!("http://{refused_at}"),
                Health::Unreachable,
                "connection refused",
            ),
            (format!("thrift://{silent_at}"), Health::Unknown, "thrift"),
            (
                format!("thrift://{refused_at}"),
                Health::Unreachable,
                "connection refused",
            ),
        ] {
            let endpoint = Endpoint::parse(&url).unwrap();
            for round in ["first", "reused"] {
                let verdict = prober.endpoint(&endpoint).await;
                assert_eq!(verdict.health, health, "{url} {round} {verdict:?}");
                assert!(verdict.detail.contains(detail), "{url} {round} {verdict:?}");
            }
        }
        drop(silent);
    }

    #[tokio::test]
    async fn connections_are_kept_up_to_the_limit_and_only_while_wanted() {
        let prober = Prober::new(ProbeOptions {
            keep: 1,
            ..ProbeOptions::default()
        });
        let mut endpoints = Vec::new();
        for _ in 0..2 {
            let address = serving(Some(Says::Serving)).await;
            endpoints.push(Endpoint::parse(&format!("grpc://{address}")).unwrap());
        }
        for endpoint in &endpoints {
            assert_eq!(prober.endpoint(endpoint).await.health, Health::Serving);
        }
        assert_eq!(prober.kept().len(), 1);
        prober.retain(&HashSet::new());
        assert_eq!(prober.kept().len(), 0);
    }
}
