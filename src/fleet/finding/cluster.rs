//! The rules about etcd itself: its leader, its members, its size, its alarms.

use super::{Code, Finding, Severity};
use crate::safe::escape;

/// etcd's quota where nothing else is configured; older servers do not tell theirs.
const USUAL_QUOTA: i64 = 2 << 30;

/// The cluster as it was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cluster {
    /// Its members.
    pub members: Vec<Member>,
    /// The alarms that are raised.
    pub alarms: Vec<Alarm>,
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name, or its id while it has none.
    pub name: String,
    /// How it is, or why it did not answer.
    pub standing: Result<Standing, String>,
}

/// How a member that answers is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Whether it knows a leader.
    pub has_leader: bool,
    /// The size of its database in bytes.
    pub db_size: i64,
    /// The largest size allowed, in bytes; `None` where it does not say.
    pub db_quota: Option<i64>,
    /// What it complains of.
    pub errors: Vec<String>,
}

/// An alarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alarm {
    /// This member's database is full.
    NoSpace(String),
    /// This member's data is corrupt.
    Corrupt(String),
    /// One that is not known here, with its number.
    Other(String, i32),
}

/// Everything that is wrong with the cluster, each with the member it is about; the worst first.
#[must_use]
pub fn of_cluster(cluster: &Cluster) -> Vec<(String, Finding)> {
    let mut found = Vec::new();
    let mut add = |member: &str, code, severity, message: String, next: &str| {
        let finding = Finding {
            code,
            severity,
            message,
            next: next.to_owned(),
        };
        found.push((member.to_owned(), finding));
    };
    for alarm in &cluster.alarms {
        let (member, message, next) = match alarm {
            Alarm::NoSpace(member) => (
                member,
                "NOSPACE: the database is full and the cluster takes no writes".to_owned(),
                "etcdctl compact and defrag, then etcdctl alarm disarm",
            ),
            Alarm::Corrupt(member) => (
                member,
                "CORRUPT: its data differs from the others'".to_owned(),
                "replace the member from a healthy one",
            ),
            Alarm::Other(member, number) => (
                member,
                format!("alarm {number} is raised"),
                "etcdctl alarm list",
            ),
        };
        add(member, Code::Alarm, Severity::Error, message, next);
    }
    let silent = cluster.members.iter().filter(|m| m.standing.is_err());
    let silent = silent.count();
    let severity = if silent * 2 >= cluster.members.len() {
        Severity::Error
    } else {
        Severity::Warning
    };
    for member in &cluster.members {
        match &member.standing {
            Err(cause) => add(
                &member.name,
                Code::MemberUnreachable,
                severity,
                format!(
                    "{silent} of {} members do not answer: {}",
                    cluster.members.len(),
                    escape(cause)
                ),
                "see whether it runs, and whether its client address can be reached from here",
            ),
            Ok(standing) => {
                if !standing.has_leader {
                    add(
                        &member.name,
                        Code::NoLeader,
                        Severity::Error,
                        "it knows no leader: nothing can be written, leases do not end".into(),
                        "see whether most members run and reach each other: msctl cluster",
                    );
                }
                for error in &standing.errors {
                    add(
                        &member.name,
                        Code::MemberComplains,
                        Severity::Warning,
                        format!("it says: {}", escape(error)),
                        "msctl cluster, and its log",
                    );
                }
                if let Some((severity, message)) = quota(standing) {
                    add(
                        &member.name,
                        Code::QuotaNear,
                        severity,
                        message,
                        "etcdctl compact and defrag, or a larger --quota-backend-bytes",
                    );
                }
            }
        }
    }
    found.sort_by_key(|(_, finding)| std::cmp::Reverse(finding.severity));
    found
}

fn quota(standing: &Standing) -> Option<(Severity, String)> {
    let quota = standing.db_quota.unwrap_or(USUAL_QUOTA);
    let percent = standing.db_size.saturating_mul(100) / quota.max(1);
    let mib = |bytes: i64| bytes >> 20;
    let whose = match standing.db_quota {
        Some(_) => "its quota of",
        None => "the usual quota, which it does not tell, of",
    };
    let message = format!(
        "the database has {} MiB, {percent} % of {whose} {} MiB",
        mib(standing.db_size),
        mib(quota)
    );
    match percent {
        95.. if standing.db_quota.is_some() => Some((Severity::Error, message)),
        80.. => Some((Severity::Warning, message)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, standing: Result<Standing, &str>) -> Member {
        Member {
            name: name.into(),
            standing: standing.map_err(str::to_owned),
        }
    }

    fn well() -> Standing {
        Standing {
            has_leader: true,
            db_size: 1 << 20,
            db_quota: Some(100 << 20),
            errors: Vec::new(),
        }
    }

    fn found(members: Vec<Member>, alarms: Vec<Alarm>) -> Vec<(String, Code, Severity)> {
        of_cluster(&Cluster { members, alarms })
            .into_iter()
            .map(|(member, finding)| (member, finding.code, finding.severity))
            .collect()
    }

    #[test]
    fn each_fault_of_a_cluster_is_found_at_its_member() {
        use Severity::{Error, Warning};
        let sized = |size, quota| Standing {
            db_size: size,
            db_quota: quota,
            ..well()
        };
        for (members, alarms, expected) in [
            (vec![member("a", Ok(well()))], vec![], vec![]),
            (
                vec![member("a", Ok(well()))],
                vec![Alarm::NoSpace("a".into())],
                vec![("a", Code::Alarm, Error)],
            ),
            (
                vec![
                    member("a", Ok(well())),
                    member("b", Ok(well())),
                    member("c", Err("connection refused")),
                ],
                vec![],
                vec![("c", Code::MemberUnreachable, Warning)],
            ),
            (
                vec![
                    member("a", Err("refused")),
                    member(
                        "b",
                        Ok(Standing {
                            has_leader: false,
                            ..well()
                        }),
                    ),
                ],
                vec![],
                vec![
                    ("a", Code::MemberUnreachable, Error),
                    ("b", Code::NoLeader, Error),
                ],
            ),
            (
                vec![member("a", Ok(sized(79 << 20, Some(100 << 20))))],
                vec![],
                vec![],
            ),
            (
                vec![member("a", Ok(sized(80 << 20, Some(100 << 20))))],
                vec![],
                vec![("a", Code::QuotaNear, Warning)],
            ),
            (
                vec![member("a", Ok(sized(95 << 20, Some(100 << 20))))],
                vec![],
                vec![("a", Code::QuotaNear, Error)],
            ),
            (
                vec![member("a", Ok(sized(3 << 30, None)))],
                vec![],
                vec![("a", Code::QuotaNear, Warning)],
            ),
            (
                vec![member(
                    "a",
                    Ok(Standing {
                        errors: vec!["\u{1b}x".into()],
                        ..well()
                    }),
                )],
                vec![],
                vec![("a", Code::MemberComplains, Warning)],
            ),
        ] {
            let expected: Vec<_> = expected
                .into_iter()
                .map(|(name, code, severity)| (name.to_owned(), code, severity))
                .collect();
            assert_eq!(found(members, alarms), expected);
        }
    }
}
