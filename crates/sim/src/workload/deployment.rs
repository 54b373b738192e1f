//! Deployments: one replica set per template, and the steps from the old ones to the new one.
//!
//! A rolling update never has more than `replicas + maxSurge` pods, nor fewer than `replicas - maxUnavailable`
//! available ones by its own doing. `Recreate` waits until the last old pod is gone.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::template::{OwnerKind, TEMPLATE_HASH, owner_reference, template_hash};
use super::unless_zero;
use crate::cluster::{Change, Kind};
use crate::controller::{Controller, Queue, RETRY, View};
use crate::objects::{
    Condition, Deployment, DeploymentSpec, IntOrPercent, Key, ReplicaSet, condition,
};
use crate::write::{Action, Write};

const OWNER: OwnerKind = OwnerKind {
    api_version: "apps/v1",
    kind: "Deployment",
};

/// Numbers the templates of a deployment in the order in which they were used; `kubectl rollout` reads it.
const REVISION: &str = "deployment.kubernetes.io/revision";

/// How many old replica sets are kept for a roll-back by default.
const HISTORY: i64 = 10;

/// The controller.
#[derive(Default)]
pub(crate) struct Deployments {
    queue: Queue,
}

impl Controller for Deployments {
    fn observe(&mut self, change: &Change, view: &View<'_>) {
        match change {
            Change::Deployment(changed) => self.queue.add(&changed.latest().meta.key),
            Change::ReplicaSet(changed) => {
                for set in changed.both() {
                    if let Some(owner) = set
                        .meta
                        .owner
                        .as_ref()
                        .filter(|owner| owner.kind == OWNER.kind)
                    {
                        self.queue
                            .add(&Key::new(&set.meta.key.namespace, &owner.name));
                    }
                }
            }
            // `Recreate` waits for pods to be gone, which the counts of a replica set do not tell.
            Change::Pod(changed) if changed.new.is_none() => {
                let pod = changed.latest();
                let set = pod
                    .meta
                    .owner
                    .as_ref()
                    .and_then(|owner| {
                        view.cluster
                            .replica_sets
                            .get(&Key::new(&pod.meta.key.namespace, &owner.name))
                    })
                    .and_then(|set| set.meta.owner.as_ref());
                if let Some(owner) = set.filter(|owner| owner.kind == OWNER.kind) {
                    self.queue
                        .add(&Key::new(&pod.meta.key.namespace, &owner.name));
                }
            }
            Change::Pod(_)
            | Change::Node(_)
            | Change::Namespace(_)
            | Change::DaemonSet(_)
            | Change::Job(_)
            | Change::Budget(_) => {}
        }
    }

    fn work(&mut self, view: &View<'_>) -> Vec<Write> {
        let mut writes = Vec::new();
        for key in self.queue.take(view.now) {
            let Some(deployment) = view.cluster.deployments.get(&key) else {
                continue;
            };
            let sets: Vec<&Arc<ReplicaSet>> = view
                .cluster
                .replica_sets
                .owned_by(&deployment.meta.uid)
                .collect();
            let pods_of = |set: &ReplicaSet| view.cluster.pods.owned_by(&set.meta.uid).count();
            writes.extend(reconcile(deployment, &sets, &pods_of, view.time()));
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

/// A deployment and its replica sets, the one of the present template apart from the others.
struct Rollout<'a> {
    deployment: &'a Deployment,
    hash: String,
    new: Option<&'a ReplicaSet>,
    /// Oldest first.
    old: Vec<&'a ReplicaSet>,
}

fn reconcile(
    deployment: &Deployment,
    sets: &[&Arc<ReplicaSet>],
    pods_of: &dyn Fn(&ReplicaSet) -> usize,
    now: Timestamp,
) -> Vec<Write> {
    if deployment.meta.deleting.is_some() {
        return Vec::new();
    }
    let hash = template_hash(&deployment.spec.template);
    let (new, mut old): (Vec<&ReplicaSet>, Vec<&ReplicaSet>) = sets
        .iter()
        .map(|set| &***set)
        .partition(|set| set.meta.labels.get(TEMPLATE_HASH) == Some(&hash));
    old.sort_by(|left, right| {
        (left.meta.created, &left.meta.key).cmp(&(right.meta.created, &right.meta.key))
    });
    let rollout = Rollout {
        deployment,
        hash,
        new: new.first().copied(),
        old,
    };
    let mut writes: Vec<Write> = rollout.status(now).into_iter().collect();
    if deployment.spec.paused {
        return writes;
    }
    if is_recreate(&deployment.spec) {
        writes.extend(rollout.recreate(pods_of));
    } else {
        writes.extend(rollout.roll());
    }
    writes.extend(rollout.revision());
    writes.extend(rollout.forget_history());
    writes
}

fn is_recreate(spec: &DeploymentSpec) -> bool {
    spec.strategy.kind.as_deref() == Some("Recreate")
}

fn replicas(set: &ReplicaSet) -> i64 {
    set.spec.replicas.unwrap_or(1)
}

impl Rollout<'_> {
    fn wanted(&self) -> i64 {
        self.deployment.spec.replicas.unwrap_or(1)
    }

    fn surge_and_unavailable(&self) -> (i64, i64) {
        if is_recreate(&self.deployment.spec) {
            return (0, 0);
        }
        let quarter = IntOrPercent::Text("25%".to_owned());
        let rolling = &self.deployment.spec.strategy.rolling_update;
        let surge = rolling
            .max_surge
            .as_ref()
            .unwrap_or(&quarter)
            .of(self.wanted(), true);
        let unavailable = rolling
            .max_unavailable
            .as_ref()
            .unwrap_or(&quarter)
            .of(self.wanted(), false);
        // Both zero would never move.
        if surge == 0 && unavailable == 0 {
            (0, 1)
        } else {
            (surge, unavailable.min(self.wanted()))
        }
    }

    /// One step of a rolling update: the new set grows into the surge, the old ones shrink by what is available.
    fn roll(&self) -> Vec<Write> {
        let (surge, unavailable) = self.surge_and_unavailable();
        let old_total: i64 = self.old.iter().map(|set| replicas(set)).sum();
        let room = (self.wanted() + surge - old_total).max(0);
        let Some(new) = self.new else {
            return vec![self.create(room.min(self.wanted()))];
        };
        let mut writes = Vec::new();
        let has = replicas(new);
        let target = if has > self.wanted() {
            self.wanted()
        } else {
            room.min(self.wanted()).max(has)
        };
        writes.extend(self.scale(new, target));

        // Old pods may go as far as enough pods stay available; new pods that are not available yet count against it.
        let new_unavailable = (target.max(has) - new.status.available_replicas).max(0);
        let total = old_total + target.max(has);
        let mut may_go = total - (self.wanted() - unavailable) - new_unavailable;
        let mut left: Vec<(&ReplicaSet, i64)> =
            self.old.iter().map(|set| (*set, replicas(set))).collect();
        // 1. Pods that are not available anyway.
        for (set, count) in &mut left {
            let unhealthy = (*count - set.status.available_replicas).clamp(0, may_go.max(0));
            *count -= unhealthy;
            may_go -= unhealthy;
        }
        // 2. Available ones, as long as enough remain.
        let available: i64 = self
            .old
            .iter()
            .map(|set| set.status.available_replicas)
            .sum::<i64>()
            + new.status.available_replicas;
        let mut spare = (available - (self.wanted() - unavailable))
            .min(may_go)
            .max(0);
        for (_, count) in &mut left {
            let goes = (*count).min(spare);
            *count -= goes;
            spare -= goes;
        }
        writes.extend(
            left.into_iter()
                .filter_map(|(set, count)| self.scale(set, count)),
        );
        writes
    }

    /// Old pods go first, all of them; then the new set comes.
    fn recreate(&self, pods_of: &dyn Fn(&ReplicaSet) -> usize) -> Vec<Write> {
        let shrink: Vec<Write> = self
            .old
            .iter()
            .filter_map(|set| self.scale(set, 0))
            .collect();
        if !shrink.is_empty() || self.old.iter().any(|set| pods_of(set) > 0) {
            return shrink;
        }
        match self.new {
            None => vec![self.create(self.wanted())],
            Some(new) => self.scale(new, self.wanted()).into_iter().collect(),
        }
    }

    fn scale(&self, set: &ReplicaSet, to: i64) -> Option<Write> {
        (replicas(set) != to).then(|| {
            let body = json!({ "spec": { "replicas": to } });
            self.write(Action::Patch {
                kind: Kind::ReplicaSet,
                key: set.meta.key.clone(),
                body,
            })
        })
    }

    fn create(&self, count: i64) -> Write {
        let meta = &self.deployment.meta;
        let spec = &self.deployment.spec;
        let mut template = (*spec.template).clone();
        template["metadata"]["labels"][TEMPLATE_HASH] = self.hash.as_str().into();
        let mut match_labels = spec.selector.match_labels.clone();
        match_labels.insert(TEMPLATE_HASH.to_owned(), self.hash.clone());
        let expressions: Vec<Value> = spec
            .selector
            .match_expressions
            .iter()
            .map(|one| json!({"key": one.key, "operator": one.operator, "values": one.values}))
            .collect();
        let mut selector = json!({ "matchLabels": match_labels });
        if !expressions.is_empty() {
            selector["matchExpressions"] = expressions.into();
        }
        let body = json!({
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": format!("{}-{}", meta.key.name, self.hash),
                "namespace": meta.key.namespace,
                "labels": template["metadata"]["labels"],
                "annotations": { REVISION: self.next_revision().to_string() },
                "ownerReferences": [owner_reference(&OWNER, meta)],
            },
            "spec": {
                "replicas": count,
                "minReadySeconds": spec.min_ready_seconds,
                "selector": selector,
                "template": template,
            },
        });
        self.write(Action::Create {
            kind: Kind::ReplicaSet,
            namespace: meta.key.namespace.clone(),
            body,
        })
    }

    fn next_revision(&self) -> i64 {
        self.old
            .iter()
            .map(|set| revision(&set.meta.annotations))
            .max()
            .unwrap_or_default()
            + 1
    }

    /// The new set carries the highest revision, and the deployment the same.
    fn revision(&self) -> Vec<Write> {
        let Some(new) = self.new else {
            return Vec::new();
        };
        let known = revision(&new.meta.annotations);
        let target = known.max(self.next_revision());
        let mut writes = Vec::new();
        let body = json!({ "metadata": { "annotations": { REVISION: target.to_string() } } });
        if known != target {
            writes.push(self.write(Action::Patch {
                kind: Kind::ReplicaSet,
                key: new.meta.key.clone(),
                body: body.clone(),
            }));
        }
        if revision(&self.deployment.meta.annotations) != target {
            writes.push(self.write(Action::Patch {
                kind: Kind::Deployment,
                key: self.deployment.meta.key.clone(),
                body,
            }));
        }
        writes
    }

    /// Old sets without pods go once there are more of them than the history holds, the oldest first.
    fn forget_history(&self) -> Vec<Write> {
        let limit = self
            .deployment
            .spec
            .revision_history_limit
            .unwrap_or(HISTORY);
        let empty: Vec<&ReplicaSet> = self
            .old
            .iter()
            .copied()
            .filter(|set| {
                replicas(set) == 0 && set.status.replicas == 0 && set.meta.deleting.is_none()
            })
            .collect();
        let excess = empty
            .len()
            .saturating_sub(usize::try_from(limit).unwrap_or_default());
        empty[..excess]
            .iter()
            .map(|set| {
                self.write(Action::Delete {
                    kind: Kind::ReplicaSet,
                    key: set.meta.key.clone(),
                    uid: set.meta.uid.clone(),
                    grace_seconds: None,
                })
            })
            .collect()
    }

    fn status(&self, now: Timestamp) -> Option<Write> {
        let sets = || self.old.iter().copied().chain(self.new);
        let replicas: i64 = sets().map(|set| set.status.replicas).sum();
        let ready: i64 = sets().map(|set| set.status.ready_replicas).sum();
        let available: i64 = sets().map(|set| set.status.available_replicas).sum();
        let updated = self.new.map(|set| set.status.replicas).unwrap_or_default();
        let unavailable = (self.wanted().max(replicas) - available).max(0);
        let (_, may_lack) = self.surge_and_unavailable();

        let enough = available >= self.wanted() - may_lack;
        let done = updated == self.wanted() && replicas == updated && available == updated;
        let progress = if done {
            "NewReplicaSetAvailable"
        } else {
            "ReplicaSetUpdated"
        };
        let conditions = [
            self.judged(
                "Available",
                enough,
                if enough {
                    "MinimumReplicasAvailable"
                } else {
                    "MinimumReplicasUnavailable"
                },
                now,
            ),
            self.judged("Progressing", true, progress, now),
        ];
        let known = &self.deployment.status;
        let same = known.observed_generation == self.deployment.meta.generation
            && known.replicas == replicas
            && known.updated_replicas == updated
            && known.ready_replicas == ready
            && known.available_replicas == available
            && known.unavailable_replicas == unavailable
            && conditions.iter().all(|(_, same)| *same);
        if same {
            return None;
        }
        let [(first, _), (second, _)] = conditions;
        let body = json!({ "status": {
            "observedGeneration": self.deployment.meta.generation,
            "replicas": unless_zero(replicas),
            "updatedReplicas": unless_zero(updated),
            "readyReplicas": unless_zero(ready),
            "availableReplicas": unless_zero(available),
            "unavailableReplicas": unless_zero(unavailable),
            "conditions": [first, second],
        }});
        Some(self.write(Action::PatchStatus {
            kind: Kind::Deployment,
            key: self.deployment.meta.key.clone(),
            body,
        }))
    }

    /// A condition as it should be, and whether it already is.
    fn judged(&self, kind: &str, status: bool, reason: &str, now: Timestamp) -> (Value, bool) {
        let known: Option<&Condition> = self
            .deployment
            .status
            .conditions
            .iter()
            .find(|known| known.kind == kind);
        let held = known.is_some_and(|known| known.holds() == status);
        let same = held && known.is_some_and(|known| known.reason.as_deref() == Some(reason));
        let since = known
            .filter(|_| held)
            .and_then(|known| known.last_transition_time)
            .unwrap_or(now);
        (condition(kind, status, reason, "", since), same)
    }

    fn write(&self, action: Action) -> Write {
        Write::new(&self.deployment.meta.key, action)
    }
}

fn revision(annotations: &std::collections::BTreeMap<String, String>) -> i64 {
    annotations
        .get(REVISION)
        .and_then(|text| text.parse().ok())
        .unwrap_or_default()
}
