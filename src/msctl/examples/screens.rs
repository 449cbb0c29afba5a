//! Draws the README's pictures: starts a demo fleet, gives it something to show, and keeps real frames
//! of the console over it as SVG. Nothing in them is painted by hand.
//!
//! `cargo run -p msctl --example screens -- docs/screens`

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use msctl::session::Session;
use msctl::settings;
use msctl::tui::headless::{Shot, shoot};
use msctl::tui::key::Key;
use msctl::tui::theme::Theme;
use msctl::tui::{Options, View, picture};

/// Name, page, keys: the pictures.
const PICTURES: &[(&str, View, &str)] = &[
    ("services", View::Services, "enter j"),
    (
        "config",
        View::Config,
        "g g j enter G enter ctrl-u 5 s enter m s l o w space d i s k space o n space b enter",
    ),
    ("calls", View::Calls, "G enter j j j j j enter 1 ctrl-enter"),
    ("overview", View::Overview, ""),
];

fn main() -> anyhow::Result<std::process::ExitCode> {
    // The demo starts its services from its own executable, which is this one here.
    let arguments: Vec<_> = std::env::args_os().collect();
    if arguments
        .get(1)
        .is_some_and(|first| first == "demo" || first == "demo-service")
    {
        return Ok(msctl::main(arguments));
    }
    let folder = arguments
        .get(1)
        .context("name the folder for the pictures")?;
    std::fs::create_dir_all(folder)?;
    let demo = Demo::start()?;
    for (key, value) in [
        ("order/page.size", "50"),
        ("order/retry", "{attempts: 3, backoff: 100ms}"),
        ("order/timeout.write", "2s"),
        ("global/timeout.read", "1s"),
    ] {
        demo.msctl(&["config", "set", key, value, "--yes"])?;
    }
    demo.msctl(&[
        "call",
        "order/fault.v1.FaultService/Set",
        "--instance",
        &demo.instance,
        "-d",
        r#"{"mode":"HANG"}"#,
    ])?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    for (name, view, keys) in PICTURES {
        let keys: Vec<Key> = keys
            .split_whitespace()
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        let shot = Shot {
            size: (110, 28),
            keys,
            patience: Duration::from_secs(20),
        };
        let theme = Theme::named("dark").context("the dark theme is there")?;
        let options = Options::new(*view, theme);
        let mut context = settings::Context::from_endpoints(std::slice::from_ref(&demo.etcd));
        context.name = "demo".into();
        let frame = runtime.block_on(async {
            let session = Session::open(context).map_err(|why| anyhow::anyhow!("{why}"))?;
            anyhow::Ok(shoot(session, options, &shot).await)
        })?;
        let path = std::path::Path::new(folder).join(format!("{name}.svg"));
        std::fs::write(&path, picture::svg(&frame, picture::DARK))?;
    }
    Ok(std::process::ExitCode::SUCCESS)
}

/// A demo fleet that ends with this.
struct Demo {
    child: Child,
    /// Where its etcd listens.
    etcd: String,
    /// The instance that is to hang.
    instance: String,
}

impl Demo {
    fn start() -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["demo", "--headless", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().context("the demo has an output")?;
        let mut demo = Self {
            child,
            etcd: String::new(),
            instance: String::new(),
        };
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["etcd", address] => demo.etcd = (*address).to_owned(),
                ["order", _, instance] => demo.instance = (*instance).to_owned(),
                // Everything is said once the instances have been named.
                ["ctrl-c", ..] => break,
                _ => {}
            }
        }
        if demo.etcd.is_empty() || demo.instance.is_empty() {
            bail!("the demo did not say where it listens");
        }
        Ok(demo)
    }

    fn msctl(&self, verb: &[&str]) -> anyhow::Result<()> {
        let start = ["msctl", "-q", "--endpoints", &self.etcd];
        let code = msctl::main(start.iter().chain(verb).map(Into::into));
        if format!("{code:?}") != format!("{:?}", std::process::ExitCode::SUCCESS) {
            bail!("msctl {} failed", verb.join(" "));
        }
        Ok(())
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // The services end with their parent.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
