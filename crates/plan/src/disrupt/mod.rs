//! Voluntary disruption: which nodes to remove now, for which reason, and why not the others.
//!
//! One round: [`allowance`] evaluates the budgets, [`mod@candidate`] splits the nodes into candidates
//! with a cost and reasons against the rest, then the methods are asked in upstream's order and the
//! first that has a command ends the round: [`empty`], `drift`, `multi` and `single`.
//! [`whatif`] asks what became of the pods, [`consolidate`] whether that pays, [`lasting`] whether it does
//! for long, [`balanced`] whether it is worth the trouble; [`cost`] is the arithmetic of trouble. [`command`] follows a command through its
//! life and [`validity`] asks whether a held one may go on; [`report`] and [`verdict`] say why everything
//! else stays and until when that answer holds.
//!
//! The invariant: a round proposes, it never assumes that its proposal is carried out. What has
//! been proposed before comes back as [`DisruptOptions::commands`]. Every candidate is looked at in every
//! round; nothing is cut off by seconds, and nothing is remembered of rounds before.

use alloc::vec::Vec;

use jiff::Timestamp;

use self::{balanced::AllTotals, consolidate::Gain, whatif::WhatIfs};
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
pub mod report;
mod single;
pub mod validity;
pub mod verdict;
pub mod whatif;

pub use self::allowance::{Allowance, allowances};
pub use self::candidate::{BlockReason, Candidate, Class, candidate};
pub use self::command::{
    Bid, Command, Failure, HOLD, Leftover, Replacement, Step, Target, leftovers,
};
pub use self::cost::{DisruptionCost, SavingsRatio};
pub use self::method::{Decision, Method};
pub use self::report::{DisruptReport, MethodReport};
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
    fn approve(&self, candidates: &[&Candidate], gain: &Gain) -> Result<(), Verdict> {
        let scores = balanced::scores(self.snapshot, &self.totals, candidates, gain.savings);
        balanced::objection(&scores).map_or(Ok(()), |score| Err(Verdict::Unbalanced(score)))
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

/// A look at every node, method by method, for those who measure how long each takes. They are to be asked
/// in the order of [`Method::ORDER`], until one finds something.
pub struct Pass<'a> {
    round: Round<'a>,
    graceful: Vec<Candidate>,
    eventual: Vec<Candidate>,
    blocked: Vec<(NodeId, BlockReason)>,
    methods: Vec<MethodReport>,
    commands: Vec<Command>,
}

impl<'a> Pass<'a> {
    /// Finds the candidates and evaluates the budgets.
    pub fn new(snapshot: &'a Snapshot, options: DisruptOptions<'a>) -> Self {
        let commands = options.commands;
        let mut graceful = Vec::new();
        let mut eventual = Vec::new();
        let mut blocked = Vec::new();
        for id in snapshot.nodes.ids() {
            match candidate(snapshot, id, Class::Graceful, commands) {
                Ok(found) => {
                    eventual.push(found.clone());
                    graceful.push(found);
                }
                Err(reason) => {
                    if reason.pod().is_some() {
                        eventual.extend(candidate(snapshot, id, Class::Eventual, commands));
                    }
                    blocked.push((id, reason));
                }
            }
        }
        let round = Round {
            snapshot,
            options,
            allowances: allowances(snapshot, commands),
            what_ifs: WhatIfs::new(snapshot, &options, true),
            totals: balanced::totals(snapshot, &graceful),
        };
        Self {
            round,
            graceful,
            eventual,
            blocked,
            methods: Vec::new(),
            commands: Vec::new(),
        }
    }

    /// Asks one method. True when it has a command, which ends the pass.
    pub fn ask(&mut self, method: Method) -> bool {
        let candidates = match method.class() {
            Class::Graceful => &self.graceful,
            Class::Eventual => &self.eventual,
        };
        let is_off = method == Method::StaticDrift && !self.round.options.static_capacity;
        if candidates.is_empty() || is_off {
            return false;
        }
        let (report, commands) = self.round.ask(method, candidates);
        self.methods.push(report);
        self.commands = commands;
        !self.commands.is_empty()
    }

    /// The node as a candidate, of whichever class.
    pub fn candidate(&self, node: NodeId) -> Option<&Candidate> {
        self.eventual
            .iter()
            .find(|candidate| candidate.node == node)
    }

    /// Why a node is no candidate of the graceful methods.
    pub fn block_reason(&self, node: NodeId) -> Option<&BlockReason> {
        let own = self.blocked.iter().find(|(blocked, _)| *blocked == node);
        own.map(|(_, reason)| reason)
    }

    /// What each method makes of one node, as if nothing came before it. Methods for which it is no
    /// candidate are left out.
    pub fn verdicts_on(&self, node: NodeId) -> Vec<(Method, Verdict)> {
        let asked = Method::ORDER.into_iter().filter_map(|method| {
            let candidates = match method.class() {
                Class::Graceful => &self.graceful,
                Class::Eventual => &self.eventual,
            };
            let own = candidates.iter().find(|own| own.node == node)?;
            Some((method, self.round.verdict_on(method, own, candidates)))
        });
        asked.collect()
    }

    /// The commands, and why everything else stays.
    pub fn finish(self) -> (Vec<Command>, DisruptReport) {
        let report = DisruptReport {
            blocked: self.blocked,
            methods: self.methods,
            valid_until: report::valid_until(self.round.snapshot),
            allowances: self.round.allowances,
        };
        (self.commands, report)
    }
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
            .any(|(_, verdict)| *verdict == Verdict::BudgetSpent);
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
        let of = |candidates: &[&Candidate], verdict: Verdict| -> Verdicts {
            let nodes = candidates.iter().map(|candidate| candidate.node);
            nodes.map(|node| (node, verdict.clone())).collect()
        };
        let mut verdicts = of(&selection.taken, Verdict::Chosen);
        verdicts.extend(of(&selection.constrained, Verdict::BudgetSpent));
        let gain = Gain {
            replacements: Vec::new(),
            bindings: Vec::new(),
            savings: selection.taken.iter().map(|own| own.price).sum(),
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
    match method {
        Method::Emptiness => empty::objection(snapshot, candidate, options),
        Method::StaticDrift => drift::objection(snapshot, candidate, true),
        Method::Drift => drift::objection(snapshot, candidate, false),
        Method::MultiNode | Method::SingleNode => {
            consolidate::objection(snapshot, candidate, options)
        }
    }
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
