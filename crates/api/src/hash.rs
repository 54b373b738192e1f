//! The drift hashes: what of an object is hashed, under which names.
//!
//! A NodeClaim carries the hash of the template it was made from; when the pool's differs, the node has
//! drifted. Names and order below are those of the reference's Go types. Requirements are left out: they
//! have a drift check of their own.

use std::collections::BTreeMap;

use crate::common::{NodeClassReference, Taint};
use crate::duration::{GoDuration, NillableDuration};
use crate::nodepool::{NodeClaimTemplateSpec, NodePool, ObjectMetaTemplate};
use crate::structural_hash::{Structure, int64, list, map, string};

/// The version of the scheme behind [`nodepool_hash`], stamped beside each hash.
pub const NODEPOOL_HASH_VERSION: &str = "v3";

/// The static hash of a pool's template, as decimal text.
pub fn nodepool_hash(pool: &NodePool) -> String {
    let template = &pool.spec.template;
    Structure::named("NodeClaimTemplate")
        .field("ObjectMeta", template.metadata.as_ref().and_then(metadata))
        .field("Spec", Some(spec(&template.spec)))
        .hash()
        .to_string()
}

fn metadata(metadata: &ObjectMetaTemplate) -> Option<u64> {
    if metadata.labels.is_none() && metadata.annotations.is_none() {
        return None;
    }
    let hash = Structure::named("ObjectMeta")
        .field("Labels", metadata.labels.as_ref().map(string_map))
        .field("Annotations", metadata.annotations.as_ref().map(string_map))
        .hash();
    Some(hash)
}

fn spec(spec: &NodeClaimTemplateSpec) -> u64 {
    Structure::named("NodeClaimTemplateSpec")
        .field("Taints", spec.taints.as_deref().map(taints))
        .field("StartupTaints", spec.startup_taints.as_deref().map(taints))
        .field("NodeClassRef", Some(node_class_ref(&spec.node_class_ref)))
        .field(
            "TerminationGracePeriod",
            spec.termination_grace_period.map(duration),
        )
        .field(
            "ExpireAfter",
            spec.expire_after.as_ref().and_then(nillable_duration),
        )
        .hash()
}

fn taints(taints: &[Taint]) -> u64 {
    list(taints.iter().map(|taint| {
        Structure::named("Taint")
            .text("Key", &taint.key)
            .text("Value", taint.value.as_deref().unwrap_or_default())
            .text("Effect", &taint.effect)
            .hash()
    }))
}

fn node_class_ref(reference: &NodeClassReference) -> u64 {
    Structure::named("NodeClassReference")
        .text("Kind", &reference.kind)
        .text("Name", &reference.name)
        .text("Group", &reference.group)
        .hash()
}

/// A plain duration is a Go structure around an integer, whose zero is left out.
fn duration(duration: GoDuration) -> u64 {
    let nanos = duration.nanos();
    Structure::named("Duration")
        .field("Duration", (nanos != 0).then(|| int64(nanos)))
        .hash()
}

/// A nillable duration holds a pointer: zero seconds are there, `Never` leaves out the whole field.
fn nillable_duration(duration: &NillableDuration) -> Option<u64> {
    let nanos = duration.duration()?.nanos();
    Some(
        Structure::named("NillableDuration")
            .field("Duration", Some(int64(nanos)))
            .hash(),
    )
}

fn string_map(entries: &BTreeMap<String, String>) -> u64 {
    map(entries
        .iter()
        .map(|(key, value)| (string(key), string(value))))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn hash_of(template: &Value) -> String {
        let pool = json!({
            "apiVersion": "karpenter.sh/v1",
            "kind": "NodePool",
            "metadata": {"name": "default"},
            "spec": {"template": template},
        });
        nodepool_hash(&serde_json::from_value(pool).unwrap())
    }

    fn check(row: &str, template: &Value, expected: &str) {
        assert_eq!(hash_of(template), expected, "{row}");
    }

    /// A template with the EC2NodeClass `default`, with these further fields in its spec.
    fn ec2(fields: Value) -> Value {
        let mut spec = json!({
            "nodeClassRef": {
                "group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "default",
            },
            "requirements": [],
        });
        let Value::Object(fields) = fields else {
            panic!("fields are an object")
        };
        spec.as_object_mut().unwrap().extend(fields);
        json!({"spec": spec})
    }

    fn with_metadata(mut template: Value, metadata: Value) -> Value {
        template["metadata"] = metadata;
        template
    }

    #[test]
    fn vectors() {
        let a = || ec2(json!({"expireAfter": "720h"}));
        check("api/6.4/A", &a(), "6821555240594823858");
        check(
            "api/6.4/B",
            &ec2(json!({"expireAfter": "Never"})),
            "17369979337536258260",
        );
        let special =
            json!({"key": "example.com/special", "value": "true", "effect": "NoSchedule"});
        let bare = json!({"key": "b", "effect": "NoExecute"});
        for taints in [json!([special, bare]), json!([bare, special])] {
            let template = ec2(json!({
                "taints": taints,
                "startupTaints": [{"key": "example.com/init", "effect": "NoSchedule"}],
                "terminationGracePeriod": "48h",
                "expireAfter": "24h",
            }));
            let metadata = json!({
                "labels": {"team": "a", "env": "prod"},
                "annotations": {"example.com/owner": "me"},
            });
            check(
                "api/6.4/C",
                &with_metadata(template, metadata),
                "11714404428710926893",
            );
        }
        let kwok = json!({"spec": {
            "nodeClassRef": {
                "group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": "default",
            },
            "requirements": [],
            "expireAfter": "720h",
        }});
        check("api/6.4/D", &kwok, "12745407319442031341");
        let zero = ec2(json!({"terminationGracePeriod": "0s", "expireAfter": "0s"}));
        check("api/6.4/E", &zero, "8055811492031395154");
        let empty = ec2(json!({"expireAfter": "720h", "taints": []}));
        check(
            "api/6.4/F",
            &with_metadata(empty, json!({"labels": {}})),
            "7928938651923130405",
        );
    }

    #[test]
    fn what_does_not_count() {
        let same = hash_of(&ec2(json!({"expireAfter": "720h"})));
        let rows = [
            ec2(json!({"expireAfter": "43200m"})),
            ec2(json!({
                "expireAfter": "720h",
                "requirements": [{"key": "kubernetes.io/arch", "operator": "In", "values": ["arm64"]}],
            })),
            with_metadata(ec2(json!({"expireAfter": "720h"})), json!({})),
        ];
        for template in rows {
            assert_eq!(hash_of(&template), same, "{template}");
        }
    }
}
