//! How far a change has come: which instances run it, who refused it, who has not answered; and
//! what follows for a canary.
//!
//! An instance counts as running a change only by its own word. One that cannot speak (a foreign
//! record, no status) is never counted as done, and never silently left out.

pub mod tally;

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::config::ConfigKey;
use crate::health::Health;
use crate::kv::Revision;
use crate::service::{Format, Instance, InstanceId, ServiceName};
use crate::status::{Applied, StatusRecord};

/// The answers of all instances that a change reaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rollout {
    /// The revision that was written.
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
    /// It says nothing of its config.
    Silent,
}

/// Asks the status records how far a change of these keys has come. `instances` are those the
/// change reaches; `status` finds what one says of itself.
pub fn rollout<'a>(
    revision: Revision,
    keys: &[ConfigKey],
    instances: impl IntoIterator<Item = &'a Instance>,
    mut status: impl FnMut(&Instance) -> Option<&'a StatusRecord>,
) -> Rollout {
    let mut targets: Vec<Target> = instances
        .into_iter()
        .map(|instance| Target {
            service: instance.record.service.clone(),
            instance: instance.record.id.clone(),
            answer: match status(instance) {
                Some(record) if instance.format == Format::Native => answer(record, keys, revision),
                _ => Answer::Silent,
            },
        })
        .collect();
    targets.sort_by(|a, b| (&a.service, &a.instance).cmp(&(&b.service, &b.instance)));
    Rollout {
        revision: revision.0,
        instances: targets,
    }
}

fn answer(record: &StatusRecord, keys: &[ConfigKey], revision: Revision) -> Answer {
    let refused = keys
        .iter()
        .find_map(|key| match record.applied(&key.to_string(), revision.0) {
            Applied::Refused(rejected) => Some(Answer::Refused {
                key: rejected.key.clone(),
                error: crate::safe::escape(&rejected.error).into_owned(),
            }),
            Applied::Yes | Applied::NotYet => None,
        });
    match refused {
        Some(refused) => refused,
        None if record.revision >= revision.0 => Answer::Applied,
        None => Answer::Waiting {
            runs: record.revision,
            because: if record.liveness.alive {
                record.watch.stale.clone()
            } else {
                Some(record.liveness.detail.clone())
            },
        },
    }
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

    /// Whether nothing more will come: everyone has answered, or cannot.
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
    use crate::status::{Liveness, Rejected, WatchFreshness};
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
        let instances: Vec<_> = records.iter().map(|(id, _)| instance(id)).collect();
        let key = ConfigKey::parse("order/timeout.write").unwrap();
        rollout(Revision(812), &[key], &instances, |instance| {
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
