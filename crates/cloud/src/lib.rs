//! The seam to whatever makes machines.
//!
//! A provider answers what could be had ([`Cloud::catalog`]), makes and ends machines
//! ([`Cloud::launch`], [`Cloud::terminate`]) and says which exist. It decides nothing about pods,
//! and writes nothing to claims: what it learns comes back as values, which the caller stores. The
//! controllers hold exactly one `Arc<dyn Cloud>`, so a further provider is a further crate and no
//! change here.
//!
//! Reading order: [`Cloud`], then [`values`](Launched), then [`LaunchError`], whose variants say
//! what follows.

mod error;
mod hook;
mod values;

use std::sync::Arc;

use async_trait::async_trait;
use karpenter_api::{NodeClaim, NodePool};
use karpenter_plan::{CatalogFeed, WellKnown};

pub use error::{Error, LaunchError, Source};
pub use hook::{HookOutcome, RegistrationHook};
pub use values::{DriftReason, Instance, Launched, NodeClassKind, RepairPolicy, Termination};

/// A provider of machines.
///
/// Every method may be called at any time and from several tasks at once. None of them may wait for
/// longer than a request takes: what takes longer is reported as not done yet.
#[async_trait]
pub trait Cloud: Send + Sync {
    /// Short name in logs and metrics, such as `kwok`.
    fn name(&self) -> &'static str;

    /// The kinds of node class this provider reads, the preferred one first.
    fn node_class_kinds(&self) -> &[NodeClassKind];

    /// The label keys this provider defines, the domains it reserves, the aliases it rewrites and the
    /// node classes it serves: what lowering has to know of it. Fixed for the life of the provider.
    fn well_known(&self) -> &WellKnown;

    /// The types and offerings that are open to a pool now, unavailable offerings included.
    ///
    /// Two answers with the same generation are the same answer: callers lower a feed once per
    /// generation, so a generation must change whenever anything else in the feed does.
    async fn catalog(&self, pool: &NodePool) -> Result<CatalogFeed, Error>;

    /// Makes a machine for a claim and returns as soon as its provider id is known.
    ///
    /// A call for a claim whose machine exists already (the answer was lost, the process restarted)
    /// should find that machine rather than make a second one, as far as the provider can tell.
    async fn launch(&self, claim: &NodeClaim) -> Result<Launched, LaunchError>;

    /// Ends the machine of a claim. Calling again is harmless, and is how the end is observed.
    async fn terminate(&self, claim: &NodeClaim) -> Result<Termination, Error>;

    /// One instance, or nothing if there is none with this id.
    async fn get(&self, provider_id: &str) -> Result<Option<Instance>, Error>;

    /// Every instance of this cluster that still exists, in order of provider id.
    async fn list(&self) -> Result<Vec<Instance>, Error>;

    /// Whether a launched claim is no longer what its node class asks for.
    async fn drifted(&self, claim: &NodeClaim) -> Result<Option<DriftReason>, Error>;

    /// The node conditions that call for a replacement; empty if this provider repairs nothing.
    fn repair_policies(&self) -> &[RepairPolicy];

    /// What must have happened before a node counts as registered, in the order in which pending
    /// ones are named.
    fn registration_hooks(&self) -> &[Arc<dyn RegistrationHook>] {
        &[]
    }

    /// Whether a reference to a node class is meant for this provider. The version plays no part.
    fn manages(&self, group: &str, kind: &str) -> bool {
        self.node_class_kinds()
            .iter()
            .any(|own| own.group == group && own.kind == kind)
    }
}
