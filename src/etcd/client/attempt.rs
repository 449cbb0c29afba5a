//! One attempt on one member, and what its failure means for the call as a whole.
//!
//! A write is sent only to a member known to live, and a failure always says whether the request
//! left this process. Trying elsewhere is the link's.

use prost::Message;
use tokio::time::Instant;

use super::call::{self, Method};
use super::link::{Call, Link, MAX_REQUEST, Repeat};
use super::member::{Connection, Member};
use super::patience;
use crate::error::{Error, Subject, Verdict, judge};
use crate::figures;

/// How an attempt failed.
pub(crate) struct Failure {
    pub(crate) error: Error,
    pub(crate) verdict: Verdict,
    /// The member could not be connected to; the call says nothing about its cluster.
    pub(crate) unreached: Option<String>,
}

impl Link {
    pub(crate) async fn attempt<Req, Res>(
        &self,
        index: usize,
        call: Call,
        message: Req,
        deadline: Instant,
    ) -> Result<Res, Failure>
    where
        Req: Message + Send + Sync + 'static,
        Res: Message + Default + Send + Sync + 'static,
    {
        let (member, connection) = self.connect(index).await?;
        let pass = self.pass(index, deadline).await?;
        if call.repeat == Repeat::Never && connection.silence() >= self.settings.trusted_silence {
            self.sign_of_life(member, &connection).await?;
        }
        let bytes = message.encoded_len();
        let exchange = call::unary(
            &connection.transport,
            call.method,
            call::request(message, pass.token.as_ref()),
            self.settings.max_response,
        );
        let result = tokio::select! {
            result = exchange => result,
            () = connection.lost.cancelled() => {
                return Err(self.lost(member, call.method, "the member stopped answering"));
            }
        };
        match result {
            Ok(response) => {
                connection.hear();
                Ok(response)
            }
            Err(status) => {
                if let Some(cause) = call::broken_by(&status) {
                    member.broken(&connection, &cause);
                    if call::never_sent(&status) {
                        return Err(not_reached(member, cause));
                    }
                    return Err(self.lost(member, call.method, &cause));
                }
                connection.hear();
                let (error, verdict) = judge(
                    &status,
                    Subject {
                        endpoint: &member.endpoint,
                        method: call.method.name,
                        lease: call.lease,
                        revision: call.revision,
                        bytes,
                        limit: MAX_REQUEST,
                    },
                );
                if matches!(error, Error::NoSpace { .. }) {
                    figures::no_space();
                }
                let verdict = self.auth.consider(verdict, &pass);
                Err(Failure {
                    error,
                    verdict,
                    unreached: None,
                })
            }
        }
    }

    /// Authenticates on one member; used by [`Auth`] alone.
    pub(crate) async fn authenticate(
        &self,
        index: usize,
        message: etcd_client::proto::PbAuthenticateRequest,
    ) -> Result<etcd_client::proto::PbAuthenticateResponse, (Error, Verdict)> {
        let (member, connection) = self
            .connect(index)
            .await
            .map_err(|failure| (failure.error, failure.verdict))?;
        let exchange = call::plain(&connection.transport, &call::AUTHENTICATE, message);
        let result = tokio::select! {
            result = exchange => result,
            () = connection.lost.cancelled() => {
                let failure = self.lost(member, &call::AUTHENTICATE, "the member stopped answering");
                return Err((failure.error, Verdict::NotDone));
            }
        };
        match result {
            Ok(response) => {
                connection.hear();
                Ok(response)
            }
            Err(status) => {
                if let Some(cause) = call::broken_by(&status) {
                    member.broken(&connection, &cause);
                    return Err((not_reached(member, cause).error, Verdict::NotDone));
                }
                let subject = Subject {
                    endpoint: &member.endpoint,
                    method: call::AUTHENTICATE.name,
                    lease: None,
                    revision: fleet::Revision::ZERO,
                    bytes: 0,
                    limit: MAX_REQUEST,
                };
                let (error, verdict) = judge(&status, subject);
                let verdict = match verdict {
                    Verdict::Final => Verdict::Final,
                    _ => Verdict::NotDone,
                };
                Err((error, verdict))
            }
        }
    }

    async fn sign_of_life(&self, member: &Member, connection: &Connection) -> Result<(), Failure> {
        let status = super::member::ask_status(&connection.transport);
        let cause = tokio::select! {
            answer = patience::within(self.settings.probe_timeout, status) => match answer {
                Some(Ok(_)) => None,
                Some(Err(status)) => call::broken_by(&status),
                None => Some("no sign of life".to_owned()),
            },
            () = connection.lost.cancelled() => Some("the member stopped answering".to_owned()),
        };
        match cause {
            None => {
                connection.hear();
                Ok(())
            }
            Some(cause) => {
                member.broken(connection, &cause);
                Err(not_reached(member, cause))
            }
        }
    }

    fn lost(&self, member: &Member, method: &'static Method, cause: &str) -> Failure {
        Failure {
            error: Error::Lost {
                endpoint: member.endpoint.to_string(),
                method: method.name,
                cause: cause.to_owned(),
            },
            verdict: Verdict::Ambiguous,
            unreached: None,
        }
    }
}

pub(crate) fn not_reached(member: &Member, cause: String) -> Failure {
    Failure {
        error: Error::Unreachable {
            endpoints: vec![member.endpoint.to_string()],
            cause: cause.clone(),
        },
        verdict: Verdict::NotDone,
        unreached: Some(cause),
    }
}
