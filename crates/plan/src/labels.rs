//! A set of labels or annotations as shared strings.
//!
//! Pods of one workload share one allocation; a selector with a key nobody interned is still served.
//! This module refuses to know what any label means.

use alloc::{string::String, sync::Arc, vec::Vec};

/// Sorted, shared, immutable key-value pairs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels(Arc<[(Arc<str>, Arc<str>)]>);

impl Default for Labels {
    fn default() -> Self {
        Self(Arc::from(Vec::new()))
    }
}

impl Labels {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Arc<str>> {
        let at = self
            .0
            .binary_search_by(|(name, _)| (**name).cmp(key))
            .ok()?;
        Some(&self.0[at].1)
    }

    /// True when the key has exactly this value.
    pub fn is(&self, key: &str, value: &str) -> bool {
        self.get(key).is_some_and(|found| **found == *value)
    }

    /// Pairs in key order.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when there is no pair.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many values share the allocation.
    pub fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// True when only one holder of the allocation is left.
    pub fn is_unshared(&self) -> bool {
        self.holders() == 1
    }
}

impl FromIterator<(Arc<str>, Arc<str>)> for Labels {
    /// Later pairs win over earlier ones with the same key.
    fn from_iter<I: IntoIterator<Item = (Arc<str>, Arc<str>)>>(pairs: I) -> Self {
        let mut sorted: Vec<(Arc<str>, Arc<str>)> = pairs.into_iter().collect();
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        let mut kept: Vec<(Arc<str>, Arc<str>)> = Vec::with_capacity(sorted.len());
        for pair in sorted {
            match kept.last_mut() {
                Some(last) if last.0 == pair.0 => *last = pair,
                _ => kept.push(pair),
            }
        }
        Self(Arc::from(kept))
    }
}

impl FromIterator<(String, String)> for Labels {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        pairs
            .into_iter()
            .map(|(key, value)| (Arc::from(key), Arc::from(value)))
            .collect()
    }
}
