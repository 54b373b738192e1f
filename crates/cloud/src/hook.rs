//! The provider's say in when a node counts as registered.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use karpenter_api::NodeClaim;

use crate::Error;

/// Something that must have happened before a node may lose its unregistered taint.
///
/// All hooks are asked at once, on every registration attempt, so an answer must be cheap and asking
/// twice harmless. An error counts as pending, and is reported.
#[async_trait]
pub trait RegistrationHook: Send + Sync {
    /// The name shown in the message of the pending condition.
    fn name(&self) -> &'static str;

    /// Whether registration of this claim's node may go on.
    async fn registered(&self, claim: &NodeClaim) -> Result<HookOutcome, Error>;
}

/// A hook's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookOutcome {
    /// Nothing stands in the way. The labels, if any, were learned late; the caller adds them to the
    /// claim and from there to its node.
    Done {
        /// Labels to add to the claim.
        labels: BTreeMap<String, String>,
    },
    /// Not yet.
    Pending {
        /// When to ask again; the usual back-off decides if it is absent.
        again_after: Option<Duration>,
    },
}

impl HookOutcome {
    /// Done, with nothing learned.
    pub fn done() -> Self {
        Self::Done {
            labels: BTreeMap::new(),
        }
    }
}
