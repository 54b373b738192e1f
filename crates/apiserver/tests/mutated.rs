//! Broken manifests are refused or repaired, never a fault of the server; offline and server agree.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

use std::sync::Arc;

use http_body_util::BodyExt;
use karpenter_apiserver::{Options, Server, validate_offline};
use kube::client::Body;
use serde_json::{Value, json};
use tower::Service;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap()
    }
}

fn server() -> Server {
    Server::new(Options::new(Arc::new(|| jiff::Timestamp::UNIX_EPOCH)))
}

async fn send(
    server: &Server,
    method: &str,
    path: &str,
    content: &str,
    body: Vec<u8>,
) -> (u16, Value) {
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", content)
        .body(Body::from(body))
        .unwrap();
    let response = server.clone().call(request).await.unwrap();
    let code = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap_or_default())
}

fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Cluster",
            "names": {"kind": "Widget", "plural": "widgets"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "subresources": {"status": {}},
                "additionalPrinterColumns": [{"name": "Mode", "type": "string", "jsonPath": ".spec.mode"}],
                "schema": {"openAPIV3Schema": {
                "type": "object", "required": ["spec"], "properties": {
                    "spec": {"type": "object", "required": ["mode"], "properties": {
                        "mode": {"type": "string", "enum": ["a", "b"], "default": "a"},
                        "count": {"type": "integer", "minimum": 0, "maximum": 9},
                        "share": {"x-kubernetes-int-or-string": true, "pattern": "^[0-9]+%?$"},
                        "terms": {"type": "array", "maxItems": 3, "x-kubernetes-list-type": "map",
                            "x-kubernetes-list-map-keys": ["key"], "items": {
                            "type": "object", "required": ["key"], "properties": {
                                "key": {"type": "string", "pattern": "^[a-z]+$"},
                                "values": {"type": "array", "items": {"type": "string"}}}}},
                        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
                        "x-kubernetes-validations": [
                            {"rule": "!has(self.count) || self.count < 8 || self.mode == 'b'", "message": "too many"}]},
                    "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}}],
        },
    })
}

fn manifests() -> Vec<(&'static str, Value)> {
    let pod_spec = json!({
        "containers": [{"name": "a", "image": "x:1", "ports": [{"containerPort": 80}],
            "resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": 1, "memory": "1Gi"}}}],
        "nodeSelector": {"a": "b"}, "tolerations": [{"key": "k", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [{"key": "z", "operator": "In", "values": ["1"]}]}]}}},
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}],
    });
    let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": pod_spec});
    let selector = json!({"matchLabels": {"app": "web"}});
    vec![
        (
            "/api/v1/namespaces/default/pods",
            json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "p", "labels": {"app": "web"}, "annotations": {"a": "b"}, "finalizers": ["x/y"],
                "ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "x", "uid": "u"}]},
            "spec": pod_spec, "status": {"phase": "Running"}}),
        ),
        (
            "/apis/apps/v1/namespaces/default/deployments",
            json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "d"}, "spec": {"replicas": 2, "selector": selector, "template": template,
                "strategy": {"rollingUpdate": {"maxSurge": "25%"}}}}),
        ),
        (
            "/apis/batch/v1/namespaces/default/jobs",
            json!({"apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": "j"}, "spec": {"completions": 2, "template": {"spec": {"restartPolicy": "Never",
                "containers": [{"name": "a", "image": "x"}]}}}}),
        ),
        (
            "/apis/policy/v1/namespaces/default/poddisruptionbudgets",
            json!({"apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget", "metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": selector}}),
        ),
        (
            "/api/v1/nodes",
            json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"},
            "spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]},
            "status": {"capacity": {"cpu": 4}, "conditions": [{"type": "Ready", "status": "True"}]}}),
        ),
        (
            "/api/v1/namespaces/default/services",
            json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}], "selector": {"a": "b"}}}),
        ),
        (
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            definition(),
        ),
        ("/apis/example.com/v1/widgets", widget()),
    ]
}

fn widget() -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w", "labels": {"a": "b"}},
        "spec": {"mode": "a", "count": 3, "share": "5%", "terms": [{"key": "x", "values": ["1"]}],
            "labels": {"a": "b"}, "free": {"any": [1]}}, "status": {"x": 1}})
}

/// Change one place in a value.
fn mutate(value: &mut Value, random: &mut Random) {
    let junk = [
        json!(null),
        json!(true),
        json!(-1),
        json!(1e300),
        json!(9),
        json!(""),
        json!("x"),
        json!("\u{0}é"),
        json!([]),
        json!([null]),
        json!({}),
        json!({"a": null}),
        json!([{}]),
        json!("99999999999999999999Ei"),
        json!(18_446_744_073_709_551_615_u64),
    ];
    let descend = random.below(4) > 0;
    match value {
        Value::Object(fields) if descend && !fields.is_empty() => {
            let name = fields
                .keys()
                .nth(random.below(fields.len()))
                .unwrap()
                .clone();
            match random.below(12) {
                0 => {
                    fields.remove(&name);
                }
                1 => {
                    fields.insert(
                        "unheardOf".to_owned(),
                        junk[random.below(junk.len())].clone(),
                    );
                }
                _ => mutate(fields.get_mut(&name).unwrap(), random),
            }
        }
        Value::Array(list) if descend && !list.is_empty() => {
            let index = random.below(list.len());
            if random.below(6) == 0 {
                let copy = list[index].clone();
                list.push(copy);
            } else {
                mutate(&mut list[index], random);
            }
        }
        other => *other = junk[random.below(junk.len())].clone(),
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_breaks_the_server() {
    const ROUNDS: usize = 3000;
    let mut random = Random(7);
    let server = server();
    let manifests = manifests();
    let (code, body) = send(
        &server,
        "POST",
        manifests[6].0,
        "application/json",
        definition().to_string().into(),
    )
    .await;
    assert_eq!(code, 201, "{body}");
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..ROUNDS {
        let (path, base) = &manifests[random.below(manifests.len())];
        let mut manifest = base.clone();
        for _ in 0..=random.below(2) {
            mutate(&mut manifest, &mut random);
        }
        let mut text = manifest.to_string().into_bytes();
        if random.below(5) == 0 {
            let at = random.below(text.len());
            text[at] = u8::try_from(random.below(256)).unwrap();
        }
        let (code, body) = send(&server, "POST", path, "application/json", text.clone()).await;
        assert!(
            code < 500,
            "{code} {body} for {}",
            String::from_utf8_lossy(&text)
        );
        if code == 201 {
            accepted += 1;
            let name = body["metadata"]["name"].as_str().unwrap_or_default();
            let one = format!("{path}/{name}");
            // What was accepted can be changed, shown and deleted.
            for content in ["merge-patch", "strategic-merge-patch", "apply-patch"] {
                let one = format!("{one}?fieldManager=test");
                let mut patch = base.clone();
                mutate(&mut patch, &mut random);
                let content = if content == "apply-patch" {
                    "application/apply-patch+yaml".to_owned()
                } else {
                    format!("application/{content}+json")
                };
                let (code, body) =
                    send(&server, "PATCH", &one, &content, patch.to_string().into()).await;
                assert!(code < 500, "{code} {body} for {patch}");
            }
            let request = http::Request::get(*path)
                .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
                .body(Body::empty())
                .unwrap();
            assert_eq!(server.clone().call(request).await.unwrap().status(), 200);
            if *path != manifests[6].0 {
                let release = json!({"metadata": {"finalizers": null}}).to_string().into();
                send(
                    &server,
                    "PATCH",
                    &one,
                    "application/merge-patch+json",
                    release,
                )
                .await;
                send(
                    &server,
                    "DELETE",
                    &format!("{one}?gracePeriodSeconds=0"),
                    "",
                    Vec::new(),
                )
                .await;
            }
        } else {
            refused += 1;
        }
    }
    assert!(
        accepted > ROUNDS / 10 && refused > ROUNDS / 10,
        "{accepted} {refused}"
    );
}

#[tokio::test(start_paused = true)]
async fn offline_and_server_agree() {
    let mut random = Random(11);
    let server = server();
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    send(
        &server,
        "POST",
        definitions,
        "application/json",
        definition().to_string().into(),
    )
    .await;
    let path = "/apis/example.com/v1/widgets?dryRun=All";
    let mut both = [0; 2];
    for _ in 0..1500 {
        let mut manifest = widget();
        mutate(&mut manifest, &mut random);
        let (code, body) = send(
            &server,
            "POST",
            path,
            "application/json",
            manifest.to_string().into(),
        )
        .await;
        let offline = validate_offline(&definition(), &manifest);
        assert_eq!(
            code == 201,
            offline.is_ok(),
            "{manifest} {body} {offline:?}"
        );
        match offline {
            Ok(object) => assert_eq!(object.value["spec"], body["spec"]),
            Err(errors) if code == 422 => {
                let causes = body["details"]["causes"].as_array().unwrap();
                let server: Vec<&str> = causes
                    .iter()
                    .map(|c| c["message"].as_str().unwrap())
                    .collect();
                let offline: Vec<&str> =
                    errors.iter().map(|error| error.message.as_str()).collect();
                assert_eq!(server, offline, "{manifest}");
            }
            Err(_) => {}
        }
        both[usize::from(code == 201)] += 1;
    }
    assert!(both.iter().all(|count| *count > 100), "{both:?}");
}
