//! The lives of pods: waiting, bound, started; and where each one is.
//!
//! Durations are taken where a change arrives, once per pod, and only of pods that were seen waiting:
//! what ran before this process started is not measured. What lasts is read at a scrape. From a
//! scheduling round comes when a pod was first looked at, and when there was first a place for it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use karpenter_api::{
    labels::{ARCH, CAPACITY_TYPE, INSTANCE_TYPE, NODEPOOL, ZONE},
    objects::{Node, Pod},
};
use karpenter_plan::pod::Phase;
use prometheus::{HistogramVec, Registry};

use super::{
    family::{DURATIONS, histogram},
    lifecycle::label,
    page::{Labels, Page, line},
    seconds_since,
    summary::Summary,
};
use crate::mirror::{Key, Mirror, PodEntry};

const NONE: [&str; 0] = [];

/// Durations of pods, and what is remembered of those that wait.
pub(crate) struct Pods {
    startup: Summary,
    bound: HistogramVec,
    provisioning_bound: HistogramVec,
    provisioning_startup: HistogramVec,
    decision: HistogramVec,
    times: Mutex<BTreeMap<Key, Times>>,
}

/// What is remembered of a pod until it has started.
#[derive(Clone, Debug, Default)]
struct Times {
    uid: Arc<str>,
    created: Timestamp,
    /// When it was first seen waiting for a node that we may make.
    seen: Option<Timestamp>,
    /// A round has looked at it.
    decided: bool,
    /// When there was first a place for it, from a pool whose nodes register.
    schedulable: Option<Timestamp>,
    /// It has not started.
    unstarted: bool,
    /// It has not been bound.
    unbound: bool,
}

impl Pods {
    pub(super) fn new(registry: &Registry) -> Self {
        let measure = |name, help| histogram(registry, name, help, &[], &DURATIONS);
        Self {
            startup: Summary::new(
                "karpenter_pods_startup_duration_seconds",
                "Time from the creation of a pod until it is ready.",
                None,
            ),
            bound: measure(
                "karpenter_pods_bound_duration_seconds",
                "Time from the creation of a pod until it is bound.",
            ),
            provisioning_bound: measure(
                "karpenter_pods_provisioning_bound_duration_seconds",
                "Time from when we first had a place for a pod until it is bound.",
            ),
            provisioning_startup: measure(
                "karpenter_pods_provisioning_startup_duration_seconds",
                "Time from when we first had a place for a pod until it is ready.",
            ),
            decision: measure(
                "karpenter_pods_scheduling_decision_duration_seconds",
                "Time from when we first saw a pod until a round looked at it.",
            ),
            times: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Times>> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A pod changed.
    pub(super) fn changed(&self, key: &Key, new: Option<&PodEntry>, now: Timestamp, shown: bool) {
        let mut all = self.lock();
        let Some(pod) = new else {
            all.remove(key);
            return;
        };
        if all.get(key).is_some_and(|times| *times.uid != *pod.uid()) {
            all.remove(key);
        }
        let is_pending = pod.lowered.phase == Phase::Pending;
        if is_pending && !all.contains_key(key) {
            let times = Times {
                uid: Arc::clone(&pod.lowered.uid),
                created: pod.lowered.created,
                unstarted: true,
                unbound: true,
                ..Times::default()
            };
            all.insert(key.clone(), times);
        }
        let Some(times) = all.get_mut(key) else {
            return;
        };
        if pod.provisionable && times.seen.is_none() {
            times.seen = Some(now);
        }
        if let Some(at) = pod.scheduled.filter(|_| times.unbound) {
            times.unbound = false;
            if shown {
                observe(&self.bound, times.created, at);
                if let Some(since) = times.schedulable {
                    observe(&self.provisioning_bound, since, at);
                }
            }
        }
        if let Some(at) = pod.ready.filter(|_| !is_pending && times.unstarted) {
            times.unstarted = false;
            if shown {
                self.startup.observe("", seconds_since(times.created, at));
                if let Some(since) = times.schedulable {
                    observe(&self.provisioning_startup, since, at);
                }
            }
        }
        // What has ended without ever being ready is not waited for any longer.
        if pod.terminal || !(times.unstarted || times.unbound) {
            all.remove(key);
        }
    }

    /// A round has looked at a pod: there is a place for it, perhaps of a pool whose nodes are known
    /// to register, or there is none.
    pub(crate) fn decided(&self, key: &Key, place: Option<Healthy>, now: Timestamp) {
        let mut all = self.lock();
        let Some(times) = all.get_mut(key) else {
            return;
        };
        if !times.decided {
            times.decided = true;
            if let Some(seen) = times.seen {
                observe(&self.decision, seen, now);
            }
        }
        match place {
            None => times.schedulable = None,
            Some(Healthy(true)) => {
                times.schedulable.get_or_insert(now);
            }
            Some(Healthy(false)) => {}
        }
    }

    /// What lasts: the pods that wait, and since when.
    pub(super) fn write(&self, page: &mut Page, now: Timestamp) {
        self.startup.write(page);
        for (key, times) in &*self.lock() {
            let labels = Labels::new([("name", &*key.name), ("namespace", &*key.namespace)]);
            let mut gauge = |is_shown: bool, since: Option<Timestamp>, name, help| {
                if let Some(since) = since.filter(|_| is_shown) {
                    page.gauge(name, help, &labels, seconds_since(since, now));
                }
            };
            gauge(
                times.unstarted,
                Some(times.created),
                "karpenter_pods_unstarted_time_seconds",
                "Age of a pod that is not ready yet.",
            );
            gauge(
                times.unbound,
                Some(times.created),
                "karpenter_pods_unbound_time_seconds",
                "Age of a pod that is not bound yet.",
            );
            gauge(
                times.unstarted,
                times.schedulable,
                "karpenter_pods_provisioning_unstarted_time_seconds",
                "For how long we have had a place for a pod that is not ready yet.",
            );
            gauge(
                times.unbound,
                times.schedulable,
                "karpenter_pods_provisioning_unbound_time_seconds",
                "For how long we have had a place for a pod that is not bound yet.",
            );
            gauge(
                times.unbound && !times.decided,
                times.seen,
                "karpenter_pods_provisioning_scheduling_undecided_time_seconds",
                "For how long we have known a pod that no round has looked at.",
            );
        }
    }
}

/// Whether the place is of a pool whose nodes are known to register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Healthy(pub(crate) bool);

fn observe(family: &HistogramVec, since: Timestamp, at: Timestamp) {
    family
        .with_label_values(&NONE)
        .observe(seconds_since(since, at));
}

/// Where each pod is.
pub(super) fn write_state(page: &mut Page, mirror: &Mirror) {
    let pods = mirror.all::<Pod>();
    if pods.is_empty() {
        return;
    }
    let name = "karpenter_pods_state";
    let text = page.begin(name, "The pods there are, in labels; always 1.", "gauge");
    let nodes: BTreeMap<String, Arc<Node>> = mirror
        .all::<Node>()
        .into_iter()
        .map(|node| (node.metadata.name.clone().unwrap_or_default(), node))
        .collect();
    for pod in pods {
        let node = pod.node().unwrap_or_default();
        let known = nodes.get(node);
        let of_node = |key| known.map_or("", |node| label(&node.metadata, key));
        let flag = |yes: bool| if yes { "true" } else { "false" };
        let labels = Labels::new([
            ("arch", of_node(ARCH)),
            ("capacity_type", of_node(CAPACITY_TYPE)),
            ("instance_type", of_node(INSTANCE_TYPE)),
            ("managed", flag(!of_node(NODEPOOL).is_empty())),
            ("name", &*pod.key.name),
            ("namespace", &*pod.key.namespace),
            ("node", node),
            ("nodepool", of_node(NODEPOOL)),
            ("owner", pod.owner.as_deref().unwrap_or_default()),
            ("phase", phase(pod.lowered.phase)),
            ("ready", flag(pod.ready.is_some())),
            ("scheduled", flag(!node.is_empty())),
            ("zone", of_node(ZONE)),
        ]);
        line(text, name, &[labels.inner()], 1.0);
    }
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Pending => "Pending",
        Phase::Running => "Running",
        Phase::Succeeded => "Succeeded",
        Phase::Failed => "Failed",
        Phase::Unknown => "Unknown",
    }
}
