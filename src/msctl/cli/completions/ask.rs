//! What the fleet has that a word may become: keys, services, instances, methods, values.
//!
//! Reads names and what services publish, never a value of a key; writes nothing, not even to the
//! user's cache. A name that a shell would take for more than a name is not offered.

use std::sync::Arc;

use etcd::ListOptions;
use fleet::config::{ConfigKey, Published, Scope};
use fleet::{Instance, Registry, ServiceName};
use reflect::Schema;

use crate::change::schemas;
use crate::cli::services::service_names;
use crate::invoke::find::{Source, instances, schema};
use crate::invoke::kept::{Extent, Kept, Place};
use crate::invoke::server::{Reach, Server, connect_any_and};
use crate::report::Failure;
use crate::session::Session;

/// What a word may become, and a line about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) text: String,
    pub(super) help: Option<String>,
}

impl Candidate {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            help: None,
        }
    }

    /// Whether every shell takes it as it is. What stands in etcd is anybody's: a key named
    /// `a;reboot` must not get into a command line by itself.
    pub(super) fn is_plain(&self) -> bool {
        let plain = |c: char| c.is_alphanumeric() || "._-/:@%+,".contains(c);
        !self.text.is_empty() && !self.text.starts_with('-') && self.text.chars().all(plain)
    }
}

/// The keys that begin so, stored or published; before the slash, the scopes.
pub(super) async fn keys(session: &Session, typed: &str) -> Result<Vec<Candidate>, Failure> {
    let scope = match typed.split_once('/') {
        Some((scope, _)) => Scope::parse(scope).ok(),
        None => {
            let mut fitting = scopes(session).await?;
            fitting.retain(|scope| scope.text.starts_with(typed));
            match fitting.as_slice() {
                [one] => Scope::parse(&one.text).ok(),
                _ => {
                    let open = |scope: Candidate| Candidate::new(format!("{}/", scope.text));
                    return Ok(fitting.into_iter().map(open).collect());
                }
            }
        }
    };
    match scope {
        Some(scope) => keys_of(session, scope).await,
        None => Ok(Vec::new()),
    }
}

async fn keys_of(session: &Session, scope: Scope) -> Result<Vec<Candidate>, Failure> {
    let config = &session.prefixes().config;
    let prefix = scope.prefix(config);
    let scopes = [scope];
    let stored = async {
        let listing = session.client().keys(&prefix, ListOptions::default()).await;
        listing.map_err(|error| session.failure(&error))
    };
    let (stored, known) = futures::try_join!(stored, schemas::read(session, &scopes))?;
    let [scope] = scopes;
    let mut all = published(&known, &scope);
    for head in &stored.keys {
        if let Ok(key) = ConfigKey::from_key(config, &head.key)
            && key.scope == scope
        {
            all.push(Candidate {
                help: known.field(&key).and_then(|field| field.description),
                text: key.to_string(),
            });
        }
    }
    Ok(all)
}

/// The keys that the services say they have.
fn published(known: &Published, scope: &Scope) -> Vec<Candidate> {
    let schemas: Vec<_> = match scope {
        Scope::Global => known.all().map(|(_, schema)| schema).collect(),
        Scope::Service(_) => known.get(scope).into_iter().collect(),
    };
    let fields = schemas.into_iter().flat_map(|schema| schema.fields());
    let key = |path: &str| ConfigKey::new(scope.clone(), path).ok();
    fields
        .filter_map(|field| {
            Some(Candidate {
                text: key(&field.path)?.to_string(),
                help: field.description,
            })
        })
        .collect()
}

/// Services, and `global`.
pub(super) async fn scopes(session: &Session) -> Result<Vec<Candidate>, Failure> {
    let prefixes = session.prefixes();
    let stored = |prefix| async move {
        let listing = session.client().keys(prefix, ListOptions::default()).await;
        listing.map_err(|error| session.failure(&error))
    };
    let (registered, config, schema) = futures::try_join!(
        service_names(session),
        stored(&prefixes.config),
        stored(&prefixes.schema)
    )?;
    let mut all: Vec<String> = registered.iter().map(ToString::to_string).collect();
    let keys = config.keys.iter();
    let keys = keys.filter_map(|head| ConfigKey::from_key(&prefixes.config, &head.key).ok());
    all.extend(keys.map(|key| key.scope.to_string()));
    let published = schema.keys.iter();
    let published = published.filter_map(|head| prefixes.schema.strip(&head.key));
    let published =
        published.filter_map(|name| ServiceName::new(std::str::from_utf8(name).ok()?).ok());
    all.extend(published.map(|name| name.to_string()));
    all.push(Scope::Global.to_string());
    all.sort();
    all.dedup();
    Ok(all.into_iter().map(Candidate::new).collect())
}

/// The values that a key may have; none where it may have any, or is a secret.
pub(super) async fn values(session: &Session, key: &str) -> Result<Vec<Candidate>, Failure> {
    let Ok(key) = ConfigKey::parse(key) else {
        return Ok(Vec::new());
    };
    let known = schemas::read(session, std::slice::from_ref(&key.scope)).await?;
    let choices = match known.field(&key) {
        Some(field) if !known.is_secret(&key) => field.choices,
        _ => Vec::new(),
    };
    Ok(choices.into_iter().map(Candidate::new).collect())
}

/// Registered services.
pub(super) async fn services(session: &Session) -> Result<Vec<Candidate>, Failure> {
    let names = service_names(session).await?;
    Ok(names
        .iter()
        .map(|name| Candidate::new(name.as_str()))
        .collect())
}

/// Instances as `SERVICE/ID`; before the slash, the services.
pub(super) async fn instances_in_full(
    session: &Session,
    typed: &str,
) -> Result<Vec<Candidate>, Failure> {
    let named = match typed.split_once('/') {
        Some((name, _)) => ServiceName::new(name).ok(),
        None => {
            let mut names = service_names(session).await?;
            names.retain(|name| name.as_str().starts_with(typed));
            match names.as_slice() {
                [one] => Some(one.clone()),
                _ => {
                    let open = |name: &ServiceName| Candidate::new(format!("{name}/"));
                    return Ok(names.iter().map(open).collect());
                }
            }
        }
    };
    let Some(name) = named else {
        return Ok(Vec::new());
    };
    let found = instances(session, &name).await?;
    let full = |one: &Arc<Instance>| Candidate::new(format!("{name}/{}", one.record.id));
    Ok(found.iter().map(full).collect())
}

/// The ids of the instances of the service that a text begins with, or of all.
pub(super) async fn instance_ids(
    session: &Session,
    of: Option<&str>,
) -> Result<Vec<Candidate>, Failure> {
    if let Some(text) = of
        && let Some(name) = longest(&service_names(session).await?, text)
    {
        let found = instances(session, &name).await?;
        let ids = found
            .iter()
            .map(|one| Candidate::new(one.record.id.as_str()));
        return Ok(ids.collect());
    }
    let prefix = &session.prefixes().services;
    let mut registry = Registry::new(prefix.clone());
    registry.replace(session.list(prefix).await?.entries);
    let all = registry
        .services()
        .flat_map(|(_, service)| service.instances());
    Ok(all
        .map(|one| Candidate::new(one.record.id.as_str()))
        .collect())
}

/// The registered service that a text begins with: the longest, as for a call.
fn longest(names: &[ServiceName], text: &str) -> Option<ServiceName> {
    let fits = |name: &&ServiceName| {
        let rest = text.strip_prefix(name.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '/']))
    };
    let found = names.iter().filter(fits);
    found.max_by_key(|name| name.as_str().len()).cloned()
}

/// The methods of a registered service, as `user.Get`; before it is told which, the services.
pub(super) async fn methods(
    session: &Session,
    reach: &Reach,
    typed: &str,
) -> Result<Vec<Candidate>, Failure> {
    let names = service_names(session).await?;
    let fitting: Vec<_> = names
        .iter()
        .filter(|name| name.as_str().starts_with(typed))
        .collect();
    let name = match (typed.contains(['.', '/']), fitting.as_slice()) {
        (_, [one]) => Some((*one).clone()),
        (true, _) => longest(&names, typed),
        (false, _) => None,
    };
    let Some(name) = name else {
        let open = |name: &ServiceName| Candidate::new(format!("{name}."));
        return Ok(fitting.into_iter().map(open).collect());
    };
    let found = instances(session, &name).await?;
    let look = |server: Server| async move { known(&server).await };
    let (_, schema) = connect_any_and(&name, &found, reach, &look).await?;
    Ok(targets(&schema?, Some(name.as_str()), typed))
}

/// What a server can do: what is kept of it where that is all, else what it says.
pub(super) async fn known(server: &Server) -> Result<Schema, Failure> {
    let kept = Kept::open().and_then(|kept| kept.read(&Place::of(server)));
    match kept {
        Some(known) if known.extent == Extent::Whole => Ok(known.schema),
        _ => schema(server, &Source::default()).await,
    }
}

/// The methods as one calls them: short where that means one method, in full where it is typed so.
pub(super) fn targets(schema: &Schema, service: Option<&str>, typed: &str) -> Vec<Candidate> {
    let own = schema
        .services()
        .filter(|service| !service.full_name().starts_with("grpc."));
    let methods: Vec<_> = own
        .flat_map(|service| {
            let name = service.full_name().to_owned();
            let methods: Vec<_> = service.methods().map(|one| one.name().to_owned()).collect();
            methods
                .into_iter()
                .map(move |method| (name.clone(), method))
        })
        .collect();
    let alone = |method: &str| methods.iter().filter(|(_, other)| other == method).count() == 1;
    let mut all = Vec::new();
    if let Some(service) = service {
        let short = methods.iter().filter(|(_, method)| alone(method));
        all.extend(short.map(|(_, method)| format!("{service}.{method}")));
        let long = methods.iter().filter(|(_, method)| !alone(method));
        all.extend(long.map(|(name, method)| format!("{service}/{name}/{method}")));
    }
    if !all.iter().any(|text| text.starts_with(typed)) {
        let full = methods.iter();
        all.extend(
            full.clone()
                .map(|(name, method)| format!("{name}/{method}")),
        );
        if let Some(service) = service {
            all.extend(full.map(|(name, method)| format!("{service}/{name}/{method}")));
        }
    }
    all.into_iter().map(Candidate::new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_would_take_for_more_than_a_name_is_not_offered() {
        for (text, plain) in [
            ("order/timeout.write", true),
            ("user.v1.UserService/Get", true),
            ("größe", true),
            ("a;reboot", false),
            ("$(reboot)", false),
            ("a b", false),
            ("a\nb", false),
            ("`x`", false),
            ("--yes", false),
            ("*", false),
            ("", false),
        ] {
            assert_eq!(Candidate::new(text).is_plain(), plain, "{text:?}");
        }
    }
}
