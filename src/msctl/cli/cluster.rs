//! `msctl cluster`: etcd itself: members, leader, size, alarms. A member that does not answer is
//! shown as such and hides no other.

use etcd::{Alarm, AlarmKind, Error, Member, MemberStatus};
use fleet::finding;
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
        let Answers {
            members,
            statuses,
            alarms,
        } = ask(session).await?;
        if let Err(error) = &alarms {
            report.warn(&format!("alarms are unknown: {error}"));
        }
        let alarms = alarms.unwrap_or_default();
        for (member, finding) in finding::of_cluster(&seen(&members, &statuses, &alarms)) {
            report.warn(&format!("{member}: {}; {}", finding.message, finding.next));
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

/// What the cluster said.
struct Answers {
    members: Vec<Member>,
    statuses: Vec<Result<MemberStatus, Error>>,
    alarms: Result<Vec<Alarm>, Error>,
}

async fn ask(session: &Session) -> Result<Answers, Failure> {
    let client = session.client();
    let members = client
        .members()
        .await
        .map_err(|error| session.failure(&error))?;
    let statuses = join_all(members.iter().map(|member| client.status(member)));
    let (statuses, alarms) = tokio::join!(statuses, client.alarms());
    Ok(Answers {
        members,
        statuses,
        alarms,
    })
}

/// The cluster as the rules of findings look at it.
///
/// # Errors
/// When no member lists the others, or the alarms cannot be had.
pub(crate) async fn examine(session: &Session) -> Result<finding::Cluster, Failure> {
    let answers = ask(session).await?;
    let alarms = answers.alarms.map_err(|error| session.failure(&error))?;
    Ok(seen(&answers.members, &answers.statuses, &alarms))
}

/// What members and alarms say, as the rules of findings look at it.
pub(crate) fn seen(
    members: &[Member],
    statuses: &[Result<MemberStatus, Error>],
    alarms: &[Alarm],
) -> finding::Cluster {
    let name = |member: &Member| match member.name.as_str() {
        "" => format!("{:x}", member.id),
        name => name.to_owned(),
    };
    let by_id = |id: u64| {
        let known = members.iter().find(|member| member.id == id);
        known.map_or_else(|| format!("{id:x}"), name)
    };
    finding::Cluster {
        members: members
            .iter()
            .zip(statuses)
            .map(|(member, status)| finding::Member {
                name: name(member),
                standing: match status {
                    Ok(status) => Ok(finding::Standing {
                        has_leader: status.leader.is_some(),
                        db_size: status.db_size,
                        db_quota: status.db_quota,
                        errors: status.errors.clone(),
                    }),
                    Err(error) => Err(error.to_string()),
                },
            })
            .collect(),
        alarms: alarms
            .iter()
            .map(|alarm| match alarm.kind {
                AlarmKind::NoSpace => finding::Alarm::NoSpace(by_id(alarm.member)),
                AlarmKind::Corrupt => finding::Alarm::Corrupt(by_id(alarm.member)),
                AlarmKind::Other(number) => finding::Alarm::Other(by_id(alarm.member), number),
            })
            .collect(),
    }
}

fn alarm_word(kind: AlarmKind) -> String {
    match kind {
        AlarmKind::NoSpace => "no_space".to_owned(),
        AlarmKind::Corrupt => "corrupt".to_owned(),
        AlarmKind::Other(number) => format!("alarm_{number}"),
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
