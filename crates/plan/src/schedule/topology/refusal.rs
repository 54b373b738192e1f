//! Why a rule between pods refuses a candidate.

use alloc::{format, string::String, vec::Vec};

use super::{Domains, GroupId, ProfileId, Rule, Topology};
use crate::{
    requirement::{Requirement, Requirements},
    schedule::set::{SetId, Sets},
    vocabulary::{KeyId, ValueId, Vocabulary},
};

/// So many domains are shown.
const SHOWN: usize = 25;

/// A rule between pods that no domain of a candidate satisfies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopologyRefusal {
    /// What kind of rule.
    pub rule: Rule,
    /// The key whose values are the domains.
    pub key: KeyId,
    /// Pods per value, for keys other than the host name.
    pub counts: Vec<(ValueId, u32)>,
    /// Pods that count on hosts that are there.
    pub on_hosts: u32,
    /// What the pod itself requires of the key.
    pub pod: Option<Requirement>,
    /// What the candidate requires of the key.
    pub candidate: Option<Requirement>,
}

impl Topology<'_> {
    /// Why the pod at hand cannot be the first on a new claim with these requirements.
    pub(in crate::schedule) fn refusal(
        &self,
        profile: ProfileId,
        sets: &mut Sets<'_>,
        set: SetId,
    ) -> Option<TopologyRefusal> {
        let group = self
            .try_narrow(profile, sets, set, None)
            .err()
            .or_else(|| self.new_host_objection(profile))?;
        Some(self.explain(profile, group, sets.get(set)))
    }

    fn explain(
        &self,
        profile: ProfileId,
        id: GroupId,
        candidate: &Requirements,
    ) -> TopologyRefusal {
        let profile = &self.profiles[profile.0];
        let group = &self.groups[id.0];
        let key = group.identity.key;
        let stake = profile
            .hosts
            .iter()
            .chain(&profile.values)
            .find(|(member, _)| *member == id);
        let (counts, on_hosts) = match &group.domains {
            Domains::Values(values) => (values.counts().to_vec(), 0),
            Domains::Hosts(hosts) => (Vec::new(), hosts.occupied().map(|(_, count)| count).sum()),
        };
        TopologyRefusal {
            rule: group.identity.rule,
            key,
            counts,
            on_hosts,
            pod: stake.and_then(|(_, stake)| stake.pod.clone()),
            candidate: candidate.get(key).cloned(),
        }
    }
}

impl TopologyRefusal {
    /// Upstream's text.
    pub fn message(&self, vocabulary: &Vocabulary) -> String {
        let key = vocabulary.key_name(self.key);
        let mut counts: Vec<(&str, u32)> = self
            .counts
            .iter()
            .map(|&(value, count)| (&**vocabulary.value_text(value), count))
            .collect();
        counts.sort_unstable();
        let shown: Vec<String> = counts
            .iter()
            .take(SHOWN)
            .map(|(value, count)| format!("{value}:{count}"))
            .collect();
        let domains = |own: &Option<Requirement>| match own {
            Some(own) => own.render(vocabulary),
            None => format!("{key} Exists"),
        };
        format!(
            "unsatisfiable topology constraint for {}, key={key} (counts = map[{}], podDomains = {}, nodeDomains = {}",
            self.rule.name(),
            shown.join(" "),
            domains(&self.pod),
            domains(&self.candidate),
        )
    }
}
