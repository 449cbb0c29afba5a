//! Publishes the schema of a service's config under `/schema/<service>`. The invariants: it is
//! written without a lease, only when it differs, and guarded by what was read, so that of many
//! instances that start together one writes; nothing waits for it. An instance of another version
//! that comes later has the last word; one that runs already puts back only what is gone, as
//! after an etcd that was wiped.

use std::time::Duration;

use etcd::Client;
use etcd::backoff::Backoff;
use fleet::{Edit, Entry, Key, LeaseRule, Outcome, Plan, Seen, Write};
use metrics::counter;
use rand::Rng as _;
use serde_json::Value as Json;
use tokio::sync::watch;

use super::Standing;
use crate::running::supervise;

/// Instances that hear of a new etcd together ask it spread over this.
const SPREAD: Duration = Duration::from_secs(1);

/// What stands there may be replaced, or only its absence filled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Over {
    Different,
    Nothing,
}

/// Publishes until dropped.
pub(crate) async fn publish(
    client: Client,
    key: Key,
    schema: Json,
    standing: watch::Receiver<Standing>,
) {
    let begin = || keep(&client, &key, &schema, standing.clone());
    supervise("schema", |_| {}, begin).await;
}

async fn keep(client: &Client, key: &Key, schema: &Json, mut standing: watch::Receiver<Standing>) {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));
    let mut over = Over::Different;
    let mut said: Option<String> = None;
    loop {
        let fresh = standing.wait_for(|standing| standing.stale.is_none());
        let Ok(proved) = fresh.await.map(|standing| standing.proved) else {
            return gone().await;
        };
        if over == Over::Nothing {
            let wait = rand::rng().random_range(Duration::ZERO..SPREAD);
            tokio::time::sleep(wait).await;
        }
        match attempt(client, key, schema, over).await {
            Ok(()) => {
                backoff.reset();
                said = None;
                over = Over::Nothing;
                // Only an etcd that was away, or that went back in time, may have lost it.
                let doubtful =
                    |standing: &Standing| standing.stale.is_some() || standing.proved < proved;
                if standing.wait_for(doubtful).await.is_err() {
                    return gone().await;
                }
            }
            Err(cause) => {
                counter!("platform_schema_failures_total").increment(1);
                if said.as_ref() != Some(&cause) {
                    tracing::warn!(%key, %cause, "the config's schema is not published; trying on");
                    said = Some(cause);
                }
                backoff.wait().await;
            }
        }
    }
}

/// The config is gone, and with it whoever ends this.
async fn gone() {
    std::future::pending::<()>().await;
}

async fn attempt(client: &Client, key: &Key, schema: &Json, over: Over) -> Result<(), String> {
    let (found, _) = client.get(key).await.map_err(|error| error.to_string())?;
    if let Some(entry) = &found
        && (over == Over::Nothing || same(entry, schema))
    {
        return Ok(());
    }
    let edit = Edit {
        key: key.clone(),
        seen: Seen::from(found),
        write: Write::Put {
            value: schema.to_string().into_bytes().into(),
            lease: LeaseRule::None,
        },
    };
    let plan = Plan::new([edit]).map_err(|error| error.to_string())?;
    match client.commit(&plan).await {
        Ok(Outcome::Applied { revision }) => {
            tracing::info!(%key, revision = revision.0, "the config's schema is published");
            counter!("platform_schema_published_total").increment(1);
            Ok(())
        }
        // Another instance came first. If its schema is another version's, the later start wins.
        Ok(Outcome::Refused { .. }) => Ok(()),
        Ok(Outcome::Unknown { cause }) => Err(cause),
        Err(error) => Err(error.to_string()),
    }
}

/// By meaning: the order of members is none.
fn same(entry: &Entry, schema: &Json) -> bool {
    entry.lease.is_none()
        && serde_json::from_slice::<Json>(&entry.value).is_ok_and(|found| found == *schema)
}
