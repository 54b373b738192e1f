//! Custom definitions: when one is written its kind becomes served, when it goes so do its objects.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    collect::DeleteOptions,
    kinds::{Kind, ScalePaths, SelectableField, Version},
    object,
    schema::Schema,
    store::{Key, ResourceId, Route, State, Stored},
};

impl State {
    /// Serve what a definition declares and say so in its conditions.
    pub(crate) fn establish_definition(&mut self, stored: &Stored) {
        let definition = stored.value();
        if object::is_deleting(&definition) {
            return;
        }
        let kind = Arc::new(read_definition(&definition));
        if kind.versions.is_empty() {
            return;
        }
        let known = self.collections.iter().position(|collection| {
            !collection.kind.builtin
                && collection.kind.group == kind.group
                && collection.kind.plural == kind.plural
        });
        let id = match known {
            Some(index) => {
                let collection = &mut self.collections[index];
                collection.kind = kind.clone();
                collection.served = true;
                ResourceId(index)
            }
            None => self.add_collection(kind.clone()),
        };
        self.routes.retain(|_, route| route.id != id);
        self.add_routes(id, &kind);
        let status = status_of(&definition, &kind, &object::timestamp(self.now()));
        if definition.get("status") != Some(&status) {
            let mut definition = definition;
            definition["status"] = status;
            let crds = self.builtin("apiextensions.k8s.io", "CustomResourceDefinition");
            self.put(crds, definition);
        }
    }

    /// Make every served version reachable.
    pub(crate) fn add_routes(&mut self, id: ResourceId, kind: &Arc<Kind>) {
        for (version, declared) in kind.versions.iter().enumerate() {
            let path = (
                kind.group.clone(),
                declared.name.clone(),
                kind.plural.clone(),
            );
            self.routes.insert(
                path,
                Route {
                    id,
                    version,
                    shown: kind.clone(),
                },
            );
        }
    }

    /// Begin to delete a definition: its objects go first, each by its own finalizers.
    pub(crate) fn delete_definition(&mut self, id: ResourceId, key: &Key, mut value: Value) {
        if !object::is_deleting(&value) {
            let now = object::timestamp(self.now());
            let metadata = object::meta_mut(&mut value);
            metadata.insert("deletionTimestamp".to_owned(), json!(now));
            let finalizers = metadata.entry("finalizers").or_insert_with(|| json!([]));
            if let Some(list) = finalizers.as_array_mut() {
                list.push(json!(CLEANUP));
            }
            self.put(id, value);
            if let Some(kind) = self.custom(&key.name) {
                for object in self.collection(kind).keys() {
                    let _ = self.delete(kind, &object, &DeleteOptions::default());
                }
            }
        }
        self.release_definition(&key.name);
    }

    /// A definition that is being deleted goes when its last object is gone.
    pub(crate) fn release_definition(&mut self, name: &str) {
        let id = self.builtin("apiextensions.k8s.io", "CustomResourceDefinition");
        let Some(stored) = self.get(id, &Key::new("", name)) else {
            return;
        };
        let mut value = stored.value();
        let empty = self
            .custom(name)
            .is_none_or(|kind| self.collection(kind).keys().is_empty());
        if !object::is_deleting(&value) || !empty {
            return;
        }
        let metadata = object::meta_mut(&mut value);
        if let Some(list) = metadata.get_mut("finalizers").and_then(Value::as_array_mut) {
            list.retain(|one| one != CLEANUP);
            if list.is_empty() {
                metadata.remove("finalizers");
            }
        }
        self.put_or_remove(id, value);
    }

    /// The collection of a custom kind that is served.
    fn custom(&self, name: &str) -> Option<ResourceId> {
        let found = self.collections.iter().position(|collection| {
            !collection.kind.builtin && collection.served && collection.kind.qualified() == name
        });
        found.map(ResourceId)
    }

    /// A definition went, and its paths with it.
    pub(crate) fn withdraw_definition(&mut self, name: &str) {
        if let Some(id) = self.custom(name) {
            self.routes.retain(|_, route| route.id != id);
            self.collection_mut(id).close();
        }
    }
}

/// The finalizer under which a definition waits for its objects.
const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// A kind from the definition's `spec`.
pub(crate) fn read_definition(definition: &Value) -> Kind {
    let spec = definition.get("spec").unwrap_or(&Value::Null);
    let text = |path: &[&str]| object::text(spec, path).unwrap_or_default().to_owned();
    let texts = |path: &[&str]| -> Vec<String> {
        object::at(spec, path)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    };
    let kind = text(&["names", "kind"]);
    let or = |given: String, otherwise: String| if given.is_empty() { otherwise } else { given };
    let mut declared: Vec<&Value> = spec
        .get("versions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|version| version.get("served").and_then(Value::as_bool) != Some(false))
        .collect();
    declared.sort_by_key(|version| version.get("storage").and_then(Value::as_bool) != Some(true));
    let fields = declared
        .first()
        .and_then(|version| version.get("selectableFields")?.as_array())
        .into_iter()
        .flatten()
        .filter_map(|field| field.get("jsonPath")?.as_str())
        .map(|path| SelectableField {
            label: path.trim_start_matches('.').to_owned(),
            path: split_path(path),
        })
        .collect();
    Kind {
        group: text(&["group"]),
        plural: text(&["names", "plural"]),
        singular: or(text(&["names", "singular"]), kind.to_lowercase()),
        list_kind: or(text(&["names", "listKind"]), format!("{kind}List")),
        kind,
        short_names: texts(&["names", "shortNames"]),
        categories: texts(&["names", "categories"]),
        namespaced: text(&["scope"]) == "Namespaced",
        builtin: false,
        generation: true,
        versions: declared.into_iter().map(read_version).collect(),
        fields,
    }
}

fn read_version(version: &Value) -> Version {
    let scale = object::at(version, &["subresources", "scale"]).map(|scale| {
        let path = |name: &str| scale.get(name).and_then(Value::as_str).map(split_path);
        ScalePaths {
            replicas: path("specReplicasPath").unwrap_or_default(),
            status_replicas: path("statusReplicasPath").unwrap_or_default(),
            selector: path("labelSelectorPath"),
        }
    });
    Version {
        name: version
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        schema: object::at(version, &["schema", "openAPIV3Schema"]).map(Schema::compiled),
        columns: version
            .get("additionalPrinterColumns")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default(),
        status: object::at(version, &["subresources", "status"]).is_some(),
        scale,
    }
}

fn split_path(path: &str) -> Vec<String> {
    path.trim_start_matches('.')
        .split('.')
        .map(str::to_owned)
        .collect()
}

/// The status the API server gives a definition it accepts.
fn status_of(definition: &Value, kind: &Kind, now: &str) -> Value {
    let since = |condition: &str| {
        object::at(definition, &["status", "conditions"])
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .find(|one| one.get("type").and_then(Value::as_str) == Some(condition))
            .and_then(|one| one.get("lastTransitionTime")?.as_str())
            .unwrap_or(now)
            .to_owned()
    };
    let condition = |name: &str, reason: &str, message: &str| {
        json!({
            "type": name, "status": "True", "reason": reason, "message": message,
            "lastTransitionTime": since(name),
        })
    };
    let mut names = json!({
        "plural": kind.plural, "singular": kind.singular, "kind": kind.kind,
        "listKind": kind.list_kind,
    });
    if !kind.short_names.is_empty() {
        names["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        names["categories"] = json!(kind.categories);
    }
    json!({
        "acceptedNames": names,
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
        "storedVersions": [kind.versions[0].name],
    })
}
