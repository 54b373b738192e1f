//! Label selectors lowered: which pods a budget protects or a topology rule counts.

use alloc::{sync::Arc, vec::Vec};

use crate::{labels::Labels, requirement::Operator};

/// One condition of a label selector.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SelectorTerm {
    /// The key.
    pub key: Arc<str>,
    /// The relation; comparisons do not occur in label selectors and match nothing.
    pub operator: Operator,
    /// The values.
    pub values: Vec<Arc<str>>,
}

impl SelectorTerm {
    fn holds(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        let listed = value.is_some_and(|value| self.values.contains(value));
        match self.operator {
            Operator::In => listed,
            Operator::NotIn => !listed,
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::Gt | Operator::Lt | Operator::Gte | Operator::Lte => false,
        }
    }
}

/// A label selector. No selector at all selects nothing; an empty one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector {
    /// All must hold; `None` selects nothing.
    pub terms: Option<Vec<SelectorTerm>>,
}

impl Selector {
    /// True when the labels are selected.
    pub fn selects(&self, labels: &Labels) -> bool {
        self.terms
            .as_ref()
            .is_some_and(|terms| terms.iter().all(|term| term.holds(labels)))
    }

    /// Selects what both select.
    pub(crate) fn and(self, other: &Self) -> Self {
        let terms = self.terms.zip(other.terms.as_ref());
        let terms =
            terms.map(|(own, others)| own.into_iter().chain(others.iter().cloned()).collect());
        Self { terms }.sorted()
    }

    /// The same selector in one canonical spelling, so that equal rules are equal values.
    pub(crate) fn sorted(mut self) -> Self {
        if let Some(terms) = &mut self.terms {
            for term in terms.iter_mut() {
                term.values.sort();
                term.values.dedup();
            }
            terms.sort();
            terms.dedup();
        }
        self
    }
}
