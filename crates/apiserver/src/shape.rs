//! How an answer is shaped: the objects themselves, their metadata only, or a table.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::{
    convert,
    store::{Route, Stored},
    table,
};

/// The shape a client accepts.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    Full,
    /// `PartialObjectMetadata`.
    Metadata,
    /// A `Table`, with what its rows shall carry.
    Table(TableOptions),
}

/// What a table's rows carry, and the clock that ages are told by.
#[derive(Clone, Debug)]
pub(crate) struct TableOptions {
    pub(crate) include: Include,
    pub(crate) now: jiff::Timestamp,
}

/// `includeObject`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Include {
    None,
    Metadata,
    Object,
}

impl Shape {
    /// From the `Accept` header and the query.
    pub(crate) fn parse(accept: &str, include: Option<&str>, now: jiff::Timestamp) -> Shape {
        for offer in accept.split(',') {
            let parameters: Vec<&str> = offer.split(';').map(str::trim).collect();
            if parameters.contains(&"as=Table") {
                let include = match include {
                    Some("None") => Include::None,
                    Some("Object") => Include::Object,
                    _ => Include::Metadata,
                };
                return Shape::Table(TableOptions { include, now });
            }
            if parameters.contains(&"as=PartialObjectMetadata")
                || parameters.contains(&"as=PartialObjectMetadataList")
            {
                return Shape::Metadata;
            }
            if matches!(parameters.first(), Some(&"application/json" | &"*/*")) {
                return Shape::Full;
            }
        }
        Shape::Full
    }

    /// One object.
    pub(crate) fn one(&self, route: &Route, stored: &Stored) -> Bytes {
        match self {
            Shape::Full => convert::from_stored(route, stored),
            Shape::Metadata => Bytes::from(metadata_only(&stored.value()).to_string()),
            Shape::Table(options) => {
                let metadata = json!({"resourceVersion": stored.meta.revision.to_string()});
                table::render(route, &[stored], metadata, options)
            }
        }
    }

    /// A list with its metadata.
    pub(crate) fn many(&self, route: &Route, items: &[&Stored], metadata: Value) -> Bytes {
        let (kind, api_version) = match self {
            Shape::Table(options) => return table::render(route, items, metadata, options),
            Shape::Metadata => (
                "PartialObjectMetadataList".to_owned(),
                "meta.k8s.io/v1".to_owned(),
            ),
            Shape::Full => {
                let version = route.version.min(route.shown.versions.len() - 1);
                (
                    route.shown.list_kind.clone(),
                    route.shown.api_version(version),
                )
            }
        };
        let size: usize = items.iter().map(|item| item.bytes.len() + 1).sum();
        let mut text = Vec::with_capacity(size + 256);
        let head = json!({"kind": kind, "apiVersion": api_version, "metadata": metadata});
        let head = head.to_string();
        text.extend_from_slice(&head.as_bytes()[..head.len() - 1]);
        text.extend_from_slice(b",\"items\":[");
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                text.push(b',');
            }
            text.extend_from_slice(&self.one(route, item));
        }
        text.extend_from_slice(b"]}");
        Bytes::from(text)
    }
}

/// The `PartialObjectMetadata` of an object.
pub(crate) fn metadata_only(value: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
        "metadata": value.get("metadata").cloned().unwrap_or_default(),
    })
}
