//! Requests as kubectl and other clients send them, and what they rely on in the answers.
#![allow(clippy::unwrap_used, clippy::needless_pass_by_value)]

use std::sync::Arc;

use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use karpenter_apiserver::{Options, Server};
use kube::client::Body;
use serde_json::{Value, json};
use tower::Service;

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
const APPLY: &str = "application/apply-patch+yaml";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const JSON: &str = "application/json";

/// A server and what was said to it.
struct Talk(Server);

impl Talk {
    fn new() -> Talk {
        let now: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        Talk(Server::new(Options::new(Arc::new(move || now))))
    }

    async fn raw(&self, request: Request<Body>) -> (u16, HeaderMap, Value) {
        let response = self.0.clone().call(request).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        (
            head.status.as_u16(),
            head.headers,
            serde_json::from_slice(&bytes).unwrap_or_default(),
        )
    }

    async fn send(&self, line: &str, content: &str, body: Value) -> (u16, HeaderMap, Value) {
        let (method, path) = line.split_once(' ').unwrap();
        let body = if body.is_null() {
            Body::empty()
        } else {
            Body::from(body.to_string().into_bytes())
        };
        let header = if method == "GET" {
            "accept"
        } else {
            "content-type"
        };
        self.raw(
            Request::builder()
                .method(method)
                .uri(path)
                .header(header, content)
                .body(body)
                .unwrap(),
        )
        .await
    }

    /// The answer has this code and, at these places, these values.
    async fn check(
        &self,
        line: &str,
        content: &str,
        body: Value,
        code: u16,
        expected: &[(&str, Value)],
    ) {
        let (found, _, answer) = self.send(line, content, body).await;
        assert_eq!(found, code, "{line}: {answer}");
        for (pointer, value) in expected {
            let found = answer.pointer(pointer).cloned().unwrap_or_default();
            assert_eq!(found, *value, "{line} {pointer}: {answer}");
        }
    }
}

fn pod(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "main", "image": "pause:3"}]}})
}

fn deployment() -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "main", "image": "nginx",
                "resources": {"limits": {"cpu": 1}}, "ports": [{"containerPort": 80}]}]}}}})
}

const PODS: &str = "/api/v1/namespaces/default/pods";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

#[tokio::test(start_paused = true)]
async fn defaults_of_built_in_kinds() {
    let talk = Talk::new();
    let post = |path: &str| format!("POST {path}");
    talk.check(
        &post(DEPLOYMENTS),
        JSON,
        deployment(),
        201,
        &[
            ("/spec/replicas", json!(1)),
            (
                "/spec/strategy",
                json!({"type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}),
            ),
            ("/spec/revisionHistoryLimit", json!(10)),
            ("/spec/progressDeadlineSeconds", json!(600)),
            ("/spec/template/spec/restartPolicy", json!("Always")),
            (
                "/spec/template/spec/containers/0/resources",
                json!({"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}),
            ),
            (
                "/spec/template/spec/containers/0/imagePullPolicy",
                json!("Always"),
            ),
            ("/metadata/generation", json!(1)),
            ("/metadata/creationTimestamp", json!("2026-01-01T00:00:00Z")),
        ],
    )
    .await;
    let tolerated = |key: &str| {
        json!({"key": format!("node.kubernetes.io/{key}"), "operator": "Exists",
        "effect": "NoExecute", "tolerationSeconds": 300})
    };
    talk.check(
        &post(PODS),
        JSON,
        pod("a"),
        201,
        &[
            ("/spec/terminationGracePeriodSeconds", json!(30)),
            ("/spec/dnsPolicy", json!("ClusterFirst")),
            ("/spec/schedulerName", json!("default-scheduler")),
            ("/spec/priority", json!(0)),
            (
                "/spec/tolerations",
                json!([tolerated("not-ready"), tolerated("unreachable")]),
            ),
            ("/spec/containers/0/imagePullPolicy", json!("IfNotPresent")),
            (
                "/status",
                json!({"phase": "Pending", "qosClass": "BestEffort"}),
            ),
        ],
    )
    .await;
    let mut critical = pod("critical");
    critical["spec"]["priorityClassName"] = json!("system-node-critical");
    talk.check(
        &post(PODS),
        JSON,
        critical,
        201,
        &[("/spec/priority", json!(2_000_001_000))],
    )
    .await;
    let mut unknown = pod("unknown");
    unknown["spec"]["priorityClassName"] = json!("none");
    talk.check(
        &post(PODS),
        JSON,
        unknown,
        403,
        &[(
            "/message",
            json!("pods \"unknown\" is forbidden: no PriorityClass with name none was found"),
        )],
    )
    .await;
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "b"}]}}}});
    talk.check(
        "POST /apis/batch/v1/namespaces/default/jobs",
        JSON,
        job,
        201,
        &[
            ("/spec/completions", json!(1)),
            ("/spec/parallelism", json!(1)),
            ("/spec/backoffLimit", json!(6)),
            (
                "/spec/template/metadata/labels/batch.kubernetes.io~1job-name",
                json!("j"),
            ),
        ],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn refusals_of_built_in_kinds() {
    let talk = Talk::new();
    let refuse = async |path: &str, body: Value, code: u16, message: &str| {
        let (found, _, answer) = talk.send(&format!("POST {path}"), JSON, body).await;
        let text = answer["message"].as_str().unwrap_or_default();
        assert!(found == code && text.contains(message), "{answer}");
    };
    let with = |pointer: &str, value: Value| {
        let mut pod = pod("p");
        let (parent, last) = pointer.rsplit_once('/').unwrap();
        pod.pointer_mut(parent).unwrap()[last] = value;
        pod
    };
    refuse(
        PODS,
        with("/metadata/name", json!("Bad_Name")),
        422,
        "metadata.name: Invalid value: \"Bad_Name\"",
    )
    .await;
    refuse(
        PODS,
        with("/spec/containers", json!([])),
        422,
        "Pod \"p\" is invalid: spec.containers: Required value",
    )
    .await;
    refuse(
        PODS,
        with("/spec/containers/0/image", json!("")),
        422,
        "spec.containers[0].image: Required value",
    )
    .await;
    refuse(
        PODS,
        with("/spec/restartPolicy", json!("No")),
        422,
        "spec.restartPolicy: Unsupported value: \"No\"",
    )
    .await;
    refuse(PODS, with("/spec/containers/0/image", json!(5)), 400,
        "json: cannot unmarshal number into Go struct field spec.containers[0].image of type string").await;
    refuse(
        PODS,
        with(
            "/spec/containers/0/resources",
            json!({"requests": {"cpu": "1x"}}),
        ),
        400,
        "quantities must match the regular expression",
    )
    .await;
    refuse(PODS, with("/spec/containers/0/resources", json!({"requests": {"cpu": "2"}, "limits": {"cpu": "1"}})), 422,
        "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1").await;
    refuse(
        &format!("{PODS}?fieldValidation=Strict"),
        with("/spec/colour", json!("red")),
        400,
        "strict decoding error: unknown field \"spec.colour\"",
    )
    .await;
    refuse(
        PODS,
        with("/kind", json!("Node")),
        400,
        "Node in version \"v1\" cannot be handled as a Pod",
    )
    .await;
    refuse(
        PODS,
        with("/metadata/namespace", json!("other")),
        400,
        "does not match the namespace",
    )
    .await;
    let mut mismatch = deployment();
    mismatch["spec"]["selector"] = json!({"matchLabels": {"app": "api"}});
    refuse(
        DEPLOYMENTS,
        mismatch,
        422,
        "`selector` does not match template `labels`",
    )
    .await;
    // Lenient validation warns and drops.
    let (code, headers, answer) = talk
        .send(
            &format!("POST {PODS}"),
            JSON,
            with("/spec/colour", json!("red")),
        )
        .await;
    assert_eq!((code, &answer["spec"]["colour"]), (201, &Value::Null));
    assert_eq!(
        headers["warning"],
        "299 - \"unknown field \\\"spec.colour\\\"\""
    );
    // What is immutable stays.
    talk.check(&format!("POST {DEPLOYMENTS}"), JSON, deployment(), 201, &[])
        .await;
    let patch = json!({"spec": {"selector": {"matchLabels": {"new": "x"}},
        "template": {"metadata": {"labels": {"new": "x"}}}}});
    let (code, _, answer) = talk
        .send(&format!("PATCH {DEPLOYMENTS}/web"), MERGE, patch)
        .await;
    assert_eq!(code, 422);
    assert!(
        answer["message"]
            .as_str()
            .unwrap()
            .contains("field is immutable"),
        "{answer}"
    );
    let patch = json!({"spec": {"nodeName": "n"}});
    let (code, _, answer) = talk.send(&format!("PATCH {PODS}/p"), MERGE, patch).await;
    assert!(
        code == 422
            && answer["message"]
                .as_str()
                .unwrap()
                .contains("pod updates may not change"),
        "{answer}"
    );
}

#[tokio::test(start_paused = true)]
async fn patches() {
    let talk = Talk::new();
    let web = format!("{DEPLOYMENTS}/web");
    talk.check(&format!("POST {DEPLOYMENTS}"), JSON, deployment(), 201, &[])
        .await;
    let side =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "x"}]}}}});
    talk.check(
        &format!("PATCH {web}"),
        STRATEGIC,
        side,
        200,
        &[
            ("/spec/template/spec/containers/0/name", json!("main")),
            ("/spec/template/spec/containers/1/name", json!("side")),
            ("/metadata/generation", json!(2)),
        ],
    )
    .await;
    let steps = json!([{"op": "replace", "path": "/spec/replicas", "value": 4}]);
    talk.check(
        &format!("PATCH {web}"),
        "application/json-patch+json",
        steps,
        200,
        &[("/spec/replicas", json!(4))],
    )
    .await;
    let test = json!([{"op": "test", "path": "/spec/replicas", "value": 5}]);
    talk.check(
        &format!("PATCH {web}"),
        "application/json-patch+json",
        test,
        422,
        &[],
    )
    .await;
    let stale = json!({"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 9}});
    talk.check(
        &format!("PATCH {web}"),
        MERGE,
        stale,
        409,
        &[("/reason", json!("Conflict"))],
    )
    .await;
    talk.check(&format!("PATCH {web}"), "text/plain", json!({}), 415, &[])
        .await;
    talk.check(
        &format!("PATCH {DEPLOYMENTS}/none"),
        MERGE,
        json!({}),
        404,
        &[],
    )
    .await;
    let scale = json!({"spec": {"replicas": 2}});
    talk.check(
        &format!("PATCH {web}/scale"),
        MERGE,
        scale,
        200,
        &[
            ("/kind", json!("Scale")),
            ("/spec/replicas", json!(2)),
            ("/status/selector", json!("app=web")),
        ],
    )
    .await;
    talk.check(
        &format!("GET {web}"),
        JSON,
        Value::Null,
        200,
        &[("/spec/replicas", json!(2))],
    )
    .await;
    let dry = json!({"spec": {"replicas": 7}});
    talk.check(
        &format!("PATCH {web}?dryRun=All"),
        MERGE,
        dry,
        200,
        &[("/spec/replicas", json!(7))],
    )
    .await;
    talk.check(
        &format!("GET {web}"),
        JSON,
        Value::Null,
        200,
        &[("/spec/replicas", json!(2))],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn server_side_apply() {
    let talk = Talk::new();
    let map = "/api/v1/namespaces/default/configmaps/m";
    let applied = |data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": data});
    let by = |manager: &str| format!("PATCH {map}?fieldManager={manager}");
    talk.check(&format!("PATCH {map}"), APPLY, applied(json!({})), 422, &[])
        .await;
    talk.check(
        &by("one"),
        APPLY,
        applied(json!({"a": "1", "b": "2"})),
        201,
        &[
            ("/data", json!({"a": "1", "b": "2"})),
            ("/metadata/managedFields/0/manager", json!("one")),
            (
                "/metadata/managedFields/0/fieldsV1",
                json!({"f:data": {"f:a": {}, "f:b": {}}}),
            ),
        ],
    )
    .await;
    talk.check(
        &by("two"),
        APPLY,
        applied(json!({"b": "3", "c": "4"})),
        200,
        &[("/data", json!({"a": "1", "b": "3", "c": "4"}))],
    )
    .await;
    talk.check(
        &by("one"),
        APPLY,
        applied(json!({})),
        200,
        &[("/data", json!({"b": "3", "c": "4"}))],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn tables() {
    let talk = Talk::new();
    talk.check(&format!("POST {PODS}"), JSON, pod("a"), 201, &[])
        .await;
    talk.check(&format!("POST {DEPLOYMENTS}"), JSON, deployment(), 201, &[])
        .await;
    let node = json!({"metadata": {"name": "n", "labels": {"node-role.kubernetes.io/worker": ""}},
        "spec": {"unschedulable": true},
        "status": {"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"kubeletVersion": "v1.36.0"}}});
    talk.check("POST /api/v1/nodes", JSON, node, 201, &[]).await;
    talk.check(
        &format!("GET {PODS}"),
        TABLE,
        Value::Null,
        200,
        &[
            ("/kind", json!("Table")),
            ("/columnDefinitions/2/name", json!("Status")),
            (
                "/rows/0/cells",
                json!([
                    "a", "0/1", "Pending", "0", "0s", "<none>", "<none>", "<none>", "<none>"
                ]),
            ),
            ("/rows/0/object/kind", json!("PartialObjectMetadata")),
        ],
    )
    .await;
    talk.check(
        &format!("GET {DEPLOYMENTS}/web"),
        TABLE,
        Value::Null,
        200,
        &[(
            "/rows/0/cells",
            json!(["web", "0/1", 0, 0, "0s", "main", "nginx", "app=web"]),
        )],
    )
    .await;
    talk.check(
        "GET /api/v1/nodes?includeObject=None",
        TABLE,
        Value::Null,
        200,
        &[
            ("/rows/0/cells/1", json!("Ready,SchedulingDisabled")),
            ("/rows/0/cells/2", json!("worker")),
            ("/rows/0/cells/4", json!("v1.36.0")),
            ("/rows/0/object", Value::Null),
        ],
    )
    .await;
    talk.check(
        &format!("GET {PODS}"),
        "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
        Value::Null,
        200,
        &[
            ("/kind", json!("PartialObjectMetadataList")),
            ("/items/0/spec", Value::Null),
            ("/items/0/metadata/name", json!("a")),
        ],
    )
    .await;
}

fn definition() -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"kind": "Widget", "plural": "widgets", "shortNames": ["wd"], "categories": ["things"]},
            "versions": [
                {"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                    "selectableFields": [{"jsonPath": ".spec.mode"}],
                    "additionalPrinterColumns": [
                        {"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"},
                        {"name": "Count", "type": "integer", "jsonPath": ".spec.count", "priority": 1}],
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                        "spec": {"type": "object", "properties": {
                            "mode": {"type": "string", "default": "plain"}, "count": {"type": "integer"}}},
                        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}},
                {"name": "v1beta1", "served": true, "storage": false,
                    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}})
}

#[tokio::test(start_paused = true)]
async fn custom_kinds() {
    let talk = Talk::new();
    let crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let mut wrong = definition();
    wrong["metadata"]["name"] = json!("other.example.com");
    talk.check(&format!("POST {crds}"), JSON, wrong, 422, &[])
        .await;
    talk.check(&format!("POST {crds}"), JSON, definition(), 201, &[])
        .await;
    talk.check(
        &format!("GET {crds}/widgets.example.com"),
        JSON,
        Value::Null,
        200,
        &[
            ("/status/conditions/1/type", json!("Established")),
            ("/status/acceptedNames/listKind", json!("WidgetList")),
            ("/status/storedVersions", json!(["v1"])),
        ],
    )
    .await;
    let widgets = "/apis/example.com/v1/namespaces/default/widgets";
    let widget = |mode: &str| {
        json!({"apiVersion": "example.com/v1", "kind": "Widget",
        "metadata": {"name": mode}, "spec": {"mode": mode, "count": 2}})
    };
    for mode in ["round", "square"] {
        talk.check(&format!("POST {widgets}"), JSON, widget(mode), 201, &[])
            .await;
    }
    let status = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    talk.check(
        &format!("PATCH {widgets}/round/status"),
        MERGE,
        status,
        200,
        &[],
    )
    .await;
    talk.check(
        &format!("GET {widgets}"),
        TABLE,
        Value::Null,
        200,
        &[
            ("/columnDefinitions/2/priority", json!(1)),
            ("/rows/0/cells", json!(["round", "True", 2])),
            ("/rows/1/cells", json!(["square", null, 2])),
        ],
    )
    .await;
    talk.check(
        &format!("GET {widgets}?fieldSelector=spec.mode%3Dsquare"),
        JSON,
        Value::Null,
        200,
        &[
            ("/items/0/metadata/name", json!("square")),
            ("/items/1", Value::Null),
        ],
    )
    .await;
    talk.check(
        &format!("GET {widgets}?fieldSelector=spec.count%3D2"),
        JSON,
        Value::Null,
        400,
        &[],
    )
    .await;
    // The other version shows the same object.
    talk.check(
        "GET /apis/example.com/v1beta1/namespaces/default/widgets/round",
        JSON,
        Value::Null,
        200,
        &[
            ("/apiVersion", json!("example.com/v1beta1")),
            ("/spec/mode", json!("round")),
        ],
    )
    .await;
    // An update must say what it updates.
    talk.check(
        &format!("PUT {widgets}/round"),
        JSON,
        widget("round"),
        422,
        &[],
    )
    .await;
    talk.check(
        &format!("PATCH {widgets}/round"),
        STRATEGIC,
        json!({}),
        415,
        &[],
    )
    .await;
    talk.check(
        &format!("DELETE {widgets}"),
        JSON,
        Value::Null,
        200,
        &[("/items/1/metadata/name", json!("square"))],
    )
    .await;
    talk.check(
        &format!("GET {widgets}"),
        JSON,
        Value::Null,
        200,
        &[("/items", json!([]))],
    )
    .await;
    // A changed definition changes what is accepted.
    let patch = json!([{"op": "add", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/mode/enum", "value": ["plain"]}]);
    talk.check(
        &format!("PATCH {crds}/widgets.example.com"),
        "application/json-patch+json",
        patch,
        200,
        &[],
    )
    .await;
    talk.check(&format!("POST {widgets}"), JSON, widget("round"), 422, &[])
        .await;
}

#[tokio::test(start_paused = true)]
async fn discovery_and_openapi() {
    let talk = Talk::new();
    let crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    talk.check(&format!("POST {crds}"), JSON, definition(), 201, &[])
        .await;
    talk.check(
        "GET /api",
        JSON,
        Value::Null,
        200,
        &[("/versions", json!(["v1"]))],
    )
    .await;
    talk.check(
        "GET /api/v1",
        JSON,
        Value::Null,
        200,
        &[("/kind", json!("APIResourceList"))],
    )
    .await;
    talk.check(
        "GET /apis/example.com",
        JSON,
        Value::Null,
        200,
        &[
            ("/preferredVersion/version", json!("v1")),
            ("/versions/1/version", json!("v1beta1")),
        ],
    )
    .await;
    talk.check("GET /apis/apps/v1", JSON, Value::Null, 200, &[
        ("/resources/3/name", json!("deployments")),
        ("/resources/5", json!({"name": "deployments/scale", "singularName": "", "namespaced": true,
            "group": "autoscaling", "version": "v1", "kind": "Scale", "verbs": ["get", "patch", "update"]})),
    ]).await;
    let accept =
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let (code, headers, answer) = talk.send("GET /apis", accept, Value::Null).await;
    assert_eq!(
        (code, &answer["kind"]),
        (200, &json!("APIGroupDiscoveryList"))
    );
    assert!(
        headers["content-type"]
            .to_str()
            .unwrap()
            .ends_with("as=APIGroupDiscoveryList")
    );
    let groups = answer["items"].as_array().unwrap();
    assert_eq!(groups.last().unwrap()["metadata"]["name"], "example.com");
    assert_eq!(
        groups.last().unwrap()["versions"][0]["resources"][0]["shortNames"],
        json!(["wd"])
    );
    talk.check("GET /apis/none/v1", JSON, Value::Null, 404, &[])
        .await;
    talk.check(
        "GET /version",
        JSON,
        Value::Null,
        200,
        &[("/major", json!("1"))],
    )
    .await;
    let (_, _, index) = talk.send("GET /openapi/v3", JSON, Value::Null).await;
    for path in ["api/v1", "apis/apps/v1", "apis/example.com/v1"] {
        let url = index["paths"][path]["serverRelativeURL"].as_str().unwrap();
        let (code, _, document) = talk.send(&format!("GET {url}"), JSON, Value::Null).await;
        assert_eq!(code, 200, "{url}");
        let paths = document["paths"].as_object().unwrap();
        let item = paths
            .iter()
            .find(|(path, _)| path.ends_with("/{name}"))
            .unwrap()
            .1;
        let parameters = item["patch"]["parameters"].as_array().unwrap();
        assert!(
            parameters
                .iter()
                .any(|parameter| parameter["name"] == "fieldValidation")
        );
        // Every reference leads somewhere.
        let text = document.to_string();
        for reference in text.split("\"#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(
                document["components"]["schemas"].get(name).is_some(),
                "{path}: {name}"
            );
        }
    }
    talk.check("GET /openapi/v3/api/v1", JSON, Value::Null, 200, &[
        ("/components/schemas/io.k8s.api.core.v1.PodSpec/properties/containers/x-kubernetes-patch-merge-key", json!("name")),
    ]).await;
}

#[tokio::test(start_paused = true)]
async fn events_have_two_faces() {
    let talk = Talk::new();
    let event = json!({"metadata": {"name": "e"}, "regarding": {"kind": "Pod", "name": "p"},
        "note": "hello", "reason": "Test", "type": "Normal", "reportingController": "me", "action": "do",
        "eventTime": "2026-01-01T00:00:00.000000Z"});
    talk.check(
        "POST /apis/events.k8s.io/v1/namespaces/default/events",
        JSON,
        event,
        201,
        &[
            ("/apiVersion", json!("events.k8s.io/v1")),
            ("/note", json!("hello")),
        ],
    )
    .await;
    talk.check(
        "GET /api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Dp",
        JSON,
        Value::Null,
        200,
        &[
            ("/items/0/message", json!("hello")),
            ("/items/0/reportingComponent", json!("me")),
        ],
    )
    .await;
    talk.check(
        "GET /apis/events.k8s.io/v1/events",
        JSON,
        Value::Null,
        200,
        &[
            ("/kind", json!("EventList")),
            ("/items/0/regarding/name", json!("p")),
        ],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_a_simulated_cluster_lacks() {
    let talk = Talk::new();
    talk.check(&format!("POST {PODS}"), JSON, pod("a"), 201, &[])
        .await;
    for part in ["log", "exec", "attach", "portforward"] {
        let message =
            format!("this cluster is simulated: no container runs in it, so there is no {part}");
        talk.check(
            &format!("GET {PODS}/a/{part}"),
            JSON,
            Value::Null,
            501,
            &[("/message", json!(message))],
        )
        .await;
    }
    talk.check(&format!("GET {PODS}/a/none"), JSON, Value::Null, 404, &[])
        .await;
    talk.check("GET /api/v1/unicorns", JSON, Value::Null, 404, &[])
        .await;
    talk.check("PUT /api/v1/pods", JSON, json!({}), 405, &[])
        .await;
    talk.check(
        "GET /api/v1/pods?watch=1&resourceVersion=x",
        JSON,
        Value::Null,
        400,
        &[],
    )
    .await;
    talk.check("GET /api/v1/pods?continue=x", JSON, Value::Null, 400, &[])
        .await;
    talk.check(
        "GET /api/v1/pods?labelSelector=a%20b%20c",
        JSON,
        Value::Null,
        400,
        &[],
    )
    .await;
}

#[tokio::test]
async fn the_socket_answers_local_requests_only() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(karpenter_apiserver::http::serve(
        Talk::new().0,
        listener,
        stopped,
    ));
    let ask = async |host: &str, extra: &str| {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let text = format!(
            "GET /api/v1/namespaces HTTP/1.1\r\nhost: {host}\r\n{extra}connection: close\r\n\r\n"
        );
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    assert!(
        ask(&address.to_string(), "")
            .await
            .starts_with("HTTP/1.1 200 OK")
    );
    assert!(ask("localhost", "").await.contains("kube-system"));
    assert!(ask("evil.example", "").await.starts_with("HTTP/1.1 403"));
    assert!(
        ask(&address.to_string(), "origin: http://evil.example\r\n")
            .await
            .starts_with("HTTP/1.1 403")
    );
    stop.send(()).unwrap();
    serving.await.unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
