//! `msctl gateway`: HTTP/JSON in front of gRPC servers, from their reflection. The gateway itself is
//! `platform::gateway`; here are its flags, its log and its end.
//!
//! It has no credentials of its own for calls: what a caller sends as `authorization` reaches the server.

mod guard;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use fleet::Endpoint;
use platform::channel::{ChannelOptions, Connector};
use platform::gateway::{Gateway as Served, GatewayOptions, Upstreams};
use platform::server::{Handle, JsonOptions};
use serde_json::json;

use crate::cli::etcd::{listen_address, warn_if_exposed};
use crate::cli::signal::Stop;
use crate::report::{Failure, Report, Verbosity};
use crate::session::Session;
use crate::settings::file::TlsFiles;
use crate::settings::{Global, duration};
use guard::Guards;

/// Serve HTTP/JSON in front of gRPC servers, without generated code.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without --address it serves every gRPC service that is registered in etcd, and follows them as they
come, change and go. Servers may be down: they are served as soon as they answer. They need server
reflection, which says what they serve; google.api.http rules give the paths, and a method without
one is POST /package.Service/Method.
Beside the API it answers /openapi.json, /healthz, /readyz and /metrics.

Examples:
  msctl gateway                                      every registered service, on 127.0.0.1:8080
  msctl gateway --listen 127.0.0.1:0 --address 127.0.0.1:9000
  msctl gateway --address a:9000,b:9000 --address grpcs://c:443
                                                     two replicas of one server, and another one
  msctl gateway --listen 0.0.0.0:443 --serve-cert tls.crt --serve-key tls.key --token-file keys --rate 50
                                                     for callers with a key, over TLS")]
pub struct Gateway {
    /// Where to listen; port 0 picks a free one
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8080",
        value_parser = listen_address
    )]
    listen: SocketAddr,
    /// A server instead of the registry, as host:port; replicas of it after commas. May be repeated
    #[arg(long, value_name = "ADDRESS", value_parser = replicas)]
    address: Vec<Replicas>,
    /// How often a server is asked again what it serves
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "30s")]
    refresh: Duration,
    /// How long calls may take to finish at the end
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10s")]
    drain: Duration,
    /// Refuse requests with unknown fields, naming them
    #[arg(long, help_heading = "JSON")]
    strict: bool,
    /// Write field names as in the .proto files
    #[arg(long, help_heading = "JSON")]
    proto_names: bool,
    /// Write enums as numbers
    #[arg(long, help_heading = "JSON")]
    enum_numbers: bool,
    /// Largest request, and message of a stream of requests, in bytes
    #[arg(long, value_name = "BYTES", help_heading = "Limits")]
    max_request: Option<usize>,
    #[command(flatten)]
    guards: Guards,
    /// Header for the servers' reflection alone, as 'NAME: VALUE'. May be repeated
    #[arg(long, value_name = "HEADER", help_heading = "Server")]
    reflection_header: Vec<String>,
    /// What servers without reflection serve (descriptor set file). May be repeated
    #[arg(
        long,
        value_name = "FILE",
        requires = "address",
        help_heading = "Server"
    )]
    protoset: Vec<PathBuf>,
    /// Speak TLS to the servers of --address
    #[arg(long, requires = "address", help_heading = "Server")]
    tls: bool,
    /// Who signs the servers' certificates (PEM file)
    #[arg(long, value_name = "FILE", help_heading = "Server")]
    cacert: Option<PathBuf>,
    /// Certificate to show to the servers (PEM file)
    #[arg(long, value_name = "FILE", requires = "key", help_heading = "Server")]
    cert: Option<PathBuf>,
    /// Key of that certificate (PEM file)
    #[arg(long, value_name = "FILE", requires = "cert", help_heading = "Server")]
    key: Option<PathBuf>,
    /// The name the servers' certificates must have
    #[arg(long, value_name = "NAME", help_heading = "Server")]
    server_name: Option<String>,
}

/// Where one server is, as it was given.
#[derive(Debug, Clone)]
struct Replicas(Vec<Endpoint>);

/// Reads `host:port`, `:port` or `grpcs://host:port`, several after commas.
fn replicas(text: &str) -> Result<Replicas, String> {
    let one = |part: &str| {
        let full = match part.split_once("://") {
            Some(_) => part.to_owned(),
            None if part.starts_with(':') => format!("grpc://127.0.0.1{part}"),
            None => format!("grpc://{part}"),
        };
        let endpoint = Endpoint::parse(&full).map_err(|error| error.to_string())?;
        if endpoint.is_grpc() {
            Ok(endpoint)
        } else {
            Err(format!(
                "'{part}' speaks something else; write it like 127.0.0.1:9000 or grpcs://host:443"
            ))
        }
    };
    text.split(',')
        .map(|part| one(part.trim()))
        .collect::<Result<_, _>>()
        .map(Replicas)
}

impl Gateway {
    /// Serves until a signal; then calls under way may finish.
    ///
    /// # Errors
    /// When the address cannot be listened on, or a TLS file cannot be read.
    pub async fn run(&self, global: &Global, report: &mut Report) -> Result<(), Failure> {
        let mut stop = Stop::listen()?;
        log(global.verbosity());
        let options = GatewayOptions {
            json: self.json(),
            channel: ChannelOptions {
                connector: self.connector()?,
                ..ChannelOptions::default()
            },
            refresh: self.refresh,
            reflection: self.reflection()?,
            fallback: self.fallback().await?,
            ..GatewayOptions::default()
        };
        let (upstreams, whom) = self.upstreams(global)?;
        let service = self.guards.service().await?;
        let served = Served::bind_with(self.listen, upstreams, options, service)
            .await
            .map_err(|error| Failure::failed(error.to_string()))?;
        let address = served.local_addr();
        if !self.guards.is_closed() {
            warn_if_exposed(
                address,
                &format!("every method of {whom}, to whoever those let call"),
                report,
            );
        }
        report.one(
            &json!({ "address": address.to_string(), "upstreams": whom }),
            |_, _| format!("the gateway listens on {address}"),
        )?;
        report.note(&format!(
            "in front of {whom}; try: curl {}://{address}/openapi.json",
            if served.is_secure() { "https" } else { "http" }
        ));
        stop.wait().await;
        self.end(&served.handle(), &mut stop, report).await;
        Ok(())
    }

    fn upstreams(&self, global: &Global) -> Result<(Upstreams, String), Failure> {
        if self.address.is_empty() {
            let session = Session::open(global.resolve()?)?;
            let whom = format!(
                "every gRPC service registered in etcd {} under {}",
                session.context().members(),
                session.prefixes().services
            );
            let upstreams = Upstreams::Registry {
                client: session.client().clone(),
                services: session.prefixes().services.clone(),
            };
            return Ok((upstreams, whom));
        }
        let servers: Vec<Vec<Endpoint>> = self
            .address
            .iter()
            .map(|Replicas(endpoints)| {
                let with_tls = endpoints.iter().cloned().map(|mut endpoint| {
                    endpoint.secure |= self.tls;
                    endpoint
                });
                with_tls.collect()
            })
            .collect();
        let names: Vec<&str> = servers.iter().flatten().map(|one| &*one.address).collect();
        let whom = names.join(", ");
        Ok((Upstreams::Addresses(servers), whom))
    }

    fn json(&self) -> JsonOptions {
        let mut json = GatewayOptions::default().json;
        if self.strict {
            json.parse.unknown_fields = reflect::UnknownFields::Reject;
        }
        if let Some(most) = self.max_request {
            json.max_request = most;
        }
        json.print.proto_names = self.proto_names;
        json.print.enum_numbers = self.enum_numbers;
        json
    }

    fn reflection(&self) -> Result<reflect::Metadata, Failure> {
        let mut metadata = reflect::Metadata::default();
        for header in &self.reflection_header {
            let (name, value) = header.split_once(':').ok_or_else(|| {
                // It may be a credential that lost its name.
                Failure::usage("--reflection-header has no ':' in it").next("Write 'NAME: VALUE'.")
            })?;
            metadata
                .insert(name, value)
                .map_err(|error| Failure::usage(error.to_string()))?;
        }
        Ok(metadata)
    }

    async fn fallback(&self) -> Result<Option<reflect::Schema>, Failure> {
        if self.protoset.is_empty() {
            return Ok(None);
        }
        let read = reflect::from_protosets(&self.protoset).await;
        read.map(Some)
            .map_err(|error| Failure::usage(error.to_string()))
    }

    fn connector(&self) -> Result<Connector, Failure> {
        let files = TlsFiles {
            cacert: self.cacert.clone(),
            cert: self.cert.clone(),
            key: self.key.clone(),
            server_name: self.server_name.clone(),
        };
        if files == TlsFiles::default() {
            return Ok(Connector::default());
        }
        // A gateway runs for months: renewed files are in use from the next connection on.
        Connector::default()
            .tls_files(files.paths()?)
            .map_err(|error| Failure::usage(error.to_string()))
    }

    /// Lets calls finish; a second signal does not wait for them.
    async fn end(&self, handle: &Handle, stop: &mut Stop, report: &Report) {
        handle.not_serving();
        let under_way = handle.in_flight();
        if under_way > 0 {
            report.note(&format!(
                "{under_way} calls are under way and may finish for {:?}; ctrl-c again ends them",
                self.drain
            ));
        }
        tokio::select! {
            drained = handle.shutdown(self.drain) => if drained.cut_off > 0 {
                report.warn(&format!("{} calls were cut off", drained.cut_off));
            },
            () = stop.wait() => {
                handle.stop();
                handle.shutdown(Duration::ZERO).await;
            }
        }
    }
}

/// The log goes to stderr: what comes, changes and goes, and with -v every call.
fn log(verbosity: Verbosity) {
    let usual = match verbosity {
        Verbosity::Quiet => "error",
        Verbosity::Normal => "warn,platform::gateway=info",
        Verbosity::Verbose => "info",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(usual));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .try_init();
    // A process that embeds the console has a log of its own already.
    drop(subscriber);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for (text, expected) in [
            ("127.0.0.1:9000", Some("grpc://127.0.0.1:9000")),
            (":9000", Some("grpc://127.0.0.1:9000")),
            ("a:1, b:2", Some("grpc://a:1 grpc://b:2")),
            ("grpcs://c:443", Some("grpcs://c:443")),
            ("[::1]:9000", Some("grpc://[::1]:9000")),
            ("http://c:80", None),
            ("9000", None),
            ("a:1,", None),
            ("", None),
        ] {
            let read = replicas(text).ok().map(|Replicas(endpoints)| {
                let texts: Vec<_> = endpoints.iter().map(ToString::to_string).collect();
                texts.join(" ")
            });
            assert_eq!(read.as_deref(), expected, "{text}");
        }
    }
}
