//! Rules between pods and claims of devices: what they say against a pool, and which of the rules would have
//! to go.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::pod::{Pod, Shape};
use crate::schedule::{Options, Refusal, Report, TemplateRefusal, schedule};
use crate::snapshot::Snapshot;
use crate::topology::Topology;
use crate::vocabulary::{KeyId, PodId, PoolId, ShapeId};

use super::{Change, ConstraintVerdict, PoolExplanation};

/// What a pool had against the pod, if it is more than a constraint on one instance type.
pub(super) fn refusal(report: &Report, pod: PodId, pool: PoolId) -> Option<&TemplateRefusal> {
    let at = report
        .unplaced
        .binary_search_by_key(&pod, |(id, _)| *id)
        .ok()?;
    let Refusal::Templates(refusals) = &report.unplaced[at].1 else {
        return None;
    };
    let (_, refusal) = refusals.iter().find(|(id, _)| *id == pool)?;
    let is_ours = matches!(
        refusal,
        TemplateRefusal::Topology(_)
            | TemplateRefusal::MinValues
            | TemplateRefusal::Reserved
            | TemplateRefusal::Devices(_)
            | TemplateRefusal::DeviceRequirements(_)
            | TemplateRefusal::DeviceTypes
    );
    is_ours.then_some(refusal)
}

/// Says in a pool's explanation what the refusal is.
pub(super) fn add(
    explanation: &mut PoolExplanation,
    refusal: &TemplateRefusal,
    snapshot: &Snapshot,
    pod: PodId,
    pool: PoolId,
    options: &Options,
) {
    explanation.message = refusal.message(snapshot, &snapshot.pods[pod], pool, options);
    let (constraint, asked) = match refusal {
        TemplateRefusal::Topology(rule) => {
            let key = snapshot.vocabulary.key_name(rule.key);
            (format!("topology {key}"), rule.rule.name().into())
        }
        TemplateRefusal::Devices(_)
        | TemplateRefusal::DeviceRequirements(_)
        | TemplateRefusal::DeviceTypes => (String::from("devices"), claims_of(&snapshot.pods[pod])),
        TemplateRefusal::Taints
        | TemplateRefusal::Requirements
        | TemplateRefusal::Volumes
        | TemplateRefusal::InstanceTypes(_)
        | TemplateRefusal::MinValues
        | TemplateRefusal::NodeLimit
        | TemplateRefusal::Limits
        | TemplateRefusal::Reserved => return,
    };
    let of = explanation
        .constraints
        .iter()
        .map(|verdict| verdict.of)
        .max()
        .unwrap_or(0);
    explanation.constraints.push(ConstraintVerdict {
        constraint,
        asked,
        passing: 0,
        of,
        nearest: None,
    });
}

/// The claims of devices of a pod, by name.
fn claims_of(pod: &Pod) -> String {
    let named = |name: &Arc<str>| format!("resourceclaim {}/{name}", pod.namespace);
    let claims: Vec<String> = pod.device_claims.iter().map(named).collect();
    claims.join(", ")
}

/// Rules without any one of which the pod would have a place, each tried in a round of its own.
pub(super) fn changes(snapshot: &Snapshot, id: PodId, options: &Options) -> Vec<Change> {
    let topology = &snapshot.pods[id].shape.topology;
    let way = |kind: &str, key: KeyId, change: &dyn Fn(&mut Topology)| {
        let mut without = topology.clone();
        change(&mut without);
        let key = snapshot.vocabulary.key_name(key);
        (format!("drop the {kind} over {key}"), without)
    };
    let mut ways: Vec<(String, Topology)> = Vec::new();
    for (at, rule) in topology.spreads.iter().enumerate() {
        ways.push(way("topology spread", rule.key, &|without| {
            without.spreads.remove(at);
        }));
    }
    for (at, rule) in topology.affinity.iter().enumerate() {
        ways.push(way("pod affinity", rule.key, &|without| {
            without.affinity.remove(at);
        }));
    }
    for (at, rule) in topology.anti_affinity.iter().enumerate() {
        ways.push(way("pod anti-affinity", rule.key, &|without| {
            without.anti_affinity.remove(at);
        }));
    }
    let helps = |(change, topology)| {
        let changed = with_topology(snapshot, id, topology);
        let (plan, _) = schedule(&changed, options);
        let bound = plan.bindings.iter().find(|(pod, _)| *pod == id);
        let claim = plan.claims.iter().find(|claim| claim.pods.contains(&id));
        let result = match (bound, claim) {
            (Some((_, node)), _) => format!("it goes to node {}", changed.nodes[*node].name),
            (None, Some(claim)) => {
                format!(
                    "nodepool {} gets a node for it",
                    changed.pools[claim.pool].name
                )
            }
            (None, None) => return None,
        };
        Some(Change { change, result })
    };
    ways.into_iter().filter_map(helps).collect()
}

/// The same world, but for the rules of one pod.
fn with_topology(snapshot: &Snapshot, id: PodId, topology: Topology) -> Snapshot {
    let mut changed = snapshot.clone();
    let pod = &snapshot.pods[id];
    let shape = Shape {
        topology,
        ..(*pod.shape).clone()
    };
    let pod = Arc::new(crate::Pod {
        // No other shape of the snapshot has this id: lowering counts up, default spreads count down.
        shape_id: ShapeId(u32::MAX / 2),
        shape: Arc::new(shape),
        ..(**pod).clone()
    });
    changed.pods.replace(id, pod);
    changed
}
