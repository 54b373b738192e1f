//! The pod scheduler: binds pods to nodes by kube-scheduler's rules and says why a pod fits nowhere.
//!
//! It is the judge of our placements: a pod for which our controllers made a node has to be accepted by it, so it
//! shares nothing with the scheduler in `karpenter-plan`, neither code nor reading of the objects.
//!
//! - [`shape`]: a pod prepared; [`requests`]: what it asks for
//! - [`board`]: nodes and who sits where; `place` is the whole decision
//! - [`filter`], [`topology`]: the rules, each with the sentence it refuses with
//! - here: the queue. Pods are tried by priority, then age, then name, when they arrive and when something changed
//!   that may help. Pods of one shape that was refused are not tried again until then.

mod board;
mod filter;
mod requests;
mod shape;
#[cfg(test)]
mod tests;
mod topology;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tokio::time::Instant;

use self::board::Board;
use self::shape::Shape;
use crate::cluster::{Change, Changed, Kind};
use crate::controller::{Controller, RETRY, View};
use crate::objects::{Key, Node, Pod, PodSpec, condition, stamp};
use crate::timers::Timers;
use crate::write::{Action, Write};

/// The scheduler that pods ask for by default, and the only one we are.
const SCHEDULER: &str = "default-scheduler";

/// A message that only changed its figures is written again after this long at the earliest: hundreds of pods
/// wait while nodes come one by one, and each node changes the message of every pod.
const REFRESH: Duration = Duration::from_secs(10);

/// The place of a pod in the queue.
type Turn = (Reverse<i64>, Timestamp, Key);

/// A pod that wants a node.
#[derive(Debug)]
struct Waiting {
    shape: Arc<Shape>,
    turn: Turn,
    /// When its condition was last written.
    written: Option<Instant>,
}

/// What a shape was told that fits nowhere.
struct Refused {
    looks_at_pods: bool,
    message: Arc<str>,
}

/// The controller.
#[derive(Default)]
pub(crate) struct Binder {
    board: Board,
    shapes: Shapes,
    waiting: BTreeMap<Key, Waiting>,
    turns: BTreeSet<Turn>,
    /// Pods to try although nothing else changed.
    fresh: BTreeSet<Key>,
    /// Pods held by scheduling gates whose condition does not say so yet.
    gated: BTreeSet<Key>,
    /// Bindings that were asked for and not yet seen, with the pod's uid.
    assumed: BTreeMap<Key, String>,
    /// There may be more room than when pods were last refused.
    improved: bool,
    /// Pods moved: shapes that look at pods may be answered differently.
    moved: bool,
    /// What the shapes that were refused were told, for as long as that holds: thousands of pods may come one
    /// by one to nodes that are full.
    refused: BTreeMap<u64, Refused>,
    refresh: Timers<Key>,
}

impl Controller for Binder {
    fn observe(&mut self, change: &Change, _: &View<'_>) {
        match change {
            Change::Pod(changed) => self.observe_pod(changed),
            Change::Node(changed) => self.observe_node(changed),
            Change::Namespace(changed) => {
                let labels = changed.new.as_ref().map(|namespace| &namespace.meta.labels);
                self.board
                    .set_namespace(&changed.latest().meta.key.name, labels);
                self.moved = true;
            }
            Change::Deployment(_)
            | Change::ReplicaSet(_)
            | Change::DaemonSet(_)
            | Change::Job(_)
            | Change::Budget(_) => {}
        }
    }

    fn work(&mut self, view: &View<'_>) -> Vec<Write> {
        let mut writes = Vec::new();
        for key in std::mem::take(&mut self.gated) {
            if let Some(pod) = view.cluster.pods.get(&key) {
                writes.extend(gated_write(pod, view.time()));
            }
        }
        while let Some(key) = self.refresh.pop_due(view.now) {
            self.fresh.insert(key);
        }
        let improved = std::mem::take(&mut self.improved);
        let moved = std::mem::take(&mut self.moved);
        let fresh = std::mem::take(&mut self.fresh);
        if !improved && !moved && fresh.is_empty() {
            return writes;
        }
        if improved {
            self.refused.clear();
        } else if moved {
            self.refused.retain(|_, told| !told.looks_at_pods);
        }
        let turns: Vec<Key> = if improved || moved {
            self.turns.iter().map(|(_, _, key)| key.clone()).collect()
        } else {
            let mut turns: Vec<&Turn> = fresh
                .iter()
                .filter_map(|key| self.waiting.get(key))
                .map(|waiting| &waiting.turn)
                .collect();
            turns.sort();
            turns.into_iter().map(|(_, _, key)| key.clone()).collect()
        };
        for key in turns {
            let Some(waiting) = self.waiting.get(&key) else {
                continue;
            };
            if !improved && !fresh.contains(&key) && !waiting.shape.looks_at_pods() {
                continue;
            }
            let shape = Arc::clone(&waiting.shape);
            let message = match self.refused.get(&shape.id) {
                Some(told) => Arc::clone(&told.message),
                None => match self.board.place(&shape) {
                    Ok(node) => {
                        writes.extend(self.bind(&key, &shape, &node, view));
                        continue;
                    }
                    Err(refusal) => {
                        let message: Arc<str> = refusal.message().into();
                        let told = Refused {
                            looks_at_pods: shape.looks_at_pods(),
                            message: Arc::clone(&message),
                        };
                        self.refused.insert(shape.id, told);
                        message
                    }
                },
            };
            writes.extend(self.refuse(&key, &message, view));
        }
        writes
    }

    fn failed(&mut self, write: &Write, view: &View<'_>) {
        let key = &write.on_behalf_of;
        if let Action::Bind { .. } = write.action {
            self.assumed.remove(key);
            self.board.unseat(key);
        }
        if let Some(pod) = view.cluster.pods.get(key) {
            self.observe_pod(&Changed {
                old: None,
                new: Some(Arc::clone(pod)),
            });
            self.fresh.remove(key);
            self.refresh.set_no_later(key.clone(), view.now + RETRY);
        }
    }

    fn wake(&self) -> Option<Instant> {
        self.refresh.next()
    }
}

impl Binder {
    fn observe_pod(&mut self, changed: &Changed<Pod>) {
        let key = &changed.latest().meta.key;
        let Some(pod) = &changed.new else {
            self.forget(key);
            return;
        };
        if pod.terminal() {
            self.forget(key);
            return;
        }
        if let Some(node) = &pod.node {
            let unchanged = changed.old.as_ref().is_some_and(|old| {
                old.node == pod.node
                    && Arc::ptr_eq(&old.spec, &pod.spec)
                    && old.meta.labels == pod.meta.labels
                    && old.meta.deleting.is_some() == pod.meta.deleting.is_some()
            });
            if unchanged {
                return;
            }
            self.stop_waiting(key);
            self.assumed.remove(key);
            let shape = self.shapes.of(pod);
            self.moved |= self
                .board
                .seat(key, &shape, node, pod.meta.deleting.is_none());
            return;
        }
        if self.assumed.get(key) == Some(&pod.meta.uid) && pod.meta.deleting.is_none() {
            return;
        }
        if pod.meta.deleting.is_some()
            || pod.spec.scheduler_name.as_deref().unwrap_or(SCHEDULER) != SCHEDULER
        {
            self.forget(key);
            return;
        }
        if !pod.spec.scheduling_gates.is_empty() {
            self.forget(key);
            self.gated.insert(key.clone());
            return;
        }
        self.wait(pod);
    }

    fn wait(&mut self, pod: &Pod) {
        let key = &pod.meta.key;
        let shape = self.shapes.of(pod);
        let turn = (Reverse(pod.spec.priority), pod.meta.created, key.clone());
        let written = match self.waiting.get(key) {
            Some(known) if Arc::ptr_eq(&known.shape, &shape) && known.turn == turn => return,
            Some(known) => known.written,
            None => None,
        };
        self.stop_waiting(key);
        self.turns.insert(turn.clone());
        self.waiting.insert(
            key.clone(),
            Waiting {
                shape,
                turn,
                written,
            },
        );
        self.fresh.insert(key.clone());
    }

    fn stop_waiting(&mut self, key: &Key) {
        if let Some(waiting) = self.waiting.remove(key) {
            self.turns.remove(&waiting.turn);
        }
        self.refresh.cancel(key);
    }

    fn forget(&mut self, key: &Key) {
        self.stop_waiting(key);
        self.assumed.remove(key);
        self.improved |= self.board.unseat(key);
    }

    fn observe_node(&mut self, changed: &Changed<Node>) {
        let Some(node) = &changed.new else {
            self.board.remove_node(changed.latest().name());
            self.moved = true;
            return;
        };
        let same = changed.old.as_ref().is_some_and(|old| {
            old.meta.labels == node.meta.labels
                && old.unschedulable == node.unschedulable
                && old.taints == node.taints
                && old.allocatable == node.allocatable
                && old.ready() == node.ready()
        });
        if !same {
            self.board.set_node(Arc::clone(node));
            self.improved = true;
        }
    }

    fn bind(
        &mut self,
        key: &Key,
        shape: &Arc<Shape>,
        node: &str,
        view: &View<'_>,
    ) -> Option<Write> {
        let pod = view.cluster.pods.get(key)?;
        self.stop_waiting(key);
        self.board.seat(key, shape, node, true);
        self.assumed.insert(key.clone(), pod.meta.uid.clone());
        self.moved = true;
        let action = Action::Bind {
            pod: key.clone(),
            uid: pod.meta.uid.clone(),
            node: node.to_owned(),
        };
        Some(Write::new(key, action))
    }

    /// Writes that a pod fits nowhere, unless its condition says just that.
    fn refuse(&mut self, key: &Key, message: &str, view: &View<'_>) -> Option<Write> {
        let pod = view.cluster.pods.get(key)?;
        let waiting = self.waiting.get_mut(key)?;
        let known = pod.condition("PodScheduled").filter(|known| {
            known.status == "False" && known.reason.as_deref() == Some("Unschedulable")
        });
        if known.is_some_and(|known| known.message.as_deref() == Some(message)) {
            self.refresh.cancel(key);
            return None;
        }
        if known.is_some()
            && let Some(written) = waiting.written
            && view.now < written + REFRESH
        {
            self.refresh.set_no_later(key.clone(), written + REFRESH);
            return None;
        }
        waiting.written = Some(view.now);
        Some(scheduled_condition(
            pod,
            "Unschedulable",
            message,
            view.time(),
        ))
    }
}

fn gated_write(pod: &Pod, now: Timestamp) -> Option<Write> {
    const REASON: &str = "SchedulingGated";
    let known = pod
        .condition("PodScheduled")
        .and_then(|known| known.reason.as_deref());
    (known != Some(REASON)).then(|| {
        scheduled_condition(
            pod,
            REASON,
            "Scheduling is blocked due to non-empty scheduling gates",
            now,
        )
    })
}

/// The pod's condition `PodScheduled` set to false; other conditions stay as they are.
fn scheduled_condition(pod: &Pod, reason: &str, message: &str, now: Timestamp) -> Write {
    let since = pod
        .condition("PodScheduled")
        .filter(|known| !known.holds())
        .and_then(|known| known.last_transition_time)
        .unwrap_or(now);
    let mut conditions: Vec<serde_json::Value> = pod
        .conditions
        .iter()
        .filter(|other| other.kind != "PodScheduled")
        .map(|other| {
            json!({
                "type": other.kind,
                "status": other.status,
                "reason": other.reason,
                "message": other.message,
                "lastTransitionTime": other.last_transition_time.map(stamp),
            })
        })
        .collect();
    conditions.push(condition("PodScheduled", false, reason, message, since));
    let body = json!({ "status": { "conditions": conditions } });
    Write::new(
        &pod.meta.key,
        Action::PatchStatus {
            kind: Kind::Pod,
            key: pod.meta.key.clone(),
            body,
        },
    )
}

/// All that a shape is made from: namespace, labels and specification.
type Look = (String, BTreeMap<String, String>, Arc<PodSpec>);

/// Shapes in use, each prepared once.
#[derive(Default)]
struct Shapes {
    known: BTreeMap<Look, Arc<Shape>>,
    next_id: u64,
    /// How many shapes there may be before those without pods are dropped.
    limit: usize,
}

impl Shapes {
    fn of(&mut self, pod: &Pod) -> Arc<Shape> {
        let key = (
            pod.meta.key.namespace.clone(),
            pod.meta.labels.clone(),
            Arc::clone(&pod.spec),
        );
        if let Some(shape) = self.known.get(&key) {
            return Arc::clone(shape);
        }
        if self.known.len() >= self.limit {
            self.known.retain(|_, shape| Arc::strong_count(shape) > 1);
            self.limit = (self.known.len() * 2).max(256);
        }
        self.next_id += 1;
        let shape = Arc::new(Shape::of(pod, self.next_id));
        self.known.insert(key, Arc::clone(&shape));
        shape
    }
}
