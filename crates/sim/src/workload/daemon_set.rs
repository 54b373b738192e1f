//! Daemon sets: one pod on every node that wants one. Each pod is pinned to its node by node affinity and bound by
//! the binder like any other.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::Readiness;
use super::template::{OwnerKind, pod_from, template_hash};
use crate::cluster::{Change, Changed, Kind};
use crate::controller::{Controller, Queue, RETRY, View};
use crate::objects::{
    DaemonSet, IntOrPercent, Key, Node, NodeSelectorTerm, Phase, Pod, PodSpec, TaintEffect,
    Toleration,
};
use crate::write::{Action, Write};

const OWNER: OwnerKind = OwnerKind {
    api_version: "apps/v1",
    kind: "DaemonSet",
};

/// The label that tells the pods of the present template from older ones.
const REVISION_HASH: &str = "controller-revision-hash";

/// Taints that daemon pods tolerate without saying so.
const ALWAYS_TOLERATED: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];

/// Tolerated as well by daemons on the host's own network.
const TOLERATED_ON_HOST_NETWORK: (&str, &str) =
    ("node.kubernetes.io/network-unavailable", "NoSchedule");

/// The controller.
#[derive(Default)]
pub(crate) struct DaemonSets {
    queue: Queue,
}

impl Controller for DaemonSets {
    fn observe(&mut self, change: &Change, view: &View<'_>) {
        match change {
            Change::DaemonSet(changed) => self.queue.add(&changed.latest().meta.key),
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
            Change::Node(changed) if matters(changed) => {
                for key in view.cluster.daemon_sets.keys() {
                    self.queue.add(key);
                }
            }
            Change::Node(_)
            | Change::Namespace(_)
            | Change::Deployment(_)
            | Change::ReplicaSet(_)
            | Change::Job(_)
            | Change::Budget(_) => {}
        }
    }

    fn work(&mut self, view: &View<'_>) -> Vec<Write> {
        let mut writes = Vec::new();
        for key in self.queue.take(view.now) {
            if let Some(set) = view.cluster.daemon_sets.get(&key) {
                writes.extend(reconcile(set, view, &mut self.queue));
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

/// Whether a node came, went, or changed in what decides who belongs on it.
fn matters(changed: &Changed<Node>) -> bool {
    match (&changed.old, &changed.new) {
        (Some(old), Some(new)) => old.meta.labels != new.meta.labels || old.taints != new.taints,
        _ => true,
    }
}

/// Whether a node should get a daemon, and whether it may keep one.
#[derive(Debug, PartialEq, Eq)]
struct Belongs {
    run: bool,
    keep: bool,
}

fn belongs(spec: &PodSpec, node: &Node) -> Belongs {
    if !spec.wants_node(node.name(), node.labels()) {
        return Belongs {
            run: false,
            keep: false,
        };
    }
    let run = spec
        .untolerated(
            &node.taints,
            &[TaintEffect::NoSchedule, TaintEffect::NoExecute],
        )
        .is_none();
    Belongs {
        run,
        keep: run
            || spec
                .untolerated(&node.taints, &[TaintEffect::NoExecute])
                .is_none(),
    }
}

/// The template's specification with the tolerations that every daemon has.
fn daemon_spec(template: &Value) -> PodSpec {
    let mut spec: PodSpec = template
        .get("spec")
        .cloned()
        .and_then(|spec| serde_json::from_value(spec).ok())
        .unwrap_or_default();
    for (key, effect) in tolerated(spec.host_network) {
        spec.tolerations.push(Toleration {
            key: key.to_owned(),
            operator: Some("Exists".to_owned()),
            effect: effect.to_owned(),
            ..Toleration::default()
        });
    }
    spec
}

fn tolerated(host_network: bool) -> impl Iterator<Item = (&'static str, &'static str)> {
    ALWAYS_TOLERATED
        .into_iter()
        .chain(host_network.then_some(TOLERATED_ON_HOST_NETWORK))
}

fn reconcile(set: &DaemonSet, view: &View<'_>, queue: &mut Queue) -> Vec<Write> {
    let key = &set.meta.key;
    if set.meta.deleting.is_some() {
        return Vec::new();
    }
    let spec = daemon_spec(&set.spec.template);
    let hash = template_hash(&set.spec.template);
    let mut by_node: BTreeMap<String, Vec<&Pod>> = BTreeMap::new();
    for pod in view.cluster.pods.owned_by(&set.meta.uid) {
        if let Some(node) = target_node(pod) {
            by_node.entry(node).or_default().push(pod);
        }
    }

    let mut writes = Vec::new();
    let mut current = Vec::new();
    let mut counts = Counts::default();
    for node in view.cluster.nodes.values() {
        let belongs = belongs(&spec, node);
        let pods = by_node.remove(node.name()).unwrap_or_default();
        let running: Vec<&Pod> = pods
            .iter()
            .copied()
            .filter(|pod| pod.meta.deleting.is_none())
            .collect();
        if belongs.run {
            counts.desired += 1;
            counts.scheduled += i64::from(!running.is_empty());
            if pods.is_empty() && node.meta.deleting.is_none() {
                writes.push(create(set, &spec, &hash, node.name()));
            }
        } else {
            counts.misscheduled += i64::from(!running.is_empty());
        }
        // 1. A daemon that may not stay goes; 2. one that ended is replaced; 3. of several only the oldest stays.
        let mut staying: Vec<&Pod> = Vec::new();
        for pod in running {
            if !belongs.keep || pod.phase == Phase::Failed || pod.phase == Phase::Succeeded {
                writes.push(delete(set, pod));
            } else {
                staying.push(pod);
            }
        }
        staying.sort_by_key(|pod| (pod.node.is_none(), pod.meta.created, pod.meta.key.clone()));
        for pod in staying.iter().skip(1) {
            writes.push(delete(set, pod));
        }
        if belongs.run {
            current.extend(staying.first().copied());
        }
    }
    // Pods of nodes that are gone: the bound ones are collected with their node, the others would wait for ever.
    for pod in by_node.into_values().flatten() {
        if pod.node.is_none() && pod.meta.deleting.is_none() {
            writes.push(delete(set, pod));
        }
    }

    let readiness = Readiness::of(
        current.iter().copied(),
        set.spec.min_ready_seconds,
        view.time(),
    );
    if let Some(next) = readiness.next {
        queue.add_at(key, view.instant(next));
    }
    let is_new = |pod: &Pod| pod.meta.labels.get(REVISION_HASH) == Some(&hash);
    counts.updated =
        i64::try_from(current.iter().filter(|pod| is_new(pod)).count()).unwrap_or(i64::MAX);
    if set.spec.update_strategy.kind.as_deref() != Some("OnDelete") {
        let old: Vec<&Pod> = current.iter().copied().filter(|pod| !is_new(pod)).collect();
        writes.extend(replace_old(
            set,
            &old,
            counts.desired - readiness.available,
            counts.desired,
        ));
    }
    writes.extend(status(set, &counts, &readiness));
    writes
}

/// Takes old daemons away as far as `maxUnavailable` allows; those that are not ready go first and for free.
fn replace_old(set: &DaemonSet, old: &[&Pod], unavailable: i64, desired: i64) -> Vec<Write> {
    let allowed = set
        .spec
        .update_strategy
        .rolling_update
        .max_unavailable
        .as_ref()
        .unwrap_or(&IntOrPercent::Int(1))
        .of(desired, true)
        .max(1);
    let mut budget = allowed - unavailable;
    let mut writes = Vec::new();
    for pod in old {
        if pod.ready_since().is_none() {
            writes.push(delete(set, pod));
        } else if budget > 0 {
            budget -= 1;
            writes.push(delete(set, pod));
        }
    }
    writes
}

/// The node that a daemon pod is on or is pinned to.
fn target_node(pod: &Pod) -> Option<String> {
    if let Some(node) = &pod.node {
        return Some(node.clone());
    }
    let required = pod.spec.affinity.as_ref()?.nodes.required.as_ref()?;
    let in_term = |term: &NodeSelectorTerm| {
        term.match_fields
            .iter()
            .find(|field| field.key == "metadata.name")
            .and_then(|field| field.values.first().cloned())
    };
    required.node_selector_terms.iter().find_map(in_term)
}

fn create(set: &DaemonSet, spec: &PodSpec, hash: &str, node: &str) -> Write {
    let mut pod = pod_from(
        &set.spec.template,
        &OWNER,
        &set.meta,
        &[(REVISION_HASH, hash)],
    );
    let tolerations = pod["spec"]["tolerations"]
        .as_array_mut()
        .map(std::mem::take)
        .unwrap_or_default();
    let added = tolerated(spec.host_network)
        .map(|(key, effect)| json!({"key": key, "operator": "Exists", "effect": effect}))
        .filter(|added| !tolerations.contains(added));
    pod["spec"]["tolerations"] = tolerations.iter().cloned().chain(added).collect();
    // Whatever the template required was asked above; the pod itself only needs to be told its node.
    pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] = json!({
        "nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}],
    });
    let namespace = set.meta.key.namespace.clone();
    Write::new(
        &set.meta.key,
        Action::Create {
            kind: Kind::Pod,
            namespace,
            body: pod,
        },
    )
}

fn delete(set: &DaemonSet, pod: &Pod) -> Write {
    Write::new(
        &set.meta.key,
        Action::Delete {
            kind: Kind::Pod,
            key: pod.meta.key.clone(),
            uid: pod.meta.uid.clone(),
            grace_seconds: None,
        },
    )
}

#[derive(Debug, Default)]
struct Counts {
    desired: i64,
    scheduled: i64,
    misscheduled: i64,
    updated: i64,
}

fn status(set: &DaemonSet, counts: &Counts, readiness: &Readiness) -> Option<Write> {
    let known = &set.status;
    let unavailable = (counts.desired - readiness.available).max(0);
    let same = known.observed_generation == set.meta.generation
        && known.desired_number_scheduled == counts.desired
        && known.current_number_scheduled == counts.scheduled
        && known.number_misscheduled == counts.misscheduled
        && known.updated_number_scheduled == counts.updated
        && known.number_ready == readiness.ready
        && known.number_available == readiness.available
        && known.number_unavailable == unavailable;
    if same {
        return None;
    }
    let body = json!({ "status": {
        "observedGeneration": set.meta.generation,
        "desiredNumberScheduled": counts.desired,
        "currentNumberScheduled": counts.scheduled,
        "numberMisscheduled": counts.misscheduled,
        "updatedNumberScheduled": super::unless_zero(counts.updated),
        "numberReady": readiness.ready,
        "numberAvailable": super::unless_zero(readiness.available),
        "numberUnavailable": super::unless_zero(unavailable),
    }});
    Some(Write::new(
        &set.meta.key,
        Action::PatchStatus {
            kind: Kind::DaemonSet,
            key: set.meta.key.clone(),
            body,
        },
    ))
}
