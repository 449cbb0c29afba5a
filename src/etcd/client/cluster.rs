//! The cluster itself: its members, how each of them is, and the alarms.
//!
//! Read only: changing members or disarming alarms is the operator's, with etcd's own tools.

use std::sync::Arc;

use etcd_client::proto as pb;
use fleet::Revision;

use super::Client;
use super::call;
use super::dial::Dial;
use super::member::ask_status;
use crate::error::{Error, Subject, judge};
use crate::wire;

/// A member as the cluster lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: u64,
    /// Its name; empty before it has started.
    pub name: String,
    /// Where its peers reach it.
    pub peer_urls: Vec<String>,
    /// Where clients reach it.
    pub client_urls: Vec<String>,
    /// It has no vote yet.
    pub learner: bool,
}

/// How a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberStatus {
    /// The member that answered.
    pub id: u64,
    /// The cluster it belongs to.
    pub cluster: u64,
    /// The server's version.
    pub version: String,
    /// The leader as this member knows it; `None` when it knows none.
    pub leader: Option<u64>,
    /// The size of the database on disk, in bytes.
    pub db_size: i64,
    /// The part of it that is in use, in bytes.
    pub db_size_in_use: i64,
    /// The largest size allowed, in bytes; `None` where the server does not say.
    pub db_quota: Option<i64>,
    /// The revision of its store.
    pub revision: Revision,
    /// The term of the election.
    pub raft_term: u64,
    /// The last entry of its log.
    pub raft_index: u64,
    /// The last entry it has applied.
    pub raft_applied_index: u64,
    /// It has no vote yet.
    pub learner: bool,
    /// What the member itself complains of.
    pub errors: Vec<String>,
}

impl MemberStatus {
    /// Whether the member that answered is the leader.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.leader == Some(self.id)
    }
}

/// An alarm that is raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alarm {
    /// The member that raised it.
    pub member: u64,
    /// What it is about.
    pub kind: AlarmKind,
}

/// What an alarm is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlarmKind {
    /// The space quota is exceeded: the cluster takes no writes.
    NoSpace,
    /// A member's data is corrupt.
    Corrupt,
    /// One that this version does not know.
    Other(i32),
}

impl Client {
    /// The members of the cluster.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn members(&self) -> Result<Vec<Member>, Error> {
        // The request's only field asks for a linearizable answer. Without it the list can still
        // be had while there is no leader, which is when it is looked at.
        let response: pb::PbMemberListResponse = self.read(&call::MEMBER_LIST, ()).await?;
        let members = response.members.into_iter().map(|member| Member {
            id: member.id,
            name: member.name,
            peer_urls: member.peer_ur_ls,
            client_urls: member.client_ur_ls,
            learner: member.is_learner,
        });
        Ok(members.collect())
    }

    /// How one member is, asked of that member over a connection of its own. A server in this
    /// process, whose members have no address, is asked directly.
    ///
    /// # Errors
    /// [`Error::Unreachable`] with the last address's cause.
    pub async fn status(&self, member: &Member) -> Result<MemberStatus, Error> {
        let settings = self.settings();
        let mut failure = None;
        for url in &member.client_urls {
            let url = advertised(url, settings.is_secure());
            match Dial::parse(settings, &url) {
                Ok((name, dial)) => match self.status_of(&name, &dial).await {
                    Ok(status) if member.id == 0 || status.id == member.id => return Ok(status),
                    Ok(status) => {
                        failure = Some(Error::Unreachable {
                            endpoints: vec![name.to_string()],
                            cause: format!("another member answers here: {:x}", status.id),
                        });
                    }
                    Err(error) => failure = Some(error),
                },
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            Some(error) => Err(error),
            None => {
                let response: pb::PbStatusResponse = self
                    .read(&call::STATUS, pb::PbStatusRequest::default())
                    .await?;
                Ok(read_status(response))
            }
        }
    }

    /// How the member behind each configured endpoint is, all asked at once.
    pub async fn endpoint_statuses(&self) -> Vec<(Arc<str>, Result<MemberStatus, Error>)> {
        let asked = self.link.dials().iter().map(|(name, dial)| async move {
            (Arc::clone(name), self.status_of(name, dial).await)
        });
        futures::future::join_all(asked).await
    }

    async fn status_of(&self, name: &Arc<str>, dial: &Dial) -> Result<MemberStatus, Error> {
        let settings = self.settings();
        let unreachable = |cause: String| Error::Unreachable {
            endpoints: vec![name.to_string()],
            cause,
        };
        let transport = dial
            .connect(settings.connect_timeout)
            .await
            .map_err(unreachable)?;
        let answer = tokio::time::timeout(settings.probe_timeout, ask_status(&transport)).await;
        match answer {
            Ok(Ok(response)) => Ok(read_status(response)),
            Ok(Err(status)) => match call::broken_by(&status) {
                Some(cause) => Err(unreachable(cause)),
                None => {
                    let subject = Subject {
                        endpoint: name,
                        method: call::STATUS.name,
                        lease: None,
                        revision: Revision::ZERO,
                        bytes: 0,
                        limit: 0,
                    };
                    Err(judge(&status, subject).0)
                }
            },
            Err(_) => Err(Error::Deadline {
                endpoint: name.to_string(),
                method: call::STATUS.name,
                after: settings.probe_timeout,
                cause: None,
            }),
        }
    }

    /// The alarms that are raised.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn alarms(&self) -> Result<Vec<Alarm>, Error> {
        // The default action is GET.
        let request = pb::PbAlarmRequest::default();
        let response: pb::PbAlarmResponse = self.read(&call::ALARM, request).await?;
        let alarms = response.alarms.into_iter().map(|alarm| Alarm {
            member: alarm.member_id,
            kind: match alarm.alarm {
                1 => AlarmKind::NoSpace,
                2 => AlarmKind::Corrupt,
                other => AlarmKind::Other(other),
            },
        });
        Ok(alarms.collect())
    }
}

/// An advertised URL as an endpoint; one without a scheme follows the settings.
fn advertised(url: &str, secure: bool) -> String {
    match url.split_once("://") {
        Some(_) => url.to_owned(),
        None if secure => format!("https://{url}"),
        None => format!("http://{url}"),
    }
}

fn read_status(response: pb::PbStatusResponse) -> MemberStatus {
    let header = response.header.as_ref();
    MemberStatus {
        id: header.map_or(0, |header| header.member_id),
        cluster: header.map_or(0, |header| header.cluster_id),
        revision: wire::revision(header),
        version: response.version,
        leader: (response.leader != 0).then_some(response.leader),
        db_size: response.db_size,
        db_size_in_use: response.db_size_in_use,
        db_quota: (response.db_size_quota > 0).then_some(response.db_size_quota),
        raft_term: response.raft_term,
        raft_index: response.raft_index,
        raft_applied_index: response.raft_applied_index,
        learner: response.is_learner,
        errors: response.errors,
    }
}
