//! Connections to instances: how an endpoint becomes a channel, and what went wrong in plain words.
//!
//! The transport's own errors hide their cause behind "transport error"; here the cause is what is
//! said.

use std::time::Duration;

use tonic::transport::{Certificate, ClientTlsConfig, Endpoint as Dialer, Identity};

use crate::report::Failure;
use crate::settings::file::TlsFiles;

/// A dialer for an endpoint as it is registered; TLS trusts the system's roots.
///
/// # Errors
/// When the address makes no URL.
pub fn endpoint(endpoint: &fleet::Endpoint, connect_timeout: Duration) -> Result<Dialer, Failure> {
    let tls = endpoint.secure.then(TlsFiles::default);
    dialer(&endpoint.address, tls.as_ref(), connect_timeout)
}

/// A dialer for `host:port`, with TLS when files are given.
///
/// # Errors
/// When the address makes no URL or a file cannot be read.
pub fn dialer(
    address: &str,
    tls: Option<&TlsFiles>,
    connect_timeout: Duration,
) -> Result<Dialer, Failure> {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let bad = || {
        Failure::usage(format!("'{address}' is no address")).next("Write it like 127.0.0.1:9000.")
    };
    let mut dialer = Dialer::from_shared(format!("{scheme}://{address}"))
        .map_err(|_| bad())?
        .connect_timeout(connect_timeout)
        .tcp_nodelay(true)
        .http2_adaptive_window(true);
    if let Some(files) = tls {
        dialer = dialer
            .tls_config(tls_config(files)?)
            .map_err(|error| Failure::usage(format!("TLS to {address}: {}", cause(&error))))?;
    }
    Ok(dialer)
}

/// TLS as the files say.
///
/// # Errors
/// When a file cannot be read, or a certificate comes without its key.
pub fn tls_config(files: &TlsFiles) -> Result<ClientTlsConfig, Failure> {
    let read = |path: &std::path::Path| {
        std::fs::read(path).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
    };
    let mut config = ClientTlsConfig::new();
    config = match &files.cacert {
        Some(path) => config.ca_certificate(Certificate::from_pem(read(path)?)),
        None => config.with_native_roots(),
    };
    config = match (&files.cert, &files.key) {
        (Some(cert), Some(key)) => config.identity(Identity::from_pem(read(cert)?, read(key)?)),
        (None, None) => config,
        _ => {
            return Err(
                Failure::usage("a certificate and its key are given together")
                    .next("Give both --cert and --key."),
            );
        }
    };
    if let Some(name) = &files.server_name {
        config = config.domain_name(name);
    }
    Ok(config)
}

/// The innermost cause of an error, in plain words.
#[must_use]
pub fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let io = innermost.downcast_ref::<std::io::Error>();
    match io.map(std::io::Error::kind) {
        Some(std::io::ErrorKind::ConnectionRefused) => "connection refused".to_owned(),
        Some(std::io::ErrorKind::ConnectionReset) => "connection reset".to_owned(),
        Some(std::io::ErrorKind::TimedOut) => "connection timed out".to_owned(),
        _ => match innermost.to_string() {
            text if text == "deadline has elapsed" => "no connection in time".to_owned(),
            text => text,
        },
    }
}
