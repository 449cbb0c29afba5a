//! `msctl services`: who is registered, what their leases do and who really serves.
//!
//! Everything asked is bounded in number and time, and what was not asked is said to be unknown.

pub(crate) mod gather;
mod row;
mod turn;
mod watch;

use std::collections::BTreeMap;

use fleet::{Found, Key, Poison, Prefix, Registry, ServiceName};

use crate::report::{Failure, Format, Report, Table};
use crate::session::Session;
use gather::Asked;
use row::InstanceRow;

/// Show services and their instances: lease, health, findings.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "\
Examples:
  msctl services                          one line a service
  msctl services order                    one line an instance
  msctl services -o json | jq '.[] | select(.health.status != \"serving\") | .instance'
  msctl services --watch                  one JSON document for each change, until interrupted
  msctl services --probe never --ttl never -o ndjson     the registry alone, fast
  msctl services drain order/order-7f3a-2                no new calls to it; undrain undoes it
  msctl services deregister order/order-7f3a-2           its record is deleted",
    args_conflicts_with_subcommands = true
)]
pub struct Services {
    #[command(subcommand)]
    turn: Option<turn::Turn>,
    /// One service only
    name: Option<String>,
    /// Follow: write one JSON document for each change
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    asking: Asking,
}

/// What is asked beyond what the registry says.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Asking {
    /// Whether to ask each instance for its health; auto asks up to 1,000
    #[arg(
        long,
        value_enum,
        value_name = "WHEN",
        num_args = 0..=1,
        default_value = "auto",
        default_missing_value = "always"
    )]
    pub(crate) probe: When,
    /// Whether to ask for the time each lease has left; auto asks for up to 1,000
    #[arg(
        long,
        value_enum,
        value_name = "WHEN",
        num_args = 0..=1,
        default_value = "auto",
        default_missing_value = "always"
    )]
    pub(crate) ttl: When,
}

/// Whether to ask for what costs a request for each instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum When {
    /// For up to 1,000; beyond, it is said what was not asked.
    Auto,
    /// For all.
    Always,
    /// For none.
    Never,
}

impl Services {
    /// Shows or follows.
    ///
    /// # Errors
    /// When etcd cannot be read, or nobody registered under the name.
    pub async fn run(&self, session: &Session, report: &mut Report) -> Result<(), Failure> {
        let name = self
            .name
            .as_deref()
            .map(ServiceName::new)
            .transpose()
            .map_err(|error| {
                Failure::usage(error.to_string())
                    .next("'msctl services' lists the names there are.")
            })?;
        if let Some(turn) = &self.turn {
            return turn.run(session, report).await;
        }
        if self.watch {
            return watch::run(session, name.as_ref(), report).await;
        }
        let streams = matches!(report.format(), Format::Json | Format::Ndjson);
        if streams
            && self.asking.probe == When::Never
            && self.asking.ttl == When::Never
            && name.is_none()
        {
            return self.stream(session, report).await;
        }
        let prefix = &session.prefixes().services;
        let registry = self.registry(session, name.as_ref()).await?;
        warn_of_poison(&registry, report);
        let asked = gather::ask(session, &registry, name.as_ref(), self.asking, report).await;
        let rows = rows(&registry, prefix, &asked);
        match (report.format(), &name) {
            (Format::Table, None) if registry.services().len() == 0 => {
                report.note("no service is registered");
                Ok(())
            }
            (Format::Table, None) => report.table(&row::by_service(&rows)),
            (Format::Table, Some(_)) => {
                report.list(&rows, Table::new(&row::TITLES), |row| row.cells())
            }
            _ => report.list(&rows, Table::new(&[]), |_| Vec::new()),
        }
    }

    async fn registry(
        &self,
        session: &Session,
        name: Option<&ServiceName>,
    ) -> Result<Registry, Failure> {
        let all = &session.prefixes().services;
        let prefix = match name {
            Some(name) => all.narrow(&format!("{name}/")),
            None => all.clone(),
        };
        let listing = session.list(&prefix).await?;
        let mut registry = Registry::new(all.clone());
        registry.replace(listing.entries);
        match name {
            Some(name) if registry.instance_count() == 0 && registry.quarantined().len() == 0 => {
                Err(nobody(session, name.as_str()).await)
            }
            _ => Ok(registry),
        }
    }

    /// Writes page by page as etcd gives them, holding one page at a time.
    async fn stream(&self, session: &Session, report: &mut Report) -> Result<(), Failure> {
        let prefix = &session.prefixes().services;
        let mut list = report.begin_list()?;
        let mut written = Ok(());
        let asked = Asked::nobody();
        let read = session
            .client()
            .list_each(prefix, etcd::ListOptions::default(), |page| {
                for entry in page {
                    let found = Found::read(prefix, &entry);
                    let row = match &found {
                        Found::Instance(instance) => InstanceRow::of(instance, &asked, None),
                        Found::Poison(poison) => of_poison(prefix, &entry.key, poison),
                        Found::Marker => continue,
                    };
                    if written.is_ok() {
                        written = list.push(&row);
                    }
                }
            });
        read.await.map_err(|error| session.failure(&error))?;
        written?;
        list.end()
    }
}

/// The failure for a name that nobody registered, with the name that was probably meant.
pub(crate) async fn nobody(session: &Session, name: &str) -> Failure {
    let failure = Failure::not_found(format!("no service '{name}' is registered"));
    match service_names(session).await {
        Err(error) => error,
        Ok(names) => {
            let known = names.iter().map(|name| name.as_str());
            match fleet::suggest::closest(name, known.clone()) {
                Some(close) => failure.next(format!("Did you mean '{close}'?")),
                None if names.is_empty() => {
                    failure.next("None is; 'msctl demo' starts a fleet to try.")
                }
                None => failure.next(format!("Registered: {}.", short(known))),
            }
        }
    }
}

/// The names that have a readable instance, without values being read.
pub(crate) async fn service_names(session: &Session) -> Result<Vec<ServiceName>, Failure> {
    let prefix = &session.prefixes().services;
    let listing = session
        .client()
        .keys(prefix, etcd::ListOptions::default())
        .await
        .map_err(|error| session.failure(&error))?;
    let mut names: Vec<ServiceName> = Vec::new();
    for head in &listing.keys {
        let name = prefix
            .strip(&head.key)
            .and_then(|rest| std::str::from_utf8(rest).ok())
            .and_then(|rest| rest.split_once('/'))
            .and_then(|(name, _)| ServiceName::new(name).ok());
        match name {
            Some(name) if names.last() != Some(&name) => names.push(name),
            _ => {}
        }
    }
    Ok(names)
}

fn short<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    match names.get(..8) {
        Some(first) if names.len() > 8 => {
            format!("{} and {} more", first.join(", "), names.len() - 8)
        }
        _ => names.join(", "),
    }
}

fn rows<'a>(registry: &'a Registry, prefix: &Prefix, asked: &Asked) -> Vec<InstanceRow<'a>> {
    let mut rows = Vec::with_capacity(registry.instance_count());
    for (_, service) in registry.services() {
        rows.extend(
            service
                .instances()
                .map(|instance| InstanceRow::of(instance, asked, None)),
        );
    }
    rows.extend(
        registry
            .quarantined()
            .map(|(key, poison)| of_poison(prefix, key, poison)),
    );
    rows
}

fn of_poison<'a>(prefix: &Prefix, key: &'a Key, poison: &Poison) -> InstanceRow<'a> {
    InstanceRow::of_poison(service_of(prefix, key), key, poison)
}

/// The service that a key would belong to if it could be read.
fn service_of<'a>(prefix: &Prefix, key: &'a Key) -> Option<&'a str> {
    let rest = std::str::from_utf8(prefix.strip(key)?).ok()?;
    let (service, _) = rest.split_once('/')?;
    fleet::service::check_name(service).ok().map(|()| service)
}

fn warn_of_poison(registry: &Registry, report: &Report) {
    const SHOWN: usize = 5;
    for (key, poison) in registry.quarantined().take(SHOWN) {
        let finding = fleet::finding::of_poison(key, poison);
        report.warn(&format!("{}; {}", finding.message, finding.next));
    }
    let more = registry.quarantined().len().saturating_sub(SHOWN);
    if more > 0 {
        report.warn(&format!(
            "{more} more keys hold no instance; -o json lists them all"
        ));
    }
}

/// How many of each, most frequent first: `1.4.2 ×5, 1.4.1`.
pub(crate) fn tally<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for item in items {
        *counts.entry(item).or_default() += 1;
    }
    let mut counts: Vec<(usize, &str)> = counts.into_iter().map(|(i, n)| (n, i)).collect();
    counts.sort_by(|a, b| b.0.cmp(&a.0).then(b.1.cmp(a.1)));
    let alone = counts.len() == 1;
    let parts: Vec<String> = counts
        .iter()
        .map(|(count, item)| match count {
            1 => (*item).to_owned(),
            _ if alone => (*item).to_owned(),
            count => format!("{item} ×{count}"),
        })
        .collect();
    parts.join(", ")
}
