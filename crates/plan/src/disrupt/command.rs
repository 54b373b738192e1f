//! A command's life: held, still valid, in flight, done or undone.
//!
//! Holds everything by name, because ids belong to one snapshot and a command outlives many. The
//! question asked of it ([`Command::next_step`]) is pure; whoever carries it out performs exactly the
//! step that is named, then asks again with a fresh snapshot. Steps are derived from what the
//! snapshot shows, so performing one twice is harmless. Whether a held command may still be carried
//! out is the business of [`validity`](super::validity).

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use jiff::{SignedDuration, Timestamp};
use karpenter_api::NodeClaim;

use crate::node::{ClaimFacts, Node};
use crate::price::{Cost, Price};
use crate::schedule::{NewClaim, node_claim};
use crate::snapshot::Snapshot;
use crate::static_pool::static_claim;
use crate::vocabulary::{NodeId, PoolId};

use super::balanced::Weighing;
use super::method::{Decision, Method};

/// How long a consolidation is held before it is carried out, so that a pod that is about to need
/// the nodes can still say so.
pub const HOLD: SignedDuration = SignedDuration::from_secs(15);

/// A node that a command removes, by the names that survive a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The Node.
    pub node: Arc<str>,
    /// Its NodeClaim.
    pub claim: Arc<str>,
    /// The claim's uid: a successor with the same name is somebody else.
    pub uid: Arc<str>,
    /// The machine.
    pub provider_id: Option<Arc<str>>,
    /// The pool.
    pub pool: Arc<str>,
}

/// A claim that must be ready before the nodes may go.
#[derive(Clone, Debug, PartialEq)]
pub struct Replacement {
    /// What to create, complete.
    pub object: Box<NodeClaim>,
    /// The pool.
    pub pool: Arc<str>,
    /// Names of the instance types that will do, cheapest first; none for a static pool's.
    pub instance_types: Vec<Arc<str>>,
    /// The cheapest way to buy the first of them.
    pub cheapest: Option<Bid>,
    /// Minimum numbers of values were lowered for it.
    pub min_values_relaxed: bool,
    /// The NodeClaim's name, once it was created.
    pub created: Option<Arc<str>>,
    /// It was seen initialised. What becomes of it later no longer matters.
    pub is_initialized: bool,
}

/// A way to buy an instance type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bid {
    /// The zone, where there is one.
    pub zone: Option<Arc<str>>,
    /// `spot`, `on-demand` or `reserved`.
    pub capacity_type: Option<Arc<str>>,
    /// The price.
    pub price: Price,
}

/// Nodes to be disrupted, and how far that has come.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// The method that found it.
    pub method: Method,
    /// What becomes of the nodes.
    pub decision: Decision,
    /// The nodes, best first.
    pub nodes: Vec<Target>,
    /// Their replacements.
    pub replacements: Vec<Replacement>,
    /// Names of nodes that stay and that pods would move to, in order.
    pub destinations: Vec<Arc<str>>,
    /// What pools made of it, for consolidations.
    pub weighings: Vec<Weighing>,
    /// How many pods have to move.
    pub pods: usize,
    /// What an hour costs less afterwards.
    pub savings: Cost,
    /// When it was proposed.
    pub proposed: Timestamp,
    /// When it may be carried out, if it is still valid then.
    pub due: Timestamp,
    /// When it was found still valid and put in flight; until then it is held.
    pub started: Option<Timestamp>,
    /// Why it cannot be carried out; set by whoever tried.
    pub failure: Option<Failure>,
}

/// Why a command in flight is undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A taint or a replacement could not be written.
    Start(String),
    /// A replacement is gone before it was initialised.
    ReplacementDeleted(Arc<str>),
    /// It has been in flight for too long.
    TimedOut,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(cause) => write!(formatter, "starting command, {cause}"),
            Self::ReplacementDeleted(name) => {
                write!(formatter, "replacement was deleted (NodeClaim={name})")
            }
            Self::TimedOut => formatter.write_str("command reached timeout"),
        }
    }
}

/// The one thing to do next for a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing before this instant.
    Hold {
        /// When the command is due.
        until: Timestamp,
    },
    /// Ask [`still_valid`](super::still_valid), and go on with the command that it gives.
    Revalidate,
    /// Put the disrupted taint on these nodes and the `DisruptionReason` condition on their claims.
    Taint(Vec<Target>),
    /// Create the replacements at these indices and tell the command their names.
    Create(Vec<usize>),
    /// Mark these nodes for deletion. Only now: marked earlier, their pods would be scheduled a
    /// second time while the replacements are being created.
    Mark(Vec<Target>),
    /// Look again soon: the replacements at these indices are not initialised.
    Wait(Vec<usize>),
    /// Delete the claims of these nodes.
    Delete(Vec<Target>),
    /// Take back taint, condition and mark of these nodes, and forget the command. Replacements
    /// stay; if nothing lands on them they are empty before long.
    Undo {
        /// The nodes that are still there.
        nodes: Vec<Target>,
        /// Why.
        failure: Failure,
    },
    /// All claims are deleted or gone: forget the command, the termination of its nodes goes on
    /// without it.
    Done,
}

impl Command {
    /// The node belongs to this command.
    pub fn holds(&self, node: &Node) -> bool {
        self.nodes.iter().any(|target| target.is(node))
    }

    /// It waits for its time to come.
    pub fn is_held(&self) -> bool {
        self.started.is_none()
    }

    /// The command as logs print it, without a reason or an id: `delete: [n1]`.
    pub fn text(&self) -> String {
        let names: Vec<&str> = self.nodes.iter().map(|target| &*target.node).collect();
        self.text_of(&names)
    }

    /// The command as events about one of its nodes print it.
    pub fn text_for(&self, target: &Target) -> String {
        let count = self.nodes.len();
        if count == 1 {
            return self.text();
        }
        let own = self.text_of(&[&target.node]);
        format!("{own} (part of {count}-node consolidation)")
    }

    /// The command as the log prints it, under a name of its own.
    pub fn text_named(&self, id: &str) -> String {
        let names: Vec<&str> = self.nodes.iter().map(|target| &*target.node).collect();
        format!(
            "{}/{id}: {}: nodepools=[{}]: {} (savings: ${:.2})",
            self.method.reason(),
            self.decision.as_str(),
            self.pools().join(","),
            self.change_of(&names),
            self.savings.dollars()
        )
    }

    /// The pools that it takes nodes of, in name order.
    pub fn pools(&self) -> Vec<&str> {
        let mut pools: Vec<&str> = self.nodes.iter().map(|target| &*target.pool).collect();
        pools.sort_unstable();
        pools.dedup();
        pools
    }

    fn text_of(&self, names: &[&str]) -> String {
        format!("{}: {}", self.decision.as_str(), self.change_of(names))
    }

    fn change_of(&self, names: &[&str]) -> String {
        let names = names.join(", ");
        match (self.decision, self.replacements.len()) {
            (Decision::Delete, _) => format!("[{names}]"),
            (Decision::Replace, 1) => format!("[{names}] -> [1 replacement]"),
            (Decision::Replace, count) => format!("[{names}] -> [{count} replacements]"),
        }
    }

    /// Remembers which replacements were seen initialised. To be asked with each fresh snapshot
    /// before [`next_step`](Self::next_step).
    pub fn observe(&mut self, snapshot: &Snapshot) {
        for replacement in &mut self.replacements {
            let Some(name) = &replacement.created else {
                continue;
            };
            replacement.is_initialized |= claim_named(snapshot, name)
                .is_some_and(|node| node.claim.as_ref().is_some_and(|c| c.initialized.is_some()));
        }
    }

    /// What to do now. `queued_nodes` counts the nodes of all commands in flight, for which upstream
    /// grants more time the more there are.
    pub fn next_step(&self, snapshot: &Snapshot, queued_nodes: usize) -> Step {
        let Some(started) = self.started else {
            let is_due = snapshot.now >= self.due;
            return if is_due {
                Step::Revalidate
            } else {
                Step::Hold { until: self.due }
            };
        };
        // Targets whose claims are neither gone nor being deleted, with their nodes.
        let present: Vec<(&Target, &Node)> = self
            .nodes
            .iter()
            .filter_map(|target| Some((target, target.find(snapshot)?)))
            .filter(|(_, node)| {
                node.claim
                    .as_ref()
                    .is_some_and(|claim| claim.deletion.is_none())
            })
            .collect();
        if present.is_empty() {
            return Step::Done;
        }
        let chosen = |keep: &dyn Fn(&Node) -> bool| -> Vec<Target> {
            let kept = present.iter().filter(|(_, node)| keep(node));
            kept.map(|(target, _)| (*target).clone()).collect()
        };
        if let Some(failure) = self.failure_at(snapshot, started, queued_nodes) {
            return Step::Undo {
                nodes: chosen(&|_| true),
                failure,
            };
        }
        let untainted = chosen(&|node| !is_tainted(node));
        if !untainted.is_empty() {
            return Step::Taint(untainted);
        }
        let uncreated = self.replacements_where(|replacement| replacement.created.is_none());
        if !uncreated.is_empty() {
            return Step::Create(uncreated);
        }
        let unmarked = chosen(&|node| !node.marked);
        if !unmarked.is_empty() {
            return Step::Mark(unmarked);
        }
        let waiting = self.replacements_where(|replacement| !replacement.is_initialized);
        if !waiting.is_empty() {
            return Step::Wait(waiting);
        }
        Step::Delete(chosen(&|_| true))
    }

    fn replacements_where(&self, keep: impl Fn(&Replacement) -> bool) -> Vec<usize> {
        let indexed = self.replacements.iter().enumerate();
        indexed
            .filter(|(_, replacement)| keep(replacement))
            .map(|(index, _)| index)
            .collect()
    }

    fn failure_at(
        &self,
        snapshot: &Snapshot,
        started: Timestamp,
        queued_nodes: usize,
    ) -> Option<Failure> {
        if let Some(failure) = &self.failure {
            return Some(failure.clone());
        }
        let lost = self
            .replacements
            .iter()
            .filter(|replacement| !replacement.is_initialized)
            .find_map(|replacement| {
                let name = replacement.created.as_ref()?;
                claim_named(snapshot, name).is_none().then(|| name.clone())
            });
        if let Some(name) = lost {
            return Some(Failure::ReplacementDeleted(name));
        }
        let elapsed = snapshot.now.duration_since(started);
        (elapsed > timeout(queued_nodes)).then_some(Failure::TimedOut)
    }
}

impl Replacement {
    /// What a round has planned.
    pub fn planned(snapshot: &Snapshot, claim: &NewClaim) -> Self {
        let text = |value| snapshot.vocabulary.value_text(value).clone();
        let catalog = snapshot.catalogs[claim.pool].as_ref().ok();
        let names = catalog.into_iter().flat_map(|catalog| {
            let name = |id| catalog.types[id].name.clone();
            claim.instance_types.iter().copied().map(name)
        });
        let cheapest = catalog.zip(claim.cheapest).map(|(catalog, id)| {
            let offering = &catalog.offerings[id];
            Bid {
                zone: offering.zone.map(text),
                capacity_type: offering.capacity_type.map(text),
                price: offering.price,
            }
        });
        Self {
            object: Box::new(node_claim(snapshot, claim)),
            pool: snapshot.pools[claim.pool].name.clone(),
            instance_types: names.collect(),
            cheapest,
            min_values_relaxed: claim.min_values_relaxed,
            created: None,
            is_initialized: false,
        }
    }

    /// One more claim of a static pool's template.
    pub fn of_template(snapshot: &Snapshot, pool: PoolId, seed: u64) -> Self {
        Self {
            object: Box::new(static_claim(snapshot, pool, seed)),
            pool: snapshot.pools[pool].name.clone(),
            instance_types: Vec::new(),
            cheapest: None,
            min_values_relaxed: false,
            created: None,
            is_initialized: false,
        }
    }
}

impl Target {
    /// Names the node behind a candidate.
    pub fn of(snapshot: &Snapshot, id: NodeId) -> Option<Self> {
        let node = &snapshot.nodes[id];
        let claim = node.claim.as_ref()?;
        Some(Self {
            node: node.node.as_ref()?.name.clone(),
            claim: claim.name.clone(),
            uid: claim.uid.clone(),
            provider_id: node.provider_id.clone(),
            pool: node.pool.clone()?,
        })
    }

    /// True when the node is the one meant.
    pub fn is(&self, node: &Node) -> bool {
        node.claim
            .as_ref()
            .is_some_and(|claim| claim.uid == self.uid && claim.name == self.claim)
    }

    /// The node, while both its objects exist.
    pub fn id(&self, snapshot: &Snapshot) -> Option<NodeId> {
        snapshot
            .node_named(&self.node)
            .filter(|&id| self.is(&snapshot.nodes[id]))
    }

    /// The node, also when its Node object is gone and only the claim is left.
    fn find<'a>(&self, snapshot: &'a Snapshot) -> Option<&'a Node> {
        let id = self.id(snapshot);
        id.map(|id| &*snapshot.nodes[id])
            .or_else(|| claim_named(snapshot, &self.claim).filter(|node| self.is(node)))
    }
}

/// How long a command may be in flight: 80 ms for each queued node, at least ten minutes and at most
/// an hour.
pub fn timeout(queued_nodes: usize) -> SignedDuration {
    let queued_nodes = i64::try_from(queued_nodes).unwrap_or(i64::MAX);
    let millis = queued_nodes
        .saturating_mul(80)
        .clamp(10 * 60_000, 60 * 60_000);
    SignedDuration::from_millis(millis)
}

/// Taint and condition are both there, or there is nothing to put them on.
fn is_tainted(node: &Node) -> bool {
    let has_taint = node.node.as_ref().is_none_or(|facts| facts.disrupted_taint);
    has_taint
        && node
            .claim
            .as_ref()
            .is_none_or(|claim| claim.disruption_reason.is_some())
}

fn claim_named<'a>(snapshot: &'a Snapshot, name: &str) -> Option<&'a Node> {
    let is_named = |claim: &ClaimFacts| *claim.name == *name;
    snapshot
        .nodes
        .values()
        .find(|node| node.claim.as_ref().is_some_and(is_named))
        .map(|node| &**node)
}

/// A node that carries traces of a command that nobody remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// The node.
    pub target: Target,
    /// The disrupted taint is to be removed.
    pub taint: bool,
    /// The `DisruptionReason` condition is to be cleared.
    pub condition: bool,
}

/// Nodes to be untainted after a restart or a failed start: not in any command in flight and not on
/// their way out.
pub fn leftovers(snapshot: &Snapshot, commands: &[Command]) -> Vec<Leftover> {
    let in_flight: Vec<&Command> = commands
        .iter()
        .filter(|command| !command.is_held())
        .collect();
    snapshot
        .nodes
        .iter()
        .filter(|(_, node)| !node.marked && !in_flight.iter().any(|command| command.holds(node)))
        .filter_map(|(id, node)| {
            let (facts, claim) = (node.node.as_ref()?, node.claim.as_ref()?);
            let taint = facts.disrupted_taint && facts.deletion.is_none();
            let condition = node.initialized && claim.disruption_reason.is_some();
            let target = Target::of(snapshot, id).filter(|_| taint || condition)?;
            Some(Leftover {
                target,
                taint,
                condition,
            })
        })
        .collect()
}
