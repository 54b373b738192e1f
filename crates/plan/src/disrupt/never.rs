//! Pods whose eviction can never succeed as things stand: what is in the way, and since when.
//!
//! An eviction that is refused now may succeed when a pod elsewhere has become ready. These will not: somebody
//! has to change something first, and is told what. The instant is read off objects, so that it survives a
//! restart.

use alloc::{format, string::String, sync::Arc, vec::Vec};

use jiff::Timestamp;

use crate::{
    disruption_budget::DisruptionBudget,
    pod::{DoNotDisrupt, Pod},
};

/// Why a pod can never be evicted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Never {
    /// What is in the way.
    pub hindrance: Hindrance,
    /// Since when at the latest; nothing where no object says.
    pub since: Option<Timestamp>,
}

/// What is in the way of an eviction for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hindrance {
    /// The pod's annotation forbids it without end.
    Annotation,
    /// A budget that allows none even when every pod is healthy.
    Budget {
        /// `namespace/name`.
        name: String,
        /// What in it forbids that.
        bound: String,
    },
    /// More than one budget covers the pod, which the eviction API refuses; their names.
    Budgets(Vec<Arc<str>>),
}

/// Asks why a pod can never be evicted; nothing when it could be some day. Of the budgets those that protect the
/// pod are looked at.
pub fn never<'a>(
    pod: &Pod,
    budgets: impl IntoIterator<Item = &'a DisruptionBudget>,
    now: Timestamp,
) -> Option<Never> {
    if !pod.is_active() {
        return None;
    }
    if pod.do_not_disrupt == DoNotDisrupt::Always {
        return Some(Never {
            hindrance: Hindrance::Annotation,
            since: pod.started,
        });
    }
    if !pod.is_evictable(now) {
        return None;
    }
    let budgets = budgets.into_iter();
    let protecting: Vec<&DisruptionBudget> =
        budgets.filter(|budget| budget.protects(pod)).collect();
    match &protecting[..] {
        [] => None,
        &[budget] => {
            let is_excused = budget.always_allow_unhealthy && pod.ready == Some(false);
            let bound = budget.closing_bound().filter(|_| !is_excused)?;
            Some(Never {
                hindrance: Hindrance::Budget {
                    name: format!("{}/{}", budget.namespace, budget.name),
                    bound,
                },
                since: pod.started.max(budget.closed_since.or(budget.created)),
            })
        }
        several => {
            // The second one to come made them several.
            let mut created: Vec<_> = several.iter().map(|budget| budget.created).collect();
            created.sort_unstable();
            Some(Never {
                hindrance: Hindrance::Budgets(
                    several.iter().map(|budget| budget.name.clone()).collect(),
                ),
                since: pod.started.max(created[1]),
            })
        }
    }
}

impl Never {
    /// The pod with what is in the way and since when. Whoever has waited for the pod only from some instant on
    /// names that as `waited`.
    pub fn message(&self, pod: &Pod, waited: Option<Timestamp>) -> String {
        let hindrance = match &self.hindrance {
            Hindrance::Annotation => "its annotation karpenter.sh/do-not-disrupt has no end".into(),
            Hindrance::Budget { name, bound } => {
                format!("PodDisruptionBudget {name} allows none, with {bound}")
            }
            Hindrance::Budgets(names) => {
                let names: Vec<&str> = names.iter().map(|name| &**name).collect();
                format!(
                    "more than one PodDisruptionBudget covers it ({})",
                    names.join(", ")
                )
            }
        };
        let since = self.since.max(waited);
        let since = since.map_or_else(String::new, |since| format!(", since {since}"));
        let name = pod.display_name();
        format!("pod {name} can never be evicted: {hindrance}{since}")
    }
}
