//! Taints and tolerations, as the Kubernetes scheduler matches them.
//!
//! Every taint must be tolerated whatever its effect: a node with `PreferNoSchedule` or `NoExecute` is
//! treated as one with `NoSchedule`.

use alloc::{sync::Arc, vec::Vec};

/// A taint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Taint {
    /// The key.
    pub key: Arc<str>,
    /// The value, empty when there is none.
    pub value: Arc<str>,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: Arc<str>,
}

/// How a toleration compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TolerationOperator {
    /// The values are equal.
    Equal,
    /// Any value.
    Exists,
    /// The taint's value is a smaller integer.
    LessThan,
    /// The taint's value is a larger integer.
    GreaterThan,
    /// Anything else; tolerates nothing.
    Unknown,
}

/// A toleration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Toleration {
    /// The key; empty with `Exists` matches all keys.
    pub key: Arc<str>,
    /// How the value is compared.
    pub operator: TolerationOperator,
    /// The value.
    pub value: Arc<str>,
    /// The effect; empty matches all effects.
    pub effect: Arc<str>,
}

impl Toleration {
    /// True when this toleration tolerates the taint.
    pub fn tolerates(&self, taint: &Taint) -> bool {
        if !self.effect.is_empty() && self.effect != taint.effect {
            return false;
        }
        if !self.key.is_empty() && self.key != taint.key {
            return false;
        }
        let numbers = || {
            Some((
                taint.value.parse::<i64>().ok()?,
                self.value.parse::<i64>().ok()?,
            ))
        };
        match self.operator {
            TolerationOperator::Exists => true,
            TolerationOperator::Equal => self.value == taint.value,
            TolerationOperator::LessThan => numbers().is_some_and(|(taint, own)| taint < own),
            TolerationOperator::GreaterThan => numbers().is_some_and(|(taint, own)| taint > own),
            TolerationOperator::Unknown => false,
        }
    }
}

/// Taints that no toleration tolerates, in order.
pub fn untolerated<'a>(tolerations: &[Toleration], taints: &'a [Taint]) -> Vec<&'a Taint> {
    taints
        .iter()
        .filter(|taint| !tolerations.iter().any(|own| own.tolerates(taint)))
        .collect()
}

/// True when every taint is tolerated.
pub fn tolerates(tolerations: &[Toleration], taints: &[Taint]) -> bool {
    taints
        .iter()
        .all(|taint| tolerations.iter().any(|own| own.tolerates(taint)))
}
