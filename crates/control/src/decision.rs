//! What was decided, as values for whoever watches from inside the process.
//!
//! Nobody has to listen, and without a listener nothing is kept. What is kept is bounded; a slow
//! listener misses the oldest.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use tokio::sync::broadcast;

/// One thing that was decided or came to pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// A claim was created.
    Created {
        /// The claim's name.
        claim: String,
        /// The pool it comes from.
        pool: String,
        /// The cheapest type it allows; empty for a claim that leaves this to the provider.
        instance_type: String,
        /// How many more types it allows.
        others: usize,
        /// The price of the cheapest offering in dollars an hour, as text.
        price: String,
        /// Why: `provisioned`, or a disruption reason.
        reason: String,
    },
    /// A pod has a place to be.
    Placed {
        /// Namespace and name of the pod.
        pod: String,
        /// `nodeclaim/<name>`, `node/<name>`, or both.
        target: String,
    },
    /// A pod has no place to be.
    Refused {
        /// Namespace and name of the pod.
        pod: String,
        /// Why.
        reason: String,
    },
    /// A claim has its machine, node, or is ready for pods.
    Reached {
        /// The claim's name.
        claim: String,
        /// `launched`, `registered` or `initialized`.
        stage: String,
        /// What more is known: the type and the node's name.
        detail: String,
    },
    /// A node shall go.
    Disrupted {
        /// The node's name.
        node: String,
        /// The disruption reason and what it rests on.
        reason: String,
    },
    /// A claim went.
    Removed {
        /// The claim's name.
        claim: String,
    },
}

impl fmt::Display for Decision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created {
                claim,
                pool,
                instance_type,
                others,
                price,
                reason,
            } => {
                write!(
                    formatter,
                    "nodeclaim {claim} created from nodepool {pool} ("
                )?;
                if instance_type.is_empty() {
                    return write!(formatter, "{reason})");
                }
                write!(formatter, "{instance_type}")?;
                if *others > 0 {
                    write!(formatter, " and {others} other(s)")?;
                }
                write!(formatter, ", from ${price}/h, {reason})")
            }
            Self::Placed { pod, target } => write!(formatter, "pod {pod} -> {target}"),
            Self::Refused { pod, reason } => write!(formatter, "pod {pod} has no place: {reason}"),
            Self::Reached {
                claim,
                stage,
                detail,
            } => {
                write!(formatter, "nodeclaim {claim} {stage}")?;
                if detail.is_empty() {
                    Ok(())
                } else {
                    write!(formatter, " ({detail})")
                }
            }
            Self::Disrupted { node, reason } => write!(formatter, "node {node} goes: {reason}"),
            Self::Removed { claim } => write!(formatter, "nodeclaim {claim} removed"),
        }
    }
}

/// Where decisions are told. Clones tell the same listeners.
#[derive(Clone, Debug, Default)]
pub struct Decisions {
    /// Made for the first listener: its buffer is not small, and most processes have none.
    sender: Arc<OnceLock<broadcast::Sender<Decision>>>,
}

/// Decisions that a slow listener may lag behind.
const KEPT: usize = 4096;

impl Decisions {
    /// Tells a decision to whoever listens.
    pub fn tell(&self, decision: Decision) {
        if let Some(sender) = self.sender.get() {
            // Listeners that have gone miss nothing.
            let _ = sender.send(decision);
        }
    }

    /// Listens from here on.
    pub fn listen(&self) -> broadcast::Receiver<Decision> {
        self.sender
            .get_or_init(|| broadcast::channel(KEPT).0)
            .subscribe()
    }
}
