//! A pod lowered: what placing it, moving it and ending it need to know, in a few hundred bytes.
//!
//! Constraints live in a [`Shape`] that the pods of a workload share; amounts are separate, so that
//! 20,000 pods have about a hundred shapes. A pod that cannot be lowered faithfully is still a pod: what
//! is wrong with it is part of its shape and shows when somebody wants to place it.

use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};

use jiff::{SignedDuration, Timestamp};

use crate::{
    default_spread::ControllerKind,
    labels::Labels,
    requirement::Requirements,
    resources::Resources,
    taint::Toleration,
    topology::Topology,
    vocabulary::{KeyId, ShapeId, SubjectId},
};

/// `namespace/name`, which names a pod to people and to the mirror.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodKey {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

/// Where a pod is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Not all containers were started; also when nothing is said.
    Pending,
    /// Running.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// The node has not been heard of.
    Unknown,
}

/// Who owns a pod, as far as decisions depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// Nobody.
    None,
    /// A DaemonSet: the pod belongs to its node.
    DaemonSet,
    /// The node itself: a static pod's mirror.
    Node,
    /// A StatefulSet: its successor waits until the pod is gone.
    StatefulSet,
    /// Another controller, which replaces the pod at once.
    Other,
}

/// How long the owner of a pod forbids its disruption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DoNotDisrupt {
    /// Not at all.
    No,
    /// Not at all, since what is written cannot be heeded; this is wrong with it.
    Invalid(Box<str>),
    /// For good.
    Always,
    /// For so long after the pod was started.
    For(SignedDuration),
}

/// A host port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// The address; `0.0.0.0` when none is given.
    pub ip: Arc<str>,
    /// The port.
    pub port: u16,
    /// The protocol.
    pub protocol: Arc<str>,
}

impl HostPort {
    /// True when both cannot be open on one node.
    pub fn conflicts(&self, other: &Self) -> bool {
        let any = |ip: &str| ip == "0.0.0.0" || ip == "::";
        self.port == other.port
            && self.protocol == other.protocol
            && (self.ip == other.ip || any(&self.ip) || any(&other.ip))
    }
}

/// Why a pod takes no part in scheduling although it is pending.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ignored {
    /// The whole text, without the prefix `ignoring pod, `.
    pub message: Box<str>,
    /// False for pods that opted out, about which no event is written.
    pub event: bool,
}

/// The constraints that pods share.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Alternatives in order, each the node selector with one required node affinity term. Never empty.
    /// A node that satisfies one of them will do.
    pub alternatives: Vec<Requirements>,
    /// What is tried before the alternatives: each of them with the heaviest preferred node affinity
    /// term, then the last one with each lighter term. When there are any, only the last alternative is
    /// tried after them, because upstream gives up alternatives before preferences.
    pub preferred: Vec<Requirements>,
    /// Each alternative with the heaviest preference, then the last alternative with each lighter one, by
    /// index into `preferred`; nothing where they exclude each other.
    pub preference_steps: Vec<Option<u16>>,
    /// Rules between pods.
    pub topology: Topology,
    /// Tolerations.
    pub tolerations: Vec<Toleration>,
    /// Host ports.
    pub ports: Vec<HostPort>,
    /// Every alternative contradicts itself in this key, so no node will ever do.
    pub contradiction: Option<KeyId>,
    /// Devices are claimed (section 9.1 of scheduling.md).
    pub claims_devices: bool,
    /// Why the pod is not scheduled at all.
    pub ignored: Option<Ignored>,
}

impl Shape {
    /// States rules between pods.
    pub fn has_rules(&self) -> bool {
        self.topology != Topology::default()
    }

    /// Wishes more than it requires.
    pub fn has_preferences(&self) -> bool {
        let topology = &self.topology;
        !self.preference_steps.is_empty()
            || !topology.preferred_affinity.is_empty()
            || !topology.preferred_anti_affinity.is_empty()
            || topology.spreads.iter().any(|spread| !spread.is_hard)
    }

    /// True for a DaemonSet's pod that is not counted on: it excludes itself, or waits for a device where
    /// those are not looked at.
    pub fn never_comes(&self, devices_ignored: bool) -> bool {
        self.contradiction.is_some() || (self.claims_devices && devices_ignored)
    }
}

/// A pod.
#[derive(Clone, Debug)]
pub struct Pod {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
    /// The uid.
    pub uid: Arc<str>,
    /// Labels, which selectors need.
    pub labels: Labels,
    /// Equal ids mean equal namespace and labels.
    pub subject_id: SubjectId,
    /// When it was created.
    pub created: Timestamp,
    /// When its node took it in.
    pub started: Option<Timestamp>,
    /// When its deletion was asked for, plus its grace.
    pub deletion: Option<Timestamp>,
    /// Seconds between the request to end and the end.
    pub grace_seconds: i64,
    /// The node it is bound to.
    pub node: Option<Arc<str>>,
    /// Where it is in its life.
    pub phase: Phase,
    /// Who owns it.
    pub owner: Owner,
    /// The kube-scheduler found no place: condition `PodScheduled` with reason `Unschedulable`.
    pub unschedulable: bool,
    /// The kube-scheduler is making room for it on some node.
    pub nominated: bool,
    /// The Ready condition, if there is one.
    pub ready: Option<bool>,
    /// Protection from disruption.
    pub do_not_disrupt: DoNotDisrupt,
    /// It tolerates the disrupted taint, so that draining leaves it alone.
    pub tolerates_disrupted: bool,
    /// The annotation `controller.kubernetes.io/pod-deletion-cost`.
    pub deletion_cost: i32,
    /// The priority.
    pub priority: i32,
    /// Its priority class is one of the two of the system.
    pub critical: bool,
    /// Effective requests, with `pods: 1`.
    pub requests: Resources,
    /// Its controller, if that is of a kind whose selector may matter.
    pub controller: Option<(ControllerKind, Arc<str>)>,
    /// The CapacityBuffer that it keeps room for: nobody runs it.
    pub buffer: Option<Arc<str>>,
    /// Names of the PersistentVolumeClaims that are its volumes.
    pub volumes: Box<[Arc<str>]>,
    /// Names of the ResourceClaims that are there for it; those that are not made yet are left out.
    pub device_claims: Box<[Arc<str>]>,
    /// Equal ids mean equal constraints.
    pub shape_id: ShapeId,
    /// The constraints.
    pub shape: Arc<Shape>,
}

impl Pod {
    /// `namespace/name`.
    pub fn key(&self) -> PodKey {
        PodKey {
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }

    /// `namespace/name` for people.
    pub fn display_name(&self) -> String {
        alloc::format!("{}/{}", self.namespace, self.name)
    }

    /// Ended, whatever the result.
    pub fn is_terminal(&self) -> bool {
        matches!(self.phase, Phase::Succeeded | Phase::Failed)
    }

    /// Being deleted.
    pub fn is_terminating(&self) -> bool {
        self.deletion.is_some()
    }

    /// Neither ended nor being deleted.
    pub fn is_active(&self) -> bool {
        !self.is_terminal() && !self.is_terminating()
    }

    /// Waiting for capacity that we may provide. Phase and deletion are not looked at, as upstream
    /// does not.
    pub fn is_provisionable(&self) -> bool {
        self.unschedulable
            && self.node.is_none()
            && !self.nominated
            && !matches!(self.owner, Owner::DaemonSet | Owner::Node)
    }

    /// Would need another place if its node went.
    pub fn is_reschedulable(&self) -> bool {
        let returns =
            self.is_active() || (self.owner == Owner::StatefulSet && self.is_terminating());
        returns && !matches!(self.owner, Owner::DaemonSet | Owner::Node)
    }

    /// Its owner forbids disruption at this time, whatever its phase.
    pub fn is_protected(&self, now: Timestamp) -> bool {
        match self.do_not_disrupt {
            DoNotDisrupt::No | DoNotDisrupt::Invalid(_) => false,
            DoNotDisrupt::Always => true,
            DoNotDisrupt::For(span) => self
                .started
                .is_none_or(|started| now.duration_since(started) < span),
        }
    }

    /// When its owner's protection ends or has ended; nothing when it has no end or never was.
    pub fn protection_end(&self) -> Option<Timestamp> {
        match self.do_not_disrupt {
            DoNotDisrupt::For(span) => self.started?.checked_add(span).ok(),
            DoNotDisrupt::No | DoNotDisrupt::Invalid(_) | DoNotDisrupt::Always => None,
        }
    }

    /// Not active, or not protected.
    pub fn is_disruptable(&self, now: Timestamp) -> bool {
        !(self.is_active() && self.is_protected(now))
    }

    /// May be evicted as far as the pod itself is concerned; budgets come on top.
    pub fn is_evictable(&self, now: Timestamp) -> bool {
        self.is_active()
            && !self.tolerates_disrupted
            && self.owner != Owner::Node
            && !self.is_protected(now)
    }
}
