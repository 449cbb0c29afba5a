//! What can go wrong with etcd, by what a caller can do about it.
//!
//! etcd's own errors are told apart by their text, as its protocol has no other field for them.
//! No variant carries a value, a password or a token.

use std::time::Duration;

use fleet::{LeaseId, Revision};
use tonic::{Code, Status};

/// Why a call on etcd failed. Every variant means that nothing was written, save [`Error::Lost`]
/// and [`Error::Deadline`], after which a write may or may not have happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No member could be connected to.
    #[error("etcd {}: {cause}", endpoints.join(", "))]
    Unreachable {
        /// The members that were tried.
        endpoints: Vec<String>,
        /// What the connection attempts ended with.
        cause: String,
    },
    /// The connection or the cluster failed while the call was under way.
    #[error("etcd {endpoint}: {method} was interrupted: {cause}")]
    Lost {
        /// The member asked.
        endpoint: String,
        /// The method called.
        method: &'static str,
        /// What the connection ended with.
        cause: String,
    },
    /// No answer in time.
    #[error("etcd {endpoint}: no answer to {method} within {}{}", seconds(*.after), last_cause(.cause))]
    Deadline {
        /// The member asked, or all of them.
        endpoint: String,
        /// The method called.
        method: &'static str,
        /// How long was waited.
        after: Duration,
        /// What the last attempt ended with, where one ended.
        cause: Option<String>,
    },
    /// The member answers, yet cannot take the call: it has no leader, or too much to do.
    #[error("etcd {endpoint}: cannot serve {method} now: {cause}")]
    Unavailable {
        /// The member asked.
        endpoint: String,
        /// The method called.
        method: &'static str,
        /// etcd's words.
        cause: String,
    },
    /// Name or password are wrong or missing.
    #[error("etcd {endpoint}: not authenticated: {cause}")]
    Auth {
        /// The member asked.
        endpoint: String,
        /// etcd's words.
        cause: String,
    },
    /// The user may not do this.
    #[error("etcd {endpoint}: permission denied for {method}")]
    PermissionDenied {
        /// The member asked.
        endpoint: String,
        /// The method called.
        method: &'static str,
    },
    /// etcd's database is full and takes no writes.
    #[error(
        "etcd {endpoint}: its database is full (space quota exceeded); compact, defragment and disarm the alarm"
    )]
    NoSpace {
        /// The member asked.
        endpoint: String,
    },
    /// The request is larger than etcd takes.
    #[error("a request of {bytes} bytes is larger than etcd takes ({limit}); split it")]
    TooLarge {
        /// The size of the request.
        bytes: usize,
        /// What etcd takes.
        limit: usize,
    },
    /// History before this was compacted away.
    #[error("revision {revision} was compacted away; read the present state instead")]
    Compacted {
        /// The revision asked for.
        revision: Revision,
    },
    /// The store has not reached this revision: it is another one, or was restored.
    #[error("revision {revision} lies in the future of this etcd; was it restored or replaced?")]
    Future {
        /// The revision asked for.
        revision: Revision,
    },
    /// There is no such lease, or no longer.
    #[error("lease {id} does not exist or has expired")]
    LeaseNotFound {
        /// The lease.
        id: LeaseId,
    },
    /// A lease of this id exists already.
    #[error("lease {id} exists already")]
    LeaseExists {
        /// The lease.
        id: LeaseId,
    },
    /// etcd refused for another reason.
    #[error("etcd {endpoint}: {method} refused: {message} ({code:?})")]
    Rejected {
        /// The member asked.
        endpoint: String,
        /// The method called.
        method: &'static str,
        /// The status code.
        code: Code,
        /// etcd's words.
        message: String,
    },
    /// The settings cannot be used.
    #[error("etcd settings: {0}")]
    Settings(String),
}

impl Error {
    /// Whether a write that ended so may have happened all the same.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        matches!(self, Self::Lost { .. } | Self::Deadline { .. })
    }

    /// Whether etcd was away, rather than present and refusing.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Lost { .. }
                | Self::Deadline { .. }
                | Self::Unavailable { .. }
        )
    }
}

fn seconds(after: Duration) -> String {
    if after.subsec_nanos() == 0 {
        format!("{} s", after.as_secs())
    } else {
        format!("{:.1} s", after.as_secs_f64())
    }
}

fn last_cause(cause: &Option<String>) -> String {
    cause
        .as_ref()
        .map_or_else(String::new, |cause| format!(" (last: {cause})"))
}

/// What to do after an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Asking again would give the same.
    Final,
    /// It did not happen; another member, or the same one later, may do it.
    NotDone,
    /// It may have happened.
    Ambiguous,
    /// It did not happen for want of a valid token.
    Reauthenticate,
}

/// What the call was about, to fill the words of its error.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) endpoint: &'a str,
    pub(crate) method: &'static str,
    pub(crate) lease: Option<LeaseId>,
    pub(crate) revision: Revision,
    pub(crate) bytes: usize,
    pub(crate) limit: usize,
}

/// Reads an answer that etcd itself gave.
pub(crate) fn judge(status: &Status, subject: Subject<'_>) -> (Error, Verdict) {
    let text = status.message();
    let endpoint = || subject.endpoint.to_owned();
    let method = subject.method;
    let has = |part: &str| text.contains(part);
    let auth = || Error::Auth {
        endpoint: endpoint(),
        cause: text.to_owned(),
    };
    let unavailable = || Error::Unavailable {
        endpoint: endpoint(),
        method,
        cause: text.to_owned(),
    };
    if status.code() == Code::Unauthenticated
        || has("invalid auth token")
        || has("revision of auth store is old")
        || has("revision in header is old")
        || has("user name is empty")
    {
        return (auth(), Verdict::Reauthenticate);
    }
    if has("authentication failed") || has("invalid user ID or password") {
        return (auth(), Verdict::Final);
    }
    if has("permission denied") || status.code() == Code::PermissionDenied {
        let error = Error::PermissionDenied {
            endpoint: endpoint(),
            method,
        };
        return (error, Verdict::Final);
    }
    if has("database space exceeded") {
        return (
            Error::NoSpace {
                endpoint: endpoint(),
            },
            Verdict::Final,
        );
    }
    if has("request is too large") || has("trying to send message larger than max") {
        let error = Error::TooLarge {
            bytes: subject.bytes,
            limit: subject.limit,
        };
        return (error, Verdict::Final);
    }
    if has("required revision has been compacted") {
        let revision = subject.revision;
        return (Error::Compacted { revision }, Verdict::Final);
    }
    if has("required revision is a future revision") {
        let revision = subject.revision;
        return (Error::Future { revision }, Verdict::Final);
    }
    if let Some(id) = subject.lease {
        if has("requested lease not found") {
            return (Error::LeaseNotFound { id }, Verdict::Final);
        }
        if has("lease already exists") {
            return (Error::LeaseExists { id }, Verdict::Final);
        }
    }
    let lost = || Error::Lost {
        endpoint: endpoint(),
        method,
        cause: text.to_owned(),
    };
    // These are answered before anything is proposed to the cluster.
    if has("etcdserver: no leader") || has("too many requests") || has("not capable") {
        return (unavailable(), Verdict::NotDone);
    }
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded | Code::Aborted | Code::Cancelled => {
            (lost(), Verdict::Ambiguous)
        }
        // A member that panics, stops or loses its proposal answers with these.
        Code::Unknown | Code::Internal
            if has("server stopped") || has("raft") || has("context") =>
        {
            (lost(), Verdict::Ambiguous)
        }
        code => {
            let error = Error::Rejected {
                endpoint: endpoint(),
                method,
                code,
                message: text.to_owned(),
            };
            (error, Verdict::Final)
        }
    }
}

/// The innermost cause in words: "connection refused", not "transport error".
pub(crate) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut deepest = error;
    let mut found = None;
    let mut at = Some(error);
    while let Some(current) = at {
        if let Some(io) = current.downcast_ref::<std::io::Error>() {
            found = match io.kind() {
                std::io::ErrorKind::ConnectionRefused => Some("connection refused".to_owned()),
                std::io::ErrorKind::ConnectionReset => Some("connection reset".to_owned()),
                std::io::ErrorKind::TimedOut => Some("no answer to the connection".to_owned()),
                _ => found,
            };
        }
        deepest = current;
        at = current.source();
    }
    found.unwrap_or_else(|| {
        let text = deepest.to_string();
        match text.find(" (os error") {
            Some(end) => text[..end].to_lowercase(),
            None => text,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(code: Code, text: &str) -> (Error, Verdict) {
        let subject = Subject {
            endpoint: "127.0.0.1:2379",
            method: "Txn",
            lease: LeaseId::new(0x2a),
            revision: Revision(7),
            bytes: 2_000_000,
            limit: 1_572_864,
        };
        judge(&Status::new(code, text), subject)
    }

    #[test]
    fn etcds_errors_are_recognised_by_their_text() {
        use Verdict::{Ambiguous, Final, NotDone, Reauthenticate};
        #[rustfmt::skip]
        let cases = [
            (Code::Unauthenticated, "etcdserver: invalid auth token", "Auth", Reauthenticate),
            (Code::InvalidArgument, "etcdserver: revision of auth store is old", "Auth", Reauthenticate),
            (Code::InvalidArgument, "etcdserver: user name is empty", "Auth", Reauthenticate),
            (Code::InvalidArgument, "etcdserver: authentication failed, invalid user ID or password", "Auth", Final),
            (Code::PermissionDenied, "etcdserver: permission denied", "PermissionDenied", Final),
            (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded", "NoSpace", Final),
            (Code::InvalidArgument, "etcdserver: request is too large", "TooLarge", Final),
            (Code::ResourceExhausted, "grpc: trying to send message larger than max (3 vs. 2)", "TooLarge", Final),
            (Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted", "Compacted", Final),
            (Code::OutOfRange, "etcdserver: mvcc: required revision is a future revision", "Future", Final),
            (Code::NotFound, "etcdserver: requested lease not found", "LeaseNotFound", Final),
            (Code::FailedPrecondition, "etcdserver: lease already exists", "LeaseExists", Final),
            (Code::Unavailable, "etcdserver: no leader", "Unavailable", NotDone),
            (Code::ResourceExhausted, "etcdserver: too many requests", "Unavailable", NotDone),
            (Code::Unavailable, "etcdserver: leader changed", "Lost", Ambiguous),
            (Code::Unavailable, "etcdserver: request timed out", "Lost", Ambiguous),
            (Code::Unavailable, "etcdserver: request timed out, possibly due to connection lost", "Lost", Ambiguous),
            (Code::Unavailable, "etcdserver: server stopped", "Lost", Ambiguous),
            (Code::Unknown, "raft proposal dropped", "Lost", Ambiguous),
            (Code::InvalidArgument, "etcdserver: duplicate key given in txn request", "Rejected", Final),
            (Code::FailedPrecondition, "etcdserver: authentication is not enabled", "Rejected", Final),
        ];
        for (code, text, kind, verdict) in cases {
            let (error, given) = check(code, text);
            let shown = format!("{error:?}");
            assert!(shown.starts_with(kind), "{text}: {shown}");
            assert_eq!(given, verdict, "{text}");
        }
    }

    #[test]
    fn a_refused_connection_is_named_in_words() {
        let io = std::io::Error::from_raw_os_error(111);
        assert_eq!(root_cause(&io), "connection refused");
    }

    #[test]
    fn an_error_names_the_member_and_the_cause() {
        let error = Error::Unreachable {
            endpoints: vec!["127.0.0.1:2379".into()],
            cause: "connection refused".into(),
        };
        assert_eq!(error.to_string(), "etcd 127.0.0.1:2379: connection refused");
        let error = Error::Deadline {
            endpoint: "a:1".into(),
            method: "Range",
            after: Duration::from_millis(1500),
            cause: Some("no leader".into()),
        };
        assert_eq!(
            error.to_string(),
            "etcd a:1: no answer to Range within 1.5 s (last: no leader)"
        );
    }
}
