//! Whether one node takes one pod, as far as the two alone decide it, and how refusals read together.

use std::collections::BTreeMap;

use super::board::Seat;
use super::shape::Shape;
use crate::objects::{Taint, TaintEffect};

/// The answer for one node.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Fits,
    Refused(Vec<String>),
}

impl Verdict {
    pub(crate) fn refused(reason: impl Into<String>) -> Self {
        Self::Refused(vec![reason.into()])
    }
}

/// A cordoned node counts as carrying this taint, so that it can be tolerated.
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// What a node says that the pod's selector or required node affinity does not mean.
pub(crate) const WRONG_NODE: &str = "node(s) didn't match Pod's node affinity/selector";

/// The first rule of the node that the pod breaks, in kube-scheduler's order; all resources that lack are named.
pub(crate) fn node_verdict(shape: &Shape, seat: &Seat) -> Verdict {
    let spec = &shape.spec;
    if seat.node.unschedulable {
        let cordoned = Taint {
            key: UNSCHEDULABLE.to_owned(),
            value: String::new(),
            effect: "NoSchedule".to_owned(),
        };
        if !spec
            .tolerations
            .iter()
            .any(|toleration| toleration.tolerates(&cordoned))
        {
            return Verdict::refused("node(s) were unschedulable");
        }
    }
    if let Some(taint) = spec.untolerated(
        &seat.taints,
        &[TaintEffect::NoSchedule, TaintEffect::NoExecute],
    ) {
        return Verdict::refused(format!(
            "node(s) had untolerated taint {{{}: {}}}",
            taint.key, taint.value
        ));
    }
    if !spec.wants_node(seat.node.name(), seat.node.labels()) {
        return Verdict::refused(WRONG_NODE);
    }
    if shape
        .ports
        .iter()
        .any(|port| seat.ports.keys().any(|taken| taken.conflicts_with(port)))
    {
        return Verdict::refused("node(s) didn't have free ports for the requested pod ports");
    }
    let mut lacking = Vec::new();
    let room = seat.allocatable.get("pods").map_or(0, |pods| pods.0 / 1000);
    if seat.pods >= room {
        lacking.push("Too many pods".to_owned());
    }
    for (resource, asked) in &shape.requests {
        if asked.0 > 0 && seat.free(resource) < *asked {
            lacking.push(format!("Insufficient {resource}"));
        }
    }
    if lacking.is_empty() {
        Verdict::Fits
    } else {
        Verdict::Refused(lacking)
    }
}

/// Why no node takes a pod: reasons with the number of nodes that gave each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    nodes: usize,
    reasons: BTreeMap<String, usize>,
}

impl Refusal {
    pub(crate) fn over(nodes: usize) -> Self {
        Self {
            nodes,
            reasons: BTreeMap::new(),
        }
    }

    pub(crate) fn add(&mut self, reason: &str, nodes: usize) {
        if nodes > 0 {
            *self.reasons.entry(reason.to_owned()).or_default() += nodes;
        }
    }

    /// The sentence that goes into the pod's condition.
    pub(crate) fn message(&self) -> String {
        if self.nodes == 0 {
            return "no nodes available to schedule pods".to_owned();
        }
        let mut reasons: Vec<String> = self
            .reasons
            .iter()
            .map(|(reason, nodes)| format!("{nodes} {reason}"))
            .collect();
        reasons.sort();
        format!(
            "0/{} nodes are available: {}.",
            self.nodes,
            reasons.join(", ")
        )
    }
}
