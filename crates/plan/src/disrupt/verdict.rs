//! What a method makes of a candidate, as codes; texts on demand.
//!
//! The sentences of events are upstream's, those for people say the numbers behind them.

use alloc::{boxed::Box, format, string::String, vec::Vec};

use jiff::Timestamp;
use karpenter_api::labels::{CAPACITY_TYPE, INSTANCE_TYPE, ZONE};

use super::{
    balanced::{self, Score, Weighing},
    consolidate::SPOT_TYPES,
    whatif::{Obstacle, stuck_message},
};
use crate::{
    price::{Cost, Price},
    snapshot::Snapshot,
    vocabulary::{KeyId, NodeId, PodId, PoolId, TypeId},
};

/// What a method made of a candidate.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It is part of the proposed command.
    Chosen,
    /// It was not reached: something before it pays.
    Behind,
    /// Its pool keeps a fixed number of nodes.
    StaticPool,
    /// Its pool does not keep a fixed number of nodes.
    DynamicPool,
    /// It is what its pool asks for.
    NotDrifted,
    /// Its instance type is unknown.
    UnknownType,
    /// It lacks the label that says how it was bought.
    NoCapacityType,
    /// It lacks the label that says where it is.
    NoZone,
    /// Its pool is never consolidated.
    ConsolidationDisabled,
    /// Its pool is consolidated where nodes are empty, and it is not.
    OnlyWhenEmpty,
    /// Something on it needs a place.
    NotEmpty,
    /// It is for Emptiness to take.
    Empty,
    /// Room on it is kept free for a CapacityBuffer.
    HasBufferPods,
    /// It has not been quiet for long enough.
    NotConsolidatable,
    /// Its pool's budget for the method's reason is spent.
    BudgetSpent,
    /// Settings of disruption of its pool cannot be read.
    PoolFaulty(PoolId),
    /// Another command waits to be carried out; one at a time.
    CommandHeld,
    /// Pods would have no other place.
    Stuck(Vec<(PodId, Obstacle)>),
    /// Its pods need so many new nodes.
    NeedsNodes(usize),
    /// What could replace it is no cheaper.
    NotCheaper {
        /// What it costs.
        current: Cost,
        /// The cheapest replacement, with the most that it may cost.
        best: Option<(PoolId, TypeId, Price)>,
    },
    /// It is spot, and would be replaced by spot.
    SpotToSpotDisabled,
    /// It is spot, and too few cheaper types are left.
    TooFewCheaper(usize),
    /// The cheaper types lack a minimum number of values; the labels, with the numbers that were found.
    MinValues(PoolId, Vec<(KeyId, usize)>),
    /// It has replaced another node not long ago, or could not be replaced, and stays until then.
    Settling(Timestamp),
    /// The types that are left are those that it came from.
    WouldGoBack,
    /// What is saved does not earn back within an hour what the move costs; both in dollars an hour.
    NotWorthIt {
        /// What is saved.
        savings: Cost,
        /// What it must be more than.
        price: Cost,
    },
    /// Nodes would be merged into a type that one of them has already.
    SameType,
    /// Even if it went without replacement, it would disturb more than it saves.
    NeverBalanced,
    /// The move would disturb more than it saves; what each pool makes of it.
    Unbalanced(Vec<Weighing>),
    /// There is no other node that it could go together with.
    Alone,
    /// The groups of nodes with it that were tried do not pay; why the smallest of them does not.
    PrefixLost(Box<Verdict>),
    /// It would come after a group that does not pay already; why that does not.
    PrefixTooLong(Box<Verdict>),
    /// It would come after as many nodes as may go together.
    GroupFull(usize),
    /// The static pool has more nodes than replicas, which comes first.
    ScalingDown,
    /// The limit of nodes leaves no room for its replacement.
    NodeLimit,
}

impl Verdict {
    /// What there is to say about every node of a pool whose settings of disruption cannot be read.
    pub fn of_pool(snapshot: &Snapshot, node: NodeId) -> Option<Self> {
        let pool = snapshot.places[node].pool?;
        let is_faulty = !snapshot.pools[pool].disruption_faults.is_empty();
        is_faulty.then_some(Self::PoolFaulty(pool))
    }

    /// Nodes like this are for other methods to see to, which say more about it.
    pub fn is_for_others(&self) -> bool {
        matches!(
            self,
            Self::StaticPool | Self::DynamicPool | Self::NotDrifted | Self::NotEmpty | Self::Empty
        )
    }

    /// The text of the event `Unconsolidatable` of a consolidation method, for verdicts that upstream
    /// tells about. What concerns several nodes at once is no single node's fault, and not told.
    pub fn event(&self, snapshot: &Snapshot, node: NodeId) -> Option<String> {
        let pool = snapshot.nodes[node].pool.as_deref().unwrap_or_default();
        let label = |key| {
            snapshot.nodes[node]
                .labels
                .get(key)
                .map_or("", |own| &**own)
        };
        let text = match self {
            Self::UnknownType => format!("Instance Type \"{}\" not found", label(INSTANCE_TYPE)),
            Self::NoCapacityType => format!("Node does not have label \"{CAPACITY_TYPE}\""),
            Self::NoZone => format!("Node does not have label \"{ZONE}\""),
            Self::ConsolidationDisabled => {
                format!("NodePool \"{pool}\" has consolidation disabled")
            }
            Self::OnlyWhenEmpty => format!(
                "NodePool \"{pool}\" has consolidation policy WhenEmpty, but node is not empty"
            ),
            Self::HasBufferPods => {
                format!("Node \"{}\" has buffer pods", snapshot.nodes[node].name)
            }
            Self::Stuck(stuck) => capitalized(&stuck_message(snapshot, stuck)),
            Self::NeedsNodes(count) => format!("Can't remove without creating {count} candidates"),
            // Upstream's sentence is the first half.
            Self::NotCheaper { .. } => format!(
                "Can't replace with a cheaper node; {}",
                self.message(snapshot)
            ),
            Self::SpotToSpotDisabled => {
                "SpotToSpotConsolidation is disabled, can't replace a spot node with a spot node"
                    .into()
            }
            Self::TooFewCheaper(found) => format!(
                "SpotToSpotConsolidation requires {SPOT_TYPES} cheaper instance type options than the current candidate to consolidate, got {found}"
            ),
            Self::MinValues(..) => format!("Filtering by price: {}", self.message(snapshot)),
            Self::Chosen
            | Self::Behind
            | Self::StaticPool
            | Self::DynamicPool
            | Self::NotDrifted
            | Self::NotEmpty
            | Self::Empty
            | Self::NotConsolidatable
            | Self::BudgetSpent
            | Self::PoolFaulty(_)
            | Self::CommandHeld
            | Self::Settling(_)
            | Self::WouldGoBack
            | Self::NotWorthIt { .. }
            | Self::SameType
            | Self::NeverBalanced
            | Self::Unbalanced(_)
            | Self::Alone
            | Self::PrefixLost(_)
            | Self::PrefixTooLong(_)
            | Self::GroupFull(_)
            | Self::ScalingDown
            | Self::NodeLimit => return None,
        };
        Some(text)
    }

    /// What pools made of the move that Balanced refused, be it of the candidate alone or of a group.
    pub(super) fn refused_by(&self) -> Option<&[Weighing]> {
        if let Self::Unbalanced(weighings) = self {
            Some(weighings)
        } else if let Self::PrefixLost(why) = self {
            why.refused_by()
        } else {
            None
        }
    }

    /// A word for programs, in the form of `not-cheaper`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Chosen => "chosen",
            Self::Behind => "behind",
            Self::StaticPool => "static-pool",
            Self::DynamicPool => "dynamic-pool",
            Self::NotDrifted => "not-drifted",
            Self::UnknownType => "unknown-type",
            Self::NoCapacityType => "no-capacity-type",
            Self::NoZone => "no-zone",
            Self::ConsolidationDisabled => "consolidation-disabled",
            Self::OnlyWhenEmpty => "only-when-empty",
            Self::NotEmpty => "not-empty",
            Self::Empty => "empty",
            Self::HasBufferPods => "has-buffer-pods",
            Self::NotConsolidatable => "not-consolidatable",
            Self::BudgetSpent => "budget-spent",
            Self::PoolFaulty(_) => "nodepool-faulty",
            Self::CommandHeld => "command-held",
            Self::Stuck(_) => "pods-have-no-other-place",
            Self::NeedsNodes(_) => "needs-several-nodes",
            Self::NotCheaper { .. } => "not-cheaper",
            Self::SpotToSpotDisabled => "spot-to-spot-disabled",
            Self::TooFewCheaper(_) => "too-few-cheaper-types",
            Self::MinValues(..) => "min-values",
            Self::Settling(_) => "settling",
            Self::WouldGoBack => "would-go-back",
            Self::NotWorthIt { .. } => "not-worth-it",
            Self::SameType => "same-type",
            Self::NeverBalanced | Self::Unbalanced(_) => "unbalanced",
            Self::Alone => "alone",
            Self::PrefixLost(_) | Self::PrefixTooLong(_) => "group-does-not-pay",
            Self::GroupFull(_) => "group-full",
            Self::ScalingDown => "scaling-down",
            Self::NodeLimit => "node-limit",
        }
    }

    /// The verdict for people, with the numbers behind it.
    pub fn message(&self, snapshot: &Snapshot) -> String {
        let text = match self {
            Self::Chosen => "would be disrupted now",
            Self::Behind => "another node comes first",
            Self::StaticPool => "its nodepool is static",
            Self::DynamicPool => "its nodepool is not static",
            Self::NotDrifted => "it has not drifted",
            Self::UnknownType => "its instance type is unknown, so it has no price",
            Self::NoCapacityType => "it lacks the label karpenter.sh/capacity-type",
            Self::NoZone => "it lacks the label topology.kubernetes.io/zone",
            Self::ConsolidationDisabled => "its nodepool has consolidation disabled",
            Self::OnlyWhenEmpty => "its nodepool is consolidated where nodes are empty only",
            Self::NotEmpty => "node is not empty",
            Self::Empty => "node is empty, which is for Emptiness to see to",
            Self::HasBufferPods => "room on it is kept free for a CapacityBuffer",
            Self::NotConsolidatable => "consolidateAfter has not passed since its last pod event",
            Self::BudgetSpent => "its nodepool's disruption budget is spent",
            Self::CommandHeld => "another command is waiting to be carried out",
            Self::SpotToSpotDisabled => {
                "a spot node is replaced by another only with the feature gate SpotToSpotConsolidation"
            }
            Self::WouldGoBack => {
                "every cheaper instance type is one that it came from not long ago"
            }
            Self::SameType => "the nodes would be merged into a type that one of them has",
            Self::NeverBalanced => {
                "policy Balanced: even without replacement it would disturb more of its nodepool than it saves"
            }
            Self::Alone => "no other node could go together with it",
            Self::ScalingDown => "its nodepool has more nodes than replicas, which comes first",
            Self::NodeLimit => "its nodepool's limit of nodes leaves no room for a replacement",
            Self::Stuck(stuck) => return stuck_message(snapshot, stuck),
            Self::NeedsNodes(count) => {
                return format!("its pods would need {count} new nodes");
            }
            Self::NotCheaper { current, best } => {
                return not_cheaper(snapshot, *current, *best);
            }
            Self::TooFewCheaper(found) => {
                return format!(
                    "spot to spot needs {SPOT_TYPES} cheaper instance types, and there are {found}"
                );
            }
            Self::MinValues(_, unmet) => {
                let mut keys: Vec<&str> = unmet
                    .iter()
                    .map(|(key, _)| &**snapshot.vocabulary.key_name(*key))
                    .collect();
                keys.sort_unstable();
                return format!(
                    "minValues requirement is not met for label(s) (label(s)=[{}])",
                    keys.join(" ")
                );
            }
            Self::Unbalanced(weighings) => {
                let Some(score) = balanced::objection(weighings) else {
                    return String::new();
                };
                return format!(
                    "policy Balanced: it would save {:.1}% of what its nodepool costs and disturb {:.1}% of it, a score of {:.2} where {:.2} is needed",
                    score.savings * 100.0,
                    score.disruption * 100.0,
                    score.value,
                    Score::THRESHOLD
                );
            }
            Self::Settling(until) => {
                return format!(
                    "it has replaced another node or could not be replaced, and stays until {until}"
                );
            }
            Self::NotWorthIt { savings, price } => {
                return format!(
                    "would save ${:.5}/h, and the move costs ${:.5}/h for the hour after it",
                    savings.dollars(),
                    price.dollars()
                );
            }
            Self::PrefixLost(why) => {
                return format!("with the nodes before it: {}", why.message(snapshot));
            }
            Self::PrefixTooLong(why) => {
                return format!(
                    "fewer nodes, all of which come before it, do not pay together: {}",
                    why.message(snapshot)
                );
            }
            Self::GroupFull(most) => {
                return format!("{most} nodes that come before it are as many as may go together");
            }
            Self::PoolFaulty(pool) => {
                let pool = &snapshot.pools[*pool];
                return format!(
                    "nodepool {} is not disrupted before it is put right: {}",
                    pool.name,
                    pool.disruption_faults.join("; ")
                );
            }
        };
        text.into()
    }
}

fn not_cheaper(
    snapshot: &Snapshot,
    current: Cost,
    best: Option<(PoolId, TypeId, Price)>,
) -> String {
    let Some((pool, id, price)) = best else {
        return "nothing that could replace it is for sale".into();
    };
    let name = match &snapshot.catalogs[pool] {
        Ok(catalog) => &*catalog.types[id].name,
        Err(_) => "",
    };
    let missing = (Cost::from(price) - current).dollars();
    format!(
        "costs ${:.5}/h, and the cheapest replacement, {name}, up to ${:.5}/h: ${missing:.5}/h too dear",
        current.dollars(),
        price.dollars()
    )
}

/// With a capital at the front, as events begin.
pub fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(characters).collect()
    })
}
