//! Methods of services and calls of them, for the Calls page: the same road as `msctl call`. What a
//! service told of itself is kept until it is asked again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fleet::{Instance, ServiceName};
use reflect::{CallOptions, Event, Metadata, MethodKind, ParseOptions, PrintOptions, Schema};

use crate::invoke::documents::Documents;
use crate::invoke::find::{Source, method, schema};
use crate::invoke::headers::add_headers;
use crate::invoke::server::{Reach, Server, connect_any, connect_instance};
use crate::report::Failure;
use crate::tui::effect::Call;
use crate::tui::state::calls::{Ended, Kind, Method, Progress};

/// How long a service may take to tell of its methods.
const TELL: Duration = Duration::from_secs(10);

/// How long a call of one message to one message may take.
const UNARY: Duration = Duration::from_secs(30);

/// Asks and calls. Holds what services told.
pub(super) struct Invoker {
    schemas: Mutex<HashMap<ServiceName, Schema>>,
    reach: Reach,
}

impl Invoker {
    pub(super) fn new(reach: Reach) -> Self {
        Self {
            schemas: Mutex::default(),
            reach,
        }
    }

    /// What a service can do, by its own word.
    pub(super) async fn methods(
        &self,
        service: &ServiceName,
        instances: &[Arc<Instance>],
    ) -> Result<Vec<Method>, String> {
        let asked = async {
            let server = server(service, instances, &self.reach).await?;
            schema(&server, &Source::default()).await
        };
        let schema = match tokio::time::timeout(TELL, asked).await {
            Ok(Ok(schema)) => schema,
            Ok(Err(failure)) => return Err(failure.to_string()),
            Err(_) => {
                return Err(format!(
                    "{service} did not tell its methods within {TELL:?}"
                ));
            }
        };
        let methods = list(&schema);
        self.schemas
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(service.clone(), schema);
        Ok(methods)
    }

    /// Calls, and tells how it goes until the end.
    pub(super) async fn call<F: Future<Output = ()>>(
        &self,
        call: Call,
        tell: impl Fn(Progress) -> F,
    ) {
        if let Err(failure) = self.try_call(call, &tell).await {
            tell(Progress::Failed(failure.to_string())).await;
        }
    }

    async fn try_call<F: Future<Output = ()>>(
        &self,
        call: Call,
        tell: &impl Fn(Progress) -> F,
    ) -> Result<(), Failure> {
        let documents = documents(&call.request)?;
        let server = server(&call.service, &call.instances, &self.reach).await?;
        let to = server.instance.as_ref().map_or_else(
            || server.address.clone(),
            |instance| instance.record.id.to_string(),
        );
        tell(Progress::Sent { to }).await;
        let known = self
            .schemas
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&call.service)
            .cloned();
        let schema = match known {
            Some(schema) => schema,
            None => schema(&server, &Source::default()).await?,
        };
        let method = method(&schema, &call.method.full_name())?;
        let mut metadata = Metadata::default();
        add_headers(&mut metadata, &call.headers)?;
        let deadline = (method.kind() == MethodKind::Unary).then_some(UNARY);
        let options = CallOptions {
            deadline,
            metadata,
            ..CallOptions::default()
        };
        let requests = futures::stream::iter(documents.into_iter().map(Ok));
        let mut exchange =
            crate::invoke::begin(&server, &method, options, ParseOptions::default(), requests)?;
        let print = PrintOptions {
            indent: Some(2),
            ..PrintOptions::default()
        };
        while let Some(event) = exchange.next().await? {
            match event {
                Event::Headers { headers, .. } => {
                    let headers = headers
                        .iter()
                        .map(|(name, value)| (name.to_owned(), value.shown()));
                    tell(Progress::Headers(headers.collect())).await;
                }
                Event::Message { bytes, .. } => {
                    tell(Progress::Message(exchange.to_json(&bytes, &print)?)).await;
                }
                Event::End(end) => {
                    let mut details = Vec::new();
                    for detail in &end.status.details {
                        let mut json = Vec::new();
                        detail.to_json(&schema, &print, &mut json);
                        details.push(String::from_utf8_lossy(&json).into_owned());
                    }
                    let trailers = end
                        .trailers
                        .iter()
                        // A response without messages has its headers here.
                        .filter(|(name, _)| !["content-type", "date"].contains(name))
                        .map(|(name, value)| (name.to_owned(), value.shown()));
                    let ended = Ended {
                        code: end.status.code_name().to_owned(),
                        ok: end.status.is_ok(),
                        message: end.status.message.clone(),
                        details,
                        trailers: trailers.collect(),
                        took: end.timings.total,
                    };
                    tell(Progress::Ended(ended)).await;
                }
            }
        }
        Ok(())
    }
}

/// The request's documents, one after the other.
fn documents(request: &str) -> Result<Vec<Vec<u8>>, Failure> {
    let mut cutter = Documents::default();
    let mut all = cutter
        .push(request.as_bytes())
        .map_err(|error| Failure::usage(error.to_string()))?;
    let rest = cutter.finish().filter(|rest| !rest.trim_ascii().is_empty());
    all.extend(rest);
    Ok(all)
}

/// The one instance that was chosen, else any that serves.
async fn server(
    service: &ServiceName,
    instances: &[Arc<Instance>],
    reach: &Reach,
) -> Result<Server, Failure> {
    match instances {
        [one] => connect_instance(one, reach).await,
        many => connect_any(service, many, reach).await,
    }
}

/// The methods of a schema, those of the service itself before those of gRPC's own services.
fn list(schema: &Schema) -> Vec<Method> {
    let mut methods = Vec::new();
    for service in schema.services() {
        for method in service.methods() {
            let kind = match method.kind() {
                MethodKind::Unary => Kind::Unary,
                MethodKind::ServerStream => Kind::ServerStream,
                MethodKind::ClientStream => Kind::ClientStream,
                MethodKind::Bidi => Kind::Bidi,
            };
            let input = method.input();
            methods.push(Method {
                service: service.full_name().into(),
                name: method.name().into(),
                kind,
                template: reflect::template(&input).into(),
                about: about(schema, &method).into(),
            });
        }
    }
    methods.sort_by_key(|method| method.service.starts_with("grpc."));
    methods
}

/// What a method and its request mean: the comment, then a line for each field.
fn about(schema: &Schema, method: &reflect::Method) -> String {
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut lines: Vec<String> = schema
        .comment(&method.full_name())
        .map(one_line)
        .into_iter()
        .collect();
    for field in method.input().fields() {
        let mut line = format!("{}: {}", field.json_name, field.type_name);
        if field.required {
            line.push_str(", required");
        }
        if !field.values.is_empty() {
            line.push_str(&format!(", one of {}", field.values.join(" ")));
        }
        if let Some(doc) = field.doc.as_deref().filter(|doc| !doc.trim().is_empty()) {
            line.push_str(&format!("  {}", one_line(doc)));
        }
        lines.push(line);
    }
    lines.join("\n")
}
