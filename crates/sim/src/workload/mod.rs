//! The workload controllers: deployments keep replica sets, replica sets, daemon sets and jobs keep pods. Each is a
//! function from an object and what it owns to the writes that bring the two together; nothing is remembered that
//! the cluster does not say, except which finished pods a job has counted.

mod daemon_set;
mod deployment;
mod job;
mod replica_set;
mod template;

pub(crate) use daemon_set::DaemonSets;
pub(crate) use deployment::Deployments;
pub(crate) use job::Jobs;
pub(crate) use replica_set::ReplicaSets;

use jiff::{SignedDuration, Timestamp};

use crate::objects::Pod;

/// How the pods of one owner stand.
#[derive(Debug, Default, PartialEq, Eq)]
struct Readiness {
    ready: i64,
    available: i64,
    /// When a ready pod becomes available, if one is not yet.
    next: Option<Timestamp>,
}

impl Readiness {
    /// A pod is available once it has been ready for some time.
    fn of<'a>(pods: impl Iterator<Item = &'a Pod>, min_ready_seconds: i64, now: Timestamp) -> Self {
        let mut readiness = Self::default();
        for since in pods.filter_map(Pod::ready_since) {
            readiness.ready += 1;
            let available = since
                .saturating_add(SignedDuration::from_secs(min_ready_seconds))
                .unwrap_or(since);
            if available <= now {
                readiness.available += 1;
            } else {
                readiness.next = Some(readiness.next.map_or(available, |next| next.min(available)));
            }
        }
        readiness
    }
}

/// A count in a status: left out when it is zero, which in a merge patch is null.
fn unless_zero(count: i64) -> serde_json::Value {
    if count == 0 {
        serde_json::Value::Null
    } else {
        count.into()
    }
}
