//! What changed a scope's config: our records, and between them what other tools did, as far as
//! etcd's own history still tells.

use fleet::config::{ConfigKey, Scope};
use fleet::release::timeline::{Happening, timeline};
use fleet::release::{Recorded, history};
use fleet::{Change, Revision};

use crate::report::Failure;
use crate::session::Session;

/// How many versions of one key are read from etcd's own history.
const VERSIONS: usize = 200;

/// Everything that is known to have happened to a scope, or to one key of it, the newest first.
///
/// # Errors
/// When etcd cannot be read.
pub async fn read(
    session: &Session,
    scope: &Scope,
    only: Option<&ConfigKey>,
) -> Result<Vec<Happening>, Failure> {
    let prefixes = session.prefixes();
    let records = records(session, scope).await?;
    let current = session.list(&scope.prefix(&prefixes.config)).await?.entries;
    let versions = match only {
        Some(key) => versions(session, key).await?,
        None => Vec::new(),
    };
    let mut all = timeline(scope, &prefixes.config, records, &current, &versions);
    all.retain(|one| only.is_none_or(|key| one.touches(key)));
    Ok(all)
}

/// The records of a scope, the newest first.
///
/// # Errors
/// When etcd cannot be read.
pub async fn records(session: &Session, scope: &Scope) -> Result<Vec<Recorded>, Failure> {
    let prefix = scope.prefix(&session.prefixes().releases);
    Ok(history(session.list(&prefix).await?.entries))
}

/// The versions of a key that etcd still has, as far back as it stood without a break.
async fn versions(session: &Session, key: &ConfigKey) -> Result<Vec<Change>, Failure> {
    let at = key.to_key(&session.prefixes().config);
    let mut versions = Vec::new();
    let mut revision = Revision::ZERO;
    while versions.len() < VERSIONS {
        match session.client().get_at(&at, revision).await {
            Ok((Some(entry), _)) => {
                revision = Revision(entry.mod_revision.0 - 1);
                let first = entry.version == 1;
                versions.push(Change::Put(entry));
                if first || revision <= Revision::ZERO {
                    break;
                }
            }
            Ok((None, _)) | Err(etcd::Error::Compacted { .. }) => break,
            Err(error) => return Err(session.failure(&error)),
        }
    }
    Ok(versions)
}
