//! Conditions of nodes that changed, told as events.
//!
//! What claims and pools say is told by whoever writes it; what nodes say comes from their kubelets,
//! and from the controller that takes a silent one for lost.

use std::{sync::Arc, time::Duration};

use karpenter_api::objects::Node;

use crate::{ctx::Ctx, events::Event, mirror::Change, nodeclaim::write::transition};

/// Follows the nodes. A condition that was not there before has not changed.
pub(crate) fn subscribe(ctx: &Arc<Ctx>) {
    let events = ctx.events.clone();
    ctx.mirror.subscribe::<Node>(move |change| {
        for event in told(change) {
            events.publish(event);
        }
    });
}

fn told(change: &Change<Arc<Node>>) -> Vec<Event> {
    let (Some(old), Some(new)) = (&change.old, &change.new) else {
        return Vec::new();
    };
    if old.metadata.uid != new.metadata.uid {
        return Vec::new();
    }
    let changed = new.status.conditions.iter().filter_map(|condition| {
        let before = old.condition(&condition.type_)?;
        if before.status == condition.status {
            return None;
        }
        let message = transition(
            &condition.type_,
            &before.status,
            &condition.status,
            condition.reason.as_deref().unwrap_or_default(),
            condition.message.as_deref().unwrap_or_default(),
        );
        let event = Event::normal(&**new, &*condition.type_, message);
        Some(event.window(Duration::ZERO))
    });
    changed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mirror::Key;
    use serde_json::{Value, json};

    fn node(uid: &str, conditions: &Value) -> Arc<Node> {
        let node =
            json!({"metadata": {"name": "a", "uid": uid}, "status": {"conditions": conditions}});
        Arc::new(serde_json::from_value(node).unwrap())
    }

    fn check(row: &str, old: Option<Arc<Node>>, new: Option<Arc<Node>>, expected: &[&str]) {
        let change = Change {
            key: Key::cluster("a"),
            old,
            new,
        };
        let found = told(&change);
        let found: Vec<String> = found
            .iter()
            .map(|event| format!("{}: {}", event.reason, event.message))
            .collect();
        assert_eq!(found, expected, "{row}");
    }

    #[test]
    fn changes_of_status_are_told() {
        let ready = |status: &str, message: &str| json!([{"type": "Ready", "status": status, "reason": "Kubelet", "message": message}]);
        let of = |conditions: Value| Some(node("1", &conditions));
        let said = "Ready: Status condition transitioned, Type: Ready, Status: Unknown -> True, \
                    Reason: Kubelet";
        check(
            "ready",
            of(ready("Unknown", "")),
            of(ready("True", "")),
            &[said],
        );
        check(
            "with a message",
            of(ready("Unknown", "")),
            of(ready("True", "posting")),
            &[&format!("{said}, Message: posting")],
        );
        check(
            "heartbeat",
            of(ready("True", "a")),
            of(ready("True", "b")),
            &[],
        );
        check("first", of(json!([])), of(ready("True", "")), &[]);
        check("new", None, of(ready("True", "")), &[]);
        check("gone", of(ready("True", "")), None, &[]);
        let another = Some(node("2", &ready("True", "")));
        check("another node", of(ready("False", "")), another, &[]);
    }
}
