//! Which pods stand between a node and its end, and which of them are asked to leave next.
//!
//! Pure. A pod is lowered once into a [`DrainPod`], which holds the few facts that draining turns on;
//! [`pass`] then says what one look at a node's pods comes to. How pods are evicted, and when the
//! node is looked at again, is not known here.
//!
//! Draining goes by tiers, so that what other pods depend on (daemons, critical pods) leaves last: a
//! tier is begun when the pods of the one before it have really disappeared.

use jiff::{SignedDuration, Timestamp};
use karpenter_api::{
    duration::GoDuration,
    labels::{annotations, taints},
    objects::{Pod, pod::Toleration},
};
use karpenter_plan::pod::{DoNotDisrupt, Owner};

use crate::{mirror::PodEntry, subject::Subject};

/// How far a pod's deletion timestamp must lie in the past before the pod counts as stuck. The
/// timestamp includes the pod's own grace, so a pod that is merely slow is never stuck.
const STUCK_AFTER: SignedDuration = SignedDuration::from_mins(1);

/// The priority classes that make a pod critical; upstream compares names, not numbers.
const CRITICAL_CLASSES: [&str; 2] = ["system-cluster-critical", "system-node-critical"];

/// Marks a pod that a kubelet made from a file: the API cannot end it.
const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";

/// What identifies one pod for good: another pod of the same name has another uid.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PodKey {
    /// The pod's namespace.
    pub(crate) namespace: String,
    /// The pod's name.
    pub(crate) name: String,
    /// The pod's uid.
    pub(crate) uid: String,
}

impl Subject for PodKey {
    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn name(&self) -> &str {
        &self.name
    }
}

/// The order in which pods leave, first to last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tier {
    /// Neither critical nor of a DaemonSet.
    Plain,
    /// Of a DaemonSet, not critical.
    Daemon,
    /// Critical, not of a DaemonSet.
    Critical,
    /// Critical and of a DaemonSet.
    CriticalDaemon,
}

impl Tier {
    fn of(critical: bool, daemon: bool) -> Self {
        match (critical, daemon) {
            (false, false) => Self::Plain,
            (false, true) => Self::Daemon,
            (true, false) => Self::Critical,
            (true, true) => Self::CriticalDaemon,
        }
    }
}

/// How long a pod may not be evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protection {
    /// It may be evicted.
    None,
    /// Until this instant.
    Until(Timestamp),
    /// For as long as it is there.
    Lasting,
}

/// What draining knows of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DrainPod {
    /// Which pod it is.
    pub(crate) key: PodKey,
    /// When it is its turn.
    pub(crate) tier: Tier,
    /// Whether it bears with the taint that a node gets before it goes.
    pub(crate) tolerates_disruption: bool,
    /// Whether a kubelet made it from a file.
    pub(crate) mirror: bool,
    /// Whether it has run to its end.
    pub(crate) terminal: bool,
    /// When it will have stopped, if it is being deleted.
    pub(crate) deletion: Option<Timestamp>,
    /// Whether it asked not to be disrupted.
    pub(crate) protection: Protection,
}

impl DrainPod {
    /// Reads what is kept of a pod.
    pub(crate) fn of_entry(entry: &PodEntry) -> Self {
        let pod = &entry.lowered;
        Self {
            key: PodKey {
                namespace: entry.key.namespace.to_string(),
                name: entry.key.name.to_string(),
                uid: entry.uid().to_owned(),
            },
            tier: Tier::of(pod.critical, entry.daemon),
            tolerates_disruption: pod.tolerates_disrupted,
            mirror: pod.owner == Owner::Node,
            terminal: entry.terminal,
            deletion: pod.deletion,
            protection: match pod.do_not_disrupt {
                DoNotDisrupt::No | DoNotDisrupt::Invalid(_) => Protection::None,
                DoNotDisrupt::Always | DoNotDisrupt::For(_) => pod
                    .protection_end()
                    .map_or(Protection::Lasting, Protection::Until),
            },
        }
    }

    /// Reads a pod as the API server gives it.
    pub(crate) fn lower(pod: &Pod) -> Self {
        let metadata = &pod.metadata;
        let daemon = owned_by(pod, "DaemonSet");
        let critical = pod
            .spec
            .priority_class_name
            .as_deref()
            .is_some_and(|class| CRITICAL_CLASSES.contains(&class));
        Self {
            key: PodKey {
                namespace: metadata.namespace.clone().unwrap_or_default(),
                name: metadata.name.clone().unwrap_or_default(),
                uid: metadata.uid.clone().unwrap_or_default(),
            },
            tier: Tier::of(critical, daemon),
            tolerates_disruption: pod.spec.tolerations.iter().any(tolerates_disruption),
            mirror: annotation(pod, MIRROR_ANNOTATION).is_some() || owned_by(pod, "Node"),
            terminal: is_terminal(pod),
            deletion: metadata.deletion_timestamp.as_ref().map(|time| time.0),
            protection: protection(pod),
        }
    }

    /// Whether the node must wait for this pod to disappear.
    pub(crate) fn awaited(&self, now: Timestamp) -> bool {
        let stuck = self.stuck_from().is_some_and(|from| now > from);
        !self.tolerates_disruption && !stuck && !self.mirror && !self.terminal
    }

    /// The instant after which the pod is no longer waited for, if it is being deleted.
    pub(crate) fn stuck_from(&self) -> Option<Timestamp> {
        self.deletion?.checked_add(STUCK_AFTER).ok()
    }

    /// Whether the pod is running and meant to go on.
    pub(crate) fn active(&self) -> bool {
        !self.terminal && self.deletion.is_none()
    }

    /// Whether the pod may be asked to leave.
    pub(crate) fn evictable(&self, now: Timestamp) -> bool {
        self.active()
            && !self.tolerates_disruption
            && !self.mirror
            && match self.protection {
                Protection::None => true,
                Protection::Until(end) => now >= end,
                Protection::Lasting => false,
            }
    }
}

/// What one look at a node's pods comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pass {
    /// How many pods must disappear before the node may.
    pub(crate) waiting: usize,
    /// The pods whose turn it is, in the order of their keys. Those already on their way out, or
    /// protected, are among them: whoever evicts decides about each at the time.
    pub(crate) turn: Vec<PodKey>,
}

/// Looks at the pods of a node that is to go.
pub(crate) fn pass<'a>(pods: impl IntoIterator<Item = &'a DrainPod>, now: Timestamp) -> Pass {
    let waiting: Vec<&DrainPod> = pods.into_iter().filter(|pod| pod.awaited(now)).collect();
    let first = waiting.iter().map(|pod| pod.tier).min();
    let mut turn: Vec<PodKey> = waiting
        .iter()
        .filter(|pod| Some(pod.tier) == first)
        .map(|pod| pod.key.clone())
        .collect();
    turn.sort();
    Pass {
        waiting: waiting.len(),
        turn,
    }
}

/// True when the pod's owner is of this kind.
fn owned_by(pod: &Pod, kind: &str) -> bool {
    pod.metadata
        .owner_references
        .iter()
        .flatten()
        .any(|owner| owner.kind == kind)
}

/// True when the pod has run to its end.
fn is_terminal(pod: &Pod) -> bool {
    matches!(pod.status.phase.as_deref(), Some("Succeeded" | "Failed"))
}

fn annotation<'a>(pod: &'a Pod, key: &str) -> Option<&'a str> {
    pod.metadata
        .annotations
        .as_ref()?
        .get(key)
        .map(String::as_str)
}

/// Whether a toleration covers the disrupted taint, which has no value. Kubernetes' rules: no effect
/// is every effect, no key with `Exists` is every key, no operator is `Equal`.
fn tolerates_disruption(toleration: &Toleration) -> bool {
    let key = toleration.key.as_deref().unwrap_or_default();
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let exists = toleration.operator.as_deref() == Some("Exists");
    let equal = matches!(toleration.operator.as_deref(), None | Some("" | "Equal"));
    let value = toleration.value.as_deref().unwrap_or_default();
    (effect.is_empty() || effect == "NoSchedule")
        && (key == taints::DISRUPTED || (key.is_empty() && exists))
        && (exists || (equal && value.is_empty()))
}

/// What the pod's annotation asks for. A span counts from the pod's start; a pod that has not started
/// is protected. Anything that is neither `true` nor a positive span is ignored.
fn protection(pod: &Pod) -> Protection {
    match annotation(pod, annotations::DO_NOT_DISRUPT) {
        None => Protection::None,
        Some("true") => Protection::Lasting,
        Some(text) => match text.parse::<GoDuration>() {
            Ok(span) if span > GoDuration::ZERO => match &pod.status.start_time {
                None => Protection::Lasting,
                Some(start) => start
                    .0
                    .checked_add(SignedDuration::from_nanos(span.nanos()))
                    .map_or(Protection::Lasting, Protection::Until),
            },
            _ => Protection::None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const NOW: &str = "2026-01-01T12:00:00Z";

    fn now() -> Timestamp {
        NOW.parse().unwrap()
    }

    /// A running pod of a ReplicaSet, with `extra` merged over it.
    fn pod(name: &str, extra: &Value) -> DrainPod {
        let mut manifest = json!({
            "metadata": {
                "namespace": "default", "name": name, "uid": format!("uid-{name}"),
                "ownerReferences": [
                    {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "1"},
                ],
            },
            "spec": {"nodeName": "node"},
            "status": {"phase": "Running"},
        });
        merge(&mut manifest, extra);
        DrainPod::lower(&serde_json::from_value(manifest).unwrap())
    }

    fn merge(into: &mut Value, from: &Value) {
        match (into, from) {
            (Value::Object(into), Value::Object(from)) => {
                for (key, value) in from {
                    merge(into.entry(key.clone()).or_insert(Value::Null), value);
                }
            }
            (into, from) => *into = from.clone(),
        }
    }

    fn tolerating(toleration: &Value) -> Value {
        json!({"spec": {"tolerations": [toleration]}})
    }

    fn annotated(value: &str) -> Value {
        json!({
            "metadata": {"annotations": {"karpenter.sh/do-not-disrupt": value}},
            "status": {"startTime": "2026-01-01T11:59:00Z"},
        })
    }

    /// Whether the node waits for the pod, and whether the pod may be evicted.
    fn check(row: &str, extra: &Value, awaited: bool, evictable: bool) {
        let pod = pod("web", extra);
        assert_eq!(
            (pod.awaited(now()), pod.evictable(now())),
            (awaited, evictable),
            "{row}"
        );
    }

    #[test]
    fn who_is_awaited_and_who_may_be_evicted() {
        check("plain", &json!({}), true, true);
        check(
            "lifecycle/N7",
            &tolerating(&json!({
                "key": "karpenter.sh/disrupted", "operator": "Equal", "effect": "NoSchedule",
            })),
            false,
            false,
        );
        check(
            "lifecycle/N7",
            &tolerating(&json!({"key": "karpenter.sh/disrupted", "operator": "Exists"})),
            false,
            false,
        );
        check(
            "lifecycle/N7",
            &tolerating(&json!({"operator": "Exists"})),
            false,
            false,
        );
        check(
            "lifecycle/N8",
            &tolerating(&json!({
                "key": "node.kubernetes.io/unschedulable", "operator": "Exists",
                "effect": "NoSchedule",
            })),
            true,
            true,
        );
        check(
            "another effect does not cover the taint",
            &tolerating(&json!({"operator": "Exists", "effect": "NoExecute"})),
            true,
            true,
        );
        check(
            "another value does not cover the taint",
            &tolerating(&json!({"key": "karpenter.sh/disrupted", "value": "x"})),
            true,
            true,
        );
        check(
            "lifecycle/N9",
            &json!({"metadata": {"ownerReferences": []}}),
            true,
            true,
        );
        check(
            "lifecycle/N10",
            &json!({"status": {"phase": "Succeeded"}}),
            false,
            false,
        );
        check(
            "lifecycle/N10",
            &json!({"status": {"phase": "Failed"}}),
            false,
            false,
        );
        check(
            "lifecycle/N13",
            &json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}}),
            false,
            false,
        );
        check(
            "lifecycle/N14",
            &json!({"metadata": {"deletionTimestamp": "2026-01-01T12:00:20Z"}}),
            true,
            false,
        );
        check(
            "lifecycle/N17",
            &json!({"metadata": {"deletionTimestamp": "2026-01-01T11:58:30Z"}}),
            false,
            false,
        );
        check(
            "a pod that overstays by less than a minute is not stuck",
            &json!({"metadata": {"deletionTimestamp": "2026-01-01T11:59:00Z"}}),
            true,
            false,
        );
        check("do-not-disrupt", &annotated("true"), true, false);
        check(
            "do-not-disrupt for 2 min, 1 min old",
            &annotated("2m"),
            true,
            false,
        );
        check(
            "do-not-disrupt for 1 min, 1 min old",
            &annotated("1m"),
            true,
            true,
        );
        check("not a span", &annotated("false"), true, true);
        check("a negative span", &annotated("-5m"), true, true);
    }

    fn tiered(name: &str, class: Option<&str>, owner: &str) -> DrainPod {
        pod(
            name,
            &json!({
                "metadata": {"ownerReferences": [
                    {"apiVersion": "apps/v1", "kind": owner, "name": "x", "uid": "1"},
                ]},
                "spec": {"priorityClassName": class},
            }),
        )
    }

    #[test]
    fn tiers_leave_one_after_the_other() {
        let all = [
            tiered("d", Some("system-node-critical"), "DaemonSet"),
            tiered("c", Some("system-cluster-critical"), "ReplicaSet"),
            tiered("b", None, "DaemonSet"),
            tiered("a2", Some("high"), "ReplicaSet"),
            tiered("a1", None, "ReplicaSet"),
        ];
        // lifecycle/N12: each line is what is left, and whose turn it is then.
        for (row, left, turn) in [
            ("lifecycle/N12", 5, "a1 a2"),
            ("lifecycle/N12", 3, "b"),
            ("lifecycle/N12", 2, "c"),
            ("lifecycle/N12", 1, "d"),
            ("nothing left", 0, ""),
        ] {
            let found = pass(&all[..left], now());
            let names: Vec<&str> = found.turn.iter().map(|key| key.name.as_str()).collect();
            assert_eq!(
                (found.waiting, names.join(" ").as_str()),
                (left, turn),
                "{row}"
            );
        }
        let terminating = pod("t", &json!({"metadata": {"deletionTimestamp": NOW}}));
        let found = pass([&terminating, &all[2]], now());
        assert_eq!(
            found.turn,
            std::slice::from_ref(&terminating.key),
            "a tier lasts until its pods are gone"
        );
    }
}
