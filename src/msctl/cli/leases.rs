//! `msctl leases`: leases with the time they have left and the keys they take with them.

use std::collections::BTreeMap;
use std::time::Duration;

use etcd::{LeaseInfo, LeaseKeys};
use fleet::LeaseId;
use futures::StreamExt;
use serde_json::{Value as Json, json};

use crate::report::{Cell, Failure, Report, Table, Tone};
use crate::session::Session;

/// Each is one request to the leader of the cluster.
const AT_ONCE: usize = 64;

/// Leases send no events: they are asked for anew this often.
const INTERVAL: Duration = Duration::from_secs(1);

/// Show leases with their time to live and their keys.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  msctl leases
  msctl leases -o json | jq '.[] | select(.ttl < 3)'
  msctl leases --watch                       granted, renewed, expired: one JSON document each")]
pub struct Leases {
    /// Follow: write one JSON document for each change
    #[arg(long)]
    watch: bool,
}

impl Leases {
    /// Shows or follows.
    ///
    /// # Errors
    /// When etcd cannot be read.
    pub async fn run(&self, session: &Session, report: &mut Report) -> Result<(), Failure> {
        if self.watch {
            return watch(session, report).await;
        }
        let leases = read(session).await?;
        if report.is_table() {
            if leases.is_empty() {
                report.note("no leases");
                return Ok(());
            }
            let mut table = Table::new(&["LEASE", ">TTL", ">GRANTED", ">KEYS", "KEY"]);
            for lease in leases.values() {
                table.push(cells(lease));
            }
            return report.table(&table);
        }
        report.list(leases.values().map(document), Table::new(&[]), |_| {
            Vec::new()
        })
    }
}

async fn read(session: &Session) -> Result<BTreeMap<LeaseId, LeaseInfo>, Failure> {
    let client = session.client();
    let ids = client
        .leases()
        .await
        .map_err(|error| session.failure(&error))?;
    let mut answers = futures::stream::iter(ids)
        .map(|id| async move { (id, client.lease_ttl(id, LeaseKeys::Listed).await) })
        .buffer_unordered(AT_ONCE);
    let mut leases = BTreeMap::new();
    while let Some((id, answer)) = answers.next().await {
        match answer {
            Ok(info) => {
                leases.insert(id, info);
            }
            // It ended since the ids were listed.
            Err(etcd::Error::LeaseNotFound { .. }) => {}
            Err(error) => return Err(session.failure(&error)),
        }
    }
    Ok(leases)
}

async fn watch(session: &Session, report: &mut Report) -> Result<(), Failure> {
    let mut held: BTreeMap<LeaseId, LeaseInfo> = read(session).await?;
    for lease in held.values() {
        report.event(&told("present", lease))?;
    }
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut stale = false;
    loop {
        ticks.tick().await;
        let now = match read(session).await {
            Ok(now) => now,
            Err(failure) => {
                if !stale {
                    stale = true;
                    report.event(&json!({ "change": "stale", "cause": failure.message() }))?;
                }
                continue;
            }
        };
        if stale {
            stale = false;
            report.event(&json!({ "change": "fresh" }))?;
        }
        for (id, lease) in &now {
            match held.get(id) {
                None => report.event(&told("granted", lease))?,
                Some(before) if before.keys != lease.keys => report.event(&told("keys", lease))?,
                Some(before) if lease.ttl > before.ttl => report.event(&told("renewed", lease))?,
                Some(_) => {}
            }
        }
        for (_, gone) in held.iter().filter(|(id, _)| !now.contains_key(id)) {
            report.event(&told("ended", gone))?;
        }
        held = now;
    }
}

fn keys(lease: &LeaseInfo) -> Vec<String> {
    let text = |key: &fleet::Key| key.as_str().map_or_else(|| key.to_string(), str::to_owned);
    lease.keys.iter().map(text).collect()
}

fn document(lease: &LeaseInfo) -> Json {
    json!({
        "id": lease.id.to_string(),
        "granted": lease.granted,
        "ttl": lease.ttl,
        "keys": keys(lease),
    })
}

fn told(change: &str, lease: &LeaseInfo) -> Json {
    let mut told = json!({ "change": change });
    if let (Json::Object(told), Json::Object(lease)) = (&mut told, document(lease)) {
        told.extend(lease);
    }
    told
}

fn cells(lease: &LeaseInfo) -> Vec<Cell> {
    const SHOWN: usize = 3;
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
