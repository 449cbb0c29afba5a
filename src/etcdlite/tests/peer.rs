//! A real etcd to compare with: its own process, data in a temporary folder, killed at the end.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use etcd_client::proto::PbStatusRequest;
use tempfile::TempDir;
use tonic::transport::Endpoint;

use super::client::Api;

/// Names another etcd to compare with, such as one built from `tests/etcd36`.
pub(super) const PEER_VARIABLE: &str = "ETCDLITE_PEER_ETCD";

pub(super) struct Peer {
    process: Child,
    _data: TempDir,
    pub(super) api: Api,
    pub(super) version: String,
}

impl Peer {
    pub(super) async fn start() -> Self {
        let binary = std::env::var(PEER_VARIABLE).unwrap_or_else(|_| "etcd".to_owned());
        // Every write is synced to disk; memory makes that quick.
        let memory = PathBuf::from("/dev/shm");
        let parent = if memory.is_dir() {
            memory
        } else {
            std::env::temp_dir()
        };
        let data = tempfile::Builder::new()
            .prefix("etcdlite-peer")
            .tempdir_in(parent)
            .unwrap();
        let (client, peer) = (free_port(), free_port());
        let client_url = format!("http://127.0.0.1:{client}");
        let peer_url = format!("http://127.0.0.1:{peer}");
        let process = Command::new(&binary)
            .args(["--name", "peer", "--data-dir"])
            .arg(data.path())
            .args([
                "--listen-client-urls",
                &client_url,
                "--advertise-client-urls",
                &client_url,
            ])
            .args([
                "--listen-peer-urls",
                &peer_url,
                "--initial-advertise-peer-urls",
                &peer_url,
            ])
            .args([
                "--initial-cluster",
                &format!("peer={peer_url}"),
                "--log-level",
                "error",
            ])
            .arg("--unsafe-no-fsync")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{binary}: {error}. Install Debian's etcd-server, or set {PEER_VARIABLE}")
            });
        let channel = Endpoint::from_shared(client_url).unwrap().connect_lazy();
        let mut peer = Self {
            process,
            _data: data,
            api: Api::new(channel),
            version: String::new(),
        };
        peer.version = peer.until_ready().await;
        peer
    }

    /// Whether this is the line whose quirks the differential test knows by name.
    pub(super) fn is_3_4(&self) -> bool {
        self.version.starts_with("3.4.")
    }

    async fn until_ready(&mut self) -> String {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            match self.api.status(PbStatusRequest {}).await {
                Ok(status) if status.leader != 0 => return status.version,
                other => assert!(Instant::now() < deadline, "etcd did not start: {other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}
