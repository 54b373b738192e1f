//! Creating and changing objects: what every write goes through, whatever the verb.
//!
//! The order is the API server's: decode, prune, default, admit, validate, then compare with what is
//! stored; a change that changes nothing writes nothing.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    checks, defaults,
    error::{ApiError, FieldError, Result},
    kinds::Kind,
    metadata, object,
    schema::{self, Strictness},
    store::{Key, ResourceId, Route, State, Stored},
};

/// Which part of an object a write may touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Everything but the status, where that is a subresource.
    Main,
    /// The status and, for built-in kinds, labels, annotations and finalizers.
    Status,
}

/// How a write was asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct WriteOptions {
    pub(crate) dry_run: bool,
    pub(crate) strictness: Strictness,
    pub(crate) manager: String,
}

/// What a write led to.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) stored: Stored,
    /// Texts for `Warning` headers.
    pub(crate) warnings: Vec<String>,
    pub(crate) created: bool,
}

impl State {
    /// Create an object in a namespace (empty when cluster-wide).
    pub(crate) fn create(
        &mut self,
        route: &Route,
        namespace: &str,
        mut value: Value,
        options: &WriteOptions,
    ) -> Result<Written> {
        let id = route.id;
        let kind = self.collection(id).kind.clone();
        check_identity(route, &mut value)?;
        check_namespace(&kind, namespace, &mut value)?;
        let warnings = schema::prepare(&kind, &mut value, options.strictness)?;
        if object::meta(&value, "resourceVersion").is_some() {
            return Err(ApiError::bad_request(
                "resourceVersion should not be set on objects to be created",
            ));
        }
        let base = object::meta(&value, "generateName").map(str::to_owned);
        if object::meta(&value, "name").is_none()
            && let Some(base) = base
        {
            // 63 is the longest label value; the suffix takes five of it.
            let cut: String = base.chars().take(58).collect();
            let name = loop {
                let name = format!("{cut}{}", self.next_suffix());
                if self.get(id, &Key::new(namespace, &name)).is_none() {
                    break name;
                }
            };
            object::meta_mut(&mut value).insert("name".to_owned(), json!(name));
        }
        let name = object::meta(&value, "name").unwrap_or_default().to_owned();
        if kind.namespaced {
            self.admit_namespace(&kind, namespace, &name)?;
        }
        let uid = self.next_uid();
        let now = object::timestamp(self.now());
        let metadata = object::meta_mut(&mut value);
        for given in [
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "selfLink",
        ] {
            metadata.remove(given);
        }
        metadata.insert("uid".to_owned(), json!(uid));
        metadata.insert("creationTimestamp".to_owned(), json!(now));
        metadata.remove("generation");
        if kind.generation {
            metadata.insert("generation".to_owned(), json!(1));
        }
        reset_status(&kind, &mut value);
        // A status that was taken away begins with its schema's defaults, as it does when an object
        // is read back from storage.
        schema::set_defaults(&kind, &mut value);
        defaults::apply(self, &kind, &mut value, None)?;
        let errors = checks::new_object(&kind, &value);
        schema::validate(&kind, &value, None, Part::Main, errors)?;
        let key = Key::new(namespace, &name);
        if self.get(id, &key).is_some() {
            return Err(ApiError::already_exists(&kind, &name));
        }
        if options.dry_run {
            let stored = self.seal(id, &mut value, self.revision);
            return Ok(Written {
                stored,
                warnings,
                created: true,
            });
        }
        let stored = self.put(id, value);
        self.after_write(&kind, &stored);
        self.collect_if_ownerless(id, &stored);
        Ok(Written {
            stored,
            warnings,
            created: true,
        })
    }

    /// Replace an object by a whole new value, as PUT does.
    pub(crate) fn update(
        &mut self,
        route: &Route,
        key: &Key,
        mut value: Value,
        part: Part,
        options: &WriteOptions,
    ) -> Result<Written> {
        let id = route.id;
        let kind = self.collection(id).kind.clone();
        check_identity(route, &mut value)?;
        check_namespace(&kind, &key.namespace, &mut value)?;
        match object::meta(&value, "name") {
            Some(name) if name == &*key.name => {}
            Some(name) => {
                return Err(ApiError::bad_request(format!(
                    "the name of the object ({name}) does not match the name on the URL ({})",
                    key.name
                )));
            }
            None => {
                return Err(ApiError::bad_request(
                    "name must be provided; the object in the request has none",
                ));
            }
        }
        let warnings = schema::prepare(&kind, &mut value, options.strictness)?;
        let current = self
            .get(id, key)
            .cloned()
            .ok_or_else(|| ApiError::not_found(&kind, &key.name))?;
        if !kind.builtin && object::meta(&value, "resourceVersion").is_none() {
            let error = FieldError::invalid(
                "metadata.resourceVersion",
                &json!(0),
                "must be specified for an update",
            );
            return Err(ApiError::invalid(&kind, &key.name, &[error]));
        }
        let old = current.value();
        let mut written = self.replace(id, &current, &old, value, part, options)?;
        written.warnings.splice(0..0, warnings);
        Ok(written)
    }

    /// The common end of every change: `new` is the whole object as it is wanted.
    pub(crate) fn replace(
        &mut self,
        id: ResourceId,
        current: &Stored,
        old: &Value,
        new: Value,
        part: Part,
        options: &WriteOptions,
    ) -> Result<Written> {
        let kind: Arc<Kind> = self.collection(id).kind.clone();
        let name = current.meta.key.name.clone();
        if let Some(version) = object::meta(&new, "resourceVersion")
            && version != current.meta.revision.to_string()
        {
            return Err(ApiError::stale(&kind, &name));
        }
        if let Some(uid) = object::meta(&new, "uid")
            && uid != &*current.meta.uid
        {
            let why = format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                current.meta.uid
            );
            return Err(ApiError::conflict(&kind, &name, &why));
        }
        let mut new = merge_parts(&kind, old, new, part);
        keep_system_fields(old, &mut new);
        defaults::apply(self, &kind, &mut new, Some(old))?;
        let errors = match part {
            Part::Main => checks::changed_object(&kind, old, &new),
            Part::Status => Vec::new(),
        };
        schema::validate(&kind, &new, Some(old), part, errors)?;
        let warnings = Vec::new();
        if new == *old {
            return Ok(Written {
                stored: current.clone(),
                warnings,
                created: false,
            });
        }
        if counts_as_new_generation(&kind, old, &new) {
            let before = object::at(old, &["metadata", "generation"]).and_then(Value::as_i64);
            object::meta_mut(&mut new)
                .insert("generation".to_owned(), json!(before.unwrap_or(0) + 1));
        }
        if options.dry_run {
            let stored = self.seal(id, &mut new, current.meta.revision);
            return Ok(Written {
                stored,
                warnings,
                created: false,
            });
        }
        let (stored, gone) = self.put_or_remove(id, new);
        if !gone {
            self.after_write(&kind, &stored);
        }
        Ok(Written {
            stored,
            warnings,
            created: false,
        })
    }

    fn admit_namespace(&self, kind: &Kind, namespace: &str, name: &str) -> Result<()> {
        let id = self.builtin("", "Namespace");
        let stored = self
            .get(id, &Key::new("", namespace))
            .ok_or_else(|| ApiError::not_found(&self.collection(id).kind, namespace))?;
        if object::is_deleting(&stored.value()) {
            let why = format!(
                "unable to create new content in namespace {namespace} because it is being \
                 terminated"
            );
            return Err(ApiError::forbidden(kind, name, &why));
        }
        Ok(())
    }

    fn after_write(&mut self, kind: &Kind, stored: &Stored) {
        if kind.is("apiextensions.k8s.io", "CustomResourceDefinition") {
            self.establish_definition(stored);
        }
    }
}

/// `apiVersion` and `kind` must be those of the path; absent ones are filled in.
fn check_identity(route: &Route, value: &mut Value) -> Result<()> {
    let kind = &route.shown;
    let version = if route.version < kind.versions.len() {
        route.version
    } else {
        0
    };
    if let Some(fault) = metadata::decode_fault(value) {
        return Err(ApiError::bad_request(format!(
            "{} in version {:?} cannot be handled as a {}: {fault}",
            kind.kind, kind.versions[version].name, kind.kind
        )));
    }
    object::drop_nulls(value);
    let expected = kind.api_version(version);
    match value
        .get("apiVersion")
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
    {
        Some(given) if given != expected => {
            return Err(ApiError::bad_request(format!(
                "the API version in the data ({given}) does not match the expected API version \
                 ({expected})"
            )));
        }
        _ => {}
    }
    match value
        .get("kind")
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
    {
        Some(given) if given != kind.kind => {
            return Err(ApiError::bad_request(format!(
                "{given} in version {:?} cannot be handled as a {}: no kind {given:?} is \
                 registered for this path",
                kind.versions[version].name, kind.kind
            )));
        }
        _ => {}
    }
    crate::convert::to_stored(route, value);
    Ok(())
}

fn check_namespace(kind: &Kind, namespace: &str, value: &mut Value) -> Result<()> {
    let metadata = object::meta_mut(value);
    if !kind.namespaced {
        metadata.remove("namespace");
        return Ok(());
    }
    match metadata
        .get("namespace")
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
    {
        Some(given) if given != namespace => Err(ApiError::bad_request(format!(
            "the namespace of the provided object does not match the namespace sent on the \
             request: {given} instead of {namespace}"
        ))),
        _ => {
            metadata.insert("namespace".to_owned(), json!(namespace));
            Ok(())
        }
    }
}

/// New objects begin without a status where the status is a subresource. Kubelets register nodes
/// with theirs, and the API server lets them.
fn reset_status(kind: &Kind, value: &mut Value) {
    if kind.versions[0].status
        && !kind.is("", "Node")
        && let Some(fields) = value.as_object_mut()
    {
        fields.remove("status");
    }
}

/// Take from `new` what this part may change, and the rest from `old`.
fn merge_parts(kind: &Kind, old: &Value, mut new: Value, part: Part) -> Value {
    let has_status = kind.versions[0].status;
    match part {
        Part::Main => {
            if has_status && let Some(fields) = new.as_object_mut() {
                match old.get("status") {
                    Some(status) => fields.insert("status".to_owned(), status.clone()),
                    None => fields.remove("status"),
                };
            }
            new
        }
        Part::Status => {
            let mut merged = old.clone();
            if let Some(fields) = merged.as_object_mut() {
                match new.get("status") {
                    Some(status) => fields.insert("status".to_owned(), status.clone()),
                    None => fields.remove("status"),
                };
            }
            if kind.builtin {
                let metadata = object::meta_mut(&mut merged);
                for field in ["labels", "annotations", "finalizers"] {
                    match new.get("metadata").and_then(|metadata| metadata.get(field)) {
                        Some(value) => metadata.insert(field.to_owned(), value.clone()),
                        None => metadata.remove(field),
                    };
                }
            }
            if let Some(managed) = object::at(&new, &["metadata", "managedFields"]) {
                object::meta_mut(&mut merged).insert("managedFields".to_owned(), managed.clone());
            }
            merged
        }
    }
}

/// Fields that only the server sets.
fn keep_system_fields(old: &Value, new: &mut Value) {
    let metadata = object::meta_mut(new);
    for field in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "resourceVersion",
        "generation",
        "generateName",
    ] {
        match object::at(old, &["metadata", field]) {
            Some(value) => metadata.insert(field.to_owned(), value.clone()),
            None => metadata.remove(field),
        };
    }
    metadata.remove("selfLink");
    if !metadata.contains_key("managedFields")
        && let Some(managed) = object::at(old, &["metadata", "managedFields"])
    {
        metadata.insert("managedFields".to_owned(), managed.clone());
    }
    for empty in ["labels", "annotations", "finalizers", "ownerReferences"] {
        let nothing = metadata.get(empty).is_some_and(|value| match value {
            Value::Null => true,
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        });
        if nothing {
            metadata.remove(empty);
        }
    }
}

/// Everything but metadata and, where it is a subresource, the status counts.
fn counts_as_new_generation(kind: &Kind, old: &Value, new: &Value) -> bool {
    if !kind.generation {
        return false;
    }
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else {
        return false;
    };
    let counted = |name: &&String| {
        *name != "metadata" && !(name.as_str() == "status" && (kind.versions[0].status))
    };
    let names = old.keys().chain(new.keys()).filter(counted);
    names.into_iter().any(|name| old.get(name) != new.get(name))
}
