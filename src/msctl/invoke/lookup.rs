//! From a server and a symbol to a method: by what is kept of the server, by asking it for the one
//! service that is named, or for all of them. What was kept is checked while the call is under way.

use std::time::Duration;

use reflect::{Method, ReflectOptions, Schema, reflect, reflect_symbol};
use tokio_util::task::AbortOnDropHandle;

use super::find::{Source, method, refused, schema};
use super::kept::{Extent, Kept, Known, Place, agrees};
use super::server::Server;
use crate::report::Failure;

/// An answer waits so long for the check of kept descriptors.
const CHECK: Duration = Duration::from_secs(2);

/// Where methods are looked up.
#[derive(Debug, Clone, Default)]
pub struct Library {
    /// Where descriptors come from.
    pub source: Source,
    /// What is kept of them; `None` asks each time.
    pub kept: Option<Kept>,
}

/// A method, and where it was read.
#[derive(Debug, Clone)]
pub struct Looked {
    /// The method.
    pub method: Method,
    /// Set where the server was not asked.
    pub trust: Option<Trust>,
}

/// Descriptors that were used without asking.
#[derive(Debug, Clone)]
pub struct Trust {
    kept: Kept,
    place: Place,
    known: Known,
    options: ReflectOptions,
}

impl Library {
    /// The method that a symbol means on a server.
    ///
    /// # Errors
    /// As [`schema`] and [`method`]. Dropping the future ends the questions.
    pub async fn look(&self, server: &Server, symbol: &str) -> Result<Looked, Failure> {
        let (Source::Reflection(options), Some(kept)) = (&self.source, &self.kept) else {
            return self.ask(server, symbol).await;
        };
        let place = Place::of(server);
        if let Some(known) = kept.read(&place)
            && let Some(method) = resolved(&known, symbol)
        {
            return Ok(Looked {
                method,
                trust: Some(Trust {
                    kept: kept.clone(),
                    place,
                    known,
                    options: options.clone(),
                }),
            });
        }
        self.ask(server, symbol).await
    }

    /// The same, asking the server whatever is kept.
    ///
    /// # Errors
    /// As [`Library::look`].
    pub async fn ask(&self, server: &Server, symbol: &str) -> Result<Looked, Failure> {
        let Source::Reflection(options) = &self.source else {
            let schema = schema(server, &self.source).await?;
            return Ok(Looked {
                method: method(&schema, symbol)?,
                trust: None,
            });
        };
        let keep = |known: &Known| {
            if let Some(kept) = &self.kept {
                kept.write(&Place::of(server), known);
            }
        };
        if let Some(service) = in_full(symbol)
            && let Ok(answer) = reflect_symbol(server.channel.clone(), service, options).await
        {
            let known = Known {
                schema: answer.schema,
                version: answer.version,
                extent: Extent::Part,
            };
            if let Some(method) = resolved(&known, symbol) {
                keep(&known);
                return Ok(Looked {
                    method,
                    trust: None,
                });
            }
        }
        let answer = reflect(server.channel.clone(), options)
            .await
            .map_err(|error| refused(server, &error))?;
        let known = Known {
            schema: answer.schema,
            version: answer.version,
            extent: Extent::Whole,
        };
        keep(&known);
        Ok(Looked {
            method: method(&known.schema, symbol)?,
            trust: None,
        })
    }
}

/// The method in what is known. Of a part only a name in full can be said to be the one meant.
fn resolved(known: &Known, symbol: &str) -> Option<Method> {
    match known.extent {
        Extent::Whole => method(&known.schema, symbol).ok(),
        Extent::Part => {
            let (service, method) = symbol.trim_start_matches('/').rsplit_once(['/', '.'])?;
            known.schema.service(service)?.method(method)
        }
    }
}

/// The service of a symbol that names it with its package.
fn in_full(symbol: &str) -> Option<&str> {
    let (service, _) = symbol.trim_start_matches('/').rsplit_once(['/', '.'])?;
    service.contains('.').then_some(service)
}

impl Trust {
    /// Asks the server, beside the call, whether it still has these descriptors. The task gives the
    /// ones it has when they are others; what could not be learnt in time is left as it is.
    pub fn check(self, server: &Server, method: &Method) -> AbortOnDropHandle<Option<Schema>> {
        let channel = server.channel.clone();
        let service = method.service().full_name().to_owned();
        let options = ReflectOptions {
            version: Some(self.known.version),
            deadline: CHECK,
            ..self.options
        };
        AbortOnDropHandle::new(tokio::spawn(async move {
            let answer = reflect_symbol(channel, &service, &options).await;
            let Ok(answer) = answer else {
                // It does not say: the next call asks from the beginning.
                self.kept.forget(&self.place);
                return None;
            };
            if agrees(&self.known.schema, &answer.schema) {
                return None;
            }
            self.kept.write(
                &self.place,
                &Known {
                    schema: answer.schema.clone(),
                    version: answer.version,
                    extent: Extent::Part,
                },
            );
            Some(answer.schema)
        }))
    }

    /// They have led astray: they are kept no longer.
    pub fn forget(&self) {
        self.kept.forget(&self.place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_asked_for_alone_when_it_is_named_with_its_package() {
        for (symbol, service) in [
            ("user.v1.UserService/Get", Some("user.v1.UserService")),
            ("/user.v1.UserService.Get", Some("user.v1.UserService")),
            ("UserService/Get", None),
            ("UserService.Get", None),
            ("Get", None),
        ] {
            assert_eq!(in_full(symbol), service, "{symbol}");
        }
    }
}
