//! Why an instance looks wrong, and what to do about it: each rule once, for table, JSON, TUI and
//! doctor alike. A finding rests on what was observed; where nothing was asked, nothing is found.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::health::Health;
use crate::kv::Key;
use crate::registry::Poison;
use crate::safe::escape;
use crate::service::Instance;
use crate::status::StatusRecord;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Will hurt.
    Warning,
    /// Hurts.
    Error,
}

/// The rule that found it. Its JSON form is stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Code {
    /// Its port accepts and nothing answers.
    Hung,
    /// No connection is to be had.
    Unreachable,
    /// It says that it does not serve.
    NotServing,
    /// No lease takes the record away when the process dies.
    NoLease,
    /// The lease ends soon and was not renewed.
    LeaseRunsOut,
    /// No address to call.
    NoEndpoint,
    /// It refused a config value.
    ConfigRejected,
    /// It says that its own view of etcd is old.
    StaleView,
    /// It holds itself for not alive.
    NotAlive,
    /// A key under the services prefix cannot be read.
    PoisonRecord,
}

impl Code {
    /// So many instances, or values, that have it, in a few words: `2 hung`, `1 value refused`.
    #[must_use]
    pub fn counted(self, count: usize) -> String {
        let many = |one: &str, many: &str| match count {
            1 => format!("1 {one}"),
            count => format!("{count} {many}"),
        };
        match self {
            Self::Hung => format!("{count} hung"),
            Self::Unreachable => format!("{count} unreachable"),
            Self::NotServing => format!("{count} not serving"),
            Self::NoLease => format!("{count} without lease"),
            Self::LeaseRunsOut => many("lease running out", "leases running out"),
            Self::NoEndpoint => format!("{count} without endpoint"),
            Self::ConfigRejected => many("value refused", "values refused"),
            Self::StaleView => many("old view of etcd", "old views of etcd"),
            Self::NotAlive => format!("{count} not alive"),
            Self::PoisonRecord => many("record unreadable", "records unreadable"),
        }
    }

    /// The code as JSON has it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Hung => "hung",
            Self::Unreachable => "unreachable",
            Self::NotServing => "not_serving",
            Self::NoLease => "no_lease",
            Self::LeaseRunsOut => "lease_runs_out",
            Self::NoEndpoint => "no_endpoint",
            Self::ConfigRejected => "config_rejected",
            Self::StaleView => "stale_view",
            Self::NotAlive => "not_alive",
            Self::PoisonRecord => "poison_record",
        }
    }
}

/// Something wrong, with its evidence and the next step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// What is so, in one safe line.
    pub message: String,
    /// What to do next, as a sentence or a command.
    pub next: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The time a lease has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ttl {
    /// What it was granted.
    pub granted: Duration,
    /// What is left of it.
    pub left: Duration,
}

/// What was found out about an instance. The default is: nobody asked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Observed<'a> {
    /// What its health check said.
    pub health: Health,
    /// How the health check failed, safe to show; empty when it did not.
    pub detail: &'a str,
    /// For how long it has been so.
    pub since: Option<Duration>,
    /// Its lease's time.
    pub ttl: Option<Ttl>,
    /// What it says of itself.
    pub status: Option<&'a StatusRecord>,
}

/// Everything that is wrong with an instance, the worst first.
#[must_use]
pub fn of_instance(instance: &Instance, observed: &Observed<'_>) -> Vec<Finding> {
    let id = &instance.record.id;
    let service = &instance.record.service;
    let mut findings = Vec::new();
    let mut found = |code, severity, message: String, next: String| {
        findings.push(Finding {
            code,
            severity,
            message,
            next,
        });
    };
    let detail = if observed.detail.is_empty() {
        String::new()
    } else {
        format!(": {}", observed.detail)
    };
    let since = observed
        .since
        .map(|since| format!(" for {}", age(since)))
        .unwrap_or_default();
    match observed.health {
        Health::Hung => found(
            Code::Hung,
            Severity::Error,
            format!(
                "hung{since}: the port accepts, health is not answered{}",
                if observed.detail.is_empty() {
                    ""
                } else {
                    detail.as_str()
                }
            ),
            format!(
                "look at the process of {id}; it still gets calls from clients without health checks"
            ),
        ),
        Health::Unreachable => found(
            Code::Unreachable,
            Severity::Error,
            format!("unreachable{since}{detail}"),
            format!(
                "see whether the process of {id} runs and the address is right; its lease ends by itself if it is gone"
            ),
        ),
        Health::NotServing => found(
            Code::NotServing,
            Severity::Warning,
            format!("not serving{since}{detail}"),
            "it starts or drains; wait, or look at its log".into(),
        ),
        Health::Serving | Health::Unknown => {}
    }
    if instance.lease.is_none() {
        found(
            Code::NoLease,
            Severity::Warning,
            "no lease: the record stays when the process dies".into(),
            format!("register {service} with a lease, or delete the key by hand when it is gone"),
        );
    }
    if let Some(Ttl { granted, left }) = observed.ttl
        && left.as_millis() * 4 < granted.as_millis()
    {
        found(
            Code::LeaseRunsOut,
            Severity::Warning,
            format!(
                "the lease has {} of {} left and was not renewed",
                age(left),
                age(granted)
            ),
            "look at its connection to etcd".into(),
        );
    }
    if instance.record.endpoints.is_empty() {
        found(
            Code::NoEndpoint,
            Severity::Warning,
            "no endpoint: nobody can call it".into(),
            "let it register the addresses it listens on".into(),
        );
    }
    if let Some(status) = observed.status {
        for rejected in &status.rejected {
            found(
                Code::ConfigRejected,
                Severity::Warning,
                format!(
                    "refused {} of r{}: {}",
                    escape(&rejected.key),
                    rejected.revision,
                    escape(&rejected.error)
                ),
                format!(
                    "msctl config set {}, with a value it takes",
                    escape(&rejected.key)
                ),
            );
        }
        if !status.liveness.alive {
            found(
                Code::NotAlive,
                Severity::Error,
                format!(
                    "holds itself for not alive: {}",
                    escape(&status.liveness.detail)
                ),
                "its lease is no longer kept; look at the process".into(),
            );
        }
        if let Some(stale) = &status.watch.stale {
            found(
                Code::StaleView,
                Severity::Warning,
                format!("its view of etcd is old: {}", escape(stale)),
                "look at its connection to etcd".into(),
            );
        }
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

/// The finding that a quarantined key is.
#[must_use]
pub fn of_poison(key: &Key, poison: &Poison) -> Finding {
    Finding {
        code: Code::PoisonRecord,
        severity: Severity::Warning,
        message: format!("{key} holds no instance: {}", poison.reason),
        next: format!("see it with: msctl keys '{key}'"),
    }
}

/// A length of time as people read it: `0.4s`, `41s`, `8m`, `3h12m`, `2d5h`.
#[must_use]
pub fn age(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..=9 => {
            let tenths = time.as_millis() / 100;
            format!("{}.{}s", tenths / 10, tenths % 10)
        }
        10..=59 => format!("{seconds}s"),
        60..=3599 => format!("{}m", seconds / 60),
        3600..=86_399 => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::{LeaseId, Revision};
    use crate::service::{Endpoint, Format, InstanceId, InstanceRecord, ServiceName};
    use crate::status::{Liveness, Rejected, WatchFreshness};

    fn instance() -> Instance {
        let mut record = InstanceRecord::new(
            ServiceName::new("order").unwrap(),
            InstanceId::new("o-1").unwrap(),
        );
        record.endpoints = vec![Endpoint::parse("grpc://h:1").unwrap()];
        Instance {
            record,
            key: "/services/order/o-1".into(),
            lease: LeaseId::new(7),
            mod_revision: Revision(2),
            create_revision: Revision(2),
            format: Format::Native,
        }
    }

    fn codes(instance: &Instance, observed: &Observed<'_>) -> Vec<Code> {
        of_instance(instance, observed)
            .into_iter()
            .map(|finding| finding.code)
            .collect()
    }

    #[test]
    fn each_rule_finds_its_fault_and_nothing_else() {
        let healthy = Observed {
            health: Health::Serving,
            ..Observed::default()
        };
        assert_eq!(codes(&instance(), &healthy), []);
        assert_eq!(codes(&instance(), &Observed::default()), []);
        for (health, code) in [
            (Health::Hung, Code::Hung),
            (Health::Unreachable, Code::Unreachable),
            (Health::NotServing, Code::NotServing),
        ] {
            assert_eq!(
                codes(
                    &instance(),
                    &Observed {
                        health,
                        ..Observed::default()
                    }
                ),
                [code]
            );
        }
        let leaseless = Instance {
            lease: None,
            ..instance()
        };
        assert_eq!(codes(&leaseless, &healthy), [Code::NoLease]);
        let mut mute = instance();
        mute.record.endpoints.clear();
        assert_eq!(codes(&mute, &healthy), [Code::NoEndpoint]);
        let ttl = |left| Observed {
            ttl: Some(Ttl {
                granted: Duration::from_secs(10),
                left: Duration::from_millis(left),
            }),
            ..healthy
        };
        assert_eq!(codes(&instance(), &ttl(2400)), [Code::LeaseRunsOut]);
        assert_eq!(codes(&instance(), &ttl(2500)), []);
    }

    #[test]
    fn what_an_instance_says_of_itself_is_found_the_worst_first() {
        let status = StatusRecord {
            revision: 4,
            taken: None,
            canary: None,
            overridden: Vec::new(),
            rejected: vec![Rejected {
                key: "order/a".into(),
                revision: 4,
                error: "\u{1b}no".into(),
            }],
            liveness: Liveness {
                alive: false,
                detail: "queue stuck".into(),
            },
            watch: WatchFreshness {
                revision: 4,
                stale: Some("refused".into()),
            },
            written_at: "2026-11-22T10:00:00Z".parse().unwrap(),
        };
        let observed = Observed {
            status: Some(&status),
            ..Observed::default()
        };
        assert_eq!(
            codes(&instance(), &observed),
            [Code::NotAlive, Code::ConfigRejected, Code::StaleView]
        );
        assert!(
            of_instance(&instance(), &observed)
                .iter()
                .all(|f| !f.message.contains('\u{1b}'))
        );
    }

    #[test]
    fn the_word_of_a_code_is_its_json() {
        let json = serde_json::to_string(&Code::LeaseRunsOut).unwrap();
        assert_eq!(json, format!("\"{}\"", Code::LeaseRunsOut.word()));
    }

    #[test]
    fn ages_are_short() {
        for (seconds, shown) in [
            (0.04, "0.0s"),
            (6.85, "6.8s"),
            (41.9, "41s"),
            (480.0, "8m"),
            (11_520.0, "3h12m"),
            (190_800.0, "2d5h"),
        ] {
            assert_eq!(age(Duration::from_secs_f64(seconds)), shown);
        }
    }
}
