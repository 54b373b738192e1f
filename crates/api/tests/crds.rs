//! The CRDs as the API server gets them: golden files of the whole, and rows for what users depend on.
//!
//! `UPDATE_GOLDEN=1 cargo test -p karpenter-api --test crds` rewrites the files; review the difference.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use karpenter_api::crds;
use serde_json::{Value, json};

/// The CRD of a kind, as JSON.
fn crd(kind: &str) -> Value {
    let found = crds::all()
        .into_iter()
        .find(|crd| crd.spec.names.kind == kind);
    serde_json::to_value(found.unwrap()).unwrap()
}

/// The schema at a path of field names, where `[]` means the items of a list and `{}` the values of a map.
fn schema(kind: &str, path: &str) -> Value {
    let mut schema = crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
    for part in path.split('.').filter(|part| !part.is_empty()) {
        schema = match part {
            "[]" => schema["items"].clone(),
            "{}" => schema["additionalProperties"].clone(),
            name => schema["properties"][name].clone(),
        };
        assert!(schema.is_object(), "{kind} has no {part} in {path}");
    }
    schema
}

#[test]
fn golden_files() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("crds");
    let mut stale = Vec::new();
    for crd in crds::all() {
        let name = crd.metadata.name.clone().unwrap();
        let path = folder.join(format!("{name}.json"));
        let printed = serde_json::to_string_pretty(&crd).unwrap() + "\n";
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &printed).unwrap();
        }
        if std::fs::read_to_string(&path).unwrap_or_default() != printed {
            stale.push(name);
        }
    }
    assert!(
        stale.is_empty(),
        "run with UPDATE_GOLDEN=1 and review: {stale:?}"
    );
}

#[test]
fn names_and_scope() {
    let rows = [
        (
            "NodePool",
            "karpenter.sh",
            "v1",
            "nodepools",
            "nodepool",
            json!(null),
            json!(["spec"]),
        ),
        (
            "NodeClaim",
            "karpenter.sh",
            "v1",
            "nodeclaims",
            "nodeclaim",
            json!(null),
            json!(["spec"]),
        ),
        (
            "KWOKNodeClass",
            "karpenter.kwok.sh",
            "v1alpha1",
            "kwoknodeclasses",
            "kwoknodeclass",
            json!(["kwoknc", "kwokncs"]),
            json!(null),
        ),
        (
            "NodeOverlay",
            "karpenter.sh",
            "v1alpha1",
            "nodeoverlays",
            "nodeoverlay",
            json!(["overlays"]),
            json!(["spec"]),
        ),
        (
            "CapacityBuffer",
            "autoscaling.x-k8s.io",
            "v1beta1",
            "capacitybuffers",
            "capacitybuffer",
            json!(["cb"]),
            json!(["spec"]),
        ),
    ];
    for (kind, group, version, plural, singular, short_names, required) in rows {
        let crd = crd(kind);
        assert_eq!(crd["metadata"]["name"], format!("{plural}.{group}"));
        let spec = &crd["spec"];
        assert_eq!(spec["group"], group);
        let (scope, category) = match kind {
            "CapacityBuffer" => ("Namespaced", "autoscaling"),
            _ => ("Cluster", "karpenter"),
        };
        assert_eq!(spec["scope"], scope);
        assert_eq!(spec["names"]["plural"], plural);
        assert_eq!(spec["names"]["singular"], singular);
        assert_eq!(spec["names"]["listKind"], format!("{kind}List"));
        assert_eq!(spec["names"]["categories"], json!([category]));
        assert_eq!(spec["names"]["shortNames"], short_names);
        assert_eq!(spec["versions"].as_array().unwrap().len(), 1);
        assert_eq!(spec["versions"][0]["name"], version);
        assert_eq!(spec["versions"][0]["served"], true);
        assert_eq!(spec["versions"][0]["storage"], true);
        assert_eq!(spec["versions"][0]["subresources"]["status"], json!({}));
        assert_eq!(schema(kind, "")["required"], required);
        assert_eq!(schema(kind, "metadata")["type"], "object");
    }
    let scale =
        json!({"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.nodes"});
    assert_eq!(
        crd("NodePool")["spec"]["versions"][0]["subresources"]["scale"],
        scale
    );
}

#[test]
fn printer_columns() {
    const READY: &str = r#".status.conditions[?(@.type=="Ready")].status"#;
    const DRIFTED: &str = r#".status.conditions[?(@.type=="Drifted")].status"#;
    const AGE: &str = ".metadata.creationTimestamp";
    /// Name, path, type, priority.
    type Columns = &'static [(&'static str, &'static str, &'static str, i64)];
    let rows: [(&str, Columns); 5] = [
        (
            "NodePool",
            &[
                (
                    "NodeClass",
                    ".spec.template.spec.nodeClassRef.name",
                    "string",
                    0,
                ),
                ("Nodes", ".status.nodes", "string", 0),
                ("Ready", READY, "string", 0),
                ("Age", AGE, "date", 0),
                ("Weight", ".spec.weight", "integer", 1),
                ("CPU", ".status.resources.cpu", "string", 1),
                ("Memory", ".status.resources.memory", "string", 1),
            ],
        ),
        (
            "NodeClaim",
            &[
                (
                    "Type",
                    r".metadata.labels.node\.kubernetes\.io/instance-type",
                    "string",
                    0,
                ),
                (
                    "Capacity",
                    r".metadata.labels.karpenter\.sh/capacity-type",
                    "string",
                    0,
                ),
                (
                    "Zone",
                    r".metadata.labels.topology\.kubernetes\.io/zone",
                    "string",
                    0,
                ),
                ("Node", ".status.nodeName", "string", 0),
                ("Ready", READY, "string", 0),
                ("Age", AGE, "date", 0),
                ("ImageID", ".status.imageID", "string", 1),
                ("ID", ".status.providerID", "string", 1),
                (
                    "NodePool",
                    r".metadata.labels.karpenter\.sh/nodepool",
                    "string",
                    1,
                ),
                ("NodeClass", ".spec.nodeClassRef.name", "string", 1),
                ("Drifted", DRIFTED, "string", 1),
            ],
        ),
        ("KWOKNodeClass", &[]),
        (
            "NodeOverlay",
            &[
                ("Ready", READY, "string", 0),
                ("Age", AGE, "date", 0),
                ("Weight", ".spec.weight", "integer", 1),
            ],
        ),
        (
            "CapacityBuffer",
            &[
                ("Strategy", ".spec.provisioningStrategy", "string", 0),
                ("PodTemplate", ".status.podTemplateRef.name", "string", 0),
                ("Replicas", ".status.replicas", "integer", 0),
                ("ConditionsType", ".status.conditions[*].type", "string", 0),
                (
                    "ConditionsStatus",
                    ".status.conditions[*].status",
                    "string",
                    0,
                ),
                (
                    "ConditionsReason",
                    ".status.conditions[*].reason",
                    "string",
                    0,
                ),
                ("Age", AGE, "date", 0),
            ],
        ),
    ];
    for (kind, expected) in rows {
        let crd = crd(kind);
        let columns = &crd["spec"]["versions"][0]["additionalPrinterColumns"];
        let found: Vec<_> = columns
            .as_array()
            .into_iter()
            .flatten()
            .map(|column| {
                let text = |field: &str| column[field].as_str().unwrap();
                let priority = column["priority"].as_i64().unwrap_or(0);
                (text("name"), text("jsonPath"), text("type"), priority)
            })
            .collect();
        assert_eq!(found, expected, "{kind}");
    }
}

/// Asserts one keyword of the schema at a path.
fn check_keyword(kind: &str, path: &str, keyword: &str, expected: &Value) {
    assert_eq!(
        &schema(kind, path)[keyword],
        expected,
        "{kind} {path} {keyword}"
    );
}

#[test]
fn defaults() {
    let rows = [
        (
            "NodePool",
            "spec.disruption",
            json!({"consolidateAfter": "0s"}),
        ),
        ("NodePool", "spec.disruption.consolidateAfter", json!("0s")),
        (
            "NodePool",
            "spec.disruption.consolidationPolicy",
            json!("WhenEmptyOrUnderutilized"),
        ),
        (
            "NodePool",
            "spec.disruption.budgets",
            json!([{"nodes": "10%"}]),
        ),
        ("NodePool", "spec.disruption.budgets.[].nodes", json!("10%")),
        ("NodePool", "spec.template.spec.expireAfter", json!("720h")),
        ("NodePool", "status.nodes", json!(0)),
        ("NodeClaim", "spec.expireAfter", json!("720h")),
        (
            "CapacityBuffer",
            "spec.provisioningStrategy",
            json!("buffer.x-k8s.io/active-capacity"),
        ),
        (
            "KWOKNodeClass",
            "status",
            json!({"conditions": [{
                "type": "Ready", "status": "True", "reason": "Ready", "message": "",
                "lastTransitionTime": "2024-01-01T01:01:01Z",
            }]}),
        ),
    ];
    for (kind, path, default) in &rows {
        check_keyword(kind, path, "default", default);
    }
    let total: usize = crds::all()
        .iter()
        .map(|crd| &crd.spec.names.kind)
        .map(|kind| count_keyword(&schema(kind, ""), "default"))
        .sum();
    assert_eq!(total, rows.len(), "a default that no row knows");
}

/// How many schemas within a schema have the keyword.
fn count_keyword(schema: &Value, keyword: &str) -> usize {
    let properties = schema["properties"]
        .as_object()
        .into_iter()
        .flat_map(|map| map.values());
    let nested = [&schema["items"], &schema["additionalProperties"]];
    let own = usize::from(schema.get(keyword).is_some());
    let within: usize = properties
        .chain(nested.into_iter().filter(|schema| schema.is_object()))
        .map(|schema| count_keyword(schema, keyword))
        .sum();
    own + within
}

#[test]
fn nothing_is_nullable() {
    for kind in ["NodePool", "NodeClaim", "KWOKNodeClass"] {
        assert_eq!(count_keyword(&schema(kind, ""), "nullable"), 0, "{kind}");
        assert_eq!(count_keyword(&schema(kind, ""), "anyOf"), 0, "{kind}");
    }
}

#[test]
fn everything_is_described() {
    for kind in ["NodePool", "NodeClaim", "KWOKNodeClass"] {
        for part in ["", "spec", "status"] {
            assert!(
                schema(kind, part)["description"].is_string(),
                "{kind} {part}"
            );
        }
        let printed = schema(kind, "").to_string();
        assert!(!printed.contains("Auto-generated"), "{kind}");
    }
}

#[test]
fn constraints() {
    let quantity = json!(
        r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$"
    );
    let name = json!(
        r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*(\/))?([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$"
    );
    let nillable = json!("^(([0-9]+(s|m|h))+|Never)$");
    let plain = json!("^([0-9]+(s|m|h))+$");
    let template = "spec.template.spec";
    let rows = [
        ("NodePool", "spec.weight", "minimum", json!(1.0)),
        ("NodePool", "spec.weight", "maximum", json!(100.0)),
        ("NodePool", "spec.weight", "format", json!("int32")),
        ("NodePool", "spec.replicas", "minimum", json!(0.0)),
        ("NodePool", "spec.replicas", "format", json!("int64")),
        (
            "NodePool",
            "spec.limits.{}",
            "x-kubernetes-int-or-string",
            json!(true),
        ),
        ("NodePool", "spec.limits.{}", "pattern", quantity.clone()),
        ("NodePool", "spec.limits.{}", "type", json!(null)),
        ("NodePool", "spec.disruption", "required", json!(null)),
        (
            "NodePool",
            "spec.disruption.consolidateAfter",
            "pattern",
            nillable.clone(),
        ),
        (
            "NodePool",
            "spec.disruption.consolidationPolicy",
            "enum",
            json!(["WhenEmpty", "WhenEmptyOrUnderutilized", "Balanced"]),
        ),
        ("NodePool", "spec.disruption.budgets", "maxItems", json!(50)),
        (
            "NodePool",
            "spec.disruption.budgets",
            "x-kubernetes-list-type",
            json!("atomic"),
        ),
        (
            "NodePool",
            "spec.disruption.budgets.[]",
            "required",
            json!(["nodes"]),
        ),
        (
            "NodePool",
            "spec.disruption.budgets.[].nodes",
            "pattern",
            json!("^((100|[0-9]{1,2})%|[0-9]+)$"),
        ),
        (
            "NodePool",
            "spec.disruption.budgets.[].reasons",
            "maxItems",
            json!(50),
        ),
        (
            "NodePool",
            "spec.disruption.budgets.[].reasons",
            "x-kubernetes-list-type",
            json!("set"),
        ),
        (
            "NodePool",
            "spec.disruption.budgets.[].reasons.[]",
            "enum",
            json!(["Underutilized", "Empty", "Drifted"]),
        ),
        (
            "NodePool",
            "spec.disruption.budgets.[].schedule",
            "pattern",
            json!(
                r"^(@(annually|yearly|monthly|weekly|daily|midnight|hourly))|((.+)\s(.+)\s(.+)\s(.+)\s(.+))$"
            ),
        ),
        (
            "NodePool",
            "spec.disruption.budgets.[].duration",
            "pattern",
            json!("^((([0-9]+(h|m))|([0-9]+h[0-9]+m))(0s)?)$"),
        ),
        ("NodePool", "spec.template", "required", json!(["spec"])),
        (
            "NodePool",
            template,
            "required",
            json!(["nodeClassRef", "requirements"]),
        ),
        (
            "NodePool",
            "spec.template.metadata.labels",
            "maxProperties",
            json!(100),
        ),
        (
            "NodePool",
            "spec.template.metadata.labels",
            "x-kubernetes-map-type",
            json!("atomic"),
        ),
        (
            "NodePool",
            "spec.template.metadata.labels.{}",
            "maxLength",
            json!(63),
        ),
        (
            "NodePool",
            "spec.template.metadata.labels.{}",
            "pattern",
            json!("^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"),
        ),
        (
            "NodePool",
            "spec.template.metadata.annotations",
            "x-kubernetes-map-type",
            json!(null),
        ),
        (
            "NodeClaim",
            "spec",
            "required",
            json!(["nodeClassRef", "requirements"]),
        ),
        (
            "NodeClaim",
            "spec.resources.requests.{}",
            "pattern",
            quantity.clone(),
        ),
        (
            "NodeClaim",
            "status.capacity.{}",
            "pattern",
            quantity.clone(),
        ),
        ("NodeClaim", "status.allocatable.{}", "pattern", quantity),
        (
            "NodeClaim",
            "status.lastPodEventTime",
            "format",
            json!("date-time"),
        ),
        (
            "KWOKNodeClass",
            "spec.nodeRegistrationDelay",
            "pattern",
            plain.clone(),
        ),
        (
            "KWOKNodeClass",
            "status.conditions",
            "x-kubernetes-list-type",
            json!(null),
        ),
    ];
    for (kind, path, keyword, expected) in &rows {
        check_keyword(kind, path, keyword, expected);
    }
    for (kind, base) in [("NodePool", template), ("NodeClaim", "spec")] {
        let effects = json!(["NoSchedule", "PreferNoSchedule", "NoExecute"]);
        let operators = json!([
            "In",
            "NotIn",
            "Exists",
            "DoesNotExist",
            "Gt",
            "Lt",
            "Gte",
            "Lte"
        ]);
        let rows = [
            ("expireAfter", "pattern", nillable.clone()),
            ("terminationGracePeriod", "pattern", plain.clone()),
            ("nodeClassRef", "required", json!(["group", "kind", "name"])),
            ("nodeClassRef.group", "pattern", json!("^[^/]*$")),
            ("requirements", "maxItems", json!(100)),
            ("requirements", "x-kubernetes-list-type", json!("atomic")),
            ("requirements.[]", "required", json!(["key", "operator"])),
            ("requirements.[].key", "maxLength", json!(316)),
            ("requirements.[].key", "pattern", name.clone()),
            ("requirements.[].operator", "enum", operators),
            (
                "requirements.[].values",
                "x-kubernetes-list-type",
                json!("atomic"),
            ),
            ("requirements.[].minValues", "minimum", json!(1.0)),
            ("requirements.[].minValues", "maximum", json!(50.0)),
        ];
        for (path, keyword, expected) in &rows {
            check_keyword(kind, &format!("{base}.{path}"), keyword, expected);
        }
        for list in ["taints", "startupTaints"] {
            let rows = [
                (list.to_owned(), "x-kubernetes-list-type", json!("atomic")),
                (format!("{list}.[]"), "required", json!(["effect", "key"])),
                (format!("{list}.[].key"), "minLength", json!(1)),
                (format!("{list}.[].key"), "pattern", name.clone()),
                (format!("{list}.[].value"), "pattern", name.clone()),
                (format!("{list}.[].effect"), "enum", effects.clone()),
                (format!("{list}.[].timeAdded"), "format", json!("date-time")),
            ];
            for (path, keyword, expected) in &rows {
                check_keyword(kind, &format!("{base}.{path}"), keyword, expected);
            }
        }
    }
}

#[test]
fn conditions() {
    let strict = json!(["lastTransitionTime", "message", "reason", "status", "type"]);
    let lax = json!(["lastTransitionTime", "status", "type"]);
    let rows = [
        ("NodePool", &strict, json!("map"), json!(["type"]), json!(1)),
        (
            "NodeClaim",
            &lax,
            json!("map"),
            json!(["type"]),
            json!(null),
        ),
        ("KWOKNodeClass", &strict, json!(null), json!(null), json!(1)),
    ];
    for (kind, required, list_type, keys, min_reason) in rows {
        let path = "status.conditions";
        check_keyword(kind, path, "x-kubernetes-list-type", &list_type);
        check_keyword(kind, path, "x-kubernetes-list-map-keys", &keys);
        check_keyword(kind, &format!("{path}.[]"), "required", required);
        check_keyword(kind, &format!("{path}.[].reason"), "minLength", &min_reason);
        check_keyword(
            kind,
            &format!("{path}.[].reason"),
            "maxLength",
            &json!(1024),
        );
        check_keyword(
            kind,
            &format!("{path}.[].message"),
            "maxLength",
            &json!(32768),
        );
        check_keyword(kind, &format!("{path}.[].type"), "maxLength", &json!(316));
        let statuses = json!(["True", "False", "Unknown"]);
        check_keyword(kind, &format!("{path}.[].status"), "enum", &statuses);
        check_keyword(
            kind,
            &format!("{path}.[].observedGeneration"),
            "minimum",
            &json!(0.0),
        );
    }
}

/// Asserts the messages of the rules at a path, each by a fragment, in order.
fn check_rules(kind: &str, path: &str, expected: &[&str]) {
    let schema = schema(kind, path);
    let rules = schema["x-kubernetes-validations"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let messages: Vec<&str> = rules
        .iter()
        .map(|rule| rule["message"].as_str().unwrap())
        .collect();
    let matching = messages.len() == expected.len()
        && messages
            .iter()
            .zip(expected)
            .all(|(message, part)| message.contains(part));
    assert!(
        matching,
        "{kind} {path}: expected {expected:?}, got {messages:?}"
    );
}

#[test]
fn rules() {
    let own = "label domain \"karpenter.sh\" is restricted";
    let aws = "label domain \"karpenter.k8s.aws\" is restricted";
    let kwok = "label domain \"karpenter.kwok.sh\" is restricted";
    let hostname = "label \"kubernetes.io/hostname\" is restricted";
    let nodepool = "label \"karpenter.sh/nodepool\" is restricted";
    let requirements = [
        "'In' must have a value defined",
        "must have a single positive integer value",
        "must have at least that many values",
        nodepool,
    ];
    let template = "spec.template.spec";
    let rows: &[(&str, &str, &[&str])] = &[
        (
            "NodePool",
            "spec",
            &[
                "cannot transition between static",
                "only 'limits.nodes'",
                "'weight' is not supported",
            ],
        ),
        (
            "NodePool",
            "spec.disruption.budgets",
            &["'schedule' must be set with 'duration'"],
        ),
        (
            "NodePool",
            "spec.template.metadata.labels",
            &[own, aws, nodepool, hostname],
        ),
        ("NodePool", "spec.template.spec.requirements", &requirements),
        (
            "NodePool",
            "spec.template.spec.nodeClassRef",
            &[
                "nodeClassRef.group is immutable",
                "nodeClassRef.kind is immutable",
            ],
        ),
        ("NodeClaim", "spec", &["spec is immutable"]),
        ("NodeClaim", "spec.requirements", &requirements[..3]),
        ("NodeClaim", "spec.nodeClassRef", &[]),
        (
            "NodeOverlay",
            "spec",
            &["cannot set both 'price' and 'priceAdjustment'"],
        ),
        (
            "NodeOverlay",
            "spec.requirements",
            &[
                "'In' or 'NotIn' must have a value defined",
                "must have a single positive integer value",
            ],
        ),
        (
            "NodeOverlay",
            "spec.capacity",
            &["invalid resource restricted"],
        ),
        (
            "CapacityBuffer",
            "spec",
            &[
                "'podTemplateRef' needs 'replicas' or 'limits'",
                "cannot set both 'podTemplateRef' and 'scalableRef'",
            ],
        ),
    ];
    check_rules(
        "NodeOverlay",
        "spec.requirements.[].key",
        &[own, aws, kwok, hostname],
    );
    for (kind, path, expected) in rows {
        check_rules(kind, path, expected);
    }
    for (kind, base) in [("NodePool", template), ("NodeClaim", "spec")] {
        check_rules(
            kind,
            &format!("{base}.requirements.[].key"),
            &[own, aws, kwok, hostname],
        );
        for field in ["group", "kind", "name"] {
            let message = format!("{field} may not be empty");
            check_rules(kind, &format!("{base}.nodeClassRef.{field}"), &[&message]);
        }
    }
    let total: usize = crds::all()
        .iter()
        .map(|crd| &crd.spec.names.kind)
        .map(|kind| count_keyword(&schema(kind, ""), "x-kubernetes-validations"))
        .sum();
    assert_eq!(
        total,
        rows.iter().filter(|row| !row.2.is_empty()).count() + 2 * 4 + 1,
        "an unlisted rule"
    );
}
