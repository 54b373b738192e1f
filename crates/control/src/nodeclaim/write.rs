//! How an object that was thought over gets back to the cluster: the difference, and who is told.
//!
//! Nothing is written if nothing changed. Each condition that changed its status is told as an event,
//! which is how people follow a claim or a pool with `kubectl describe`.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use karpenter_api::conditions;
use kube::Resource;
use serde::Serialize;
use serde_json::{Value, json};

use super::draft::{Conditioned, merge_patch, status_patch};
use crate::{
    ctx::Ctx,
    effect,
    events::{Event, Recorder},
    mirror::Written,
    queue::{Failure, Next},
};

/// The pause before an object is looked at again after somebody else wrote it first. Usually the
/// watch brings the newer state earlier.
const AFTER_CONFLICT: Duration = Duration::from_millis(100);

/// Writes the difference in metadata and spec. `None` if there is none.
pub(crate) async fn changes<K: Written + Serialize>(
    ctx: &Ctx,
    read: &K,
    wanted: &K,
) -> Result<Option<Arc<K>>, effect::Error> {
    let mut patch = merge_patch(&manifest(read), &manifest(wanted)).unwrap_or_default();
    if let Some(members) = patch.as_object_mut() {
        members.retain(|name, _| name == "metadata" || name == "spec");
    }
    if patch.as_object().is_none_or(serde_json::Map::is_empty) {
        return Ok(None);
    }
    effect::patch(ctx, read, patch).await.map(Some)
}

/// Writes the difference in status and tells about conditions that changed. `None` if there is none.
pub(crate) async fn status<K: Written + Conditioned>(
    ctx: &Ctx,
    read: &K,
    wanted: &K,
) -> Result<Option<Arc<K>>, effect::Error> {
    let Some(patch) = status_patch(read, wanted) else {
        return Ok(None);
    };
    let written = effect::patch_status(ctx, read, patch).await?;
    tell_transitions(&ctx.events, read, wanted);
    Ok(Some(written))
}

/// Removes a finalizer, and tells about it. `None` if it is not there.
pub(crate) async fn release<K: Written>(
    ctx: &Ctx,
    read: &K,
    finalizer: &str,
) -> Result<Option<Arc<K>>, effect::Error> {
    let present = read.meta().finalizers.as_deref().unwrap_or_default();
    let left: Vec<&String> = present.iter().filter(|name| *name != finalizer).collect();
    if left.len() == present.len() {
        return Ok(None);
    }
    // The last one takes the field along, as an update without it would.
    let left = if left.is_empty() {
        Value::Null
    } else {
        json!(left)
    };
    let patch = json!({"metadata": {"finalizers": left}});
    let written = effect::patch(ctx, read, patch).await?;
    let event = Event::normal(read, "Finalized", format!("Finalized {finalizer}"));
    ctx.events.publish(event.window(Duration::ZERO));
    Ok(Some(written))
}

/// What follows from a write that failed: a lost race is looked at again soon, and is no failure.
pub(crate) fn again(error: effect::Error) -> Result<Next, Failure> {
    match error {
        effect::Error::Conflict { .. } => Ok(Next::After(AFTER_CONFLICT)),
        effect::Error::NotFound { .. } => Ok(Next::Wait),
        error @ effect::Error::Api { .. } => Err(error.into()),
    }
}

/// Tells about each condition whose status is another one now. One that every object of the kind has
/// was Unknown before it was there; of the others the first sight is no change.
fn tell_transitions<K: Conditioned>(events: &Recorder, before: &K, after: &K) {
    let types: BTreeSet<&str> = after
        .conditions()
        .iter()
        .map(|condition| condition.type_.as_str())
        .collect();
    for type_ in types {
        let Some(new) = conditions::get(after.conditions(), type_) else {
            continue;
        };
        let old = match conditions::get(before.conditions(), type_) {
            Some(condition) => condition.status.as_str(),
            None if type_ == conditions::READY || K::DEPENDENTS.contains(&type_) => {
                conditions::UNKNOWN
            }
            None => continue,
        };
        if old == new.status {
            continue;
        }
        let message = transition(type_, old, &new.status, &new.reason, &new.message);
        events.publish(Event::normal(after, type_, message).window(Duration::ZERO));
    }
}

/// The text about a condition that changed its status.
pub(crate) fn transition(type_: &str, old: &str, new: &str, reason: &str, message: &str) -> String {
    let mut text = format!(
        "Status condition transitioned, Type: {type_}, Status: {old} -> {new}, Reason: {reason}"
    );
    if !message.is_empty() {
        text.push_str(", Message: ");
        text.push_str(message);
    }
    text
}

/// Our own types always have a JSON form: their maps have string keys.
fn manifest<K: Resource + Serialize>(object: &K) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}
