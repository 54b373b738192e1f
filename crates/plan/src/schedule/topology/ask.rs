//! Asking what the rules leave of a candidate.

use alloc::vec::Vec;

use fixedbitset::FixedBitSet;

use super::{Domains, GroupId, ProfileId, Rule, Topology, group::Values, possible_values};
use crate::{
    node::Node,
    pod::Pod,
    requirement::Requirement,
    schedule::{
        ladder::Step,
        set::{SetId, Sets},
    },
    vocabulary::ValueId,
};

impl Topology<'_> {
    /// Turns to a pod in one step. Says what it must mind and a number that goes up whenever the answer
    /// may have changed.
    pub(in crate::schedule) fn ask(&mut self, pod: &Pod, step: Step) -> (ProfileId, u64) {
        if self.groups.is_empty() {
            return (ProfileId(0), 0);
        }
        let id = self.profile(pod, step);
        let profile = self.profiles[id.0].clone();
        let members = profile.hosts.iter().chain(&profile.values);
        let stamp = members.map(|(group, _)| self.groups[group.0].version).sum();
        let asking = &mut self.asking;
        if asking.profile == Some(id)
            && asking.stamp == stamp
            && asking.forbidden.len() == self.host_count
        {
            return (id, stamp);
        }
        asking.profile = Some(id);
        asking.stamp = stamp;
        asking.narrowed.clear();
        asking.limits.clear();
        asking.forbidden.clear();
        asking.forbidden.grow(self.host_count);
        for (group, stake) in &profile.hosts {
            let group = &self.groups[group.0];
            if let Domains::Hosts(hosts) = &group.domains {
                hosts.forbid(group.identity.rule, stake, &mut asking.forbidden);
            }
        }
        let vocabulary = &*self.snapshot.vocabulary;
        for (group, stake) in &profile.values {
            let group = &self.groups[group.0];
            let limit = match (&group.domains, group.identity.rule) {
                (Domains::Values(values), Rule::Spread) => {
                    values.minimum(stake, vocabulary) + group.identity.max_skew
                }
                _ => 0,
            };
            asking.limits.push(limit);
        }
        (id, stamp)
    }

    /// Hosts that the pod at hand may not be on.
    pub(in crate::schedule) fn forbidden(&self, profile: ProfileId) -> Option<&FixedBitSet> {
        let minds_hosts = !self.profiles[profile.0].hosts.is_empty();
        minds_hosts.then_some(&self.asking.forbidden)
    }

    /// The pod at hand may not be on the host.
    pub(in crate::schedule) fn forbids(&self, profile: ProfileId, host: usize) -> bool {
        self.forbidden(profile)
            .is_some_and(|forbidden| forbidden.contains(host))
    }

    /// The rules over values let the pod at hand onto a place that exists.
    pub(in crate::schedule) fn admits_node(&self, profile: ProfileId, node: &Node) -> bool {
        let vocabulary = &*self.snapshot.vocabulary;
        let values = &self.profiles[profile.0].values;
        values
            .iter()
            .zip(&self.asking.limits)
            .all(|((id, stake), &limit)| {
                let group = &self.groups[id.0];
                let Domains::Values(values) = &group.domains else {
                    return true;
                };
                let &[value] = possible_values(node, group.identity.key) else {
                    return false;
                };
                let count = values.count(value);
                let own = i64::from(stake.counts_itself);
                match group.identity.rule {
                    Rule::Spread => count.is_some_and(|count| i64::from(count) + own <= limit),
                    Rule::Affinity => match count {
                        Some(0) => values.may_begin(stake, None, vocabulary),
                        Some(_) => true,
                        None => false,
                    },
                    Rule::AntiAffinity => count == Some(0),
                    Rule::Inverse => count.is_none_or(|count| count == 0),
                }
            })
    }

    /// What the rules over values leave of a candidate's requirements.
    pub(in crate::schedule) fn narrow(
        &mut self,
        profile: ProfileId,
        sets: &mut Sets<'_>,
        set: SetId,
    ) -> Option<SetId> {
        if self.profiles[profile.0].values.is_empty() {
            return Some(set);
        }
        if let Some(&known) = self.asking.narrowed.get(&set) {
            return known;
        }
        let narrowed = self.try_narrow(profile, sets, set, None).ok();
        self.asking.narrowed.insert(set, narrowed);
        narrowed
    }

    /// The same of a claim, by its host: a pod may join others of its kind there, wherever that will be.
    pub(in crate::schedule) fn narrow_claim(
        &mut self,
        profile: ProfileId,
        sets: &mut Sets<'_>,
        set: SetId,
        host: usize,
    ) -> Option<SetId> {
        if self.has_open(profile, |values| values.is_open_on(host)) {
            return self.try_narrow(profile, sets, set, Some(host)).ok();
        }
        self.narrow(profile, sets, set)
    }

    /// The answer for a claim may differ from the one for its requirements.
    pub(in crate::schedule) fn minds_claims(&self, profile: ProfileId) -> bool {
        self.has_open(profile, Values::is_open)
    }

    fn has_open(&self, profile: ProfileId, is_open: impl Fn(&Values) -> bool) -> bool {
        let values = &self.profiles[profile.0].values;
        values
            .iter()
            .any(|(id, _)| match &self.groups[id.0].domains {
                Domains::Values(values) => is_open(values),
                Domains::Hosts(_) => false,
            })
    }

    pub(super) fn try_narrow(
        &self,
        profile: ProfileId,
        sets: &mut Sets<'_>,
        set: SetId,
        host: Option<usize>,
    ) -> Result<SetId, GroupId> {
        let base = sets.get(set).clone();
        let mut narrowed = set;
        for (at, (id, _)) in self.profiles[profile.0].values.iter().enumerate() {
            let key = self.groups[id.0].identity.key;
            let allowed = self.allowed(profile, at, base.get(key), host);
            if allowed.is_empty() {
                return Err(*id);
            }
            narrowed = sets
                .restrict(narrowed, Requirement::any_of(key, allowed))
                .ok_or(*id)?;
        }
        Ok(narrowed)
    }

    /// Domains that one rule of a profile leaves.
    pub(super) fn allowed(
        &self,
        profile: ProfileId,
        at: usize,
        candidate: Option<&Requirement>,
        host: Option<usize>,
    ) -> Vec<ValueId> {
        let vocabulary = &*self.snapshot.vocabulary;
        let (id, stake) = &self.profiles[profile.0].values[at];
        let group = &self.groups[id.0];
        let Domains::Values(values) = &group.domains else {
            return Vec::new();
        };
        match group.identity.rule {
            Rule::Spread => values
                .least(stake, candidate, self.asking.limits[at], vocabulary)
                .into_iter()
                .collect(),
            Rule::Affinity => values.joined(stake, candidate, host, vocabulary),
            Rule::AntiAffinity | Rule::Inverse => values.free(stake, candidate, vocabulary),
        }
    }

    /// The rules over host names allow a new host.
    pub(in crate::schedule) fn allows_new_host(&self, profile: ProfileId) -> bool {
        self.new_host_objection(profile).is_none()
    }

    pub(super) fn new_host_objection(&self, profile: ProfileId) -> Option<GroupId> {
        let hosts = &self.profiles[profile.0].hosts;
        let objection = hosts.iter().find(|(id, stake)| {
            let group = &self.groups[id.0];
            let Domains::Hosts(hosts) = &group.domains else {
                return false;
            };
            !hosts.allows_new(group.identity.rule, stake, group.identity.max_skew)
        });
        objection.map(|(id, _)| *id)
    }
}
