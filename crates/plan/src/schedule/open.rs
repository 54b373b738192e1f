//! Claims that this round has opened, and placing more pods on them: emptiest first.

use alloc::{collections::VecDeque, vec::Vec};

use fixedbitset::FixedBitSet;

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

/// Bits of a word of a set.
const WORD: usize = usize::BITS as usize;

/// One claim in so many is few enough to put them in order rather than to walk all: putting one in order
/// costs about as much as walking past so many.
const MANY: usize = 16;

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

/// Claims of one template with the same requirements.
#[derive(Debug)]
struct Kind {
    template: usize,
    set: SetId,
    claims: FixedBitSet,
}

/// How requirements keep a pod away.
enum Obstacle {
    /// Rules between pods stand in the way.
    ForNow,
    /// They contradict, unless the claims come to define more keys.
    ForGood,
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
///
/// Most claims refuse most pods, so where few claims are left to ask, they are found by words of the bit
/// sets and put in order by their seats, instead of walking past all that refuse.
#[derive(Debug, Default)]
pub(super) struct OpenClaims {
    claims: Vec<OpenClaim>,
    /// Of each claim where it stands among those with as many pods, smaller first.
    seats: Vec<i64>,
    /// How often a seat was given.
    seated: i64,
    /// The claims of each template and requirement set: what a set cannot take none of them can.
    kinds: Vec<Kind>,
    /// Per number of pods, the claims with so many, in the order they are asked.
    buckets: Vec<VecDeque<usize>>,
    /// Buckets with a claim in them: a few claims of hundreds of pods leave hundreds empty.
    filled: FixedBitSet,
}

impl OpenClaims {
    pub(super) fn push(&mut self, claim: OpenClaim) -> usize {
        let at = self.claims.len();
        let count = claim.pods.len();
        self.join(at, claim.template, claim.set);
        self.claims.push(claim);
        self.seated += 1;
        self.seats.push(self.seated);
        self.bucket(count).push_back(at);
        self.filled.grow_and_insert(count);
        at
    }

    /// Counts a claim among those of a kind.
    fn join(&mut self, at: usize, template: usize, set: SetId) {
        let is_of = |kind: &Kind| (kind.template, kind.set) == (template, set);
        let place = self.kinds.iter().position(is_of).unwrap_or_else(|| {
            self.kinds.push(Kind {
                template,
                set,
                claims: FixedBitSet::new(),
            });
            self.kinds.len() - 1
        });
        self.kinds[place].claims.grow_and_insert(at);
    }

    /// Gives a claim another set of requirements.
    fn change_set(&mut self, at: usize, set: SetId) {
        let claim = &mut self.claims[at];
        let (template, before) = (claim.template, claim.set);
        if before == set {
            return;
        }
        claim.set = set;
        for kind in &mut self.kinds {
            if (kind.template, kind.set) == (template, before) {
                kind.claims.set(at, false);
            }
        }
        self.join(at, template, set);
    }

    /// The claims whose requirements cannot take the pod now, whatever room they have. Those that never
    /// can are added to the refusals of its class.
    fn contradicting(
        &self,
        ask: &Ask<'_>,
        refused: &mut FixedBitSet,
        sets: &mut Sets<'_>,
        topology: &mut Topology<'_>,
        templates: &Templates,
    ) -> FixedBitSet {
        let mut not_now = FixedBitSet::with_capacity(self.claims.len());
        for kind in &self.kinds {
            if kind.claims.is_subset(refused) {
                continue;
            }
            let template = &templates.templates[kind.template];
            match kind.ask(ask, template, sets, topology) {
                None => {}
                Some(Obstacle::ForNow) => not_now.union_with(&kind.claims),
                Some(Obstacle::ForGood) => refused.union_with(&kind.claims),
            }
        }
        not_now
    }

    /// Moves a claim that got a pod from those that had as many before it to the head of the next.
    fn advance(&mut self, at: usize, count: usize) {
        let Self { seats, buckets, .. } = self;
        if let Ok(place) = buckets[count].binary_search_by_key(&seats[at], |&other| seats[other]) {
            buckets[count].remove(place);
        }
        self.filled.set(count, !buckets[count].is_empty());
        self.seated += 1;
        self.seats[at] = -self.seated;
        self.bucket(count + 1).push_front(at);
        self.filled.grow_and_insert(count + 1);
    }

    /// The claims outside of these sets in the order they are asked, if they are few; `forbidden` is a set
    /// of hosts.
    fn few_left(
        &self,
        [refused, not_now]: [&FixedBitSet; 2],
        forbidden: Option<&FixedBitSet>,
        first_host: usize,
    ) -> Option<Vec<usize>> {
        let most = self.claims.len() / MANY;
        let mut left = Vec::new();
        for first in (0..self.claims.len()).step_by(WORD) {
            let banned = forbidden.map_or(0, |hosts| word(hosts, first_host + first));
            let mut open = !(word(refused, first) | word(not_now, first) | banned);
            while open != 0 {
                let at = first + open.trailing_zeros() as usize;
                if at >= self.claims.len() {
                    break;
                }
                if left.len() == most {
                    return None;
                }
                left.push(at);
                open &= open - 1;
            }
        }
        left.sort_unstable_by_key(|&at| (self.claims[at].pods.len(), self.seats[at]));
        Some(left)
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
        // Claims that refuse for good and those that rules between pods forbid for now are passed over.
        let first_host = topology.first_claim_host();
        let (mut not_now, mut few) = (FixedBitSet::new(), None);
        // To walk a handful costs less than to ask their kinds first.
        if self.claims.len() > WORD {
            not_now = self.contradicting(ask, refused, sets, topology, templates);
            let forbidden = topology.forbidden(ask.profile);
            few = self.few_left([refused, &not_now], forbidden, first_host);
        }
        let first = self.filled.minimum().unwrap_or(0);
        let walked = if few.is_some() {
            first
        } else {
            self.buckets.len()
        };
        let all = self.buckets[first..walked].iter().flatten().copied();
        let mut accepted = None;
        for at in few.into_iter().flatten().chain(all) {
            let passed_over = refused.contains(at) || not_now.contains(at);
            if passed_over || topology.forbids(ask.profile, first_host + at) {
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
                    accepted = Some((at, (set, slots, held)));
                    break;
                }
                Answer::NotNow => {}
                Answer::Never => refused.insert(at),
            }
        }
        let (at, (set, slots, held)) = accepted?;
        let is_freed = reservations.hold(at, held);
        let count = self.claims[at].pods.len();
        let before = self.claims[at].set;
        let defines_more = sets.get(set).iter().count() > sets.get(before).iter().count();
        self.change_set(at, set);
        let claim = &mut self.claims[at];
        claim.slots = slots;
        claim.pods.push(ask.id);
        claim.requests.add(&ask.pod.requests);
        claim.ports.extend(ask.pod.shape.ports.iter().cloned());
        self.advance(at, count);
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

impl Kind {
    /// Whether the requirements alone would let the pod on such a claim: what they become is left open.
    fn ask(
        &self,
        ask: &Ask<'_>,
        template: &Template,
        sets: &mut Sets<'_>,
        topology: &mut Topology<'_>,
    ) -> Option<Obstacle> {
        if !template.tolerates(sets, ask.wish) {
            return Some(Obstacle::ForGood);
        }
        let Some(wished) = sets.narrow(self.set, ask.wish) else {
            return Some(Obstacle::ForGood);
        };
        let mut obstacle = Obstacle::ForGood;
        for volumes in ask.volumes.alternatives() {
            let set = match volumes {
                None => Some(wished),
                Some(volumes) => sets.narrow(wished, volumes),
            };
            let Some(set) = set else {
                continue;
            };
            let minds_claims = topology.minds_claims(ask.profile);
            if minds_claims || topology.narrow(ask.profile, sets, set).is_some() {
                return None;
            }
            obstacle = Obstacle::ForNow;
        }
        Some(obstacle)
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
            let host = topology.first_claim_host() + at;
            let Some(narrowed) = topology.narrow_claim(ask.profile, sets, set, host) else {
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

/// The bits of a set from this one on.
fn word(set: &FixedBitSet, first: usize) -> usize {
    let (at, offset) = (first / WORD, first % WORD);
    let of = |at: usize| set.as_slice().get(at).copied().unwrap_or(0);
    let low = of(at) >> offset;
    if offset == 0 {
        return low;
    }
    low | of(at + 1) << (WORD - offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_may_start_anywhere() {
        let mut set = FixedBitSet::with_capacity(130);
        for at in [3, 64, 70, 129] {
            set.insert(at);
        }
        for first in 0..140 {
            let expected = (0..WORD)
                .filter(|bit| set.contains(first + bit))
                .fold(0, |bits, bit| bits | 1 << bit);
            assert_eq!(word(&set, first), expected, "from {first}");
        }
    }
}
