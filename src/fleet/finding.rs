//! Why an instance, a service or the cluster looks wrong, and what to do about it: each rule once,
//! for table, JSON, TUI and doctor alike. A finding rests on what was observed; where nothing was
//! asked, nothing is found.

mod address;
mod cluster;
mod comings;
mod instance;
mod registry;

use std::fmt;
use std::time::Duration;

use serde::Serialize;

pub use address::{Addresses, shared_addresses};
pub use cluster::{Alarm, Cluster, Member, Standing, of_cluster};
pub use comings::Comings;
pub use instance::{Flaps, Observed, Ttl, of_instance};
pub use registry::of_poison;

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
    /// An operator took it out of the calls.
    Drained,
    /// No lease takes the record away when the process dies.
    NoLease,
    /// The lease ends soon and was not renewed.
    LeaseRunsOut,
    /// It was lost and came back again and again.
    LeaseFlaps,
    /// No address to call.
    NoEndpoint,
    /// Another instance of the service names the same address.
    SharedAddress,
    /// It refused a config value.
    ConfigRejected,
    /// It does not run the newest config.
    ConfigBehind,
    /// It says that its own view of etcd is old.
    StaleView,
    /// It holds itself for not alive.
    NotAlive,
    /// A key under the services prefix cannot be read.
    PoisonRecord,
    /// The cluster has no leader: nothing can be written.
    NoLeader,
    /// A member of the cluster does not answer.
    MemberUnreachable,
    /// A member of the cluster says that something is wrong with it.
    MemberComplains,
    /// The cluster has raised an alarm.
    Alarm,
    /// The database is nearly as large as it may be.
    QuotaNear,
}

impl Code {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::Hung,
        Self::Unreachable,
        Self::NotServing,
        Self::Drained,
        Self::NoLease,
        Self::LeaseRunsOut,
        Self::LeaseFlaps,
        Self::NoEndpoint,
        Self::SharedAddress,
        Self::ConfigRejected,
        Self::ConfigBehind,
        Self::StaleView,
        Self::NotAlive,
        Self::PoisonRecord,
        Self::NoLeader,
        Self::MemberUnreachable,
        Self::MemberComplains,
        Self::Alarm,
        Self::QuotaNear,
    ];

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
            Self::Drained => format!("{count} drained"),
            Self::NoLease => format!("{count} without lease"),
            Self::LeaseRunsOut => many("lease running out", "leases running out"),
            Self::LeaseFlaps => many("flapping lease", "flapping leases"),
            Self::NoEndpoint => format!("{count} without endpoint"),
            Self::SharedAddress => format!("{count} with a shared address"),
            Self::ConfigRejected => many("value refused", "values refused"),
            Self::ConfigBehind => format!("{count} behind in config"),
            Self::StaleView => many("old view of etcd", "old views of etcd"),
            Self::NotAlive => format!("{count} not alive"),
            Self::PoisonRecord => many("record unreadable", "records unreadable"),
            Self::NoLeader => "no leader".to_owned(),
            Self::MemberUnreachable => many("member unreachable", "members unreachable"),
            Self::MemberComplains => many("member complains", "members complain"),
            Self::Alarm => many("alarm", "alarms"),
            Self::QuotaNear => many("database nearly full", "databases nearly full"),
        }
    }

    /// The code as JSON has it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Hung => "hung",
            Self::Unreachable => "unreachable",
            Self::NotServing => "not_serving",
            Self::Drained => "drained",
            Self::NoLease => "no_lease",
            Self::LeaseRunsOut => "lease_runs_out",
            Self::LeaseFlaps => "lease_flaps",
            Self::NoEndpoint => "no_endpoint",
            Self::SharedAddress => "shared_address",
            Self::ConfigRejected => "config_rejected",
            Self::ConfigBehind => "config_behind",
            Self::StaleView => "stale_view",
            Self::NotAlive => "not_alive",
            Self::PoisonRecord => "poison_record",
            Self::NoLeader => "no_leader",
            Self::MemberUnreachable => "member_unreachable",
            Self::MemberComplains => "member_complains",
            Self::Alarm => "alarm",
            Self::QuotaNear => "quota_near",
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

    #[test]
    fn the_word_of_a_code_is_its_json() {
        for code in Code::ALL {
            let json = serde_json::to_string(&code).unwrap();
            assert_eq!(json, format!("\"{}\"", code.word()));
        }
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
