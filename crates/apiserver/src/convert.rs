//! One object under several names: versions of a custom kind, and the two APIs of events.
//!
//! Custom kinds have no conversion but the change of `apiVersion`, which is what the strategy `None`
//! means. Events are stored as core events.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::{
    kinds::Kind,
    store::{Route, Stored},
};

/// core name, `events.k8s.io` name.
const EVENT_FIELDS: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("count", "deprecatedCount"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("source", "deprecatedSource"),
    ("reportingComponent", "reportingController"),
];

pub(crate) fn is_new_event(kind: &Kind) -> bool {
    kind.is("events.k8s.io", "Event")
}

/// Rewrite a client's object into the stored form.
pub(crate) fn to_stored(route: &Route, value: &mut Value) {
    let Some(fields) = value.as_object_mut() else {
        return;
    };
    if is_new_event(&route.shown) {
        for (core, new) in EVENT_FIELDS {
            rename(fields, new, core);
        }
        fields.insert("apiVersion".to_owned(), json!("v1"));
    } else {
        fields.insert("apiVersion".to_owned(), json!(route.shown.api_version(0)));
    }
    fields.insert("kind".to_owned(), json!(route.shown.kind));
}

/// Whether objects must be rewritten before this route shows them.
pub(crate) fn needs_rewriting(route: &Route) -> bool {
    route.version != 0 || is_new_event(&route.shown)
}

/// A stored object in the form that this route shows.
pub(crate) fn from_stored(route: &Route, stored: &Stored) -> Bytes {
    if !needs_rewriting(route) {
        return stored.bytes.clone();
    }
    Bytes::from(shown(route, stored.value()).to_string())
}

/// As `from_stored`, on a parsed object.
pub(crate) fn shown(route: &Route, mut value: Value) -> Value {
    if let Some(fields) = value.as_object_mut() {
        if is_new_event(&route.shown) {
            for (core, new) in EVENT_FIELDS {
                rename(fields, core, new);
            }
            fields.insert("apiVersion".to_owned(), json!("events.k8s.io/v1"));
        } else {
            fields.insert(
                "apiVersion".to_owned(),
                json!(route.shown.api_version(route.version)),
            );
        }
    }
    value
}

fn rename(fields: &mut Map<String, Value>, from: &str, to: &str) {
    if let Some(value) = fields.remove(from) {
        fields.insert(to.to_owned(), value);
    }
}
