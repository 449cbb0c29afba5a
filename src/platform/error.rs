//! What can go wrong where a service's author has to know: each names the thing, the cause and
//! the next step. Faults of etcd and of peers are no errors here: the library lives with them.

use std::io;
use std::path::PathBuf;

use fleet::config::Origin;

/// See the module.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name given to the builder, or to `channel`, is no name.
    #[error("{what}: {cause}")]
    Name {
        /// What was to be named.
        what: &'static str,
        /// What is wrong with it.
        cause: fleet::NameError,
    },
    /// `config.yaml` cannot be used.
    #[error("config file {path}: {cause}. Correct it, or start without config_file()", path = path.display())]
    ConfigFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// No layer has a value for a key that the service needs.
    #[error(
        "config {service}/{key}: no layer has a value. Give a default in code or in config.yaml, or set it with 'msctl config set {service}/{key} …'"
    )]
    NoValue {
        /// The service.
        service: String,
        /// The key.
        key: String,
    },
    /// A value of a local layer is not of the type that the service reads.
    #[error("config {service}/{key} (from {origin}): {cause}. Correct it there")]
    BadValue {
        /// The service.
        service: String,
        /// The key.
        key: String,
        /// Where the value stands.
        origin: Origin,
        /// What is wrong with it.
        cause: String,
    },
    /// The type given to `schema` describes no config.
    #[error("config schema from {name}: {cause}")]
    Schema {
        /// The type.
        name: &'static str,
        /// What is wrong with it.
        cause: String,
    },
    /// The etcd settings cannot be used.
    #[error("etcd settings: {0}")]
    Etcd(#[source] etcd::Error),
    /// Trust or identity for TLS cannot be used.
    #[error("{what}: {cause}")]
    Tls {
        /// Which certificate or key.
        what: &'static str,
        /// What is wrong with it; nothing of its content.
        cause: String,
    },
    /// Descriptors of methods cannot be read.
    #[error(
        "descriptors: {cause}. Give a serialised FileDescriptorSet with its imports, as protoc --include_imports writes it"
    )]
    Descriptors {
        /// What is wrong with them.
        cause: String,
    },
    /// The collector of spans cannot be one.
    #[error(
        "telemetry to {endpoint}: {cause}. Give a URL such as http://127.0.0.1:4317, or unset OTEL_EXPORTER_OTLP_ENDPOINT"
    )]
    Telemetry {
        /// The endpoint as it was given.
        endpoint: String,
        /// What is wrong with it.
        cause: String,
    },
    /// A prefix is empty.
    #[error("{0}")]
    Prefix(#[from] fleet::EmptyPrefix),
    /// The port cannot be had.
    #[error("cannot listen on {address}: {cause}. Free the port, or choose another with listen()")]
    Listen {
        /// The address.
        address: String,
        /// Why not.
        cause: io::Error,
    },
    /// The server cannot be made, or ended by itself.
    #[error("serving {service}: {cause}")]
    Serve {
        /// The service.
        service: String,
        /// Why.
        cause: String,
    },
    /// The advertised address is no endpoint.
    #[error("advertise: {0}")]
    Advertise(#[from] fleet::EndpointError),
    /// A signal handler or a thread cannot be had.
    #[error("{what}: {cause}")]
    System {
        /// What was asked of the system.
        what: &'static str,
        /// Why not.
        cause: io::Error,
    },
}
