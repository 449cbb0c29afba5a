//! Why a request is refused, with the gRPC code and the words of etcd's `rpctypes`.
//! Invariant: clients recognise these by text, so the text is part of the protocol and never varies.

use tonic::{Code, Status};

/// A refusal as etcd words it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// A key, or the start of a range, is empty.
    #[error("etcdserver: key is not provided")]
    EmptyKey,
    /// `ignore_value` or `ignore_lease` on a missing key, or a txn operation without content.
    #[error("etcdserver: key not found")]
    KeyNotFound,
    /// `ignore_value` together with a value.
    #[error("etcdserver: value is provided")]
    ValueProvided,
    /// `ignore_lease` together with a lease.
    #[error("etcdserver: lease is provided")]
    LeaseProvided,
    /// More than 128 operations in one list of a txn.
    #[error("etcdserver: too many operations in txn request")]
    TooManyOps,
    /// One key is put twice, or put and deleted, in one txn.
    #[error("etcdserver: duplicate key given in txn request")]
    DuplicateKey,
    /// A sort order or target outside the enumeration.
    #[error("etcdserver: invalid sort option")]
    InvalidSortOption,
    /// The revision lies below the compacted one.
    #[error("etcdserver: mvcc: required revision has been compacted")]
    Compacted,
    /// The revision lies above the current one.
    #[error("etcdserver: mvcc: required revision is a future revision")]
    FutureRevision,
    /// The NOSPACE alarm is raised.
    #[error("etcdserver: mvcc: database space exceeded")]
    NoSpace,
    /// The CORRUPT alarm is raised.
    #[error("etcdserver: corrupt cluster")]
    Corrupt,
    /// No such lease.
    #[error("etcdserver: requested lease not found")]
    LeaseNotFound,
    /// A lease of that id exists.
    #[error("etcdserver: lease already exists")]
    LeaseExists,
    /// A lease of more than 9,000,000,000 seconds.
    #[error("etcdserver: too large lease TTL")]
    LeaseTtlTooLarge,
    /// A request of more than 1.5 MiB.
    #[error("etcdserver: request is too large")]
    RequestTooLarge,
    /// The server is shutting down.
    #[error("etcdserver: server stopped")]
    Stopped,
    /// Authentication is off, so nobody can authenticate.
    #[error("etcdserver: authentication is not enabled")]
    AuthNotEnabled,
    /// Authentication cannot be enabled without a root user.
    #[error("etcdserver: root user does not exist")]
    RootUserNotExist,
    /// No such user.
    #[error("etcdserver: user name not found")]
    UserNotFound,
    /// No such role.
    #[error("etcdserver: role name not found")]
    RoleNotFound,
    /// No such member.
    #[error("etcdserver: member not found")]
    MemberNotFound,
    /// The only member is no learner.
    #[error("etcdserver: can only promote a learner member")]
    MemberNotLearner,
    /// Leadership cannot move to that member.
    #[error("etcdserver: bad leader transferee")]
    BadLeaderTransferee,
}

impl Refusal {
    /// The gRPC code etcd gives with it.
    #[must_use]
    pub fn code(self) -> Code {
        match self {
            Self::EmptyKey
            | Self::KeyNotFound
            | Self::ValueProvided
            | Self::LeaseProvided
            | Self::TooManyOps
            | Self::DuplicateKey
            | Self::InvalidSortOption
            | Self::RequestTooLarge => Code::InvalidArgument,
            Self::Compacted | Self::FutureRevision | Self::LeaseTtlTooLarge => Code::OutOfRange,
            Self::NoSpace => Code::ResourceExhausted,
            Self::Corrupt => Code::DataLoss,
            Self::LeaseNotFound | Self::MemberNotFound => Code::NotFound,
            Self::Stopped => Code::Unavailable,
            Self::LeaseExists
            | Self::AuthNotEnabled
            | Self::RootUserNotExist
            | Self::UserNotFound
            | Self::RoleNotFound
            | Self::MemberNotLearner
            | Self::BadLeaderTransferee => Code::FailedPrecondition,
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.code(), refusal.to_string())
    }
}
