//! What an API server would have done with a manifest before we ever saw it: defaults, limits into
//! requests, priority classes, runtime overhead, and refusal. It *is* the embedded server that
//! answers here, so that a manifest is accepted offline exactly when the server accepts it.

use std::{collections::BTreeSet, sync::Arc};

use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use karpenter_apiserver::{Options, Server};
use kube::client::Body;
use serde_json::{Map, Value, json};
use tower::Service as _;

use super::kinds::Kind;
use crate::input::Document;

/// A manifest that a server would refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// File and document.
    pub(crate) origin: String,
    /// The field, where one is at fault.
    pub(crate) field: Option<String>,
    pub(crate) message: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.field {
            Some(field) => write!(formatter, "{} {field}: {}", self.origin, self.message),
            None => write!(formatter, "{}: {}", self.origin, self.message),
        }
    }
}

/// Admits manifests one by one.
pub(super) struct Gate {
    server: Server,
    /// Namespaces that exist behind it because some object names them.
    namespaces: BTreeSet<String>,
}

impl Gate {
    /// A gate at which it is `now`, with our kinds installed.
    pub(super) async fn new(now: Timestamp) -> anyhow::Result<Self> {
        let server = Server::new(Options::new(Arc::new(move || now)));
        let mut gate = Self {
            server,
            namespaces: BTreeSet::new(),
        };
        for crd in karpenter_api::crds::all() {
            let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
            gate.post(path, &serde_json::to_value(&crd)?)
                .await
                .map_err(|status| anyhow::anyhow!("our own definitions are refused: {status}"))?;
        }
        Ok(gate)
    }

    /// A client of the server behind the gate.
    pub(super) fn client(&self) -> kube::Client {
        self.server.client()
    }

    /// The object as the server would have stored it, with the metadata and status that it came
    /// with; or why it would be refused.
    pub(super) async fn admit(
        &mut self,
        kind: &Kind,
        document: &Document,
    ) -> Result<Value, Vec<Refused>> {
        let mut object = document.object.clone();
        let namespace = namespace(kind, &mut object);
        let given = object["metadata"].as_object().cloned().unwrap_or_default();
        let status = object
            .get("status")
            .filter(|status| !status.is_null())
            .cloned();
        // A dump says which version it was taken at; a new object has none.
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("resourceVersion");
        }
        // A namespace that nobody wrote down exists all the same.
        if kind.is_namespaced() && self.namespaces.insert(namespace.clone()) {
            let about =
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
            let _ = self.post("/api/v1/namespaces", &about).await;
        }
        let mut path = kind.path(&namespace);
        if !kind.is_referred_to() {
            path.push_str("?dryRun=All");
        }
        let mut admitted = match self.post(&path, &object).await {
            Ok(admitted) => admitted,
            // The four namespaces and two priority classes that every cluster has.
            Err(answer) if kind.is_referred_to() && answer["reason"] == "AlreadyExists" => object,
            Err(answer) => return Err(refusals(&document.origin, &answer)),
        };
        keep(&mut admitted, &given, status);
        Ok(admitted)
    }

    async fn post(&mut self, path: &str, object: &Value) -> Result<Value, Value> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header("content-type", "application/json")
            .body(Body::from(object.to_string().into_bytes()));
        let Ok(request) = request else {
            return Err(json!({"message": "the name or namespace makes no address"}));
        };
        let Ok(answer) = self.server.call(request).await;
        let (head, body) = answer.into_parts();
        let bytes = match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => return Err(json!({"message": error.to_string()})),
        };
        let value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        if head.status == StatusCode::CREATED || head.status == StatusCode::OK {
            Ok(value)
        } else {
            Err(value)
        }
    }
}

/// The namespace that the object belongs to; written into the object if it was left out.
fn namespace(kind: &Kind, object: &mut Value) -> String {
    if !kind.is_namespaced() {
        return String::new();
    }
    let named = object["metadata"]["namespace"].as_str().unwrap_or_default();
    let namespace = if named.is_empty() { "default" } else { named }.to_owned();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        // Anything but a text is the server's to refuse.
        let given = metadata.get("namespace").unwrap_or(&Value::Null);
        if given.is_null() || given == "" {
            metadata.insert("namespace".into(), namespace.clone().into());
        }
    }
    namespace
}

/// What a dump says of an object's life is truer than what a fresh server would write.
fn keep(admitted: &mut Value, given: &Map<String, Value>, status: Option<Value>) {
    if let Some(metadata) = admitted["metadata"].as_object_mut() {
        for field in [
            "uid",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "generation",
        ] {
            if let Some(value) = given.get(field).filter(|value| !value.is_null()) {
                metadata.insert(field.into(), value.clone());
            }
        }
        metadata.remove("resourceVersion");
        metadata.remove("managedFields");
    }
    if let (Some(status), Some(fields)) = (status, admitted.as_object_mut()) {
        fields.insert("status".into(), status);
    }
}

fn refusals(origin: &str, answer: &Value) -> Vec<Refused> {
    let causes = answer["details"]["causes"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let refused: Vec<Refused> = causes
        .iter()
        .filter_map(|cause| {
            let field = cause["field"]
                .as_str()
                .filter(|field| !field.is_empty() && *field != "<nil>");
            Some(Refused {
                origin: origin.to_owned(),
                field: field.map(ToOwned::to_owned),
                message: cause["message"].as_str()?.to_owned(),
            })
        })
        .collect();
    if !refused.is_empty() {
        return refused;
    }
    let message = answer["message"]
        .as_str()
        .unwrap_or("refused without a reason")
        .to_owned();
    vec![Refused {
        origin: origin.to_owned(),
        field: None,
        message,
    }]
}
