//! What the stories share: waiting for conditions, and a platform on a given etcd.

use std::future::Future;
use std::time::{Duration, Instant};

use etcd::{Client, Settings};
use fleet::{Entry, Key};
use platform::platform::Builder;
use platform::{Channel, Platform};
use tonic::{Request, Response, Status};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

/// The longest that anything is waited for: far longer than it takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `found` gives something.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut found: impl FnMut() -> F,
) -> T {
    let begun = Instant::now();
    loop {
        if let Some(it) = found().await {
            return it;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "not within {PATIENCE:?}: {what}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until a condition holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    eventually(what, || std::future::ready(holds().then_some(()))).await;
}

/// A builder that touches nothing of the machine's own.
pub(crate) fn builder(service: &str, etcd: &str) -> Builder {
    Platform::builder(service)
        .etcd([etcd])
        .environment([])
        .no_config_cache()
        .lease_ttl(Duration::from_secs(2))
        .drain_spread(Duration::from_millis(50))
}

pub(crate) fn client(endpoint: &str) -> Client {
    Client::new(Settings::new([endpoint])).unwrap()
}

pub(crate) async fn get(client: &Client, key: &str) -> Option<Entry> {
    client.get(&Key::from(key)).await.unwrap().0
}

/// Waits until a key is there and `wanted` of it.
pub(crate) async fn entry(client: &Client, key: &str, wanted: impl Fn(&Entry) -> bool) -> Entry {
    eventually(key, || async {
        client
            .get(&Key::from(key))
            .await
            .ok()?
            .0
            .filter(|entry| wanted(entry))
    })
    .await
}

pub(crate) async fn gone(client: &Client, key: &str) {
    eventually(&format!("{key} gone"), || async {
        let found = client.get(&Key::from(key)).await.ok()?.0;
        found.is_none().then_some(())
    })
    .await;
}

/// One call.
pub(crate) async fn check(channel: &Channel) -> Result<Response<HealthCheckResponse>, Status> {
    HealthClient::new(channel.clone())
        .check(HealthCheckRequest::default())
        .await
}

/// One call that can be told from others.
pub(crate) async fn check_named(
    channel: &Channel,
) -> Result<Response<HealthCheckResponse>, Status> {
    let service = "named".into();
    HealthClient::new(channel.clone())
        .check(HealthCheckRequest { service })
        .await
}

/// One call that may take so long.
pub(crate) async fn check_within(
    channel: &Channel,
    timeout: Duration,
) -> Result<Response<HealthCheckResponse>, Status> {
    let mut request = Request::new(HealthCheckRequest::default());
    request.set_timeout(timeout);
    HealthClient::new(channel.clone()).check(request).await
}
