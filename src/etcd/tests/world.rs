//! A server, a proxy in front of it, a client through the proxy and one beside it.

use std::net::SocketAddr;
use std::time::Duration;

use etcd::{Client, LeaseKeys, Settings};
use fleet::{Edit, Key, LeaseId, LeaseRule, Outcome, Plan, Prefix, Revision, Seen, Write};
use tests::proxy::Proxy;
use tests::realetcd::{RealEtcd, etcdctl};

/// How long anything may take before a case fails: long, as the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

pub(crate) enum Server {
    Real(RealEtcd),
    Lite(Option<etcdlite::Server>, SocketAddr),
}

pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) proxy: Proxy,
    /// The client under test, through the proxy.
    pub(crate) client: Client,
    /// Beside the proxy: it always gets through.
    pub(crate) direct: Client,
}

pub(crate) fn client(endpoints: &[String]) -> Client {
    Client::new(Settings::new(endpoints.iter().cloned())).unwrap()
}

/// A client that waits as long as a test does.
pub(crate) fn patient(endpoints: &[String]) -> Client {
    let mut settings = Settings::new(endpoints.iter().cloned());
    settings.request_timeout = PATIENCE;
    Client::new(settings).unwrap()
}

pub(crate) fn prefix(text: &str) -> Prefix {
    Prefix::new(text).unwrap()
}

async fn lite(address: SocketAddr) -> etcdlite::Server {
    let begun = std::time::Instant::now();
    loop {
        match etcdlite::Server::bind(address, etcdlite::Options::default()).await {
            Ok(server) => return server,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl World {
    pub(crate) async fn real() -> Self {
        Self::before(Server::Real(RealEtcd::start().await)).await
    }

    pub(crate) async fn lite() -> Self {
        let server = lite(([127, 0, 0, 1], 0).into()).await;
        let address = server.local_addr().unwrap();
        Self::before(Server::Lite(Some(server), address)).await
    }

    async fn before(server: Server) -> Self {
        let address = match &server {
            Server::Real(etcd) => etcd.address(),
            Server::Lite(_, address) => *address,
        };
        let proxy = Proxy::start(address).await;
        Self {
            client: client(&[proxy.endpoint()]),
            direct: patient(&[address.to_string()]),
            server,
            proxy,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        match &self.server {
            Server::Real(etcd) => etcd.address(),
            Server::Lite(_, address) => *address,
        }
    }

    /// Replaces the server by one without data, at the same address.
    pub(crate) async fn wipe(&mut self) {
        match &mut self.server {
            Server::Real(etcd) => etcd.wipe().await,
            Server::Lite(server, address) => {
                if let Some(server) = server.take() {
                    server.shutdown().await;
                }
                *server = Some(lite(*address).await);
            }
        }
        // An attempt to connect that began while nobody listened may still be under way.
        until("the new store answers", async || {
            self.direct.get(&Key::from("/")).await.is_ok()
        })
        .await;
    }

    pub(crate) async fn put(&self, key: &str, value: &str) -> Revision {
        put(&self.direct, key, value, LeaseRule::None).await
    }

    pub(crate) async fn delete(&self, key: &str) -> Revision {
        let key = Key::from(key);
        let (found, _) = self.direct.get(&key).await.unwrap();
        let edit = Edit::delete(key, found.into());
        applied(&self.direct, [edit]).await
    }

    pub(crate) async fn compact(&self) {
        let (_, revision) = self.direct.get(&Key::from("/")).await.unwrap();
        let endpoints = [self.address().to_string()];
        etcdctl(&endpoints, &["compact", &revision.to_string()]).await;
    }
}

/// Puts whatever stands there.
pub(crate) async fn put(client: &Client, key: &str, value: &str, lease: LeaseRule) -> Revision {
    let key = Key::from(key);
    let (found, _) = client.get(&key).await.unwrap();
    let write = Write::Put {
        value: value.as_bytes().into(),
        lease,
    };
    let edit = Edit {
        key,
        seen: found.into(),
        write,
    };
    applied(client, [edit]).await
}

/// Writes edits that nobody contends.
pub(crate) async fn applied(client: &Client, edits: impl IntoIterator<Item = Edit>) -> Revision {
    let plan = Plan::new(edits).unwrap();
    match client.commit(&plan).await.unwrap() {
        Outcome::Applied { revision } => revision,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn create(key: &str, value: &str) -> Edit {
    Edit::put(key.into(), Seen::Absent, value.as_bytes())
}

pub(crate) async fn keys_of(client: &Client, lease: LeaseId) -> Vec<Key> {
    client
        .lease_ttl(lease, LeaseKeys::Listed)
        .await
        .unwrap()
        .keys
}

/// Waits until a condition holds, and fails naming it when it does not come about.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < PATIENCE, "never came about: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How many calls of a method etcd has begun.
pub(crate) async fn begun(etcd: &RealEtcd, method: &str) -> u64 {
    let metrics = etcd.http("/metrics").await.unwrap_or_default();
    metrics
        .lines()
        .filter(|line| line.starts_with("grpc_server_started_total"))
        .filter(|line| line.contains(&format!("grpc_method=\"{method}\"")))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}
