//! Selector and requirement entries into the algebra, with the rules that entries must keep.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use super::Lowering;
use crate::{
    requirement::{Operator, Requirement, Requirements},
    vocabulary::KeyId,
};

/// Longest name part of a key, and longest value.
const LONGEST_NAME: usize = 63;
/// Longest prefix of a key.
const LONGEST_PREFIX: usize = 253;

/// An entry as it is written.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) key: &'a str,
    pub(super) operator: &'a str,
    pub(super) values: &'a [String],
    pub(super) min_values: Option<i32>,
}

impl<'a> From<&'a karpenter_api::Requirement> for Entry<'a> {
    fn from(requirement: &'a karpenter_api::Requirement) -> Self {
        Self {
            key: &requirement.key,
            operator: &requirement.operator,
            values: requirement.values.as_deref().unwrap_or_default(),
            min_values: requirement.min_values,
        }
    }
}

impl<'a> From<&'a karpenter_api::objects::selector::SelectorRequirement> for Entry<'a> {
    fn from(requirement: &'a karpenter_api::objects::selector::SelectorRequirement) -> Self {
        Self {
            key: &requirement.key,
            operator: &requirement.operator,
            values: &requirement.values,
            min_values: None,
        }
    }
}

impl Lowering {
    /// One entry. Fails for what has no meaning: an unknown operator, a comparison without an integer.
    pub(super) fn requirement(&mut self, entry: Entry<'_>) -> Result<Requirement, String> {
        let Entry {
            key,
            operator,
            values,
            min_values,
        } = entry;
        let Some(parsed) = Operator::parse(operator) else {
            return Err(format!(
                "key {key} has an unsupported operator {operator}, use one of In, NotIn, Exists, DoesNotExist, Gt, Lt, Gte, Lte"
            ));
        };
        let number = match parsed {
            Operator::Gt | Operator::Lt | Operator::Gte | Operator::Lte => match values {
                [text] => text.parse::<i64>().ok(),
                _ => None,
            }
            .ok_or_else(|| {
                format!("key {key} with operator {operator} needs exactly one integer")
            })?,
            Operator::In | Operator::NotIn | Operator::Exists | Operator::DoesNotExist => 0,
        };
        let key = self.key(key);
        let values: Vec<_> = values.iter().map(|value| self.value(value)).collect();
        Ok(Requirement::of(key, parsed, values, number)
            .with_min_values(min_values.and_then(|count| u32::try_from(count).ok())))
    }

    /// Why an entry of a pod may not be used, if it may not.
    pub(super) fn entry_fault(&self, entry: Entry<'_>) -> Option<String> {
        let key = self
            .aliases
            .get(entry.key)
            .map_or(entry.key, String::as_str);
        let known = self.vocabulary.key(key);
        if Operator::parse(entry.operator).is_none() {
            return Some(format!(
                "key {key} has an unsupported operator {}, use one of In, NotIn, Exists, DoesNotExist, Gt, Lt, Gte, Lte",
                entry.operator
            ));
        }
        let well_known = known.is_some_and(|id| self.vocabulary.is_well_known(id));
        if !well_known && (known == Some(KeyId::HOSTNAME) || self.is_restricted(key)) {
            return Some(self.restricted_text(key));
        }
        if !is_qualified_name(key) {
            return Some(format!("key {key} is not a qualified name"));
        }
        if let Some(value) = entry.values.iter().find(|value| !is_label_value(value)) {
            return Some(format!("invalid value {value} for key {key}"));
        }
        match entry.operator {
            "In" if entry.values.is_empty() => Some(format!(
                "key {key} with operator In must have a value defined"
            )),
            "In" if known == Some(KeyId::CAPACITY_TYPE)
                && !entry
                    .values
                    .iter()
                    .any(|value| CAPACITY_TYPES.contains(&value.as_str())) =>
            {
                Some(format!(
                    "no valid values found in [{}] for {key}, expected one of: map[on-demand:{{}} reserved:{{}} spot:{{}}]",
                    entry.values.join(" ")
                ))
            }
            "Gt" | "Lt" | "Gte" | "Lte" if !matches!(entry.values, [text] if text.parse::<i64>().is_ok_and(|n| n >= 0)) => {
                Some(format!(
                    "key {key} with operator {} must have a single positive integer value",
                    entry.operator
                ))
            }
            _ => None,
        }
    }

    /// What users may select by, all faults joined (api 3.4).
    pub(crate) fn user_requirements(
        &mut self,
        entries: &[karpenter_api::Requirement],
    ) -> Result<Requirements, String> {
        let faults: Vec<String> = entries
            .iter()
            .filter_map(|entry| self.entry_fault(entry.into()))
            .collect();
        if faults.is_empty() {
            self.all_of(entries)
        } else {
            Err(faults.join("; "))
        }
    }

    fn is_restricted(&self, key: &str) -> bool {
        let Some((domain, _)) = key.split_once('/') else {
            return false;
        };
        self.restricted_domains.iter().any(|restricted| {
            domain == restricted
                || domain
                    .strip_suffix(restricted.as_str())
                    .is_some_and(|rest| rest.ends_with('.'))
        })
    }

    fn restricted_text(&self, key: &str) -> String {
        let well_known: Vec<String> = self
            .vocabulary
            .well_known()
            .into_iter()
            .map(|id| self.vocabulary.key_name(id).to_string())
            .collect();
        format!(
            "using label {key} is not allowed as it might interfere with the internal provisioning logic; specify a well known label: [{}], or a custom label that does not use a restricted domain: [{}]",
            well_known.join(" "),
            self.restricted_domains.join(" ")
        )
    }
}

const CAPACITY_TYPES: [&str; 3] = ["on-demand", "reserved", "spot"];

fn is_qualified_name(key: &str) -> bool {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let prefix_is_valid = prefix.is_none_or(|prefix| {
        !prefix.is_empty()
            && prefix.len() <= LONGEST_PREFIX
            && prefix.split('.').all(|label| {
                is_bounded(label, |c| c.is_ascii_lowercase() || c.is_ascii_digit())
                    && label
                        .chars()
                        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
            })
    });
    prefix_is_valid && !name.is_empty() && is_label_value(name)
}

fn is_label_value(text: &str) -> bool {
    text.is_empty()
        || (text.len() <= LONGEST_NAME
            && is_bounded(text, |c| c.is_ascii_alphanumeric())
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')))
}

fn is_bounded(text: &str, allowed: fn(char) -> bool) -> bool {
    text.chars().next().is_some_and(allowed) && text.chars().next_back().is_some_and(allowed)
}
