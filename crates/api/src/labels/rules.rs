//! Which labels are well known, which are restricted, and which are other names for the same thing.
//!
//! These are the rules that controllers apply at runtime. The CRDs apply coarser ones at admission, which
//! `crds` holds.

use std::collections::BTreeSet;
use std::fmt;

use super::{
    ARCH, CAPACITY_TYPE, CAPACITY_TYPES, DOMAIN, HOSTNAME, INSTANCE_TYPE, NODEPOOL, OS, REGION,
    WINDOWS_BUILD, ZONE, aws, kwok,
};

/// Who makes the machines; each provider adds labels and keeps a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Provider {
    /// Amazon EC2.
    Aws,
    /// Nodes that exist as objects only.
    Kwok,
}

impl Provider {
    /// The label domain that the provider keeps for itself.
    pub const fn domain(self) -> &'static str {
        match self {
            Self::Aws => aws::DOMAIN,
            Self::Kwok => kwok::DOMAIN,
        }
    }

    /// The labels that are well known with this provider, in order.
    pub fn well_known(self) -> impl Iterator<Item = &'static str> {
        let own: &'static [&'static str] = match self {
            Self::Aws => &aws::ALLOWED_IN_CRDS,
            Self::Kwok => &kwok::WELL_KNOWN,
        };
        let zone_id = (self == Self::Aws).then_some(aws::ZONE_ID);
        CORE.into_iter()
            .chain(zone_id)
            .chain(own.iter().copied())
            .filter(move |key| is_well_known(key, self))
    }
}

/// Well-known labels whatever the provider.
pub const CORE: [&str; 8] = [
    NODEPOOL,
    CAPACITY_TYPE,
    ZONE,
    REGION,
    INSTANCE_TYPE,
    ARCH,
    OS,
    WINDOWS_BUILD,
];

/// Old names of labels that are still read.
const ALIASES: [(&str, &str); 5] = [
    ("failure-domain.beta.kubernetes.io/zone", ZONE),
    ("failure-domain.beta.kubernetes.io/region", REGION),
    ("beta.kubernetes.io/arch", ARCH),
    ("beta.kubernetes.io/os", OS),
    ("beta.kubernetes.io/instance-type", INSTANCE_TYPE),
];

/// Whether the label is well known with the provider: it may be asked for without a pool defining it, and is
/// never restricted.
pub fn is_well_known(key: &str, provider: Provider) -> bool {
    CORE.contains(&key)
        || match provider {
            Provider::Aws => aws::is_well_known(key),
            Provider::Kwok => kwok::WELL_KNOWN.contains(&key),
        }
}

/// The name that a label is known by, which is its own unless it is an alias.
pub fn normalize(key: &str, provider: Provider) -> &str {
    if provider == Provider::Aws && key == aws::EBS_ZONE_ALIAS {
        return ZONE;
    }
    ALIASES
        .iter()
        .find(|(alias, _)| *alias == key)
        .map_or(key, |(_, canonical)| canonical)
}

/// The only values that a label can have; nothing if it can have any.
pub fn known_values(key: &str, provider: Provider) -> Option<&'static [&'static str]> {
    match key {
        CAPACITY_TYPE => Some(&CAPACITY_TYPES),
        aws::INSTANCE_TENANCY if provider == Provider::Aws => Some(&aws::TENANCIES),
        _ => None,
    }
}

/// Why a label may not be used; nothing if it may.
pub fn restricted(key: &str, provider: Provider) -> Option<Restriction> {
    if is_well_known(key, provider) {
        return None;
    }
    if key == HOSTNAME {
        return Some(Restriction::Hostname);
    }
    let (domain, _) = key.split_once('/')?;
    [DOMAIN, provider.domain()]
        .into_iter()
        .find(|kept| {
            domain
                .strip_suffix(kept)
                .is_some_and(|before| before.is_empty() || before.ends_with('.'))
        })
        .map(Restriction::Domain)
}

/// Why a label may not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restriction {
    /// The label is in a domain that is kept for Karpenter or a provider, and is none of the known ones.
    Domain(&'static str),
    /// The label is the host name, which is known only once the node is there.
    Hostname,
}

impl fmt::Display for Restriction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain(domain) => write!(
                formatter,
                "domain {domain} is restricted, use a well-known label or a domain of your own"
            ),
            Self::Hostname => {
                write!(
                    formatter,
                    "label {HOSTNAME} is restricted, it is not known before the launch"
                )
            }
        }
    }
}

/// The labels that are well known in a running system: the provider's, and any further ones that its
/// offerings carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WellKnown {
    provider: Provider,
    further: BTreeSet<String>,
}

impl WellKnown {
    /// The provider's own labels.
    pub const fn of(provider: Provider) -> Self {
        Self {
            provider,
            further: BTreeSet::new(),
        }
    }

    /// The AWS provider's labels.
    pub const fn aws() -> Self {
        Self::of(Provider::Aws)
    }

    /// The KWOK provider's labels.
    pub const fn kwok() -> Self {
        Self::of(Provider::Kwok)
    }

    /// Adds labels that the provider's offerings carry.
    #[must_use]
    pub fn with(mut self, keys: impl IntoIterator<Item = String>) -> Self {
        self.further.extend(keys);
        self
    }

    /// The provider in charge.
    pub const fn provider(&self) -> Provider {
        self.provider
    }

    /// Whether the label is well known.
    pub fn contains(&self, key: &str) -> bool {
        is_well_known(key, self.provider) || self.further.contains(key)
    }

    /// Why the label may not be used; nothing if it may.
    pub fn restricted(&self, key: &str) -> Option<Restriction> {
        if self.further.contains(key) {
            None
        } else {
            restricted(key, self.provider)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AWS: Provider = Provider::Aws;
    const KWOK: Provider = Provider::Kwok;

    #[test]
    fn restricted_labels() {
        let own = Some(Restriction::Domain(DOMAIN));
        let aws = Some(Restriction::Domain(aws::DOMAIN));
        let kwok = Some(Restriction::Domain(kwok::DOMAIN));
        let rows = [
            // key, on AWS, on KWOK
            ("karpenter.sh/nodepool", None, None),
            ("karpenter.sh/capacity-type", None, None),
            ("karpenter.sh/initialized", own, own),
            ("karpenter.sh/anything", own, own),
            ("team.karpenter.sh/x", own, own),
            ("notkarpenter.sh/x", None, None),
            ("karpenter.sh", None, None),
            ("karpenter.sh.example.com/x", None, None),
            (
                "kubernetes.io/hostname",
                Some(Restriction::Hostname),
                Some(Restriction::Hostname),
            ),
            ("kubernetes.io/anything", None, None),
            ("node.k8s.io/anything", None, None),
            ("topology.kubernetes.io/zone", None, None),
            ("karpenter.k8s.aws/instance-family", None, None),
            ("karpenter.k8s.aws/ec2nodeclass", aws, None),
            ("karpenter.k8s.aws/nonsense", aws, None),
            ("karpenter.k8s.aws/nitro-sandbox", None, None),
            ("sub.karpenter.k8s.aws/x", aws, None),
            ("topology.k8s.aws/zone-id", None, None),
            ("karpenter.kwok.sh/kwoknodeclass", None, kwok),
            ("karpenter.kwok.sh/instance-cpu", None, None),
            ("karpenter.kwok.sh/nonsense", None, kwok),
            ("example.com/team", None, None),
            ("team", None, None),
        ];
        for (key, on_aws, on_kwok) in rows {
            assert_eq!(restricted(key, AWS), on_aws, "{key} on AWS");
            assert_eq!(restricted(key, KWOK), on_kwok, "{key} on KWOK");
        }
    }

    #[test]
    fn well_known_labels() {
        let rows = [
            ("karpenter.sh/nodepool", true, true),
            ("node.kubernetes.io/windows-build", true, true),
            ("kubernetes.io/hostname", false, false),
            ("topology.k8s.aws/zone-id", true, false),
            ("karpenter.k8s.aws/placement-group-partition", true, false),
            ("karpenter.k8s.aws/ec2nodeclass", false, false),
            ("karpenter.kwok.sh/instance-size", false, true),
            ("karpenter.kwok.sh/kwoknodeclass", false, false),
        ];
        for (key, on_aws, on_kwok) in rows {
            for (provider, expected) in [(AWS, on_aws), (KWOK, on_kwok)] {
                assert_eq!(
                    is_well_known(key, provider),
                    expected,
                    "{key} on {provider:?}"
                );
                let listed = provider.well_known().any(|known| known == key);
                assert_eq!(listed, expected, "{key} in the list of {provider:?}");
            }
        }
        assert_eq!(AWS.well_known().count(), 8 + 1 + 28);
        assert_eq!(KWOK.well_known().count(), 8 + 4);
    }

    #[test]
    fn labels_of_offerings_become_well_known() {
        let known = WellKnown::kwok().with(["karpenter.kwok.sh/rack".to_owned()]);
        assert!(known.contains("karpenter.kwok.sh/rack"));
        assert_eq!(known.restricted("karpenter.kwok.sh/rack"), None);
        assert!(known.restricted("karpenter.kwok.sh/row").is_some());
        assert!(
            WellKnown::kwok()
                .restricted("karpenter.kwok.sh/rack")
                .is_some()
        );
    }

    #[test]
    fn aliases() {
        let rows = [
            ("failure-domain.beta.kubernetes.io/zone", ZONE, ZONE),
            ("failure-domain.beta.kubernetes.io/region", REGION, REGION),
            ("beta.kubernetes.io/arch", ARCH, ARCH),
            ("beta.kubernetes.io/os", OS, OS),
            (
                "beta.kubernetes.io/instance-type",
                INSTANCE_TYPE,
                INSTANCE_TYPE,
            ),
            (
                "topology.ebs.csi.aws.com/zone",
                ZONE,
                "topology.ebs.csi.aws.com/zone",
            ),
            ("example.com/zone", "example.com/zone", "example.com/zone"),
        ];
        for (alias, on_aws, on_kwok) in rows {
            assert_eq!(normalize(alias, AWS), on_aws);
            assert_eq!(normalize(alias, KWOK), on_kwok);
        }
    }
}
