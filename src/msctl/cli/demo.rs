//! `msctl demo`: a fleet on this machine: etcd, two `user` and two `order` processes, and the
//! console over them.
//!
//! Everything ends with it, however it ends: children hold a pipe from this process and stop when
//! it closes, so that not even `kill -9` leaves one behind. Nothing but the demo services is started
//! and a named etcd is written to by those services alone.

mod certificates;
mod children;
mod service;

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcd::MirrorEvent;
use fleet::{Change, Registry};
use serde_json::json;

use crate::cli::etcd::{listen_address, warn_if_exposed};
use crate::cli::signal::Stop;
use crate::report::{Failure, Report};
use crate::session::Session;
use crate::settings::{Context, Global};
use crate::tui::state::Suspension;
use certificates::Certificates;
use children::{Children, Plan};
pub use service::DemoService;

/// Two processes each.
const SERVICES: [&str; 2] = ["user", "order"];

/// How long the services may take to register.
const START_LIMIT: Duration = Duration::from_secs(20);

/// Where etcd listens when nothing is said and the port is free.
const USUAL: SocketAddr = SocketAddr::V4(std::net::SocketAddrV4::new(
    std::net::Ipv4Addr::LOCALHOST,
    2379,
));

/// Start a small fleet on this machine, and the console over it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without a terminal it runs headless. Everything it started ends with it.

Examples:
  msctl demo
  msctl demo --headless                            prints addresses and commands to try
  msctl demo --headless --listen 127.0.0.1:0       on a free port
  msctl demo --endpoints 127.0.0.1:2379            over an etcd that runs already
  msctl demo --token-file token.txt                calls need it, over gRPC and HTTP alike
  msctl demo --jwks keys.json --token-file me.jwt  calls need a token that one of the keys signed
  msctl demo --tls                                 over TLS, user for callers with a certificate")]
pub struct Demo {
    /// Run without the console
    #[arg(long)]
    headless: bool,
    /// Where the embedded etcd listens [default: 127.0.0.1:2379, or a free port when it is taken]
    #[arg(long, value_name = "ADDRESS", value_parser = listen_address)]
    listen: Option<SocketAddr>,
    /// Let the services demand the token in this file: 'authorization: Bearer TOKEN'
    #[arg(long, value_name = "FILE", value_parser = token_file)]
    token_file: Option<PathBuf>,
    /// Let the services demand a JWT that a key in this file (JWKS) has signed, with iss and aud of
    /// 'msctl-demo'; --token-file is then the one that the services show one another
    #[arg(long, value_name = "FILE", value_parser = a_file, requires = "token_file")]
    jwks: Option<PathBuf>,
    /// Let the services speak TLS alone, with certificates made for this demo, and user ask its
    /// callers for theirs (mutual TLS)
    #[arg(long)]
    tls: bool,
    #[command(flatten)]
    look: crate::cli::tui::Look,
}

/// A file that holds a token, by its full name: services are started elsewhere.
fn token_file(text: &str) -> Result<PathBuf, String> {
    service::token(Path::new(text))?;
    std::fs::canonicalize(text).map_err(|error| format!("{text}: {error}"))
}

fn a_file(text: &str) -> Result<PathBuf, String> {
    let found = std::fs::canonicalize(text);
    let found = found.and_then(|file| std::fs::File::open(&file).map(|_| file));
    found.map_err(|error| format!("{text}: {error}"))
}

impl Demo {
    /// Runs until the console is left or a signal comes.
    ///
    /// # Errors
    /// When etcd or a service cannot be started.
    pub fn run(&self, global: &Global, report: &mut Report) -> Result<(), Failure> {
        crate::cli::on_threads(self.start(global, report))
    }

    async fn start(&self, global: &Global, report: &mut Report) -> Result<(), Failure> {
        // First of all: from here on no signal ends this process without its children.
        let mut stop = Stop::listen()?;
        let named = !global.endpoints.is_empty() || global.context.is_some();
        let (server, context) = if named {
            if self.listen.is_some() {
                return Err(
                    Failure::usage("--listen is for the embedded etcd, and one is named")
                        .next("Give --listen or --endpoints."),
                );
            }
            let context = global.resolve()?;
            let tls = context
                .endpoints
                .iter()
                .any(|member| member.starts_with("https://"));
            if tls || context.credentials.is_some() {
                return Err(Failure::usage(
                    "the demo's services speak to etcd without TLS and without a password",
                )
                .next("Name an etcd that takes that, or none for the embedded one."));
            }
            (None, context)
        } else {
            let server = self.embedded(report).await?;
            let address = server.local_addr().unwrap_or(USUAL);
            let mut context = Context::from_endpoints(&[address.to_string()]);
            context.name = "demo".into();
            (Some(server), context)
        };
        let certificates = match self.tls {
            true => Some(Certificates::make(&SERVICES)?),
            false => None,
        };
        let mut context = context;
        if let Some(made) = &certificates {
            context.service_tls = made.onlooker();
        }
        let session = Session::open(context)?;
        let suspension = match server {
            Some(_) => Suspension::HoldsEtcd,
            None => Suspension::Allowed,
        };
        let mut children = Children::default();
        let result = tokio::select! {
            result = self.live(&session, &mut children, certificates.as_ref(), suspension, global, report) => result,
            () = stop.wait() => Ok(()),
        };
        // A second signal does not wait for anybody.
        tokio::select! {
            () = children.end() => {}
            () = stop.wait() => children.kill().await,
        }
        if let Some(server) = server {
            server.shutdown().await;
        }
        result
    }

    async fn embedded(&self, report: &Report) -> Result<etcdlite::Server, Failure> {
        let options = || etcdlite::Options {
            // A demo may run for days; nobody needs its whole past.
            auto_compact_revisions: Some(10_000),
            ..etcdlite::Options::default()
        };
        let address = self.listen.unwrap_or(USUAL);
        match etcdlite::Server::bind(address, options()).await {
            Err(etcdlite::Error::AddressInUse { .. }) if self.listen.is_none() => {
                let free = SocketAddr::from(([127, 0, 0, 1], 0));
                let server = etcdlite::Server::bind(free, options())
                    .await
                    .map_err(|error| Failure::failed(error.to_string()))?;
                if let Some(address) = server.local_addr() {
                    report.note(&format!(
                        "{USUAL} is in use; the demo's etcd listens on {address}"
                    ));
                }
                Ok(server)
            }
            other => {
                let server = other.map_err(|error| Failure::failed(error.to_string()))?;
                warn_if_exposed(address, "every key of the demo, without a password", report);
                Ok(server)
            }
        }
    }

    /// Everything between the start of the children and their end.
    async fn live(
        &self,
        session: &Session,
        children: &mut Children,
        certificates: Option<&Certificates>,
        suspension: Suspension,
        global: &Global,
        report: &mut Report,
    ) -> Result<(), Failure> {
        let context = session.context();
        let plans = SERVICES
            .into_iter()
            .flat_map(|service| [service; 2])
            .enumerate()
            .map(|(i, service)| Plan {
                service,
                instance: format!("{service}-{}-{}", std::process::id(), i % 2 + 1),
                zone: if i % 2 == 0 { "a" } else { "b" },
                token_file: self.token_file.as_deref(),
                jwks: self.jwks.as_deref(),
                certificates,
            });
        for plan in plans {
            children.start(&plan, context, global)?;
        }
        let addresses = registered(session, children).await?;
        let console =
            !self.headless && std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        if console {
            let view = crate::tui::View::default();
            let color = global.color;
            return crate::cli::tui::open(session.clone(), view, &self.look, color, suspension)
                .await;
        }
        announce(session, &addresses, certificates, report)?;
        children.watch(report).await;
        Ok(())
    }
}

/// A registered instance of the demo with the address it serves on.
type Address = (String, String, String);

/// Waits until every child is registered, or one of them ends.
async fn registered(session: &Session, children: &mut Children) -> Result<Vec<Address>, Failure> {
    let prefix = &session.prefixes().services;
    let (_mirror, mut events) = session.follow(prefix).await?;
    let mut registry = Registry::new(prefix.clone());
    let wait = async {
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                ended = children.first_end() => return Err(ended),
            };
            match event {
                Some(MirrorEvent::Listed { entries, .. }) => registry.replace(entries),
                Some(MirrorEvent::Changed { changes, .. }) => {
                    changes
                        .iter()
                        .for_each(|change: &Change| drop(registry.apply(change)));
                }
                Some(MirrorEvent::Fresh { .. } | MirrorEvent::Stale { .. }) => {}
                None => return Err(Failure::failed("the watch of etcd ended by itself")),
            }
            let found = addresses(&registry, children);
            if found.len() == children.len() {
                return Ok(found);
            }
        }
    };
    match tokio::time::timeout(START_LIMIT, wait).await {
        Ok(result) => result,
        Err(_) => Err(Failure::failed(format!(
            "the demo services did not register within {START_LIMIT:?}{}",
            children.last_words()
        ))),
    }
}

fn addresses(registry: &Registry, children: &Children) -> Vec<Address> {
    let mut found = Vec::new();
    for (name, service) in registry.services() {
        for instance in service.instances() {
            let id = instance.record.id.as_str();
            if children.has(name.as_str(), id) {
                let address = instance.record.endpoints.first();
                let address = address.map_or_else(String::new, |e| e.address.to_string());
                found.push((name.to_string(), id.to_owned(), address));
            }
        }
    }
    found
}

fn announce(
    session: &Session,
    addresses: &[Address],
    certificates: Option<&Certificates>,
    report: &mut Report,
) -> Result<(), Failure> {
    let context = session.context();
    let members = context.members();
    let flag = if members == USUAL.to_string() {
        String::new()
    } else {
        format!(" --endpoints {members}")
    };
    let shown = certificates.map(Certificates::onlooker);
    let shown = shown.and_then(|files| Some([files.cacert?, files.cert?, files.key?]));
    // curl calls them as we do.
    let names = ["--cacert", "--cert", "--key"];
    let files = shown.iter().flatten().zip(names);
    let files = files.map(|(file, name)| format!(" {name} {}", file.display()));
    let files = files.collect::<String>();
    let scheme = if shown.is_some() { "https" } else { "http" };
    let mut document = json!({
        "etcd": members,
        "instances": addresses.iter().map(|(service, id, address)| {
            json!({ "service": service, "instance": id, "address": address })
        }).collect::<Vec<_>>(),
    });
    if let Some([authority, certificate, key]) = &shown {
        document["tls"] = json!({ "cacert": authority, "cert": certificate, "key": key });
    }
    report.one(&document, |_, _| {
        let mut text = format!("etcd      {members}\n");
        for (service, id, address) in addresses {
            text.push_str(&format!("{service:<9} {address}   {id}\n"));
        }
        let http = addresses
            .iter()
            .find(|(service, ..)| service == "user")
            .map_or("", |(.., address)| address.as_str());
        text.push_str(&format!(
            "\nTry, in another terminal:\n  \
             msctl{flag} services\n  \
             msctl{flag} call{files} user.Get -d '{{\"id\":\"1\"}}'\n  \
             msctl{flag} config set order/timeout.write 5s -m \"trying it\"\n\n\
             The same over HTTP: curl{files} {scheme}://{http}/v1/users/1\n\
             ctrl-c ends everything.\n"
        ));
        text
    })
}
