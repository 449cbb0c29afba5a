//! The request stream of a call: documents from the command line, a file or stdin, as they come.

use std::io::IsTerminal;
use std::pin::Pin;
use std::time::Duration;

use futures::{Stream, StreamExt};
use reflect::{Method, ParseOptions, json_to_wire};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::invoke::documents::Documents;
use crate::report::Failure;

/// Documents one after the other.
pub(super) type Requests = Pin<Box<dyn Stream<Item = Result<Vec<u8>, Failure>> + Send>>;

/// How much is read at once.
const CHUNK: usize = 64 * 1024;

/// What a call is given.
pub(super) enum Input {
    /// The documents of a method that takes one message.
    Ready(Vec<Result<Vec<u8>, Failure>>),
    /// The documents of a stream, as they come.
    Coming(Requests),
}

impl Input {
    /// Whether every document that is there is a request of the method; of what only comes nothing
    /// is said against it.
    pub(super) fn fits(&self, method: &Method, parse: &ParseOptions) -> bool {
        let input = method.input();
        match self {
            Self::Ready(documents) => documents
                .iter()
                .flatten()
                .all(|document| json_to_wire(&input, document, parse).is_ok()),
            Self::Coming(_) => true,
        }
    }

    pub(super) fn stream(self) -> Requests {
        match self {
            Self::Ready(documents) => futures::stream::iter(documents).boxed(),
            Self::Coming(documents) => documents,
        }
    }
}

/// Where the request of a call comes from. A method that takes one message gets it here and now, so
/// that the call's time does not run while stdin is waited for.
pub(super) async fn documents(
    data: Option<&str>,
    method: &Method,
    patience: Option<Duration>,
) -> Result<Input, Failure> {
    let requests = open(data, method).await?;
    if method.client_streaming() {
        return Ok(Input::Coming(requests));
    }
    let all = requests.collect::<Vec<_>>();
    let all = match patience {
        None => all.await,
        Some(limit) => tokio::time::timeout(limit, all).await.map_err(|_| {
            Failure::usage(format!("stdin gave no complete request within {limit:?}"))
                .next("Give the request with -d, or close stdin: < /dev/null.")
        })?,
    };
    Ok(Input::Ready(all))
}

async fn open(data: Option<&str>, method: &Method) -> Result<Requests, Failure> {
    match data {
        Some("@-") => Ok(read(tokio::io::stdin(), "stdin".to_owned())),
        Some(text) => match text.strip_prefix('@') {
            Some(path) => {
                let file = tokio::fs::File::open(path)
                    .await
                    .map_err(|error| Failure::usage(format!("{path}: {error}")))?;
                Ok(read(file, path.to_owned()))
            }
            None => {
                let bytes = std::io::Cursor::new(text.as_bytes().to_vec());
                Ok(read(bytes, "-d".to_owned()))
            }
        },
        // Nobody types a request that was not asked for; a stream is typed document by document.
        None if std::io::stdin().is_terminal() && !method.client_streaming() => {
            Ok(futures::stream::empty().boxed())
        }
        None => Ok(read(tokio::io::stdin(), "stdin".to_owned())),
    }
}

struct Reading<R> {
    reader: R,
    name: String,
    documents: Option<Documents>,
    ready: std::collections::VecDeque<Vec<u8>>,
}

fn read<R: AsyncRead + Unpin + Send + 'static>(reader: R, name: String) -> Requests {
    let reading = Reading {
        reader,
        name,
        documents: Some(Documents::default()),
        ready: std::collections::VecDeque::new(),
    };
    futures::stream::unfold(reading, |mut reading| async move {
        let document = reading.next().await?;
        Some((document, reading))
    })
    .boxed()
}

impl<R: AsyncRead + Unpin> Reading<R> {
    async fn next(&mut self) -> Option<Result<Vec<u8>, Failure>> {
        loop {
            if let Some(document) = self.ready.pop_front() {
                return Some(Ok(document));
            }
            let documents = self.documents.as_mut()?;
            let mut chunk = vec![0; CHUNK];
            match self.reader.read(&mut chunk).await {
                Ok(0) => {
                    let rest = self.documents.take().and_then(Documents::finish);
                    return rest.map(Ok);
                }
                Ok(count) => match documents.push(&chunk[..count]) {
                    Ok(complete) => self.ready.extend(complete),
                    Err(error) => {
                        self.documents = None;
                        return Some(Err(Failure::usage(format!("{}: {error}", self.name))));
                    }
                },
                Err(error) => {
                    self.documents = None;
                    return Some(Err(Failure::usage(format!("{}: {error}", self.name))));
                }
            }
        }
    }
}
