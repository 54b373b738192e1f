//! One rule's count of pods per domain, and which domains it allows next (sections 5.1, 5.5 to 5.8 of
//! scheduling.md).

use alloc::vec::Vec;

use fixedbitset::FixedBitSet;
use rustc_hash::FxHashMap;

use crate::{
    requirement::Requirement,
    vocabulary::{ValueId, Vocabulary},
};

/// What a group asks of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// No domain gets far ahead of the least filled one.
    Spread,
    /// A domain that has such pods.
    Affinity,
    /// A domain that has no such pods.
    AntiAffinity,
    /// A domain that has no pods that object: somebody else's anti-affinity.
    Inverse,
}

impl Rule {
    /// Upstream's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Spread => "topology spread",
            Self::Affinity => "pod affinity",
            Self::AntiAffinity | Self::Inverse => "pod anti-affinity",
        }
    }
}

/// How a pod takes part in a group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stake {
    /// The pod is itself one of those that the group counts.
    pub(super) counts_itself: bool,
    /// Fewer domains than this leave the minimum at zero.
    pub(super) min_domains: Option<u32>,
    /// What the pod itself requires of the key.
    pub(super) pod: Option<Requirement>,
}

/// Counts per value of a label.
#[derive(Debug, Default)]
pub(super) struct Values {
    counts: Vec<(ValueId, u32)>,
    places: FxHashMap<ValueId, usize>,
    /// Some count is not zero.
    is_recorded: bool,
    /// Hosts of pods of which nobody knows in which domain they will be.
    open: Vec<usize>,
}

impl Values {
    /// Makes a domain known.
    pub(super) fn know(&mut self, value: ValueId) -> &mut u32 {
        let counts = &mut self.counts;
        let at = *self.places.entry(value).or_insert_with(|| {
            counts.push((value, 0));
            counts.len() - 1
        });
        &mut self.counts[at].1
    }

    /// Counts a pod in each domain that it may be in.
    pub(super) fn record_all(&mut self, values: &[ValueId]) {
        for &value in values {
            *self.know(value) += 1;
            self.is_recorded = true;
        }
    }

    pub(super) fn counts(&self) -> &[(ValueId, u32)] {
        &self.counts
    }

    pub(super) fn count(&self, value: ValueId) -> Option<u32> {
        self.places.get(&value).map(|&at| self.counts[at].1)
    }

    /// The number of pods that a spread compares with.
    pub(super) fn minimum(&self, stake: &Stake, vocabulary: &Vocabulary) -> i64 {
        let (mut minimum, mut known) = (u32::MAX, 0_u32);
        for &(value, count) in &self.counts {
            if admits(stake.pod.as_ref(), value, vocabulary) {
                minimum = minimum.min(count);
                known += 1;
            }
        }
        if known == 0 || stake.min_domains.is_some_and(|wanted| known < wanted) {
            0
        } else {
            i64::from(minimum)
        }
    }

    /// Notes a pod whose domain is not known yet. It counts nowhere, but nobody may begin elsewhere.
    pub(super) fn leave_open(&mut self, host: usize) {
        if !self.open.contains(&host) {
            self.open.push(host);
        }
    }

    /// Some pod's domain is not known yet.
    pub(super) fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// There is such a pod on this host.
    pub(super) fn is_open_on(&self, host: usize) -> bool {
        self.open.contains(&host)
    }

    /// The pod may be the first of its kind on a host: nobody that it could join is anywhere, or will be
    /// anywhere else.
    ///
    /// Upstream does not mind where others will be, and has pods begin where the kube-scheduler, which
    /// sees those that were bound before, does not want them.
    pub(super) fn may_begin(
        &self,
        stake: &Stake,
        host: Option<usize>,
        vocabulary: &Vocabulary,
    ) -> bool {
        stake.counts_itself
            && (!self.is_open() || host.is_some_and(|host| self.is_open_on(host)))
            && (!self.is_recorded
                || !self.counts.iter().any(|&(value, count)| {
                    count > 0 && admits(stake.pod.as_ref(), value, vocabulary)
                }))
    }

    /// The least filled domain that the candidate may still be in and that does not get too far ahead.
    pub(super) fn least(
        &self,
        stake: &Stake,
        candidate: Option<&Requirement>,
        limit: i64,
        vocabulary: &Vocabulary,
    ) -> Option<ValueId> {
        let own = i64::from(stake.counts_itself);
        let order =
            |&(value, count): &(ValueId, u32)| (count, vocabulary.value_text(value).clone());
        self.within(candidate, vocabulary)
            .filter(|&(_, count)| i64::from(count) + own <= limit)
            .reduce(|best, next| {
                let is_better =
                    next.1 < best.1 || (next.1 == best.1 && order(&next) < order(&best));
                if is_better { next } else { best }
            })
            .map(|(value, _)| value)
    }

    /// Domains that the candidate may be in and that have such pods; the place to begin if there are none.
    pub(super) fn joined(
        &self,
        stake: &Stake,
        candidate: Option<&Requirement>,
        host: Option<usize>,
        vocabulary: &Vocabulary,
    ) -> Vec<ValueId> {
        let pod = stake.pod.as_ref();
        let joined: Vec<ValueId> = self
            .within(candidate, vocabulary)
            .filter(|&(value, count)| count > 0 && admits(pod, value, vocabulary))
            .map(|(value, _)| value)
            .collect();
        if joined.is_empty() && self.may_begin(stake, host, vocabulary) {
            let first = self
                .within(candidate, vocabulary)
                .map(|(value, _)| value)
                .filter(|&value| admits(pod, value, vocabulary))
                .min_by_key(|&value| vocabulary.value_text(value).clone());
            return first.into_iter().collect();
        }
        joined
    }

    /// Domains that the candidate may be in and that have no such pods.
    pub(super) fn free(
        &self,
        stake: &Stake,
        candidate: Option<&Requirement>,
        vocabulary: &Vocabulary,
    ) -> Vec<ValueId> {
        self.within(candidate, vocabulary)
            .filter(|&(value, count)| count == 0 && admits(stake.pod.as_ref(), value, vocabulary))
            .map(|(value, _)| value)
            .collect()
    }

    fn within<'a>(
        &'a self,
        candidate: Option<&'a Requirement>,
        vocabulary: &'a Vocabulary,
    ) -> impl Iterator<Item = (ValueId, u32)> + 'a {
        self.counts
            .iter()
            .copied()
            .filter(move |&(value, _)| admits(candidate, value, vocabulary))
    }
}

fn admits(requirement: Option<&Requirement>, value: ValueId, vocabulary: &Vocabulary) -> bool {
    requirement.is_none_or(|own| own.has(value, vocabulary))
}

/// Counts per host. Hosts are numbered: places that exist first, then claims as they are opened.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    counts: Vec<u32>,
    /// Hosts with some pod.
    occupied: FixedBitSet,
    /// Hosts with as many pods as the skew allows, which one more would exceed.
    full: FixedBitSet,
    /// Hosts with more than the skew allows.
    exceeding: FixedBitSet,
    /// Pods on hosts that take no part in the round.
    elsewhere: u32,
}

impl Hosts {
    pub(super) fn record(&mut self, host: Option<usize>, max_skew: i64) {
        let Some(host) = host else {
            self.elsewhere += 1;
            return;
        };
        if self.counts.len() <= host {
            self.counts.resize(host + 1, 0);
            for mask in [&mut self.occupied, &mut self.full, &mut self.exceeding] {
                mask.grow(host + 1);
            }
        }
        self.counts[host] += 1;
        let count = i64::from(self.counts[host]);
        self.occupied.insert(host);
        self.full.set(host, count >= max_skew);
        self.exceeding.set(host, count > max_skew);
    }

    /// The pod may be the first of its kind.
    pub(super) fn may_begin(&self, stake: &Stake) -> bool {
        stake.counts_itself && self.elsewhere == 0 && self.occupied.is_clear()
    }

    /// Adds the hosts that the rule forbids.
    pub(super) fn forbid(&self, rule: Rule, stake: &Stake, forbidden: &mut FixedBitSet) {
        match rule {
            Rule::Spread if stake.counts_itself => forbidden.union_with(&self.full),
            Rule::Spread => forbidden.union_with(&self.exceeding),
            Rule::AntiAffinity | Rule::Inverse => forbidden.union_with(&self.occupied),
            Rule::Affinity if self.may_begin(stake) => {}
            Rule::Affinity => {
                let mut unoccupied = FixedBitSet::with_capacity(forbidden.len());
                unoccupied.insert_range(..);
                unoccupied.difference_with(&self.occupied);
                forbidden.union_with(&unoccupied);
            }
        }
    }

    /// The rule allows a host that nobody is on.
    pub(super) fn allows_new(&self, rule: Rule, stake: &Stake, max_skew: i64) -> bool {
        match rule {
            Rule::Spread => i64::from(stake.counts_itself) <= max_skew,
            Rule::Affinity => self.may_begin(stake),
            Rule::AntiAffinity | Rule::Inverse => true,
        }
    }

    /// Hosts with some pod, and how many.
    pub(super) fn occupied(&self) -> impl Iterator<Item = (usize, u32)> + '_ {
        self.occupied.ones().map(|host| (host, self.counts[host]))
    }
}
