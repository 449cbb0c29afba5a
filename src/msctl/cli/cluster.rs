//! `msctl cluster`: etcd itself: members, leader, size, alarms. A member that does not answer is
//! shown as such and hides no other.

use etcd::{Alarm, AlarmKind, Error, Member, MemberStatus};
use futures::future::join_all;
use serde_json::{Value as Json, json};

use crate::report::{Cell, Failure, Palette, Report, Table, Tone};
use crate::session::Session;

/// Show etcd's members, leader, size and alarms.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  msctl cluster
  msctl cluster -o json | jq '.members[] | select(.leader)'")]
pub struct Cluster {}

impl Cluster {
    /// Shows.
    ///
    /// # Errors
    /// When no member answers.
    pub async fn run(&self, session: &Session, report: &mut Report) -> Result<(), Failure> {
        let client = session.client();
        let members = client
            .members()
            .await
            .map_err(|error| session.failure(&error))?;
        let statuses = join_all(members.iter().map(|member| client.status(member)));
        let (statuses, alarms) = tokio::join!(statuses, client.alarms());
        if let Err(error) = &alarms {
            report.warn(&format!("alarms are unknown: {error}"));
        }
        let alarms = alarms.unwrap_or_default();
        for alarm in &alarms {
            report.warn(&alarm_sentence(alarm, &members));
        }
        let all: Vec<_> = members.iter().zip(&statuses).collect();
        if report.is_table() {
            let mut table = Table::new(&[
                "",
                "MEMBER",
                "ID",
                "VERSION",
                ">SIZE",
                ">IN USE",
                ">REVISION",
                ">TERM",
                "ADDRESS",
            ]);
            for (member, status) in &all {
                table.push(cells(member, status));
            }
            return report.table(&table);
        }
        let document = json!({
            "members": all.iter().map(|(m, s)| document(m, s)).collect::<Vec<_>>(),
            "alarms": alarms.iter().map(|alarm| json!({
                "member": format!("{:x}", alarm.member),
                "alarm": alarm_word(alarm.kind),
            })).collect::<Vec<_>>(),
        });
        report.one(&document, |_, _: Palette| String::new())
    }
}

fn alarm_word(kind: AlarmKind) -> String {
    match kind {
        AlarmKind::NoSpace => "no_space".to_owned(),
        AlarmKind::Corrupt => "corrupt".to_owned(),
        AlarmKind::Other(number) => format!("alarm_{number}"),
    }
}

fn alarm_sentence(alarm: &Alarm, members: &[Member]) -> String {
    let name = members
        .iter()
        .find(|member| member.id == alarm.member)
        .map_or_else(
            || format!("{:x}", alarm.member),
            |member| member.name.clone(),
        );
    match alarm.kind {
        AlarmKind::NoSpace => format!(
            "member {name}: the database is full and the cluster takes no writes; compact, defragment, then disarm the alarm"
        ),
        AlarmKind::Corrupt => {
            format!("member {name}: its data is corrupt; replace the member from a healthy one")
        }
        AlarmKind::Other(number) => format!("member {name}: alarm {number}"),
    }
}

fn document(member: &Member, status: &Result<MemberStatus, Error>) -> Json {
    let mut document = json!({
        "id": format!("{:x}", member.id),
        "name": member.name,
        "client_urls": member.client_urls,
        "peer_urls": member.peer_urls,
        "learner": member.learner,
    });
    match status {
        Ok(status) => {
            document["leader"] = json!(status.is_leader());
            document["version"] = json!(status.version);
            document["db_size"] = json!(status.db_size);
            document["db_size_in_use"] = json!(status.db_size_in_use);
            document["db_quota"] = json!(status.db_quota);
            document["revision"] = json!(status.revision.0);
            document["raft_term"] = json!(status.raft_term);
            document["raft_index"] = json!(status.raft_index);
            document["raft_applied_index"] = json!(status.raft_applied_index);
            document["errors"] = json!(status.errors);
        }
        Err(error) => document["error"] = json!(error.to_string()),
    }
    document
}

fn cells(member: &Member, status: &Result<MemberStatus, Error>) -> Vec<Cell> {
    let name = if member.name.is_empty() {
        "(unstarted)"
    } else {
        member.name.as_str()
    };
    let id = format!("{:x}", member.id);
    let address = member.client_urls.join(", ");
    match status {
        Ok(status) => {
            let mark = match (status.is_leader(), status.leader, member.learner) {
                (true, ..) => Cell::new("● leader", Tone::Good),
                (_, _, true) => Cell::new("● learner", Tone::Dim),
                (_, None, _) => Cell::new("◐ no leader", Tone::Bad),
                _ => Cell::new("●", Tone::Good),
            };
            vec![
                mark,
                name.into(),
                Cell::new(id, Tone::Dim),
                status.version.as_str().into(),
                bytes(status.db_size).into(),
                bytes(status.db_size_in_use).into(),
                status.revision.to_string().into(),
                status.raft_term.to_string().into(),
                address.into(),
            ]
        }
        Err(error) => vec![
            Cell::new("✗", Tone::Bad),
            name.into(),
            Cell::new(id, Tone::Dim),
            Cell::default(),
            Cell::default(),
            Cell::default(),
            Cell::default(),
            Cell::default(),
            Cell::new(error.to_string(), Tone::Bad),
        ],
    }
}

/// A number of bytes as people read it.
fn bytes(count: i64) -> String {
    let mut amount = count as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if amount < 1024.0 {
            break;
        }
        amount /= 1024.0;
        unit = next;
    }
    if unit == "B" {
        format!("{count} B")
    } else {
        format!("{amount:.1} {unit}")
    }
}
