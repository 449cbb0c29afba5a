//! The client of a cluster: typed calls over a link that survives the loss of members.
//!
//! Making one does no network. There is no put and no delete here: writing is `commit`, which is
//! guarded. Calls may be cancelled at any time.

pub(crate) mod attempt;
pub(crate) mod auth;
pub(crate) mod call;
pub mod cluster;
pub(crate) mod dial;
pub mod leases;
pub(crate) mod link;
pub(crate) mod member;
pub(crate) mod patience;
pub mod range;
pub(crate) mod secure;
pub mod state;
pub(crate) mod stream;

use std::sync::Arc;
use std::time::Duration;

use fleet::{Entry, Key, Outcome, Plan, Revision};
use prost::Message;
use tokio::sync::watch;

use crate::commit;
use crate::error::Error;
use crate::settings::Settings;
use crate::wire;
use call::Method;
use dial::Dial;
pub use dial::Transport;
use link::{Call, Link, Repeat};
use state::LinkState;

/// A client of one cluster. Clones share its connections; dropping the last closes them.
#[derive(Clone)]
pub struct Client {
    pub(crate) link: Arc<Link>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Client")
            .field(&self.link.endpoints())
            .finish()
    }
}

impl Client {
    /// A client of the cluster that the settings name. No network: the first call connects. Reads
    /// the TLS files where there are any, and does not block beyond that.
    ///
    /// # Errors
    /// [`Error::Settings`] when an endpoint or a certificate cannot be read.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        if settings.endpoints.is_empty() {
            return Err(Error::Settings(
                "no endpoint; name one, such as 127.0.0.1:2379".to_owned(),
            ));
        }
        let dials = settings
            .endpoints
            .iter()
            .map(|endpoint| Dial::parse(&settings, endpoint))
            .collect::<Result<Vec<_>, _>>()?;
        for (_, dial) in &dials {
            dial.check()?;
        }
        Ok(Self {
            link: Arc::new(Link::new(settings, dials)),
        })
    }

    /// A client of a server in this process, or of any transport of the caller's; the endpoints
    /// and TLS of the settings are not used.
    #[must_use]
    pub fn from_service(settings: Settings, transport: Transport) -> Self {
        let dials = vec![("in process".into(), Dial::Fixed(transport))];
        Self {
            link: Arc::new(Link::new(settings, dials)),
        }
    }

    /// From now on a member that is silent is asked for a sign of life every so often: for one of
    /// so many clients that etcd would have much to do with that alone. It is never more often than
    /// [`Settings::heartbeat`] says, and counts from the next time on. A loss that nothing else
    /// shows is found later in proportion; one without a leader is asked as often as before.
    pub fn slow_heartbeat(&self, every: Duration) {
        self.link.slow_heartbeat(every);
    }

    /// Each member up or down, since when and why.
    #[must_use]
    pub fn link_state(&self) -> watch::Receiver<LinkState> {
        self.link.state()
    }

    /// The settings the client was made of.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.link.settings
    }

    /// One key as it stands now, and the revision of the store then.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn get(&self, key: &Key) -> Result<(Option<Entry>, Revision), Error> {
        self.get_at(key, Revision::ZERO).await
    }

    /// One key as it stood at a revision; [`Revision::ZERO`] is now.
    ///
    /// # Errors
    /// [`Error::Compacted`] and [`Error::Future`] beside the usual.
    pub async fn get_at(
        &self,
        key: &Key,
        at: Revision,
    ) -> Result<(Option<Entry>, Revision), Error> {
        let response = self.range(wire::get(key, at)).await?;
        let revision = wire::revision(response.header.as_ref());
        Ok((response.kvs.into_iter().next().map(wire::entry), revision))
    }

    /// Writes a plan as one guarded transaction: all of it or nothing. When the answer is lost,
    /// the store is read to learn what came of it, so this may take up to twice the request
    /// timeout. Cancelling it leaves open whether the plan was written.
    ///
    /// # Errors
    /// When etcd refused for another reason than a conflict, and nothing was written.
    pub async fn commit(&self, plan: &Plan) -> Result<Outcome, Error> {
        commit::commit(self, plan).await
    }

    pub(crate) async fn range(
        &self,
        request: etcd_client::proto::PbRangeRequest,
    ) -> Result<etcd_client::proto::PbRangeResponse, Error> {
        let call = Call {
            revision: Revision(request.revision),
            ..self.reading(&call::RANGE)
        };
        self.link.call(call, request).await
    }

    /// A call that reads, within the request timeout.
    pub(crate) fn reading(&self, method: &'static Method) -> Call {
        Call {
            method,
            repeat: Repeat::Reads,
            within: self.link.settings.request_timeout,
            lease: None,
            revision: Revision::ZERO,
        }
    }

    pub(crate) async fn read<Req, Res>(
        &self,
        method: &'static Method,
        request: Req,
    ) -> Result<Res, Error>
    where
        Req: Message + Clone + Send + Sync + 'static,
        Res: Message + Default + Send + Sync + 'static,
    {
        self.link.call(self.reading(method), request).await
    }
}
