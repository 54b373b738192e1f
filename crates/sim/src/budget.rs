//! The status of PodDisruptionBudgets: how many pods are healthy, how many have to be, and how many evictions the
//! server may therefore let through.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cluster::{Change, Cluster, Kind};
use crate::controller::{Controller, Queue, RETRY, View};
use crate::objects::{Budget, BudgetStatus, Condition, Key, Pod, condition, stamp};
use crate::write::{Action, Write};

/// An eviction that the server took and that does not show within this time is forgotten.
const DISRUPTION_TIMEOUT: Duration = Duration::from_mins(2);

/// The controller.
#[derive(Default)]
pub(crate) struct Budgets {
    queue: Queue,
}

impl Controller for Budgets {
    fn observe(&mut self, change: &Change, view: &View<'_>) {
        match change {
            Change::Budget(changed) => self.queue.add(&changed.latest().meta.key),
            Change::Pod(changed) => {
                let namespace = &changed.latest().meta.key.namespace;
                for budget in view.cluster.budgets.in_namespace(namespace) {
                    if changed.both().any(|pod| selects(budget, pod)) {
                        self.queue.add(&budget.meta.key);
                    }
                }
            }
            // Their replicas are what pods are expected to be.
            Change::Deployment(changed) => self.add_all(&changed.latest().meta.key.namespace, view),
            Change::ReplicaSet(changed) => self.add_all(&changed.latest().meta.key.namespace, view),
            Change::Node(_) | Change::Namespace(_) | Change::DaemonSet(_) | Change::Job(_) => {}
        }
    }

    fn work(&mut self, view: &View<'_>) -> Vec<Write> {
        let mut writes = Vec::new();
        for key in self.queue.take(view.now) {
            let Some(budget) = view.cluster.budgets.get(&key) else {
                continue;
            };
            let target = judge(budget, view.cluster, view.time());
            if let Some(first) = target.disrupted_pods.values().min() {
                let due = first.saturating_add(timeout()).unwrap_or(*first);
                self.queue.add_at(&key, view.instant(due));
            }
            writes.extend(status(budget, &target, view.time()));
        }
        writes
    }

    fn failed(&mut self, write: &Write, view: &View<'_>) {
        self.queue.add_at(&write.on_behalf_of, view.now + RETRY);
    }

    fn wake(&self) -> Option<Instant> {
        self.queue.wake()
    }
}

impl Budgets {
    fn add_all(&mut self, namespace: &str, view: &View<'_>) {
        for budget in view.cluster.budgets.in_namespace(namespace) {
            self.queue.add(&budget.meta.key);
        }
    }
}

fn timeout() -> SignedDuration {
    SignedDuration::try_from(DISRUPTION_TIMEOUT).unwrap_or(SignedDuration::MAX)
}

fn selects(budget: &Budget, pod: &Pod) -> bool {
    budget
        .selector
        .as_ref()
        .is_some_and(|selector| selector.matches(&pod.meta.labels))
}

/// The status that a budget should have.
fn judge(budget: &Budget, cluster: &Cluster, now: Timestamp) -> BudgetStatus {
    let pods: Vec<&Pod> = cluster
        .pods
        .in_namespace(&budget.meta.key.namespace)
        .map(|pod| &**pod)
        .filter(|pod| selects(budget, pod) && !pod.terminal())
        .collect();
    // An eviction is settled once its pod is being deleted or gone.
    let disrupted_pods: BTreeMap<String, Timestamp> = budget
        .status
        .disrupted_pods
        .iter()
        .filter(|(name, since)| {
            pods.iter()
                .any(|pod| pod.meta.key.name == **name && pod.meta.deleting.is_none())
                && since.saturating_add(timeout()).is_ok_and(|due| due > now)
        })
        .map(|(name, since)| (name.clone(), *since))
        .collect();
    let healthy = pods
        .iter()
        .filter(|pod| {
            pod.meta.deleting.is_none()
                && pod.ready_since().is_some()
                && !disrupted_pods.contains_key(&pod.meta.key.name)
        })
        .count();
    let current_healthy = i64::try_from(healthy).unwrap_or(i64::MAX);
    let (expected_pods, desired_healthy) = desired(budget, &pods, cluster);
    let disruptions_allowed = if expected_pods > 0 {
        (current_healthy - desired_healthy).max(0)
    } else {
        0
    };
    BudgetStatus {
        observed_generation: Some(budget.meta.generation),
        current_healthy,
        desired_healthy,
        disruptions_allowed,
        expected_pods,
        disrupted_pods,
        conditions: Vec::new(),
    }
}

/// How many pods there should be, and how many of them healthy.
fn desired(budget: &Budget, pods: &[&Pod], cluster: &Cluster) -> (i64, i64) {
    use crate::objects::IntOrPercent::Int;
    let present = || i64::try_from(pods.len()).unwrap_or(i64::MAX);
    match (&budget.max_unavailable, &budget.min_available) {
        (Some(unavailable), _) => {
            let expected = expected(pods, cluster);
            (expected, (expected - unavailable.of(expected, true)).max(0))
        }
        (None, Some(Int(available))) => (present(), *available),
        (None, Some(available)) => {
            let expected = expected(pods, cluster);
            (expected, available.of(expected, true))
        }
        (None, None) => (present(), 0),
    }
}

/// The replicas that the controllers of the pods ask for; pods whose controller has no scale count as they are.
fn expected(pods: &[&Pod], cluster: &Cluster) -> i64 {
    let mut scales: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    let mut others = 0;
    for pod in pods {
        let set = pod
            .meta
            .owner
            .as_ref()
            .filter(|owner| owner.kind == "ReplicaSet")
            .and_then(|owner| {
                cluster
                    .replica_sets
                    .get(&Key::new(&pod.meta.key.namespace, &owner.name))
            });
        let Some(set) = set else {
            others += 1;
            continue;
        };
        let deployment = set.meta.owner.as_ref().and_then(|owner| {
            cluster
                .deployments
                .get(&Key::new(&set.meta.key.namespace, &owner.name))
        });
        match deployment {
            Some(deployment) => scales.insert(
                ("Deployment", &deployment.meta.key.name),
                deployment.spec.replicas.unwrap_or(1),
            ),
            None => scales.insert(
                ("ReplicaSet", &set.meta.key.name),
                set.spec.replicas.unwrap_or(1),
            ),
        };
    }
    scales.values().sum::<i64>() + others
}

fn status(budget: &Budget, target: &BudgetStatus, now: Timestamp) -> Option<Write> {
    const CONDITION: &str = "DisruptionAllowed";
    let known = &budget.status;
    let allowed = target.disruptions_allowed > 0;
    let known_condition: Option<&Condition> = known
        .conditions
        .iter()
        .find(|known| known.kind == CONDITION);
    let held = known_condition.is_some_and(|known| known.holds() == allowed);
    let unjudged = BudgetStatus {
        conditions: Vec::new(),
        ..known.clone()
    };
    if held && unjudged == *target {
        return None;
    }
    let since = known_condition
        .filter(|_| held)
        .and_then(|known| known.last_transition_time)
        .unwrap_or(now);
    let reason = if allowed {
        "SufficientPods"
    } else {
        "InsufficientPods"
    };
    // A merge patch keeps keys that it does not name, so settled evictions are named with null.
    let mut disrupted: BTreeMap<&str, Value> = known
        .disrupted_pods
        .keys()
        .map(|name| (name.as_str(), Value::Null))
        .collect();
    for (name, since) in &target.disrupted_pods {
        disrupted.insert(name, stamp(*since).into());
    }
    let mut body = json!({ "status": {
        "observedGeneration": target.observed_generation,
        "currentHealthy": target.current_healthy,
        "desiredHealthy": target.desired_healthy,
        "disruptionsAllowed": target.disruptions_allowed,
        "expectedPods": target.expected_pods,
        "conditions": [condition(CONDITION, allowed, reason, "", since)],
    }, "metadata": {
        // An eviction that the server takes meanwhile must not be overwritten.
        "resourceVersion": budget.meta.version.to_string(),
    }});
    if !disrupted.is_empty() {
        body["status"]["disruptedPods"] = json!(disrupted);
    }
    Some(Write::new(
        &budget.meta.key,
        Action::PatchStatus {
            kind: Kind::Budget,
            key: budget.meta.key.clone(),
            body,
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Object;
    use crate::objects::{BudgetWire, DeploymentWire, PodWire, ReplicaSetWire};

    /// A deployment `web` of `replicas`, of whose pods `ready` are ready and `pending` are not, and a budget.
    fn world(replicas: i64, ready: usize, pending: usize, budget: &Value) -> Cluster {
        let mut cluster = Cluster::default();
        let owner = |kind: &str, name: &str| json!([{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": name, "controller": true}]);
        let mut put = |object: Object| cluster.put(object);
        put(Object::Deployment(
            serde_json::from_value::<DeploymentWire>(json!({
                "metadata": {"name": "web", "namespace": "default", "uid": "web", "resourceVersion": "1"},
                "spec": {"replicas": replicas}}))
            .unwrap()
            .into(),
        ));
        put(Object::ReplicaSet(
            serde_json::from_value::<ReplicaSetWire>(json!({
                "metadata": {"name": "web-1", "namespace": "default", "uid": "web-1", "resourceVersion": "1",
                             "ownerReferences": owner("Deployment", "web")},
                "spec": {"replicas": 1}}))
            .unwrap()
            .into(),
        ));
        for number in 0..ready + pending {
            let status = if number < ready { "True" } else { "False" };
            put(Object::Pod(
                serde_json::from_value::<PodWire>(json!({
                    "metadata": {"name": format!("p{number}"), "namespace": "default", "resourceVersion": "1",
                                 "labels": {"app": "web"}, "ownerReferences": owner("ReplicaSet", "web-1")},
                    "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": status}]}}))
                .unwrap()
                .into(),
            ));
        }
        let mut object = json!({
            "metadata": {"name": "b", "namespace": "default", "resourceVersion": "7", "generation": 3},
            "spec": {"selector": {"matchLabels": {"app": "web"}}}});
        json_patch::merge(&mut object, budget);
        put(Object::Budget(
            serde_json::from_value::<BudgetWire>(object).unwrap().into(),
        ));
        cluster
    }

    /// Expected, desired, healthy, allowed.
    fn check(row: &str, cluster: &Cluster, expected: [i64; 4]) {
        let budget = cluster.budgets.values().next().unwrap();
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let status = judge(budget, cluster, now);
        let got = [
            status.expected_pods,
            status.desired_healthy,
            status.current_healthy,
            status.disruptions_allowed,
        ];
        assert_eq!(got, expected, "{row}");
    }

    #[test]
    fn budgets_allow_what_is_above_what_is_desired() {
        let spec = |over: Value| json!({"spec": over});
        check(
            "min available",
            &world(3, 3, 0, &spec(json!({"minAvailable": 2}))),
            [3, 2, 3, 1],
        );
        check(
            "a pod that is not ready",
            &world(3, 2, 1, &spec(json!({"minAvailable": 2}))),
            [3, 2, 2, 0],
        );
        check(
            "percent of the scale",
            &world(10, 3, 0, &spec(json!({"minAvailable": "25%"}))),
            [10, 3, 3, 0],
        );
        check(
            "max unavailable",
            &world(4, 4, 0, &spec(json!({"maxUnavailable": 1}))),
            [4, 3, 4, 1],
        );
        check(
            "max unavailable in percent rounds up",
            &world(3, 3, 0, &spec(json!({"maxUnavailable": "10%"}))),
            [3, 2, 3, 1],
        );
        check(
            "none",
            &world(3, 3, 0, &spec(json!({"maxUnavailable": 0}))),
            [3, 3, 3, 0],
        );
        check(
            "no pods",
            &world(0, 0, 0, &spec(json!({"maxUnavailable": 1}))),
            [0, 0, 0, 0],
        );
        check(
            "everything selected",
            &world(
                3,
                3,
                0,
                &spec(json!({"minAvailable": 1, "selector": {"matchLabels": null}})),
            ),
            [3, 1, 3, 2],
        );
        check(
            "nothing selected",
            &world(3, 3, 0, &spec(json!({"minAvailable": 1, "selector": null}))),
            [0, 1, 0, 0],
        );
    }

    #[test]
    fn evictions_under_way_count_until_they_show_or_expire() {
        let status = |since: &str| {
            json!({
            "spec": {"minAvailable": 1}, "status": {"disruptedPods": {"p0": since, "gone": "2026-01-01T00:00:30Z"}}})
        };
        check(
            "under way",
            &world(3, 3, 0, &status("2026-01-01T00:00:30Z")),
            [3, 1, 2, 1],
        );
        check(
            "expired",
            &world(3, 3, 0, &status("2025-12-31T23:58:00Z")),
            [3, 1, 3, 2],
        );
    }

    #[test]
    fn a_status_is_written_once() {
        let mut cluster = world(3, 3, 0, &json!({"spec": {"minAvailable": 2}}));
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let budget = cluster.budgets.values().next().unwrap().clone();
        let write = status(&budget, &judge(&budget, &cluster, now), now).unwrap();
        let Action::PatchStatus { body, .. } = write.action else {
            panic!("not a status")
        };
        let mut object = json!({
            "metadata": {"name": "b", "namespace": "default", "resourceVersion": "8", "generation": 3},
            "spec": {"selector": {"matchLabels": {"app": "web"}}, "minAvailable": 2}});
        json_patch::merge(&mut object, &json!({"status": body["status"]}));
        cluster.put(Object::Budget(
            serde_json::from_value::<BudgetWire>(object).unwrap().into(),
        ));
        let budget = cluster.budgets.values().next().unwrap().clone();
        assert_eq!(status(&budget, &judge(&budget, &cluster, now), now), None);
    }
}
