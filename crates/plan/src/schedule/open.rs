//! Claims that this round has opened, and placing more pods on them: emptiest first.

use alloc::{collections::VecDeque, vec::Vec};

use super::{
    ask::Ask,
    class::Classes,
    devices::{DeviceWish, Holder},
    reserve::{Held, Reservations},
    set::{SetId, Sets},
    template::{Template, Templates, min_values_met},
    topology::Topology,
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

/// What asking a claim came to.
enum Answer {
    /// The claim takes the pod and becomes this.
    Yes(SetId, Slots, Held),
    /// Rules between pods or reservations that others hold stand in the way, for now.
    NotNow,
    /// It will never take such a pod, unless it comes to define more keys.
    Never,
}

/// What a round remembers, for a claim that is asked.
struct Memory<'m, 's, 't> {
    sets: &'m mut Sets<'s>,
    topology: &'m mut Topology<'t>,
    reservations: &'m Reservations,
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
    pub(super) fn push(&mut self, claim: OpenClaim) -> usize {
        let at = self.claims.len();
        let count = claim.pods.len();
        self.claims.push(claim);
        self.bucket(count).push_back(at);
        at
    }

    fn bucket(&mut self, count: usize) -> &mut VecDeque<usize> {
        if self.buckets.len() <= count {
            self.buckets.resize_with(count + 1, VecDeque::new);
        }
        &mut self.buckets[count]
    }

    /// Puts the pod on the emptiest claim that accepts it. Says which, and whether others may now be
    /// accepted that were not before: it defines more keys, or holds other reservations.
    pub(super) fn place(
        &mut self,
        ask: &Ask<'_>,
        classes: &mut Classes,
        sets: &mut Sets<'_>,
        topology: &mut Topology<'_>,
        reservations: &mut Reservations,
        templates: &Templates,
    ) -> Option<(usize, bool)> {
        let refused = &mut classes[ask.class].refused;
        refused.grow(self.claims.len());
        // Claims that refuse for good and those that rules between pods forbid for now.
        let first_host = topology.first_claim_host();
        let mut accepted = None;
        'buckets: for (count, bucket) in self.buckets.iter().enumerate() {
            for (seat, &at) in bucket.iter().enumerate() {
                if refused.contains(at) || topology.forbids(ask.profile, first_host + at) {
                    continue;
                }
                let claim = &self.claims[at];
                let template = &templates.templates[claim.template];
                let memory = Memory {
                    sets: &mut *sets,
                    topology: &mut *topology,
                    reservations: &*reservations,
                };
                match claim.ask(at, ask, template, memory) {
                    Answer::Yes(set, slots, held) => {
                        accepted = Some((count, seat, at, (set, slots, held)));
                        break 'buckets;
                    }
                    Answer::NotNow => {}
                    Answer::Never => refused.insert(at),
                }
            }
        }
        let (count, seat, at, (set, slots, held)) = accepted?;
        let is_freed = reservations.hold(at, held);
        let claim = &mut self.claims[at];
        let defines_more = sets.get(set).iter().count() > sets.get(claim.set).iter().count();
        claim.set = set;
        claim.slots = slots;
        claim.pods.push(ask.id);
        claim.requests.add(&ask.pod.requests);
        claim.ports.extend(ask.pod.shape.ports.iter().cloned());
        self.bucket(count).remove(seat);
        self.bucket(count + 1).push_front(at);
        if defines_more {
            for class in classes.iter_mut() {
                if class.refused.len() > at {
                    class.refused.set(at, false);
                }
            }
        }
        Some((at, defines_more || is_freed))
    }

    pub(super) fn claim(&self, at: usize) -> &OpenClaim {
        &self.claims[at]
    }

    /// The claims in the order they were opened.
    pub(super) fn into_claims(self) -> Vec<OpenClaim> {
        self.claims
    }
}

impl OpenClaim {
    /// What the claim would become with the pod.
    fn ask(
        &self,
        at: usize,
        ask: &Ask<'_>,
        template: &Template,
        memory: Memory<'_, '_, '_>,
    ) -> Answer {
        let sets = &mut *memory.sets;
        if !template.tolerates(sets, ask.wish) {
            return Answer::Never;
        }
        let Some(wished) = sets.narrow(self.set, ask.wish) else {
            return Answer::Never;
        };
        if ask.devices.is_some() {
            let holder = Some(Holder::Claim(at));
            let devices = DeviceWish::of(ask, holder, sets, self.set, template, &self.slots);
            let granted = devices.ok().and_then(|devices| {
                let wished = sets.narrow(wished, devices.wish)?;
                Some((wished, devices.slots))
            });
            // Devices may become free again.
            return granted.map_or(Answer::NotNow, |(wished, slots)| {
                match self.ask_for(at, ask, template, memory, wished, &slots) {
                    Answer::Never => Answer::NotNow,
                    answer @ (Answer::Yes(..) | Answer::NotNow) => answer,
                }
            });
        }
        self.ask_for(at, ask, template, memory, wished, &self.slots)
    }

    /// What the claim would become when it has the wished requirements and these slots.
    fn ask_for(
        &self,
        at: usize,
        ask: &Ask<'_>,
        template: &Template,
        memory: Memory<'_, '_, '_>,
        wished: SetId,
        among: &Slots,
    ) -> Answer {
        let Memory {
            sets,
            topology,
            reservations,
        } = memory;
        let mut answer = Answer::Never;
        for volumes in ask.volumes.alternatives() {
            let set = match volumes {
                None => Some(wished),
                Some(volumes) => sets.narrow(wished, volumes),
            };
            let Some(set) = set else {
                continue;
            };
            let Some(narrowed) = topology.narrow(ask.profile, sets, set) else {
                answer = Answer::NotNow;
                continue;
            };
            if let Some(slots) = self.slots_with(template, sets, narrowed, ask.pod, among) {
                match reservations.ask(Some(at), &template.catalog, sets, narrowed, &slots) {
                    Ok(held) => return Answer::Yes(narrowed, slots, held),
                    Err(_) => answer = Answer::NotNow,
                }
                continue;
            }
            // In another domain the pod may fit.
            if narrowed != set
                && self
                    .slots_with(template, sets, set, ask.pod, among)
                    .is_some()
            {
                answer = Answer::NotNow;
            }
        }
        answer
    }

    /// The slots that are left when the claim has these requirements and the pod.
    fn slots_with(
        &self,
        template: &Template,
        sets: &mut Sets<'_>,
        set: SetId,
        pod: &Pod,
        among: &Slots,
    ) -> Option<Slots> {
        let own_ports = &pod.shape.ports;
        let clash = |taken: &[HostPort]| {
            taken
                .iter()
                .any(|taken| own_ports.iter().any(|own| own.conflicts(taken)))
        };
        if clash(&self.ports) {
            return None;
        }
        let left = sets.left(template.pool, &template.catalog, set);
        let mut total = self.requests.clone();
        total.add(&pod.requests);
        let slots = template.filter(&left, among, &total, |group| !clash(&group.ports));
        if slots.is_clear() {
            return None;
        }
        // Adding a pod never lowers a minimum number of values, whatever the policy.
        min_values_met(&template.catalog, &slots, sets.get(set)).then_some(slots)
    }
}
