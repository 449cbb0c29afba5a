//! The other instances of the same service: found through discovery, watched through their own API, and what
//! they tell is merged. So a record made on one is found on all, and outlives the one that made it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::{StreamExt as _, future::BoxFuture, stream::BoxStream};
use platform::{Channel, ChannelOptions, channel::Connector, discover::ServiceView};
use tokio::{sync::watch, time::sleep};
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;

use crate::store::{Record, Store};

/// Before a peer is watched again. Spread, so that peers that lost one at the same moment do not all come back
/// at the same moment: there are few of them, and this is a demo.
const AGAIN: Duration = Duration::from_millis(500);

/// Everything that one peer has and will have.
pub(crate) type Told<T> = BoxStream<'static, Result<T, Status>>;
/// Asks a peer for it.
pub(crate) type Ask<T> =
    Arc<dyn Fn(Channel) -> BoxFuture<'static, Result<Told<T>, Status>> + Send + Sync>;

/// Follows the peers of `me` for as long as the handle lives.
pub(crate) fn follow<T: Record>(
    mut view: watch::Receiver<Arc<ServiceView>>,
    me: String,
    store: Arc<Store<T>>,
    ask: Ask<T>,
    connector: Connector,
) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut followed: HashMap<String, AbortOnDropHandle<()>> = HashMap::new();
        loop {
            let peers = peers(&view.borrow_and_update(), &me, &connector);
            followed.retain(|peer, _| peers.iter().any(|(name, _)| name == peer));
            for (name, channel) in peers {
                followed.entry(name).or_insert_with(|| {
                    AbortOnDropHandle::new(tokio::spawn(watch_one(
                        channel(),
                        Arc::clone(&store),
                        Arc::clone(&ask),
                    )))
                });
            }
            if view.changed().await.is_err() {
                return;
            }
        }
    }))
}

/// Each peer by what tells it apart, and how to reach it.
fn peers(
    view: &ServiceView,
    me: &str,
    connector: &Connector,
) -> Vec<(String, impl FnOnce() -> Channel + use<>)> {
    let others = view
        .instances
        .iter()
        .filter(|instance| instance.record.id.as_str() != me);
    others
        .filter_map(|instance| {
            let endpoint = instance.record.grpc()?.clone();
            let service = view.service.to_string();
            // A peer that came back under its old name at another address is another one.
            let name = format!("{} {}", instance.record.id, endpoint.address);
            let options = ChannelOptions {
                connector: connector.clone(),
                ..ChannelOptions::default()
            };
            Some((name, move || Channel::fixed(service, [endpoint], options)))
        })
        .collect()
}

async fn watch_one<T: Record>(channel: Channel, store: Arc<Store<T>>, ask: Ask<T>) {
    loop {
        match ask(channel.clone()).await {
            Ok(mut told) => {
                while let Some(Ok(record)) = told.next().await {
                    store.merge(record);
                }
            }
            Err(status) => tracing::debug!(%status, "a peer cannot be watched"),
        }
        sleep(AGAIN).await;
    }
}

/// `token` as the peer asks for it, on a request to it.
pub(crate) fn with_token<R>(request: R, token: Option<&crate::Token>) -> tonic::Request<R> {
    let mut request = tonic::Request::new(request);
    if let Some(token) = token
        && let Ok(value) = format!("Bearer {}", token.0).parse()
    {
        request.metadata_mut().insert("authorization", value);
    }
    request
}
