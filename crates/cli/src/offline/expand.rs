//! Workloads into the pods that their controllers would make, unless the input holds those already.
//! Only what placement reads is made; names, uids and ages are fixed by the order of reading.

use serde_json::{Value, json};

/// Pods of a workload object that has been admitted, in order; empty if `pods` holds some already.
pub(super) fn pods(workload: &Value, others: &[&Value]) -> Vec<Value> {
    let kind = workload["kind"].as_str().unwrap_or_default();
    let spec = &workload["spec"];
    let count = match kind {
        "Job" => {
            let parallelism = spec["parallelism"].as_u64().unwrap_or(1);
            parallelism.min(spec["completions"].as_u64().unwrap_or(u64::MAX))
        }
        _ => spec["replicas"].as_u64().unwrap_or(1),
    };
    if spec["suspend"] == true || others.iter().any(|other| is_of(other, workload)) {
        return Vec::new();
    }
    (1..=count)
        .map(|ordinal| pod(workload, kind, ordinal))
        .collect()
}

/// Whether the other object was made for this workload: owned by it, or picked by its selector.
fn is_of(other: &Value, workload: &Value) -> bool {
    if other["metadata"]["namespace"] != workload["metadata"]["namespace"] {
        return false;
    }
    let owners = other["metadata"]["ownerReferences"]
        .as_array()
        .map(Vec::as_slice);
    let owned = owners.unwrap_or_default().iter().any(|owner| {
        owner["kind"] == workload["kind"] && owner["name"] == workload["metadata"]["name"]
    });
    owned || (other["kind"] == "Pod" && is_picked(other, &workload["spec"]["selector"]))
}

fn is_picked(pod: &Value, selector: &Value) -> bool {
    let labels = &pod["metadata"]["labels"];
    selector["matchLabels"].as_object().is_some_and(|wanted| {
        !wanted.is_empty() && wanted.iter().all(|(key, value)| labels[key] == *value)
    })
}

fn pod(workload: &Value, kind: &str, ordinal: u64) -> Value {
    let name = workload["metadata"]["name"].as_str().unwrap_or_default();
    let template = &workload["spec"]["template"];
    let mut metadata = template["metadata"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    metadata.remove("creationTimestamp");
    metadata.insert("name".into(), format!("{name}-{ordinal}").into());
    metadata.insert(
        "namespace".into(),
        workload["metadata"]["namespace"].clone(),
    );
    // A Deployment's pods belong to its ReplicaSet.
    let (api_version, owner) = match kind {
        "Deployment" => (json!("apps/v1"), "ReplicaSet"),
        other => (workload["apiVersion"].clone(), other),
    };
    metadata.insert(
        "ownerReferences".into(),
        json!([{
            "apiVersion": api_version, "kind": owner, "name": name, "controller": true,
            "uid": workload["metadata"]["uid"].as_str().unwrap_or(name),
        }]),
    );
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})
}

/// What the scheduler would have said of a pod that nobody has looked at yet: that it has no place.
/// A pod of a dump carries a status, and what that says stands.
pub(super) fn judge(pod: &mut Value) {
    let gated = pod["spec"]["schedulingGates"]
        .as_array()
        .is_some_and(|gates| !gates.is_empty());
    let bound = pod["spec"]["nodeName"]
        .as_str()
        .is_some_and(|node| !node.is_empty());
    if bound {
        pod["status"] = json!({"phase": "Running"});
        return;
    }
    let reason = if gated {
        "SchedulingGated"
    } else {
        "Unschedulable"
    };
    pod["status"] = json!({
        "phase": "Pending",
        "conditions": [{"type": "PodScheduled", "status": "False", "reason": reason}],
    });
}

/// Gives pods made from templates a uid and an age by their order, so that sort keys do not depend on
/// the moment of asking.
pub(super) fn date(pods: &mut [Value], now: jiff::Timestamp) {
    let total = pods.len();
    for (position, pod) in pods.iter_mut().enumerate() {
        let age = i64::try_from(total - position).unwrap_or(i64::MAX);
        let born = now - jiff::SignedDuration::from_secs(age);
        let metadata = &mut pod["metadata"];
        metadata["uid"] = format!("00000000-0000-4000-8000-{:012}", position + 1).into();
        metadata["creationTimestamp"] = born.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(replicas: u64) -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}},
            },
        })
    }

    fn names(pods: &[Value]) -> Vec<&str> {
        pods.iter()
            .filter_map(|pod| pod["metadata"]["name"].as_str())
            .collect()
    }

    #[test]
    fn a_workload_becomes_its_pods() {
        let pods = pods(&deployment(2), &[]);
        assert_eq!(names(&pods), ["web-1", "web-2"]);
        assert_eq!(
            pods[0]["metadata"]["ownerReferences"][0]["kind"],
            "ReplicaSet"
        );
        assert_eq!(pods[0]["metadata"]["namespace"], "shop");
    }

    #[test]
    fn a_dump_that_holds_the_pods_makes_no_more() {
        let held =
            json!({"kind": "Pod", "metadata": {"namespace": "shop", "labels": {"app": "web"}}});
        let elsewhere =
            json!({"kind": "Pod", "metadata": {"namespace": "else", "labels": {"app": "web"}}});
        let set = json!({"kind": "ReplicaSet", "metadata": {
            "namespace": "shop", "name": "web-1",
            "ownerReferences": [{"kind": "Deployment", "name": "web"}]}});
        assert_eq!(pods(&deployment(2), &[&held]).len(), 0);
        assert_eq!(pods(&deployment(2), &[&set]).len(), 0);
        assert_eq!(pods(&deployment(2), &[&elsewhere]).len(), 2);
    }

    #[test]
    fn a_job_makes_as_many_as_may_run_at_once() {
        let job = |parallelism: u64, completions: u64| {
            json!({"kind": "Job", "metadata": {"name": "j"}, "spec": {
                "parallelism": parallelism, "completions": completions, "template": {}}})
        };
        assert_eq!(pods(&job(5, 3), &[]).len(), 3);
        assert_eq!(pods(&job(2, 3), &[]).len(), 2);
    }
}
