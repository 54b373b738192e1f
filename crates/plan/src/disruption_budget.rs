//! A PodDisruptionBudget lowered.

use alloc::{format, string::String, sync::Arc};
use core::fmt;

use jiff::Timestamp;

use crate::selector::Selector;

/// A bound of a budget as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// A number of pods.
    Count(i32),
    /// A percentage.
    Percent(i32),
}

impl fmt::Display for Bound {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(formatter, "{count}"),
            Self::Percent(percent) => write!(formatter, "{percent}%"),
        }
    }
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
    /// `status.desiredHealthy`.
    pub desired_healthy: i32,
    /// `status.expectedPods`.
    pub expected_pods: i32,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// Since when its condition `DisruptionAllowed` is False.
    pub closed_since: Option<Timestamp>,
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

    /// The bound that allows no disruption even when all the pods are healthy that there are to be, if there is
    /// one.
    pub fn closing_bound(&self) -> Option<String> {
        let needs_all = self.expected_pods > 0 && self.desired_healthy >= self.expected_pods;
        match (self.max_unavailable, self.min_available) {
            (Some(bound), _) if self.is_fully_blocking() => Some(format!("maxUnavailable {bound}")),
            (None, Some(bound)) if self.is_fully_blocking() => {
                Some(format!("minAvailable {bound}"))
            }
            (None, Some(bound)) if needs_all => Some(format!(
                "minAvailable {bound} of {} pods",
                self.expected_pods
            )),
            _ => None,
        }
    }

    /// True when the pod is among those it protects.
    pub fn protects(&self, pod: &crate::pod::Pod) -> bool {
        self.namespace == pod.namespace && self.selector.selects(&pod.labels)
    }
}
