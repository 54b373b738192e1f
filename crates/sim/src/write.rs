//! What the mini control plane's controllers ask to be written, as values: a controller decides, the
//! [`plane`](crate::plane) writes.

use serde_json::Value;

use crate::cluster::Kind;
use crate::objects::Key;

/// One write and the object on whose behalf it is made.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Write {
    /// What the controller was working on: asked again if the write fails.
    pub(crate) on_behalf_of: Key,
    pub(crate) action: Action,
}

/// A request to the API server.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    Create {
        kind: Kind,
        namespace: String,
        body: Value,
    },
    /// A merge patch of the object itself.
    Patch {
        kind: Kind,
        key: Key,
        body: Value,
    },
    /// A merge patch of its status.
    PatchStatus {
        kind: Kind,
        key: Key,
        body: Value,
    },
    /// A deletion of exactly the object with this uid.
    Delete {
        kind: Kind,
        key: Key,
        uid: String,
        grace_seconds: Option<u32>,
    },
    Bind {
        pod: Key,
        uid: String,
        node: String,
    },
}

impl Write {
    pub(crate) fn new(on_behalf_of: &Key, action: Action) -> Self {
        Self {
            on_behalf_of: on_behalf_of.clone(),
            action,
        }
    }
}
