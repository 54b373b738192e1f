//! Nothing panics on any manifest, and offline accepts what a server accepts: thousands of manifests,
//! mutated by structure and by byte, go through admission, lowering and scheduling here, and through a
//! plain `create` on a server that knows nothing of the offline commands.

use std::sync::Arc;

use http::{Method, Request};
use jiff::Timestamp;
use karpenter_apiserver::{Options, Server};
use kube::client::Body;
use serde_json::{Value, json};
use tower::Service as _;

use super::{
    Admitted, admit as admit_all,
    admit::Gate,
    ctx, freeze,
    kinds::{KINDS, Kind},
};
use crate::input::{self, Document};

const MANIFESTS: &str = include_str!("mutations.yaml");
const NOW: &str = "2026-01-01T00:00:00Z";

/// A small generator of its own, so that the cases are the same on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        // xorshift64*, enough to pick among cases.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(high).unwrap_or(0) % sides
    }
}

/// Every place of a value, as a JSON pointer.
fn places(value: &Value, here: &str, all: &mut Vec<String>) {
    all.push(here.to_owned());
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let name = name.replace('~', "~0").replace('/', "~1");
                places(field, &format!("{here}/{name}"), all);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                places(item, &format!("{here}/{index}"), all);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// One field replaced, removed, doubled or added.
fn by_structure(object: &Value, dice: &mut Dice) -> Value {
    let mut object = object.clone();
    let mut all = Vec::new();
    places(&object, "", &mut all);
    let place = all[dice.roll(all.len())].clone();
    let odd = [
        Value::Null,
        json!(true),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(9_223_372_036_854_775_807_i64),
        json!(""),
        json!("-"),
        json!("999999999999999999999Gi"),
        json!("1e400"),
        json!("-1Ei"),
        json!("0.0000000001"),
        json!("\u{1f4a5}"),
        json!("x".repeat(400)),
        json!("Never"),
        json!("karpenter.sh/nodepool"),
        json!("kubernetes.io/hostname"),
        json!("99999999999999999999h"),
        json!("* * * * *"),
        json!("DoesNotExist"),
        json!("Gt"),
        json!([]),
        json!({}),
        json!([[]]),
        json!({"a": {"b": null}}),
    ];
    match dice.roll(8) {
        0 => {
            if let Some((parent, name)) = place.rsplit_once('/')
                && let Some(parent) = object.pointer_mut(parent)
            {
                match parent {
                    Value::Object(fields) => drop(fields.remove(name)),
                    Value::Array(items) => items.truncate(items.len().saturating_sub(1)),
                    Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
                }
            }
        }
        1 => {
            if let Some(Value::Array(items)) = object.pointer_mut(&place)
                && let Some(first) = items.first().cloned()
            {
                items.push(first);
            }
        }
        2 => {
            if let Some(Value::Object(fields)) = object.pointer_mut(&place) {
                fields.insert("surprise".into(), odd[dice.roll(odd.len())].clone());
            }
        }
        _ => {
            if let Some(value) = object.pointer_mut(&place) {
                *value = odd[dice.roll(odd.len())].clone();
            }
        }
    }
    object
}

/// A few bytes changed, removed or added.
fn by_byte(text: &str, dice: &mut Dice) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=dice.roll(3) {
        let at = dice.roll(bytes.len());
        match dice.roll(3) {
            0 => drop(bytes.remove(at)),
            1 => bytes.insert(at, b" :-{}[]\"'0aZ#&*!\n"[dice.roll(17)]),
            _ => bytes[at] = b" :-{}[]\"'0aZ#&*!\n"[dice.roll(17)],
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether a plain create is accepted by a server that sees the object for the first time.
async fn is_created(server: &mut Server, kind: &Kind, document: &Document) -> bool {
    let mut object = document.object.clone();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("resourceVersion");
    }
    let namespace = match object["metadata"]["namespace"].as_str() {
        Some(namespace) if !namespace.is_empty() => namespace.to_owned(),
        _ => "default".to_owned(),
    };
    if kind.is_namespaced() {
        send(
            server,
            Method::POST,
            "/api/v1/namespaces",
            &json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
        )
        .await;
    }
    let path = kind.path(&namespace);
    let created = send(server, Method::POST, &path, &object).await;
    if created {
        let name = document.name();
        send(
            server,
            Method::DELETE,
            &format!("{path}/{name}?gracePeriodSeconds=0"),
            &json!({}),
        )
        .await;
    }
    created
}

async fn send(server: &mut Server, method: Method, path: &str, object: &Value) -> bool {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(Body::from(object.to_string().into_bytes()));
    let Ok(request) = request else { return false };
    let Ok(answer) = server.call(request).await;
    answer.status().is_success()
}

#[tokio::test]
async fn ten_thousand_mutated_manifests_bring_nothing_down_and_are_judged_alike() {
    let now: Timestamp = NOW.parse().unwrap();
    let mut gate = Gate::new(now).await.unwrap();
    let mut server = Server::new(Options::new(Arc::new(move || now)));
    for crd in karpenter_api::crds::all() {
        let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        assert!(
            send(
                &mut server,
                Method::POST,
                path,
                &serde_json::to_value(&crd).unwrap()
            )
            .await
        );
    }
    let mut originals = Vec::new();
    input::parse("m", MANIFESTS, &mut originals).unwrap();
    let mut types = karpenter_kwok::catalog::generated();
    types.retain(|instance_type| instance_type.name.contains("-4x-amd64"));
    let mut dice = Dice(0x5EED);
    let (mut accepted, mut refused) = (0, 0);
    for round in 0..10_000 {
        let original = &originals[dice.roll(originals.len())];
        let mut documents = Vec::new();
        if round % 3 == 0 {
            let text = by_byte(
                &serde_saphyr::to_string(&original.object).unwrap(),
                &mut dice,
            );
            // Unreadable is an answer too; what counts is that one is given.
            if input::parse("m", &text, &mut documents).is_err() {
                refused += 1;
                continue;
            }
        } else {
            let object = by_structure(&original.object, &mut dice);
            if object["kind"].is_string() && object["apiVersion"].is_string() {
                documents.push(Document {
                    origin: "m#1".into(),
                    object,
                });
            }
        }
        for document in &documents {
            let Some(position) = Kind::position(document.api_version(), document.kind()) else {
                continue;
            };
            let kind = &KINDS[position];
            if kind.is_referred_to() {
                continue;
            }
            let offline = gate.admit(kind, document).await;
            let online = is_created(&mut server, kind, document).await;
            assert_eq!(
                offline.is_ok(),
                online,
                "offline and server differ on {}\n{offline:?}",
                document.object
            );
            if online { accepted += 1 } else { refused += 1 }
        }
        // The mutated object among the others, all the way to a plan.
        let world: Vec<Document> = originals
            .iter()
            .filter(|other| other.kind() != original.kind())
            .cloned()
            .chain(documents)
            .collect();
        if round % 10 == 0 {
            let admitted: Admitted = admit_all(world, &mut gate, now).await;
            let world = freeze(
                admitted,
                types.clone(),
                &gate,
                now,
                &ctx::Options::default(),
            );
            let options = karpenter_plan::Options::default();
            let (plan, report) = karpenter_plan::schedule(&world.snapshot, &options);
            assert_eq!(
                karpenter_plan::check::check(&world.snapshot, &plan, &report),
                Ok(())
            );
        }
    }
    assert!(
        accepted > 1_000 && refused > 1_000,
        "{accepted} accepted, {refused} refused"
    );
}
