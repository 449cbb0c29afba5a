//! Whether the store that is come back to is the one that was left.
//!
//! A store that was wiped and has grown past our position answers a resumed watch as if nothing had
//! been, so it has to show at that position what the reader was told: as many keys, and the first
//! and the last one written just as they were.

use fleet::Revision;

use super::session::Track;
use crate::client::Client;
use crate::error::Error;

/// How what a mirror tells is related to what it told before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum History {
    /// The same store, later.
    Same,
    /// Another store, the same one wiped, or one of which that cannot be ruled out, as its history
    /// is compacted and none of what was told is left in it. Its revisions may be lower than those
    /// before, and a delete in it says that the key is not there, not that anybody deleted it.
    Another,
}

/// Why all is to be listed again, in the order of how much is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Relist {
    /// The store is the same; what follows the last event is lost, or too much.
    Gap,
    /// What stood at the last event is compacted away: the listing has to tell whose it is.
    Unsure,
    /// The store is another.
    Another,
}

/// Whether the store still has what the reader was told of one prefix, at the last position given
/// of it; `None` when it has, and a watch can go on from there.
pub(super) async fn compare(client: &Client, track: &Track) -> Result<Option<Relist>, Error> {
    let at = track.position;
    let witnesses = track.held.witnesses();
    let asked = witnesses.iter().map(|key| client.get_at(key, at));
    let counted = client.count_at(&track.prefix, at);
    let answers = futures::future::try_join(counted, futures::future::try_join_all(asked)).await;
    match answers {
        Ok(((count, _), found)) => {
            let known = found
                .iter()
                .all(|(entry, _)| entry.as_ref().is_some_and(|entry| track.held.knows(entry)));
            let complete = known && usize::try_from(count) == Ok(track.held.len());
            Ok((!complete).then_some(Relist::Another))
        }
        Err(Error::Future { .. }) => Ok(Some(Relist::Another)),
        Err(Error::Compacted { .. }) => Ok(Some(Relist::Unsure)),
        Err(error) => Err(error),
    }
}

/// Whether a store that is read at `at` surely has no event of the track's prefix behind `through`.
/// Exact for what was written at `at` itself: a revision touches a key once.
pub(super) async fn is_untouched(
    client: &Client,
    track: &Track,
    through: Revision,
    at: Revision,
) -> Result<bool, Error> {
    let (before, after, written) = futures::future::try_join3(
        client.count_at(&track.prefix, through),
        client.count_at(&track.prefix, at),
        client.is_written_since(&track.prefix, through, at),
    )
    .await?;
    Ok(before.0 == after.0 && !written)
}
