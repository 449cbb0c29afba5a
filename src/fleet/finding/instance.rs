//! The rules about one instance: what was found out about it from outside, and what it says of
//! itself.

use std::time::Duration;

use super::{Code, Finding, Severity, age};
use crate::drain;
use crate::health::Health;
use crate::safe::escape;
use crate::service::Instance;
use crate::status::{StatusRecord, Taken};

/// So many registrations within a minute are no restart any longer.
pub(super) const FLAPPING: u32 = 3;

/// The time a lease has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ttl {
    /// What it was granted.
    pub granted: Duration,
    /// What is left of it.
    pub left: Duration,
}

/// How often an instance came back under its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flaps {
    /// So many times.
    pub times: u32,
    /// Within this.
    pub within: Duration,
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
    /// How often it was lost and came back, for who watched.
    pub flaps: Option<Flaps>,
    /// What it says of itself.
    pub status: Option<&'a StatusRecord>,
    /// The newest config keys that it reads.
    pub config: Option<Taken>,
}

/// Everything that is wrong with an instance, the worst first.
#[must_use]
pub fn of_instance(instance: &Instance, observed: &Observed<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(health(instance, observed));
    registration(instance, observed, &mut findings);
    if let Some(status) = observed.status {
        said(instance, status, observed.config, &mut findings);
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

fn health(instance: &Instance, observed: &Observed<'_>) -> Option<Finding> {
    let id = &instance.record.id;
    let service = &instance.record.service;
    let drained = drain::is_drained(&instance.record);
    let detail = match observed.detail {
        "" => String::new(),
        detail => format!(": {detail}"),
    };
    let since = observed
        .since
        .map(|since| format!(" for {}", age(since)))
        .unwrap_or_default();
    Some(match observed.health {
        Health::Hung => Finding {
            code: Code::Hung,
            severity: Severity::Error,
            message: format!("hung{since}: the port accepts, health is not answered{detail}"),
            next: if drained {
                format!("look at the process of {id}; it is drained and gets no new calls")
            } else {
                format!(
                    "msctl services drain {service}/{id}; until then it gets calls from clients without health checks"
                )
            },
        },
        Health::Unreachable => Finding {
            code: Code::Unreachable,
            severity: Severity::Error,
            message: format!("unreachable{since}{detail}"),
            next: match instance.lease {
                Some(_) => format!(
                    "see whether the process of {id} runs and the address is right; its lease ends by itself if it is gone"
                ),
                None => format!("msctl services deregister {service}/{id}, if it is gone"),
            },
        },
        Health::NotServing => Finding {
            code: Code::NotServing,
            severity: Severity::Warning,
            message: format!("not serving{since}{detail}"),
            next: "it starts or drains; wait, or look at its log".into(),
        },
        Health::Serving | Health::Unknown => return None,
    })
}

fn registration(instance: &Instance, observed: &Observed<'_>, findings: &mut Vec<Finding>) {
    let id = &instance.record.id;
    let service = &instance.record.service;
    let mut found = |code, severity, message: String, next: String| {
        findings.push(Finding {
            code,
            severity,
            message,
            next,
        });
    };
    if drain::is_drained(&instance.record) {
        found(
            Code::Drained,
            Severity::Info,
            "drained: its weight is 0, it gets no new calls".into(),
            format!("msctl services undrain {service}/{id}"),
        );
    }
    if instance.lease.is_none() {
        found(
            Code::NoLease,
            Severity::Warning,
            "no lease: the record stays when the process dies".into(),
            format!(
                "register {service} with a lease; once the process is gone: msctl services deregister {service}/{id}"
            ),
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
    if let Some(Flaps { times, within }) = observed.flaps
        && times >= FLAPPING
    {
        found(
            Code::LeaseFlaps,
            Severity::Warning,
            format!("lost and back {times} times in {}", age(within)),
            "look at its connection to etcd, and whether the process restarts".into(),
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
}

fn said(
    instance: &Instance,
    status: &StatusRecord,
    newest: Option<Taken>,
    findings: &mut Vec<Finding>,
) {
    let mut found = |code, severity, message: String, next: String| {
        findings.push(Finding {
            code,
            severity,
            message,
            next,
        });
    };
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
    if let Some((runs, newest)) = newest.and_then(|newest| status.behind(&newest)) {
        found(
            Code::ConfigBehind,
            Severity::Warning,
            format!("runs config r{runs}, r{newest} is the newest"),
            format!("msctl config status {} --wait 10s", instance.record.service),
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

    fn status() -> StatusRecord {
        StatusRecord {
            revision: 4,
            taken: None,
            canary: None,
            overridden: Vec::new(),
            rejected: Vec::new(),
            liveness: Liveness {
                alive: true,
                detail: String::new(),
            },
            watch: WatchFreshness {
                revision: 4,
                stale: None,
            },
            written_at: "2026-11-22T10:00:00Z".parse().unwrap(),
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
        let mut drained = instance();
        drained.record.weight = 0;
        assert_eq!(codes(&drained, &healthy), [Code::Drained]);
        let ttl = |left| Observed {
            ttl: Some(Ttl {
                granted: Duration::from_secs(10),
                left: Duration::from_millis(left),
            }),
            ..healthy
        };
        assert_eq!(codes(&instance(), &ttl(2400)), [Code::LeaseRunsOut]);
        assert_eq!(codes(&instance(), &ttl(2500)), []);
        let flaps = |times| Observed {
            flaps: Some(Flaps {
                times,
                within: Duration::from_secs(60),
            }),
            ..healthy
        };
        assert_eq!(codes(&instance(), &flaps(3)), [Code::LeaseFlaps]);
        assert_eq!(codes(&instance(), &flaps(2)), []);
    }

    #[test]
    fn config_is_behind_by_what_the_instance_says_of_each_scope() {
        let plain = status();
        let by_scope = StatusRecord {
            taken: Some(Taken {
                service: 4,
                global: 2,
            }),
            ..status()
        };
        for (status, service, global, behind) in [
            (Some(&plain), 5, 0, true),
            (Some(&plain), 0, 5, true),
            (Some(&plain), 4, 4, false),
            (Some(&by_scope), 4, 2, false),
            (Some(&by_scope), 4, 3, true),
            (Some(&by_scope), 5, 2, true),
            (None, 5, 5, false),
        ] {
            let observed = Observed {
                config: Some(Taken { service, global }),
                status,
                ..Observed::default()
            };
            let wanted: &[Code] = if behind { &[Code::ConfigBehind] } else { &[] };
            assert_eq!(codes(&instance(), &observed), wanted, "{service} {global}");
        }
    }

    #[test]
    fn what_an_instance_says_of_itself_is_found_the_worst_first() {
        let status = StatusRecord {
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
            ..status()
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
    fn a_hung_instance_is_to_be_drained_until_it_is() {
        let observed = Observed {
            health: Health::Hung,
            ..Observed::default()
        };
        let next = |instance: &Instance| of_instance(instance, &observed)[0].next.clone();
        assert!(next(&instance()).starts_with("msctl services drain order/o-1"));
        let mut drained = instance();
        drained.record.weight = 0;
        assert!(!next(&drained).contains("services drain"));
    }
}
