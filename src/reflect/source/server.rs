//! Server reflection, client side: v1, then v1alpha. Both versions have one wire format, so one
//! client speaks both. Requests are sent ahead in waves: round trips, not files, cost time.
//! Invariant: bounded in files, bytes and time, and one broken service does not hide the others.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt as _;
use tonic::client::Grpc;
use tonic::codec::Streaming;

use super::repair;
use crate::call::{Metadata, Status, Transport};
use crate::error::Error;
use crate::schema::{File, Schema, decode};
use crate::wire::{LEN, Reader, VARINT, put_len};

/// The version of the reflection service that a server has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `grpc.reflection.v1`.
    V1,
    /// `grpc.reflection.v1alpha`, which Python still serves alone.
    V1Alpha,
}

impl Version {
    fn path(self) -> &'static str {
        match self {
            Version::V1 => "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            Version::V1Alpha => "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        }
    }
}

/// Bounds and hints of one reflection.
#[derive(Clone, Debug)]
pub struct ReflectOptions {
    /// For everything together.
    pub deadline: Duration,
    /// More files than this are refused.
    pub max_files: usize,
    /// More bytes of descriptors than this are refused.
    pub max_bytes: usize,
    /// Sent with the reflection requests only.
    pub metadata: Metadata,
    /// The version that answered last time; saves a round trip on servers with v1alpha alone.
    pub version: Option<Version>,
}

impl Default for ReflectOptions {
    fn default() -> ReflectOptions {
        ReflectOptions {
            deadline: Duration::from_secs(10),
            max_files: 10_000,
            max_bytes: 128 << 20,
            metadata: Metadata::default(),
            version: None,
        }
    }
}

/// What a server says about itself.
#[derive(Clone, Debug)]
pub struct Reflected {
    /// All its services, linked.
    pub schema: Schema,
    /// The names that it lists, reflection's own included, sorted.
    pub services: Vec<String>,
    /// Which version answered: worth remembering.
    pub version: Version,
    /// Services that it lists but could not describe, with the cause.
    pub faults: Vec<(String, String)>,
    /// How long it took.
    pub took: Duration,
}

/// Asks a server for all its services and what they need.
///
/// # Errors
/// [`Error::NoReflection`] when it serves neither version, [`Error::Reflection`] when it breaks
/// the protocol or the connection fails, [`Error::Limit`], [`Error::Deadline`], and
/// [`Error::Descriptors`] when nothing it sent fits together.
pub async fn reflect<T: Transport>(
    transport: T,
    options: &ReflectOptions,
) -> Result<Reflected, Error> {
    within(options.deadline, everything(transport, options)).await
}

/// Asks only for what one service or other symbol needs: the cheapest way to one call.
///
/// # Errors
/// As [`reflect`]; a symbol that the server does not know is [`Error::Reflection`].
pub async fn reflect_symbol<T: Transport>(
    transport: T,
    symbol: &str,
    options: &ReflectOptions,
) -> Result<Reflected, Error> {
    within(options.deadline, one(transport, symbol, options)).await
}

async fn within<T>(
    deadline: Duration,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(deadline, work).await {
        Ok(result) => result,
        Err(_) => Err(Error::Deadline {
            what: "the server's reflection".into(),
            after: deadline,
        }),
    }
}

async fn everything<T: Transport>(
    transport: T,
    options: &ReflectOptions,
) -> Result<Reflected, Error> {
    let began = Instant::now();
    let (mut client, answer) = Client::open(transport, options, Ask::Services).await?;
    let Answer::Services(mut services) = answer else {
        return Err(client.unexpected("its services"));
    };
    services.sort();
    services.dedup();
    let mut faults = Vec::new();
    let wanted: Vec<String> = services
        .iter()
        .filter(|name| !name.starts_with("grpc.reflection."))
        .cloned()
        .collect();
    for (name, cause) in client
        .load(wanted.iter().cloned().map(Ask::Symbol).collect())
        .await?
    {
        faults.push((name, cause));
    }
    client.complete().await?;
    let version = client.version;
    let schema = link(client.files, &wanted, &mut faults)?;
    Ok(Reflected {
        schema,
        services,
        version,
        faults,
        took: began.elapsed(),
    })
}

async fn one<T: Transport>(
    transport: T,
    symbol: &str,
    options: &ReflectOptions,
) -> Result<Reflected, Error> {
    let began = Instant::now();
    let ask = Ask::Symbol(symbol.to_owned());
    let (mut client, answer) = Client::open(transport, options, ask).await?;
    match answer {
        Answer::Files(files) => client.keep(files)?,
        Answer::Error(cause) => return Err(Error::Reflection(format!("{symbol}: {cause}"))),
        Answer::Services(_) => return Err(client.unexpected(symbol)),
    }
    client.complete().await?;
    let mut faults = Vec::new();
    let version = client.version;
    let schema = link(client.files, &[], &mut faults)?;
    let services = schema
        .services()
        .map(|s| s.full_name().to_owned())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    Ok(Reflected {
        schema,
        services,
        version,
        faults,
        took: began.elapsed(),
    })
}

/// Links all files; where they do not fit together, the services whose own files do.
fn link(
    files: Vec<File>,
    services: &[String],
    faults: &mut Vec<(String, String)>,
) -> Result<Schema, Error> {
    let files = repair::repair(files);
    let set = |file: Vec<File>| buffa_descriptor::generated::descriptor::FileDescriptorSet {
        file,
        ..Default::default()
    };
    let whole = match Schema::from_set(set(files.clone()), "the server's descriptors") {
        Ok(schema) => return Ok(schema),
        Err(cause) => cause,
    };
    let mut sound: BTreeSet<usize> = BTreeSet::new();
    for service in services {
        let needed = repair::needed(&files, service);
        let part: Vec<File> = needed
            .iter()
            .filter_map(|&at| files.get(at).cloned())
            .collect();
        match Schema::from_set(set(part), service) {
            Ok(_) => sound.extend(needed),
            Err(cause) => faults.push((service.clone(), cause.to_string())),
        }
    }
    let part: Vec<File> = sound
        .iter()
        .filter_map(|&at| files.get(at).cloned())
        .collect();
    if part.is_empty() {
        return Err(whole);
    }
    Schema::from_set(set(part), "the server's descriptors")
}

/// One question to the server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Ask {
    Services,
    Symbol(String),
    File(String),
}

enum Answer {
    Services(Vec<String>),
    Files(Vec<Bytes>),
    /// The server's own error answer.
    Error(String),
}

/// Questions under way at once. Every one is answered in order, so the bound only spares servers.
const WINDOW: usize = 64;
/// Waves of questions for what is still missing; each finds at least one new file.
const MAX_WAVES: usize = 64;

struct Client {
    send: tokio::sync::mpsc::Sender<Bytes>,
    answers: Streaming<Bytes>,
    version: Version,
    files: Vec<File>,
    names: HashMap<String, usize>,
    asked: BTreeSet<String>,
    bytes_left: usize,
    files_left: usize,
}

impl Client {
    /// Opens the stream with its first question, in the version that the server has.
    async fn open<T: Transport>(
        transport: T,
        options: &ReflectOptions,
        first: Ask,
    ) -> Result<(Client, Answer), Error> {
        let versions = match options.version {
            Some(Version::V1Alpha) => [Version::V1Alpha, Version::V1],
            _ => [Version::V1, Version::V1Alpha],
        };
        let mut refused = String::new();
        for version in versions {
            match Client::try_open(transport.clone(), options, &first, version).await? {
                Ok(opened) => return Ok(opened),
                Err(status) if status.code() == tonic::Code::Unimplemented => {
                    refused = shown(&status);
                }
                Err(status) => return Err(Error::Reflection(shown(&status))),
            }
        }
        Err(Error::NoReflection { cause: refused })
    }

    async fn try_open<T: Transport>(
        transport: T,
        options: &ReflectOptions,
        first: &Ask,
        version: Version,
    ) -> Result<Result<(Client, Answer), tonic::Status>, Error> {
        let (send, receive) = tokio::sync::mpsc::channel(WINDOW);
        // The first question goes out with the call; the receiver is alive and has room.
        let _ = send.send(encode(first)).await;
        let mut request = tonic::Request::new(tokio_stream::wrappers::ReceiverStream::new(receive));
        *request.metadata_mut() = options.metadata.to_tonic()?;
        let mut grpc = Grpc::new(transport).max_decoding_message_size(options.max_bytes);
        if let Err(cause) = grpc.ready().await {
            return Ok(Err(tonic::Status::unavailable(cause.into().to_string())));
        }
        let path = http::uri::PathAndQuery::from_static(version.path());
        let answers = match grpc.streaming(request, path, crate::call::BytesCodec).await {
            Ok(response) => response.into_inner(),
            Err(status) => return Ok(Err(status)),
        };
        let mut client = Client {
            send,
            answers,
            version,
            files: Vec::new(),
            names: HashMap::new(),
            asked: BTreeSet::new(),
            bytes_left: options.max_bytes,
            files_left: options.max_files,
        };
        match client.answer().await {
            Ok(answer) => Ok(Ok((client, answer))),
            Err(status) => Ok(Err(status)),
        }
    }

    async fn answer(&mut self) -> Result<Answer, tonic::Status> {
        match self.answers.next().await {
            Some(Ok(bytes)) => Ok(read_answer(&bytes)),
            Some(Err(status)) => Err(status),
            None => Err(tonic::Status::unavailable("the server ended the stream")),
        }
    }

    fn unexpected(&self, asked: &str) -> Error {
        Error::Reflection(format!(
            "asked for {asked}, the server answered something else"
        ))
    }

    /// Asks all, a window at a time, and keeps the files. Returns what the server refused.
    async fn load(&mut self, asks: Vec<Ask>) -> Result<Vec<(String, String)>, Error> {
        let mut refused = Vec::new();
        let mut waiting = VecDeque::new();
        let mut asks = asks.into_iter();
        loop {
            while waiting.len() < WINDOW
                && let Some(ask) = asks.next()
            {
                if self.send.send(encode(&ask)).await.is_err() {
                    return Err(Error::Reflection("the server ended the stream".to_owned()));
                }
                waiting.push_back(ask);
            }
            let Some(ask) = waiting.pop_front() else {
                return Ok(refused);
            };
            let answer = self
                .answer()
                .await
                .map_err(|status| Error::Reflection(shown(&status)))?;
            let (Ask::Symbol(name) | Ask::File(name)) = ask else {
                continue;
            };
            match answer {
                Answer::Files(files) => self.keep(files)?,
                Answer::Error(cause) => refused.push((name, cause)),
                Answer::Services(_) => return Err(self.unexpected(&name)),
            }
        }
    }

    fn keep(&mut self, files: Vec<Bytes>) -> Result<(), Error> {
        for bytes in files {
            let file: File = decode(&bytes, "a file that the server sent")?;
            let name = file.name.clone().unwrap_or_default();
            if self.names.contains_key(&name) {
                continue;
            }
            self.bytes_left = self.bytes_left.checked_sub(bytes.len()).ok_or_else(|| {
                Error::Limit("the server's descriptors are larger than the limit".to_owned())
            })?;
            self.files_left = self.files_left.checked_sub(1).ok_or_else(|| {
                Error::Limit("the server has more descriptor files than the limit".to_owned())
            })?;
            self.names.insert(name, self.files.len());
            self.files.push(file);
        }
        Ok(())
    }

    /// Fetches what the files need: first what they import, then, for servers that lose the
    /// imports, the types that they name. Nothing is asked twice; what a server does not know is
    /// left to the linker, which names it.
    async fn complete(&mut self) -> Result<(), Error> {
        for _ in 0..MAX_WAVES {
            let mut asks = Vec::new();
            for file in &self.files {
                for import in &file.dependency {
                    if !self.names.contains_key(import)
                        && !repair::is_builtin(import)
                        && self.asked.insert(format!("file {import}"))
                    {
                        asks.push(Ask::File(import.clone()));
                    }
                }
            }
            if asks.is_empty() {
                for name in repair::unresolved(&self.files) {
                    if self.asked.insert(format!("symbol {name}")) {
                        asks.push(Ask::Symbol(name));
                    }
                }
            }
            if asks.is_empty() {
                return Ok(());
            }
            self.load(asks).await?;
        }
        Ok(())
    }
}

fn shown(status: &tonic::Status) -> String {
    let status = Status::from_tonic(status);
    format!("{}: {}", status.code_name(), status.message)
}

/// `ServerReflectionRequest`: file_by_filename = 3, file_containing_symbol = 4, list_services = 7.
fn encode(ask: &Ask) -> Bytes {
    let mut out = Vec::new();
    match ask {
        Ask::File(name) => put_len(&mut out, 3, name.as_bytes()),
        Ask::Symbol(name) => put_len(&mut out, 4, name.as_bytes()),
        Ask::Services => put_len(&mut out, 7, b"*"),
    }
    out.into()
}

/// `ServerReflectionResponse`: file_descriptor_response = 4, list_services_response = 6,
/// error_response = 7.
fn read_answer(data: &[u8]) -> Answer {
    let mut answer = Answer::Error("the answer is empty or malformed".to_owned());
    let mut reader = Reader::new(data);
    while let Ok(Some(field)) = reader.next() {
        if field.wire != LEN {
            continue;
        }
        let payload = field.payload(data);
        let mut inner = Reader::new(payload);
        match field.number {
            4 => {
                let mut files = Vec::new();
                while let Ok(Some(file)) = inner.next() {
                    if (file.number, file.wire) == (1, LEN) {
                        files.push(Bytes::copy_from_slice(file.payload(payload)));
                    }
                }
                answer = Answer::Files(files);
            }
            6 => {
                let mut names = Vec::new();
                while let Ok(Some(service)) = inner.next() {
                    let service = service.payload(payload);
                    let mut parts = Reader::new(service);
                    while let Ok(Some(part)) = parts.next() {
                        if (part.number, part.wire) == (1, LEN) {
                            names.push(String::from_utf8_lossy(part.payload(service)).into_owned());
                        }
                    }
                }
                answer = Answer::Services(names);
            }
            7 => {
                let (mut code, mut message) = (0, String::new());
                while let Ok(Some(part)) = inner.next() {
                    match (part.number, part.wire) {
                        (1, VARINT) => code = part.a as i32,
                        (2, LEN) => {
                            message = String::from_utf8_lossy(part.payload(payload)).into_owned();
                        }
                        _ => {}
                    }
                }
                let code = tonic::Code::from_i32(code);
                answer = Answer::Error(format!("{code:?} {message}").trim().to_owned());
            }
            _ => {}
        }
    }
    answer
}
