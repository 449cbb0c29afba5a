//! How far a change has come: which instances run it, who refused it, who has not answered; and
//! what follows for a canary.
//!
//! An instance counts as running a change only by its own word. One that cannot speak (a foreign
//! record, no status) is never counted as done, and never silently left out.

pub mod tally;

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::config::{ConfigKey, Scope};
use crate::health::Health;
use crate::kv::Revision;
use crate::service::{Format, Instance, InstanceId, ServiceName};
use crate::status::{Applied, StatusRecord};

/// The answers of all instances that a change reaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rollout {
    /// The newest revision that was asked about.
    pub revision: i64,
    /// Who it reaches, in the order of services and names.
    pub instances: Vec<Target>,
}

/// One instance a change reaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Target {
    /// Its service.
    pub service: ServiceName,
    /// Its name.
    pub instance: InstanceId,
    /// What it says.
    #[serde(flatten)]
    pub answer: Answer,
}

/// What an instance says of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// It runs it.
    Applied,
    /// It keeps the value it had.
    Refused {
        /// Which key it refused.
        key: String,
        /// Why.
        error: String,
    },
    /// It has not taken it in.
    Waiting {
        /// The revision it runs.
        runs: i64,
        /// Why its view may be old; absent where it says nothing of that.
        #[serde(skip_serializing_if = "Option::is_none")]
        because: Option<String>,
    },
    /// It has taken it in, and runs another value of its own all the same.
    Overridden {
        /// Which key.
        key: String,
        /// What gives the other value, in words.
        by: String,
    },
    /// It says nothing of its config.
    Silent,
}

/// Asks the status records how far changes have come: each key with the revision that set or
/// unset it. `instances` are those the changes reach, and each is asked about the keys it reads;
/// `status` finds what one says of itself.
pub fn rollout<'a>(
    changes: &[(ConfigKey, Revision)],
    instances: impl IntoIterator<Item = &'a Instance>,
    mut status: impl FnMut(&Instance) -> Option<&'a StatusRecord>,
) -> Rollout {
    // As the records name them; made once, not once for each instance.
    let changes: Vec<_> = changes
        .iter()
        .map(|(key, revision)| (&key.scope, key.to_string(), revision.0))
        .collect();
    let mut targets: Vec<Target> = instances
        .into_iter()
        .map(|instance| Target {
            service: instance.record.service.clone(),
            instance: instance.record.id.clone(),
            answer: match status(instance) {
                Some(record) if instance.format == Format::Native => {
                    let reads = |scope: &Scope| match scope {
                        Scope::Global => true,
                        Scope::Service(service) => *service == instance.record.service,
                    };
                    let read = changes.iter().filter(|(scope, ..)| reads(scope));
                    answer(record, read.map(|(_, key, revision)| (&**key, *revision)))
                }
                _ => Answer::Silent,
            },
        })
        .collect();
    targets.sort_by(|a, b| (&a.service, &a.instance).cmp(&(&b.service, &b.instance)));
    let newest = changes.iter().map(|(_, _, revision)| *revision).max();
    Rollout {
        revision: newest.unwrap_or_default(),
        instances: targets,
    }
}

/// The worst of what it says of each change.
fn answer<'k>(record: &StatusRecord, changes: impl Iterator<Item = (&'k str, i64)>) -> Answer {
    let mut worst = Answer::Applied;
    for (key, revision) in changes {
        match (record.applied(key, revision), &worst) {
            (Applied::Refused(rejected), _) => {
                return Answer::Refused {
                    key: rejected.key.clone(),
                    error: crate::safe::escape(&rejected.error).into_owned(),
                };
            }
            (Applied::NotYet, Answer::Applied | Answer::Overridden { .. }) => {
                let scope = key.split_once('/').map_or("", |(scope, _)| scope);
                worst = Answer::Waiting {
                    runs: record.taken_of(scope),
                    because: if record.liveness.alive {
                        record.watch.stale.clone()
                    } else {
                        Some(record.liveness.detail.clone())
                    },
                };
            }
            (Applied::Overridden(overridden), Answer::Applied) => {
                worst = Answer::Overridden {
                    key: key.to_owned(),
                    by: record.by(overridden),
                };
            }
            (Applied::Yes | Applied::NotYet | Applied::Overridden(_), _) => {}
        }
    }
    worst
}

impl Rollout {
    /// How many run it.
    #[must_use]
    pub fn applied(&self) -> usize {
        let applied = |target: &&Target| target.answer == Answer::Applied;
        self.instances.iter().filter(applied).count()
    }

    /// Who refused it.
    pub fn refused(&self) -> impl Iterator<Item = (&Target, &str)> {
        self.instances
            .iter()
            .filter_map(|target| match &target.answer {
                Answer::Refused { error, .. } => Some((target, error.as_str())),
                _ => None,
            })
    }

    /// Whether every instance runs it. Where it reaches nobody, there is nobody to wait for.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.applied() == self.instances.len()
    }

    /// Whether nothing more will come: everyone has answered, or cannot. One that runs a value of
    /// its own has answered.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let waiting = |target: &Target| matches!(target.answer, Answer::Waiting { .. });
        !self.instances.iter().any(waiting)
    }
}

/// `3 of 4 instances applied it; order-2 refused order/timeout.write: "1x" is no duration`.
impl fmt::Display for Rollout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.instances.len();
        match (self.applied(), all) {
            (_, 0) => return f.write_str("it reaches no running instance"),
            (done, all) => write!(f, "{done} of {all} {} applied it", plural(all))?,
        }
        // A line, not a list: the rest is counted.
        const NAMED: usize = 3;
        let open: Vec<_> = self
            .instances
            .iter()
            .filter(|target| target.answer != Answer::Applied)
            .collect();
        for target in open.iter().take(NAMED) {
            write!(f, "; {} {}", target.instance, target.answer)?;
        }
        match open.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(f, "; {more} more have not"),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Applied => f.write_str("applied it"),
            Self::Refused { key, error } => write!(f, "refused {key}: {error}"),
            Self::Waiting {
                runs,
                because: None,
            } => write!(f, "has not answered (runs r{runs})"),
            Self::Waiting {
                runs,
                because: Some(why),
            } => write!(
                f,
                "has not answered (runs r{runs}: {})",
                crate::safe::escape(why)
            ),
            Self::Overridden { key, by } => write!(f, "runs {by} in place of {key}"),
            Self::Silent => f.write_str("does not say what it runs"),
        }
    }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "instance" } else { "instances" }
}

/// What is known of one canary instance besides its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its name.
    pub instance: InstanceId,
    /// What its health check says.
    pub health: Health,
}

/// What follows for a canary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Not yet: so much quiet time is left once all have applied it.
    Wait {
        /// What it waits for.
        because: String,
    },
    /// All run it, and it was quiet long enough.
    Promote,
    /// It did harm, or nobody can say that it did not.
    Abort {
        /// What happened.
        because: String,
    },
}

/// Decides on a canary. `named` are its instances, `rollout` what the running ones of them say,
/// `seen` how they do, `quiet_for` how long everything has been well (zero until all applied it),
/// `waited` how long ago it began.
#[must_use]
pub fn decide(
    named: &[InstanceId],
    rollout: &Rollout,
    seen: &[Seen],
    (waited, patience): (Duration, Duration),
    (quiet_for, quiet): (Duration, Duration),
) -> Verdict {
    for id in named {
        let target = rollout
            .instances
            .iter()
            .find(|target| target.instance == *id);
        let because = match target.map(|target| &target.answer) {
            None => format!("{id} disappeared"),
            Some(Answer::Refused { key, error }) => format!("{id} refused {key}: {error}"),
            // It would be quiet for ever, and prove nothing.
            Some(answer @ Answer::Overridden { .. }) => format!("{id} {answer}"),
            Some(_) => match seen
                .iter()
                .find(|seen| seen.instance == *id)
                .map(|s| s.health)
            {
                Some(Health::NotServing) => format!("{id} is not serving"),
                Some(Health::Unreachable) => format!("{id} is unreachable"),
                Some(Health::Hung) => format!("{id} is hung"),
                Some(Health::Serving | Health::Unknown) | None => continue,
            },
        };
        return Verdict::Abort { because };
    }
    if !rollout.is_complete() {
        return if waited >= patience {
            Verdict::Abort {
                because: format!(
                    "not all answered in {}: {rollout}",
                    crate::finding::age(patience)
                ),
            }
        } else {
            Verdict::Wait {
                because: rollout.to_string(),
            }
        };
    }
    if quiet_for >= quiet {
        Verdict::Promote
    } else {
        Verdict::Wait {
            because: format!("quiet for {}", crate::finding::age(quiet_for)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::InstanceRecord;
    use crate::status::{Liveness, Overridden, Rejected, Taken, WatchFreshness};
    use proptest::prelude::*;

    pub(super) fn instance(id: &str) -> Instance {
        let service = ServiceName::new("order").unwrap();
        Instance {
            record: InstanceRecord::new(service, InstanceId::new(id).unwrap()),
            key: format!("/services/order/{id}").into(),
            lease: None,
            mod_revision: Revision(1),
            create_revision: Revision(1),
            format: Format::Native,
        }
    }

    pub(super) fn status(revision: i64, rejected: &[(&str, i64)]) -> StatusRecord {
        let rejected = rejected.iter().map(|(key, revision)| Rejected {
            key: (*key).into(),
            revision: *revision,
            error: "\"1x\" is no duration".into(),
        });
        StatusRecord {
            revision,
            taken: Some(Taken {
                service: revision,
                global: revision,
            }),
            canary: None,
            overridden: Vec::new(),
            rejected: rejected.collect(),
            liveness: Liveness {
                alive: true,
                detail: String::new(),
            },
            watch: WatchFreshness {
                revision,
                stale: None,
            },
            written_at: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    fn ids(names: &[&str]) -> Vec<InstanceId> {
        names
            .iter()
            .map(|name| InstanceId::new(name).unwrap())
            .collect()
    }

    fn of(records: &[(&str, Option<StatusRecord>)]) -> Rollout {
        of_changes(&[("order/timeout.write", 812)], records)
    }

    fn of_changes(changes: &[(&str, i64)], records: &[(&str, Option<StatusRecord>)]) -> Rollout {
        let instances: Vec<_> = records.iter().map(|(id, _)| instance(id)).collect();
        let change = |(key, at): &(&str, i64)| (ConfigKey::parse(key).unwrap(), Revision(*at));
        let changes: Vec<_> = changes.iter().map(change).collect();
        rollout(&changes, &instances, |instance| {
            let found = records
                .iter()
                .find(|(id, _)| *id == instance.record.id.as_str());
            found.and_then(|(_, status)| status.as_ref())
        })
    }

    #[test]
    fn every_instance_is_told_by_its_own_word() {
        let mut stale = status(800, &[]);
        stale.watch.stale = Some("etcd is away".into());
        let found = of(&[
            ("o-4", None),
            ("o-1", Some(status(812, &[]))),
            ("o-2", Some(status(812, &[("order/timeout.write", 812)]))),
            ("o-3", Some(stale)),
            ("o-5", Some(status(900, &[("order/other", 812)]))),
        ]);
        assert_eq!(
            found.to_string(),
            "2 of 5 instances applied it; o-2 refused order/timeout.write: \"1x\" is no duration; o-3 has not answered (runs r800: etcd is away); o-4 does not say what it runs"
        );
        assert!(!found.is_settled() && !found.is_complete());
        assert_eq!(found.refused().count(), 1);
        assert!(of(&[]).is_complete());
        assert_eq!(of(&[]).to_string(), "it reaches no running instance");
        let json = serde_json::to_value(&found.instances[1]).unwrap();
        assert_eq!(json["answer"], "refused");
    }

    #[test]
    fn a_refusal_of_an_older_value_does_not_speak_of_this_one() {
        let found = of(&[("o-1", Some(status(812, &[("order/timeout.write", 700)])))]);
        assert!(found.is_complete());
    }

    #[test]
    fn each_key_is_asked_about_at_its_own_revision() {
        let refusing = || Some(status(820, &[("order/timeout.write", 812)]));
        let changes = [("order/timeout.write", 812), ("order/page.size", 820)];
        let found = of_changes(&changes, &[("o-1", refusing())]);
        assert_eq!(found.revision, 820);
        assert_eq!(
            found.refused().count(),
            1,
            "a later write of another key mends nothing: {found}"
        );
        // An unset is a change like any other: its revision is that of the transaction.
        let late = of_changes(&[("order/page.size", 821)], &[("o-1", refusing())]);
        assert_eq!(
            late.to_string(),
            "0 of 1 instance applied it; o-1 has not answered (runs r820)"
        );
    }

    #[test]
    fn a_change_of_one_scope_is_not_proved_by_news_of_the_other() {
        let mut behind = status(900, &[]);
        behind.taken = Some(Taken {
            service: 700,
            global: 900,
        });
        let found = of_changes(&[("order/timeout.write", 812)], &[("o-1", Some(behind))]);
        assert_eq!(
            found.to_string(),
            "0 of 1 instance applied it; o-1 has not answered (runs r700)"
        );
        // What other services read is not asked of this one.
        let other = of_changes(&[("user/a", 950)], &[("o-1", Some(status(1, &[])))]);
        assert!(other.is_complete());
    }

    #[test]
    fn an_instance_that_runs_a_value_of_its_own_has_not_applied_it() {
        let mut own = status(812, &[]);
        own.overridden = vec![Overridden {
            path: "timeout.write".into(),
            variable: Some("ORDER__TIMEOUT__WRITE".into()),
        }];
        let found = of(&[("o-1", Some(own)), ("o-2", Some(status(812, &[])))]);
        assert_eq!(
            found.to_string(),
            "1 of 2 instances applied it; o-1 runs the environment's ORDER__TIMEOUT__WRITE in place of order/timeout.write"
        );
        assert!(found.is_settled(), "nothing more will come of it");
        let minute = Duration::from_secs(60);
        let verdict = decide(
            &ids(&["o-1"]),
            &found,
            &[],
            (Duration::ZERO, minute),
            (Duration::ZERO, minute),
        );
        assert!(matches!(verdict, Verdict::Abort { .. }), "{verdict:?}");
    }

    #[test]
    fn a_foreign_instance_is_never_counted_as_done() {
        let found = of(&[("o-1", None)]);
        assert_eq!((found.applied(), found.is_settled()), (0, true));
    }

    #[test]
    fn a_canary_is_promoted_after_quiet_and_aborted_at_the_first_harm() {
        let minute = Duration::from_secs(60);
        let good = || Some(status(812, &[]));
        let seen = |health| {
            vec![Seen {
                instance: ids(&["o-1"]).remove(0),
                health,
            }]
        };
        let check = |rollout: &Rollout, health, waited, quiet_for| {
            decide(
                &ids(&["o-1"]),
                rollout,
                &seen(health),
                (waited, minute),
                (quiet_for, minute),
            )
        };
        let applied = of(&[("o-1", good())]);
        assert_eq!(
            check(&applied, Health::Serving, minute * 2, minute),
            Verdict::Promote
        );
        assert!(matches!(
            check(&applied, Health::Serving, minute, Duration::ZERO),
            Verdict::Wait { .. }
        ));
        for (rollout, health, waited, why) in [
            (of(&[]), Health::Serving, Duration::ZERO, "o-1 disappeared"),
            (applied.clone(), Health::Hung, Duration::ZERO, "o-1 is hung"),
            (
                applied.clone(),
                Health::Unreachable,
                Duration::ZERO,
                "o-1 is unreachable",
            ),
            (
                of(&[("o-1", Some(status(812, &[("order/timeout.write", 812)])))]),
                Health::Serving,
                Duration::ZERO,
                "o-1 refused order/timeout.write",
            ),
            (
                of(&[("o-1", Some(status(5, &[])))]),
                Health::Serving,
                minute,
                "not all answered in 1m",
            ),
        ] {
            match check(&rollout, health, waited, minute) {
                Verdict::Abort { because } => assert!(because.starts_with(why), "{because}"),
                other => panic!("{why}: {other:?}"),
            }
        }
        let waiting = of(&[("o-1", Some(status(5, &[])))]);
        assert!(matches!(
            check(&waiting, Health::Unknown, Duration::ZERO, minute),
            Verdict::Wait { .. }
        ));
    }

    proptest! {
        #[test]
        fn nobody_is_lost_and_nobody_counts_twice(revisions in prop::collection::btree_map("o-[a-f]", prop::option::of(800i64..820), 0..6)) {
            let records: Vec<_> = revisions.iter().map(|(id, at)| (id.as_str(), at.map(|at| status(at, &[])))).collect();
            let found = of(&records);
            prop_assert_eq!(found.instances.len(), records.len());
            let wanted = revisions.values().filter(|at| at.is_some_and(|at| at >= 812)).count();
            prop_assert_eq!(found.applied(), wanted);
            prop_assert_eq!(found.is_complete(), wanted == records.len());
        }
    }
}
