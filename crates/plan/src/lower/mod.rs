//! Kubernetes objects into the values of the core, once, at the border.
//!
//! A [`Lowering`] owns what lowered values share: the vocabulary, label sets and constraint shapes. It
//! never fails for the whole; an object that cannot be lowered comes back as a [`Problem`] to be set
//! aside, and a pod always lowers, its trouble inside.

use alloc::{string::String, sync::Arc, vec::Vec};

use jiff::Timestamp;
use karpenter_api::{
    NodeClaim, NodePool,
    objects::{self, DaemonSet, PodDisruptionBudget},
};

use crate::{
    catalog::{Catalog, CatalogFeed},
    daemon::Daemon,
    disruption_budget::DisruptionBudget,
    node::Node,
    pod::{Pod, PodKey},
    pool::Pool,
    vocabulary::Vocabulary,
};

/// What a provider adds to the core's knowledge of labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WellKnown {
    /// Label keys that nodes of the provider define, besides the core's.
    pub labels: Vec<String>,
    /// Domains that only the listed keys may use, besides `karpenter.sh`.
    pub restricted_domains: Vec<String>,
    /// Other spellings of keys, besides the core's: from, to.
    pub aliases: Vec<(String, String)>,
    /// Group and kind of the node classes that the provider serves.
    pub node_classes: Vec<(String, String)>,
}

/// Something that could not be lowered and is set aside.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The kind of the object: `NodePool`, `Node`, `NodeClaim`, `DaemonSet`, `PodDisruptionBudget`.
    pub kind: &'static str,
    /// Its namespace, if it has one.
    pub namespace: Option<Arc<str>>,
    /// Its name.
    pub name: Arc<str>,
    /// For nodes and claims the pool they belong to, whose budget they still count in.
    pub pool: Option<Arc<str>>,
    /// What is wrong.
    pub message: String,
}

/// What a [`Node`] is lowered from. At least one of the objects is there.
#[derive(Clone, Debug, Default)]
pub struct NodeInput<'a> {
    /// The Node.
    pub node: Option<&'a objects::Node>,
    /// The NodeClaim with the same provider id; or one that has none yet, alone.
    pub claim: Option<&'a NodeClaim>,
    /// Some controller has decided to remove it.
    pub marked: bool,
    /// Pods are expected here until this time.
    pub nominated_until: Option<Timestamp>,
    /// For an unlaunched claim: the pods that it was made for and that are not bound yet.
    pub prebound: Vec<PodKey>,
}

/// Lowers objects and owns what the results share.
#[derive(Clone, Debug, Default)]
pub struct Lowering {
    vocabulary: Arc<Vocabulary>,
}

impl Lowering {
    /// A fresh lowering that knows the provider's labels.
    pub fn new(well_known: &WellKnown) -> Self {
        let _ = well_known;
        Self::default()
    }

    /// The names met so far; freeze a snapshot with it.
    pub fn vocabulary(&self) -> &Arc<Vocabulary> {
        &self.vocabulary
    }
}

#[expect(
    unused_variables,
    clippy::unused_self,
    clippy::needless_pass_by_ref_mut,
    reason = "outline"
)]
impl Lowering {
    /// A pod. Never fails: what cannot be honoured is part of its shape.
    pub fn pod(&mut self, pod: &objects::Pod) -> Pod {
        unimplemented!("lowering a pod")
    }

    /// A node, a claim, or both.
    pub fn node(&mut self, input: &NodeInput<'_>) -> Result<Node, Problem> {
        unimplemented!("lowering a node")
    }

    /// A NodePool.
    pub fn pool(&mut self, pool: &NodePool) -> Result<Pool, Problem> {
        unimplemented!("lowering a pool")
    }

    /// A DaemonSet with the newest of its pods.
    pub fn daemon(
        &mut self,
        daemon_set: &DaemonSet,
        newest: Option<&objects::Pod>,
    ) -> Result<Daemon, Problem> {
        unimplemented!("lowering a DaemonSet")
    }

    /// A PodDisruptionBudget.
    pub fn budget(&mut self, budget: &PodDisruptionBudget) -> Result<DisruptionBudget, Problem> {
        unimplemented!("lowering a PodDisruptionBudget")
    }

    /// A catalogue; see [`Catalog`] on sharing it between pools.
    pub fn catalog(&mut self, feed: &CatalogFeed) -> Arc<Catalog> {
        unimplemented!("lowering a catalogue")
    }
}
