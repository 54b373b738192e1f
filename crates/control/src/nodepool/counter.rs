//! What a pool has: the sum of its nodes' resources, and their number.
//!
//! Pure. A node is counted from its claim's launch on: until it reports its own capacity, the claim's
//! estimate stands in. What is on its way out no longer counts, so that limits make room for what
//! replaces it.

use std::collections::BTreeMap;

use karpenter_api::{Quantity, ResourceList, nodeclaim::NodeClaim, objects::Node};

/// The resources that are shown even when there are none.
const BASE: [&str; 4] = ["cpu", "ephemeral-storage", "memory", "pods"];

/// One machine of a pool, as far as it is known.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Machine<'a> {
    /// Its claim.
    pub(crate) claim: Option<&'a NodeClaim>,
    /// Its node.
    pub(crate) node: Option<&'a Node>,
    /// Whether it is being deleted, or has been chosen for deletion.
    pub(crate) leaving: bool,
    /// Whether its node is initialised.
    pub(crate) initialized: bool,
}

/// What a pool has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Totals {
    /// The sum by resource, with the number of nodes under `nodes`.
    pub(crate) resources: ResourceList,
    /// The number of nodes.
    pub(crate) nodes: i64,
}

/// Sums up the machines of one pool.
pub(crate) fn totals<'a>(machines: impl IntoIterator<Item = Machine<'a>>) -> Totals {
    let mut resources: ResourceList = BASE
        .iter()
        .map(|name| ((*name).to_owned(), Quantity::from(0)))
        .collect();
    let mut nodes = 0;
    for machine in machines {
        if machine.leaving {
            continue;
        }
        nodes += 1;
        for (name, amount) in capacity(&machine) {
            *resources.entry(name).or_insert_with(|| Quantity::from(0)) += amount;
        }
    }
    resources.insert("nodes".to_owned(), Quantity::from(nodes));
    Totals { resources, nodes }
}

/// The node's own figures once it is initialised; before that, whatever it does not report yet comes
/// from the claim.
fn capacity(machine: &Machine<'_>) -> ResourceList {
    let zero = Quantity::from(0);
    let reported = machine
        .node
        .and_then(|node| node.status.capacity.clone())
        .unwrap_or_default();
    if machine.initialized {
        return reported;
    }
    let estimated: BTreeMap<String, Quantity> = machine
        .claim
        .and_then(|claim| claim.status.as_ref())
        .and_then(|status| status.capacity.clone())
        .unwrap_or_default();
    let mut amounts = reported;
    for (name, amount) in estimated {
        let own = amounts.entry(name).or_insert(zero);
        if *own == zero {
            *own = amount;
        }
    }
    amounts
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn claim(capacity: &Value) -> NodeClaim {
        serde_json::from_value(json!({
            "apiVersion": "karpenter.sh/v1", "kind": "NodeClaim", "metadata": {"name": "a"},
            "spec": {
                "nodeClassRef": {"group": "g", "kind": "K", "name": "n"}, "requirements": [],
            },
            "status": {"capacity": capacity},
        }))
        .unwrap()
    }

    fn node(capacity: &Value) -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": "a"}, "status": {"capacity": capacity},
        }))
        .unwrap()
    }

    fn check(row: &str, machines: &[Machine<'_>], nodes: i64, resources: &Value) {
        let found = totals(machines.iter().copied());
        let mut expected: ResourceList = serde_json::from_value(json!({
            "cpu": "0", "memory": "0", "pods": "0", "ephemeral-storage": "0", "nodes": nodes,
        }))
        .unwrap();
        expected.extend(serde_json::from_value::<ResourceList>(resources.clone()).unwrap());
        assert_eq!(
            found,
            Totals {
                resources: expected,
                nodes
            },
            "{row}"
        );
    }

    #[test]
    fn sums() {
        let claim = claim(&json!({"cpu": "4", "memory": "16Gi"}));
        let bare = node(&json!({"cpu": "0"}));
        let full = node(&json!({"cpu": "3900m", "memory": "15Gi", "example.com/gpu": "1"}));
        let launched = Machine {
            claim: Some(&claim),
            ..Machine::default()
        };
        let joined = Machine {
            node: Some(&bare),
            ..launched
        };
        let settled = Machine {
            node: Some(&full),
            initialized: true,
            ..launched
        };
        let leaving = Machine {
            leaving: true,
            ..settled
        };
        check("lifecycle/P1", &[], 0, &json!({}));
        check(
            "lifecycle/P2",
            &[launched],
            1,
            &json!({"cpu": "4", "memory": "16Gi"}),
        );
        check(
            "lifecycle/P2",
            &[joined],
            1,
            &json!({"cpu": "4", "memory": "16Gi"}),
        );
        let own = json!({"cpu": "3900m", "memory": "15Gi", "example.com/gpu": "1"});
        check("lifecycle/P2", &[settled], 1, &own);
        check("lifecycle/P3", &[settled, leaving], 1, &own);
        check("lifecycle/P3", &[leaving, leaving], 0, &json!({}));
        let sum = json!({"cpu": "7900m", "memory": "31Gi", "example.com/gpu": "1"});
        check("both", &[settled, launched], 2, &sum);
    }
}
