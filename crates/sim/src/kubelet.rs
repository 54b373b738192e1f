//! What kubelets and the node controllers do, for nodes without machines: nodes become ready, pods bound to them
//! run, end and stop, and the pods of a node that is gone go too.
//!
//! Every pod has at most one next step, a function of the pod and its node; the controller makes an appointment for
//! it and asks again when the time has come. Nothing happens periodically.

mod body;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use karpenter_api::GoDuration;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cluster::{Change, Changed, Cluster, Kind};
use crate::controller::{Controller, RETRY, View};
use crate::objects::{Key, Node, Phase, Pod, TaintEffect};
use crate::timers::Timers;
use crate::write::{Action, Write};

/// How long a pod that may end runs before it does: a Go duration such as `30s`.
pub const RUNS_FOR: &str = "sim.karpenter.sh/runs-for";

/// The exit code that a pod which may end ends with; zero if absent.
pub const EXIT_CODE: &str = "sim.karpenter.sh/exit-code";

/// A node without Ready condition carries this taint on a full cluster; nodes made elsewhere may bring it.
const NOT_READY: &str = "node.kubernetes.io/not-ready";

/// Which nodes have no kubelet of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nodes {
    /// Every node.
    All,
    /// Those with the label or annotation `kwok.x-k8s.io/node: fake`.
    Fake,
}

/// How fast nodes and pods move.
#[derive(Clone, Copy, Debug)]
pub struct KubeletOptions {
    /// Which nodes are looked after.
    pub nodes: Nodes,
    /// From a node's creation to its being ready.
    pub node_ready_after: Duration,
    /// From a pod's binding to its running.
    pub pod_runs_after: Duration,
    /// From a pod's deletion to its end, if its grace is not shorter.
    pub pod_stops_after: Duration,
    /// How long a pod of a job runs that does not say so itself.
    pub job_pod_runs_for: Duration,
}

impl Default for KubeletOptions {
    fn default() -> Self {
        Self {
            nodes: Nodes::All,
            node_ready_after: Duration::from_millis(500),
            pod_runs_after: Duration::from_millis(500),
            pod_stops_after: Duration::from_millis(500),
            job_pod_runs_for: Duration::from_secs(10),
        }
    }
}

/// Something to look at later.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Appointment {
    Node(Key),
    Pod(Key),
}

/// The controller.
pub(crate) struct Kubelet {
    options: KubeletOptions,
    timers: Timers<Appointment>,
    /// Since when pods tolerate a taint that they tolerate only for a while.
    tolerating: BTreeMap<Key, Timestamp>,
    /// Addresses are handed out in order.
    addresses: body::Addresses,
}

/// What happens to a pod next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Run,
    End,
    /// Deleted like any pod, with its grace.
    Evict,
    /// Taken out of the API: it has stopped, or nobody is there to stop it.
    Remove,
}

impl Controller for Kubelet {
    fn observe(&mut self, change: &Change, view: &View<'_>) {
        match change {
            Change::Node(changed) => self.observe_node(changed, view),
            Change::Pod(changed) => {
                if let Some(pod) = &changed.new {
                    self.plan(pod, view);
                } else {
                    let key = &changed.latest().meta.key;
                    self.tolerating.remove(key);
                    self.timers.cancel(&Appointment::Pod(key.clone()));
                }
            }
            Change::Namespace(_)
            | Change::Deployment(_)
            | Change::ReplicaSet(_)
            | Change::DaemonSet(_)
            | Change::Job(_)
            | Change::Budget(_) => {}
        }
    }

    fn work(&mut self, view: &View<'_>) -> Vec<Write> {
        let mut writes = Vec::new();
        while let Some(appointment) = self.timers.pop_due(view.now) {
            match appointment {
                Appointment::Node(key) => {
                    if let Some(node) = view.cluster.nodes.get(&key) {
                        writes.extend(self.make_ready(node, view.time()));
                    }
                }
                Appointment::Pod(key) => {
                    if let Some(pod) = view.cluster.pods.get(&key) {
                        writes.extend(self.step(pod, view));
                    }
                }
            }
        }
        writes
    }

    fn failed(&mut self, write: &Write, view: &View<'_>) {
        let key = write.on_behalf_of.clone();
        let appointment = if key.namespace.is_empty() {
            Appointment::Node(key)
        } else {
            Appointment::Pod(key)
        };
        self.timers.set_no_later(appointment, view.now + RETRY);
    }

    fn wake(&self) -> Option<Instant> {
        self.timers.next()
    }
}

impl Kubelet {
    pub(crate) fn new(options: KubeletOptions) -> Self {
        Self {
            options,
            timers: Timers::default(),
            tolerating: BTreeMap::new(),
            addresses: body::Addresses::default(),
        }
    }

    fn observe_node(&mut self, changed: &Changed<Node>, view: &View<'_>) {
        let Some(node) = &changed.new else {
            let gone = changed.latest();
            self.timers
                .cancel(&Appointment::Node(gone.meta.key.clone()));
            for pod in view.cluster.pods_on(gone.name()) {
                self.plan(pod, view);
            }
            return;
        };
        let appointment = Appointment::Node(node.meta.key.clone());
        if self.looks_after(node)
            && (!node.ready() || has_boot_taint(node))
            && node.meta.deleting.is_none()
        {
            if !self.timers.has(&appointment) {
                let due = node
                    .meta
                    .created
                    .saturating_add(signed(self.options.node_ready_after));
                self.timers
                    .set(appointment, view.instant(due.unwrap_or(node.meta.created)));
            }
        } else {
            self.timers.cancel(&appointment);
        }
        let same = changed
            .old
            .as_ref()
            .is_some_and(|old| old.ready() == node.ready() && old.taints == node.taints);
        if !same {
            for pod in view.cluster.pods_on(node.name()) {
                self.plan(pod, view);
            }
        }
    }

    fn looks_after(&self, node: &Node) -> bool {
        const KEY: &str = "kwok.x-k8s.io/node";
        let fake =
            |map: &BTreeMap<String, String>| map.get(KEY).is_some_and(|value| value == "fake");
        self.options.nodes == Nodes::All || fake(&node.meta.annotations) || fake(&node.meta.labels)
    }

    /// Makes or cancels the appointment for a pod's next step.
    fn plan(&mut self, pod: &Pod, view: &View<'_>) {
        let appointment = Appointment::Pod(pod.meta.key.clone());
        let node = pod.node.as_ref().and_then(|node| view.cluster.node(node));
        if node.is_some_and(|node| matches!(stay(pod, node), Stay::For(_))) {
            self.tolerating
                .entry(pod.meta.key.clone())
                .or_insert(view.time());
        } else {
            self.tolerating.remove(&pod.meta.key);
        }
        match self.next_step(pod, view.cluster, view.time()) {
            Some((_, due)) => self.timers.set(appointment, view.instant(due)),
            None => self.timers.cancel(&appointment),
        }
    }

    /// What happens to a pod next, and when.
    fn next_step(&self, pod: &Pod, cluster: &Cluster, now: Timestamp) -> Option<(Step, Timestamp)> {
        let after =
            |time: Timestamp, delay: SignedDuration| time.saturating_add(delay).unwrap_or(time);
        let Some(node) = &pod.node else {
            return pod.meta.deleting.map(|_| (Step::Remove, now));
        };
        let Some(node) = cluster.node(node) else {
            return Some((Step::Remove, now));
        };
        if !self.looks_after(node) {
            return None;
        }
        if let Some(deadline) = pod.meta.deleting {
            // The deadline is the request's time plus the grace.
            let grace = SignedDuration::from_secs(pod.meta.grace_seconds);
            let asked = after(deadline, -grace);
            return Some((
                Step::Remove,
                after(asked, grace.min(signed(self.options.pod_stops_after))),
            ));
        }
        if pod.terminal() {
            return None;
        }
        match stay(pod, node) {
            Stay::Refused => return Some((Step::Evict, now)),
            // An eviction to come does not keep the pod from running meanwhile; a running one has nothing to do.
            Stay::For(seconds) if pod.phase == Phase::Running => {
                let since = self.tolerating.get(&pod.meta.key).copied().unwrap_or(now);
                return Some((
                    Step::Evict,
                    after(since, SignedDuration::from_secs(seconds.max(0))),
                ));
            }
            Stay::For(_) | Stay::Welcome => {}
        }
        match pod.phase {
            Phase::Pending if node.ready() => {
                let bound = pod
                    .condition("PodScheduled")
                    .and_then(|known| known.last_transition_time);
                Some((
                    Step::Run,
                    after(
                        bound.unwrap_or(now).min(now),
                        signed(self.options.pod_runs_after),
                    ),
                ))
            }
            Phase::Running => {
                let length = self.runs_for(pod)?;
                Some((Step::End, after(pod.started.unwrap_or(now), signed(length))))
            }
            Phase::Pending | Phase::Succeeded | Phase::Failed | Phase::Unknown => None,
        }
    }

    /// How long a pod runs, if it is of those that end.
    fn runs_for(&self, pod: &Pod) -> Option<Duration> {
        if pod.spec.restart_policy.as_deref().unwrap_or("Always") == "Always" {
            return None;
        }
        let said = pod
            .meta
            .annotations
            .get(RUNS_FOR)
            .and_then(|text| text.parse::<GoDuration>().ok())
            .map(GoDuration::to_std);
        let of_job = pod
            .meta
            .owner
            .as_ref()
            .is_some_and(|owner| owner.kind == "Job");
        said.or(of_job.then_some(self.options.job_pod_runs_for))
    }

    fn step(&mut self, pod: &Pod, view: &View<'_>) -> Option<Write> {
        let (step, due) = self.next_step(pod, view.cluster, view.time())?;
        if due > view.time() {
            self.plan(pod, view);
            return None;
        }
        let key = &pod.meta.key;
        let delete = |grace_seconds| Action::Delete {
            kind: Kind::Pod,
            key: key.clone(),
            uid: pod.meta.uid.clone(),
            grace_seconds,
        };
        let patch = |body| Action::PatchStatus {
            kind: Kind::Pod,
            key: key.clone(),
            body,
        };
        let action = match step {
            Step::Run => patch(body::running(pod, &mut self.addresses, view.time())),
            Step::End => patch(body::ended(pod, exit_code(pod), view.time())),
            Step::Evict => delete(None),
            Step::Remove => delete(Some(0)),
        };
        Some(Write::new(key, action))
    }

    fn make_ready(&mut self, node: &Node, now: Timestamp) -> Vec<Write> {
        let key = &node.meta.key;
        let mut writes = Vec::new();
        if has_boot_taint(node) {
            let taints: Vec<Value> = node
                .taints
                .iter()
                .filter(|taint| taint.key != NOT_READY)
                .map(
                    |taint| json!({"key": taint.key, "value": taint.value, "effect": taint.effect}),
                )
                .collect();
            // Others write taints too: only the list that was read may be replaced.
            let body = json!({
                "metadata": { "resourceVersion": node.meta.version.to_string() },
                "spec": { "taints": taints },
            });
            writes.push(Write::new(
                key,
                Action::Patch {
                    kind: Kind::Node,
                    key: key.clone(),
                    body,
                },
            ));
        }
        if !node.ready() {
            let body = body::ready_node(node, &mut self.addresses, now);
            writes.push(Write::new(
                key,
                Action::PatchStatus {
                    kind: Kind::Node,
                    key: key.clone(),
                    body,
                },
            ));
        }
        writes
    }
}

fn has_boot_taint(node: &Node) -> bool {
    node.taints.iter().any(|taint| taint.key == NOT_READY)
}

/// Whether a pod may stay on its node as far as `NoExecute` taints go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stay {
    Welcome,
    /// For some seconds from when the taint came.
    For(i64),
    Refused,
}

fn stay(pod: &Pod, node: &Node) -> Stay {
    if pod
        .spec
        .untolerated(&node.taints, &[TaintEffect::NoExecute])
        .is_some()
    {
        return Stay::Refused;
    }
    let limits = node
        .taints
        .iter()
        .filter(|taint| taint.effect() == Some(TaintEffect::NoExecute))
        .filter_map(|taint| {
            let mut seconds = pod
                .spec
                .tolerations
                .iter()
                .filter(|toleration| toleration.tolerates(taint))
                .map(|toleration| toleration.seconds);
            // The shortest stated time counts; a taint that is tolerated without a time only says nothing.
            seconds.by_ref().flatten().min()
        });
    limits.min().map_or(Stay::Welcome, Stay::For)
}

fn exit_code(pod: &Pod) -> i64 {
    pod.meta
        .annotations
        .get(EXIT_CODE)
        .and_then(|text| text.parse().ok())
        .unwrap_or_default()
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}
