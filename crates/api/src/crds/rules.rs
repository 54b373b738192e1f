//! The CEL rules of the CRDs, by the numbers of the field rules they carry out.
//!
//! They are attached to the types with `#[x_kube(validation = …)]`. Expressions stay as cheap as the API
//! server's cost estimate demands: no regular expression runs over a text of unbounded length inside a list.

use kube::core::{Message, Rule};

use crate::labels;

/// The text before the first slash, or all of it: what the domain rules look at.
const DOMAIN: &str = "self.find('^([^/]+)')";
const EACH_DOMAIN: &str = "x.find('^([^/]+)')";

fn rule(expression: impl Into<String>, message: impl Into<String>) -> Rule {
    Rule::new(expression).message(Message::Message(message.into()))
}

/// Schedule and duration of a budget come together.
pub(crate) fn budget_schedule_with_duration() -> Rule {
    rule(
        "self.all(x, has(x.schedule) == has(x.duration))",
        "'schedule' must be set with 'duration'",
    )
}

/// A pool stays static or dynamic for life.
pub(crate) fn no_mode_transition() -> Rule {
    rule(
        "has(self.replicas) == has(oldSelf.replicas)",
        "cannot transition between static (with 'replicas') and dynamic (without 'replicas') modes, \
         create another NodePool",
    )
}

/// Of the limits, a static pool takes the number of nodes only.
pub(crate) fn static_limits() -> Rule {
    rule(
        "!has(self.replicas) || !has(self.limits) || self.limits.size() == 0 \
         || (self.limits.size() == 1 && 'nodes' in self.limits)",
        "only 'limits.nodes' is supported on static NodePools",
    )
}

/// A static pool has no weight.
pub(crate) fn static_weight() -> Rule {
    rule(
        "!has(self.replicas) || !has(self.weight)",
        "'weight' is not supported on static NodePools",
    )
}

/// The group of a pool's NodeClass does not change.
pub(crate) fn node_class_group_is_immutable() -> Rule {
    rule(
        "self.group == oldSelf.group",
        "nodeClassRef.group is immutable",
    )
}

/// The kind of a pool's NodeClass does not change.
pub(crate) fn node_class_kind_is_immutable() -> Rule {
    rule(
        "self.kind == oldSelf.kind",
        "nodeClassRef.kind is immutable",
    )
}

/// The specification of a NodeClaim does not change.
pub(crate) fn spec_is_immutable() -> Rule {
    rule("self == oldSelf", "spec is immutable")
}

/// A part of a reference says something.
pub(crate) fn not_empty(field: &str) -> Rule {
    rule("self != ''", format!("{field} may not be empty"))
}

/// `In` lists values.
pub(crate) fn in_has_values() -> Rule {
    rule(
        "self.all(x, x.operator != 'In' || (has(x.values) && x.values.size() != 0))",
        "requirements with operator 'In' must have a value defined",
    )
}

/// `In` and `NotIn` list values.
pub(crate) fn sets_have_values() -> Rule {
    rule(
        "self.all(x, !(x.operator in ['In', 'NotIn']) || (has(x.values) && x.values.size() != 0))",
        "requirements with operator 'In' or 'NotIn' must have a value defined",
    )
}

/// An overlay has one way to change the price.
pub(crate) fn price_or_adjustment() -> Rule {
    rule(
        "!has(self.price) || !has(self.priceAdjustment)",
        "cannot set both 'price' and 'priceAdjustment'",
    )
}

/// An overlay does not name what every machine has.
pub(crate) fn no_core_capacity() -> Rule {
    rule(
        "self.all(x, !(x in ['cpu', 'memory', 'ephemeral-storage', 'pods']))",
        "invalid resource restricted",
    )
}

/// A buffer of a PodTemplate says how large it is.
pub(crate) fn template_needs_size() -> Rule {
    rule(
        "!has(self.podTemplateRef) || has(self.replicas) || has(self.limits)",
        "'podTemplateRef' needs 'replicas' or 'limits'",
    )
}

/// A buffer is of a PodTemplate or of a workload.
pub(crate) fn one_reference() -> Rule {
    rule(
        "!has(self.podTemplateRef) || !has(self.scalableRef)",
        "cannot set both 'podTemplateRef' and 'scalableRef'",
    )
}

/// Comparisons have one integer that is not negative.
pub(crate) fn comparisons_have_one_integer() -> Rule {
    rule(
        "self.all(x, !(x.operator in ['Gt', 'Lt', 'Gte', 'Lte']) \
         || (has(x.values) && x.values.size() == 1 && int(x.values[0]) >= 0))",
        "requirements operator 'Gt', 'Lt', 'Gte' or 'Lte' must have a single positive integer value",
    )
}

/// `In` lists as many values as it asks for.
pub(crate) fn min_values_fit() -> Rule {
    rule(
        "self.all(x, x.operator != 'In' || !has(x.minValues) \
         || (has(x.values) && x.values.size() >= x.minValues))",
        "requirements with 'minValues' must have at least that many values specified in the 'values' field",
    )
}

/// The label of the owning pool cannot be asked for.
pub(crate) fn no_nodepool_requirement() -> Rule {
    let key = labels::NODEPOOL;
    rule(
        format!("self.all(x, x.key != '{key}')"),
        format!("label \"{key}\" is restricted"),
    )
}

/// A key is in no domain that is kept, or is one of the exceptions.
fn key_domain(domain: &str, exceptions: &[&str]) -> Rule {
    rule(
        format!(
            "{} || !{DOMAIN}.endsWith('{domain}')",
            one_of("self", exceptions)
        ),
        format!("label domain \"{domain}\" is restricted"),
    )
}

/// The same for each key of a map.
fn each_key_domain(domain: &str, exceptions: &[&str]) -> Rule {
    rule(
        format!(
            "self.all(x, {} || !{EACH_DOMAIN}.endsWith('{domain}'))",
            one_of("x", exceptions)
        ),
        format!("label domain \"{domain}\" is restricted"),
    )
}

fn one_of(subject: &str, names: &[&str]) -> String {
    format!("{subject} in ['{}']", names.join("', '"))
}

const OWN: [&str; 2] = [labels::CAPACITY_TYPE, labels::NODEPOOL];

/// A requirement's key is in Karpenter's domain only if it is one of the two.
pub(crate) fn key_in_own_domain() -> Rule {
    key_domain(labels::DOMAIN, &OWN)
}

/// A requirement's key is in the AWS provider's domain only if it is one that nodes have.
pub(crate) fn key_in_aws_domain() -> Rule {
    key_domain(labels::aws::DOMAIN, &labels::aws::ALLOWED_IN_CRDS)
}

/// A requirement's key is in the KWOK provider's domain only if it is one that nodes have.
pub(crate) fn key_in_kwok_domain() -> Rule {
    key_domain(labels::kwok::DOMAIN, &labels::kwok::ALLOWED_IN_CRDS)
}

/// A requirement's key is not the host name.
pub(crate) fn key_is_not_hostname() -> Rule {
    let key = labels::HOSTNAME;
    rule(
        format!("self != '{key}'"),
        format!("label \"{key}\" is restricted"),
    )
}

/// Labels are in Karpenter's domain only if they are one of the two.
pub(crate) fn labels_in_own_domain() -> Rule {
    each_key_domain(labels::DOMAIN, &OWN)
}

/// Labels are in the AWS provider's domain only if they are ones that nodes have.
pub(crate) fn labels_in_aws_domain() -> Rule {
    each_key_domain(labels::aws::DOMAIN, &labels::aws::ALLOWED_IN_CRDS)
}

/// Labels do not name this key.
pub(crate) fn labels_without(key: &str) -> Rule {
    rule(
        format!("self.all(x, x != '{key}')"),
        format!("label \"{key}\" is restricted"),
    )
}
