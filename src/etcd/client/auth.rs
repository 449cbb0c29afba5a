//! etcd's own authentication: one token for all calls, fetched when the first call needs it and
//! again when etcd no longer takes it.
//!
//! However many calls find the token stale, one of them fetches the next: checking a password
//! costs etcd a tenth of a second. The password goes nowhere else.

use std::sync::{Mutex, PoisonError};

use etcd_client::proto as pb;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use super::call::Token;
use super::link::Link;
use crate::error::{Error, Verdict};
use crate::figures;
use crate::settings::Credentials;

/// What a call carries, and which generation of token that is.
#[derive(Debug, Clone)]
pub(crate) struct Pass {
    pub(crate) token: Option<Token>,
    pub(crate) generation: u64,
}

/// The token in use.
#[derive(Debug)]
struct Held {
    token: Option<Token>,
    generation: u64,
    /// No call has found it stale.
    valid: bool,
}

pub(crate) struct Auth {
    user: Option<Credentials>,
    held: Mutex<Held>,
    /// One at a time fetches a token; a turnstile, no lock: the data is behind `held`.
    turnstile: Semaphore,
    generation: watch::Sender<u64>,
}

impl Auth {
    pub(crate) fn new(user: Option<Credentials>) -> Self {
        Self {
            held: Mutex::new(Held {
                token: None,
                generation: 0,
                valid: user.is_none(),
            }),
            user,
            turnstile: Semaphore::new(1),
            generation: watch::Sender::new(0),
        }
    }

    /// Changes whenever there is a new token: streams opened with an older one are to be reopened.
    pub(crate) fn generations(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    fn current(&self) -> Option<Pass> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.valid.then(|| Pass {
            token: held.token.clone(),
            generation: held.generation,
        })
    }

    /// What a call needs to be let in; fetched from this member if need be.
    pub(crate) async fn pass(
        &self,
        link: &Link,
        index: usize,
        deadline: Instant,
    ) -> Result<Pass, (Error, Verdict)> {
        if let Some(pass) = self.current() {
            return Ok(pass);
        }
        let late = || {
            let error = Error::Deadline {
                endpoint: link.endpoints().join(", "),
                method: "Authenticate",
                after: link.settings.request_timeout,
                cause: None,
            };
            (error, Verdict::NotDone)
        };
        let turn = tokio::time::timeout_at(deadline, self.turnstile.acquire()).await;
        let _turn = turn.map_err(|_| late())?;
        if let Some(pass) = self.current() {
            return Ok(pass);
        }
        let Some(user) = &self.user else {
            return Ok(Pass {
                token: None,
                generation: 0,
            });
        };
        let message = pb::PbAuthenticateRequest {
            name: user.name.clone(),
            password: user.password.clone(),
        };
        let answer = tokio::time::timeout_at(deadline, link.authenticate(index, message)).await;
        let token = match answer.map_err(|_| late())? {
            Ok(response) => {
                let mut token: Token = response.token.parse().map_err(|_| {
                    let error = Error::Auth {
                        endpoint: link.endpoints().join(", "),
                        cause: "etcd's token is not a header value".to_owned(),
                    };
                    (error, Verdict::Final)
                })?;
                token.set_sensitive(true);
                Some(token)
            }
            // A password where none is needed does no harm; it is offered again when asked for.
            Err((Error::Rejected { message, .. }, _))
                if message.contains("authentication is not enabled") =>
            {
                None
            }
            Err(failure) => return Err(failure),
        };
        Ok(self.hold(token))
    }

    fn hold(&self, token: Option<Token>) -> Pass {
        let pass = {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            held.generation += 1;
            held.valid = true;
            held.token.clone_from(&token);
            Pass {
                token,
                generation: held.generation,
            }
        };
        if pass.token.is_some() {
            figures::authenticated();
        }
        self.generation.send_replace(pass.generation);
        pass
    }

    /// Notes that etcd did not take this pass, unless a newer one is held already.
    pub(crate) fn refuse(&self, pass: &Pass) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.generation == pass.generation {
            held.valid = false;
        }
    }

    /// Whether this client has a name and a password.
    pub(crate) fn has_user(&self) -> bool {
        self.user.is_some()
    }

    /// Settles what a verdict of "not authenticated" comes to: with no user it is final.
    pub(crate) fn consider(&self, verdict: Verdict, pass: &Pass) -> Verdict {
        match verdict {
            Verdict::Reauthenticate if self.has_user() => {
                self.refuse(pass);
                Verdict::Reauthenticate
            }
            Verdict::Reauthenticate => Verdict::Final,
            other => other,
        }
    }
}
