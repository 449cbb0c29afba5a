//! `leases revoke`: what hangs on the lease is shown and asked for, and looked at once more before
//! it goes.

use etcd::LeaseKeys;
use fleet::LeaseId;

use super::{LeaseInfo, document, in_order, keys};
use crate::cli::consent;
use crate::report::{Failure, Kind, Report};
use crate::session::Session;

/// So many keys are shown.
const SHOWN: usize = 20;

#[derive(Debug, clap::Args)]
pub(super) struct Revoke {
    /// The lease, as 'msctl leases' shows it
    #[arg(value_name = "LEASE", value_parser = lease)]
    id: LeaseId,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

fn lease(text: &str) -> Result<LeaseId, String> {
    i64::from_str_radix(text, 16)
        .ok()
        .and_then(LeaseId::new)
        .ok_or_else(|| format!("'{text}' is no lease; write it in hexadecimal, like 3f1c"))
}

impl Revoke {
    pub(super) async fn run(&self, session: &Session, report: &mut Report) -> Result<(), Failure> {
        let writer = session.writer()?;
        let seen = self.look(session).await?;
        if !self.yes {
            let mut shown = format!("  revoke {}, which takes with it:\n", seen.id);
            let held = keys(&seen);
            for key in held.iter().take(SHOWN) {
                shown.push_str(&format!("    {}\n", fleet::safe::escape(key)));
            }
            match held.len() {
                0 => shown.push_str("    no key\n"),
                many if many > SHOWN => {
                    shown.push_str(&format!("    and {} more keys\n", many - SHOWN));
                }
                _ => {}
            }
            consent::ask(session, &shown, consent::Harm::Destroys, report)?;
        }
        // etcd revokes whatever hangs on the lease by then; this keeps it to what was shown.
        let now = self.look(session).await?;
        if now.keys != seen.keys {
            return Err(Failure::new(
                Kind::Conflict,
                format!("the keys of lease {} changed meanwhile; it stands", self.id),
            )
            .next("Look at it and run this again."));
        }
        writer.revoke(self.id).await?;
        let count = now.keys.len();
        report.one(&document(&now), |_, _| {
            let keys = if count == 1 { "key" } else { "keys" };
            format!("revoked {}: {count} {keys} deleted\n", self.id)
        })
    }

    async fn look(&self, session: &Session) -> Result<LeaseInfo, Failure> {
        session
            .client()
            .lease_ttl(self.id, LeaseKeys::Listed)
            .await
            .map(in_order)
            .map_err(|error| match error {
                etcd::Error::LeaseNotFound { .. } => {
                    Failure::not_found(format!("there is no lease {}", self.id))
                        .next("'msctl leases' lists them.")
                }
                error => session.failure(&error),
            })
    }
}
