//! Tables for `kubectl get`.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::{
    shape::TableOptions,
    store::{Route, Stored},
};

/// Objects as the rows of a table.
pub(crate) fn render(
    _route: &Route,
    _items: &[&Stored],
    metadata: Value,
    _options: &TableOptions,
) -> Bytes {
    Bytes::from(
        json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "rows": []})
            .to_string(),
    )
}
