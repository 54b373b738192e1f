//! Jobs: pods that end, until enough of them ended well.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::template::{OwnerKind, pod_from};
use super::unless_zero;
use crate::cluster::{Change, Kind};
use crate::controller::{Controller, Queue, RETRY, View};
use crate::objects::{Job, Key, Phase, Pod, condition, stamp};
use crate::write::{Action, Write};

const OWNER: OwnerKind = OwnerKind {
    api_version: "batch/v1",
    kind: "Job",
};

/// The completion index of a pod of an indexed job, in a label and an annotation of this name.
const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// How many pods may fail before the job does, by default.
const BACKOFF_LIMIT: i64 = 6;

/// How the pods of a job ended, by uid; finished pods may be removed before the job is.
#[derive(Debug, Default)]
struct Ended {
    succeeded: BTreeMap<String, Option<i64>>,
    failed: BTreeSet<String>,
}

/// The controller.
#[derive(Default)]
pub(crate) struct Jobs {
    queue: Queue,
    ended: BTreeMap<String, Ended>,
}

impl Controller for Jobs {
    fn observe(&mut self, change: &Change, _: &View<'_>) {
        match change {
            Change::Job(changed) => {
                let job = changed.latest();
                self.queue.add(&job.meta.key);
                if changed.new.is_none() {
                    self.ended.remove(&job.meta.uid);
                }
            }
            Change::Pod(changed) => {
                for pod in changed.both() {
                    if let Some(owner) = pod
                        .meta
                        .owner
                        .as_ref()
                        .filter(|owner| owner.kind == OWNER.kind)
                    {
                        self.queue
                            .add(&Key::new(&pod.meta.key.namespace, &owner.name));
                        self.count(pod, owner.uid.clone(), changed.new.is_none());
                    }
                }
            }
            Change::Node(_)
            | Change::Namespace(_)
            | Change::Deployment(_)
            | Change::ReplicaSet(_)
            | Change::DaemonSet(_)
            | Change::Budget(_) => {}
        }
    }

    fn work(&mut self, view: &View<'_>) -> Vec<Write> {
        let mut writes = Vec::new();
        for key in self.queue.take(view.now) {
            if let Some(job) = view.cluster.jobs.get(&key) {
                let pods: Vec<&Pod> = view
                    .cluster
                    .pods
                    .owned_by(&job.meta.uid)
                    .map(|pod| &**pod)
                    .collect();
                let ended = self.ended.entry(job.meta.uid.clone()).or_default();
                writes.extend(reconcile(job, &pods, ended, view, &mut self.queue));
            }
        }
        writes
    }

    fn failed(&mut self, write: &Write, view: &View<'_>) {
        self.queue.add_at(&write.on_behalf_of, view.now + RETRY);
    }

    fn wake(&self) -> Option<Instant> {
        self.queue.wake()
    }
}

impl Jobs {
    /// A pod that went before it ended has failed.
    fn count(&mut self, pod: &Pod, job: String, gone: bool) {
        let uid = pod.meta.uid.clone();
        if pod.phase == Phase::Succeeded {
            self.ended
                .entry(job)
                .or_default()
                .succeeded
                .insert(uid, index(pod));
        } else if pod.phase == Phase::Failed || (gone && pod.node.is_some()) {
            let ended = self.ended.entry(job).or_default();
            if !ended.succeeded.contains_key(&uid) {
                ended.failed.insert(uid);
            }
        }
    }
}

fn index(pod: &Pod) -> Option<i64> {
    pod.meta
        .annotations
        .get(INDEX)
        .and_then(|text| text.parse().ok())
}

/// Whether and how a job has ended.
fn finished(job: &Job) -> bool {
    job.status
        .conditions
        .iter()
        .any(|known| matches!(known.kind.as_str(), "Complete" | "Failed") && known.holds())
}

fn reconcile(
    job: &Job,
    pods: &[&Pod],
    ended: &Ended,
    view: &View<'_>,
    queue: &mut Queue,
) -> Vec<Write> {
    let now = view.time();
    if job.meta.deleting.is_some() {
        return Vec::new();
    }
    let active: Vec<&Pod> = pods.iter().copied().filter(|pod| pod.active()).collect();
    if finished(job) {
        let mut writes: Vec<Write> = active.iter().map(|pod| delete_pod(job, pod)).collect();
        writes.extend(expire(job, view, queue));
        return writes;
    }
    let indexed = job.spec.completion_mode.as_deref() == Some("Indexed");
    let succeeded = if indexed {
        ended
            .succeeded
            .values()
            .flatten()
            .collect::<BTreeSet<_>>()
            .len()
    } else {
        ended.succeeded.len()
    };
    let succeeded = i64::try_from(succeeded).unwrap_or(i64::MAX);
    let failed = i64::try_from(ended.failed.len()).unwrap_or(i64::MAX);
    let has = i64::try_from(active.len()).unwrap_or(i64::MAX);
    let parallelism = job.spec.parallelism.unwrap_or(1);

    let complete = match job.spec.completions {
        Some(completions) => succeeded >= completions,
        // Without a number the first success ends the job, once the others have ended too.
        None => succeeded > 0 && has == 0,
    };
    let gave_up = failed > job.spec.backoff_limit.unwrap_or(BACKOFF_LIMIT);
    let wanted = if complete || gave_up || job.spec.suspend {
        0
    } else {
        match job.spec.completions {
            Some(completions) => parallelism.min(completions - succeeded),
            None if succeeded > 0 => has,
            None => parallelism,
        }
    };

    let outcome = if complete {
        Some(("Complete", "CompletionsReached"))
    } else if gave_up {
        Some(("Failed", "BackoffLimitExceeded"))
    } else {
        None
    };
    let mut writes: Vec<Write> = status(job, &active, succeeded, failed, outcome, now)
        .into_iter()
        .collect();
    if has > wanted {
        let excess = usize::try_from(has - wanted).unwrap_or_default();
        writes.extend(
            active
                .iter()
                .rev()
                .take(excess)
                .map(|pod| delete_pod(job, pod)),
        );
    }
    let mut used: BTreeSet<i64> = active.iter().filter_map(|pod| index(pod)).collect();
    used.extend(ended.succeeded.values().flatten());
    for _ in has..wanted {
        let index = indexed.then(|| {
            let mut free = 0;
            while used.contains(&free) {
                free += 1;
            }
            used.insert(free);
            free
        });
        writes.push(create_pod(job, index));
    }
    writes
}

/// Deletes a finished job when its time to live is over.
fn expire(job: &Job, view: &View<'_>, queue: &mut Queue) -> Option<Write> {
    let ttl = SignedDuration::from_secs(job.spec.ttl_seconds?);
    let ended = job
        .status
        .conditions
        .iter()
        .filter(|known| matches!(known.kind.as_str(), "Complete" | "Failed"))
        .find_map(|known| known.last_transition_time)?;
    let due = ended.saturating_add(ttl).ok()?;
    if due > view.time() {
        queue.add_at(&job.meta.key, view.instant(due));
        return None;
    }
    let action = Action::Delete {
        kind: Kind::Job,
        key: job.meta.key.clone(),
        uid: job.meta.uid.clone(),
        grace_seconds: None,
    };
    Some(Write::new(&job.meta.key, action))
}

fn create_pod(job: &Job, index: Option<i64>) -> Write {
    let labels = [
        ("batch.kubernetes.io/controller-uid", job.meta.uid.as_str()),
        ("batch.kubernetes.io/job-name", job.meta.key.name.as_str()),
        ("controller-uid", job.meta.uid.as_str()),
        ("job-name", job.meta.key.name.as_str()),
    ];
    let mut body = pod_from(&job.spec.template, &OWNER, &job.meta, &labels);
    if let Some(index) = index {
        let text = index.to_string();
        body["metadata"]["generateName"] = format!("{}-{index}-", job.meta.key.name).into();
        body["metadata"]["labels"][INDEX] = text.as_str().into();
        body["metadata"]["annotations"][INDEX] = text.into();
    }
    let namespace = job.meta.key.namespace.clone();
    Write::new(
        &job.meta.key,
        Action::Create {
            kind: Kind::Pod,
            namespace,
            body,
        },
    )
}

fn delete_pod(job: &Job, pod: &Pod) -> Write {
    Write::new(
        &job.meta.key,
        Action::Delete {
            kind: Kind::Pod,
            key: pod.meta.key.clone(),
            uid: pod.meta.uid.clone(),
            grace_seconds: None,
        },
    )
}

fn status(
    job: &Job,
    active: &[&Pod],
    succeeded: i64,
    failed: i64,
    outcome: Option<(&str, &str)>,
    now: Timestamp,
) -> Option<Write> {
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let running = if outcome.is_some() {
        0
    } else {
        count(active.len())
    };
    let ready = count(
        active
            .iter()
            .filter(|pod| pod.ready_since().is_some())
            .count(),
    );
    let known = &job.status;
    let same = known.active == running
        && known.ready == ready
        && known.succeeded == succeeded
        && known.failed == failed
        && (known.start_time.is_some() || job.spec.suspend)
        && outcome.is_none();
    if same {
        return None;
    }
    let mut body = json!({ "status": {
        "active": unless_zero(running),
        "ready": ready,
        "succeeded": unless_zero(succeeded),
        "failed": unless_zero(failed),
    }});
    if known.start_time.is_none() && !job.spec.suspend {
        body["status"]["startTime"] = stamp(now).into();
    }
    if let Some((kind, reason)) = outcome {
        let earlier = if kind == "Complete" {
            "SuccessCriteriaMet"
        } else {
            "FailureTarget"
        };
        let conditions: Vec<Value> = [earlier, kind]
            .iter()
            .map(|kind| condition(kind, true, reason, "", now))
            .collect();
        body["status"]["conditions"] = conditions.into();
        if kind == "Complete" {
            body["status"]["completionTime"] = stamp(now).into();
        }
    }
    Some(Write::new(
        &job.meta.key,
        Action::PatchStatus {
            kind: Kind::Job,
            key: job.meta.key.clone(),
            body,
        },
    ))
}
