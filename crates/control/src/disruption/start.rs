//! A command goes in flight, and everybody hears of it (section 18 of disruption.md).

use karpenter_api::labels::{CAPACITY_TYPE, INSTANCE_TYPE};
use karpenter_plan::{
    Snapshot,
    disrupt::{Command, Method, Replacement},
};
use serde_json::{Value, json};
use tracing::info;

use crate::{ctx::Ctx, decision::Decision, provision::shown, subject::identifier_of};

/// What a node may be bought as, in the order in which a launch tries it.
const TRIED: [&str; 3] = ["reserved", "spot", "on-demand"];

/// Counts and tells that a command goes in flight.
pub(super) fn begin(ctx: &Ctx, snapshot: &Snapshot, command: &Command) {
    log(snapshot, command);
    ctx.metrics.disruption.begun(command);
    for target in &command.nodes {
        let quiet = target
            .id(snapshot)
            .and_then(|id| snapshot.nodes[id].claim.as_ref()?.consolidatable.clone());
        let reason = match quiet {
            Some(quiet) if command.method == Method::Emptiness => {
                format!("{}, quiet since {}", command.method.reason(), quiet.since)
            }
            _ => command.method.reason().to_string(),
        };
        ctx.decisions.tell(Decision::Disrupted {
            node: target.node.to_string(),
            reason,
        });
    }
}

fn log(snapshot: &Snapshot, command: &Command) {
    // No node is in two commands at the same time.
    let id = identifier_of(
        command.nodes.first().map_or("", |target| &target.uid),
        command.started.unwrap_or(snapshot.now),
    );
    info!(
        command = command.text_named(&id),
        reason = %command.method.reason(),
        decision = command.decision.as_str(),
        disrupted_node_count = command.nodes.len(),
        replacement_node_count = command.replacements.len(),
        pod_count = command.pods,
        disrupted_nodes = disrupted(snapshot, command).to_string().as_bytes(),
        replacement_nodes = replacing(command).to_string().as_bytes(),
        "disrupting node(s)"
    );
}

fn disrupted(snapshot: &Snapshot, command: &Command) -> Value {
    let nodes = command.nodes.iter().map(|target| {
        let id = target.id(snapshot);
        let label = |key| id.and_then(|id| snapshot.nodes[id].labels.get(key));
        json!({
            "Node": { "name": &*target.node },
            "NodeClaim": { "name": &*target.claim },
            "instance-type": label(INSTANCE_TYPE).map_or("", |own| &**own),
            "capacity-type": label(CAPACITY_TYPE).map_or("", |own| &**own),
        })
    });
    nodes.collect()
}

fn replacing(command: &Command) -> Value {
    let is_alone = command.replacements.len() == 1;
    let replacements = command.replacements.iter().map(|replacement| {
        let mut one = json!({ "capacity-type": capacity_type(replacement) });
        if is_alone {
            one["instance-types"] = shown(&replacement.instance_types).into();
        }
        one
    });
    replacements.collect()
}

/// What the replacement may be bought as that a launch tries first.
fn capacity_type(replacement: &Replacement) -> &'static str {
    let requirements = &replacement.object.spec.requirements;
    let own = || requirements.iter().filter(|own| own.key == CAPACITY_TYPE);
    let admits = |kind: &str| {
        own().all(|requirement| {
            let values = requirement.values.as_deref().unwrap_or_default();
            let is_named = values.iter().any(|value| value == kind);
            match requirement.operator.as_str() {
                "In" => is_named,
                "NotIn" => !is_named,
                _ => true,
            }
        })
    };
    let first = TRIED.into_iter().find(|kind| admits(kind));
    first.unwrap_or("on-demand")
}

#[cfg(test)]
mod tests {
    use karpenter_plan::disrupt::Replacement;
    use serde_json::json;

    use super::*;

    /// A replacement whose way of being bought is limited so.
    fn replacement(requirements: &Value) -> Replacement {
        let object = json!({
            "apiVersion": "karpenter.sh/v1",
            "kind": "NodeClaim",
            "metadata": {},
            "spec": {
                "nodeClassRef": { "group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": "default" },
                "requirements": requirements,
            },
        });
        Replacement {
            object: serde_json::from_value(object).unwrap(),
            pool: "default".into(),
            instance_types: Vec::new(),
            cheapest: None,
            min_values_relaxed: false,
            created: None,
            is_initialized: false,
        }
    }

    #[test]
    fn the_capacity_type_that_is_tried_first_is_named() {
        let check = |operator: &str, values: &[&str], expected: &str| {
            let own = json!([{ "key": CAPACITY_TYPE, "operator": operator, "values": values }]);
            let found = capacity_type(&replacement(&own));
            assert_eq!(found, expected, "{operator} {values:?}");
        };
        check("In", &["on-demand", "spot"], "spot");
        check("In", &["on-demand"], "on-demand");
        check("NotIn", &["reserved"], "spot");
        check("Exists", &[], "reserved");
        assert_eq!(capacity_type(&replacement(&json!([]))), "reserved");
    }
}
