//! Stopping a process for longer than its lease lives, and what must hold after it goes on: what a
//! laptop's lid does to a service.

use std::time::{Duration, Instant};

use etcd::Client;
use fleet::status::StatusRecord;
use fleet::{Edit, Plan};

use crate::citizen::Citizen;
use crate::fleet::eventually;
use crate::idle::Idle;

const KEY: &str = "/services/lone/l-1";
const STATUS: &str = "/status/lone/l-1";
const NUMBER: &str = "/config/lone/number";

/// As in a fleet: connections made anew.
const SPARE_TASKS: usize = 8;

async fn put(client: &Client, number: u64) {
    let (found, _) = client.get(&NUMBER.into()).await.unwrap();
    let edit = Edit::put(NUMBER.into(), found.into(), number.to_string().into_bytes());
    client.commit(&Plan::new([edit]).unwrap()).await.unwrap();
}

/// Waits until the process has this number and says so to everybody.
async fn joined(client: &Client, citizen: &Citizen, number: u64, more_than: usize) {
    eventually("the process has joined", async || {
        let told = citizen.told();
        let record = client.get(&KEY.into()).await.ok()?.0?;
        let status = client.get(&STATUS.into()).await.ok()?.0?;
        let config = client.get(&NUMBER.into()).await.ok()?.0?;
        let report = StatusRecord::from_json(&status.value).ok()?;
        let holds = told.lines > more_than
            && told.number == number
            && !told.stale
            && record.lease.is_some()
            && record.lease == status.lease
            && report.revision >= config.mod_revision.0
            && client.leases().await.ok()?.len() == 1;
        holds.then_some(())
    })
    .await;
}

/// Stops the process until its registration has run out, and for at least so long.
pub(crate) async fn stop_and_continue(
    client: &Client,
    citizen: &Citizen,
    least: Duration,
) -> String {
    put(client, 1).await;
    joined(client, citizen, 1, 0).await;
    let before = citizen.told();
    citizen.signal("STOP");
    let stopped = Instant::now();
    eventually("the registration runs out", async || {
        let found = client.get(&KEY.into()).await.ok()?.0;
        found.is_none().then_some(())
    })
    .await;
    // The fault itself takes its time.
    tokio::time::sleep(least.saturating_sub(stopped.elapsed())).await;
    put(client, 2).await;
    let lines = citizen.told().lines;
    let stopped = stopped.elapsed();
    citizen.signal("CONT");
    let since = Instant::now();
    joined(client, citizen, 2, lines).await;
    let converged = since.elapsed();
    put(client, 3).await;
    joined(client, citizen, 3, lines).await;
    eventually("no task is left over", async || {
        (citizen.told().tasks <= before.tasks + SPARE_TASKS).then_some(())
    })
    .await;
    let idle = Idle::of_process(citizen.id()).await;
    if let Some(idle) = &idle {
        assert!(idle.share() < 0.5, "{idle}");
    }
    let line = format!(
        "process stopped for {stopped:.1?}: converged in {converged:.2?}; tasks {} before, {} after; at rest {}",
        before.tasks,
        citizen.told().tasks,
        idle.map_or("not measured".into(), |idle| idle.to_string()),
    );
    println!("{line}");
    line
}
