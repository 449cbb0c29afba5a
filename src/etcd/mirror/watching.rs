//! The watches of one connection: a watch for each prefix, all on one stream.
//!
//! Knows what to ask for and which watch an answer belongs to; what the answers mean for the mirror
//! is the session's.

use etcd_client::proto as pb;
use fleet::{Prefix, Revision};

use crate::client::Client;
use crate::client::call;
use crate::client::stream::{End, Stream};
use crate::error::Error;

/// The stream that serves the watches.
pub(crate) struct Watching {
    stream: Stream<pb::PbWatchRequest, pb::PbWatchResponse>,
    /// The ids of the watches, in the order of the prefixes, as far as they are created.
    ids: Vec<i64>,
    /// A proof of progress is behind all events that it speaks of.
    pub(super) honest: bool,
}

impl Watching {
    /// Opens a stream and asks for a watch of each prefix from its position on. That revision was
    /// given already, and is dropped when it comes again: an etcd of these days gives no proof of
    /// progress for a watch that begins in the future (etcd#20229), as one does behind the newest
    /// revision, and on an idle store none would ever come.
    pub(crate) async fn open(
        client: &Client,
        mut from: impl Iterator<Item = (Prefix, Revision)>,
        avoid: Option<usize>,
    ) -> Result<Self, Error> {
        let Some((prefix, position)) = from.next() else {
            return Err(Error::Settings("nothing to watch".to_owned()));
        };
        let first = create(&prefix, position);
        let stream = Stream::open(&client.link, &call::WATCH, first, avoid).await?;
        let mut several = false;
        for (prefix, position) in from {
            several = true;
            if !stream.queue(create(&prefix, position)).await {
                return Err(Error::Lost {
                    endpoint: stream.endpoint().to_owned(),
                    method: call::WATCH.name,
                    cause: format!("no room for the watch of {prefix}"),
                });
            }
        }
        // Of a single watch no proof is needed to tell which revision is whole.
        let mut watching = Self {
            stream,
            ids: Vec::new(),
            honest: false,
        };
        watching.honest = several && watching.is_honest().await;
        Ok(watching)
    }

    /// Asks whether a proof of progress is behind all events that it speaks of.
    pub(crate) async fn is_honest(&self) -> bool {
        is_honest(self.stream.server_version().await.as_deref())
    }

    /// The next response. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Result<pb::PbWatchResponse, End> {
        self.stream.next().await
    }

    /// Notes that a watch was created; etcd creates them in the order they were asked for.
    pub(super) fn created(&mut self, id: i64) {
        self.ids.push(id);
    }

    /// The place of the prefix that a response is about; `None` when it is about all.
    pub(super) fn place(&self, response: &pb::PbWatchResponse) -> Option<usize> {
        self.ids.iter().position(|id| *id == response.watch_id)
    }

    /// Asks for a proof that every watch is up to date.
    pub(crate) fn ask_progress(&self) {
        let progress = pb::PbWatchRequestUnion::ProgressRequest(Default::default());
        self.stream.send(pb::PbWatchRequest {
            request_union: Some(progress),
        });
    }

    /// The member that serves the stream.
    pub(super) fn member(&self) -> usize {
        self.stream.index
    }

    pub(crate) fn endpoint(&self) -> &str {
        self.stream.endpoint()
    }

    /// Has the member looked at, as it has fallen silent.
    pub(super) fn suspect(&self) {
        self.stream.suspect();
    }

    /// Notes that etcd refused what the stream's token was to allow.
    pub(crate) fn refuse_pass(&self) {
        self.stream.refuse_pass();
    }
}

/// Whether a server of this version sends a proof of progress behind the events it speaks of:
/// etcd#15220, mended in 3.4.25 and 3.5.8.
fn is_honest(version: Option<&str>) -> bool {
    let Some(version) = version else {
        return false;
    };
    let mut parts = version
        .split(['.', '-', '+'])
        .map_while(|part| part.parse::<u32>().ok());
    let mut part = || parts.next().unwrap_or(0);
    let version = (part(), part(), part());
    version >= (3, 5, 8) || ((3, 4, 25)..(3, 5, 0)).contains(&version)
}

/// The request for a watch. Without previous values: hundreds of watches that ask for them starve
/// etcd, and whoever needs them holds them. In fragments, so that no message grows without bound.
fn create(prefix: &Prefix, from: Revision) -> pb::PbWatchRequest {
    let mut union = pb::PbWatchRequestUnion::CreateRequest(Default::default());
    if let pb::PbWatchRequestUnion::CreateRequest(create) = &mut union {
        create.key = prefix.as_bytes().to_vec();
        create.range_end = prefix.range_end();
        create.start_revision = from.0;
        create.fragment = true;
    }
    pb::PbWatchRequest {
        request_union: Some(union),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_asks_for_its_prefix_and_for_no_previous_values() {
        let request = create(&Prefix::new("/a/").unwrap(), Revision(8));
        let Some(pb::PbWatchRequestUnion::CreateRequest(create)) = request.request_union else {
            panic!("not a create request");
        };
        assert_eq!(
            (&*create.key, &*create.range_end),
            (b"/a/".as_slice(), b"/a0".as_slice())
        );
        assert_eq!(create.start_revision, 8);
        assert!(create.fragment && !create.prev_kv);
    }

    #[test]
    fn a_proof_is_believed_of_servers_that_send_it_in_order() {
        for honest in [
            "3.4.25",
            "3.4.37",
            "3.5.8",
            "3.5.21",
            "3.6.0+etcdlite",
            "3.6.0-rc.1",
            "4.0.0",
        ] {
            assert!(is_honest(Some(honest)), "{honest}");
        }
        for other in ["3.3.27", "3.4.24", "3.5.0", "3.5.7", "", "unknown"] {
            assert!(!is_honest(Some(other)), "{other}");
        }
        assert!(!is_honest(None));
    }
}
