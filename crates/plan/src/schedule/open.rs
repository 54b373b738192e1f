//! Claims that this round has opened, and placing more pods on them: emptiest first.

use alloc::{collections::VecDeque, vec::Vec};

use super::{
    class::{ClassId, Classes},
    set::{SetId, Sets, WishId},
    template::{Template, Templates, min_values_met},
};
use crate::{
    catalog::Slots,
    pod::{HostPort, Pod},
    resources::Resources,
    vocabulary::PodId,
};

/// A claim in the making.
#[derive(Debug)]
pub(super) struct OpenClaim {
    /// Index of its template.
    pub(super) template: usize,
    pub(super) set: SetId,
    /// Slots that are still possible.
    pub(super) slots: Slots,
    pub(super) pods: Vec<PodId>,
    /// What its pods request.
    pub(super) requests: Resources,
    /// Host ports of its pods.
    pub(super) ports: Vec<HostPort>,
    pub(super) min_values_relaxed: bool,
}

/// All claims of a round, with those of equal pod count in one bucket.
///
/// Upstream sorts its list of claims by pod count before each pod, starting from the last order: a claim
/// that got a pod comes before those that had as many already, a new claim after those with one pod. The
/// buckets reproduce that without sorting.
#[derive(Debug, Default)]
pub(super) struct OpenClaims {
    claims: Vec<OpenClaim>,
    /// Per number of pods, the claims with so many, in the order they are asked.
    buckets: Vec<VecDeque<usize>>,
}

impl OpenClaims {
    pub(super) fn push(&mut self, claim: OpenClaim) {
        let at = self.claims.len();
        let count = claim.pods.len();
        self.claims.push(claim);
        self.bucket(count).push_back(at);
    }

    fn bucket(&mut self, count: usize) -> &mut VecDeque<usize> {
        if self.buckets.len() <= count {
            self.buckets.resize_with(count + 1, VecDeque::new);
        }
        &mut self.buckets[count]
    }

    /// Puts the pod on the emptiest claim that accepts it. Says whether the claim now defines more keys
    /// than before.
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one round, borrowed apart"
    )]
    pub(super) fn place(
        &mut self,
        class: ClassId,
        classes: &mut Classes,
        sets: &mut Sets<'_>,
        templates: &Templates,
        wish: WishId,
        id: PodId,
        pod: &Pod,
    ) -> Option<bool> {
        let refused = &mut classes[class].refused;
        refused.grow(self.claims.len());
        let mut accepted = None;
        'buckets: for (count, bucket) in self.buckets.iter().enumerate() {
            for (seat, &at) in bucket.iter().enumerate() {
                if refused.contains(at) {
                    continue;
                }
                let claim = &self.claims[at];
                let template = &templates.templates[claim.template];
                if let Some(after) = claim.accepts(template, sets, wish, pod) {
                    accepted = Some((count, seat, at, after));
                    break 'buckets;
                }
                refused.insert(at);
            }
        }
        let (count, seat, at, (set, slots)) = accepted?;
        let claim = &mut self.claims[at];
        let defines_more = sets.get(set).iter().count() > sets.get(claim.set).iter().count();
        claim.set = set;
        claim.slots = slots;
        claim.pods.push(id);
        claim.requests.add(&pod.requests);
        claim.ports.extend(pod.shape.ports.iter().cloned());
        self.bucket(count).remove(seat);
        self.bucket(count + 1).push_front(at);
        if defines_more {
            for class in classes.iter_mut() {
                if class.refused.len() > at {
                    class.refused.set(at, false);
                }
            }
        }
        Some(defines_more)
    }

    /// The claims in the order they were opened.
    pub(super) fn into_claims(self) -> Vec<OpenClaim> {
        self.claims
    }
}

impl OpenClaim {
    /// What the claim would become with the pod, if it accepts it.
    fn accepts(
        &self,
        template: &Template,
        sets: &mut Sets<'_>,
        wish: WishId,
        pod: &Pod,
    ) -> Option<(SetId, Slots)> {
        if !template.tolerates(sets, wish) {
            return None;
        }
        let own_ports = &pod.shape.ports;
        let clash = |taken: &[HostPort]| {
            taken
                .iter()
                .any(|taken| own_ports.iter().any(|own| own.conflicts(taken)))
        };
        if clash(&self.ports) {
            return None;
        }
        let set = sets.narrow(self.set, wish)?;
        let left = sets.left(template.pool, &template.catalog, set);
        let mut total = self.requests.clone();
        total.add(&pod.requests);
        let slots = template.filter(&left, &self.slots, &total, |group| !clash(&group.ports));
        if slots.is_clear() {
            return None;
        }
        // Adding a pod never lowers a minimum number of values, whatever the policy.
        min_values_met(&template.catalog, &slots, sets.get(set)).then_some((set, slots))
    }
}
