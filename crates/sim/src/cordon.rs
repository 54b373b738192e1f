//! The taint of cordoned nodes, as the node lifecycle controller of a full cluster keeps it: whoever reads taints
//! only, our autoscaler among them, learns from it that a node takes no pods.

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cluster::{Change, Kind};
use crate::controller::{Controller, Queue, RETRY, View};
use crate::objects::Node;
use crate::write::{Action, Write};

const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// The controller.
#[derive(Default)]
pub(crate) struct Cordons {
    queue: Queue,
}

impl Controller for Cordons {
    fn observe(&mut self, change: &Change, _: &View<'_>) {
        if let Change::Node(changed) = change
            && changed.new.as_ref().is_some_and(|node| differs(node))
        {
            self.queue.add(&changed.latest().meta.key);
        }
    }

    fn work(&mut self, view: &View<'_>) -> Vec<Write> {
        let keys = self.queue.take(view.now);
        keys.iter()
            .filter_map(|key| view.cluster.nodes.get(key))
            .filter(|node| differs(node))
            .map(|node| retaint(node))
            .collect()
    }

    fn failed(&mut self, write: &Write, view: &View<'_>) {
        self.queue.add_at(&write.on_behalf_of, view.now + RETRY);
    }

    fn wake(&self) -> Option<Instant> {
        self.queue.wake()
    }
}

/// Whether the taint says something else than the node's own field.
fn differs(node: &Node) -> bool {
    node.unschedulable != node.taints.iter().any(|taint| taint.key == UNSCHEDULABLE)
}

fn retaint(node: &Node) -> Write {
    let mut taints: Vec<Value> = node
        .taints
        .iter()
        .filter(|taint| taint.key != UNSCHEDULABLE)
        .map(|taint| json!({"key": taint.key, "value": taint.value, "effect": taint.effect}))
        .collect();
    if node.unschedulable {
        taints.push(json!({"key": UNSCHEDULABLE, "effect": "NoSchedule"}));
    }
    let key = &node.meta.key;
    let body = json!({
        // Others write taints too: only the list that was read may be replaced.
        "metadata": {"resourceVersion": node.meta.version.to_string()},
        "spec": {"taints": taints},
    });
    Write::new(
        key,
        Action::Patch {
            kind: Kind::Node,
            key: key.clone(),
            body,
        },
    )
}
