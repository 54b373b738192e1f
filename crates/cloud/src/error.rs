//! What a provider may fail with, and what follows from each failure.
//!
//! The variants are the whole vocabulary: a controller matches on them and never on text. Text is
//! for people only.

use std::error::Error as StdError;

/// The source of a failure, kept for whoever prints the chain.
pub type Source = Box<dyn StdError + Send + Sync + 'static>;

/// Why a question to the provider has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The provider knows no such instance. Where existence itself is the question ([`crate::Cloud::get`],
    /// [`crate::Cloud::terminate`]) absence is an answer and not this error; a drift check that ends
    /// here leaves the claim's condition as it is.
    #[error("no instance with provider id {provider_id:?} exists")]
    InstanceNotFound {
        /// The id that was asked for.
        provider_id: String,
    },
    /// The node class that a pool or claim names does not exist, or is being deleted.
    #[error("node class {name:?} does not exist or is being deleted")]
    NodeClassNotFound {
        /// The name the reference holds.
        name: String,
    },
    /// The node class exists, but what depends on it cannot be resolved yet.
    #[error("node class {name:?} is not ready: {message}")]
    NodeClassNotReady {
        /// The name the reference holds.
        name: String,
        /// What the node class says about itself.
        message: String,
    },
    /// Anything else: the request failed, was throttled, or was answered with nonsense. It is tried
    /// again with back-off.
    #[error("{message}")]
    Request {
        /// What was attempted.
        message: String,
        /// What the client said, if it was the client.
        #[source]
        source: Option<Source>,
    },
}

impl Error {
    /// A failed request, with the client's error as its source.
    pub fn request(message: impl Into<String>, source: impl Into<Source>) -> Self {
        Self::Request {
            message: message.into(),
            source: Some(source.into()),
        }
    }

    /// A failure that no other error caused.
    pub fn message(message: impl Into<String>) -> Self {
        Self::Request {
            message: message.into(),
            source: None,
        }
    }

    /// True when the instance asked about does not exist.
    pub fn is_instance_not_found(&self) -> bool {
        matches!(self, Self::InstanceNotFound { .. })
    }
}

/// Why a claim got no machine. Each variant says what the launch step does next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// Nothing that the claim allows can be had now; a missing or terminating node class counts as
    /// that too.
    ///
    /// What follows: a Warning event, the claim is deleted, the disruption counter grows under
    /// `insufficient_capacity`, and the pods are scheduled anew.
    #[error("insufficient capacity: {0}")]
    InsufficientCapacity(String),

    /// The node class says it is not ready at its current generation.
    ///
    /// What follows: the claim is deleted without an event, and the disruption counter grows under
    /// `nodeclass_not_ready`.
    #[error("node class is not ready: {0}")]
    NodeClassNotReady(String),

    /// The provider refused for a reason that has a name of its own.
    ///
    /// What follows: `Launched` stays Unknown with exactly this reason and message, and the launch
    /// is tried again with back-off until the launch timeout deletes the claim.
    #[error("creating the instance failed: {message}")]
    Create {
        /// The condition's reason, in `CamelCase`.
        reason: String,
        /// The condition's message.
        message: String,
    },

    /// Anything else.
    ///
    /// What follows: `Launched` stays Unknown with reason `LaunchFailed` and the first 300 characters
    /// of the message, and the launch is tried again with back-off until the launch timeout deletes
    /// the claim.
    #[error("{0}")]
    Other(String),
}
