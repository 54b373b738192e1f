//! The zone that a pending pod can run in, as far as the pod and its volumes say.

use std::collections::BTreeSet;

use karpenter_api::labels::ZONE;
use karpenter_plan::{
    PodId, Requirements, Snapshot,
    pod::Phase,
    vocabulary::{KeyId, ValueId},
};

/// The one zone that a pending pod can run in, `flexible` if there are several, `none` if there is none
/// (scheduling 12). `None` for a pod that is not pending.
pub(super) fn effective_zone(snapshot: &Snapshot, pod: PodId) -> Option<String> {
    let pod = &snapshot.pods[pod];
    if pod.phase != Phase::Pending {
        return None;
    }
    let vocabulary = &snapshot.vocabulary;
    let strict = pod.shape.alternatives.first()?;
    let volumes = snapshot.volumes.wish(pod, vocabulary);
    if pod.shape.contradiction.is_some() || volumes.conflict.is_some() {
        return Some("none".to_owned());
    }
    let Some(key) = vocabulary.key(ZONE) else {
        return Some("flexible".to_owned());
    };
    let of_pod = zones(strict, key);
    // One alternative that can be anywhere leaves all zones.
    let of_volumes: Option<Vec<BTreeSet<ValueId>>> = volumes
        .alternatives
        .iter()
        .map(|alternative| zones(alternative, key))
        .collect();
    let of_volumes = of_volumes
        .filter(|alternatives| !alternatives.is_empty())
        .map(|alternatives| alternatives.into_iter().flatten().collect());
    let left: BTreeSet<ValueId> = match (of_pod, of_volumes) {
        (None, None) => return Some("flexible".to_owned()),
        (Some(one), None) | (None, Some(one)) => one,
        (Some(pod), Some(volumes)) => pod.intersection(&volumes).copied().collect(),
    };
    let mut left = left.into_iter();
    Some(match (left.next(), left.next()) {
        (None, _) => "none".to_owned(),
        (Some(zone), None) => vocabulary.value_text(zone).to_string(),
        (Some(_), Some(_)) => "flexible".to_owned(),
    })
}

/// The zones that requirements list; `None` if they list none.
fn zones(requirements: &Requirements, key: KeyId) -> Option<BTreeSet<ValueId>> {
    let requirement = requirements.get(key)?;
    (!requirement.is_complement()).then(|| requirement.values().iter().copied().collect())
}

#[cfg(test)]
mod tests {
    use karpenter_api::objects::{PersistentVolume, PersistentVolumeClaim, Pod};
    use karpenter_plan::WellKnown;
    use serde_json::{Value, json};

    use super::*;
    use crate::mirror::Mirror;

    fn terms(zones: &[&[&str]]) -> Value {
        let term = |zones: &&[&str]| json!({"matchExpressions": [{"key": ZONE, "operator": "In", "values": zones}]});
        json!(zones.iter().map(term).collect::<Vec<_>>())
    }

    /// A pending pod that lists zones, if any, with a volume for each list of alternatives.
    #[track_caller]
    fn check(zones: &[&str], volumes: &[&[&[&str]]], phase: &str, expected: Option<&str>) {
        let mirror = Mirror::new(&WellKnown::default());
        let mut names = Vec::new();
        for (index, alternatives) in volumes.iter().enumerate() {
            let name = format!("volume-{index}");
            let volume: PersistentVolume = serde_json::from_value(json!({
                "metadata": {"name": name, "resourceVersion": "1"},
                "spec": {
                    "csi": {"driver": "d", "volumeHandle": name},
                    "nodeAffinity": {"required": {"nodeSelectorTerms": terms(alternatives)}},
                },
            }))
            .unwrap();
            let claim: PersistentVolumeClaim = serde_json::from_value(json!({
                "metadata": {
                    "name": name, "namespace": "default", "resourceVersion": "1",
                    "annotations": {"pv.kubernetes.io/bind-completed": "yes"},
                },
                "spec": {"volumeName": name}, "status": {"phase": "Bound"},
            }))
            .unwrap();
            mirror.apply(volume);
            mirror.apply(claim);
            names.push(json!({"name": name, "persistentVolumeClaim": {"claimName": name}}));
        }
        let affinity = json!({"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": terms(&[zones]),
            },
        }});
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "a", "namespace": "default", "uid": "a", "resourceVersion": "1"},
            "spec": {
                "containers": [{"name": "main"}], "volumes": names,
                "affinity": if zones.is_empty() { json!({}) } else { affinity },
            },
            "status": {"phase": phase},
        }))
        .unwrap();
        mirror.apply(pod);
        let snapshot = mirror.snapshot("2026-01-01T00:00:00Z".parse().unwrap());
        let pod = snapshot.pod_named("default", "a").unwrap();
        assert_eq!(effective_zone(&snapshot, pod).as_deref(), expected);
    }

    #[test]
    fn a_zone_is_told_when_only_one_is_left() {
        check(&[], &[], "Running", None);
        check(&[], &[], "Pending", Some("flexible"));
        check(&["a"], &[], "Pending", Some("a"));
        check(&["a", "b"], &[], "Pending", Some("flexible"));
        check(&[], &[&[&["a"]]], "Pending", Some("a"));
        check(&[], &[&[&["a"], &["b"]]], "Pending", Some("flexible"));
        check(&["b", "c"], &[&[&["a"], &["b"]]], "Pending", Some("b"));
        check(&["c"], &[&[&["a"], &["b"]]], "Pending", Some("none"));
        check(&[], &[&[&["a", "b"]], &[&["b", "c"]]], "Pending", Some("b"));
        check(&[], &[&[&["a"]], &[&["b"]]], "Pending", Some("none"));
    }
}
