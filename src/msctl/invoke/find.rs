//! From a target to a server and a method: the registered service that was named, or the one
//! whose servers know the method.

use std::sync::Arc;

use fleet::{Instance, Registry, ServiceName};
use futures::StreamExt;
use reflect::{FindError, Method, Schema};
use reflect::{ReflectOptions, reflect};

use super::lookup::{Library, Looked, Trust};
use super::server::{Reach, Server, connect_any, connect_any_and, connect_instance};
use super::target::Target;
use crate::cli::services::{nobody, service_names};
use crate::report::{Failure, Kind};
use crate::session::Session;

/// How many services are asked at once for a method that none of them was named for.
const ASKED_AT_ONCE: usize = 8;

/// Where descriptors come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// The server's own reflection.
    Reflection(ReflectOptions),
    /// Files, loaded already.
    Given(Schema),
}

impl Default for Source {
    fn default() -> Self {
        Self::Reflection(ReflectOptions::default())
    }
}

/// A method and a server that has it.
#[derive(Debug, Clone)]
pub struct Found {
    /// Where to call it.
    pub server: Server,
    /// What to call.
    pub method: Method,
    /// Set where the server was not asked for its descriptors.
    pub trust: Option<Trust>,
}

impl Found {
    fn new(server: Server, looked: Looked) -> Self {
        Self {
            server,
            method: looked.method,
            trust: looked.trust,
        }
    }

    /// The method of a server that was connected to.
    ///
    /// # Errors
    /// When the server does not say what it can do, or has no such method.
    pub async fn at(server: Server, symbol: &str, library: &Library) -> Result<Self, Failure> {
        let looked = library.look(&server, symbol).await?;
        Ok(Self::new(server, looked))
    }

    /// The same by what the server says now.
    ///
    /// # Errors
    /// As [`Found::at`].
    pub async fn asked_again(self, library: &Library) -> Result<Self, Failure> {
        let symbol = self.method.path().trim_start_matches('/').to_owned();
        let looked = library.ask(&self.server, &symbol).await?;
        Ok(Self::new(self.server, looked))
    }
}

/// What a server can do.
///
/// # Errors
/// When it does not say: no reflection, a broken one, or too slow.
pub async fn schema(server: &Server, source: &Source) -> Result<Schema, Failure> {
    match source {
        Source::Given(schema) => Ok(schema.clone()),
        Source::Reflection(options) => {
            let reflected = reflect(server.channel.clone(), options).await;
            reflected
                .map(|reflected| reflected.schema)
                .map_err(|error| refused(server, &error))
        }
    }
}

/// Why a server does not say what it can do, as the console says it.
pub(super) fn refused(server: &Server, error: &reflect::Error) -> Failure {
    let failure = Failure::failed(format!("{}: {error}", server.address));
    match error {
        reflect::Error::NoReflection { .. } => failure,
        reflect::Error::Deadline { .. } => {
            failure.next("Give --protoset FILE to do without, or a longer --connect-timeout.")
        }
        _ => failure.next("Give --protoset FILE to do without."),
    }
}

/// The method that a symbol means.
///
/// # Errors
/// Kind `NotFound` with the name that was probably meant, or `Usage` with the candidates.
pub fn method(schema: &Schema, symbol: &str) -> Result<Method, Failure> {
    resolve(schema, symbol).map_err(|error| find_failure(&error))
}

fn resolve(schema: &Schema, symbol: &str) -> Result<Method, FindError> {
    match schema.find_method(symbol) {
        Err(FindError::Ambiguous {
            query,
            mut candidates,
        }) => {
            // Health and reflection are on every server; who does not name them means the others.
            let own = candidates
                .iter()
                .filter(|candidate| !candidate.starts_with("grpc."));
            let own: Vec<String> = own.cloned().collect();
            if let [one] = own.as_slice() {
                return schema.find_method(one);
            }
            if !own.is_empty() {
                candidates = own;
            }
            Err(FindError::Ambiguous { query, candidates })
        }
        Err(error) => Err(of_one_service(schema, symbol, error)),
        found => found,
    }
}

/// A bare name that is near a method of some service was meant for that service.
fn of_one_service(schema: &Schema, symbol: &str, error: FindError) -> FindError {
    let FindError::Unknown {
        suggestion: Some(meant),
        ..
    } = &error
    else {
        return error;
    };
    let Some((service, method)) = meant.rsplit_once('.') else {
        return error;
    };
    let Some(found) = schema
        .service(service)
        .filter(|_| !symbol.contains(['.', '/']))
    else {
        return error;
    };
    let mut methods: Vec<String> = found.methods().map(|m| m.name().to_owned()).collect();
    methods.sort();
    FindError::NoMethod {
        service: service.to_owned(),
        method: symbol.to_owned(),
        suggestion: Some(method.to_owned()),
        methods,
    }
}

/// What could not be found in a schema, as the console says it.
#[must_use]
pub fn find_failure(error: &FindError) -> Failure {
    let message = error.to_string();
    match error {
        FindError::Ambiguous { candidates, .. } => Failure::usage(message)
            .next("Name one of them in full.")
            .with_machine_details(candidates.clone().into()),
        _ => Failure::not_found(message),
    }
}

/// The service a text begins with, its target and its instances; `None` when none is registered
/// under any beginning of it.
///
/// # Errors
/// When etcd cannot be read or no method is named.
pub async fn named(
    session: &Session,
    text: &str,
) -> Result<Option<(Target, Vec<Arc<Instance>>)>, Failure> {
    // Asking for each beginning costs less than listing a large fleet.
    let ends = text.match_indices(['.', '/']).map(|(at, _)| at);
    let mut names: Vec<ServiceName> = ends
        .filter_map(|end| ServiceName::new(&text[..end]).ok())
        .collect();
    names.truncate(16);
    while let Some(name) = names.pop() {
        let instances = instances(session, &name).await?;
        if !instances.is_empty() {
            return Ok(Some((Target::parse(text, [&name])?, instances)));
        }
    }
    Ok(None)
}

/// The instances of one service.
///
/// # Errors
/// When etcd cannot be read.
pub async fn instances(
    session: &Session,
    name: &ServiceName,
) -> Result<Vec<Arc<Instance>>, Failure> {
    let prefix = &session.prefixes().services;
    let mut registry = Registry::new(prefix.clone());
    registry.replace(
        session
            .list(&prefix.narrow(&format!("{name}/")))
            .await?
            .entries,
    );
    Ok(registry
        .service(name.as_str())
        .map(|service| service.instances().cloned().collect())
        .unwrap_or_default())
}

/// A server of a service: any that serves, or the one asked for.
///
/// # Errors
/// When there is no such instance, or none that serves.
pub async fn server(
    name: &ServiceName,
    instances: &[Arc<Instance>],
    instance: Option<&str>,
    reach: &Reach,
) -> Result<Server, Failure> {
    let Some(wanted) = instance else {
        return connect_any(name, instances, reach).await;
    };
    let ids: Vec<&str> = instances.iter().map(|i| i.record.id.as_str()).collect();
    match instances.iter().find(|i| i.record.id.as_str() == wanted) {
        Some(instance) => connect_instance(instance, reach).await,
        None => Err(
            Failure::not_found(format!("{name} has no instance '{wanted}'"))
                .next(format!("It has {}.", ids.join(", "))),
        ),
    }
}

/// Finds what a target means and a server for it.
///
/// # Errors
/// When nothing or too much goes by the name, or no server answers.
pub async fn find(
    session: &Session,
    text: &str,
    instance: Option<&str>,
    reach: &Reach,
    library: &Library,
) -> Result<Found, Failure> {
    let Some((target, instances)) = named(session, text).await? else {
        return search(session, text, reach, &library.source).await;
    };
    let Some(name) = &target.service else {
        return Err(nobody(session, target.first_word()).await);
    };
    if instance.is_some() {
        let server = server(name, &instances, instance, reach).await?;
        return Found::at(server, &target.symbol, library).await;
    }
    // What the method is, is asked beside whether the server serves: one round trip less.
    let symbol = &target.symbol;
    let look = |server: Server| async move { library.look(&server, symbol).await };
    let (server, looked) = connect_any_and(name, &instances, reach, &look).await?;
    Ok(Found::new(server, looked?))
}

/// Asks every service whether it has the method.
async fn search(
    session: &Session,
    text: &str,
    reach: &Reach,
    source: &Source,
) -> Result<Found, Failure> {
    let target = Target::symbol(text)?;
    let names = service_names(session).await?;
    let word = target.first_word();
    let parts = target.symbol.split(['.', '/']).count();
    let meant = fleet::suggest::closest(word, names.iter().map(ServiceName::as_str));
    if names.is_empty() || (parts == 2 && meant.is_some()) {
        return Err(nobody(session, word).await);
    }
    let asked = names.iter().map(|name| async move {
        let instances = instances(session, name).await.ok()?;
        let server = connect_any(name, &instances, reach).await.ok()?;
        let schema = schema(&server, source).await.ok()?;
        Some((name.clone(), server, resolve(&schema, text)))
    });
    let answers: Vec<_> = futures::stream::iter(asked)
        .buffer_unordered(ASKED_AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await;
    let mut found: Vec<(ServiceName, Found)> = Vec::new();
    let mut near: Vec<(ServiceName, FindError)> = Vec::new();
    for (name, server, method) in answers {
        match method {
            Ok(method) => {
                let trust = None;
                let looked = Looked { method, trust };
                found.push((name, Found::new(server, looked)));
            }
            // Another may have the method: this one only has a service of that name.
            Err(error @ FindError::NoMethod { .. }) if parts > 1 => near.push((name, error)),
            Err(_) => {}
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    near.sort_by(|a, b| a.0.cmp(&b.0));
    match found.len() {
        0 => match near.first() {
            Some((_, error)) => Err(find_failure(error)),
            None => Err(nobody(session, word).await),
        },
        1 => found
            .pop()
            .map(|(_, found)| found)
            .ok_or_else(|| Failure::failed("nothing found")),
        _ => {
            let candidates: Vec<String> = found
                .iter()
                .map(|(name, f)| format!("{name}/{}", f.method.path().trim_start_matches('/')))
                .collect();
            Err(Failure::new(
                Kind::Usage,
                format!("'{text}' is ambiguous: {}", candidates.join(", ")),
            )
            .next("Name the service in front."))
        }
    }
}
