//! `msctl call`: any gRPC method, by name, with JSON in and JSON out. All four kinds of streams.

mod input;
mod output;

use std::future::Future;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use reflect::ReflectOptions;
use reflect::{
    CallOptions, Metadata, Method, MethodKind, ParseOptions, PrintOptions, UnknownFields,
};
use reflect::{from_protos, from_protosets};

use crate::invoke::find::{Found, Source, find};
use crate::invoke::headers::add_headers;
use crate::invoke::kept::Kept;
use crate::invoke::lookup::Library;
use crate::invoke::server::{Reach, connect, explained, tls};
use crate::report::{Failure, Format, Kind, Report};
use crate::session::Session;
use crate::settings::file::TlsFiles;
use crate::settings::{Global, duration};

/// A call of one message that says nothing else is given up after this.
const UNARY_DEADLINE: Duration = Duration::from_secs(30);

/// Call a gRPC method.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A target is a registered service and its method (user.Get), a full name (user.v1.UserService/Get),
or both (user/user.v1.UserService.Get). Requests are JSON documents: in -d, in a file, or on stdin,
one after the other for a stream. Answers are JSON documents in order.

Examples:
  msctl call user.Get -d '{\"id\":\"1\"}'
  msctl call order.Create -d @order.json -H 'authorization: Bearer ${TOKEN}'
  msctl call order.Import < orders.ndjson
  msctl call --address 127.0.0.1:9000 user.v1.UserService/Watch -o ndjson
  msctl call user.Get -d '{\"id\":\"9\"}' --envelope | jq .status")]
pub struct Call {
    /// What to call
    target: String,
    /// The request: JSON, @FILE, or @- for stdin
    #[arg(short, long, value_name = "JSON")]
    data: Option<String>,
    /// Send a header; ${NAME} is taken from the environment, a -bin value is base64
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Print one object with status, headers, messages, trailers and timings
    #[arg(long)]
    envelope: bool,
    /// Print fields that hold their default too
    #[arg(long)]
    emit_defaults: bool,
    /// Print field names as in the .proto file
    #[arg(long)]
    proto_names: bool,
    /// Print enums as numbers
    #[arg(long)]
    enum_numbers: bool,
    /// Leave out request fields that the message does not have, instead of refusing them
    #[arg(long)]
    drop_unknown: bool,
    /// Ask the server for its descriptors, whatever is kept of an earlier call
    #[arg(long)]
    no_cache: bool,
    /// Everything together may take so long, connecting included [default: 30s for a call without streams]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    max_time: Option<Duration>,
    /// The largest message to send or accept, like 16MiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_message_size: Option<usize>,
    #[command(flatten)]
    server: ServerArgs,
}

/// Which server, and where its descriptors come from.
#[derive(Debug, clap::Args)]
pub struct ServerArgs {
    /// Call this server instead of a registered one
    #[arg(long, value_name = "HOST:PORT", help_heading = "Server")]
    address: Option<String>,
    /// Call this instance, whatever its health
    #[arg(
        long,
        value_name = "ID",
        conflicts_with = "address",
        help_heading = "Server"
    )]
    instance: Option<String>,
    /// Speak TLS
    #[arg(long, help_heading = "Server")]
    tls: bool,
    /// Who signs the server's certificate (PEM file); implies --tls
    #[arg(long, value_name = "FILE", help_heading = "Server")]
    cacert: Option<PathBuf>,
    /// Certificate to show (PEM file); implies --tls
    #[arg(long, value_name = "FILE", requires = "key", help_heading = "Server")]
    cert: Option<PathBuf>,
    /// Key of that certificate (PEM file)
    #[arg(long, value_name = "FILE", requires = "cert", help_heading = "Server")]
    key: Option<PathBuf>,
    /// The name the server's certificate must have
    #[arg(long, value_name = "NAME", help_heading = "Server")]
    server_name: Option<String>,
    /// The :authority to send
    #[arg(long, value_name = "NAME", help_heading = "Server")]
    authority: Option<String>,
    /// How long connecting may take
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "2s", help_heading = "Server")]
    connect_timeout: Duration,
    /// Descriptor set instead of the server's reflection
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "proto",
        help_heading = "Descriptors"
    )]
    protoset: Vec<PathBuf>,
    /// .proto file instead of the server's reflection; needs protoc
    #[arg(long, value_name = "FILE", help_heading = "Descriptors")]
    proto: Vec<PathBuf>,
    /// Where .proto files import from
    #[arg(
        short = 'I',
        long = "import",
        value_name = "FOLDER",
        requires = "proto",
        help_heading = "Descriptors"
    )]
    imports: Vec<PathBuf>,
    /// Send a header with reflection requests only
    #[arg(long, value_name = "NAME: VALUE", help_heading = "Descriptors")]
    reflection_header: Vec<String>,
}

fn size(text: &str) -> Result<usize, String> {
    let value = serde_yaml::Value::String(text.to_owned());
    let bytes = fleet::config::value::size(&value).map_err(|error| error.to_string())?;
    usize::try_from(bytes)
        .ok()
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| format!("'{text}' is no size; write it like 512KiB or 16MiB"))
}

impl ServerArgs {
    /// The address, when one was named.
    pub(crate) fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    /// The instance, when one was named.
    pub(crate) fn instance(&self) -> Option<&str> {
        self.instance.as_deref()
    }

    /// The failure of a call, or why it could only fail.
    pub(crate) async fn explained(&self, failure: Failure) -> Failure {
        let is_plain = self.reach().is_ok_and(|reach| reach.tls.is_none());
        explained(failure, self.address(), is_plain).await
    }

    pub(crate) fn reach(&self) -> Result<Reach, Failure> {
        let files = TlsFiles {
            cacert: self.cacert.clone(),
            cert: self.cert.clone(),
            key: self.key.clone(),
            server_name: self.server_name.clone(),
        };
        let wanted = self.tls || files != TlsFiles::default();
        Ok(Reach {
            service_tls: TlsFiles::default(),
            tls: if wanted { Some(tls(&files)?) } else { None },
            authority: self.authority.clone(),
            connect_timeout: self.connect_timeout,
        })
    }

    pub(crate) async fn source(&self, headers: &Metadata) -> Result<Source, Failure> {
        let unusable = |error: reflect::Error| Failure::usage(error.to_string());
        if !self.protoset.is_empty() {
            return Ok(Source::Given(
                from_protosets(&self.protoset).await.map_err(unusable)?,
            ));
        }
        if !self.proto.is_empty() {
            let schema = from_protos(&self.proto, &self.imports).await;
            return Ok(Source::Given(schema.map_err(unusable)?));
        }
        let mut metadata = headers.clone();
        add_headers(&mut metadata, &self.reflection_header)?;
        Ok(Source::Reflection(ReflectOptions {
            metadata,
            ..ReflectOptions::default()
        }))
    }
}

impl Call {
    /// Calls.
    ///
    /// # Errors
    /// What keeps the call from being made, or the status it ended with.
    pub async fn run(&self, global: &Global, report: &mut Report) -> Result<(), Failure> {
        match self.attempt(global, report).await {
            Err(failure) => Err(self.server.explained(failure).await),
            done => done,
        }
    }

    async fn attempt(&self, global: &Global, report: &mut Report) -> Result<(), Failure> {
        let begun = Instant::now();
        let mut metadata = Metadata::default();
        add_headers(&mut metadata, &self.headers)?;
        let library = Library {
            source: self.server.source(&metadata).await?,
            kept: Kept::open().filter(|_| !self.no_cache),
        };
        let mut found = self.in_time(begun, self.find(global, &library)).await?;
        report.detail(&format!(
            "calling {} at {} (connected in {:.1} ms, descriptors {})",
            found.method.path(),
            found.server.address,
            found.server.connected_in.as_secs_f64() * 1e3,
            match (&library.source, &found.trust) {
                (Source::Given(_), _) => "from files",
                (_, Some(_)) => "kept",
                (_, None) => "from the server",
            }
        ));
        let parse = ParseOptions {
            unknown_fields: if self.drop_unknown {
                UnknownFields::Drop
            } else {
                UnknownFields::Reject
            },
            ..ParseOptions::default()
        };
        let patience = self.deadline(&found.method, begun);
        let input = input::documents(self.data.as_deref(), &found.method, patience).await?;
        if found.trust.is_some() && !input.fits(&found.method, &parse) {
            // The server may know the fields by now.
            found = self.in_time(begun, found.asked_again(&library)).await?;
        }
        let options = CallOptions {
            metadata,
            deadline: self.deadline(&found.method, begun),
            max_message_size: self
                .max_message_size
                .unwrap_or(CallOptions::default().max_message_size),
        };
        let exchange =
            crate::invoke::begin(&found.server, &found.method, options, parse, input.stream())?;
        let check = found
            .trust
            .clone()
            .map(|trust| trust.check(&found.server, &found.method));
        let print = self.print_options(report.format());
        let result = if self.envelope {
            output::envelope(exchange, check, &found, &print, report).await
        } else {
            output::messages(exchange, check, &print, report).await
        };
        if let (Err(failure), Some(trust)) = (&result, &found.trust)
            && matches!(failure.kind(), Kind::Usage | Kind::Grpc(12))
        {
            trust.forget();
        }
        result
    }

    async fn find(&self, global: &Global, library: &Library) -> Result<Found, Failure> {
        let reach = self.server.reach()?;
        match self.server.address() {
            Some(address) => {
                let server = connect(address, &reach).await?;
                Found::at(server, self.target.trim(), library).await
            }
            None => {
                let session = Session::open(global.resolve()?)?;
                let reach = session.trusted(reach);
                let instance = self.server.instance();
                find(&session, &self.target, instance, &reach, library).await
            }
        }
    }

    /// What comes before the call counts for `--max-time` as well.
    async fn in_time<T>(
        &self,
        begun: Instant,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let Some(limit) = self.max_time else {
            return work.await;
        };
        let left = limit.saturating_sub(begun.elapsed());
        match tokio::time::timeout(left, work).await {
            Ok(result) => result,
            Err(_) => {
                let code = tonic::Code::DeadlineExceeded as i32;
                let message = format!("no server was found within {limit:?}");
                let failure = Failure::new(
                    Kind::Grpc(code),
                    format!("DEADLINE_EXCEEDED ({code}): {message}"),
                );
                Err(failure.with_status(code, &message))
            }
        }
    }

    /// What is left of the time for a call.
    fn deadline(&self, method: &Method, begun: Instant) -> Option<Duration> {
        match self.max_time {
            // A time of nothing would mean none to the server.
            Some(limit) => Some(
                limit
                    .saturating_sub(begun.elapsed())
                    .max(Duration::from_millis(1)),
            ),
            None => (method.kind() == MethodKind::Unary).then_some(UNARY_DEADLINE),
        }
    }

    fn print_options(&self, format: Format) -> PrintOptions {
        PrintOptions {
            emit_defaults: self.emit_defaults,
            proto_names: self.proto_names,
            enum_numbers: self.enum_numbers,
            indent: match format {
                Format::Ndjson => None,
                _ if self.envelope => None,
                _ => Some(2),
            },
            ..PrintOptions::default()
        }
    }
}
