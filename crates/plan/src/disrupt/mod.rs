//! Voluntary disruption: which nodes to remove now, for which reason, and why not the others.
//!
//! One round: [`allowance`] evaluates the budgets, [`mod@candidate`] splits the nodes into candidates
//! with a cost and reasons against the rest, then the methods are asked in upstream's order and the
//! first that has a command ends the round: [`empty`], `drift`, `multi` and `single`.
//! [`whatif`] asks what became of the pods, [`consolidate`] whether that pays, [`lasting`] whether it does
//! for long, [`balanced`] whether it is worth the trouble; [`cost`] is the arithmetic of trouble,
//! [`protection`] what pods asked for. [`step`] follows a [`mod@command`] through its life and [`validity`] asks
//! whether a held one may go on; [`report`] and [`verdict`] say why everything else stays and until when that
//! answer holds, [`mod@never`] which pods could be waited for in vain. [`Pass`] puts a round together.
//!
//! The invariant: a round proposes, it never assumes that its proposal is carried out. What has
//! been proposed before comes back as [`DisruptOptions::commands`]. Every candidate is looked at in every
//! round; nothing is cut off by seconds, and nothing is remembered of rounds before.

use alloc::vec::Vec;

use jiff::Timestamp;

use self::{
    balanced::{AllTotals, Weighing},
    consolidate::Gain,
    whatif::WhatIfs,
};
use crate::{
    budget::DisruptionReason,
    price::Cost,
    schedule::Options,
    snapshot::Snapshot,
    vocabulary::{IdVec, NodeId, PoolId},
};

pub mod allowance;
pub mod balanced;
pub mod candidate;
pub mod command;
pub mod consolidate;
pub mod cost;
mod drift;
pub mod empty;
mod first;
pub mod lasting;
pub mod method;
mod multi;
pub mod never;
mod pass;
pub mod protection;
pub mod report;
mod single;
pub mod step;
pub mod validity;
pub mod verdict;
pub mod whatif;

pub use self::allowance::{Allowance, allowances};
pub use self::candidate::{BlockReason, Candidate, Class, candidate};
pub use self::command::{Bid, Command, HOLD, Replacement, Target};
pub use self::cost::{DisruptionCost, SavingsRatio};
pub use self::method::{Decision, Method};
pub use self::pass::Pass;
pub use self::report::{DisruptReport, MethodReport};
pub use self::step::{Failure, Leftover, Step, leftovers};
pub use self::validity::{Invalid, Validity, still_valid};
pub use self::verdict::Verdict;

/// How to look for nodes to disrupt.
#[derive(Clone, Copy, Debug, Default)]
pub struct DisruptOptions<'a> {
    /// Commands that are held or in flight: their nodes are taken and consume budgets.
    pub commands: &'a [Command],
    /// Takes every node for quiet, for those who ask what would be disrupted in the end. Pools that
    /// are never consolidated stay so.
    pub ignore_consolidate_after: bool,
    /// Spot nodes may be replaced by spot nodes.
    pub spot_to_spot: bool,
    /// Static pools are looked after.
    pub static_capacity: bool,
    /// How pods are scheduled to find out where they would go.
    pub scheduling: Options,
}

/// What a method proposes.
#[derive(Clone, Debug)]
struct Proposal<'c> {
    candidates: Vec<&'c Candidate>,
    gain: Gain,
}

/// What was made of candidates.
type Verdicts = Vec<(NodeId, Verdict)>;

/// What a method found, with its verdict on every candidate that it looked at.
type Search<'c> = (Option<Proposal<'c>>, Verdicts);

/// What the methods of a round share.
struct Round<'a> {
    snapshot: &'a Snapshot,
    options: DisruptOptions<'a>,
    allowances: IdVec<PoolId, Allowance>,
    /// For consolidation.
    what_ifs: WhatIfs<'a>,
    totals: AllTotals,
}

impl Round<'_> {
    /// Pools with the policy Balanced find the move worth it.
    fn approve(&self, candidates: &[&Candidate], gain: &mut Gain) -> Result<(), Verdict> {
        let weighings = balanced::weigh(self.snapshot, &self.totals, candidates, gain.savings);
        if weighings.iter().all(Weighing::is_approved) {
            gain.weighings = weighings;
            return Ok(());
        }
        Err(Verdict::Unbalanced(weighings))
    }

    /// Why a pool of which no more nodes may go lets none go.
    fn spent(&self, pool: PoolId) -> Verdict {
        if self.snapshot.pools[pool].disruption_faults.is_empty() {
            Verdict::BudgetSpent
        } else {
            Verdict::PoolFaulty(pool)
        }
    }

    fn drifted_since(&self, candidate: &Candidate) -> Option<Timestamp> {
        let claim = self.snapshot.nodes[candidate.node].claim.as_ref()?;
        claim.drifted.as_ref().map(|condition| condition.since)
    }
}

/// Looks at every node. The commands are those of one pass of one method, in order: more than one for
/// drifted nodes of static pools only.
pub fn disrupt(snapshot: &Snapshot, options: &DisruptOptions<'_>) -> (Vec<Command>, DisruptReport) {
    let mut pass = Pass::new(snapshot, *options);
    let _found = Method::ORDER.into_iter().any(|method| pass.ask(method));
    pass.finish()
}

impl Round<'_> {
    /// What a method makes of one candidate.
    fn verdict_on(&self, method: Method, own: &Candidate, candidates: &[Candidate]) -> Verdict {
        if let Some(objection) = objection(self.snapshot, method, own, &self.options) {
            return objection;
        }
        let alone = match method {
            Method::SingleNode => single::look(self, own).map(|_| ()),
            Method::Drift => drift::look(self, &self.ungated(), own).map(|_| ()),
            Method::Emptiness | Method::StaticDrift | Method::MultiNode => {
                let (report, _) = self.ask(method, candidates);
                let mut verdicts = report.verdicts.into_iter();
                return verdicts
                    .find(|(node, _)| *node == own.node)
                    .map_or(Verdict::Behind, |(_, verdict)| verdict);
            }
        };
        alone.err().unwrap_or(Verdict::Chosen)
    }

    /// What-ifs in which every node takes pods, as drift asks them.
    fn ungated(&self) -> WhatIfs<'_> {
        WhatIfs::new(self.snapshot, &self.options, false)
    }

    /// Asks one method.
    fn ask(&self, method: Method, candidates: &[Candidate]) -> (MethodReport, Vec<Command>) {
        let objections: Vec<Option<Verdict>> = candidates
            .iter()
            .map(|candidate| objection(self.snapshot, method, candidate, &self.options))
            .collect();
        let eligible: Vec<&Candidate> = candidates
            .iter()
            .zip(&objections)
            .filter(|(_, objection)| objection.is_none())
            .map(|(candidate, _)| candidate)
            .collect();
        let is_waiting =
            method.is_consolidation() && self.options.commands.iter().any(Command::is_held);
        let (commands, found) = if eligible.is_empty() {
            (Vec::new(), Vec::new())
        } else if is_waiting {
            let held = |candidate: &&Candidate| (candidate.node, Verdict::CommandHeld);
            (Vec::new(), eligible.iter().map(held).collect())
        } else {
            self.search(method, &eligible)
        };
        let objections = candidates
            .iter()
            .zip(objections)
            .filter_map(|(candidate, objection)| Some((candidate.node, objection?)));
        let constrained = found
            .iter()
            .any(|(_, verdict)| matches!(verdict, Verdict::BudgetSpent | Verdict::PoolFaulty(_)));
        let mut verdicts: Verdicts = objections.chain(found).collect();
        verdicts.sort_by_key(|(node, _)| *node);
        let report = MethodReport {
            method,
            eligible: eligible.len(),
            constrained,
            verdicts,
        };
        (report, commands)
    }

    fn search(&self, method: Method, eligible: &[&Candidate]) -> (Vec<Command>, Verdicts) {
        let (proposal, verdicts) = match method {
            Method::Emptiness => self.emptiness(eligible),
            Method::StaticDrift => {
                let (chosen, verdicts) = drift::search_static(self, eligible);
                let commands = chosen.into_iter().enumerate().map(|(at, candidate)| {
                    let seed = self.options.scheduling.seed.wrapping_add(at as u64);
                    let one = Replacement::of_template(self.snapshot, candidate.pool, seed);
                    command(
                        self.snapshot,
                        method,
                        &[candidate],
                        [one].into(),
                        Cost::ZERO,
                    )
                });
                return (commands.collect(), verdicts);
            }
            Method::Drift => drift::search(self, &self.ungated(), eligible),
            Method::MultiNode => multi::search(self, eligible),
            Method::SingleNode => single::search(self, eligible),
        };
        let command = proposal.map(|Proposal { candidates, gain }| {
            let planned = |claim| {
                let mut planned = Replacement::planned(self.snapshot, claim);
                if method.is_consolidation() {
                    lasting::remember(self.snapshot, &mut planned.object, &candidates);
                }
                planned
            };
            let replacements = gain.replacements.iter().map(planned).collect();
            let mut command = command(
                self.snapshot,
                method,
                &candidates,
                replacements,
                gain.savings,
            );
            let mut destinations: Vec<NodeId> =
                gain.bindings.iter().map(|(_, node)| *node).collect();
            destinations.sort_unstable();
            destinations.dedup();
            let name = |id: NodeId| self.snapshot.nodes[id].name.clone();
            command.destinations = destinations.into_iter().map(name).collect();
            command.weighings = gain.weighings;
            command
        });
        (command.into_iter().collect(), verdicts)
    }

    fn emptiness<'c>(&self, eligible: &[&'c Candidate]) -> Search<'c> {
        let selection = empty::select(
            eligible.iter().copied(),
            &self.allowances,
            DisruptionReason::Empty,
        );
        let taken = selection.taken.iter();
        let mut verdicts: Verdicts = taken.map(|own| (own.node, Verdict::Chosen)).collect();
        let constrained = selection.constrained.iter();
        verdicts.extend(constrained.map(|own| (own.node, self.spent(own.pool))));
        let gain = Gain {
            replacements: Vec::new(),
            bindings: Vec::new(),
            savings: selection.taken.iter().map(|own| own.price).sum(),
            weighings: Vec::new(),
        };
        let proposal = (!selection.taken.is_empty()).then_some(Proposal {
            candidates: selection.taken,
            gain,
        });
        (proposal, verdicts)
    }
}

/// Why a method does not look at a candidate; nothing when it does (section 7.1 of disruption.md).
fn objection(
    snapshot: &Snapshot,
    method: Method,
    candidate: &Candidate,
    options: &DisruptOptions<'_>,
) -> Option<Verdict> {
    if !method.is_consolidation() {
        return drift::objection(snapshot, candidate, method == Method::StaticDrift);
    }
    if snapshot.pools[candidate.pool].is_static() {
        return Some(Verdict::StaticPool);
    }
    let own = match method {
        Method::Emptiness => empty::objection(snapshot, candidate),
        Method::MultiNode | Method::SingleNode | Method::StaticDrift | Method::Drift => {
            consolidate::objection(snapshot, candidate)
        }
    };
    own.or_else(|| unquiet(snapshot, candidate, options))
}

/// The node has not been quiet for as long as its pool wants, and nobody waives that.
fn unquiet(
    snapshot: &Snapshot,
    candidate: &Candidate,
    options: &DisruptOptions<'_>,
) -> Option<Verdict> {
    let claim = snapshot.nodes[candidate.node].claim.as_ref();
    let is_quiet = claim.is_some_and(|claim| claim.consolidatable.is_some());
    (!is_quiet && !options.ignore_consolidate_after).then_some(Verdict::NotConsolidatable)
}

/// The command that removes these candidates.
fn command(
    snapshot: &Snapshot,
    method: Method,
    candidates: &[&Candidate],
    replacements: Vec<Replacement>,
    savings: Cost,
) -> Command {
    let delay = if method.is_consolidation() {
        HOLD
    } else {
        Default::default()
    };
    Command {
        method,
        decision: if replacements.is_empty() {
            Decision::Delete
        } else {
            Decision::Replace
        },
        nodes: candidates
            .iter()
            .filter_map(|candidate| Target::of(snapshot, candidate.node))
            .collect(),
        replacements,
        destinations: Vec::new(),
        weighings: Vec::new(),
        pods: candidates
            .iter()
            .map(|candidate| candidate.reschedulable.len())
            .sum(),
        savings,
        proposed: snapshot.now,
        due: snapshot.now.checked_add(delay).unwrap_or(snapshot.now),
        started: None,
        failure: None,
    }
}
