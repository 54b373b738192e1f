//! An object whose status is being thought over.
//!
//! Pure. A [`Draft`] is a copy of the object as it was read, with every condition it must have; it is
//! changed step by step, finished, and compared with what was read. Only a difference is written. What
//! setting a condition means is the business of `api::conditions`.

use jiff::Timestamp;
use karpenter_api::{
    Condition,
    conditions::{self, NODECLAIM_DEPENDENTS, NODEPOOL_DEPENDENTS},
    nodeclaim::NodeClaim,
    nodepool::NodePool,
};
use kube::Resource;
use serde_json::{Map, Value};

/// A kind that reports conditions with a root that follows from some of them.
pub(crate) trait Conditioned: Resource<DynamicType = ()> + Clone {
    /// The conditions that the root follows from; without any there is no root.
    const DEPENDENTS: &'static [&'static str];
    /// The conditions as they are stored.
    fn conditions(&self) -> &[Condition];
    /// The conditions, made if there were none.
    fn conditions_mut(&mut self) -> &mut Vec<Condition>;
    /// The whole status as it is written.
    fn status_value(&self) -> Value;
}

/// Says of a kind whose conditions stand in `status.conditions` which of them the root follows from.
macro_rules! conditioned {
    ($kind:ty, $dependents:expr) => {
        impl $crate::nodeclaim::draft::Conditioned for $kind {
            const DEPENDENTS: &'static [&'static str] = $dependents;

            fn conditions(&self) -> &[karpenter_api::Condition] {
                self.status
                    .as_ref()
                    .and_then(|status| status.conditions.as_deref())
                    .unwrap_or_default()
            }

            fn conditions_mut(&mut self) -> &mut Vec<karpenter_api::Condition> {
                self.status
                    .get_or_insert_default()
                    .conditions
                    .get_or_insert_default()
            }

            fn status_value(&self) -> serde_json::Value {
                // Our own types always have a JSON form: their maps have string keys.
                serde_json::to_value(&self.status).unwrap_or_default()
            }
        }
    };
}

pub(crate) use conditioned;

conditioned!(NodeClaim, &NODECLAIM_DEPENDENTS);
conditioned!(NodePool, &NODEPOOL_DEPENDENTS);

/// An object under consideration.
#[derive(Clone, Debug)]
pub(crate) struct Draft<K> {
    /// The object as it shall become.
    pub(crate) object: K,
    now: Timestamp,
    generation: i64,
    changed: bool,
}

impl<K: Conditioned> Draft<K> {
    /// Begins with the object as it was read. Missing dependents are Unknown since its creation.
    pub(crate) fn new(read: &K, now: Timestamp) -> Self {
        let mut object = read.clone();
        let generation = object.meta().generation.unwrap_or_default();
        let created = object
            .meta()
            .creation_timestamp
            .as_ref()
            .map_or(now, |time| time.0);
        // Only if something is missing: the root is not to be judged before its dependents are.
        let missing = |type_: &&str| conditions::get(object.conditions(), type_).is_none();
        let changed = K::DEPENDENTS.iter().any(missing);
        if changed {
            let all = object.conditions_mut();
            conditions::initialize(all, K::DEPENDENTS, created, now, generation);
        }
        Self {
            object,
            now,
            generation,
            changed,
        }
    }

    /// A condition. The dependents are always there.
    pub(crate) fn get(&self, type_: &str) -> Option<&Condition> {
        conditions::get(self.object.conditions(), type_)
    }

    /// Whether the condition is there and True.
    pub(crate) fn is_true(&self, type_: &str) -> bool {
        conditions::is_true(self.object.conditions(), type_)
    }

    /// Whether the condition is neither True nor False; one that is not there counts.
    pub(crate) fn is_unknown(&self, type_: &str) -> bool {
        self.get(type_)
            .is_none_or(|found| !found.is_true() && !found.is_false())
    }

    /// When the condition last changed its status.
    pub(crate) fn since(&self, type_: &str) -> Option<Timestamp> {
        self.get(type_)
            .map(|condition| condition.last_transition_time.0)
    }

    /// Sets a condition to True, its type being the reason.
    pub(crate) fn set_true(&mut self, type_: &str) {
        self.set_true_because(type_, "", "");
    }

    /// Sets a condition to True with a reason.
    pub(crate) fn set_true_because(&mut self, type_: &str, reason: &str, message: &str) {
        let (now, generation) = (self.now, self.generation);
        let all = self.object.conditions_mut();
        self.changed |= conditions::set_true(all, type_, reason, message, now, generation);
    }

    /// Sets a condition to False.
    pub(crate) fn set_false(&mut self, type_: &str, reason: &str, message: &str) {
        let (now, generation) = (self.now, self.generation);
        let all = self.object.conditions_mut();
        self.changed |= conditions::set_false(all, type_, reason, message, now, generation);
    }

    /// Sets a condition to Unknown.
    pub(crate) fn set_unknown(&mut self, type_: &str, reason: &str, message: &str) {
        let (now, generation) = (self.now, self.generation);
        let all = self.object.conditions_mut();
        self.changed |= conditions::set_unknown(all, type_, reason, message, now, generation);
    }

    /// Confirms a condition as it is, so that it speaks of the present generation.
    pub(crate) fn confirm(&mut self, type_: &str) {
        let generation = self.generation;
        for condition in self.object.conditions_mut() {
            if condition.type_ == type_ && condition.observed_generation != Some(generation) {
                condition.observed_generation = Some(generation);
                self.changed = true;
            }
        }
    }

    /// Removes a condition that the root does not follow from.
    pub(crate) fn clear(&mut self, type_: &str) {
        self.changed |= conditions::clear(self.object.conditions_mut(), type_);
    }

    /// The object with its root condition; exactly what was read if nothing was changed.
    ///
    /// Deletion counts up the generation. On an object that is going, one condition that was set
    /// lifts the others along, so that the root does not turn Unknown for no other reason.
    pub(crate) fn finish(mut self) -> K {
        let (now, generation) = (self.now, self.generation);
        let deleting = self.object.meta().deletion_timestamp.is_some();
        if self.changed {
            let all = self.object.conditions_mut();
            for condition in all.iter_mut().filter(|_| deleting) {
                condition.observed_generation = Some(generation);
            }
            if !K::DEPENDENTS.is_empty() {
                conditions::roll_up(all, K::DEPENDENTS, now, generation);
            }
        }
        self.object
    }
}

/// What a merge patch must hold to turn one status into another; `None` if they are equal.
pub(crate) fn status_patch<K: Conditioned>(read: &K, wanted: &K) -> Option<Value> {
    merge_patch(&read.status_value(), &wanted.status_value())
}

/// The merge patch between two values: changed members, and `null` for those that went.
pub(crate) fn merge_patch(before: &Value, after: &Value) -> Option<Value> {
    if before == after {
        return None;
    }
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        return Some(after.clone());
    };
    let mut patch = Map::new();
    for (key, value) in new {
        if let Some(part) = merge_patch(old.get(key).unwrap_or(&Value::Null), value) {
            patch.insert(key.clone(), part);
        }
    }
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    Some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use super::*;
    use karpenter_api::conditions::{
        CONSOLIDATABLE, INITIALIZED, INSTANCE_TERMINATING, LAUNCHED, READY, REGISTERED,
    };
    use serde_json::json;

    fn now() -> Timestamp {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    /// A claim of the given generation; all dependents are True as of generation 1.
    fn claim(generation: i64, deleting: bool) -> NodeClaim {
        let condition = |type_: &str| {
            json!({
                "type": type_, "status": "True", "reason": type_, "message": "",
                "lastTransitionTime": "2026-01-01T11:00:00Z", "observedGeneration": 1,
            })
        };
        serde_json::from_value(json!({
            "apiVersion": "karpenter.sh/v1", "kind": "NodeClaim",
            "metadata": {
                "name": "a", "generation": generation,
                "creationTimestamp": "2026-01-01T10:00:00Z",
                "deletionTimestamp": deleting.then_some("2026-01-01T11:30:00Z"),
            },
            "spec": {
                "nodeClassRef": {"group": "g", "kind": "K", "name": "n"}, "requirements": [],
            },
            "status": {"conditions": [
                condition(LAUNCHED), condition(REGISTERED), condition(INITIALIZED),
                condition(READY),
            ]},
        }))
        .unwrap()
    }

    fn check(row: &str, read: &NodeClaim, change: impl FnOnce(&mut Draft<NodeClaim>), ready: &str) {
        let mut draft = Draft::new(read, now());
        change(&mut draft);
        let done = draft.finish();
        let root = conditions::get(done.conditions(), READY).unwrap();
        let generation = root.observed_generation.unwrap();
        assert_eq!(format!("{}@{generation}", root.status), ready, "{row}");
    }

    #[test]
    fn the_root_follows_its_dependents_and_their_generation() {
        check(
            "lifecycle/L16",
            &claim(2, false),
            |draft| {
                for type_ in [LAUNCHED, REGISTERED, INITIALIZED] {
                    draft.confirm(type_);
                }
            },
            "True@2",
        );
        check(
            "in part",
            &claim(2, false),
            |draft| draft.confirm(LAUNCHED),
            "Unknown@2",
        );
        check("not confirmed", &claim(2, false), |_| {}, "True@1");
        check(
            "lifecycle/D9",
            &claim(2, true),
            |draft| draft.set_true(INSTANCE_TERMINATING),
            "True@2",
        );
        check(
            "another condition",
            &claim(1, false),
            |draft| draft.set_true(CONSOLIDATABLE),
            "True@1",
        );
        let mut bare = claim(1, false);
        bare.status = None;
        check("nothing known", &bare, |_| {}, "Unknown@1");
        let draft = Draft::new(&bare, now());
        let created = "2026-01-01T10:00:00Z".parse().unwrap();
        assert_eq!(
            draft.since(REGISTERED),
            Some(created),
            "unknown since the creation"
        );
    }

    #[test]
    fn a_patch_holds_the_difference_only() {
        for (before, after, patch) in [
            (json!({"a": 1}), json!({"a": 1}), None),
            (
                json!({"a": 1, "b": 2}),
                json!({"a": 1, "b": 3}),
                Some(json!({"b": 3})),
            ),
            (
                json!({"a": 1, "b": 2}),
                json!({"a": 1}),
                Some(json!({"b": null})),
            ),
            (
                json!({"m": {"x": 1, "y": 2}}),
                json!({"m": {"x": 1}}),
                Some(json!({"m": {"y": null}})),
            ),
            (
                json!({"l": [1, 2]}),
                json!({"l": [1]}),
                Some(json!({"l": [1]})),
            ),
            (Value::Null, json!({"a": 1}), Some(json!({"a": 1}))),
        ] {
            assert_eq!(merge_patch(&before, &after), patch);
        }
    }
}
