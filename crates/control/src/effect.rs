//! Every write we make to the cluster, each with its policy.
//!
//! Policies: metadata, spec and status are patched under an optimistic lock on the object that was
//! read, so that a decision about one state is never applied to another; deletions carry uid and
//! resource version as preconditions; creations carry nothing. What the server answers goes to the
//! mirror at once, so that the next decision of this process knows about it.
//!
//! A lost race is [`Error::Conflict`] and no defect: the object is looked at again.

use std::sync::Arc;

use karpenter_api::{Taint, objects::Node};
use kube::{
    Api,
    api::{DeleteParams, EvictParams, Patch, PatchParams, PostParams, Preconditions},
    core::Status,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    ctx::Ctx,
    mirror::{Key, Written},
    queue::Failure,
};

/// Why a write did not happen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object has changed since it was read, or its name is taken.
    #[error("{what} changed meanwhile")]
    Conflict {
        /// Kind and key of the object.
        what: String,
    },
    /// The object is gone.
    #[error("{what} is gone")]
    NotFound {
        /// Kind and key of the object.
        what: String,
    },
    /// Anything else that the server or the way to it says.
    #[error("writing {what} failed: {source}")]
    Api {
        /// Kind and key of the object.
        what: String,
        /// What the client says.
        #[source]
        source: Box<kube::Error>,
    },
}

impl Error {
    /// Sorts a client's error. `what` names the object.
    pub fn new(what: impl Into<String>, error: kube::Error) -> Self {
        let what = what.into();
        match status(&error) {
            Some(status) if status.is_conflict() || status.is_already_exists() => {
                Self::Conflict { what }
            }
            Some(status) if status.is_not_found() => Self::NotFound { what },
            _ => Self::Api {
                what,
                source: Box::new(error),
            },
        }
    }

    /// True if the object is gone.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// True if somebody else wrote first.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict { .. })
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Conflict { .. } | Error::NotFound { .. } => Self::Conflict(error.to_string()),
            Error::Api { .. } => Self::new(error),
        }
    }
}

/// The server's answer, if it gave one.
fn status(error: &kube::Error) -> Option<&Status> {
    if let kube::Error::Api(status) = error {
        Some(status)
    } else {
        None
    }
}

fn name_of<K: Written>(object: &K) -> String {
    format!("{} {}", K::kind(&()).to_lowercase(), object.key())
}

fn api_of<K: Written>(ctx: &Ctx, object: &K) -> Api<K> {
    K::api(
        ctx.client.clone(),
        object.meta().namespace.as_deref().unwrap_or_default(),
    )
}

/// Takes in what the server answered, without what nobody reads, as watches do: managed fields are larger than the
/// rest of an object.
fn take_in<K: Written>(ctx: &Ctx, mut answer: K) -> Arc<K> {
    answer.meta_mut().managed_fields = None;
    ctx.mirror.observe(answer)
}

/// Creates an object; `generateName` is the server's business.
pub async fn create<K: Written + Serialize>(ctx: &Ctx, object: &K) -> Result<Arc<K>, Error> {
    let api = api_of(ctx, object);
    let created = api
        .create(&PostParams::default(), object)
        .await
        .map_err(|error| Error::new(name_of(object), error))?;
    Ok(take_in(ctx, created))
}

/// Merge-patches metadata or spec of the object as it was read.
pub async fn patch<K: Written>(ctx: &Ctx, read: &K, patch: Value) -> Result<Arc<K>, Error> {
    let patch = locked(read, patch);
    let answer = api_of(ctx, read)
        .patch(name(read), &PatchParams::default(), &Patch::Merge(patch))
        .await
        .map_err(|error| Error::new(name_of(read), error))?;
    Ok(take_in(ctx, answer))
}

/// Merge-patches the status of the object as it was read; `status` is the content of `.status`.
pub async fn patch_status<K: Written>(ctx: &Ctx, read: &K, status: Value) -> Result<Arc<K>, Error> {
    let patch = locked(read, json!({ "status": status }));
    let answer = api_of(ctx, read)
        .patch_status(name(read), &PatchParams::default(), &Patch::Merge(patch))
        .await
        .map_err(|error| Error::new(name_of(read), error))?;
    Ok(take_in(ctx, answer))
}

/// Deletes exactly the object that was read, in the state in which it was read.
pub async fn delete<K: Written>(ctx: &Ctx, read: &K) -> Result<(), Error> {
    delete_with(
        ctx,
        read,
        DeleteParams::default().preconditions(Preconditions {
            uid: read.meta().uid.clone(),
            resource_version: read.meta().resource_version.clone(),
        }),
    )
    .await
}

/// Deletes the object that was read whatever state it is in by now: for decisions that depend on its
/// identity only.
pub async fn delete_by_uid<K: Written>(ctx: &Ctx, read: &K) -> Result<(), Error> {
    delete_with(
        ctx,
        read,
        DeleteParams::default().preconditions(Preconditions {
            uid: read.meta().uid.clone(),
            resource_version: None,
        }),
    )
    .await
}

/// Deletes with parameters of the caller's, such as a grace period.
pub async fn delete_with<K: Written>(
    ctx: &Ctx,
    read: &K,
    parameters: DeleteParams,
) -> Result<(), Error> {
    let gone = || {
        let uid = read.meta().uid.as_deref().unwrap_or_default();
        ctx.mirror.delete::<K>(&read.key(), uid);
    };
    match api_of(ctx, read).delete(name(read), &parameters).await {
        // With finalizers or a grace period it stays for a while, marked.
        Ok(answer) => match answer
            .left()
            .filter(|left| left.meta().deletion_timestamp.is_some())
        {
            Some(object) => {
                take_in(ctx, object);
            }
            None => gone(),
        },
        Err(error) => {
            let error = Error::new(name_of(read), error);
            if error.is_not_found() {
                gone();
            }
            return Err(error);
        }
    }
    Ok(())
}

/// What became of an eviction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Eviction {
    /// The pod is going.
    Evicted,
    /// There is no such pod any more (404), or another one has its name (409).
    Gone(u16),
    /// A disruption budget says no; the server's words.
    Blocked(String),
}

/// Asks the server to evict a pod, with its own grace period.
pub async fn evict(ctx: &Ctx, pod: &Key, uid: &str) -> Result<Eviction, Error> {
    let api: Api<k8s_openapi::api::core::v1::Pod> =
        Api::namespaced(ctx.client.clone(), &pod.namespace);
    let preconditions = Preconditions {
        uid: Some(uid.to_owned()),
        resource_version: None,
    };
    let parameters = EvictParams {
        delete_options: Some(DeleteParams::default().preconditions(preconditions)),
        ..EvictParams::default()
    };
    match api.evict(&pod.name, &parameters).await {
        Ok(_) => Ok(Eviction::Evicted),
        Err(error) => match status(&error).map(|status| (status.code, &status.message)) {
            Some((429, message)) => Ok(Eviction::Blocked(message.clone())),
            Some((code @ (404 | 409), _)) => Ok(Eviction::Gone(code)),
            _ => Err(Error::new(format!("eviction of pod {pod}"), error)),
        },
    }
}

/// Adds a taint to a node unless one with its key and effect is there. True if it was added.
pub async fn taint(ctx: &Ctx, node: &Node, taint: &Taint) -> Result<bool, Error> {
    if node
        .spec
        .taints
        .iter()
        .any(|present| present.matches(taint))
    {
        return Ok(false);
    }
    let mut taints = node.spec.taints.clone();
    taints.push(taint.clone());
    patch(ctx, node, json!({ "spec": { "taints": taints } }))
        .await
        .map(|_| true)
}

/// Removes the taint with this key and effect from a node. True if there was one.
pub async fn untaint(ctx: &Ctx, node: &Node, taint: &Taint) -> Result<bool, Error> {
    let mut taints = node.spec.taints.clone();
    taints.retain(|present| !present.matches(taint));
    if taints.len() == node.spec.taints.len() {
        return Ok(false);
    }
    // An empty list would stay an empty list; null removes the field as an update would.
    let taints = if taints.is_empty() {
        Value::Null
    } else {
        json!(taints)
    };
    patch(ctx, node, json!({ "spec": { "taints": taints } }))
        .await
        .map(|_| true)
}

fn name<K: Written>(object: &K) -> &str {
    object.meta().name.as_deref().unwrap_or_default()
}

/// Adds the optimistic lock to a merge patch.
fn locked<K: Written>(read: &K, mut patch: Value) -> Value {
    patch["metadata"]["resourceVersion"] = json!(read.meta().resource_version);
    patch["metadata"]["uid"] = json!(read.meta().uid);
    patch
}
