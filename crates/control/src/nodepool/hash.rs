//! Which template a pool's claims were made from, so that a change of it is noticed.
//!
//! Pure. A release that computes the hash in another way must not make every node look changed: it
//! raises the version, and what carries an older version is stamped anew. Claims that had drifted
//! before keep their old hash, so that they stay drifted.

use std::sync::Arc;

use karpenter_api::{
    conditions::{self, DRIFTED},
    hash::{NODEPOOL_HASH_VERSION, nodepool_hash},
    labels::annotations::{NODEPOOL_HASH, NODEPOOL_HASH_VERSION as VERSION_KEY},
    nodeclaim::NodeClaim,
    nodepool::NodePool,
};

use crate::nodeclaim::draft::Conditioned as _;

/// What a pool's stamp needs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// Nothing.
    Keep,
    /// These claims to be stamped first, as given beside what was read.
    StampClaims(Vec<(Arc<NodeClaim>, NodeClaim)>),
    /// The pool to be stamped, as given.
    StampPool(Box<NodePool>),
}

/// Names the next step for a managed pool and the claims it made.
pub(crate) fn next_step(pool: &NodePool, claims: &[Arc<NodeClaim>]) -> Step {
    let hash = nodepool_hash(pool);
    let stamp = |key: &str| {
        pool.metadata
            .annotations
            .as_ref()
            .and_then(|all| all.get(key))
    };
    let outdated = stamp(VERSION_KEY).map(String::as_str) != Some(NODEPOOL_HASH_VERSION);
    if outdated {
        let stale: Vec<(Arc<NodeClaim>, NodeClaim)> = claims
            .iter()
            .filter_map(|claim| restamped(claim, &hash))
            .collect();
        if !stale.is_empty() {
            return Step::StampClaims(stale);
        }
    }
    if !outdated && stamp(NODEPOOL_HASH) == Some(&hash) {
        return Step::Keep;
    }
    let mut wanted = pool.clone();
    let all = wanted.metadata.annotations.get_or_insert_default();
    all.insert(NODEPOOL_HASH.to_owned(), hash);
    all.insert(VERSION_KEY.to_owned(), NODEPOOL_HASH_VERSION.to_owned());
    Step::StampPool(Box::new(wanted))
}

/// The claim with a stamp of the present version; `None` if it has one.
fn restamped(claim: &Arc<NodeClaim>, hash: &str) -> Option<(Arc<NodeClaim>, NodeClaim)> {
    let mut wanted = (**claim).clone();
    let all = wanted.metadata.annotations.get_or_insert_default();
    if all.get(VERSION_KEY).map(String::as_str) == Some(NODEPOOL_HASH_VERSION) {
        return None;
    }
    all.insert(VERSION_KEY.to_owned(), NODEPOOL_HASH_VERSION.to_owned());
    if conditions::get(claim.conditions(), DRIFTED).is_none() {
        all.insert(NODEPOOL_HASH.to_owned(), hash.to_owned());
    }
    Some((Arc::clone(claim), wanted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pool(annotations: &Value, label: &str, cpu: &str) -> NodePool {
        serde_json::from_value(json!({
            "apiVersion": "karpenter.sh/v1", "kind": "NodePool",
            "metadata": {"name": "p", "annotations": annotations},
            "spec": {
                "template": {
                    "metadata": {"labels": {"team": label}},
                    "spec": {
                        "nodeClassRef": {"group": "g", "kind": "K", "name": "n"},
                        "requirements": [],
                    },
                },
                "limits": {"cpu": cpu},
            },
        }))
        .unwrap()
    }

    fn claim(name: &str, version: &str, drifted: bool) -> Arc<NodeClaim> {
        let condition = json!({
            "type": "Drifted", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z",
        });
        Arc::new(
            serde_json::from_value(json!({
                "apiVersion": "karpenter.sh/v1", "kind": "NodeClaim",
                "metadata": {"name": name, "annotations": {
                    NODEPOOL_HASH: "old", VERSION_KEY: version,
                }},
                "spec": {
                    "nodeClassRef": {"group": "g", "kind": "K", "name": "n"}, "requirements": [],
                },
                "status": {"conditions": if drifted { vec![condition] } else { vec![] }},
            }))
            .unwrap(),
        )
    }

    fn stamped(step: Step) -> NodePool {
        match step {
            Step::StampPool(pool) => *pool,
            other @ (Step::Keep | Step::StampClaims(_)) => panic!("not stamped: {other:?}"),
        }
    }

    fn hash_of(pool: &NodePool) -> &str {
        &pool.metadata.annotations.as_ref().unwrap()[NODEPOOL_HASH]
    }

    #[test]
    fn a_changed_template_is_stamped_anew() {
        let first = stamped(next_step(&pool(&json!({}), "a", "1"), &[]));
        let annotations = json!(first.metadata.annotations);
        assert_eq!(annotations[VERSION_KEY], "v3");
        let limits = next_step(&pool(&annotations, "a", "2"), &[]);
        assert_eq!(limits, Step::Keep, "lifecycle/P4: limits");
        let template = stamped(next_step(&pool(&annotations, "b", "1"), &[]));
        assert_ne!(
            hash_of(&template),
            hash_of(&first),
            "lifecycle/P4: a template label"
        );
    }

    #[test]
    fn claims_are_brought_to_the_present_version_first() {
        let outdated = pool(&json!({NODEPOOL_HASH: "old", VERSION_KEY: "v2"}), "a", "1");
        let claims = [
            claim("plain", "v2", false),
            claim("drifted", "v2", true),
            claim("new", "v3", false),
        ];
        let Step::StampClaims(stale) = next_step(&outdated, &claims) else {
            panic!("claims go first");
        };
        let hash = nodepool_hash(&outdated);
        let found: Vec<(&str, &str, &str)> = stale
            .iter()
            .map(|(_, wanted)| {
                let all = wanted.metadata.annotations.as_ref().unwrap();
                let name = wanted.metadata.name.as_deref().unwrap();
                (name, all[VERSION_KEY].as_str(), all[NODEPOOL_HASH].as_str())
            })
            .collect();
        let expected = [("plain", "v3", hash.as_str()), ("drifted", "v3", "old")];
        assert_eq!(found, expected, "lifecycle/P5");
        let done: Vec<Arc<NodeClaim>> = stale
            .into_iter()
            .map(|(_, wanted)| Arc::new(wanted))
            .collect();
        assert_eq!(
            hash_of(&stamped(next_step(&outdated, &done))),
            hash,
            "lifecycle/P5"
        );
    }
}
