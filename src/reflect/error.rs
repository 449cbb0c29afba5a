//! The crate's one error for everything but JSON text (`json::JsonError` carries a path instead).

/// What went wrong, with the thing it concerns and its cause.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Descriptors that do not decode or do not fit together.
    #[error("{origin}: {cause}")]
    Descriptors {
        /// Where the descriptors came from: a file, a server, a build.
        origin: String,
        /// What the linker found.
        cause: String,
    },
    /// A file that cannot be read.
    #[error("{path}: {source}")]
    File {
        /// The path as it was given.
        path: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// `protoc` is missing or failed.
    #[error("{0}")]
    Protoc(String),
    /// No such service, method, message or enum, or too many.
    #[error(transparent)]
    Find(#[from] crate::schema::FindError),
    /// Text that is not JSON, or not this message.
    #[error(transparent)]
    Json(#[from] crate::json::JsonError),
    /// A `google.api.http` rule that cannot work.
    #[error("{method}: {cause}")]
    Rule {
        /// The method's full name.
        method: String,
        /// Which part is wrong.
        cause: String,
    },
    /// The address, name or TLS material cannot be used.
    #[error("{target}: {cause}")]
    Target {
        /// The address as it was given.
        target: String,
        /// What is wrong with it.
        cause: String,
    },
    /// No connection: refused, unresolvable, TLS refused, or too slow.
    #[error("{target}: {cause}")]
    Connect {
        /// The address as it was given.
        target: String,
        /// The innermost cause in plain words: "connection refused".
        cause: String,
    },
    /// The server does not serve reflection in either version.
    #[error(
        "the server does not serve reflection ({cause}). Name its descriptors with --protoset or --proto"
    )]
    NoReflection {
        /// What it answered instead.
        cause: String,
    },
    /// The server's reflection answered with an error or against the protocol.
    #[error("reflection: {0}")]
    Reflection(String),
    /// A limit of ours was reached.
    #[error("{0}")]
    Limit(String),
    /// A deadline of ours passed.
    #[error("{what} took longer than {after:?}")]
    Deadline {
        /// What was waited for.
        what: String,
        /// The deadline.
        after: std::time::Duration,
    },
    /// Metadata that HTTP/2 cannot carry.
    #[error("header {name:?}: {cause}")]
    Header {
        /// The header's name as it was given.
        name: String,
        /// What is wrong with it.
        cause: String,
    },
}
