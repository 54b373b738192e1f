//! Manifests into the cluster: documents of YAML, applied in their order.

use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;
use thiserror::Error;

/// Why a manifest was not applied.
#[derive(Debug, Error)]
pub enum ApplyError {
    /// A document is no YAML.
    #[error("document {document} is not YAML: {message}")]
    Yaml {
        /// Its place in the text, from one.
        document: usize,
        /// What the reader said.
        message: String,
    },
    /// A document is no Kubernetes object.
    #[error("document {document} has no apiVersion, kind and metadata.name")]
    NoObject {
        /// Its place in the text, from one.
        document: usize,
    },
    /// The server does not know the kind, or did not take the object.
    #[error("document {document}, {object}: {source}")]
    Refused {
        /// Its place in the text, from one.
        document: usize,
        /// Kind and name.
        object: String,
        /// What the server said.
        source: kube::Error,
    },
}

/// The documents of a text, `List` kinds not unfolded; empty documents are left out but counted.
pub fn documents(text: &str) -> Result<Vec<(usize, Value)>, ApplyError> {
    let mut documents = Vec::new();
    let mut current = String::new();
    let mut number = 0;
    for line in text.lines().chain(["---"]) {
        if line.trim_end() != "---" {
            current.push_str(line);
            current.push('\n');
            continue;
        }
        number += 1;
        let value: Value = if current.trim().is_empty() {
            Value::Null
        } else {
            serde_saphyr::from_str(&current).map_err(|error| ApplyError::Yaml {
                document: number,
                message: error.to_string(),
            })?
        };
        current.clear();
        if !value.is_null() {
            documents.push((number, value));
        }
    }
    Ok(documents)
}

/// Kinds that live in no namespace, of those that manifests for a simulation are likely to hold.
const CLUSTER_WIDE: [&str; 12] = [
    "CSINode",
    "CustomResourceDefinition",
    "EC2NodeClass",
    "KWOKNodeClass",
    "Namespace",
    "Node",
    "NodeClaim",
    "NodeOverlay",
    "NodePool",
    "PersistentVolume",
    "PriorityClass",
    "StorageClass",
];

/// Applies all documents of a text: objects that are not there are created, others are merged over.
pub async fn apply(client: &Client, text: &str) -> Result<(), ApplyError> {
    for (document, value) in documents(text)? {
        let field = |pointer: &str| value.pointer(pointer).and_then(Value::as_str);
        let (Some(version), Some(kind), Some(name)) = (
            field("/apiVersion"),
            field("/kind"),
            field("/metadata/name"),
        ) else {
            return Err(ApplyError::NoObject { document });
        };
        let (group, plain) = version.split_once('/').unwrap_or(("", version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, plain, kind));
        let api: Api<DynamicObject> = if CLUSTER_WIDE.contains(&kind) {
            Api::all_with(client.clone(), &resource)
        } else {
            let namespace = field("/metadata/namespace").unwrap_or("default");
            Api::namespaced_with(client.clone(), namespace, &resource)
        };
        put(&api, name, &value)
            .await
            .map_err(|source| ApplyError::Refused {
                document,
                object: format!("{kind} {name}"),
                source,
            })?;
    }
    Ok(())
}

async fn put(api: &Api<DynamicObject>, name: &str, value: &Value) -> Result<(), kube::Error> {
    if api.get_opt(name).await?.is_some() {
        api.patch(name, &PatchParams::default(), &Patch::Merge(value))
            .await?;
        return Ok(());
    }
    let object = serde_json::from_value(value.clone()).map_err(kube::Error::SerdeError)?;
    api.create(&PostParams::default(), &object).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_keep_their_numbers() {
        let read = documents("a: 1\n---\n\n---\n# nothing\n---\nb: two\n").unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(read[0], (1, serde_json::json!({"a": 1})));
        assert_eq!(read[1], (4, serde_json::json!({"b": "two"})));
        assert!(matches!(
            documents("a: 1\n---\na: {"),
            Err(ApplyError::Yaml { document: 2, .. })
        ));
    }
}
