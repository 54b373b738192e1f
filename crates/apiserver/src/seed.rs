//! The cluster that every server begins with.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    kinds,
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
        self.routes.insert(
            (
                "events.k8s.io".to_owned(),
                "v1".to_owned(),
                "events".to_owned(),
            ),
            Route {
                id: events,
                version: 0,
                shown: Arc::new(kinds::new_events()),
            },
        );
        for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
            self.seed_object(("", "namespaces"), json!({"metadata": {"name": name}}));
        }
        for (name, value, what) in [
            (
                "system-cluster-critical",
                2_000_000_000,
                "the cluster itself",
            ),
            (
                "system-node-critical",
                2_000_001_000,
                "the node they run on",
            ),
        ] {
            let class = json!({
                "metadata": {"name": name}, "value": value,
                "description": format!("For pods without which {what} does not work."),
            });
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
