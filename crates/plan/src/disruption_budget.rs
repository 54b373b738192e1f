//! A PodDisruptionBudget lowered.

use alloc::sync::Arc;

use crate::selector::Selector;

/// A bound of a budget as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// A number of pods.
    Count(i32),
    /// A percentage.
    Percent(i32),
}

/// A PodDisruptionBudget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisruptionBudget {
    /// The namespace, to which it is confined.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
    /// Which pods it protects.
    pub selector: Selector,
    /// `status.disruptionsAllowed`.
    pub disruptions_allowed: i32,
    /// `spec.maxUnavailable`.
    pub max_unavailable: Option<Bound>,
    /// `spec.minAvailable`.
    pub min_available: Option<Bound>,
    /// `spec.unhealthyPodEvictionPolicy` is `AlwaysAllow`.
    pub always_allow_unhealthy: bool,
}

impl DisruptionBudget {
    /// True when the budget by its specification never allows a disruption. An integer `minAvailable`
    /// never counts.
    pub fn is_fully_blocking(&self) -> bool {
        matches!(
            self.max_unavailable,
            Some(Bound::Count(0) | Bound::Percent(0))
        ) || matches!(self.min_available, Some(Bound::Percent(100)))
    }

    /// True when the pod is among those it protects.
    pub fn protects(&self, pod: &crate::pod::Pod) -> bool {
        self.namespace == pod.namespace && self.selector.selects(&pod.labels)
    }
}
