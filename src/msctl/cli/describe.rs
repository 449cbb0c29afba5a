//! `msctl describe`: services, methods and messages, from reflection or descriptor files.

use std::path::PathBuf;

use futures::StreamExt;
use reflect::{MethodKind, Schema, Symbol, describe, template};
use serde_json::{Value as Json, json};

use super::call::ServerArgs;
use crate::invoke::find::{Source, find_failure, instances, named, schema, server};
use crate::invoke::headers::add_headers;
use crate::invoke::server::{Reach, connect};
use crate::report::{Cell, Failure, Report, Table, Tone};
use crate::session::Session;
use crate::settings::Global;

/// How many services are asked at once.
const ASKED_AT_ONCE: usize = 8;

/// Describe services, methods and messages.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  msctl describe                             every method of every registered service
  msctl describe user                        the methods of one
  msctl describe user.Get                    a method with its messages
  msctl describe user.v1.User                a message
  msctl describe user.Create --template      a request to fill in
  msctl describe user --protoset-out user.binpb    for servers and machines without reflection
  msctl describe --address 127.0.0.1:9000    a server that is not registered")]
pub struct Describe {
    /// A registered service, or a service, method, message or enum of its schema
    symbol: Option<String>,
    /// Print a request of the method, or the message, to fill in
    #[arg(long, requires = "symbol")]
    template: bool,
    /// Send a header when the server is asked; ${NAME} is taken from the environment
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Write the server's descriptors to a file, for --protoset
    #[arg(long, value_name = "FILE")]
    protoset_out: Option<PathBuf>,
    #[command(flatten)]
    server: ServerArgs,
}

impl Describe {
    /// Describes.
    ///
    /// # Errors
    /// When no server answers, or nothing or too much goes by the name.
    pub async fn run(&self, global: &Global, report: &mut Report) -> Result<(), Failure> {
        match self.attempt(global, report).await {
            Err(failure) => Err(self.server.explained(failure).await),
            done => done,
        }
    }

    async fn attempt(&self, global: &Global, report: &mut Report) -> Result<(), Failure> {
        let mut headers = reflect::Metadata::default();
        add_headers(&mut headers, &self.headers)?;
        let source = self.server.source(&headers).await?;
        let reach = self.server.reach()?;
        let symbol = self
            .symbol
            .as_deref()
            .map(str::trim)
            .filter(|text| !text.is_empty());
        if let Source::Given(schema) = &source {
            return self.show(schema, symbol, None, report);
        }
        if let Some(address) = self.server.address() {
            let server = connect(address, &reach).await?;
            return self.show(&schema(&server, &source).await?, symbol, None, report);
        }
        if self.protoset_out.is_some() && symbol.is_none() {
            return Err(
                Failure::usage("--protoset-out writes the descriptors of one server")
                    .next("Name a service, or a server with --address."),
            );
        }
        let session = Session::open(global.resolve()?)?;
        let reach = session.trusted(reach);
        match symbol {
            None => all(&session, &reach, &source, report).await,
            Some(text) => {
                self.registered(&session, text, &reach, &source, report)
                    .await
            }
        }
    }

    /// What a text means among the registered services: one of them, a symbol behind one of their
    /// names, or a symbol that one of them knows.
    async fn registered(
        &self,
        session: &Session,
        text: &str,
        reach: &Reach,
        source: &Source,
        report: &mut Report,
    ) -> Result<(), Failure> {
        let wanted = self.server.instance();
        if let Ok(name) = fleet::ServiceName::new(text) {
            let instances = instances(session, &name).await?;
            if !instances.is_empty() {
                let server = server(&name, &instances, wanted, reach).await?;
                let schema = schema(&server, source).await?;
                return self.show(&schema, None, Some(text), report);
            }
        }
        if let Some((target, instances)) = named(session, text).await?
            && let Some(name) = &target.service
        {
            let server = server(name, &instances, wanted, reach).await?;
            let schema = schema(&server, source).await?;
            return self.show(&schema, Some(&target.symbol), Some(name.as_str()), report);
        }
        let names = crate::cli::services::service_names(session).await?;
        let asked = names.iter().map(|name| async move {
            let instances = instances(session, name).await?;
            let server = server(name, &instances, wanted, reach).await.ok();
            let schema = match server {
                Some(server) => schema(&server, source).await.ok(),
                None => None,
            };
            Ok::<_, Failure>((name, schema))
        });
        let mut asked = futures::stream::iter(asked).buffered(ASKED_AT_ONCE);
        while let Some(answer) = asked.next().await {
            if let (name, Some(schema)) = answer?
                && schema.find_symbol(text).is_ok()
            {
                return self.show(&schema, Some(text), Some(name.as_str()), report);
            }
        }
        Err(
            crate::cli::services::nobody(session, text.split(['.', '/']).next().unwrap_or(text))
                .await,
        )
    }

    fn show(
        &self,
        schema: &Schema,
        symbol: Option<&str>,
        service: Option<&str>,
        report: &mut Report,
    ) -> Result<(), Failure> {
        if let Some(path) = &self.protoset_out {
            std::fs::write(path, schema.to_descriptor_set()).map_err(|error| {
                Failure::failed(format!("{} cannot be written: {error}", path.display()))
            })?;
            report.note(&format!("wrote {}", path.display()));
        }
        let Some(text) = symbol else {
            return methods(&rows(schema, service.unwrap_or("")), report);
        };
        let symbol = schema
            .find_symbol(text)
            .map_err(|error| find_failure(&error))?;
        if self.template {
            let message = match &symbol {
                Symbol::Method(method) => method.input(),
                Symbol::Message(message) => message.clone(),
                Symbol::Service(_) | Symbol::Enum(_) => {
                    return Err(Failure::usage(format!(
                        "{} has no template; name a method or a message",
                        symbol.full_name()
                    )));
                }
            };
            return report.text(&format!("{}\n", template(&message).trim_end()));
        }
        let kind = match &symbol {
            Symbol::Service(_) => "service",
            Symbol::Method(_) => "method",
            Symbol::Message(_) => "message",
            Symbol::Enum(_) => "enum",
        };
        let mut proto = describe(&symbol);
        if let Symbol::Method(method) = &symbol {
            for message in [method.input(), method.output()] {
                proto.push('\n');
                proto.push_str(&describe(&Symbol::Message(message)));
            }
        }
        let document = json!({ "name": symbol.full_name(), "kind": kind, "proto": proto });
        report.one(&document, |_, _| crate::report::lines_safe(&proto))
    }
}

/// One line a method.
struct Row {
    service: String,
    method: String,
    kind: MethodKind,
    input: String,
    output: String,
    comment: String,
}

fn rows(schema: &Schema, service: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    for proto in schema.services() {
        if proto.full_name().starts_with("grpc.reflection.") {
            continue;
        }
        for method in proto.methods() {
            let comment = schema.comment(&method.full_name()).unwrap_or("");
            rows.push(Row {
                service: service.to_owned(),
                method: method.path().trim_start_matches('/').to_owned(),
                kind: method.kind(),
                input: method.input().full_name().to_owned(),
                output: method.output().full_name().to_owned(),
                comment: first_sentence(comment),
            });
        }
    }
    rows
}

fn first_sentence(comment: &str) -> String {
    let text = comment.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.split_once(". ") {
        Some((first, _)) => format!("{first}."),
        None => text,
    }
}

fn kind(kind: MethodKind) -> &'static str {
    match kind {
        MethodKind::Unary => "unary",
        MethodKind::ClientStream => "client_stream",
        MethodKind::ServerStream => "server_stream",
        MethodKind::Bidi => "bidi",
    }
}

fn methods(rows: &[Row], report: &mut Report) -> Result<(), Failure> {
    if report.is_table() {
        let mut table = Table::new(&["SERVICE", "METHOD", "KIND", "REQUEST", "RESPONSE", "WHAT"]);
        for row in rows {
            let arrows = match row.kind {
                MethodKind::Unary => "unary",
                MethodKind::ClientStream => "← stream",
                MethodKind::ServerStream => "→ stream",
                MethodKind::Bidi => "↔ streams",
            };
            table.push(vec![
                row.service.as_str().into(),
                row.method.as_str().into(),
                Cell::new(arrows, Tone::Dim),
                row.input.as_str().into(),
                row.output.as_str().into(),
                Cell::new(&row.comment, Tone::Dim),
            ]);
        }
        return report.table(&table);
    }
    let documents = rows.iter().map(|row| -> Json {
        json!({
            "service": row.service,
            "method": row.method,
            "kind": kind(row.kind),
            "request": row.input,
            "response": row.output,
            "comment": row.comment,
        })
    });
    report.list(documents, Table::new(&[]), |_| Vec::new())
}

/// Every method of every registered service; one that does not answer is named and skipped.
async fn all(
    session: &Session,
    reach: &Reach,
    source: &Source,
    report: &mut Report,
) -> Result<(), Failure> {
    let names = crate::cli::services::service_names(session).await?;
    if names.is_empty() {
        report.note("no service is registered; 'msctl demo' starts a fleet to try");
    }
    let described = names.iter().map(|name| async move {
        let described = async {
            let instances = instances(session, name).await?;
            let server = server(name, &instances, None, reach).await?;
            schema(&server, source).await
        };
        (name, described.await)
    });
    let mut described = futures::stream::iter(described).buffered(ASKED_AT_ONCE);
    let mut found = Vec::new();
    while let Some((name, answer)) = described.next().await {
        match answer {
            Ok(schema) => found.extend(rows(&schema, name.as_str())),
            Err(failure) => report.warn(&format!("{name}: {}", failure.message())),
        }
    }
    if found.is_empty() && report.is_table() {
        return Ok(());
    }
    methods(&found, report)
}
