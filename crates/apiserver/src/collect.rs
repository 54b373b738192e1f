//! Deletion: preconditions, grace, finalizers, and what goes when an owner goes.
//!
//! The real control plane does some of this in controllers; here it happens inside the write that
//! causes it, so that virtual time needs no collector task and no order is left to chance.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    error::{ApiError, Result},
    kinds::Kind,
    object,
    store::{Key, ResourceId, State, Stored},
};

/// What is to become of dependents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Propagation {
    #[default]
    Background,
    Foreground,
    Orphan,
}

/// `DeleteOptions`, from the body or the query.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeleteOptions {
    pub(crate) grace: Option<i64>,
    pub(crate) propagation: Propagation,
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
    pub(crate) dry_run: bool,
}

impl DeleteOptions {
    /// Read a `DeleteOptions` object; absent fields keep what `self` has.
    pub(crate) fn with_body(mut self, body: &Value) -> DeleteOptions {
        if let Some(grace) = body.get("gracePeriodSeconds").and_then(Value::as_i64) {
            self.grace = Some(grace);
        }
        match body.get("propagationPolicy").and_then(Value::as_str) {
            Some(policy) => self.propagation = propagation(policy),
            None if body.get("orphanDependents").and_then(Value::as_bool) == Some(true) => {
                self.propagation = Propagation::Orphan;
            }
            None => {}
        }
        let precondition = |name| object::text(body, &["preconditions", name]).map(str::to_owned);
        self.uid = precondition("uid").or(self.uid);
        self.resource_version = precondition("resourceVersion").or(self.resource_version);
        if body
            .get("dryRun")
            .and_then(Value::as_array)
            .is_some_and(|list| !list.is_empty())
        {
            self.dry_run = true;
        }
        self
    }
}

pub(crate) fn propagation(policy: &str) -> Propagation {
    match policy {
        "Foreground" => Propagation::Foreground,
        "Orphan" => Propagation::Orphan,
        _ => Propagation::Background,
    }
}

const FOREGROUND: &str = "foregroundDeletion";
/// As the pod strategy has it when a pod does not say.
const DEFAULT_GRACE: i64 = 30;

impl State {
    /// Delete one object, or begin to. The flag tells whether it is gone.
    pub(crate) fn delete(
        &mut self,
        id: ResourceId,
        key: &Key,
        options: &DeleteOptions,
    ) -> Result<(Stored, bool)> {
        let kind = self.collection(id).kind.clone();
        let current = self
            .get(id, key)
            .cloned()
            .ok_or_else(|| ApiError::not_found(&kind, &key.name))?;
        check_preconditions(&kind, &current, options)?;
        let value = current.value();
        if kind.is("", "Namespace")
            && matches!(
                &*key.name,
                "default" | "kube-system" | "kube-public" | "kube-node-lease"
            )
        {
            return Err(ApiError::forbidden(
                &kind,
                &key.name,
                "this namespace may not be deleted",
            ));
        }
        let grace = if kind.is_pod() {
            pod_grace(&value, options.grace)
        } else {
            0
        };
        if options.dry_run {
            return Ok((current, grace == 0 && !object::has_finalizers(&value)));
        }
        let uid = current.meta.uid.clone();
        match options.propagation {
            Propagation::Background => {}
            Propagation::Orphan => self.orphan_dependents(&uid),
            Propagation::Foreground => {
                if !self.dependents(&uid).is_empty() {
                    return Ok(self.delete_foreground(id, key, value));
                }
            }
        }
        if kind.is("", "Namespace") {
            return Ok(self.delete_namespace(id, key, value));
        }
        if kind.is("apiextensions.k8s.io", "CustomResourceDefinition") {
            self.delete_definition(id, key, value);
            return Ok(match self.get(id, key) {
                Some(now) => (now.clone(), false),
                None => (current, true),
            });
        }
        if grace > 0 || object::has_finalizers(&value) {
            return Ok((self.mark_deleting(id, &current, value, grace), false));
        }
        Ok((self.remove(id, value), true))
    }

    /// Set the deletion time, or bring it forward; without effect if it is already as early.
    fn mark_deleting(
        &mut self,
        id: ResourceId,
        current: &Stored,
        mut value: Value,
        grace: i64,
    ) -> Stored {
        let now = self.now();
        let marked = object::is_deleting(&value);
        let before = object::at(&value, &["metadata", "deletionGracePeriodSeconds"])
            .and_then(Value::as_i64)
            .unwrap_or(0);
        if marked && (grace >= before || !self.collection(id).kind.is_pod()) {
            return current.clone();
        }
        let counts = self.collection(id).kind.generation;
        let metadata = object::meta_mut(&mut value);
        let at = now
            .saturating_add(jiff::SignedDuration::from_secs(grace))
            .unwrap_or(now);
        metadata.insert("deletionTimestamp".to_owned(), json!(object::timestamp(at)));
        metadata.insert("deletionGracePeriodSeconds".to_owned(), json!(grace));
        if counts || metadata.contains_key("generation") {
            let next = metadata
                .get("generation")
                .and_then(Value::as_i64)
                .unwrap_or(0)
                + 1;
            metadata.insert("generation".to_owned(), json!(next));
        }
        self.put(id, value)
    }

    /// Dependents first: the owner waits under a finalizer until those that block are gone.
    fn delete_foreground(&mut self, id: ResourceId, key: &Key, mut value: Value) -> (Stored, bool) {
        let uid = object::meta(&value, "uid").unwrap_or_default().to_owned();
        let metadata = object::meta_mut(&mut value);
        let finalizers = metadata.entry("finalizers").or_insert_with(|| json!([]));
        if let Some(list) = finalizers.as_array_mut()
            && !list.iter().any(|one| one == FOREGROUND)
        {
            list.push(json!(FOREGROUND));
        }
        let current = self.put(id, value);
        self.waiting.insert(uid.as_str().into(), (id, key.clone()));
        let marked = self.mark_deleting(id, &current, current.value(), 0);
        let options = DeleteOptions {
            propagation: Propagation::Foreground,
            ..DeleteOptions::default()
        };
        for (dependent, dependent_key) in self.dependents(&uid) {
            let _ = self.delete(dependent, &dependent_key, &options);
        }
        self.release_foreground(&uid, id, key);
        match self.get(id, key) {
            Some(now) => (now.clone(), false),
            None => (marked, true),
        }
    }

    /// Take the finalizer away once no dependent is left that blocks.
    fn release_foreground(&mut self, uid: &str, id: ResourceId, key: &Key) {
        let blocked = self
            .dependents(uid)
            .iter()
            .any(|(dependent, dependent_key)| {
                self.get(*dependent, dependent_key).is_some_and(|stored| {
                    let value = stored.value();
                    owners(&value).any(|owner| {
                        owner.get("uid").and_then(Value::as_str) == Some(uid)
                            && owner.get("blockOwnerDeletion").and_then(Value::as_bool)
                                == Some(true)
                    })
                })
            });
        if blocked {
            return;
        }
        self.waiting.remove(uid);
        let Some(stored) = self.get(id, key) else {
            return;
        };
        let mut value = stored.value();
        let metadata = object::meta_mut(&mut value);
        if let Some(list) = metadata.get_mut("finalizers").and_then(Value::as_array_mut) {
            let before = list.len();
            list.retain(|one| one != FOREGROUND);
            if list.len() == before {
                return;
            }
            if list.is_empty() {
                metadata.remove("finalizers");
            }
            self.put_or_remove(id, value);
        }
    }

    fn delete_namespace(&mut self, id: ResourceId, key: &Key, mut value: Value) -> (Stored, bool) {
        object::child_mut(&mut value, "status").insert("phase".to_owned(), json!("Terminating"));
        let metadata = object::meta_mut(&mut value);
        if !metadata.contains_key("deletionTimestamp") {
            let now = object::timestamp((self.options.clock)());
            metadata.insert("deletionTimestamp".to_owned(), json!(now));
            self.put(id, value);
            for index in 0..self.collections.len() {
                let content = ResourceId(index);
                for item in self.collection(content).keys_in(&key.name) {
                    let _ = self.delete(content, &item, &DeleteOptions::default());
                }
            }
        }
        self.release_namespace(&key.name);
        if let Some(now) = self.get(id, key) {
            return (now.clone(), false);
        }
        let mut gone = Value::Null;
        object::meta_mut(&mut gone).insert("name".to_owned(), json!(key.name));
        (self.seal(id, &mut gone, self.revision), true)
    }

    /// A terminating namespace goes when it is empty.
    fn release_namespace(&mut self, namespace: &str) {
        let id = self.builtin("", "Namespace");
        let Some(stored) = self.get(id, &Key::new("", namespace)) else {
            return;
        };
        let value = stored.value();
        if !object::is_deleting(&value) || object::has_finalizers(&value) {
            return;
        }
        let empty = self
            .collections
            .iter()
            .filter(|collection| collection.kind.namespaced)
            .all(|collection| collection.keys_in(namespace).is_empty());
        if empty {
            self.remove(id, value);
        }
    }

    /// Whether an object that is being deleted has nothing left to wait for.
    pub(crate) fn put_or_remove(&mut self, id: ResourceId, value: Value) -> (Stored, bool) {
        let kind = self.collection(id).kind.clone();
        if !object::is_deleting(&value) || object::has_finalizers(&value) {
            return (self.put(id, value), false);
        }
        let waits = object::at(&value, &["metadata", "deletionGracePeriodSeconds"])
            .and_then(Value::as_i64)
            .is_some_and(|grace| grace > 0);
        if kind.is_pod() && waits {
            return (self.put(id, value), false);
        }
        if kind.is("", "Namespace") {
            let stored = self.put(id, value);
            self.release_namespace(&stored.meta.key.name);
            return (stored, false);
        }
        (self.remove(id, value), true)
    }

    /// Take an object out and let follow what must.
    pub(crate) fn remove(&mut self, id: ResourceId, value: Value) -> Stored {
        let kind: Arc<Kind> = self.collection(id).kind.clone();
        let owners_before: Vec<Box<str>> = object::owner_uids(&value);
        let stored = self.take(id, value);
        if kind.is("apiextensions.k8s.io", "CustomResourceDefinition") {
            self.withdraw_definition(&stored.meta.key.name);
        }
        self.collect_dependents(&stored.meta.uid);
        for owner in owners_before {
            if let Some((owner_id, owner_key)) = self.waiting.get(&owner).cloned() {
                self.release_foreground(&owner, owner_id, &owner_key);
            }
        }
        if !kind.builtin {
            self.release_definition(&kind.qualified());
        }
        if !stored.meta.key.namespace.is_empty() {
            self.release_namespace(&stored.meta.key.namespace.clone());
        }
        stored
    }

    /// The owner went: dependents without another living owner go too, others lose the reference.
    fn collect_dependents(&mut self, uid: &str) {
        for (id, key) in self.dependents(uid) {
            let Some(stored) = self.get(id, &key) else {
                continue;
            };
            let others = stored
                .meta
                .owners
                .iter()
                .filter(|owner| &***owner != uid)
                .cloned()
                .collect::<Vec<_>>();
            if others.iter().any(|owner| !self.has_departed(owner)) {
                let mut value = stored.value();
                drop_owner(&mut value, uid);
                self.put(id, value);
            } else {
                let _ = self.delete(id, &key, &DeleteOptions::default());
            }
        }
    }

    fn orphan_dependents(&mut self, uid: &str) {
        for (id, key) in self.dependents(uid) {
            if let Some(stored) = self.get(id, &key) {
                let mut value = stored.value();
                drop_owner(&mut value, uid);
                self.put(id, value);
            }
        }
    }

    /// A dependent made after its owner went is collected at once, as the real collector would.
    pub(crate) fn collect_if_ownerless(&mut self, id: ResourceId, stored: &Stored) {
        let owners = &stored.meta.owners;
        if !owners.is_empty() && owners.iter().all(|owner| self.has_departed(owner)) {
            let _ = self.delete(id, &stored.meta.key.clone(), &DeleteOptions::default());
        }
    }
}

fn owners(value: &Value) -> impl Iterator<Item = &Value> {
    object::at(value, &["metadata", "ownerReferences"])
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn drop_owner(value: &mut Value, uid: &str) {
    let metadata = object::meta_mut(value);
    if let Some(list) = metadata
        .get_mut("ownerReferences")
        .and_then(Value::as_array_mut)
    {
        list.retain(|owner| owner.get("uid").and_then(Value::as_str) != Some(uid));
        if list.is_empty() {
            metadata.remove("ownerReferences");
        }
    }
}

fn check_preconditions(kind: &Kind, current: &Stored, options: &DeleteOptions) -> Result<()> {
    let name = &current.meta.key.name;
    if let Some(uid) = &options.uid
        && **uid != *current.meta.uid
    {
        let why = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            current.meta.uid
        );
        return Err(ApiError::conflict(kind, name, &why));
    }
    if let Some(version) = &options.resource_version
        && *version != current.meta.revision.to_string()
    {
        let why = format!(
            "Precondition failed: ResourceVersion in precondition: {version}, ResourceVersion in \
             object meta: {}",
            current.meta.revision
        );
        return Err(ApiError::conflict(kind, name, &why));
    }
    Ok(())
}

/// Nobody is there to stop the containers of a pod that has no node or has ended.
fn pod_grace(pod: &Value, asked: Option<i64>) -> i64 {
    let unscheduled = object::text(pod, &["spec", "nodeName"]).is_none_or(str::is_empty);
    let ended = matches!(
        object::text(pod, &["status", "phase"]),
        Some("Succeeded" | "Failed")
    );
    if unscheduled || ended {
        return 0;
    }
    let own = object::at(pod, &["spec", "terminationGracePeriodSeconds"]).and_then(Value::as_i64);
    let grace = asked.or(own).unwrap_or(DEFAULT_GRACE);
    // Upstream: a negative period counts as one second.
    if grace < 0 { 1 } else { grace }
}
