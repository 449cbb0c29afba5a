//! `services drain`, `undrain` and `deregister`: an operator's hand on a registration. Each is one
//! guarded transaction over the records that were shown, and afterwards it is looked whether the
//! instance's own process has undone it.

use std::sync::Arc;
use std::time::Duration;

use fleet::drain::{self, is_drained};
use fleet::{Edit, Entry, Instance, Key, Outcome, Plan, Registry, Seen};
use serde_json::json;

use crate::change::plan_failure;
use crate::cli::consent;
use crate::report::{Failure, Kind, Report};
use crate::session::{Session, Writer};

/// A process that lives puts its record back within a fraction of a second.
const LOOKS: [Duration; 4] = [Duration::from_millis(250); 4];

/// What can be done to instances by hand.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Turn {
    /// Take instances out of the calls: their weight becomes 0, the process goes on
    Drain(Which),
    /// Give drained instances their weight back
    Undrain(Which),
    /// Delete the records of instances whose process is gone
    Deregister(Which),
}

#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// Instances, as SERVICE/ID, or ID alone
    #[arg(required = true, value_name = "INSTANCE")]
    instances: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    Drain,
    Undrain,
    Deregister,
}

impl Verb {
    fn present(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Undrain => "undrain",
            Self::Deregister => "deregister",
        }
    }

    fn past(self) -> &'static str {
        match self {
            Self::Drain => "drained",
            Self::Undrain => "undrained",
            Self::Deregister => "deregistered",
        }
    }

    /// Whether a record stands as this verb left it.
    fn holds(self, now: Option<&Instance>) -> bool {
        match self {
            Self::Drain => now.is_none_or(|now| is_drained(&now.record)),
            Self::Undrain => now.is_none_or(|now| !is_drained(&now.record)),
            Self::Deregister => now.is_none(),
        }
    }
}

impl Turn {
    pub(super) async fn run(&self, session: &Session, report: &mut Report) -> Result<(), Failure> {
        let (verb, which) = match self {
            Self::Drain(which) => (Verb::Drain, which),
            Self::Undrain(which) => (Verb::Undrain, which),
            Self::Deregister(which) => (Verb::Deregister, which),
        };
        let writer = session.writer()?;
        let listing = session.list(&session.prefixes().services).await?;
        let mut registry = Registry::new(session.prefixes().services.clone());
        registry.replace(listing.entries.clone());
        let mut edits = Vec::new();
        let mut named: Vec<Arc<Instance>> = Vec::new();
        for text in &which.instances {
            let instance = find(&registry, text)?;
            if named.iter().any(|known| known.key == instance.key) {
                continue;
            }
            let entry = listing.entries.iter().find(|e| e.key == instance.key);
            let entry = entry.ok_or_else(|| Failure::not_found(format!("no instance '{text}'")))?;
            edits.push(edit(verb, &instance, entry)?);
            named.push(instance);
        }
        let plan = Plan::new(edits).map_err(|error| plan_failure(&error))?;
        if plan.is_empty() {
            report.note(&format!("already {}: nothing was written", verb.past()));
            return Ok(());
        }
        if verb == Verb::Drain {
            warn_of_the_last(&registry, &named, report);
        }
        ask(session, verb, &named, which.yes, report)?;
        let revision = commit(&writer, &plan).await?;
        let document = json!({
            "revision": revision.0,
            "change": verb.past(),
            "instances": named.iter().map(|instance| json!({
                "service": instance.record.service,
                "instance": instance.record.id,
                "key": instance.key.to_string(),
            })).collect::<Vec<_>>(),
        });
        report.one(&document, |_, _| {
            let names: Vec<String> = named.iter().map(|instance| name(instance)).collect();
            let undo = match verb {
                Verb::Drain => format!(" · undo: msctl services undrain {}", names.join(" ")),
                Verb::Undrain | Verb::Deregister => String::new(),
            };
            format!(
                "{} {} (revision {revision}){undo}\n",
                verb.past(),
                names.join(", ")
            )
        })?;
        look_again(session, verb, &named).await
    }
}

fn name(instance: &Instance) -> String {
    format!("{}/{}", instance.record.service, instance.record.id)
}

/// The one instance that a text means.
fn find(registry: &Registry, text: &str) -> Result<Arc<Instance>, Failure> {
    let all = || {
        registry
            .services()
            .flat_map(|(_, service)| service.instances())
    };
    let meant: Vec<&Arc<Instance>> = match text.split_once('/') {
        Some((service, id)) => all()
            .filter(|i| i.record.service.as_str() == service && i.record.id.as_str() == id)
            .collect(),
        None => all().filter(|i| i.record.id.as_str() == text).collect(),
    };
    match meant.as_slice() {
        [one] => Ok(Arc::clone(one)),
        [] => {
            let names: Vec<String> = all().map(|i| name(i)).collect();
            let ids: Vec<&str> = all().map(|i| i.record.id.as_str()).collect();
            let failure = Failure::not_found(format!("no instance '{text}' is registered"));
            let close = fleet::suggest::closest(text, names.iter().map(String::as_str))
                .or_else(|| fleet::suggest::closest(text, ids));
            Err(match close {
                Some(close) => failure.next(format!("Did you mean '{close}'?")),
                None => failure.next("See them with 'msctl services NAME'."),
            })
        }
        several => {
            let names: Vec<String> = several.iter().map(|i| name(i)).collect();
            Err(
                Failure::usage(format!("'{text}' is ambiguous: {}", names.join(", ")))
                    .next("Name the service in front."),
            )
        }
    }
}

fn edit(verb: Verb, instance: &Instance, entry: &Entry) -> Result<Edit, Failure> {
    let seen = || Seen::At(entry.clone());
    let turn = match verb {
        Verb::Deregister => return Ok(Edit::delete(entry.key.clone(), seen())),
        Verb::Drain => drain::Turn::Out,
        Verb::Undrain => drain::Turn::Back,
    };
    drain::drainable(instance).map_err(|foreign| {
        Failure::refused(foreign.to_string()).next("Drain it by that framework's own means.")
    })?;
    drain::edit(entry, turn)
        .map_err(|cause| Failure::failed(format!("{}: {cause}", name(instance))))
}

/// Calls go to drained instances when a service has no other.
fn warn_of_the_last(registry: &Registry, named: &[Arc<Instance>], report: &Report) {
    for (service, all) in registry.services() {
        let touched = named.iter().any(|i| i.record.service == *service);
        let leave = |key: &Key| named.iter().any(|instance| instance.key == *key);
        if touched && drain::takes_the_last(all, leave) {
            report.warn(&format!(
                "{service} has no other instance: calls go to the drained ones all the same"
            ));
        }
    }
}

fn ask(
    session: &Session,
    verb: Verb,
    named: &[Arc<Instance>],
    yes: bool,
    report: &Report,
) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    let mut shown = String::new();
    for instance in named {
        let endpoint = instance.record.endpoints.first();
        let endpoint = endpoint.map_or_else(|| "no endpoint".to_owned(), ToString::to_string);
        shown.push_str(&fleet::safe::escape(&format!(
            "  {} {}   {endpoint}",
            verb.present(),
            name(instance)
        )));
        shown.push('\n');
    }
    let harm = match verb {
        Verb::Deregister => consent::Harm::Destroys,
        Verb::Drain | Verb::Undrain => consent::Harm::CanBeUndone,
    };
    consent::ask(session, &shown, harm, report)
}

async fn commit(writer: &Writer, plan: &Plan) -> Result<fleet::Revision, Failure> {
    match writer.commit(plan).await? {
        Outcome::Applied { revision } => Ok(revision),
        Outcome::Refused { conflicts } => {
            let keys: Vec<String> = conflicts.iter().map(|c| c.key.to_string()).collect();
            Err(Failure::new(
                Kind::Conflict,
                format!("{} changed meanwhile; nothing was written", keys.join(", ")),
            )
            .next("Look at it and run this again."))
        }
        Outcome::Unknown { cause } => Err(Failure::new(
            Kind::Unreachable,
            format!("whether it was written is unknown: {cause}"),
        )
        .next("Look with 'msctl services' before you run this again.")),
    }
}

/// Whether the processes let it stand.
async fn look_again(session: &Session, verb: Verb, named: &[Arc<Instance>]) -> Result<(), Failure> {
    for look in LOOKS {
        tokio::time::sleep(look).await;
        for instance in named {
            let (entry, _) = session.get(&instance.key).await?;
            let mut registry = Registry::new(session.prefixes().services.clone());
            registry.replace(entry);
            let now = registry.instance(&instance.key);
            if verb.holds(now.map(|now| &**now)) {
                continue;
            }
            let name = name(instance);
            let failure =
                Failure::failed(format!("{name} wrote its record again: its process lives"));
            return Err(match verb {
                Verb::Deregister => failure.next(format!(
                    "Stop the process, or take it out of the calls: msctl services drain {name}"
                )),
                Verb::Drain | Verb::Undrain => {
                    failure.next("It does not know the drain by weight; stop the process instead.")
                }
            });
        }
    }
    Ok(())
}
