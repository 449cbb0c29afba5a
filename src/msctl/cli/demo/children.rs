//! The demo's processes: started, watched, ended. Each holds the reading end of a pipe from this
//! process and stops in order when it closes.

use std::collections::VecDeque;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::task::JoinHandle;

use super::certificates::Certificates;
use crate::report::{Failure, Report};
use crate::settings::{Context, Global};

/// How long children may take to finish calls and give their leases back.
const END_LIMIT: Duration = Duration::from_secs(5);

/// Lines of a child's log that are kept, to be shown when it fails.
const KEPT_LINES: usize = 20;

/// The longest line of a child's log that is kept.
const LINE_LIMIT: u64 = 4096;

/// What one child is to be.
pub(super) struct Plan<'a> {
    pub(super) service: &'static str,
    pub(super) instance: String,
    pub(super) zone: &'static str,
    /// The token that its calls need; the process list shows the file's name alone.
    pub(super) token_file: Option<&'a Path>,
    /// The keys that tokens are signed with.
    pub(super) jwks: Option<&'a Path>,
    pub(super) certificates: Option<&'a Certificates>,
}

/// All of them. Dropping it kills them.
#[derive(Default)]
pub(super) struct Children(Vec<Running>);

struct Running {
    service: &'static str,
    instance: String,
    child: Child,
    /// Kept apart from the child: waiting for a child closes the pipe it still holds.
    pipe: Option<ChildStdin>,
    log: Arc<Mutex<VecDeque<String>>>,
    reader: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Children {
    /// Starts one, by running this program again.
    pub(super) fn start(
        &mut self,
        plan: &Plan<'_>,
        context: &Context,
        global: &Global,
    ) -> Result<(), Failure> {
        let failed = |error: std::io::Error| {
            Failure::failed(format!("{} cannot be started: {error}", plan.instance))
        };
        let program = std::env::current_exe().map_err(failed)?;
        let mut command = Command::new(program);
        command
            .arg("demo-service")
            .arg(plan.service)
            .args(["--instance", &plan.instance, "--zone", plan.zone])
            .env_remove("MSCTL_CONTEXT")
            .env_remove("MSCTL_ENDPOINTS")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // A ctrl-c at the terminal is for this process, which then ends them in order.
            .process_group(0)
            .kill_on_drop(true);
        let prefixes = &context.prefixes;
        for (flag, prefix) in [
            ("--services-prefix", &prefixes.services),
            ("--config-prefix", &prefixes.config),
            ("--schema-prefix", &prefixes.schema),
            ("--status-prefix", &prefixes.status),
            ("--releases-prefix", &prefixes.releases),
        ] {
            command.arg(flag).arg(prefix.to_string());
        }
        for endpoint in &context.endpoints {
            command.args(["--etcd", endpoint]);
        }
        if let Some(file) = plan.token_file {
            command.arg("--token-file").arg(file);
        }
        if let Some(file) = plan.jwks {
            command.arg("--jwks").arg(file);
        }
        if let Some(made) = plan.certificates {
            command
                .arg("--certificate")
                .arg(made.certificate(plan.service));
            command.arg("--key").arg(made.key(plan.service));
            command.arg("--authority").arg(made.authority());
        }
        if global.verbose {
            command.env("RUST_LOG", "info");
        }
        let mut child = command.spawn().map_err(failed)?;
        let log = Arc::new(Mutex::new(VecDeque::new()));
        let kept = Arc::clone(&log);
        let stderr = child.stderr.take();
        let reader = tokio::spawn(async move {
            let Some(stderr) = stderr else { return };
            let mut lines = BufReader::new(stderr);
            let mut line = Vec::new();
            loop {
                line.clear();
                let read = (&mut lines)
                    .take(LINE_LIMIT)
                    .read_until(b'\n', &mut line)
                    .await;
                if !matches!(read, Ok(1..)) {
                    return;
                }
                let text = fleet::safe::escape_bytes(line.trim_ascii_end()).into_owned();
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() == KEPT_LINES {
                    kept.pop_front();
                }
                kept.push_back(text);
            }
        });
        self.0.push(Running {
            service: plan.service,
            instance: plan.instance.clone(),
            pipe: child.stdin.take(),
            child,
            log,
            reader,
        });
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn has(&self, service: &str, instance: &str) -> bool {
        self.0
            .iter()
            .any(|r| r.service == service && r.instance == instance)
    }

    /// Until one of them ends, which at the start is a failure.
    pub(super) async fn first_end(&mut self) -> Failure {
        let waits = self.0.iter_mut().map(|running| {
            let name = running.instance.clone();
            let log = Arc::clone(&running.log);
            Box::pin(async move {
                let how = running.child.wait().await;
                (name, log, how)
            })
        });
        let waits: Vec<_> = waits.collect();
        if waits.is_empty() {
            std::future::pending::<()>().await;
        }
        let ((name, log, how), ..) = futures::future::select_all(waits).await;
        let how = how.map_or_else(|error| error.to_string(), |status| status.to_string());
        Failure::failed(format!(
            "{name} ended at its start ({how}){}",
            words(&name, &log)
        ))
    }

    /// Tells of children that end, until cancelled: killing one is part of the demo.
    pub(super) async fn watch(&mut self, report: &Report) {
        loop {
            let mut left: Vec<&mut Running> = self
                .0
                .iter_mut()
                .filter(|r| r.child.id().is_some())
                .collect();
            if left.is_empty() {
                report.note("no service of the demo is left");
                std::future::pending::<()>().await;
            }
            let waits = left.iter_mut().map(|running| {
                let name = running.instance.clone();
                Box::pin(async move { (name, running.child.wait().await) })
            });
            let waits: Vec<_> = waits.collect();
            let ((name, how), ..) = futures::future::select_all(waits).await;
            let how = how.map_or_else(|error| error.to_string(), |status| status.to_string());
            report.note(&format!("{name} ended ({how})"));
        }
    }

    /// What they logged last, for the message of a failure.
    pub(super) fn last_words(&self) -> String {
        self.0
            .iter()
            .map(|running| words(&running.instance, &running.log))
            .collect()
    }

    /// Asks all of them to end, waits a while, and kills who is left.
    pub(super) async fn end(&mut self) {
        for running in &mut self.0 {
            // Closing the pipe is the request.
            drop(running.pipe.take());
        }
        let ended = async {
            for running in &mut self.0 {
                // A child that cannot be waited for is gone.
                let _ = running.child.wait().await;
            }
        };
        if tokio::time::timeout(END_LIMIT, ended).await.is_err() {
            self.kill().await;
        }
    }

    /// Kills who is left.
    pub(super) async fn kill(&mut self) {
        for running in &mut self.0 {
            // It may have ended by itself meanwhile.
            let _ = running.child.kill().await;
        }
    }
}

fn words(name: &str, log: &Mutex<VecDeque<String>>) -> String {
    let log = log.lock().unwrap_or_else(PoisonError::into_inner);
    log.iter()
        .map(|line| format!("\n  {name}: {line}"))
        .collect()
}
