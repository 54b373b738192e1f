//! Claims whose instance is gone.
//!
//! Pure. The provider's list is taken as one picture; a claim that is not in it goes, unless its
//! node says that it is ready: then the kubelet is alive and the list lags behind.

use std::collections::BTreeSet;

/// What is known of a claim when the list is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts<'a> {
    /// Whether its node registered. Before that, liveness is in charge of it.
    pub(crate) registered: bool,
    /// Whether it is being deleted already.
    pub(crate) deleting: bool,
    /// The instance it stands for.
    pub(crate) provider_id: Option<&'a str>,
    /// Whether it has exactly one node, and that one is ready.
    pub(crate) node_ready: bool,
}

/// Whether the claim's instance is gone for good. `instances` are those that exist and are not
/// terminating.
pub(crate) fn is_abandoned(facts: &Facts<'_>, instances: &BTreeSet<&str>) -> bool {
    facts.registered
        && !facts.deleting
        && !facts.node_ready
        && facts
            .provider_id
            .is_some_and(|id| !id.is_empty() && !instances.contains(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(row: &str, facts: &Facts<'_>, expected: bool) {
        let instances = BTreeSet::from(["kwok://there"]);
        assert_eq!(is_abandoned(facts, &instances), expected, "{row}");
    }

    #[test]
    fn claims_without_instance_go() {
        let gone = Facts {
            registered: true,
            deleting: false,
            provider_id: Some("kwok://gone"),
            node_ready: false,
        };
        check("lifecycle/X5", &gone, true);
        check(
            "lifecycle/X6",
            &Facts {
                node_ready: true,
                ..gone
            },
            false,
        );
        check(
            "lifecycle/X7",
            &Facts {
                registered: false,
                ..gone
            },
            false,
        );
        check(
            "lifecycle/X8",
            &Facts {
                provider_id: Some("kwok://there"),
                ..gone
            },
            false,
        );
        check(
            "deleting",
            &Facts {
                deleting: true,
                ..gone
            },
            false,
        );
        check(
            "never launched",
            &Facts {
                provider_id: None,
                ..gone
            },
            false,
        );
    }
}
