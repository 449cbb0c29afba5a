//! A real etcd, or a cluster of three, each with a directory and loopback ports of its own, which
//! nobody takes while it is down.
//!
//! Ended by its process id when dropped. A machine without etcd fails the test and is told what to
//! install; no test is skipped for it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::peers::Peers;
use crate::port::Port;

const MISSING: &str = "these tests need a real etcd: `apt-get install etcd-server etcd-client` (or put `etcd` and `etcdctl` on the PATH)";

/// How long a member may take to serve; a busy machine takes its time.
const START: Duration = Duration::from_secs(60);

/// One member: a process that can be killed, frozen, restarted and wiped.
#[derive(Debug)]
pub struct RealEtcd {
    name: String,
    directory: TempDir,
    client: Port,
    peer: Port,
    /// Where the other members reach it: its own peer port, or a proxy in front of that.
    peer_address: SocketAddr,
    /// Where plain HTTP answers beside TLS.
    plain: Option<Port>,
    scheme: &'static str,
    cluster: String,
    extra: Vec<String>,
    process: Mutex<Option<Child>>,
}

impl RealEtcd {
    /// Starts a cluster of one and waits until it serves.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with further arguments for etcd, such as `--quota-backend-bytes=…`.
    pub async fn start_with(extra: &[&str]) -> Self {
        let mut member = Self::prepare("one".to_owned(), extra);
        member.cluster = format!("one=http://{}", member.peer_address);
        member.spawn();
        member.ready().await;
        member
    }

    /// Starts a cluster of one that speaks TLS, with these PEM files and further arguments, such
    /// as `--trusted-ca-file=…` for an etcd that asks for its clients' certificates.
    pub async fn start_tls(certificate: &Path, key: &Path, extra: &[&str]) -> Self {
        let mut member = Self::prepare("one".to_owned(), extra);
        member.cluster = format!("one=http://{}", member.peer_address);
        member.scheme = "https";
        let plain = Port::reserve();
        for (name, file) in [("cert-file", certificate), ("key-file", key)] {
            member.extra.push(format!("--{name}={}", file.display()));
        }
        member
            .extra
            .push(format!("--listen-metrics-urls=http://{}", plain.address()));
        member.plain = Some(plain);
        member.spawn();
        member.ready().await;
        member
    }

    fn prepare(name: String, extra: &[&str]) -> Self {
        let peer = Port::reserve();
        Self {
            name,
            directory: tempfile::tempdir().expect("a temporary directory"),
            client: Port::reserve(),
            peer_address: peer.address(),
            peer,
            plain: None,
            scheme: "http",
            cluster: String::new(),
            extra: extra.iter().map(|&argument| argument.to_owned()).collect(),
            process: Mutex::new(None),
        }
    }

    /// Where clients reach it.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.client.address()
    }

    /// The address as an endpoint: `127.0.0.1:port`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.address().to_string()
    }

    /// Its name in the cluster.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn spawn(&self) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.directory.path().join("log"))
            .expect("a log file");
        let child = Command::new("etcd")
            .args(["--name", &self.name])
            .arg("--data-dir")
            .arg(self.data())
            .arg(format!(
                "--listen-client-urls={}://{}",
                self.scheme,
                self.address()
            ))
            .arg(format!(
                "--advertise-client-urls={}://{}",
                self.scheme,
                self.address()
            ))
            .arg(format!("--listen-peer-urls=http://{}", self.peer.address()))
            .arg(format!(
                "--initial-advertise-peer-urls=http://{}",
                self.peer_address
            ))
            .arg(format!("--initial-cluster={}", self.cluster))
            .args(["--logger=zap", "--log-level=warn"])
            .args(&self.extra)
            .env("ETCD_UNSUPPORTED_ARCH", std::env::consts::ARCH)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run etcd: {error}; {MISSING}"));
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
    }

    /// Waits until it serves and knows a leader.
    pub async fn ready(&self) {
        let deadline = Instant::now() + START;
        while !self.healthy().await {
            let exited = {
                let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
                process
                    .as_mut()
                    .and_then(|child| child.try_wait().ok().flatten())
            };
            if let Some(status) = exited {
                panic!("etcd ended at once ({status}):\n{}", self.log());
            }
            assert!(
                Instant::now() < deadline,
                "etcd does not serve after {START:?}:\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn healthy(&self) -> bool {
        let answer = tokio::time::timeout(Duration::from_secs(2), self.http("/health")).await;
        matches!(answer, Ok(Some(text)) if text.contains("\"health\":\"true\""))
    }

    /// A page of etcd's plain HTTP, such as `/metrics`; `None` when it does not answer.
    pub async fn http(&self, path: &str) -> Option<String> {
        let plain = self.plain.as_ref().unwrap_or(&self.client).address();
        let mut stream = TcpStream::connect(plain).await.ok()?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: etcd\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok()?;
        String::from_utf8(answer).ok()
    }

    /// What it has written to its log.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Kills the process at once, as a crash does. Its data stays.
    pub fn kill(&self) {
        let child = self
            .process
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(mut child) = child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again, on the same ports and data, without waiting until it serves.
    pub fn revive(&self) {
        self.kill();
        self.spawn();
    }

    /// Kills it, deletes its data, and starts it anew on the same ports.
    pub async fn wipe(&self) {
        self.kill();
        let _ = std::fs::remove_dir_all(self.data());
        self.spawn();
        self.ready().await;
    }

    /// Freezes the process: its sockets stay open, and nothing answers.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets a frozen process go on.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(child) = process.as_ref() {
            let status = Command::new("sh")
                .arg("-c")
                .arg(format!("kill -{name} {}", child.id()))
                .status()
                .expect("a shell to send a signal");
            assert!(status.success(), "cannot send SIG{name} to etcd");
        }
    }

    /// Its id in the cluster, in hex. It answers without a leader, too.
    async fn id(&self) -> String {
        let metrics = self.http("/metrics").await.unwrap_or_default();
        let id = metrics
            .lines()
            .find_map(|line| line.strip_prefix("etcd_server_id{server_id=\""));
        let id = id.and_then(|rest| rest.split('"').next());
        id.expect("a member that serves and says its id").to_owned()
    }

    /// Whether it believes itself to be the leader.
    async fn leads(&self) -> bool {
        let asked = tokio::time::timeout(Duration::from_secs(2), self.http("/metrics"));
        let metrics = asked.await.ok().flatten().unwrap_or_default();
        metrics
            .lines()
            .any(|line| line == "etcd_server_is_leader 1")
    }

    /// The revision of its store.
    pub async fn revision(&self) -> i64 {
        let status = self.etcdctl(&["endpoint", "status", "-w=json"]).await;
        number_after(&status, "\"revision\":")
    }

    /// Forgets all history before now.
    pub async fn compact(&self) {
        let now = self.revision().await.to_string();
        self.etcdctl(&["compact", "--physical", &now]).await;
    }

    /// Gives a database that was over its quota room again, and disarms the alarm.
    pub async fn make_room(&self) {
        self.compact().await;
        self.etcdctl(&["defrag"]).await;
        self.etcdctl(&["alarm", "disarm"]).await;
    }

    /// Turns authentication on, with a user `root` of this password who may do everything. Start
    /// it with `--bcrypt-cost=4`, for the sake of the machine; `--auth-token-ttl=…` are the seconds
    /// that a token outlives its last use.
    pub async fn turn_auth_on(&self, password: &str) {
        let user = format!("root:{password}");
        // They stay when it is turned off.
        if !self.etcdctl(&["user", "list"]).await.contains("root") {
            self.etcdctl(&["role", "add", "root"]).await;
            self.etcdctl(&["user", "add", &user]).await;
            self.etcdctl(&["user", "grant-role", "root", "root"]).await;
        }
        self.etcdctl(&["auth", "enable"]).await;
    }

    /// Turns it off again, users and roles left.
    pub async fn turn_auth_off(&self, password: &str) {
        let user = format!("--user=root:{password}");
        self.etcdctl(&[&user, "auth", "disable"]).await;
    }

    /// Runs `etcdctl` against this member and gives what it printed.
    pub async fn etcdctl(&self, arguments: &[&str]) -> String {
        etcdctl(&[self.endpoint()], arguments).await
    }
}

impl Drop for RealEtcd {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Three members of one cluster.
#[derive(Debug)]
pub struct Cluster {
    /// The members, in the order of their endpoints.
    pub members: Vec<RealEtcd>,
    /// The network between them, where it can be torn.
    peers: Option<Peers>,
}

impl Cluster {
    /// Starts three members and waits until each serves.
    pub async fn start() -> Self {
        Self::launch(Self::prepare(&[]), None).await
    }

    /// The same, with members that can be isolated from each other.
    pub async fn start_divisible() -> Self {
        Self::start_divisible_with(&[]).await
    }

    /// The same, with further arguments for each member.
    pub async fn start_divisible_with(extra: &[&str]) -> Self {
        let mut members = Self::prepare(extra);
        let behind: Vec<_> = members.iter().map(|one| one.peer.address()).collect();
        let (peers, before) = Peers::start(&behind);
        for (member, address) in members.iter_mut().zip(before) {
            member.peer_address = address;
        }
        Self::launch(members, Some(peers)).await
    }

    fn prepare(extra: &[&str]) -> Vec<RealEtcd> {
        (1..=3)
            .map(|number| RealEtcd::prepare(format!("m{number}"), extra))
            .collect()
    }

    async fn launch(mut members: Vec<RealEtcd>, peers: Option<Peers>) -> Self {
        let cluster = members
            .iter()
            .map(|member| format!("{}=http://{}", member.name, member.peer_address))
            .collect::<Vec<_>>()
            .join(",");
        for member in &mut members {
            member.cluster.clone_from(&cluster);
            member.spawn();
        }
        for member in &members {
            member.ready().await;
        }
        Self { members, peers }
    }

    /// Kills all members, deletes their data, and starts them anew on the same ports.
    pub async fn wipe(&self) {
        for member in &self.members {
            member.kill();
        }
        for member in &self.members {
            let _ = std::fs::remove_dir_all(member.data());
            member.spawn();
        }
        for member in &self.members {
            member.ready().await;
        }
    }

    /// Gives every member's database room again, once one was over its quota, and disarms the alarm.
    pub async fn make_room(&self) {
        self.members[0].compact().await;
        for member in &self.members {
            member.etcdctl(&["defrag"]).await;
        }
        self.members[0].etcdctl(&["alarm", "disarm"]).await;
    }

    /// Cuts these members off from the others, both ways, as a network does that drops packets;
    /// clients still reach all of them. With none of them named the network is whole again.
    ///
    /// # Panics
    /// When the cluster was not started as a divisible one.
    pub async fn isolate(&self, members: &[usize]) {
        let peers = self.peers.as_ref().expect("a cluster that is divisible");
        let mut isolated = Vec::new();
        for place in members {
            isolated.push((*place, self.members[*place].id().await));
        }
        peers.isolate(isolated);
    }

    /// The member that leads, once one says so and is not among those left out.
    pub async fn leader_beside(&self, left_out: &[usize]) -> usize {
        let deadline = Instant::now() + START;
        loop {
            for (place, member) in self.members.iter().enumerate() {
                if !left_out.contains(&place) && member.leads().await {
                    return place;
                }
            }
            assert!(Instant::now() < deadline, "no leader after {START:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The member that leads.
    pub async fn leader(&self) -> usize {
        self.leader_beside(&[]).await
    }

    /// Where clients reach them.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(RealEtcd::endpoint).collect()
    }

    /// Runs `etcdctl` with all members as endpoints.
    pub async fn etcdctl(&self, arguments: &[&str]) -> String {
        etcdctl(&self.endpoints(), arguments).await
    }
}

fn number_after(text: &str, name: &str) -> i64 {
    let rest = text.split_once(name).map_or("", |(_, rest)| rest);
    let end = rest.find(|c: char| !c.is_ascii_digit());
    rest[..end.unwrap_or(rest.len())]
        .parse()
        .unwrap_or_else(|_| panic!("no {name} in {text}"))
}

/// Runs `etcdctl` and gives what it printed; fails the test when it failed.
pub async fn etcdctl(endpoints: &[String], arguments: &[&str]) -> String {
    let output = tokio::process::Command::new("etcdctl")
        .env("ETCDCTL_API", "3")
        .arg(format!("--endpoints={}", endpoints.join(",")))
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap_or_else(|error| panic!("cannot run etcdctl: {error}; {MISSING}"));
    assert!(
        output.status.success(),
        "etcdctl {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
