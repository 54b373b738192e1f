//! Nodes that are still to come: one task per launched claim, which waits and then creates the Node.
//!
//! The invariant: after [`Registrations::cancel`] has returned, no task creates that node any more. A
//! task also ends by itself when its claim is gone or going, so that a claim removed by force leaves
//! no node behind either. All waiting is on tokio time.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use k8s_openapi::api::core::v1 as core;
use karpenter_api::NodeClaim;
use kube::{Api, Client, api::PostParams};
use tokio::{sync::oneshot, task::JoinHandle, time::timeout};

/// The first wait after a failed attempt; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest wait: a node that appears half a minute late still beats the registration timeout.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A node to come.
pub(crate) struct Registration {
    /// How long the machine takes to boot.
    pub(crate) delay: Duration,
    /// The claim's name.
    pub(crate) claim: String,
    /// The claim's uid; a claim of the same name and another uid is another claim.
    pub(crate) uid: Option<String>,
    /// The node to create.
    pub(crate) node: core::Node,
}

type Pending = BTreeMap<String, Task>;

struct Task {
    cancel: oneshot::Sender<()>,
    handle: JoinHandle<()>,
}

/// The tasks under way, by node name.
pub(crate) struct Registrations {
    client: Client,
    pending: Arc<Mutex<Pending>>,
}

impl Registrations {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            pending: Arc::default(),
        }
    }

    /// Starts the task for a node, unless there is one already.
    pub(crate) fn start(&self, name: &str, registration: Registration) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if pending.contains_key(name) {
            return;
        }
        let (cancel, cancelled) = oneshot::channel();
        let registered = Registered {
            name: name.to_owned(),
            pending: Arc::downgrade(&self.pending),
        };
        let client = self.client.clone();
        let handle = tokio::spawn(async move {
            register(client, registration, cancelled).await;
            drop(registered);
        });
        pending.insert(name.to_owned(), Task { cancel, handle });
    }

    /// Ends the task for a node, if there is one, and waits until it has ended.
    pub(crate) async fn cancel(&self, name: &str) {
        let task = self
            .pending
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
        if let Some(Task { cancel, handle }) = task {
            // A task that no longer listens is about to end by itself.
            let _ = cancel.send(());
            let _ = handle.await;
        }
    }
}

/// Takes a finished task off the list, also if it panicked.
struct Registered {
    name: String,
    pending: Weak<Mutex<Pending>>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        if let Some(pending) = self.pending.upgrade() {
            pending
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&self.name);
        }
    }
}

/// Waits for the delay, then tries until the node exists, the claim is gone, or somebody cancels. The
/// sender being dropped counts as cancelling: then the provider itself is gone.
async fn register(
    client: Client,
    registration: Registration,
    mut cancelled: oneshot::Receiver<()>,
) {
    let mut wait = registration.delay;
    let mut back_off = FIRST_WAIT;
    loop {
        if !wait.is_zero() && timeout(wait, &mut cancelled).await.is_ok() {
            return;
        }
        if cancelled.try_recv() != Err(oneshot::error::TryRecvError::Empty) {
            return;
        }
        match attempt(&client, &registration).await {
            Ok(()) => return,
            Err(error) => {
                tracing::warn!(
                    node_claim = registration.claim,
                    %error,
                    retry_after = ?back_off,
                    "creating the node failed"
                );
            }
        }
        wait = back_off;
        back_off = (back_off * 2).min(LONGEST_WAIT);
    }
}

/// Creates the node if its claim still wants it.
async fn attempt(client: &Client, registration: &Registration) -> Result<(), kube::Error> {
    let claims: Api<NodeClaim> = Api::all(client.clone());
    let claim = claims.get_opt(&registration.claim).await?;
    let wanted = claim.is_some_and(|claim| {
        claim.metadata.deletion_timestamp.is_none()
            && (registration.uid.is_none() || claim.metadata.uid == registration.uid)
    });
    if !wanted {
        return Ok(());
    }
    let nodes: Api<core::Node> = Api::all(client.clone());
    match nodes
        .create(&PostParams::default(), &registration.node)
        .await
    {
        // The name is ours alone, so a node that exists is the one an earlier attempt made.
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        outcome => outcome.map(drop),
    }
}
