//! The service of the guide, `docs/platform.md`: what it does, apart from how it is set up, so that
//! tests can run it. Every excerpt in the guide is from this folder.

use platform::{Config, Error, Live};
use tonic::{Request, Response, Status};

use pb::{GreetRequest, GreetResponse, hello_service_server::HelloService};

/// Messages, client and service trait, generated from `hello.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod pb {
    tonic::include_proto!("hello.v1");
}

/// The descriptors of `hello.proto`, with comments and HTTP rules.
pub const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("hello");

/// Greets with the words that the config names at that moment.
#[derive(Debug)]
pub struct Hello {
    greeting: Live<String>,
}

impl Hello {
    /// Follows `greeting` in this config.
    ///
    /// # Errors
    /// No layer has a greeting, or a local one is no text.
    pub fn new(config: &Config) -> Result<Hello, Error> {
        Ok(Hello {
            greeting: config.live("greeting")?,
        })
    }
}

#[tonic::async_trait]
impl HelloService for Hello {
    async fn greet(
        &self,
        request: Request<GreetRequest>,
    ) -> Result<Response<GreetResponse>, Status> {
        let name = request.into_inner().name;
        if name.is_empty() {
            return Err(Status::invalid_argument("name: missing"));
        }
        let text = format!("{} {name}", self.greeting.get());
        Ok(Response::new(GreetResponse { text }))
    }
}
