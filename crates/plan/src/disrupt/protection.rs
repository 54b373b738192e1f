//! What the annotation `do-not-disrupt` of pods comes to, for events about the pods themselves (section 3.2
//! of disruption.md).

use alloc::{collections::BTreeSet, vec::Vec};

use jiff::Timestamp;

use super::report::DisruptReport;
use crate::{
    pod::{DoNotDisrupt, Pod},
    snapshot::Snapshot,
    vocabulary::{NodeId, PodId},
};

/// What there is to say about a pod's annotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection<'a> {
    /// It is not heeded; this is wrong with it.
    Invalid(&'a str),
    /// It holds until then.
    Until(Timestamp),
    /// It held for a while, and that is over.
    Elapsed,
}

/// What there is to say about the pods of nodes that are otherwise free to go: where something about the node
/// itself stands in the way, nobody looks at its pods.
pub fn protections<'a>(
    snapshot: &'a Snapshot,
    report: &DisruptReport,
) -> Vec<(PodId, Protection<'a>)> {
    let by_itself = report
        .blocked
        .iter()
        .filter(|(_, reason)| reason.pod().is_none());
    let closed: BTreeSet<NodeId> = by_itself.map(|(node, _)| *node).collect();
    let places = snapshot.places.iter();
    places
        .filter(|(node, _)| !closed.contains(node))
        .flat_map(|(_, place)| &place.pods)
        .filter_map(|&id| Some((id, protection(&snapshot.pods[id], snapshot.now)?)))
        .collect()
}

fn protection(pod: &Pod, now: Timestamp) -> Option<Protection<'_>> {
    if !pod.is_active() {
        return None;
    }
    if let DoNotDisrupt::Invalid(fault) = &pod.do_not_disrupt {
        return Some(Protection::Invalid(fault));
    }
    let end = pod.protection_end()?;
    Some(if now < end {
        Protection::Until(end)
    } else {
        Protection::Elapsed
    })
}
