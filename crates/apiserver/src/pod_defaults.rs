//! Defaults of pods and of the templates they come from.

use serde_json::{Map, Value, json};

use crate::{
    defaults::{no_priority_class, or_set},
    error::Result,
    object,
    select::Filter,
    store::{Key, State},
};

/// Seconds that a pod stays on a node that is not ready or out of reach.
const TOLERATED: u32 = 300;

/// What admission does to a new pod: priority, runtime overhead, tolerations.
pub(crate) fn admit(state: &State, pod: &mut Value) -> Result<()> {
    let name = object::meta(pod, "name").unwrap_or_default().to_owned();
    let spec = object::child_mut(pod, "spec");
    priority(state, spec, &name)?;
    if let Some(class) = spec.get("runtimeClassName").and_then(Value::as_str) {
        let id = state.builtin("node.k8s.io", "RuntimeClass");
        if let Some(stored) = state.get(id, &Key::new("", class)) {
            let class = stored.value();
            if let Some(overhead) = object::at(&class, &["overhead", "podFixed"]) {
                or_set(spec, "overhead", overhead.clone());
            }
            if let Some(selector) =
                object::at(&class, &["scheduling", "nodeSelector"]).and_then(Value::as_object)
            {
                let own = spec.entry("nodeSelector").or_insert_with(|| json!({}));
                if let Some(own) = own.as_object_mut() {
                    own.extend(
                        selector
                            .iter()
                            .map(|(key, value)| (key.clone(), value.clone())),
                    );
                }
            }
        }
    }
    let tolerations = spec.entry("tolerations").or_insert_with(|| json!([]));
    if let Some(list) = tolerations.as_array_mut() {
        for key in [
            "node.kubernetes.io/not-ready",
            "node.kubernetes.io/unreachable",
        ] {
            let covered = list.iter().any(|toleration| {
                let text = |field: &str| {
                    toleration
                        .get(field)
                        .and_then(Value::as_str)
                        .unwrap_or_default()
                };
                (text("key") == key || text("key").is_empty())
                    && (text("effect") == "NoExecute" || text("effect").is_empty())
            });
            if !covered {
                list.push(json!({
                    "key": key, "operator": "Exists", "effect": "NoExecute",
                    "tolerationSeconds": TOLERATED,
                }));
            }
        }
    }
    Ok(())
}

fn priority(state: &State, spec: &mut Map<String, Value>, pod: &str) -> Result<()> {
    let id = state.builtin("scheduling.k8s.io", "PriorityClass");
    let named = spec
        .get("priorityClassName")
        .and_then(Value::as_str)
        .filter(|n| !n.is_empty());
    let class = match named {
        Some(name) => {
            let found = state.get(id, &Key::new("", name)).ok_or_else(|| {
                no_priority_class(&state.collection(state.builtin("", "Pod")).kind, pod, name)
            })?;
            Some(found.value())
        }
        None => state
            .collection(id)
            .list(&Filter::default(), None)
            .map(crate::store::Stored::value)
            .filter(|class| class.get("globalDefault") == Some(&json!(true)))
            .min_by_key(|class| class.get("value").and_then(Value::as_i64)),
    };
    let field = |name: &str| class.as_ref().and_then(|class| class.get(name)).cloned();
    if named.is_none()
        && let Some(name) = class.as_ref().and_then(|class| object::meta(class, "name"))
    {
        spec.insert("priorityClassName".to_owned(), json!(name));
    }
    spec.insert(
        "priority".to_owned(),
        field("value").unwrap_or_else(|| json!(0)),
    );
    or_set(
        spec,
        "preemptionPolicy",
        field("preemptionPolicy").unwrap_or_else(|| json!("PreemptLowerPriority")),
    );
    Ok(())
}

/// Defaults of a pod specification, in a pod or in a template.
pub(crate) fn spec(spec: &mut Map<String, Value>) {
    or_set(spec, "restartPolicy", "Always");
    or_set(spec, "terminationGracePeriodSeconds", 30);
    or_set(spec, "dnsPolicy", "ClusterFirst");
    or_set(spec, "schedulerName", "default-scheduler");
    or_set(spec, "securityContext", json!({}));
    let host_network = spec.get("hostNetwork") == Some(&json!(true));
    for list in ["containers", "initContainers"] {
        let containers = spec
            .get_mut(list)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten();
        for container in containers.filter_map(Value::as_object_mut) {
            container_defaults(container, host_network);
        }
    }
    let spreads = spec
        .get_mut("topologySpreadConstraints")
        .and_then(Value::as_array_mut);
    for spread in spreads
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
    {
        or_set(spread, "whenUnsatisfiable", "DoNotSchedule");
    }
}

fn container_defaults(container: &mut Map<String, Value>, host_network: bool) {
    let image = container
        .get("image")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let last = image.rsplit('/').next().unwrap_or_default();
    let moving =
        !image.contains('@') && last.rsplit_once(':').is_none_or(|(_, tag)| tag == "latest");
    or_set(
        container,
        "imagePullPolicy",
        if moving { "Always" } else { "IfNotPresent" },
    );
    let resources = container.entry("resources").or_insert_with(|| json!({}));
    if let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() {
        let requests = resources["requests"].take();
        let mut requests = requests.as_object().cloned().unwrap_or_default();
        for (name, limit) in limits {
            requests.entry(name).or_insert(limit);
        }
        resources["requests"] = Value::Object(requests);
    }
    let ports = container
        .get_mut("ports")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten();
    for port in ports.filter_map(Value::as_object_mut) {
        or_set(port, "protocol", "TCP");
        if host_network && let Some(number) = port.get("containerPort").cloned() {
            or_set(port, "hostPort", number);
        }
    }
}

/// Guaranteed when every container's limits for processor and memory equal its requests, best effort
/// when none has either.
pub(crate) fn quality_of_service(spec: &Value) -> &'static str {
    let mut any = false;
    let mut all = true;
    for list in ["containers", "initContainers"] {
        for container in spec
            .get(list)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            for resource in ["cpu", "memory"] {
                let amount = |side: &str| {
                    object::at(container, &["resources", side, resource])
                        .and_then(object::scalar)
                        .filter(|text| !is_zero(text))
                };
                let (request, limit) = (amount("requests"), amount("limits"));
                any |= request.is_some() || limit.is_some();
                all &= limit.is_some() && request == limit;
            }
        }
    }
    match (any, all) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

fn is_zero(quantity: &str) -> bool {
    !quantity.bytes().any(|byte| (b'1'..=b'9').contains(&byte))
}
