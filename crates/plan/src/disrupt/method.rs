//! The ways of finding nodes to disrupt, in the order in which they are asked.

use crate::budget::DisruptionReason;

use super::candidate::Class;

/// A way of finding nodes to disrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// Nodes that nothing needs.
    Emptiness,
    /// Drifted nodes of static pools.
    StaticDrift,
    /// Drifted nodes.
    Drift,
    /// Several nodes whose pods fit elsewhere or on one cheaper node.
    MultiNode,
    /// One node whose pods fit elsewhere or on a cheaper node.
    SingleNode,
}

impl Method {
    /// All methods in the order in which they are asked; the first that finds something ends a round.
    pub const ORDER: [Self; 5] = [
        Self::Emptiness,
        Self::StaticDrift,
        Self::Drift,
        Self::MultiNode,
        Self::SingleNode,
    ];

    /// Why its nodes are disrupted.
    pub fn reason(self) -> DisruptionReason {
        match self {
            Self::Emptiness => DisruptionReason::Empty,
            Self::StaticDrift | Self::Drift => DisruptionReason::Drifted,
            Self::MultiNode | Self::SingleNode => DisruptionReason::Underutilized,
        }
    }

    /// Whether pods can stop it.
    pub fn class(self) -> Class {
        match self {
            Self::Emptiness | Self::MultiNode | Self::SingleNode => Class::Graceful,
            Self::StaticDrift | Self::Drift => Class::Eventual,
        }
    }

    /// It saves money, so it waits for quiet and is held before it is carried out.
    pub fn is_consolidation(self) -> bool {
        self.class() == Class::Graceful
    }

    /// The metric label `consolidation_type`.
    pub fn consolidation_type(self) -> &'static str {
        match self {
            Self::Emptiness => "empty",
            Self::StaticDrift | Self::Drift => "",
            Self::MultiNode => "multi",
            Self::SingleNode => "single",
        }
    }

    /// The method's name for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Emptiness => "Emptiness",
            Self::StaticDrift => "StaticDrift",
            Self::Drift => "Drift",
            Self::MultiNode => "MultiNode",
            Self::SingleNode => "SingleNode",
        }
    }
}

/// What becomes of a command's nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Decision {
    /// They go; their pods have room elsewhere.
    Delete,
    /// They go once others have come.
    Replace,
}

impl Decision {
    /// The metric label `decision`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Replace => "replace",
        }
    }
}
