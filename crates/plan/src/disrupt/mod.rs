//! Voluntary disruption: which nodes to remove now, for which reason, and why not the others.
//!
//! One round: [`allowance`] evaluates the budgets, [`mod@candidate`] splits the nodes into candidates
//! with a cost and reasons against the rest, then the methods are asked in upstream's order and the
//! first command that pays ends the round. [`command`] follows a command through its life and
//! [`validity`] asks whether a held one may go on; [`report`] says why everything else stays and until when that answer holds. [`cost`] is the
//! arithmetic, [`empty`] the only method so far; drift and consolidation have their places in
//! [`Method::ORDER`].
//!
//! The invariant: a round proposes, it never assumes that its proposal is carried out. What has
//! been proposed before comes back as [`DisruptOptions::commands`].

use alloc::vec::Vec;

use crate::price::Cost;
use crate::snapshot::Snapshot;
use crate::vocabulary::{IdVec, PoolId};

pub mod allowance;
pub mod candidate;
pub mod command;
pub mod cost;
pub mod empty;
pub mod method;
pub mod report;
pub mod validity;

pub use self::allowance::{Allowance, allowances};
pub use self::candidate::{BlockReason, Candidate, Class, candidate};
pub use self::command::{Command, Failure, HOLD, Leftover, Replacement, Step, Target, leftovers};
pub use self::cost::{DisruptionCost, SavingsRatio};
pub use self::method::{Decision, Method};
pub use self::report::{DisruptReport, MethodReport, Verdict};
pub use self::validity::{Invalid, Validity, still_valid};

/// How to look for nodes to disrupt.
#[derive(Clone, Copy, Debug, Default)]
pub struct DisruptOptions<'a> {
    /// Commands that are held or in flight: their nodes are taken and consume budgets.
    pub commands: &'a [Command],
    /// Takes every node for quiet, for those who ask what would be disrupted in the end. Pools that
    /// are never consolidated stay so.
    pub ignore_consolidate_after: bool,
}

/// Looks at every node and proposes at most one command.
pub fn disrupt(
    snapshot: &Snapshot,
    options: &DisruptOptions<'_>,
) -> (Option<Command>, DisruptReport) {
    let allowances = allowances(snapshot, options.commands);
    let mut candidates = Vec::new();
    let mut blocked = Vec::new();
    for id in snapshot.nodes.ids() {
        match candidate(snapshot, id, Class::Graceful, options.commands) {
            Ok(found) => candidates.push(found),
            Err(reason) => blocked.push((id, reason)),
        }
    }
    let mut methods = Vec::new();
    let mut command = None;
    for method in Method::ORDER {
        let found = match method {
            Method::Emptiness => emptiness(snapshot, &candidates, &allowances, options),
            // Not built yet; they will ask `candidate` for their own class.
            Method::StaticDrift | Method::Drift | Method::MultiNode | Method::SingleNode => None,
        };
        if let Some((report, proposal)) = found {
            methods.push(report);
            command = proposal;
        }
        if command.is_some() {
            break;
        }
    }
    let valid_until = report::valid_until(snapshot);
    (
        command,
        DisruptReport {
            blocked,
            methods,
            allowances,
            valid_until,
        },
    )
}

/// Asks Emptiness; nothing when there is no candidate to ask about.
fn emptiness(
    snapshot: &Snapshot,
    candidates: &[Candidate],
    allowances: &IdVec<PoolId, Allowance>,
    options: &DisruptOptions<'_>,
) -> Option<(MethodReport, Option<Command>)> {
    if candidates.is_empty() {
        return None;
    }
    let is_waiting = options.commands.iter().any(Command::is_held);
    let objections: Vec<(&Candidate, Option<Verdict>)> = candidates
        .iter()
        .map(|candidate| (candidate, empty::objection(snapshot, candidate, options)))
        .collect();
    let eligible: Vec<&Candidate> = objections
        .iter()
        .filter(|(_, objection)| objection.is_none())
        .map(|(candidate, _)| *candidate)
        .collect();
    let selection = empty::select(eligible.iter().copied(), allowances);
    let is_spent = |candidate: &Candidate| {
        selection
            .constrained
            .iter()
            .any(|constrained| constrained.node == candidate.node)
    };
    let verdict = |candidate: &Candidate, objection: Option<Verdict>| match objection {
        Some(objection) => objection,
        None if is_waiting => Verdict::CommandHeld,
        None if is_spent(candidate) => Verdict::BudgetSpent,
        None => Verdict::Chosen,
    };
    let report = MethodReport {
        method: Method::Emptiness,
        eligible: eligible.len(),
        constrained: !is_waiting && !selection.constrained.is_empty(),
        verdicts: objections
            .iter()
            .map(|(candidate, objection)| (candidate.node, verdict(candidate, *objection)))
            .collect(),
    };
    let command = (!is_waiting && !selection.taken.is_empty())
        .then(|| deletion(snapshot, Method::Emptiness, &selection.taken));
    Some((report, command))
}

/// The command that deletes these candidates without replacement.
fn deletion(snapshot: &Snapshot, method: Method, candidates: &[&Candidate]) -> Command {
    let delay = if method.is_consolidation() {
        HOLD
    } else {
        Default::default()
    };
    Command {
        method,
        decision: Decision::Delete,
        nodes: candidates
            .iter()
            .filter_map(|candidate| Target::of(snapshot, candidate.node))
            .collect(),
        replacements: Vec::new(),
        pods: candidates
            .iter()
            .map(|candidate| candidate.reschedulable.len())
            .sum(),
        savings: candidates
            .iter()
            .map(|candidate| Cost::from(candidate.price))
            .sum(),
        proposed: snapshot.now,
        due: snapshot.now.checked_add(delay).unwrap_or(snapshot.now),
        started: None,
        failure: None,
    }
}
