//! What changed a scope's config: our records, and between them what other tools did, as far as
//! etcd's own history still tells; how far that is, is said.

use etcd::{Lost, Replay, ReplayOptions};
use fleet::Revision;
use fleet::config::{ConfigKey, Scope};
use fleet::release::timeline::{Happening, timeline};
use fleet::release::{Recorded, history};

use crate::report::Failure;
use crate::session::Session;

/// What is known to have happened, and what may be missing.
#[derive(Debug, Clone)]
pub struct Told {
    /// The newest first.
    pub happenings: Vec<Happening>,
    /// What is not known of other tools' changes, each as a sentence.
    pub gaps: Vec<String>,
}

/// Everything that is known to have happened to a scope, or to one key of it.
///
/// # Errors
/// When etcd cannot be read.
pub async fn read(
    session: &Session,
    scope: &Scope,
    only: Option<&ConfigKey>,
) -> Result<Told, Failure> {
    let prefixes = session.prefixes();
    let prefix = scope.prefix(&prefixes.config);
    let records = records(session, scope).await?;
    let current = session.list(&prefix).await?.entries;
    // Of one key too the scope is watched: a prefix of the key alone would be that of longer keys.
    let replay = session.client().replay(&prefix, ReplayOptions::default());
    let replay = replay.await.map_err(|error| session.failure(&error))?;
    let gaps = gaps(&replay);
    let mut happenings = timeline(scope, &prefixes.config, records, &current, &replay.changes);
    happenings.retain(|one| only.is_none_or(|key| one.touches(key)));
    Ok(Told { happenings, gaps })
}

fn gaps(replay: &Replay) -> Vec<String> {
    let mut gaps = Vec::new();
    let Replay { after, through, .. } = replay;
    match replay.lost {
        Some(Lost::Compacted) => gaps.push(format!(
            "etcd was compacted at r{after}: changes of other tools up to then show as far as they left traces"
        )),
        Some(Lost::Cut) => gaps.push(format!(
            "too much has changed to read all: changes of other tools up to r{after} show as far as they left traces"
        )),
        None => {}
    }
    if *through < replay.current {
        let behind = if *through > Revision::ZERO {
            format!("behind r{through} ")
        } else {
            String::new()
        };
        gaps.push(format!(
            "etcd's history did not come in time: changes of other tools {behind}show as far as they left traces"
        ));
    }
    gaps
}

/// The records of a scope, the newest first.
///
/// # Errors
/// When etcd cannot be read.
pub async fn records(session: &Session, scope: &Scope) -> Result<Vec<Recorded>, Failure> {
    let prefix = scope.prefix(&session.prefixes().releases);
    Ok(history(session.list(&prefix).await?.entries))
}
