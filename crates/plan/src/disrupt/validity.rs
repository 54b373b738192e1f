//! Whether a held command may still be carried out.
//!
//! Nothing is remembered of why the command was proposed: its candidates are built anew from the
//! present snapshot, as if nobody had looked before.

use alloc::vec::Vec;

use crate::price::Cost;
use crate::snapshot::Snapshot;

use super::candidate::candidate;
use super::command::{Command, Target};
use super::{DisruptOptions, allowance::allowances, empty};

/// What became of a held command.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// None of its nodes may be disrupted any more.
    Churn,
    /// The budgets closed.
    Budget,
}

impl Invalid {
    /// The cause for people.
    pub fn message(self) -> &'static str {
        match self {
            Self::Churn => "pod churn: none of the nodes may be disrupted any more",
            Self::Budget => "disruption budgets allow none of the nodes any more",
        }
    }
}

/// Builds the command's candidates anew and keeps those that its method would still take.
/// Emptiness goes on with what is left; the methods to come must keep all of their nodes.
pub fn still_valid(
    command: &Command,
    snapshot: &Snapshot,
    options: &DisruptOptions<'_>,
) -> Validity {
    let others: Vec<Command> = options
        .commands
        .iter()
        .filter(|other| {
            !other
                .nodes
                .iter()
                .any(|target| command.nodes.contains(target))
        })
        .cloned()
        .collect();
    let remaining: Vec<(&Target, _)> = command
        .nodes
        .iter()
        .filter_map(|target| {
            let id = target.id(snapshot)?;
            let candidate = candidate(snapshot, id, command.method.class(), &others).ok()?;
            empty::objection(snapshot, &candidate, options)
                .is_none()
                .then_some((target, candidate))
        })
        .collect();
    if remaining.is_empty() {
        return Validity {
            command: Err(Invalid::Churn),
            failed: command.nodes.len(),
        };
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
    let failed = remaining.len() - kept.len();
    if kept.is_empty() {
        return Validity {
            command: Err(Invalid::Budget),
            failed,
        };
    }
    let confirmed = Command {
        nodes: kept.iter().map(|(target, _)| (*target).clone()).collect(),
        pods: kept
            .iter()
            .map(|(_, candidate)| candidate.reschedulable.len())
            .sum(),
        savings: kept
            .iter()
            .map(|(_, candidate)| Cost::from(candidate.price))
            .sum(),
        started: Some(snapshot.now),
        ..command.clone()
    };
    Validity {
        command: Ok(confirmed),
        failed,
    }
}
