//! Reading whole prefixes: in pages at one pinned revision, so that the parts fit together.
//!
//! There is no listing of leases without values: newer servers leave the lease out of such ranges,
//! so a listing of keys alone has no field for one.

use etcd_client::proto as pb;
use fleet::{Entry, Key, Prefix, Revision};
use tonic::Code;

use super::Client;
use crate::error::Error;
use crate::wire;

/// How to read a prefix.
#[derive(Debug, Clone, Copy)]
pub struct ListOptions {
    /// Entries of the first request. Each later one asks for as many as make an answer of about
    /// 2 MiB, at most four times this number.
    pub page: usize,
    /// The revision to read at; now when `None`.
    pub revision: Option<Revision>,
}

impl Default for ListOptions {
    fn default() -> Self {
        Self {
            page: 2_000,
            revision: None,
        }
    }
}

/// A prefix as it stood at one revision.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// In the order of the keys.
    pub entries: Vec<Entry>,
    /// When the prefix stood so; watching from the next revision misses nothing.
    pub revision: Revision,
}

/// A key without value and lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyHead {
    /// The key.
    pub key: Key,
    /// When the key came to be.
    pub create_revision: Revision,
    /// When it was last written.
    pub mod_revision: Revision,
    /// How many times it was written since it came to be.
    pub version: i64,
}

/// The keys of a prefix at one revision.
#[derive(Debug, Clone, Default)]
pub struct KeyListing {
    /// In the order of the keys.
    pub keys: Vec<KeyHead>,
    /// When the prefix stood so.
    pub revision: Revision,
}

/// How often a listing of the present starts over when it is compacted under way.
const FRESH_STARTS: usize = 4;

/// How large an answer is meant to be, in bytes. A server counts what lies behind a page each time it
/// gives one, so small pages of a large prefix cost it more than their entries do.
const PAGE_BYTES: usize = 2 << 20;

/// How many times larger than the first a page may become: what follows small entries may be large.
const MOST_GROWTH: usize = 4;

/// How many turns of other tasks a request needs to be written: with some to spare.
const TASKS_TO_THE_WIRE: usize = 4;

/// Where a listing that is read page by page stands.
struct Cursor {
    prefix: Prefix,
    start: Option<Vec<u8>>,
    revision: Revision,
    /// Entries to ask for; none after the last.
    page: usize,
    /// The largest page that may be asked for.
    most: usize,
    keys_only: bool,
}

impl Client {
    /// A whole prefix at one revision.
    ///
    /// # Errors
    /// [`Error::Compacted`] when the revision asked for is gone; a listing of the present starts
    /// over instead.
    pub async fn list(&self, prefix: &Prefix, options: ListOptions) -> Result<Listing, Error> {
        for _ in 1..FRESH_STARTS {
            let mut entries = Vec::new();
            let read = self.list_each(prefix, options, |page| entries.extend(page));
            match read.await {
                Ok(revision) => return Ok(Listing { entries, revision }),
                Err(Error::Compacted { .. }) if options.revision.is_none() => {}
                Err(error) => return Err(error),
            }
        }
        let mut entries = Vec::new();
        let revision = self
            .list_each(prefix, options, |page| entries.extend(page))
            .await?;
        Ok(Listing { entries, revision })
    }

    /// A whole prefix at one revision, page by page as it arrives, so that it need not be held.
    /// Gives that revision.
    ///
    /// # Errors
    /// As [`Client::list`]; the pages given before an error remain valid for their revision.
    pub async fn list_each(
        &self,
        prefix: &Prefix,
        options: ListOptions,
        mut page: impl FnMut(Vec<Entry>),
    ) -> Result<Revision, Error> {
        let all = self.list_pages(prefix, options, |entries| {
            page(entries);
            std::future::ready(true)
        });
        Ok(all.await?.unwrap_or(Revision::ZERO))
    }

    /// As [`Client::list_each`], for a reader that may take its time: the next page is under way
    /// meanwhile, and no further one. `None` when the reader said that it wants no more.
    pub(crate) async fn list_pages<F: Future<Output = bool>>(
        &self,
        prefix: &Prefix,
        options: ListOptions,
        mut page: impl FnMut(Vec<Entry>) -> F,
    ) -> Result<Option<Revision>, Error> {
        let mut cursor = Cursor::new(prefix, options);
        let mut arrived = self.next_page(&mut cursor).await?;
        while let Some(kvs) = arrived {
            // The next page is asked for before this one is read, and the request is let out: the
            // tasks that it passes through may share this thread.
            let read = async {
                for _ in 0..TASKS_TO_THE_WIRE {
                    tokio::task::yield_now().await;
                }
                page(kvs.into_iter().map(wire::entry).collect()).await
            };
            let (next, goes_on) = futures::join!(self.next_page(&mut cursor), read);
            if !goes_on {
                return Ok(None);
            }
            arrived = next?;
        }
        Ok(Some(cursor.revision))
    }

    /// The keys of a prefix at one revision, without values and leases.
    ///
    /// # Errors
    /// As [`Client::list`].
    pub async fn keys(&self, prefix: &Prefix, options: ListOptions) -> Result<KeyListing, Error> {
        let mut cursor = Cursor::new(prefix, options);
        cursor.keys_only = true;
        let mut keys = Vec::new();
        while let Some(kvs) = self.next_page(&mut cursor).await? {
            keys.extend(kvs.into_iter().map(|kv| KeyHead {
                key: Key::from(kv.key),
                create_revision: Revision(kv.create_revision),
                mod_revision: Revision(kv.mod_revision),
                version: kv.version,
            }));
        }
        let revision = cursor.revision;
        Ok(KeyListing { keys, revision })
    }

    /// How many keys a prefix holds, and at which revision.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn count(&self, prefix: &Prefix) -> Result<(u64, Revision), Error> {
        self.count_at(prefix, Revision::ZERO).await
    }

    /// Several prefixes at one and the same revision, each in the order of its keys.
    pub(crate) async fn list_together(
        &self,
        prefixes: &[Prefix],
        page: usize,
    ) -> Result<(Vec<Vec<Entry>>, Revision), Error> {
        let mut starts = 0;
        loop {
            starts += 1;
            let mut listed = Vec::with_capacity(prefixes.len());
            let mut revision = None;
            let mut compacted = false;
            for prefix in prefixes {
                match self.list(prefix, ListOptions { page, revision }).await {
                    Ok(listing) => {
                        revision = Some(listing.revision);
                        listed.push(listing.entries);
                    }
                    Err(Error::Compacted { .. }) if starts < FRESH_STARTS => {
                        compacted = true;
                        break;
                    }
                    Err(error) => return Err(error),
                }
            }
            if !compacted {
                return Ok((listed, revision.unwrap_or(Revision::ZERO)));
            }
        }
    }

    /// How many keys a prefix held at a revision.
    pub(crate) async fn count_at(
        &self,
        prefix: &Prefix,
        at: Revision,
    ) -> Result<(u64, Revision), Error> {
        let request = pb::PbRangeRequest {
            count_only: true,
            revision: at.0,
            ..wire::range(prefix, None)
        };
        let response = self.range(request).await?;
        let count = u64::try_from(response.count).unwrap_or(0);
        Ok((count, wire::revision(response.header.as_ref())))
    }

    /// Whether a prefix, as it stood at a revision, held a key that was written after `since`.
    pub(crate) async fn is_written_since(
        &self,
        prefix: &Prefix,
        since: Revision,
        at: Revision,
    ) -> Result<bool, Error> {
        let request = pb::PbRangeRequest {
            min_mod_revision: since.next().0,
            revision: at.0,
            limit: 1,
            keys_only: true,
            ..wire::range(prefix, None)
        };
        Ok(!self.range(request).await?.kvs.is_empty())
    }

    /// The next page, or `None` after the last. An answer too large to take is asked for again in
    /// halves.
    async fn next_page(&self, cursor: &mut Cursor) -> Result<Option<Vec<pb::PbKeyValue>>, Error> {
        if cursor.page == 0 {
            return Ok(None);
        }
        loop {
            let request = pb::PbRangeRequest {
                limit: i64::try_from(cursor.page).unwrap_or(i64::MAX),
                revision: cursor.revision.0,
                keys_only: cursor.keys_only,
                ..wire::range(&cursor.prefix, cursor.start.clone())
            };
            let response = match self.range(request).await {
                Err(error) if cursor.page > 1 && is_oversized(&error) => {
                    cursor.page = cursor.page.div_ceil(4);
                    cursor.most = cursor.page;
                    continue;
                }
                other => other?,
            };
            if cursor.revision == Revision::ZERO {
                cursor.revision = wire::revision(response.header.as_ref());
            }
            match response.kvs.last() {
                Some(last) if response.more => {
                    let mut start = last.key.clone();
                    start.push(0);
                    cursor.start = Some(start);
                    cursor.page = page_after(&response.kvs, cursor.most);
                }
                _ => cursor.page = 0,
            }
            return Ok(Some(response.kvs));
        }
    }
}

impl Cursor {
    fn new(prefix: &Prefix, options: ListOptions) -> Self {
        Self {
            prefix: prefix.clone(),
            start: None,
            revision: options.revision.unwrap_or(Revision::ZERO),
            page: options.page.max(1),
            most: options.page.max(1).saturating_mul(MOST_GROWTH),
            keys_only: false,
        }
    }
}

/// How many entries to ask for next, if they are as large as the ones before.
fn page_after(kvs: &[pb::PbKeyValue], most: usize) -> usize {
    /// What an entry costs on the wire beside its key and value, in bytes.
    const FRAME: usize = 32;
    let bytes: usize = kvs
        .iter()
        .map(|kv| kv.key.len() + kv.value.len() + FRAME)
        .sum();
    let each = bytes.div_ceil(kvs.len().max(1)).max(1);
    (PAGE_BYTES / each).clamp(1, most)
}

fn is_oversized(error: &Error) -> bool {
    match error {
        Error::Rejected { code, message, .. } => {
            matches!(code, Code::OutOfRange | Code::ResourceExhausted)
                && message.contains("too large")
        }
        Error::TooLarge { .. } => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_as_many_entries_as_fill_an_answer() {
        for (value, entries, most, next) in [
            (230, 2_000, 32_000, 7_710),
            (0, 2_000, 32_000, 32_000),
            (0, 7, 112, 112),
            (1 << 20, 3, 32_000, 1),
            (8 << 20, 1, 32_000, 1),
        ] {
            let kv = pb::PbKeyValue {
                key: b"/p/abcdefg".to_vec(),
                value: vec![0; value],
                ..Default::default()
            };
            let page = page_after(&vec![kv; entries], most);
            assert_eq!(page, next, "{entries} of {value} bytes, at most {most}");
        }
        assert_eq!(
            page_after(&[], 9),
            9,
            "an empty page says nothing of the next"
        );
    }
}
