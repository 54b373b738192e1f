//! Defaults of built-in kinds, and the cluster that every server begins with.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    error::Result,
    kinds::{self, Kind},
    object,
    store::{Route, State},
    write::WriteOptions,
};

impl State {
    /// The built-in kinds and the objects that are always there.
    pub(crate) fn seed_cluster(&mut self) {
        for kind in kinds::builtin() {
            let kind = Arc::new(kind);
            let id = self.add_collection(kind.clone());
            self.add_routes(id, &kind);
        }
        let events = self.builtin("", "Event");
        let path = |group: &str, version: &str, plural: &str| {
            (group.to_owned(), version.to_owned(), plural.to_owned())
        };
        self.routes.insert(
            path("events.k8s.io", "v1", "events"),
            Route {
                id: events,
                version: 0,
                shown: Arc::new(kinds::new_events()),
            },
        );
        for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
            self.seed_object(("", "namespaces"), json!({"metadata": {"name": name}}));
        }
        for (name, value) in [
            ("system-cluster-critical", 2_000_000_000),
            ("system-node-critical", 2_000_001_000),
        ] {
            let class = json!({"metadata": {"name": name}, "value": value});
            self.seed_object(("scheduling.k8s.io", "priorityclasses"), class);
        }
    }

    fn seed_object(&mut self, (group, plural): (&str, &str), value: Value) {
        let path = (group.to_owned(), "v1".to_owned(), plural.to_owned());
        let route = self.routes[&path].clone();
        self.create(&route, "", value, &WriteOptions::default())
            .expect("created because it is a valid object of a built-in kind");
    }
}

/// Fill in what the object leaves open.
pub(crate) fn apply(
    _state: &State,
    kind: &Kind,
    value: &mut Value,
    _old: Option<&Value>,
) -> Result<()> {
    if kind.is("", "Namespace") {
        let phase = object::text(value, &["status", "phase"]).is_some();
        if !phase {
            object::child_mut(value, "status").insert("phase".to_owned(), json!("Active"));
        }
    }
    if kind.is_pod() && object::text(value, &["status", "phase"]).is_none() {
        object::child_mut(value, "status").insert("phase".to_owned(), json!("Pending"));
    }
    Ok(())
}
