//! The command line against its peers in one run, as medians: starting, calling a method near and
//! far, listing a large registry. Peers that are not installed are left out: `etcdctl` comes with
//! Debian, `grpcurl` with `go install github.com/fullstorydev/grpcurl/cmd/grpcurl@latest`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark"
)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fleet::{Edit, Plan, Seen};
use tests::proxy::{Mode, Proxy};
use tests::realetcd::RealEtcd;

const MSCTL: &str = env!("CARGO_BIN_EXE_msctl");

/// Half of the round trip to a server that is far away.
const ONE_WAY: Duration = Duration::from_millis(25);

/// Instances of the large registry.
const INSTANCES: usize = 100_000;

struct Measured {
    name: String,
    times: Vec<Duration>,
    /// The most memory it held, in MiB, as far as it was seen.
    peak: u64,
}

fn main() {
    // `cargo test --benches` builds and starts benchmarks too.
    if !std::env::args().any(|word| word == "--bench") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let home = tempfile::tempdir().unwrap();
    start(home.path());
    call(home.path(), &runtime);
    list(home.path(), &runtime);
}

fn command(home: &std::path::Path, program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("HOME", home)
        .env("ETCDCTL_API", "3")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// Runs each in turn, so that a busy moment meets all of them.
fn measure(title: &str, rounds: usize, commands: &mut [(&str, Command)]) {
    let mut all: Vec<Measured> = commands
        .iter()
        .map(|(name, _)| Measured {
            name: (*name).to_owned(),
            times: Vec::new(),
            peak: 0,
        })
        .collect();
    for _ in 0..rounds {
        for ((name, command), measured) in commands.iter_mut().zip(&mut all) {
            let begun = Instant::now();
            let mut child = command.spawn().unwrap_or_else(|e| panic!("{name}: {e}"));
            if rounds < 10 {
                watch(&mut child, &mut measured.peak);
            }
            let status = child.wait().unwrap();
            measured.times.push(begun.elapsed());
            assert!(status.success(), "{name}: {status}");
        }
    }
    println!("\n{title}");
    for measured in &mut all {
        measured.times.sort();
        let median = measured.times[measured.times.len() / 2];
        let least = measured.times[0];
        let peak = match measured.peak {
            0 => String::new(),
            peak => format!("  {peak:>5} MiB"),
        };
        println!(
            "  {:<44} median {:>8.1} ms  least {:>8.1} ms{peak}",
            measured.name,
            median.as_secs_f64() * 1e3,
            least.as_secs_f64() * 1e3
        );
    }
}

/// Follows how much memory a process holds until it ends.
fn watch(child: &mut Child, peak: &mut u64) {
    let path = format!("/proc/{}/status", child.id());
    while child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let high = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = high.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        *peak = (*peak).max(kib.unwrap_or(0) / 1024);
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn installed(program: &str) -> bool {
    let found = Command::new(program)
        .arg("version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if found.is_err() {
        println!("{program} is not installed and left out");
    }
    found.is_ok()
}

fn start(home: &std::path::Path) {
    let mut commands = vec![("msctl --version", command(home, MSCTL, &["--version"]))];
    if installed("etcdctl") {
        commands.push(("etcdctl version", command(home, "etcdctl", &["version"])));
    }
    if installed("grpcurl") {
        commands.push(("grpcurl -version", command(home, "grpcurl", &["-version"])));
    }
    commands.push(("/bin/true", command(home, "/bin/true", &[])));
    measure("Starting", 40, &mut commands);
}

fn call(home: &std::path::Path, runtime: &tokio::runtime::Runtime) {
    let mut demo = Command::new(MSCTL)
        .args([
            "demo",
            "--headless",
            "--listen",
            "127.0.0.1:0",
            "-o",
            "ndjson",
        ])
        .env("HOME", home)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(demo.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let started: serde_json::Value = serde_json::from_str(&line).unwrap();
    let instances = started["instances"].as_array().unwrap();
    let user = instances
        .iter()
        .find(|one| one["service"] == "user")
        .unwrap();
    let near = user["address"].as_str().unwrap().to_owned();
    let protoset = home.join("user.binpb");
    let protoset = protoset.to_str().unwrap();
    let described = command(
        home,
        MSCTL,
        &["describe", "--address", &near, "--protoset-out", protoset],
    )
    .status()
    .unwrap();
    assert!(described.success());
    let proxy = runtime.block_on(Proxy::start(near.parse().unwrap()));
    proxy.set(Mode::Delay {
        each_way: ONE_WAY,
        jitter: Duration::ZERO,
    });
    let far = proxy.endpoint();
    let etcd = started["etcd"].as_str().unwrap();
    calls(
        home,
        "A call on this machine",
        &near,
        Some(etcd),
        protoset,
        30,
    );
    calls(home, "The same, 50 ms away", &far, None, protoset, 11);
    demo.kill().unwrap();
    demo.wait().unwrap();
}

fn calls(
    home: &std::path::Path,
    title: &str,
    address: &str,
    etcd: Option<&str>,
    protoset: &str,
    rounds: usize,
) {
    const METHOD: &str = "user.v1.UserService/Get";
    const DATA: &str = "{\"id\":\"1\"}";
    let msctl = |more: &[&str]| {
        let base = ["call", METHOD, "-d", DATA];
        command(home, MSCTL, &[&base[..], more].concat())
    };
    // The first keeps the descriptors.
    assert!(msctl(&["--address", address]).status().unwrap().success());
    let mut commands = vec![
        (
            "msctl call, descriptors kept",
            msctl(&["--address", address]),
        ),
        (
            "msctl call, descriptors asked for",
            msctl(&["--address", address, "--no-cache"]),
        ),
        (
            "msctl call --protoset",
            msctl(&["--address", address, "--protoset", protoset]),
        ),
    ];
    if let Some(etcd) = etcd {
        let named = ["--endpoints", etcd, "call", "user.Get", "-d", DATA];
        commands.push((
            "msctl call user.Get, through etcd",
            command(home, MSCTL, &named),
        ));
    }
    if installed("grpcurl") {
        let base = ["-plaintext", "-d", DATA];
        let asked = [&base[..], &[address, METHOD]].concat();
        let given = [&base[..], &["-protoset", protoset, address, METHOD]].concat();
        commands.push(("grpcurl, with reflection", command(home, "grpcurl", &asked)));
        commands.push(("grpcurl -protoset", command(home, "grpcurl", &given)));
    }
    measure(title, rounds, &mut commands);
}

fn list(home: &std::path::Path, runtime: &tokio::runtime::Runtime) {
    let etcd = runtime.block_on(RealEtcd::start());
    let endpoint = etcd.endpoint();
    runtime.block_on(async {
        let client = etcd::Client::new(etcd::Settings::new(vec![endpoint.clone()])).unwrap();
        let lease = client.lease_grant(Duration::from_secs(3600)).await.unwrap();
        let mut edits = Vec::new();
        for number in 0..INSTANCES {
            let service = format!("service-{:03}", number % 400);
            let id = format!("{service}-{number:06}");
            let value = format!(
                r#"{{"service":"{service}","id":"{id}","version":"1.4.2","endpoints":["grpc://10.0.{}.{}:9000","http://10.0.{}.{}:9000"],"weight":100,"metadata":{{"zone":"a"}},"started_at":"2026-11-22T10:00:00Z"}}"#,
                number / 256 % 256,
                number % 256,
                number / 256 % 256,
                number % 256,
            );
            edits.push(Edit {
                key: format!("/services/{service}/{id}").as_str().into(),
                seen: Seen::Absent,
                write: fleet::Write::Put {
                    value: value.into_bytes().into(),
                    lease: fleet::LeaseRule::Attach(lease.id),
                },
            });
            if edits.len() == 100 || number + 1 == INSTANCES {
                let plan = Plan::new(std::mem::take(&mut edits)).unwrap();
                client.commit(&plan).await.unwrap();
            }
        }
    });
    let member = ["--endpoints", &endpoint];
    let of = |program: &str, words: &[&str]| command(home, program, &[&member[..], words].concat());
    let mut commands = vec![(
        "msctl services -o json, neither probe nor ttl",
        of(
            MSCTL,
            &[
                "services", "-o", "json", "--probe", "never", "--ttl", "never",
            ],
        ),
    )];
    if installed("etcdctl") {
        let get = ["get", "--prefix", "/services/"];
        commands.push(("etcdctl get --prefix", of("etcdctl", &get)));
        let json = [&get[..], &["-w", "json"]].concat();
        commands.push(("etcdctl get --prefix -w json", of("etcdctl", &json)));
    }
    measure("Listing 100,000 instances", 5, &mut commands);
}
