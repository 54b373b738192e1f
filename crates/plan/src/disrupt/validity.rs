//! Whether a held command may still be carried out (section 10 of disruption.md).
//!
//! Nothing is remembered of why the command was proposed: its candidates are built anew from the
//! present snapshot, as if nobody had looked before, and their pods look for a place once more.

use alloc::{sync::Arc, vec::Vec};

use super::{
    DisruptOptions,
    allowance::allowances,
    candidate::{Candidate, candidate},
    command::{Command, Target},
    method::Method,
    objection,
    whatif::WhatIfs,
};
use crate::{price::Cost, schedule::NewClaim, snapshot::Snapshot};

/// What became of a held command.
#[derive(Clone, Debug, PartialEq)]
pub struct Validity {
    /// The command to go on with, in flight from now on, perhaps for fewer nodes; or why there is
    /// none.
    pub command: Result<Command, Invalid>,
    /// How many candidates upstream counts as failed validations.
    pub failed: usize,
}

/// Why a held command is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// So many of its nodes may not be disrupted any more.
    Churn(usize),
    /// The budgets closed.
    Budget,
    /// The pods have another place now than the command was made for.
    Scheduling,
}

impl Invalid {
    /// The category that events name.
    pub fn category(self) -> &'static str {
        match self {
            Self::Churn(_) => "churn",
            Self::Budget => "budget",
            Self::Scheduling => "scheduling",
        }
    }

    /// The cause for people.
    pub fn message(self) -> &'static str {
        match self {
            Self::Churn(_) => "pod churn: nodes may not be disrupted any more",
            Self::Budget => "a candidate can no longer be disrupted without violating budgets",
            Self::Scheduling => "scheduling simulation produced new results",
        }
    }
}

/// Builds the command's candidates anew and keeps those that its method would still take. Emptiness goes
/// on with what is left; consolidation keeps all of its nodes or is given up. What is carried out is the
/// command as it was proposed: prices are not compared again.
pub fn still_valid(
    command: &Command,
    snapshot: &Snapshot,
    options: &DisruptOptions<'_>,
) -> Validity {
    // The command is among those that were given. A node of one in flight is taken.
    let is_other = |other: &&Command| {
        let mut targets = other.nodes.iter();
        !other.is_held() || !targets.any(|target| command.nodes.contains(target))
    };
    let others: Vec<Command> = options.commands.iter().filter(is_other).cloned().collect();
    let options = &DisruptOptions {
        commands: &others,
        ..*options
    };
    let remaining: Vec<(&Target, Candidate)> = command
        .nodes
        .iter()
        .filter_map(|target| {
            let id = target.id(snapshot)?;
            let candidate = candidate(snapshot, id, command.method.class(), &others).ok()?;
            let objection = objection(snapshot, command.method, &candidate, options);
            objection.is_none().then_some((target, candidate))
        })
        .collect();
    let may_shrink = command.method == Method::Emptiness;
    let all = command.nodes.len();
    let lost = all - remaining.len();
    let invalid = |invalid, failed| Validity {
        command: Err(invalid),
        failed,
    };
    if remaining.is_empty() || (lost > 0 && !may_shrink) {
        return invalid(Invalid::Churn(lost), all);
    }
    let mut left = allowances(snapshot, &others);
    let mut kept = Vec::new();
    for (target, candidate) in &remaining {
        let allowance = &mut left[candidate.pool];
        if allowance.remaining(command.method.reason()) > 0 {
            allowance.consuming += 1;
            kept.push((*target, candidate));
        }
    }
    if !may_shrink && kept.len() < all {
        return invalid(Invalid::Budget, all);
    }
    let failed = remaining.len() - kept.len();
    if kept.is_empty() {
        return invalid(Invalid::Budget, failed);
    }
    // Nothing waits between a proposal for a drifted node and its execution.
    if command.method.is_consolidation() && !may_shrink {
        let candidates: Vec<&Candidate> = kept.iter().map(|(_, candidate)| *candidate).collect();
        if !comes_to_the_same(command, &WhatIfs::new(snapshot, options, true), &candidates) {
            return invalid(Invalid::Scheduling, 0);
        }
    }
    let confirmed = Command {
        nodes: kept.iter().map(|(target, _)| (*target).clone()).collect(),
        pods: kept
            .iter()
            .map(|(_, candidate)| candidate.reschedulable.len())
            .sum(),
        savings: if may_shrink {
            kept.iter()
                .map(|(_, candidate)| Cost::from(candidate.price))
                .sum()
        } else {
            command.savings
        },
        started: Some(snapshot.now),
        ..command.clone()
    };
    Validity {
        command: Ok(confirmed),
        failed,
    }
}

/// The pods would still go where the command says: onto nodes that stay, or onto a node of one of the
/// types that the command would launch.
fn comes_to_the_same(command: &Command, what_ifs: &WhatIfs<'_>, candidates: &[&Candidate]) -> bool {
    let outcome = what_ifs.without(candidates);
    if !outcome.stuck.is_empty() {
        return false;
    }
    match (&outcome.claims[..], &command.replacements[..]) {
        ([], []) => true,
        ([claim], [replacement]) => covers(what_ifs.snapshot(), claim, &replacement.instance_types),
        _ => false,
    }
}

/// The claim may become each of these types.
fn covers(snapshot: &Snapshot, claim: &NewClaim, names: &[Arc<str>]) -> bool {
    let Ok(catalog) = &snapshot.catalogs[claim.pool] else {
        return false;
    };
    names.iter().all(|name| {
        let id = catalog.type_named(name);
        id.is_some_and(|id| claim.instance_types.contains(&id))
    })
}
