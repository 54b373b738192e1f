//! What a pod may use at the most: shown to people, never part of a decision.
//!
//! Containers run at the same time; init containers one after the other, before them, unless they
//! restart always: such a one runs beside everything that starts after it.

use std::sync::Arc;

use karpenter_api::{
    Quantity, ResourceList,
    objects::{Pod, pod::Container},
};

/// The limits of the pod as a whole, by resource.
pub(super) fn limits(pod: &Pod) -> Box<[(Arc<str>, f64)]> {
    let spec = &pod.spec;
    let mut total = ResourceList::new();
    for container in &spec.containers {
        add(&mut total, of(container));
    }
    let mut sidecars = ResourceList::new();
    let mut peak = ResourceList::new();
    for container in &spec.init_containers {
        if container.restart_policy.as_deref() == Some("Always") {
            add(&mut total, of(container));
            add(&mut sidecars, of(container));
            raise(&mut peak, &sidecars);
        } else {
            let mut alone = sidecars.clone();
            add(&mut alone, of(container));
            raise(&mut peak, &alone);
        }
    }
    raise(&mut total, &peak);
    // Without limits the overhead is no limit either.
    if !total.is_empty() {
        add(&mut total, spec.overhead.as_ref());
    }
    total
        .into_iter()
        .map(|(name, amount)| (Arc::from(name), amount.as_f64()))
        .collect()
}

fn of(container: &Container) -> Option<&ResourceList> {
    container.resources.as_ref()?.limits.as_ref()
}

fn add(total: &mut ResourceList, more: Option<&ResourceList>) {
    for (name, amount) in more.into_iter().flatten() {
        *total.entry(name.clone()).or_insert(Quantity::from(0)) += *amount;
    }
}

fn raise(total: &mut ResourceList, least: &ResourceList) {
    for (name, amount) in least {
        let own = total.entry(name.clone()).or_insert(*amount);
        *own = (*own).max(*amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(spec: &Value, expected: &[(&str, f64)]) {
        let pod: Pod = serde_json::from_value(json!({ "spec": spec })).unwrap();
        let found = limits(&pod);
        let found: Vec<(&str, f64)> = found
            .iter()
            .map(|(name, amount)| (&**name, *amount))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn limits_of_a_pod() {
        let cpu = |amount: &str| json!({"resources": {"limits": {"cpu": amount}}});
        let sidecar = |amount: &str| json!({"restartPolicy": "Always", "resources": {"limits": {"cpu": amount}}});
        check(&json!({"containers": [{}]}), &[]);
        check(&json!({"containers": [{}], "overhead": {"cpu": "1"}}), &[]);
        check(
            &json!({"containers": [cpu("1"), cpu("500m")], "overhead": {"cpu": "250m"}}),
            &[("cpu", 1.75)],
        );
        check(
            &json!({"containers": [cpu("1")], "initContainers": [cpu("3"), cpu("2")]}),
            &[("cpu", 3.0)],
        );
        check(
            &json!({"containers": [cpu("1")], "initContainers": [sidecar("1"), cpu("2")]}),
            &[("cpu", 3.0)],
        );
    }
}
