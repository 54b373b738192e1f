//! Pods out of templates, and the hash that tells one template from another.

use serde_json::{Value, json};

use crate::objects::Meta;

/// The label that ties the pods of a replica set to the template they were made from.
pub(super) const TEMPLATE_HASH: &str = "pod-template-hash";

/// What an owner reference says about the owner's kind.
pub(super) struct OwnerKind {
    pub(super) api_version: &'static str,
    pub(super) kind: &'static str,
}

/// A reference to the controller of an object.
pub(super) fn owner_reference(kind: &OwnerKind, meta: &Meta) -> Value {
    json!({
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "name": meta.key.name,
        "uid": meta.uid,
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// A pod made from a template; the server gives it a name.
pub(super) fn pod_from(
    template: &Value,
    kind: &OwnerKind,
    owner: &Meta,
    labels: &[(&str, &str)],
) -> Value {
    let mut metadata = json!({
        "generateName": format!("{}-", owner.key.name),
        "namespace": owner.key.namespace,
        "ownerReferences": [owner_reference(kind, owner)],
    });
    for field in ["labels", "annotations", "finalizers"] {
        if let Some(value) = template
            .pointer(&format!("/metadata/{field}"))
            .filter(|value| !value.is_null())
        {
            metadata[field] = value.clone();
        }
    }
    for (key, value) in labels {
        metadata["labels"][*key] = (*value).into();
    }
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": template.get("spec").cloned().unwrap_or_default(),
    })
}

/// A short hash of a template in the alphabet of generated names: no vowels, no digits that look like letters.
pub(super) fn template_hash(template: &Value) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    // Keys of serde_json's objects are sorted, so equal templates print the same bytes.
    let mut hash: u32 = 0x811c_9dc5;
    for byte in template.to_string().bytes() {
        hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
    hash.to_string()
        .bytes()
        .map(|digit| char::from(ALPHABET[usize::from(digit - b'0') % ALPHABET.len()]))
        .collect()
}
