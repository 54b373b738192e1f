//! Rules between pods, lowered: topology spread, pod affinity and pod anti-affinity (section 5 of
//! scheduling.md).
//!
//! A rule is stated per pod shape; which pods it counts also depends on the namespace of the pod that
//! states it, which the scheduler brings together.

use alloc::{sync::Arc, vec::Vec};

use crate::{selector::Selector, vocabulary::KeyId};

/// A bound on how unevenly like pods spread over domains.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Spread {
    /// The label whose values are the domains.
    pub key: KeyId,
    /// The most that one domain may be ahead of the least filled one.
    pub max_skew: i64,
    /// How many domains there must be before the minimum counts as more than zero.
    pub min_domains: Option<u32>,
    /// `DoNotSchedule`; the others may be dropped.
    pub is_hard: bool,
    /// Which pods count, `matchLabelKeys` included.
    pub selector: Selector,
    /// Only nodes that the pod's node selector and node affinity admit count.
    pub honors_affinity: bool,
    /// Only nodes whose taints the pod tolerates count.
    pub honors_taints: bool,
}

/// Whose pods a rule counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Namespaces {
    /// Those of the pod that states the rule.
    #[default]
    Own,
    /// Those of the listed namespaces.
    Listed(Vec<Arc<str>>),
    /// Those of all namespaces.
    All,
    /// Those of namespaces with certain labels, and of the listed ones.
    Selected(Selector, Vec<Arc<str>>),
}

/// The domains where certain pods are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AffinityTerm {
    /// The label whose values are the domains.
    pub key: KeyId,
    /// Which pods count.
    pub selector: Selector,
    /// Whose pods count.
    pub namespaces: Namespaces,
}

/// All rules of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Topology {
    /// Spreads in the order they are written.
    pub spreads: Vec<Spread>,
    /// Required affinity.
    pub affinity: Vec<AffinityTerm>,
    /// Required anti-affinity.
    pub anti_affinity: Vec<AffinityTerm>,
    /// Preferred affinity, the heaviest first.
    pub preferred_affinity: Vec<AffinityTerm>,
    /// Preferred anti-affinity, the heaviest first.
    pub preferred_anti_affinity: Vec<AffinityTerm>,
}

/// A namespace, whose labels affinity terms may select.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Its name.
    pub name: Arc<str>,
    /// Its labels.
    pub labels: crate::Labels,
}

impl Namespaces {
    /// The namespaces by name in order, or `None` for all of them.
    pub(crate) fn resolve(
        &self,
        own: &Arc<str>,
        known: &[Arc<Namespace>],
    ) -> Option<Vec<Arc<str>>> {
        let mut names: Vec<Arc<str>> = match self {
            Self::Own => [own.clone()].into(),
            Self::All => return None,
            Self::Listed(listed) => listed.clone(),
            Self::Selected(selector, listed) => known
                .iter()
                .filter(|namespace| selector.selects(&namespace.labels))
                .map(|namespace| namespace.name.clone())
                .chain(listed.iter().cloned())
                .collect(),
        };
        names.sort();
        names.dedup();
        Some(names)
    }
}
