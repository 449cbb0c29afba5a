//! `msctl etcd`: the embedded etcd API server alone, in memory.

use std::net::SocketAddr;

use serde_json::json;

use crate::cli::signal;
use crate::report::{Failure, Report};

/// Run the embedded etcd API server, in memory, for development and tests.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Nothing is kept on disk: what it holds ends with it. Production is a real etcd cluster.

Examples:
  msctl etcd                                 on 127.0.0.1:2379, until ctrl-c
  msctl etcd --listen 127.0.0.1:0            on a free port, which is printed")]
pub struct Etcd {
    /// Where to listen; port 0 picks a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:2379", value_parser = listen_address)]
    listen: SocketAddr,
    /// Keep at least so many revisions of history; all when absent
    #[arg(long, value_name = "N")]
    keep_revisions: Option<u64>,
}

/// Reads `host:port`, `:port` or `port`.
///
/// # Errors
/// A sentence that names what is expected.
pub(crate) fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let full = match text.strip_prefix(':') {
        Some(port) => format!("127.0.0.1:{port}"),
        None if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => {
            format!("127.0.0.1:{text}")
        }
        None => text.replace("localhost:", "127.0.0.1:"),
    };
    full.parse()
        .map_err(|_| format!("'{text}' is no address; write it like 127.0.0.1:2379"))
}

impl Etcd {
    /// Serves until a signal.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn run(&self, report: &mut Report) -> Result<(), Failure> {
        let mut stop = signal::Stop::listen()?;
        let options = etcdlite::Options {
            auto_compact_revisions: self.keep_revisions,
            ..etcdlite::Options::default()
        };
        let server = etcdlite::Server::bind(self.listen, options)
            .await
            .map_err(|error| Failure::failed(error.to_string()))?;
        let address = server.local_addr().unwrap_or(self.listen);
        warn_if_exposed(address, "every key, without a password", report);
        report.one(&json!({ "address": address.to_string() }), |_, _| {
            format!("etcd listens on {address}")
        })?;
        report.note(&format!(
            "in memory, for development and tests; try: msctl --endpoints {address} cluster"
        ));
        stop.wait().await;
        server.shutdown().await;
        Ok(())
    }
}

/// Says what listening beyond this machine gives away.
pub(crate) fn warn_if_exposed(address: SocketAddr, what: &str, report: &Report) {
    if !address.ip().is_loopback() {
        report.warn(&format!(
            "{address} is open to the network and gives away {what}"
        ));
    }
}
