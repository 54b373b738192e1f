//! A small cluster in objects that a user could apply, lowered and frozen on demand.
//!
//! Every builder starts with the dullest valid object, so that a test mentions only what it is about.

use std::sync::Arc;

use jiff::Timestamp;
use karpenter_api::{NodeClaim, NodePool, objects};
pub(crate) use karpenter_plan::InstanceType;
use karpenter_plan::{
    Catalog, CatalogFeed, Lowering, NodeInput, Parts, PoolPart, Snapshot, WellKnown,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use self::{pool::Offer, types::RESERVATION};

mod node;
mod pod;
mod pool;
mod types;

pub(crate) use self::{
    node::{TestNode, node},
    pod::{TestBudget, TestPod, budget, pod},
    pool::{TestPool, pool},
    types::{instance_type, offered},
};

/// Noon on a Wednesday.
pub(crate) const NOW: &str = "2024-05-01T12:00:00Z";
/// Long enough ago.
const LONG_AGO: &str = "2024-05-01T00:00:00Z";

/// Everything in the cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Objects {
    pub(crate) pools: Vec<TestPool>,
    pub(crate) nodes: Vec<TestNode>,
    pub(crate) pods: Vec<TestPod>,
    pub(crate) daemons: Vec<Value>,
    pub(crate) budgets: Vec<Value>,
    pub(crate) types: Vec<InstanceType>,
}

impl Objects {
    /// Pools and two instance types, `small` at 0.1 and `large` at 0.4 dollars an hour.
    pub(crate) fn new(pools: Vec<TestPool>) -> Self {
        let types = vec![
            instance_type("small", 4, 16, 0.1),
            instance_type("large", 16, 64, 0.4),
        ];
        Self {
            pools,
            types,
            ..Self::default()
        }
    }

    /// Lowers and freezes everything.
    pub(crate) fn snapshot(&self, now: &str) -> Snapshot {
        let mut lowering = Lowering::new(&WellKnown {
            node_classes: vec![("karpenter.kwok.sh".into(), "KWOKNodeClass".into())],
            labels: vec![RESERVATION.into()],
            reservation_id: Some(RESERVATION.into()),
            ..WellKnown::default()
        });
        let mut parts = Parts::default();
        let feed = CatalogFeed {
            generation: 1,
            types: self.types.clone().into(),
        };
        for pool in &self.pools {
            let object: NodePool = read(&pool.json());
            let catalog: Result<Arc<Catalog>, Arc<str>> = match &pool.types {
                Offer::All => Ok(lowering.catalog(&feed)),
                Offer::Nothing => Ok(lowering.catalog(&CatalogFeed {
                    generation: 2,
                    types: [].into(),
                })),
                Offer::Broken => Err("no types".into()),
            };
            let pool = Arc::new(lowering.pool(&object).unwrap());
            parts.pools.push(PoolPart { pool, catalog });
        }
        let mut nodes = Vec::new();
        for node in &self.nodes {
            let machine = types::machine(&self.types, &node.type_name());
            let object: Option<objects::Node> = node.node_json(&machine).as_ref().map(read);
            let claim: Option<NodeClaim> = node.claim_json(&machine).as_ref().map(read);
            let lowered = lowering.node(&NodeInput {
                node: object.as_ref(),
                claim: claim.as_ref(),
                marked: node.marked,
                nominated_until: node
                    .nominated_until
                    .as_deref()
                    .map(|at| at.parse().unwrap()),
                prebound: Vec::new(),
            });
            nodes.push(Arc::new(lowered.unwrap()));
        }
        parts.nodes = nodes.into_iter().collect();
        let pods = self.pods.iter().map(|pod| read(&pod.0));
        parts.pods = pods
            .map(|pod: objects::Pod| Arc::new(lowering.pod(&pod)))
            .collect();
        for daemon in &self.daemons {
            let object: objects::DaemonSet = read(daemon);
            parts
                .daemons
                .push(Arc::new(lowering.daemon(&object, None).unwrap()));
        }
        for budget in &self.budgets {
            let object: objects::PodDisruptionBudget = read(budget);
            parts
                .budgets
                .push(Arc::new(lowering.budget(&object).unwrap()));
        }
        parts.vocabulary = lowering.vocabulary().clone();
        Snapshot::freeze(now.parse::<Timestamp>().unwrap(), parts)
    }
}

fn read<T: DeserializeOwned>(object: &Value) -> T {
    serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{error}: {object}"))
}

fn condition(kind: &str, status: &str, since: &str) -> Value {
    json!({
        "type": kind, "status": status, "reason": kind, "message": "",
        "lastTransitionTime": since,
    })
}
