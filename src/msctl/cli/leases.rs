//! `msctl leases`: leases with the time they have left and the keys they take with them.
//!
//! A lease's time is a request to the leader for each: how many are asked is bounded, and between
//! two answers the time runs by our own clock.

mod revoke;
mod watch;

use std::collections::BTreeMap;

use etcd::{LeaseInfo, LeaseKeys};
use fleet::LeaseId;
use futures::StreamExt;
use serde_json::{Value as Json, json};

use super::services::When;
use super::services::gather::chosen;
use crate::report::{Cell, Failure, Report, Table, Tone};
use crate::session::Session;

/// Each is one request to the leader of the cluster.
const AT_ONCE: usize = 64;

/// Show leases with their time to live and their keys.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "\
Examples:
  msctl leases
  msctl leases -o json | jq '.[] | select(.ttl < 3)'
  msctl leases --watch                       granted, renewed, ended: one JSON document each
  msctl leases --watch --ttl never           granted and ended alone, whatever their number
  msctl leases revoke 3f1c                   the lease ends, its keys are deleted",
    args_conflicts_with_subcommands = true
)]
pub struct Leases {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Follow: write one JSON document for each change
    #[arg(long)]
    watch: bool,
    /// Whether to ask for the time and the keys of each; auto asks for up to 1,000, and while
    /// following for 64 a second
    #[arg(
        long,
        value_enum,
        value_name = "WHEN",
        num_args = 0..=1,
        default_value = "auto",
        default_missing_value = "always"
    )]
    ttl: When,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// End a lease: its keys are deleted
    Revoke(revoke::Revoke),
}

impl Leases {
    /// Shows, follows or revokes.
    ///
    /// # Errors
    /// When etcd cannot be read, or not be written.
    pub async fn run(&self, session: &Session, report: &mut Report) -> Result<(), Failure> {
        if let Some(Verb::Revoke(verb)) = &self.verb {
            return verb.run(session, report).await;
        }
        if self.watch {
            return watch::run(session, self.ttl, report).await;
        }
        let ids = ids(session).await?;
        let (asked, left_out) = chosen(self.ttl, ids.len(), "leases for their time", "--ttl");
        if let Some(sentence) = left_out {
            report.warn(&sentence);
        }
        let known = ask(session, &ids[..asked]).await?;
        let leases: Vec<Known> = ids
            .into_iter()
            // One that was asked for and is not known ended meanwhile.
            .filter(|id| asked == 0 || known.contains_key(id))
            .map(|id| Known(id, known.get(&id).cloned()))
            .collect();
        if report.is_table() {
            if leases.is_empty() {
                report.note("no leases");
                return Ok(());
            }
            let mut table = Table::new(&["LEASE", ">TTL", ">GRANTED", ">KEYS", "KEY"]);
            for lease in &leases {
                table.push(lease.cells());
            }
            return report.table(&table);
        }
        report.list(leases.iter().map(Known::document), Table::new(&[]), |_| {
            Vec::new()
        })
    }
}

/// A lease, and what is known of it beyond its id.
struct Known(LeaseId, Option<LeaseInfo>);

async fn ids(session: &Session) -> Result<Vec<LeaseId>, Failure> {
    let mut ids = session
        .client()
        .leases()
        .await
        .map_err(|error| session.failure(&error))?;
    ids.sort_unstable();
    Ok(ids)
}

/// Time and keys of these leases; one that ended since they were listed is left out.
async fn ask(session: &Session, ids: &[LeaseId]) -> Result<BTreeMap<LeaseId, LeaseInfo>, Failure> {
    let client = session.client();
    let mut answers = futures::stream::iter(ids.to_vec())
        .map(|id| async move { (id, client.lease_ttl(id, LeaseKeys::Listed).await) })
        .buffer_unordered(AT_ONCE);
    let mut leases = BTreeMap::new();
    while let Some((id, answer)) = answers.next().await {
        match answer {
            Ok(info) => {
                leases.insert(id, in_order(info));
            }
            Err(etcd::Error::LeaseNotFound { .. }) => {}
            Err(error) => return Err(session.failure(&error)),
        }
    }
    Ok(leases)
}

/// etcd gives the keys of a lease in another order each time.
fn in_order(mut lease: LeaseInfo) -> LeaseInfo {
    lease.keys.sort_unstable();
    lease
}

fn keys(lease: &LeaseInfo) -> Vec<String> {
    let text = |key: &fleet::Key| key.as_str().map_or_else(|| key.to_string(), str::to_owned);
    lease.keys.iter().map(text).collect()
}

impl Known {
    fn document(&self) -> Json {
        match &self.1 {
            Some(lease) => document(lease),
            None => json!({ "id": self.0.to_string(), "granted": null, "ttl": null, "keys": null }),
        }
    }

    fn cells(&self) -> Vec<Cell> {
        const SHOWN: usize = 3;
        let Some(lease) = &self.1 else {
            let unknown = || Cell::new("?", Tone::Dim);
            return vec![
                self.0.to_string().into(),
                unknown(),
                unknown(),
                unknown(),
                Cell::default(),
            ];
        };
        let mut keys = keys(lease);
        let count = keys.len();
        keys.truncate(SHOWN);
        if count > SHOWN {
            keys.push(format!("and {} more", count - SHOWN));
        }
        let ttl = match lease.ttl {
            None => Cell::new("expired", Tone::Bad),
            Some(ttl) if ttl * 4 < lease.granted => Cell::new(format!("{ttl}s"), Tone::Warn),
            Some(ttl) => format!("{ttl}s").into(),
        };
        vec![
            lease.id.to_string().into(),
            ttl,
            format!("{}s", lease.granted).into(),
            count.to_string().into(),
            keys.join(", ").into(),
        ]
    }
}

fn document(lease: &LeaseInfo) -> Json {
    json!({
        "id": lease.id.to_string(),
        "granted": lease.granted,
        "ttl": lease.ttl,
        "keys": keys(lease),
    })
}
