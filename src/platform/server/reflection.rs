//! `grpc.reflection` v1 and v1alpha from the descriptors' own bytes. tonic-reflection decodes and encodes them
//! again, which loses every option it does not know: the HTTP rules above all. A file comes with those it needs.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    pin::Pin,
    sync::Arc,
};

use bytes::Bytes;
use futures::StreamExt as _;
use prost::Message as _;
use tokio_stream::Stream;
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_reflection::pb::{
    v1::{
        ErrorResponse, ExtensionNumberResponse, FileDescriptorResponse, ListServiceResponse,
        ServerReflectionRequest, ServerReflectionResponse, ServiceResponse,
        server_reflection_request::MessageRequest as Ask,
        server_reflection_response::MessageResponse as Answer,
        server_reflection_server::ServerReflection,
    },
    v1alpha,
};

use super::{ServerError, stage::Draining};

mod index;

/// What reflection answers from.
#[derive(Debug)]
pub(crate) struct Files {
    /// Each file's bytes as they were given, and the files it imports.
    files: BTreeMap<String, File>,
    /// Full name → file.
    symbols: HashMap<String, String>,
    /// Extended message → extension number → file.
    extensions: HashMap<String, BTreeMap<i32, String>>,
    services: BTreeSet<String>,
}

#[derive(Debug)]
struct File {
    bytes: Bytes,
    imports: Vec<String>,
}

impl Files {
    /// Reads descriptor sets; a file that comes twice counts once, the first time. `served` are the services
    /// that answer here: those alone are listed.
    pub(crate) fn new(
        sets: &[Bytes],
        served: impl IntoIterator<Item = String>,
    ) -> Result<Self, ServerError> {
        let mut files = Self {
            files: BTreeMap::new(),
            symbols: HashMap::new(),
            extensions: HashMap::new(),
            services: served.into_iter().collect(),
        };
        for set in sets {
            for bytes in index::split(set).map_err(|cause| ServerError::Descriptors { cause })? {
                files
                    .add(bytes)
                    .map_err(|cause| ServerError::Descriptors { cause })?;
            }
        }
        Ok(files)
    }

    /// Every file as one descriptor set.
    pub(crate) fn set(&self) -> Vec<u8> {
        let mut set = Vec::new();
        for file in self.files.values() {
            prost::encoding::bytes::encode(1, &file.bytes, &mut set);
        }
        set
    }

    fn answer(&self, ask: &Ask, sent: &mut HashSet<String>) -> Answer {
        let found = match ask {
            Ask::FileByFilename(name) => self.files.contains_key(name).then_some(name),
            Ask::FileContainingSymbol(symbol) => self.symbols.get(symbol.trim_start_matches('.')),
            Ask::FileContainingExtension(extension) => self
                .extensions
                .get(extension.containing_type.trim_start_matches('.'))
                .and_then(|numbers| numbers.get(&extension.extension_number)),
            Ask::AllExtensionNumbersOfType(name) => return self.extension_numbers(name),
            Ask::ListServices(_) => {
                let service = self
                    .services
                    .iter()
                    .map(|name| ServiceResponse { name: name.clone() })
                    .collect();
                return Answer::ListServicesResponse(ListServiceResponse { service });
            }
        };
        match found {
            Some(name) => {
                let file_descriptor_proto = self.with_imports(name, sent);
                Answer::FileDescriptorResponse(FileDescriptorResponse {
                    file_descriptor_proto,
                })
            }
            None => not_found(&format!("{ask:?}")),
        }
    }

    fn extension_numbers(&self, name: &str) -> Answer {
        let name = name.trim_start_matches('.');
        if !self.symbols.contains_key(name) {
            return not_found(name);
        }
        let numbers = self.extensions.get(name);
        Answer::AllExtensionNumbersResponse(ExtensionNumberResponse {
            base_type_name: name.to_owned(),
            extension_number: numbers
                .map(|numbers| numbers.keys().copied().collect())
                .unwrap_or_default(),
        })
    }

    /// The file and what it imports, imports of imports included, save what this stream has been sent already:
    /// one answer instead of a round trip for each. The file that was asked for always comes, and first.
    fn with_imports(&self, name: &str, sent: &mut HashSet<String>) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        let mut waiting = vec![name];
        sent.remove(name);
        while let Some(name) = waiting.pop() {
            let Some(file) = self.files.get(name) else {
                continue;
            };
            if sent.insert(name.to_owned()) {
                found.push(file.bytes.to_vec());
                waiting.extend(file.imports.iter().map(String::as_str));
            }
        }
        found
    }
}

fn not_found(what: &str) -> Answer {
    Answer::ErrorResponse(ErrorResponse {
        error_code: Code::NotFound.into(),
        error_message: format!("not here: {what}"),
    })
}

/// The service, for both versions.
#[derive(Clone, Debug)]
pub(crate) struct Reflection(pub(crate) Arc<Files>);

impl Reflection {
    /// Answers in order; ends with the requests, or with the server.
    fn answers<Q, A>(&self, requests: Streaming<Q>, draining: Option<Draining>) -> BoxStream<A>
    where
        Q: prost::Message + Default + 'static,
        A: prost::Message + Default + 'static,
    {
        let files = Arc::clone(&self.0);
        let drained = async move {
            match draining {
                Some(draining) => draining.begun().await,
                None => std::future::pending().await,
            }
        };
        let mut sent = HashSet::new();
        let answers = requests.map(move |request| answer_one(&files, &mut sent, &request?));
        Box::pin(answers.take_until(drained))
    }
}

type BoxStream<A> = Pin<Box<dyn Stream<Item = Result<A, Status>> + Send>>;

/// One request of either version, whose messages have the same form on the wire.
fn answer_one<Q, A>(files: &Files, sent: &mut HashSet<String>, request: &Q) -> Result<A, Status>
where
    Q: prost::Message,
    A: prost::Message + Default,
{
    let malformed = |cause: prost::DecodeError| Status::internal(format!("reflection: {cause}"));
    let request = ServerReflectionRequest::decode(&*request.encode_to_vec()).map_err(malformed)?;
    let answer = match &request.message_request {
        Some(ask) => files.answer(ask, sent),
        None => Answer::ErrorResponse(ErrorResponse {
            error_code: Code::InvalidArgument.into(),
            error_message: "the request asks for nothing".to_owned(),
        }),
    };
    let response = ServerReflectionResponse {
        valid_host: request.host.clone(),
        original_request: Some(request),
        message_response: Some(answer),
    };
    A::decode(&*response.encode_to_vec()).map_err(malformed)
}

#[tonic::async_trait]
impl ServerReflection for Reflection {
    type ServerReflectionInfoStream = BoxStream<ServerReflectionResponse>;

    async fn server_reflection_info(
        &self,
        request: Request<Streaming<ServerReflectionRequest>>,
    ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
        let draining = request.extensions().get::<Draining>().cloned();
        Ok(Response::new(self.answers(request.into_inner(), draining)))
    }
}

#[tonic::async_trait]
impl v1alpha::server_reflection_server::ServerReflection for Reflection {
    type ServerReflectionInfoStream = BoxStream<v1alpha::ServerReflectionResponse>;

    async fn server_reflection_info(
        &self,
        request: Request<Streaming<v1alpha::ServerReflectionRequest>>,
    ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
        let draining = request.extensions().get::<Draining>().cloned();
        Ok(Response::new(self.answers(request.into_inner(), draining)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> Files {
        let sets = [
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        ];
        let sets: Vec<_> = sets
            .into_iter()
            .chain([sets[0]])
            .map(Bytes::from_static)
            .collect();
        Files::new(&sets, ["grpc.health.v1.Health".to_owned()]).unwrap()
    }

    #[test]
    fn symbols_of_every_kind_lead_to_their_file() {
        for symbol in [
            "grpc.health.v1.Health",
            ".grpc.health.v1.Health",
            "grpc.health.v1.Health.Check",
            "grpc.health.v1.HealthCheckResponse",
            "grpc.health.v1.HealthCheckResponse.ServingStatus",
            "grpc.health.v1.HealthCheckRequest.service",
        ] {
            let answer = files().answer(
                &Ask::FileContainingSymbol(symbol.into()),
                &mut HashSet::new(),
            );
            assert!(
                matches!(answer, Answer::FileDescriptorResponse(_)),
                "{symbol}: {answer:?}"
            );
        }
    }

    #[test]
    fn what_is_not_here_is_an_answer_and_not_the_end() {
        for ask in [
            Ask::FileContainingSymbol("nope.Nope".into()),
            Ask::FileByFilename("nope.proto".into()),
            Ask::AllExtensionNumbersOfType("nope.Nope".into()),
        ] {
            let answer = files().answer(&ask, &mut HashSet::new());
            assert!(
                matches!(answer, Answer::ErrorResponse(_)),
                "{ask:?}: {answer:?}"
            );
        }
    }

    #[test]
    fn the_bytes_of_a_file_are_those_that_were_given() {
        let files = files();
        let given =
            index::split(&Bytes::from_static(tonic_health::pb::FILE_DESCRIPTOR_SET)).unwrap();
        let ask = Ask::FileContainingSymbol("grpc.health.v1.Health".into());
        let Answer::FileDescriptorResponse(answer) = files.answer(&ask, &mut HashSet::new()) else {
            panic!()
        };
        assert_eq!(answer.file_descriptor_proto, [given[0].to_vec()]);
        assert_eq!(index::split(&files.set().into()).unwrap().len(), 2);
    }

    #[test]
    fn a_malformed_set_is_refused() {
        for bytes in [&b"\x0a"[..], b"\x0a\x05ab", b"\x0a\x02\xff\xff", b"\xff"] {
            let outcome = Files::new(&[Bytes::copy_from_slice(bytes)], []);
            assert!(outcome.is_err(), "{bytes:?}");
        }
    }
}
