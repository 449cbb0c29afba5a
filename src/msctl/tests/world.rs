//! What a test runs in: an etcd of its own, embedded or real, a home of its own, and the binary.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::realetcd::RealEtcd;

/// How long anything that is waited for may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// An etcd and a home.
pub(crate) struct World {
    pub(crate) endpoint: String,
    pub(crate) home: TempDir,
    _etcd: Etcd,
}

enum Etcd {
    Embedded {
        _server: Running,
    },
    Real {
        _runtime: tokio::runtime::Runtime,
        _server: Box<RealEtcd>,
    },
}

/// What a run of the binary left behind.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }
}

/// Runs a test over both kinds of etcd, each with a world of its own.
pub(crate) fn over_both(test: impl Fn(&World) + Sync) {
    std::thread::scope(|scope| {
        let real = scope.spawn(|| test(&World::real()));
        test(&World::embedded());
        real.join().expect("over a real etcd");
    });
}

impl World {
    pub(crate) fn embedded() -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut server =
            Running::start(command(home.path()).args(["etcd", "--listen", "127.0.0.1:0"]));
        let line = server.line();
        let endpoint = line
            .trim()
            .rsplit(' ')
            .next()
            .expect("an address")
            .to_owned();
        assert!(endpoint.starts_with("127.0.0.1:"), "{line}");
        Self {
            endpoint,
            home,
            _etcd: Etcd::Embedded { _server: server },
        }
    }

    pub(crate) fn real() -> Self {
        Self::real_with(&[])
    }

    /// A real etcd with further arguments.
    pub(crate) fn real_with(extra: &[&str]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let server = runtime.block_on(RealEtcd::start_with(extra));
        Self {
            endpoint: server.endpoint(),
            home: tempfile::tempdir().unwrap(),
            _etcd: Etcd::Real {
                _runtime: runtime,
                _server: Box::new(server),
            },
        }
    }

    /// The binary with this world's etcd and home.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(self.home.path());
        command
            .args(["--endpoints", &self.endpoint])
            .args(arguments);
        command
    }

    /// Runs the binary to its end.
    pub(crate) fn msctl(&self, arguments: &[&str]) -> Done {
        run(&mut self.command(arguments), b"")
    }

    /// The same with something on stdin.
    pub(crate) fn msctl_with(&self, arguments: &[&str], stdin: &[u8]) -> Done {
        run(&mut self.command(arguments), stdin)
    }

    /// Puts a key as any other tool would, with etcdctl.
    pub(crate) fn etcdctl(&self, arguments: &[&str]) -> String {
        let done = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.endpoint])
            .args(arguments)
            .output()
            .expect("etcdctl: apt-get install etcd-client");
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stdout).unwrap()
    }

    /// Registers an instance of `order` that offers nothing.
    pub(crate) fn register(&self, id: &str) {
        self.register_at(id, &[]);
    }

    /// The same with endpoints.
    pub(crate) fn register_at(&self, id: &str, endpoints: &[String]) {
        let record = json!({"service": "order", "id": id, "version": "1", "endpoints": endpoints, "weight": 100, "metadata": {}});
        self.etcdctl(&["put", &format!("/services/order/{id}"), &record.to_string()]);
    }

    /// What an instance of `order` says it runs, and what it refused.
    pub(crate) fn says(&self, id: &str, revision: i64, rejected: &Value) {
        let status = json!({"revision": revision, "rejected": rejected, "liveness": {"alive": true}, "watch": {"revision": revision}, "written_at": "2026-11-22T10:00:00Z"});
        self.etcdctl(&["put", &format!("/status/order/{id}"), &status.to_string()]);
    }

    /// `config set`, and the revision it was written at.
    pub(crate) fn set(&self, arguments: &[&str]) -> i64 {
        let mut all = vec!["config", "set", "-o", "json"];
        all.extend(arguments);
        self.msctl(&all).ok().json()["revision"].as_i64().unwrap()
    }

    /// A text with what differs from run to run named instead.
    pub(crate) fn plain(&self, text: &str) -> String {
        text.replace(&self.endpoint, "ETCD")
            .replace(&*self.home.path().to_string_lossy(), "HOME")
    }
}

/// The binary without anything of the caller's environment that it reads.
pub(crate) fn command(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_msctl"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MSCTL_") {
            command.env_remove(name);
        }
    }
    command
        .env("HOME", home)
        .env("XDG_CONFIG_HOME", home)
        .env("USER", "tester")
        .env_remove("NO_COLOR")
        .stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command, stdin: &[u8]) -> Done {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let stdin = stdin.to_vec();
    let writer = std::thread::spawn(move || {
        // Who does not read its stdin closes it early.
        let _ = pipe.write_all(&stdin);
    });
    let done = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Done {
        code: code(done.status),
        out: String::from_utf8(done.stdout).unwrap(),
        err: String::from_utf8(done.stderr).unwrap(),
    }
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or(-1)
}

/// A process that runs on: its output is read line by line, and it is killed in the end.
pub(crate) struct Running {
    pub(crate) child: Child,
    lines: Receiver<String>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = lines(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// The same, with the lines of its stderr.
    pub(crate) fn start_telling(command: &mut Command) -> (Self, Receiver<String>) {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let told = lines(child.stderr.take().unwrap());
        let out = lines(child.stdout.take().unwrap());
        (Self { child, lines: out }, told)
    }

    /// The next line of its output.
    #[track_caller]
    pub(crate) fn line(&mut self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line of output")
    }

    /// The next line of its output, if one is there already.
    pub(crate) fn try_line(&mut self) -> Option<String> {
        self.lines.try_recv().ok()
    }

    /// The next line as JSON.
    #[track_caller]
    pub(crate) fn json(&mut self) -> Value {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("no JSON ({error}): {line}"))
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .args([signal, &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn end(&mut self) -> i32 {
        let mut status = None;
        until("the process ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.map_or(-1, code)
    }
}

/// What a process writes, line by line.
fn lines(out: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (send, lines) = std::sync::mpsc::sync_channel(1024);
    std::thread::spawn(move || {
        for line in BufReader::new(out).lines() {
            let Ok(line) = line else { return };
            if send.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
