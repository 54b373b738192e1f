//! Binding, eviction under disruption budgets, and scale.

use serde_json::{Value, json};

use crate::{
    collect::DeleteOptions,
    error::{ApiError, Result},
    kinds::{Kind, ScalePaths},
    object,
    select::{Filter, LabelSelector},
    store::{Key, Route, State, Stored},
    write::{Part, WriteOptions, Written},
};

/// Upstream refuses to let a budget record more evictions than this.
const MOST_DISRUPTED: usize = 2000;

impl State {
    /// `pods/binding`: give a pod its node, once.
    pub(crate) fn bind(
        &mut self,
        route: &Route,
        key: &Key,
        binding: &Value,
        dry_run: bool,
    ) -> Result<Value> {
        let kind = self.collection(route.id).kind.clone();
        let current = self
            .get(route.id, key)
            .cloned()
            .ok_or_else(|| ApiError::not_found(&kind, &key.name))?;
        let node = object::text(binding, &["target", "name"])
            .unwrap_or_default()
            .to_owned();
        if node.is_empty() {
            return Err(ApiError::bad_request(
                "target.name: Required value: name the node",
            ));
        }
        if let Some(uid) = object::meta(binding, "uid")
            && uid != &*current.meta.uid
        {
            let why = format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                current.meta.uid
            );
            return Err(ApiError::conflict(&kind, &key.name, &why));
        }
        let mut pod = current.value();
        if object::is_deleting(&pod) {
            let why = format!(
                "pod {} is being deleted, cannot be assigned to a host",
                key.name
            );
            return Err(binding_conflict(&key.name, &why));
        }
        if let Some(node) = object::text(&pod, &["spec", "nodeName"]).filter(|n| !n.is_empty()) {
            let why = format!("pod {} is already assigned to node {node:?}", key.name);
            return Err(binding_conflict(&key.name, &why));
        }
        if !dry_run {
            let now = object::timestamp(self.now());
            object::child_mut(&mut pod, "spec").insert("nodeName".to_owned(), json!(node));
            set_condition(
                &mut pod,
                json!({"type": "PodScheduled", "status": "True"}),
                &now,
            );
            if let Some(annotations) = object::at(binding, &["metadata", "annotations"])
                .and_then(Value::as_object)
                .cloned()
            {
                let own = object::meta_mut(&mut pod)
                    .entry("annotations")
                    .or_insert_with(|| json!({}));
                if let Some(own) = own.as_object_mut() {
                    own.extend(annotations);
                }
            }
            self.put(route.id, pod);
        }
        Ok(created())
    }

    /// `pods/eviction`: delete a pod if its disruption budget has room.
    pub(crate) fn evict(
        &mut self,
        route: &Route,
        key: &Key,
        eviction: &Value,
        dry_run: bool,
    ) -> Result<Value> {
        let kind = self.collection(route.id).kind.clone();
        if let Some(name) = object::meta(eviction, "name")
            && name != &*key.name
        {
            return Err(ApiError::bad_request(
                "name in URL does not match name in Eviction object",
            ));
        }
        let current = self
            .get(route.id, key)
            .cloned()
            .ok_or_else(|| ApiError::not_found(&kind, &key.name))?;
        let body = eviction.get("deleteOptions").cloned().unwrap_or_default();
        let mut options = DeleteOptions::default().with_body(&body);
        options.dry_run |= dry_run;
        let mut pod = current.value();
        let phase = object::text(&pod, &["status", "phase"]).unwrap_or_default();
        let ignores_budget =
            matches!(phase, "Succeeded" | "Failed" | "Pending") || object::is_deleting(&pod);
        if !ignores_budget {
            self.spend_budget(key, &current, &pod, options.dry_run)?;
        }
        if options.dry_run {
            return Ok(created());
        }
        if !object::is_deleting(&pod) && options.resource_version.is_none() {
            let now = object::timestamp(self.now());
            let condition = json!({
                "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
                "message": "Eviction API: evicting",
            });
            set_condition(&mut pod, condition, &now);
            if options
                .uid
                .as_deref()
                .is_none_or(|uid| uid == &*current.meta.uid)
            {
                self.put(route.id, pod);
            }
        }
        self.delete(route.id, key, &options)?;
        Ok(created())
    }

    /// Take one disruption from the budget that covers the pod, or refuse.
    fn spend_budget(
        &mut self,
        key: &Key,
        current: &Stored,
        pod: &Value,
        dry_run: bool,
    ) -> Result<()> {
        let id = self.builtin("policy", "PodDisruptionBudget");
        let filter = Filter {
            namespace: Some(key.namespace.to_string()),
            ..Filter::default()
        };
        let mut covering = self
            .collection(id)
            .list(&filter, None)
            .map(Stored::value)
            .filter(|b| {
                // A budget without a selector covers nothing; an empty selector covers everything.
                object::at(b, &["spec", "selector"])
                    .is_some_and(|s| LabelSelector::from_object(s).matches(&current.meta.labels))
            });
        let Some(mut budget) = covering.next() else {
            return Ok(());
        };
        if covering.next().is_some() {
            return Err(ApiError::internal(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource \
                 does not support.",
            ));
        }
        drop(covering);
        let name = object::meta(&budget, "name").unwrap_or_default().to_owned();
        let figure = |field: &str| {
            object::at(&budget, &["status", field])
                .and_then(Value::as_i64)
                .unwrap_or(0)
        };
        let (healthy, desired) = (figure("currentHealthy"), figure("desiredHealthy"));
        if !is_ready(pod) {
            let always = object::text(&budget, &["spec", "unhealthyPodEvictionPolicy"])
                == Some("AlwaysAllow");
            if always || (healthy >= desired && desired > 0) {
                return Ok(());
            }
        }
        let generation = object::at(&budget, &["metadata", "generation"]).and_then(Value::as_i64);
        if figure("observedGeneration") < generation.unwrap_or(0) {
            return Err(ApiError::budget(
                "Cannot evict pod as it would violate the pod's disruption budget.",
                &format!("The disruption budget {name} is still being processed by the server."),
                Some(10),
            ));
        }
        let allowed = figure("disruptionsAllowed");
        let budgets = self.collection(id).kind.clone();
        if allowed < 0 {
            return Err(ApiError::forbidden(
                &budgets,
                &name,
                "pdb disruptions allowed is negative",
            ));
        }
        if allowed == 0 {
            return Err(ApiError::budget(
                "Cannot evict pod as it would violate the pod's disruption budget.",
                &format!(
                    "The disruption budget {name} needs {desired} healthy pods and has {healthy} \
                     currently"
                ),
                None,
            ));
        }
        let now = object::timestamp(self.now());
        let status = object::child_mut(&mut budget, "status");
        let disrupted = status.entry("disruptedPods").or_insert_with(|| json!({}));
        if !disrupted.is_object() {
            *disrupted = json!({});
        }
        if disrupted
            .as_object()
            .is_some_and(|map| map.len() > MOST_DISRUPTED)
        {
            return Err(ApiError::forbidden(
                &budgets,
                &name,
                "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
            ));
        }
        disrupted[&*key.name] = json!(now);
        status.insert("disruptionsAllowed".to_owned(), json!(allowed - 1));
        if !dry_run {
            self.put(id, budget);
        }
        Ok(())
    }

    /// The `Scale` of an object.
    pub(crate) fn scale(&self, route: &Route, key: &Key) -> Result<Value> {
        let kind = &self.collection(route.id).kind;
        let paths = scale_paths(kind, route.version)?;
        let stored = self
            .get(route.id, key)
            .ok_or_else(|| ApiError::not_found(kind, &key.name))?;
        Ok(scale_of(kind, &paths, &stored.value()))
    }

    /// Change the replicas through a `Scale`; `change` edits the present one.
    pub(crate) fn rescale(
        &mut self,
        route: &Route,
        key: &Key,
        change: impl FnOnce(&mut Value) -> Result<()>,
        options: &WriteOptions,
    ) -> Result<(Value, Written)> {
        let kind = self.collection(route.id).kind.clone();
        let paths = scale_paths(&kind, route.version)?;
        let current = self
            .get(route.id, key)
            .cloned()
            .ok_or_else(|| ApiError::not_found(&kind, &key.name))?;
        let old = current.value();
        let mut scale = scale_of(&kind, &paths, &old);
        change(&mut scale)?;
        let replicas = object::at(&scale, &["spec", "replicas"])
            .and_then(Value::as_i64)
            .unwrap_or(0);
        if replicas < 0 {
            return Err(ApiError::unprocessable(format!(
                "Scale.autoscaling {:?} is invalid: spec.replicas: Invalid value: {replicas}: must \
                 be greater than or equal to 0",
                &*key.name
            )));
        }
        let mut new = old.clone();
        if let Some(version) = object::meta(&scale, "resourceVersion") {
            object::meta_mut(&mut new).insert("resourceVersion".to_owned(), json!(version));
        }
        object::set_at(&mut new, &paths.replicas, json!(replicas));
        let written = self.replace(route.id, &current, &old, new, Part::Main, options)?;
        Ok((scale_of(&kind, &paths, &written.stored.value()), written))
    }
}

fn scale_paths(kind: &Kind, version: usize) -> Result<ScalePaths> {
    kind.versions
        .get(version)
        .and_then(|v| v.scale.clone())
        .ok_or_else(ApiError::no_such_path)
}

fn scale_of(kind: &Kind, paths: &ScalePaths, value: &Value) -> Value {
    let number = |path: &[String]| {
        object::at_owned(value, path)
            .and_then(Value::as_i64)
            .unwrap_or(0)
    };
    let mut metadata = json!({});
    for field in [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
    ] {
        if let Some(text) = object::meta(value, field) {
            metadata[field] = json!(text);
        }
    }
    let mut status = json!({"replicas": number(&paths.status_replicas)});
    let selector = match &paths.selector {
        Some(path) => object::at_owned(value, path)
            .and_then(Value::as_str)
            .map(str::to_owned),
        None if kind.builtin => object::at(value, &["spec", "selector"]).map(selector_text),
        None => None,
    };
    if let Some(selector) = selector {
        status["selector"] = json!(selector);
    }
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
        "spec": {"replicas": number(&paths.replicas)}, "status": status,
    })
}

/// A selector object in its query form.
pub(crate) fn selector_text(selector: &Value) -> String {
    let plain = selector.get("matchLabels").is_none() && selector.get("matchExpressions").is_none();
    let labels = if plain {
        Some(selector)
    } else {
        selector.get("matchLabels")
    };
    let mut terms: Vec<String> = labels
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    for expression in selector
        .get("matchExpressions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let key = expression
            .get("key")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let values: Vec<&str> = expression
            .get("values")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        terms.push(match expression.get("operator").and_then(Value::as_str) {
            Some("Exists") => key.to_owned(),
            Some("DoesNotExist") => format!("!{key}"),
            Some("NotIn") => format!("{key} notin ({})", values.join(",")),
            _ => format!("{key} in ({})", values.join(",")),
        });
    }
    terms.join(",")
}

/// Set a condition by its type; the transition time moves only with the status.
fn set_condition(pod: &mut Value, mut condition: Value, now: &str) {
    let conditions = object::child_mut(pod, "status")
        .entry("conditions")
        .or_insert_with(|| json!([]));
    if !conditions.is_array() {
        *conditions = json!([]);
    }
    let Some(list) = conditions.as_array_mut() else {
        return;
    };
    condition["lastTransitionTime"] = json!(now);
    match list
        .iter_mut()
        .find(|one| one.get("type") == condition.get("type"))
    {
        Some(existing) => {
            if existing.get("status") == condition.get("status")
                && let Some(time) = existing.get("lastTransitionTime").cloned()
            {
                condition["lastTransitionTime"] = time;
            }
            *existing = condition;
        }
        None => list.push(condition),
    }
}

fn is_ready(pod: &Value) -> bool {
    object::at(pod, &["status", "conditions"])
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .any(|condition| {
            condition.get("type").and_then(Value::as_str) == Some("Ready")
                && condition.get("status").and_then(Value::as_str) == Some("True")
        })
}

fn binding_conflict(name: &str, why: &str) -> ApiError {
    ApiError {
        code: 409,
        reason: "Conflict",
        message: format!("Operation cannot be fulfilled on pods/binding {name:?}: {why}"),
        details: Some(json!({"name": name, "kind": "pods/binding"})),
    }
}

fn created() -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201})
}
