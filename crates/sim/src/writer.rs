//! Performs the writes of the mini control plane and reads their answers.

use kube::Client;
use kube::Resource;
use kube::core::Request;
use kube::core::params::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use thiserror::Error;

use crate::cluster::{Kind, Object};
use crate::objects::{
    BudgetWire, DaemonSetWire, DeploymentWire, JobWire, Key, NamespaceWire, NodeWire, PodWire,
    ReplicaSetWire,
};
use crate::write::Action;

/// Why a write was not done.
#[derive(Debug, Error)]
pub(crate) enum WriteError {
    #[error("the server refused: {0}")]
    Server(#[from] kube::Error),
    #[error("the request could not be built: {0}")]
    Request(#[from] kube::core::request::Error),
    #[error("the body could not be written: {0}")]
    Body(#[from] serde_json::Error),
}

/// Speaks to the API server.
pub(crate) struct Writer {
    client: Client,
}

impl Writer {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Performs one write; the object as it is afterwards, where the server says it.
    pub(crate) async fn perform(&self, action: &Action) -> Result<Option<Object>, WriteError> {
        match action {
            Action::Create {
                kind,
                namespace,
                body,
            } => {
                let request = path(*kind, namespace)
                    .create(&PostParams::default(), serde_json::to_vec(body)?)?;
                self.answer(*kind, request).await.map(Some)
            }
            Action::Patch { kind, key, body } => {
                let request = path(*kind, &key.namespace).patch(
                    &key.name,
                    &PatchParams::default(),
                    &Patch::Merge(body),
                )?;
                self.answer(*kind, request).await.map(Some)
            }
            Action::PatchStatus { kind, key, body } => {
                let request = path(*kind, &key.namespace).patch_subresource(
                    "status",
                    &key.name,
                    &PatchParams::default(),
                    &Patch::Merge(body),
                )?;
                self.answer(*kind, request).await.map(Some)
            }
            Action::Delete {
                kind,
                key,
                uid,
                grace_seconds,
            } => self
                .delete(*kind, key, uid, *grace_seconds)
                .await
                .map(|()| None),
            Action::Bind { pod, uid, node } => self.bind(pod, uid, node).await.map(|()| None),
        }
    }

    async fn answer(
        &self,
        kind: Kind,
        request: http::Request<Vec<u8>>,
    ) -> Result<Object, WriteError> {
        let client = &self.client;
        Ok(match kind {
            Kind::Namespace => {
                Object::Namespace(read::<NamespaceWire>(client, request).await?.into())
            }
            Kind::Node => Object::Node(read::<NodeWire>(client, request).await?.into()),
            Kind::Deployment => {
                Object::Deployment(read::<DeploymentWire>(client, request).await?.into())
            }
            Kind::ReplicaSet => {
                Object::ReplicaSet(read::<ReplicaSetWire>(client, request).await?.into())
            }
            Kind::DaemonSet => {
                Object::DaemonSet(read::<DaemonSetWire>(client, request).await?.into())
            }
            Kind::Job => Object::Job(read::<JobWire>(client, request).await?.into()),
            Kind::Budget => Object::Budget(read::<BudgetWire>(client, request).await?.into()),
            Kind::Pod => Object::Pod(read::<PodWire>(client, request).await?.into()),
        })
    }

    async fn delete(
        &self,
        kind: Kind,
        key: &Key,
        uid: &str,
        grace_seconds: Option<u32>,
    ) -> Result<(), WriteError> {
        let mut params = DeleteParams::background().preconditions(Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: None,
        });
        params.grace_period_seconds = grace_seconds;
        let request = path(kind, &key.namespace).delete(&key.name, &params)?;
        match self.client.request::<Value>(request).await {
            // Already gone is what was asked for.
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            answer => answer.map(|_| ()).map_err(WriteError::from),
        }
    }

    async fn bind(&self, pod: &Key, uid: &str, node: &str) -> Result<(), WriteError> {
        let body = json!({
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": { "name": pod.name, "namespace": pod.namespace, "uid": uid },
            "target": { "apiVersion": "v1", "kind": "Node", "name": node },
        });
        let request = path(Kind::Pod, &pod.namespace).create_subresource(
            "binding",
            &pod.name,
            &PostParams::default(),
            serde_json::to_vec(&body)?,
        )?;
        self.client.request::<Value>(request).await?;
        Ok(())
    }
}

async fn read<K: DeserializeOwned>(
    client: &Client,
    request: http::Request<Vec<u8>>,
) -> Result<K, WriteError> {
    Ok(client.request::<K>(request).await?)
}

fn path(kind: Kind, namespace: &str) -> Request {
    let namespace = (!namespace.is_empty()).then_some(namespace);
    Request::new(match kind {
        Kind::Namespace => NamespaceWire::url_path(&(), None),
        Kind::Node => NodeWire::url_path(&(), None),
        Kind::Deployment => DeploymentWire::url_path(&(), namespace),
        Kind::ReplicaSet => ReplicaSetWire::url_path(&(), namespace),
        Kind::DaemonSet => DaemonSetWire::url_path(&(), namespace),
        Kind::Job => JobWire::url_path(&(), namespace),
        Kind::Budget => BudgetWire::url_path(&(), namespace),
        Kind::Pod => PodWire::url_path(&(), namespace),
    })
}
