//! What keeps a [`Config`] current with etcd: one mirror of the global and the service's own keys,
//! and the cache on disk. One task, which ends when it is dropped. Each revision is one step; those
//! that have come meanwhile are shown together.

use std::sync::Arc;
use std::time::Duration;

use etcd::{Client, Mirror, MirrorEvent, MirrorOptions, Scope as Prefixes};
use fleet::Prefix;
use fleet::config::{Layer, Scope};
use metrics::gauge;
use tokio::time::{Instant, sleep, sleep_until};

use super::feed::Feed;
use super::state::{Edit, Edits};
use super::{Config, Standing, cache};
use crate::pace::Pace;
use crate::running::supervise;

/// How long the cache lags behind, so that a burst of changes is written once.
const CACHE_AFTER: Duration = Duration::from_millis(500);

/// So many revisions are shown together at most.
const TOGETHER: usize = 1_000;

/// Follows etcd until dropped.
pub(crate) async fn follow(config: Config, client: Client, prefix: Prefix) {
    // What is not followed must not pass for fresh.
    let failed = |cause: &str| {
        gauge!("platform_config_stale").set(1.0);
        let cause = format!("the loop that follows etcd ended by a fault: {cause}");
        let ended = |standing: &mut Standing| standing.stale = Some(cause);
        config.0.standing.send_modify(ended);
    };
    let begin = || keep(config.clone(), client.clone(), prefix.clone());
    supervise("config", failed, begin).await;
}

async fn keep(config: Config, client: Client, prefix: Prefix) {
    let own = Scope::Service(config.0.service.clone()).prefix(&prefix);
    let global = Scope::Global.prefix(&prefix);
    let scope = Prefixes::new(global.clone(), [own.clone()]);
    let (_mirror, mut events) = Mirror::spawn(client, scope, MirrorOptions::default());
    let mut feed = Feed::new(global, own);
    let mut named = config.0.instances.subscribe();
    let mut pace = Pace::new(std::time::Instant::now());
    let mut write_cache: Option<Instant> = None;
    let mut together: Vec<MirrorEvent> = Vec::new();
    loop {
        let due = async {
            match write_cache {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let flooded = pace.wait(std::time::Instant::now());
        let next = async {
            if !flooded.is_zero() {
                sleep(flooded).await;
            }
            // Cancelled while nothing has come, it has taken nothing.
            events.recv_many(&mut together, TOGETHER).await
        };
        tokio::select! {
            came = next => if came == 0 {
                return;
            },
            Ok(()) = named.changed() => {}
            () = due => {
                write_cache = None;
                store(&config).await;
                continue;
            }
        }
        let begun = std::time::Instant::now();
        let stepped = take_in(&config, &mut feed, together.drain(..));
        pace.spent(std::time::Instant::now(), begun.elapsed());
        if stepped && feed.heard() && config.0.cache.is_some() {
            write_cache.get_or_insert_with(|| Instant::now() + CACHE_AFTER);
        }
    }
}

/// Takes events in, and what this process is called now. Gives whether any of them was a step.
fn take_in(config: &Config, feed: &mut Feed, events: impl Iterator<Item = MirrorEvent>) -> bool {
    let us = config.0.instances.borrow().clone();
    let mut state = config.state();
    let mut done = super::Step::default();
    let mut stepped = false;
    for event in events {
        if let Some(edits) = feed.take(event, &state, &us) {
            done.refused.extend(state.take(edits).refused);
            stepped = true;
        }
    }
    if let Some(edits) = feed.named(&state, &us) {
        done.refused.extend(state.take(edits).refused);
    }
    if feed.heard() {
        let gone = forgotten(&state);
        if !gone.is_empty() {
            done.refused.extend(state.take(gone).refused);
        }
    }
    state.tell();
    config.publish(&state, &done, |standing| {
        let before = standing.stale.take();
        feed.stand(standing);
        gauge!("platform_config_revision").set(standing.applied.0 as f64);
        gauge!("platform_config_stale").set(if standing.stale.is_some() { 1.0 } else { 0.0 });
        match (&before, &standing.stale) {
            (None, Some(cause)) => tracing::warn!(%cause, "config may be old"),
            (Some(_), None) => tracing::info!(revision = standing.applied.0, "config is fresh"),
            _ => {}
        }
    });
    stepped
}

/// What the cache stood in for is known now. Keys whose values are refused keep their cached one:
/// it is the last good value.
fn forgotten(state: &super::State) -> Edits {
    let kept = |path: &Arc<str>| {
        let mut refused = state
            .refused(Layer::Global)
            .chain(state.refused(Layer::Service));
        refused.any(|refused| *refused == *path)
    };
    state
        .layers()
        .keys(Layer::Cache)
        .filter(|(path, _, _)| !kept(path))
        .map(|(path, _, _)| (Layer::Cache, path.clone(), Edit::Remove))
        .collect()
}

async fn store(config: &Config) {
    let Some(path) = config.0.cache.clone() else {
        return;
    };
    let service = config.0.service.to_string();
    let keys = cache::collect(config.state().layers());
    let written = tokio::task::spawn_blocking(move || cache::store(&path, &service, keys)).await;
    if let Ok(Err(error)) = written {
        tracing::warn!(%error, "the config cache cannot be written");
    }
}
