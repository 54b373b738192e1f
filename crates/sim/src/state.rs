//! What a cluster looks like at one instant, for tests and summaries: a fresh list of what matters.

use k8s_openapi::api::core::v1::Event;
use karpenter_api::{Condition, NodeClaim, NodePool};
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};

use crate::objects::{Node, NodeWire, Phase, Pod, PodWire};

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodState {
    /// Where it lives.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    pub phase: &'static str,
    /// The node it is bound to.
    pub node: Option<String>,
    /// Whether it is ready.
    pub ready: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// What the scheduler says of a pod without a node.
    pub unschedulable: Option<String>,
    /// Its labels.
    pub labels: std::collections::BTreeMap<String, String>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeState {
    /// Its name.
    pub name: String,
    /// Whether it is ready.
    pub ready: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Its taints as `key=value:effect`.
    pub taints: Vec<String>,
    /// Its labels.
    pub labels: std::collections::BTreeMap<String, String>,
}

/// Pods, nodes and claims, each in the order of their names.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// All pods.
    pub pods: Vec<PodState>,
    /// All nodes.
    pub nodes: Vec<NodeState>,
    /// All NodeClaims.
    pub claims: Vec<NodeClaim>,
}

impl State {
    /// Lists everything.
    pub async fn read(client: &Client) -> Result<Self, kube::Error> {
        let params = ListParams::default();
        let pods = Api::<PodWire>::all(client.clone()).list(&params).await?;
        let nodes = Api::<NodeWire>::all(client.clone()).list(&params).await?;
        let claims = Api::<NodeClaim>::all(client.clone()).list(&params).await?;
        Ok(Self {
            pods: pods
                .items
                .into_iter()
                .map(|pod| pod_state(&pod.into()))
                .collect(),
            nodes: nodes
                .items
                .into_iter()
                .map(|node| node_state(&node.into()))
                .collect(),
            claims: claims.items,
        })
    }

    /// How many pods are in a phase.
    pub fn pods_in(&self, phase: &str) -> usize {
        self.pods.iter().filter(|pod| pod.phase == phase).count()
    }

    /// How many pods run and are ready.
    pub fn running(&self) -> usize {
        self.pods
            .iter()
            .filter(|pod| pod.phase == Phase::Running.name() && pod.ready && !pod.deleting)
            .count()
    }

    /// How many pods have no node.
    pub fn unbound(&self) -> usize {
        self.pods.iter().filter(|pod| pod.node.is_none()).count()
    }

    /// [`State::describe`] with pools and events: what one wants to read when something did not happen.
    pub async fn report(client: &Client) -> Result<String, kube::Error> {
        let params = ListParams::default();
        let state = Self::read(client).await?;
        let pools = Api::<NodePool>::all(client.clone()).list(&params).await?;
        let events = Api::<Event>::all(client.clone()).list(&params).await?;
        let mut lines = vec![state.describe()];
        for pool in pools.items {
            let conditions = pool
                .status
                .as_ref()
                .and_then(|status| status.conditions.as_ref());
            lines.push(format!(
                "pool {} [{}]",
                pool.name_any(),
                conditions_text(conditions)
            ));
        }
        for event in events.items {
            lines.push(format!(
                "event {} {} {}: {}",
                event.involved_object.kind.unwrap_or_default(),
                event.involved_object.name.unwrap_or_default(),
                event.reason.unwrap_or_default(),
                event.message.unwrap_or_default()
            ));
        }
        Ok(lines.join("\n"))
    }

    /// A few lines for a failed test: who is where and why not.
    pub fn describe(&self) -> String {
        let mut lines = Vec::new();
        for claim in &self.claims {
            let status = claim.status.as_ref();
            let conditions = status.and_then(|status| status.conditions.as_ref());
            lines.push(format!(
                "claim {} [{}]",
                claim.name_any(),
                conditions_text(conditions)
            ));
        }
        for node in &self.nodes {
            lines.push(format!(
                "node {} ready={} deleting={} taints={:?}",
                node.name, node.ready, node.deleting, node.taints
            ));
        }
        for pod in &self.pods {
            lines.push(format!(
                "pod {}/{} {} on {} deleting={} {}",
                pod.namespace,
                pod.name,
                pod.phase,
                pod.node.as_deref().unwrap_or("-"),
                pod.deleting,
                pod.unschedulable.as_deref().unwrap_or_default()
            ));
        }
        lines.join("\n")
    }
}

fn conditions_text(conditions: Option<&Vec<Condition>>) -> String {
    let texts: Vec<String> = conditions
        .into_iter()
        .flatten()
        .map(|one| {
            format!(
                "{}={} {} {}",
                one.type_, one.status, one.reason, one.message
            )
        })
        .collect();
    texts.join("; ")
}

fn pod_state(pod: &Pod) -> PodState {
    PodState {
        namespace: pod.meta.key.namespace.clone(),
        name: pod.meta.key.name.clone(),
        phase: pod.phase.name(),
        node: pod.node.clone(),
        ready: pod.ready_since().is_some(),
        deleting: pod.meta.deleting.is_some(),
        unschedulable: pod
            .condition("PodScheduled")
            .filter(|known| known.status == "False")
            .and_then(|known| known.message.clone()),
        labels: pod.meta.labels.clone(),
    }
}

fn node_state(node: &Node) -> NodeState {
    NodeState {
        name: node.name().to_owned(),
        ready: node.ready(),
        deleting: node.meta.deleting.is_some(),
        taints: node
            .taints
            .iter()
            .map(|taint| format!("{}={}:{}", taint.key, taint.value, taint.effect))
            .collect(),
        labels: node.meta.labels.clone(),
    }
}
