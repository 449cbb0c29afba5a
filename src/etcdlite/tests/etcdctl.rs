//! etcdctl, as people use it, against a port.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::{Options, Server, VERSION};

struct Etcdctl {
    endpoint: String,
}

impl Etcdctl {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("etcdctl");
        command
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.endpoint])
            .args(arguments);
        command
    }

    fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments)
            .output()
            .unwrap_or_else(|error| panic!("etcdctl: {error}. Install Debian's etcd-client"))
    }

    /// What a command that works prints.
    fn run(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What a command that fails says.
    fn fails(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert!(!output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

fn with_etcdctl(test: impl FnOnce(&Etcdctl)) {
    let runtime = Runtime::new().unwrap();
    let addr = "127.0.0.1:0".parse().unwrap();
    let server = runtime
        .block_on(Server::bind(addr, Options::default()))
        .unwrap();
    test(&Etcdctl {
        endpoint: server.local_addr().unwrap().to_string(),
    });
    runtime.block_on(server.shutdown());
}

#[test]
fn etcdctl_puts_gets_deletes_and_compacts() {
    with_etcdctl(|etcdctl| {
        for key in ["k/1", "k/2", "other"] {
            assert_eq!(etcdctl.run(&["put", key, "value"]), "OK\n");
        }
        assert_eq!(
            etcdctl.run(&["put", "--prev-kv", "k/1", "new"]),
            "OK\nk/1\nvalue\n"
        );
        assert_eq!(etcdctl.run(&["get", "k/1"]), "k/1\nnew\n");
        assert_eq!(etcdctl.run(&["get", "--rev", "4", "k/1"]), "k/1\nvalue\n");
        assert_eq!(
            etcdctl.run(&["get", "--prefix", "--keys-only", "k/"]),
            "k/1\n\nk/2\n\n"
        );
        let sorted = [
            "get",
            "--prefix",
            "",
            "--order=DESCEND",
            "--sort-by=MODIFY",
            "--limit=1",
        ];
        assert_eq!(etcdctl.run(&sorted), "k/1\nnew\n");
        assert_eq!(etcdctl.run(&["del", "--prefix", "k/"]), "2\n");
        assert_eq!(etcdctl.run(&["del", "k/1"]), "0\n");
        assert_eq!(etcdctl.run(&["compaction", "6"]), "compacted revision 6\n");
        let error = etcdctl.fails(&["get", "--rev", "3", "k/1"]);
        assert!(
            error.contains("required revision has been compacted"),
            "{error}"
        );
        assert!(
            etcdctl
                .fails(&["put", "", "v"])
                .contains("key is not provided")
        );
        assert_eq!(etcdctl.run(&["defrag"]).lines().count(), 1);
    });
}

#[test]
fn etcdctl_runs_a_transaction() {
    with_etcdctl(|etcdctl| {
        etcdctl.run(&["put", "user", "bad"]);
        let mut child = etcdctl
            .command(&["txn", "--interactive"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let script = "value(\"user\") = \"bad\"\n\ndel user\nput done yes\n\nput user good\n\n";
        child
            .stdin
            .take()
            .unwrap()
            .write_all(script.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success() && said.contains("SUCCESS\n\n1\n\nOK"),
            "{said}"
        );
        assert_eq!(etcdctl.run(&["get", "user"]), "");
        assert_eq!(etcdctl.run(&["get", "done"]), "done\nyes\n");
    });
}

#[test]
fn etcdctl_watches_from_the_past_and_into_the_future() {
    with_etcdctl(|etcdctl| {
        etcdctl.run(&["put", "k/1", "old"]);
        let mut child = etcdctl
            .command(&["watch", "--prefix", "--rev", "2", "--prev-kv", "k/"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = std::sync::mpsc::channel();
        // Ends with the child's output.
        std::thread::spawn(move || {
            output
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        let deadline = Duration::from_secs(20);
        let read = |count: usize| -> Vec<String> {
            (0..count)
                .map(|_| lines.recv_timeout(deadline).expect("a line in time"))
                .collect()
        };
        assert_eq!(read(3), ["PUT", "k/1", "old"]);
        etcdctl.run(&["del", "k/1"]);
        assert_eq!(read(5), ["DELETE", "k/1", "old", "k/1", ""]);
        child.kill().unwrap();
        child.wait().unwrap();
    });
}

#[test]
fn etcdctl_keeps_a_lease() {
    with_etcdctl(|etcdctl| {
        let granted = etcdctl.run(&["lease", "grant", "100"]);
        let id = granted.split_whitespace().nth(1).unwrap();
        assert_eq!(granted, format!("lease {id} granted with TTL(100s)\n"));
        etcdctl.run(&["put", "--lease", id, "k", "v"]);
        assert!(etcdctl.run(&["lease", "list"]).contains(id));
        let left = etcdctl.run(&["lease", "timetolive", "--keys", id]);
        assert!(
            left.contains("granted with TTL(100s), remaining(99s), attached keys([k])"),
            "{left}"
        );
        let kept = etcdctl.run(&["lease", "keep-alive", "--once", id]);
        assert_eq!(kept, format!("lease {id} keepalived with TTL(100)\n"));
        assert_eq!(
            etcdctl.run(&["lease", "revoke", id]),
            format!("lease {id} revoked\n")
        );
        assert_eq!(etcdctl.run(&["get", "k"]), "");
        assert!(
            etcdctl
                .fails(&["lease", "revoke", id])
                .contains("requested lease not found")
        );
        let gone = etcdctl.run(&["lease", "timetolive", id]);
        assert_eq!(gone, format!("lease {id} already expired\n"));
    });
}

#[test]
fn etcdctl_asks_for_members_status_health_and_users() {
    with_etcdctl(|etcdctl| {
        let members = etcdctl.run(&["member", "list"]);
        assert!(
            members.contains(&format!("http://{}", etcdctl.endpoint)),
            "{members}"
        );
        let status = etcdctl.run(&["endpoint", "status"]);
        assert!(status.contains(VERSION), "{status}");
        let health = etcdctl.output(&["endpoint", "health"]);
        let said = String::from_utf8([health.stdout, health.stderr].concat()).unwrap();
        assert!(
            health.status.success() && said.contains("is healthy"),
            "{said}"
        );
        assert!(
            etcdctl
                .run(&["endpoint", "hashkv"])
                .contains(&etcdctl.endpoint)
        );
        assert_eq!(etcdctl.run(&["user", "list"]), "");
        assert_eq!(etcdctl.run(&["role", "list"]), "");
        assert_eq!(etcdctl.run(&["alarm", "list"]), "");
        assert!(
            etcdctl
                .fails(&["auth", "enable"])
                .contains("root user does not exist")
        );
        assert!(
            etcdctl
                .fails(&["snapshot", "save", "/nowhere/at/all"])
                .contains("rror")
        );
    });
}
