//! Taints, and which of them pass by themselves.

use crate::common::Taint;

/// Marks a node that is chosen for disruption or terminating.
pub const DISRUPTED: &str = "karpenter.sh/disrupted";
/// Must be on a node at boot; registration removes it.
pub const UNREGISTERED: &str = "karpenter.sh/unregistered";
/// Set by Kubernetes while a node is not ready.
pub const NOT_READY: &str = "node.kubernetes.io/not-ready";
/// Set by Kubernetes while a node does not answer.
pub const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
/// Set by the kubelet until the cloud's controller has seen the node.
pub const UNINITIALIZED: &str = "node.cloudprovider.kubernetes.io/uninitialized";
/// Set by Kubernetes on a cordoned node.
pub const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// The prefix of taints that node readiness rules own.
pub const READINESS_PREFIX: &str = "readiness.k8s.io/";

/// An effect: pods that do not tolerate it are not placed.
pub const NO_SCHEDULE: &str = "NoSchedule";
/// An effect: pods that do not tolerate it are placed elsewhere if that is possible.
pub const PREFER_NO_SCHEDULE: &str = "PreferNoSchedule";
/// An effect: pods that do not tolerate it are neither placed nor kept.
pub const NO_EXECUTE: &str = "NoExecute";

/// Taints that pass by themselves, beside those with [`READINESS_PREFIX`].
const EPHEMERAL: [(&str, &str); 5] = [
    (NOT_READY, NO_SCHEDULE),
    (NOT_READY, NO_EXECUTE),
    (UNREACHABLE, NO_SCHEDULE),
    (UNINITIALIZED, NO_SCHEDULE),
    (UNREGISTERED, NO_EXECUTE),
];

/// The taint of a node that is being disrupted.
pub fn disrupted() -> Taint {
    Taint {
        key: DISRUPTED.to_owned(),
        effect: NO_SCHEDULE.to_owned(),
        ..Taint::default()
    }
}

/// The taint of a node that has not registered.
pub fn unregistered() -> Taint {
    Taint {
        key: UNREGISTERED.to_owned(),
        effect: NO_EXECUTE.to_owned(),
        ..Taint::default()
    }
}

/// Whether the taint passes by itself: it is ignored when placing pods on a node that is not initialised,
/// and holds up initialisation. The value does not count.
pub fn is_known_ephemeral(key: &str, effect: &str) -> bool {
    key.starts_with(READINESS_PREFIX) || EPHEMERAL.contains(&(key, effect))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_ephemeral_taints() {
        let rows = [
            (NOT_READY, NO_SCHEDULE, true),
            (NOT_READY, NO_EXECUTE, true),
            (NOT_READY, PREFER_NO_SCHEDULE, false),
            (UNREACHABLE, NO_SCHEDULE, true),
            (UNREACHABLE, NO_EXECUTE, false),
            (UNINITIALIZED, NO_SCHEDULE, true),
            (UNREGISTERED, NO_EXECUTE, true),
            (UNREGISTERED, NO_SCHEDULE, false),
            ("readiness.k8s.io/network", NO_EXECUTE, true),
            ("readiness.k8s.io", NO_SCHEDULE, false),
            (DISRUPTED, NO_SCHEDULE, false),
            ("example.com/startup", NO_SCHEDULE, false),
        ];
        for (key, effect, expected) in rows {
            assert_eq!(is_known_ephemeral(key, effect), expected, "{key}:{effect}");
        }
    }

    #[test]
    fn the_value_of_a_taint_does_not_count() {
        let plain = disrupted();
        let valued = Taint {
            value: Some("x".into()),
            ..disrupted()
        };
        let other = Taint {
            effect: NO_EXECUTE.into(),
            ..disrupted()
        };
        assert!(plain.matches(&valued));
        assert!(!plain.matches(&other));
        assert!(!plain.matches(&unregistered()));
    }
}
