//! What the API server says to Karpenter's objects: schemas, defaults and rules of our CRDs at work.
//!
//! Objects on their own are judged offline, as the command line does; updates go through the server.
#![allow(clippy::unwrap_used, clippy::pedantic)]

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use karpenter_api::{NodeClaim, NodePool, crds};
use karpenter_apiserver::{DefaultedObject, FieldError, Options, Server, validate_offline};
use kube::{
    Api, Client, Error,
    api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

/// Applies a JSON merge patch.
fn merged(mut base: Value, patch: &Value) -> Value {
    fn apply(target: &mut Value, patch: &Value) {
        let Value::Object(fields) = patch else {
            *target = patch.clone();
            return;
        };
        if !target.is_object() {
            *target = json!({});
        }
        let object = target.as_object_mut().unwrap();
        for (name, value) in fields {
            if value.is_null() {
                object.remove(name);
            } else {
                apply(object.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
    }
    apply(&mut base, patch);
    base
}

fn nodepool() -> Value {
    json!({
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "metadata": {"name": "default"},
        "spec": {"template": {"spec": {
            "nodeClassRef": {
                "group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": "default",
            },
            "requirements": [],
        }}},
    })
}

fn nodeclaim() -> Value {
    json!({
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodeClaim",
        "metadata": {"name": "default-1"},
        "spec": {
            "nodeClassRef": {
                "group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": "default",
            },
            "requirements": [],
        },
    })
}

fn kwoknodeclass() -> Value {
    json!({
        "apiVersion": "karpenter.kwok.sh/v1alpha1",
        "kind": "KWOKNodeClass",
        "metadata": {"name": "default"},
    })
}

/// Judges an object by the CRD of its kind.
struct Judge(BTreeMap<String, Value>);

impl Judge {
    fn new() -> Judge {
        let definitions = crds::all().into_iter();
        Judge(
            definitions
                .map(|crd| {
                    (
                        crd.spec.names.kind.clone(),
                        serde_json::to_value(crd).unwrap(),
                    )
                })
                .collect(),
        )
    }

    fn verdict(&self, object: &Value) -> Result<DefaultedObject, Vec<FieldError>> {
        validate_offline(&self.0[object["kind"].as_str().unwrap()], object)
    }

    /// Asserts the verdict: no expected fragments mean that the object is accepted.
    fn check(&self, object: &Value, expected: &[&str]) {
        let errors: Vec<String> = match self.verdict(object) {
            Ok(_) => Vec::new(),
            Err(errors) => errors
                .iter()
                .map(ToString::to_string)
                // The server adds this to any fault of the schema.
                .filter(|error| !error.contains("some validation rules were not checked"))
                .collect(),
        };
        let matching = errors.len() == expected.len()
            && expected
                .iter()
                .all(|part| errors.iter().any(|error| error.contains(part)));
        assert!(matching, "{object}: expected {expected:?}, got {errors:#?}");
    }

    /// What the object's `spec` becomes.
    fn stored(&self, object: &Value) -> Value {
        self.verdict(object).unwrap().value["spec"].clone()
    }
}

#[test]
fn nodepools() {
    let judge = Judge::new();
    let spec = |spec: Value| json!({"spec": spec});
    let template = |fields: Value| json!({"spec": {"template": {"spec": fields}}});
    let budgets = |budgets: Value| json!({"spec": {"disruption": {"budgets": budgets}}});
    let labels = |labels: Value| json!({"spec": {"template": {"metadata": {"labels": labels}}}});
    let rows: Vec<(Value, &[&str])> = vec![
        (budgets(json!([{"nodes": "1"}])), &[]),
        (
            budgets(json!([{"nodes": "1", "schedule": "@daily", "duration": "1h"}])),
            &[],
        ),
        (
            budgets(json!([{"nodes": "1", "schedule": "@daily"}])),
            &["'schedule' must be set"],
        ),
        (
            budgets(json!([{"nodes": "1", "duration": "1h"}])),
            &["'schedule' must be set"],
        ),
        (spec(json!({"replicas": 1, "limits": {"nodes": 2}})), &[]),
        (spec(json!({"replicas": 1})), &[]),
        (spec(json!({"replicas": 1, "limits": {}})), &[]),
        (
            spec(json!({"replicas": 1, "limits": {"cpu": 2}})),
            &["'limits.nodes'"],
        ),
        (
            spec(json!({"replicas": 1, "limits": {"cpu": 2, "nodes": 2}})),
            &["'limits.nodes'"],
        ),
        (spec(json!({"limits": {"cpu": 2, "nodes": 2}})), &[]),
        (
            spec(json!({"replicas": 1, "weight": 2})),
            &["'weight' is not supported"],
        ),
        (
            spec(json!({"replicas": 0, "weight": 2})),
            &["'weight' is not supported"],
        ),
        (
            template(json!({"nodeClassRef": {"group": ""}})),
            &["group may not be empty"],
        ),
        (
            template(json!({"nodeClassRef": {"kind": ""}})),
            &["kind may not be empty"],
        ),
        (
            template(json!({"nodeClassRef": {"name": ""}})),
            &["name may not be empty"],
        ),
        (labels(json!({"karpenter.sh/capacity-type": "spot"})), &[]),
        (
            labels(json!({"karpenter.sh/x": "y"})),
            &["label domain \"karpenter.sh\""],
        ),
        (
            labels(json!({"team.karpenter.sh/x": "y"})),
            &["label domain \"karpenter.sh\""],
        ),
        (
            labels(json!({"evilkarpenter.sh/x": "y"})),
            &["label domain \"karpenter.sh\""],
        ),
        (
            labels(json!({"karpenter.sh": "y"})),
            &["label domain \"karpenter.sh\""],
        ),
        (
            labels(json!({"karpenter.sh/nodepool": "y"})),
            &["label \"karpenter.sh/nodepool\""],
        ),
        (
            labels(json!({"kubernetes.io/hostname": "y"})),
            &["kubernetes.io/hostname"],
        ),
        (labels(json!({"node.kubernetes.io/x": "y"})), &[]),
        (
            labels(json!({"karpenter.k8s.aws/x": "y"})),
            &["label domain \"karpenter.k8s.aws\""],
        ),
        (
            labels(json!({"karpenter.k8s.aws/nitro-sandbox": "true"})),
            &[],
        ),
        (labels(json!({"karpenter.kwok.sh/x": "y"})), &[]),
    ];
    for (patch, expected) in rows {
        judge.check(&merged(nodepool(), &patch), expected);
    }
}

#[test]
fn requirements() {
    let judge = Judge::new();
    let key = |key: &str| json!({"key": key, "operator": "Exists"});
    let one =
        |operator: &str, values: Value| json!({"key": "a", "operator": operator, "values": values});
    let integer = "must have a single positive integer value";
    // Requirement, whether NodePools reject it, whether NodeClaims do.
    let rows: Vec<(Value, Option<&str>, Option<&str>)> = vec![
        (one("In", json!(["b"])), None, None),
        (
            one("In", json!([])),
            Some("'In' must have a value"),
            Some("'In' must have a value"),
        ),
        (
            json!({"key": "a", "operator": "In"}),
            Some("'In' must have"),
            Some("'In' must have"),
        ),
        (one("NotIn", json!([])), None, None),
        (one("Gt", json!(["0"])), None, None),
        (one("Lte", json!(["12"])), None, None),
        (one("Gt", json!(["-1"])), Some(integer), Some(integer)),
        (one("Lt", json!(["1", "2"])), Some(integer), Some(integer)),
        (one("Gte", json!([])), Some(integer), Some(integer)),
        (
            json!({"key": "a", "operator": "Gte"}),
            Some(integer),
            Some(integer),
        ),
        (one("Gt", json!(["four"])), Some(""), Some("")),
        (
            json!({"key": "a", "operator": "In", "values": ["b", "b"], "minValues": 2}),
            None,
            None,
        ),
        (
            json!({"key": "a", "operator": "In", "values": ["b"], "minValues": 2}),
            Some("at least that many"),
            Some("at least that many"),
        ),
        (
            json!({"key": "a", "operator": "Exists", "minValues": 2}),
            None,
            None,
        ),
        (key("karpenter.sh/capacity-type"), None, None),
        (
            key("karpenter.sh/nodepool"),
            Some("label \"karpenter.sh/nodepool\""),
            None,
        ),
        (
            key("karpenter.sh/x"),
            Some("domain \"karpenter.sh\""),
            Some("domain \"karpenter.sh\""),
        ),
        (
            key("kubernetes.io/hostname"),
            Some("hostname"),
            Some("hostname"),
        ),
        (key("karpenter.k8s.aws/ec2nodeclass"), None, None),
        (
            key("karpenter.k8s.aws/x"),
            Some("karpenter.k8s.aws"),
            Some("karpenter.k8s.aws"),
        ),
        (key("karpenter.k8s.aws/instance-family"), None, None),
        (
            key("karpenter.kwok.sh/x"),
            Some("karpenter.kwok.sh"),
            Some("karpenter.kwok.sh"),
        ),
        (key("karpenter.kwok.sh/kwoknodeclass"), None, None),
        (key("example.com/karpenter.sh"), None, None),
    ];
    for (requirement, in_pool, in_claim) in rows {
        let list = json!({"requirements": [requirement]});
        let pool = merged(nodepool(), &json!({"spec": {"template": {"spec": list}}}));
        let claim = merged(nodeclaim(), &json!({"spec": list}));
        judge.check(&pool, &in_pool.into_iter().collect::<Vec<_>>());
        judge.check(&claim, &in_claim.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn values() {
    let judge = Judge::new();
    let pool = |spec: Value| merged(nodepool(), &json!({"spec": spec}));
    let template = |fields: Value| pool(json!({"template": {"spec": fields}}));
    let labels = |labels: Value| pool(json!({"template": {"metadata": {"labels": labels}}}));
    let disruption = |fields: Value| pool(json!({"disruption": fields}));
    let budget = |fields: Value| disruption(json!({"budgets": [fields]}));
    let hourly = |fields: Value| budget(merged(json!({"nodes": "1"}), &fields));
    let many = |count: usize, item: Value| Value::from(vec![item; count]);
    let exists = json!({"key": "a", "operator": "Exists"});
    const AFTER: &str = "spec.disruption.consolidateAfter";
    let rows: Vec<(Value, &[&str])> = vec![
        (
            pool(json!({"template": null})),
            &["spec.template: Required value"],
        ),
        (
            merged(nodepool(), &json!({"spec": null})),
            &["spec: Required value"],
        ),
        (
            template(json!({"requirements": null})),
            &["spec.template.spec.requirements: Required"],
        ),
        (
            template(json!({"nodeClassRef": null})),
            &["spec.template.spec.nodeClassRef: Required"],
        ),
        (
            template(json!({"nodeClassRef": {"kind": null}})),
            &["spec.template.spec.nodeClassRef.kind: Required"],
        ),
        (
            template(json!({"nodeClassRef": {"group": "a/b"}})),
            &["nodeClassRef.group: Invalid"],
        ),
        (pool(json!({"weight": 1})), &[]),
        (pool(json!({"weight": 100})), &[]),
        (pool(json!({"weight": 0})), &["spec.weight: Invalid value"]),
        (
            pool(json!({"weight": 101})),
            &["spec.weight: Invalid value"],
        ),
        (
            pool(json!({"weight": "10"})),
            &["spec.weight: Invalid value"],
        ),
        (pool(json!({"replicas": 0})), &[]),
        (
            pool(json!({"replicas": -1})),
            &["spec.replicas: Invalid value"],
        ),
        (
            pool(json!({"limits": {"cpu": 1000, "memory": "1.5Ti", "nodes": "-3", "x": "1e3"}})),
            &[],
        ),
        (
            pool(json!({"limits": {"cpu": "many"}})),
            &["spec.limits.cpu: Invalid value"],
        ),
        (
            pool(json!({"limits": {"cpu": 1.5}})),
            &["spec.limits.cpu: Invalid value"],
        ),
        (disruption(json!({"consolidateAfter": "Never"})), &[]),
        (disruption(json!({"consolidateAfter": "1h30m"})), &[]),
        (disruption(json!({"consolidateAfter": "1d"})), &[AFTER]),
        (disruption(json!({"consolidateAfter": "500ms"})), &[AFTER]),
        (disruption(json!({"consolidateAfter": "1.5h"})), &[AFTER]),
        (disruption(json!({"consolidateAfter": "-1h"})), &[AFTER]),
        (disruption(json!({"consolidateAfter": ""})), &[AFTER]),
        (disruption(json!({"consolidateAfter": 30})), &[AFTER]),
        (template(json!({"terminationGracePeriod": "48h"})), &[]),
        (
            template(json!({"terminationGracePeriod": "Never"})),
            &["terminationGracePeriod"],
        ),
        (template(json!({"expireAfter": "Never"})), &[]),
        (template(json!({"expireAfter": "never"})), &["expireAfter"]),
        (disruption(json!({"consolidationPolicy": "Balanced"})), &[]),
        (
            disruption(json!({"consolidationPolicy": "Sometimes"})),
            &["Unsupported value"],
        ),
        (disruption(json!({"budgets": []})), &[]),
        (
            disruption(json!({"budgets": many(50, json!({"nodes": "1"}))})),
            &[],
        ),
        (
            disruption(json!({"budgets": many(51, json!({"nodes": "1"}))})),
            &["spec.disruption.budgets"],
        ),
        (budget(json!({})), &[]),
        (budget(json!({"nodes": "100%"})), &[]),
        (budget(json!({"nodes": "12345"})), &[]),
        (budget(json!({"nodes": "101%"})), &["budgets[0].nodes"]),
        (budget(json!({"nodes": "-1"})), &["budgets[0].nodes"]),
        (budget(json!({"nodes": 5})), &["budgets[0].nodes"]),
        (
            budget(json!({"nodes": "1", "reasons": ["Empty", "Drifted", "Underutilized"]})),
            &[],
        ),
        (budget(json!({"nodes": "1", "reasons": []})), &[]),
        (
            budget(json!({"nodes": "1", "reasons": ["Expired"]})),
            &["budgets[0].reasons[0]"],
        ),
        (
            budget(json!({"nodes": "1", "reasons": ["Empty", "Empty"]})),
            &["Duplicate value"],
        ),
        (
            hourly(json!({"schedule": "0 9 * * 1-5", "duration": "8h30m"})),
            &[],
        ),
        (
            hourly(json!({"schedule": "@hourly", "duration": "8h0m0s"})),
            &[],
        ),
        (
            hourly(json!({"schedule": "0 9 * *", "duration": "8h"})),
            &["budgets[0].schedule"],
        ),
        (
            hourly(json!({"schedule": "@daily", "duration": "30s"})),
            &["budgets[0].duration"],
        ),
        (
            hourly(json!({"schedule": "@daily", "duration": "1h30s"})),
            &["budgets[0].duration"],
        ),
        (
            template(json!({"requirements": many(100, exists.clone())})),
            &[],
        ),
        (
            template(json!({"requirements": many(101, exists)})),
            &["spec.template.spec.requirements: Too many"],
        ),
        (
            template(json!({"requirements": [{"key": "a", "operator": "Near"}]})),
            &["requirements[0].operator: Unsupported value"],
        ),
        (
            template(json!({"requirements": [{"key": "a b", "operator": "Exists"}]})),
            &["requirements[0].key: Invalid value"],
        ),
        (
            template(json!({"requirements": [{"key": "a", "operator": "Exists", "minValues": 0}]})),
            &["requirements[0].minValues"],
        ),
        (
            template(
                json!({"requirements": [{"key": "a", "operator": "Exists", "minValues": 51}]}),
            ),
            &["requirements[0].minValues"],
        ),
        // Values are judged by controllers only.
        (
            template(json!({"requirements": [{"key": "a", "operator": "In", "values": ["b c"]}]})),
            &[],
        ),
        (
            template(json!({"taints": [{"key": "a", "effect": "NoSchedule"}]})),
            &[],
        ),
        (
            template(json!({"taints": [{"key": "a", "effect": "Never"}]})),
            &["taints[0].effect"],
        ),
        (
            template(json!({"taints": [{"key": "a"}]})),
            &["taints[0].effect: Required"],
        ),
        (
            template(json!({"startupTaints": [{"key": "a", "effect": "NoExecute", "value": ""}]})),
            &["startupTaints[0].value"],
        ),
        (labels(json!({"team": "a", "empty": ""})), &[]),
        (labels(json!({"team": "a b"})), &["labels.team"]),
        (
            labels(json!({"team": "a".repeat(64)})),
            &["labels.team: Too long"],
        ),
        (kwoknodeclass(), &[]),
        (
            merged(
                kwoknodeclass(),
                &json!({"spec": {"nodeRegistrationDelay": "10s"}}),
            ),
            &[],
        ),
        (
            merged(
                kwoknodeclass(),
                &json!({"spec": {"nodeRegistrationDelay": "soon"}}),
            ),
            &["spec.nodeRegistrationDelay"],
        ),
    ];
    for (object, expected) in rows {
        judge.check(&object, expected);
    }
}

#[test]
fn defaults() {
    let judge = Judge::new();
    let budgets = json!([{"nodes": "10%"}]);
    let policy = "WhenEmptyOrUnderutilized";
    let rows = [
        (
            Value::Null,
            json!({"consolidateAfter": "0s", "consolidationPolicy": policy, "budgets": budgets}),
        ),
        (
            json!({}),
            json!({"consolidateAfter": "0s", "consolidationPolicy": policy, "budgets": budgets}),
        ),
        (
            json!({"consolidateAfter": "1m", "consolidationPolicy": "WhenEmpty"}),
            json!({"consolidateAfter": "1m", "consolidationPolicy": "WhenEmpty", "budgets": budgets}),
        ),
        (
            json!({"budgets": []}),
            json!({"consolidateAfter": "0s", "consolidationPolicy": policy, "budgets": []}),
        ),
        (
            json!({"budgets": [{}]}),
            json!({"consolidateAfter": "0s", "consolidationPolicy": policy, "budgets": budgets}),
        ),
    ];
    for (disruption, expected) in rows {
        let mut pool = nodepool();
        // Not merged: a null must arrive, and is dropped and defaulted as any other absence.
        pool["spec"]["disruption"] = disruption;
        assert_eq!(judge.stored(&pool)["disruption"], expected, "{pool}");
    }
    let mut pool = nodepool();
    pool["spec"]["template"]["spec"]["expireAfter"] = Value::Null;
    assert_eq!(
        judge.stored(&pool)["template"]["spec"]["expireAfter"],
        "720h"
    );
    assert_eq!(judge.stored(&nodeclaim())["expireAfter"], "720h");
    let class = judge.verdict(&kwoknodeclass()).unwrap().value;
    assert_eq!(class["status"]["conditions"][0]["status"], "True");
    assert_eq!(class.get("spec"), None);
}

#[test]
fn unknown_fields_are_dropped() {
    let judge = Judge::new();
    let template =
        json!({"metadata": {"name": "x", "finalizers": ["a"], "annotations": {"a": "b"}}});
    let pool = merged(
        nodepool(),
        &json!({"spec": {"template": template, "novelty": 1}}),
    );
    let verdict = judge.verdict(&pool).unwrap();
    let metadata = &verdict.value["spec"]["template"]["metadata"];
    assert_eq!(*metadata, json!({"annotations": {"a": "b"}}));
    assert_eq!(
        verdict.unknown_fields.len(),
        3,
        "{:?}",
        verdict.unknown_fields
    );
}

/// A server that knows our kinds.
async fn client() -> Client {
    let epoch: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let client = Server::new(Options::new(Arc::new(move || epoch))).client();
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for crd in crds::all() {
        definitions
            .create(&PostParams::default(), &crd)
            .await
            .unwrap();
    }
    client
}

/// What the server says to a merge patch of an object that it has.
async fn update(client: &Client, old: &Value, patch: &Value) -> Result<DynamicObject, Error> {
    let resource = match old["kind"].as_str().unwrap() {
        "NodePool" => ApiResource::erase::<NodePool>(&()),
        _ => ApiResource::erase::<NodeClaim>(&()),
    };
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let object: DynamicObject = serde_json::from_value(old.clone()).unwrap();
    api.create(&PostParams::default(), &object).await.unwrap();
    let name = old["metadata"]["name"].as_str().unwrap();
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch))
        .await
}

#[tokio::test(start_paused = true)]
async fn updates() {
    let in_template = |fields: Value| json!({"spec": {"template": {"spec": fields}}});
    let fixed = || merged(nodepool(), &json!({"spec": {"replicas": 1}}));
    let rows: Vec<(&str, Value, Value, Option<&str>)> = vec![
        (
            "N2 add",
            nodepool(),
            json!({"spec": {"replicas": 1}}),
            Some("cannot transition"),
        ),
        (
            "N2 remove",
            fixed(),
            json!({"spec": {"replicas": null}}),
            Some("cannot transition"),
        ),
        ("N2 scale", fixed(), json!({"spec": {"replicas": 0}}), None),
        (
            "N5 group",
            nodepool(),
            in_template(json!({"nodeClassRef": {"group": "g"}})),
            Some("nodeClassRef.group is immutable"),
        ),
        (
            "N5 kind",
            nodepool(),
            in_template(json!({"nodeClassRef": {"kind": "k"}})),
            Some("nodeClassRef.kind is immutable"),
        ),
        (
            "N5 name",
            nodepool(),
            in_template(json!({"nodeClassRef": {"name": "n"}})),
            None,
        ),
        (
            "a claim's spec",
            nodeclaim(),
            json!({"spec": {"expireAfter": "1h"}}),
            Some("spec is immutable"),
        ),
        (
            "a claim's labels",
            nodeclaim(),
            json!({"metadata": {"labels": {"a": "b"}}}),
            None,
        ),
    ];
    let client = client().await;
    for (index, (name, old, patch, expected)) in rows.into_iter().enumerate() {
        let old = merged(old, &json!({"metadata": {"name": format!("row-{index}")}}));
        let message = match update(&client, &old, &patch).await {
            Ok(_) => None,
            Err(Error::Api(status)) => Some(status.message),
            Err(other) => panic!("{name}: {other}"),
        };
        match (&message, expected) {
            (None, None) => {}
            (Some(message), Some(part)) if message.contains(part) => {}
            _ => panic!("{name}: expected {expected:?}, got {message:?}"),
        }
    }
}
