//! What every object carries: identity, labels, owner, life and conditions.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Deserializer};

/// Namespace and name; cluster-wide objects have an empty namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    pub(crate) fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

/// The controller that an object belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) uid: String,
}

/// The metadata that controllers read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) key: Key,
    pub(crate) uid: String,
    pub(crate) version: u64,
    pub(crate) generation: i64,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) owner: Option<Owner>,
    pub(crate) created: Timestamp,
    /// When the object is gone at the latest, once its deletion was asked for.
    pub(crate) deleting: Option<Timestamp>,
    pub(crate) grace_seconds: i64,
}

/// Applied manifests are kept in an annotation by kubectl; nobody here reads it and it is as large as the object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

impl From<ObjectMeta> for Meta {
    fn from(wire: ObjectMeta) -> Self {
        let mut annotations = wire.annotations.unwrap_or_default();
        annotations.remove(LAST_APPLIED);
        let owner = wire
            .owner_references
            .unwrap_or_default()
            .into_iter()
            .find(|owner| owner.controller == Some(true))
            .map(|owner| Owner {
                kind: owner.kind,
                name: owner.name,
                uid: owner.uid,
            });
        Self {
            key: Key {
                namespace: wire.namespace.unwrap_or_default(),
                name: wire.name.unwrap_or_default(),
            },
            uid: wire.uid.unwrap_or_default(),
            version: wire
                .resource_version
                .and_then(|version| version.parse().ok())
                .unwrap_or_default(),
            generation: wire.generation.unwrap_or_default(),
            labels: wire.labels.unwrap_or_default(),
            annotations,
            owner,
            created: wire
                .creation_timestamp
                .map_or(Timestamp::UNIX_EPOCH, |time| time.0),
            deleting: wire.deletion_timestamp.map(|time| time.0),
            grace_seconds: wire.deletion_grace_period_seconds.unwrap_or_default(),
        }
    }
}

/// One entry of a `status.conditions` list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Condition {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) status: String,
    pub(crate) reason: Option<String>,
    pub(crate) message: Option<String>,
    pub(crate) last_transition_time: Option<Timestamp>,
}

impl Condition {
    pub(crate) fn holds(&self) -> bool {
        self.status == "True"
    }
}

/// A condition as it is written.
pub(crate) fn condition(
    kind: &str,
    status: bool,
    reason: &str,
    message: &str,
    since: Timestamp,
) -> serde_json::Value {
    let mut value = serde_json::json!({
        "type": kind,
        "status": if status { "True" } else { "False" },
        "lastTransitionTime": stamp(since),
    });
    if !reason.is_empty() {
        value["reason"] = reason.into();
    }
    if !message.is_empty() {
        value["message"] = message.into();
    }
    value
}

/// A time as the API writes it: whole seconds.
pub(crate) fn stamp(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Reads `null` like an absent field.
pub(crate) fn absent<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A count or a share of some total.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum IntOrPercent {
    Int(i64),
    Text(String),
}

impl IntOrPercent {
    /// The count that this is of `total`; text that is no percentage counts as zero.
    pub(crate) fn of(&self, total: i64, round_up: bool) -> i64 {
        match self {
            Self::Int(count) => *count,
            Self::Text(text) => {
                let percent = text
                    .strip_suffix('%')
                    .and_then(|number| number.parse::<i64>().ok())
                    .unwrap_or_default();
                let product = percent.saturating_mul(total);
                product.div_euclid(100) + i64::from(round_up && product.rem_euclid(100) != 0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_round_as_asked() {
        let rows = [
            ("25%", 10, true, 3),
            ("25%", 10, false, 2),
            ("100%", 7, false, 7),
            ("x", 7, true, 0),
        ];
        for (text, total, up, expected) in rows {
            assert_eq!(
                IntOrPercent::Text(text.into()).of(total, up),
                expected,
                "{text} of {total}"
            );
        }
        assert_eq!(IntOrPercent::Int(4).of(1, true), 4);
    }

    #[test]
    fn times_are_written_in_whole_seconds() {
        assert_eq!(
            stamp("2026-01-02T03:04:05.678Z".parse().unwrap()),
            "2026-01-02T03:04:05Z"
        );
    }
}
