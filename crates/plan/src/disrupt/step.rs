//! A command's life: held, still valid, in flight, done or undone.
//!
//! The question asked of it ([`Command::next_step`]) is pure; whoever carries it out performs exactly the
//! step that is named, then asks again with a fresh snapshot. Steps are derived from what the
//! snapshot shows, so performing one twice is harmless.

use alloc::{string::String, sync::Arc, vec::Vec};
use core::fmt;

use jiff::{SignedDuration, Timestamp};

use super::command::{Command, Replacement, Target, claim_named};
use crate::{node::Node, snapshot::Snapshot};

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
