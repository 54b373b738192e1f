//! Replica sets: as many pods as asked for.

use serde_json::json;
use tokio::time::Instant;

use super::template::{OwnerKind, pod_from};
use super::{Readiness, unless_zero};
use crate::cluster::{Change, Kind};
use crate::controller::{Controller, Queue, RETRY, View};
use crate::objects::{Key, Phase, Pod, ReplicaSet};
use crate::write::{Action, Write};

const OWNER: OwnerKind = OwnerKind {
    api_version: "apps/v1",
    kind: "ReplicaSet",
};

/// What a pod says about how dear it is among its siblings.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The controller.
#[derive(Default)]
pub(crate) struct ReplicaSets {
    queue: Queue,
}

impl Controller for ReplicaSets {
    fn observe(&mut self, change: &Change, _: &View<'_>) {
        match change {
            Change::ReplicaSet(changed) => self.queue.add(&changed.latest().meta.key),
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
                    }
                }
            }
            Change::Node(_)
            | Change::Namespace(_)
            | Change::Deployment(_)
            | Change::DaemonSet(_)
            | Change::Job(_)
            | Change::Budget(_) => {}
        }
    }

    fn work(&mut self, view: &View<'_>) -> Vec<Write> {
        let mut writes = Vec::new();
        for key in self.queue.take(view.now) {
            if let Some(set) = view.cluster.replica_sets.get(&key) {
                let pods: Vec<&Pod> = view
                    .cluster
                    .pods
                    .owned_by(&set.meta.uid)
                    .map(|pod| &**pod)
                    .collect();
                writes.extend(reconcile(set, &pods, view, &mut self.queue));
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

fn reconcile(set: &ReplicaSet, pods: &[&Pod], view: &View<'_>, queue: &mut Queue) -> Vec<Write> {
    let key = &set.meta.key;
    if set.meta.deleting.is_some() {
        return Vec::new();
    }
    let mut active: Vec<&Pod> = pods.iter().copied().filter(|pod| pod.active()).collect();
    let wanted = usize::try_from(set.spec.replicas.unwrap_or(1)).unwrap_or_default();
    let readiness = Readiness::of(
        active.iter().copied(),
        set.spec.min_ready_seconds,
        view.time(),
    );
    if let Some(next) = readiness.next {
        queue.add_at(key, view.instant(next));
    }
    let mut writes: Vec<Write> = status(set, &active, &readiness).into_iter().collect();
    for _ in active.len()..wanted {
        let body = pod_from(&set.spec.template, &OWNER, &set.meta, &[]);
        writes.push(Write::new(
            key,
            Action::Create {
                kind: Kind::Pod,
                namespace: key.namespace.clone(),
                body,
            },
        ));
    }
    if active.len() > wanted {
        active.sort_by_key(|pod| dearness(pod));
        for pod in &active[..active.len() - wanted] {
            writes.push(Write::new(
                key,
                Action::Delete {
                    kind: Kind::Pod,
                    key: pod.meta.key.clone(),
                    uid: pod.meta.uid.clone(),
                    grace_seconds: None,
                },
            ));
        }
    }
    writes
}

/// What decides which pods go first when there are too many: the smallest goes.
///
/// 1. without a node, 2. pending, 3. not ready, 4. cheap by its own word, 5. young, 6. by name.
fn dearness(pod: &Pod) -> impl Ord + use<> {
    let cost: i64 = pod
        .meta
        .annotations
        .get(DELETION_COST)
        .and_then(|text| text.parse().ok())
        .unwrap_or_default();
    (
        pod.node.is_some(),
        pod.phase != Phase::Pending,
        pod.ready_since().is_some(),
        cost,
        std::cmp::Reverse(pod.meta.created),
        pod.meta.key.clone(),
    )
}

fn status(set: &ReplicaSet, active: &[&Pod], readiness: &Readiness) -> Option<Write> {
    let replicas = i64::try_from(active.len()).unwrap_or(i64::MAX);
    let known = &set.status;
    let same = known.observed_generation == set.meta.generation
        && known.replicas == replicas
        && known.fully_labeled_replicas == replicas
        && known.ready_replicas == readiness.ready
        && known.available_replicas == readiness.available;
    if same {
        return None;
    }
    let body = json!({ "status": {
        "replicas": replicas,
        "fullyLabeledReplicas": unless_zero(replicas),
        "readyReplicas": unless_zero(readiness.ready),
        "availableReplicas": unless_zero(readiness.available),
        "observedGeneration": set.meta.generation,
    }});
    Some(Write::new(
        &set.meta.key,
        Action::PatchStatus {
            kind: Kind::ReplicaSet,
            key: set.meta.key.clone(),
            body,
        },
    ))
}
