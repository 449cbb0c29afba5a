//! A bound, registered process and its orderly end. The order of a drain is the invariant: health
//! says NotServing, the record goes, the news spreads, GOAWAY, what runs finishes, stop; each step
//! is bounded, and a second signal ends it at once.

use std::future::Future;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use etcd::{Client, Gate, LeaseKeeper, LeaseOptions};
use fleet::{Edit, Endpoint, InstanceId, InstanceRecord, LeaseId, Outcome, Plan, Seen};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::lease::Share;
use super::{Inner, Platform};
use crate::error::Error;
use crate::register::{Registration, RegistrationState};
use crate::server::{Handle, Server, ServerError, Service};
use crate::status::Reporter;

/// How long etcd may take to be told that the instance is gone; its lease runs out otherwise.
const GOODBYE: Duration = Duration::from_secs(2);

/// How long the collector may take for the last spans; they are lost otherwise.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// See the module. Dropping it cuts every connection and leaves the record to its lease.
#[derive(Debug)]
pub struct Serving {
    platform: Platform,
    id: InstanceId,
    server: Server,
    registered: Option<Registered>,
}

#[derive(Debug)]
struct Registered {
    registration: Registration,
    reporter: AbortOnDropHandle<()>,
    lease: Share,
}

impl Serving {
    pub(super) async fn bind(platform: Platform, service: Service) -> Result<Serving, Error> {
        let inner = &platform.0;
        let server =
            Server::bind(inner.listen.clone(), service)
                .await
                .map_err(|error| match error {
                    ServerError::Bind { addr, source } => Error::Listen {
                        address: addr,
                        cause: source,
                    },
                    other => Error::Serve {
                        service: inner.service.to_string(),
                        cause: other.to_string(),
                    },
                })?;
        let address = server.local_addr();
        let id = match &inner.id {
            Some(id) => id.clone(),
            None => usual_id(address.port())?,
        };
        let registered = match &inner.client {
            None => None,
            Some(client) => {
                let keep = || {
                    let gate = Gate::Watched(inner.liveness.gate());
                    let options = LeaseOptions {
                        regrant_spread: inner.fleet.leases(),
                        ..LeaseOptions::new(inner.times.lease)
                    };
                    LeaseKeeper::spawn(client.clone(), options, gate)
                };
                let lease = inner.lease.share(&id, keep).ok_or_else(|| Error::Serve {
                    service: inner.service.to_string(),
                    cause: format!("this process serves as {id} already. Bind once, or let each port have a name of its own by leaving instance_id() out"),
                })?;
                let protocols = if server.is_secure() {
                    ["grpcs", "https"]
                } else {
                    ["grpc", "http"]
                };
                Some((client, lease, protocols))
            }
        };
        inner.config.name_instance(id.clone());
        server.handle().ready();
        tracing::info!(service = %inner.service, instance = %id, %address, "serving");
        let registered = registered.map(|(client, lease, protocols)| {
            let record = record(inner, &id, address, client, protocols);
            let registration = Registration::spawn(
                client.clone(),
                lease.state(),
                inner.prefixes.instance(&inner.service, &id),
                record,
                inner.fleet.clone(),
            );
            let reporter = Reporter {
                client: client.clone(),
                key: inner.prefixes.instance_status(&inner.service, &id),
                services: inner.prefixes.services.clone(),
                fleet: inner.fleet.clone(),
                standing: inner.config.standing(),
                alive: inner.liveness.state(),
                registration: registration.state(),
            };
            Registered {
                registration,
                reporter: AbortOnDropHandle::new(tokio::spawn(reporter.run())),
                lease,
            }
        });
        Ok(Serving {
            platform,
            id,
            server,
            registered,
        })
    }

    /// The address it listens on, with the port that the system chose.
    pub fn local_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// The name it registers under.
    pub fn instance_id(&self) -> &InstanceId {
        &self.id
    }

    /// Where the registration stands, live; `None` without etcd.
    pub fn registration(&self) -> Option<watch::Receiver<RegistrationState>> {
        self.registered.as_ref().map(|one| one.registration.state())
    }

    /// Steers the server.
    pub fn handle(&self) -> Handle {
        self.server.handle()
    }

    /// Runs until SIGTERM or ctrl-c, then drains; a second signal stops at once.
    ///
    /// # Errors
    /// [`Error::System`] when signals cannot be listened for.
    pub async fn run(self) -> Result<(), Error> {
        let (signals, _listener) = signals()?;
        let (mut first, mut second) = (signals.clone(), signals);
        let at_least = |count: u32| move |signals: &u32| *signals >= count;
        self.run_until(
            async move {
                first
                    .wait_for(at_least(1))
                    .await
                    .map(drop)
                    .unwrap_or_default();
            },
            async move {
                second
                    .wait_for(at_least(2))
                    .await
                    .map(drop)
                    .unwrap_or_default();
            },
        )
        .await;
        Ok(())
    }

    /// Runs until `leave`, then drains; `stop_now` ends the drain at once, and the process's life
    /// even before it.
    pub async fn run_until(
        self,
        leave: impl Future<Output = ()>,
        stop_now: impl Future<Output = ()>,
    ) {
        let handle = self.server.handle();
        let life = async {
            leave.await;
            self.drain().await;
        };
        tokio::select! {
            () = life => {}
            () = stop_now => {
                tracing::warn!("stopping at once");
                handle.stop();
            }
        }
    }

    async fn drain(self) {
        let Serving {
            platform,
            id,
            server,
            registered,
        } = self;
        let handle = server.handle();
        let times = platform.0.times;
        tracing::info!(instance = %id, in_flight = handle.in_flight(), "draining");
        handle.not_serving();
        if let Some(Registered {
            registration,
            reporter,
            lease,
        }) = registered
        {
            let held = lease.state().borrow().id();
            // First the tasks that would put the keys again, then the keys.
            drop(registration);
            drop(reporter);
            let gone = match lease.leave() {
                Some(keeper) => keeper
                    .revoke(GOODBYE)
                    .await
                    .map_err(|error| error.to_string()),
                // Other ports of this process hang on the lease.
                None => withdraw(&platform, &id, held).await,
            };
            match gone {
                Ok(()) => tracing::info!(instance = %id, "deregistered"),
                Err(error) => {
                    tracing::warn!(instance = %id, %error, "not deregistered; the lease runs out by itself");
                }
            }
            // Callers that have not heard yet still find the port open.
            tokio::time::sleep(times.spread).await;
        }
        let drained = handle.shutdown(times.drain).await;
        if drained.cut_off > 0 {
            tracing::warn!(
                cut_off = drained.cut_off,
                "calls that did not finish in time were cut off"
            );
        }
        if let Some(telemetry) = &platform.0.telemetry {
            telemetry.shutdown(LAST_SPANS).await;
        }
        tracing::info!(instance = %id, "stopped");
    }
}

/// What the registry is to say of an instance that answers at this address.
fn record(
    inner: &Inner,
    id: &InstanceId,
    address: SocketAddr,
    client: &Client,
    protocols: [&str; 2],
) -> InstanceRecord {
    let mut record = InstanceRecord::new(inner.service.clone(), id.clone());
    record.version.clone_from(&inner.version);
    record.endpoints = if inner.advertise.is_empty() {
        let place = reachable(address, &client.settings().endpoints);
        protocols
            .iter()
            .filter_map(|protocol| Endpoint::parse(&format!("{protocol}://{place}")).ok())
            .collect()
    } else {
        inner.advertise.clone()
    };
    record.weight = inner.weight;
    record.metadata.clone_from(&inner.metadata);
    record.started_at = Some(inner.started_at);
    record
}

/// Takes an instance's own keys away, where they hang on this lease.
async fn withdraw(
    platform: &Platform,
    id: &InstanceId,
    lease: Option<LeaseId>,
) -> Result<(), String> {
    let inner = &platform.0;
    let Some(client) = &inner.client else {
        return Ok(());
    };
    let keys = [
        inner.prefixes.instance(&inner.service, id),
        inner.prefixes.instance_status(&inner.service, id),
    ];
    let all = async {
        for key in keys {
            let (found, _) = client.get(&key).await.map_err(|error| error.to_string())?;
            let Some(found) = found.filter(|found| found.lease == lease) else {
                continue;
            };
            let plan = Plan::new([Edit::delete(key, Seen::At(found))])
                .map_err(|error| error.to_string())?;
            match client.commit(&plan).await {
                Ok(Outcome::Applied { .. } | Outcome::Refused { .. }) => {}
                Ok(Outcome::Unknown { cause }) => return Err(cause),
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(())
    };
    tokio::time::timeout(GOODBYE, all)
        .await
        .unwrap_or_else(|_| Err(format!("etcd did not answer within {GOODBYE:?}")))
}

/// Counts SIGTERM and ctrl-c from now on.
fn signals() -> Result<(watch::Receiver<u32>, AbortOnDropHandle<()>), Error> {
    let (count, counted) = watch::channel(0);
    #[cfg(unix)]
    let listener = {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| {
            signal(kind).map_err(|cause| Error::System {
                what: "listening for signals",
                cause,
            })
        };
        let (mut terminate, mut interrupt) = (
            listen(SignalKind::terminate())?,
            listen(SignalKind::interrupt())?,
        );
        async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                count.send_modify(|count| *count += 1);
            }
        }
    };
    #[cfg(not(unix))]
    let listener = async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            count.send_modify(|count| *count += 1);
        }
    };
    Ok((counted, AbortOnDropHandle::new(tokio::spawn(listener))))
}

/// `<host>-<port>`: the same after a restart on the same port. A host that is no name gives a name
/// by chance.
fn usual_id(port: u16) -> Result<InstanceId, Error> {
    if let Some(id) = hostname().and_then(|host| InstanceId::new(format!("{host}-{port}")).ok()) {
        return Ok(id);
    }
    InstanceId::new(uuid::Uuid::new_v4().to_string()).map_err(|cause| Error::Name {
        what: "the instance id",
        cause,
    })
}

fn hostname() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| std::env::var("HOSTNAME").ok())?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// The address others reach us at: what is bound, or, where that is "all addresses", the one that
/// faces etcd. No packet is sent to find it.
fn reachable(bound: SocketAddr, etcd: &[String]) -> String {
    if !bound.ip().is_unspecified() {
        return bound.to_string();
    }
    let facing = etcd.iter().find_map(|endpoint| {
        let peer: SocketAddr = endpoint
            .rsplit("//")
            .next()?
            .trim_end_matches('/')
            .parse()
            .ok()?;
        let any: IpAddr = if peer.is_ipv4() {
            [0, 0, 0, 0].into()
        } else {
            [0u16; 8].into()
        };
        let socket = UdpSocket::bind((any, 0)).ok()?;
        socket.connect(peer).ok()?;
        Some(socket.local_addr().ok()?.ip())
    });
    match (facing, hostname()) {
        (Some(ip), _) => SocketAddr::new(ip, bound.port()).to_string(),
        (None, Some(host)) => format!("{host}:{}", bound.port()),
        (None, None) => SocketAddr::new([127, 0, 0, 1].into(), bound.port()).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_bound_is_advertised_unless_it_is_all_addresses() {
        let bound: SocketAddr = "127.0.0.1:9000".parse().unwrap();
        assert_eq!(reachable(bound, &[]), "127.0.0.1:9000");
        let all: SocketAddr = "0.0.0.0:9000".parse().unwrap();
        assert_eq!(
            reachable(all, &["http://127.0.0.1:2379".into()]),
            "127.0.0.1:9000"
        );
        assert!(reachable(all, &["etcd.example:2379".into()]).ends_with(":9000"));
    }

    #[test]
    fn the_usual_id_is_the_same_after_a_restart_on_the_same_port() {
        if hostname().is_some_and(|host| InstanceId::new(host).is_ok()) {
            assert_eq!(usual_id(9000).unwrap(), usual_id(9000).unwrap());
        }
        assert_ne!(usual_id(9000).unwrap(), usual_id(9001).unwrap());
    }
}
