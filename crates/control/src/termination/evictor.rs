//! The queue that evicts pods, each at its own pace.
//!
//! A drained node puts the pods whose turn it is in here, again and again; a pod that is in already
//! stays where it is, with its own back-off. Budgets that forbid an eviction are told about on the
//! node.

use std::{
    collections::BTreeMap,
    slice,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::api::core::v1::ObjectReference;
use karpenter_api::{
    conditions::{self, DISRUPTION_REASON},
    objects::{Node, Pod},
};
use tracing::debug;

use super::{
    drain::{DrainPod, PodKey},
    eviction::{self, Outcome, Step},
    hindered::hindered,
};
use crate::{
    Task,
    ctx::Ctx,
    effect::{self, Eviction},
    events::{Event, Severity},
    mirror::Key,
    nodeclaim::draft::Conditioned as _,
    queue::{self, Failure, Next, Policy, Queue},
    upkeep::listed,
};

/// The reason of an eviction that no disruption asked for.
const NO_REASON: &str = "Forceful Termination";

/// Takes pods to evict. Clones are handles to the same queue.
#[derive(Clone)]
pub(crate) struct Evictor {
    queue: Queue<PodKey>,
    /// The pods that are in, and the node each is to leave.
    waiting: Arc<Mutex<BTreeMap<PodKey, String>>>,
}

impl Evictor {
    /// An empty queue, and the task that works on it.
    pub(crate) fn new(ctx: &Arc<Ctx>) -> (Self, Task) {
        let evictor = Self {
            queue: Queue::new(),
            waiting: Arc::default(),
        };
        let (own, ctx) = (evictor.clone(), Arc::clone(ctx));
        let task: Task = Box::pin(async move {
            listed(&ctx).await;
            queue::run(
                "eviction-queue",
                Policy::TERMINATION,
                Arc::clone(&ctx.metrics),
                own.queue.clone(),
                |key| {
                    let (ctx, own) = (Arc::clone(&ctx), own.clone());
                    async move { own.reconcile(&ctx, &key).await }
                },
            )
            .await;
        });
        (evictor, task)
    }

    /// Evicts a pod from its node, sooner or later. False if that is under way already.
    pub(crate) fn add(&self, key: &PodKey, node: &str) -> bool {
        let new = self.lock().insert(key.clone(), node.to_owned()).is_none();
        if new {
            self.queue.add(key.clone());
        }
        new
    }

    async fn reconcile(&self, ctx: &Ctx, key: &PodKey) -> Result<Next, Failure> {
        let Some(node) = self.lock().get(key).cloned() else {
            return Ok(Next::Wait);
        };
        let place = Key::new(&*key.namespace, &*key.name);
        let stored = ctx
            .mirror
            .get::<Pod>(&place)
            .map(|entry| DrainPod::of_entry(&entry));
        match eviction::next_step(key, stored.as_ref(), ctx.clock.now()) {
            Step::Forget => Ok(self.done(key)),
            // The pause grows as it does after a refusal; nothing else tells when to try again.
            Step::Later => Err(Failure::Conflict(
                "the pod asks not to be disrupted".to_owned(),
            )),
            Step::Evict => self.evict(ctx, key, &place, &node).await,
        }
    }

    async fn evict(
        &self,
        ctx: &Ctx,
        key: &PodKey,
        place: &Key,
        node: &str,
    ) -> Result<Next, Failure> {
        let answer = effect::evict(ctx, place, &key.uid).await;
        let code = match &answer {
            Ok(Eviction::Evicted) => 200,
            Ok(Eviction::Gone(code)) => *code,
            Ok(Eviction::Blocked(_)) => 429,
            Err(error) => refusal(error).0,
        };
        // Zero is no answer at all.
        if code != 0 {
            ctx.metrics.lifecycle.eviction_answered(code);
        }
        let outcome = match &answer {
            Ok(Eviction::Evicted) => eviction::outcome(key, Ok(())),
            Ok(Eviction::Gone(code)) => eviction::outcome(key, Err((*code, ""))),
            Ok(Eviction::Blocked(message)) => eviction::outcome(key, Err((429, message))),
            Err(error) => {
                let (code, message) = refusal(error);
                eviction::outcome(key, Err((code, &message)))
            }
        };
        match outcome {
            Outcome::Evicted => {
                let pod = ObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    namespace: Some(key.namespace.clone()),
                    name: Some(key.name.clone()),
                    uid: Some(key.uid.clone()),
                    ..ObjectReference::default()
                };
                let reason = reason(ctx, node);
                ctx.metrics.lifecycle.pod_drained(&reason);
                let text = format!("Evicted pod: {reason}");
                let event = Event::about(pod, Severity::Normal, "Evicted", text);
                ctx.events.publish(event.same([&key.name]));
                Ok(self.done(key))
            }
            Outcome::Gone => Ok(self.done(key)),
            Outcome::Blocked(why) => {
                debug!(pod = %place, node, %why, "eviction is blocked");
                if let Some(node) = ctx.mirror.named::<Node>(node) {
                    let name = node.metadata.name.clone().unwrap_or_default();
                    let never = hindered(ctx, &node, slice::from_ref(key));
                    let text = format!("Failed to drain node, {why}{never}");
                    let event = Event::warning(&*node, "FailedDraining", text);
                    ctx.events.publish(event.same([name]));
                }
                Err(Failure::Conflict(why))
            }
            Outcome::Failed => Err(match answer {
                Err(error) => error.into(),
                Ok(_) => Failure::Conflict("the eviction was not answered".to_owned()),
            }),
        }
    }

    fn done(&self, key: &PodKey) -> Next {
        self.lock().remove(key);
        Next::Wait
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PodKey, String>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Code and message of a refusal; zero if the server did not answer.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "all other errors are no answer of the server"
)]
fn refusal(error: &effect::Error) -> (u16, String) {
    match error {
        effect::Error::Conflict { .. } => (409, String::new()),
        effect::Error::NotFound { .. } => (404, String::new()),
        effect::Error::Api { source, .. } => match source.as_ref() {
            kube::Error::Api(status) => (status.code, status.message.clone()),
            _ => (0, source.to_string()),
        },
    }
}

/// Why the node is drained, as its claim says.
fn reason(ctx: &Ctx, node: &str) -> String {
    let Some(node) = ctx.mirror.named::<Node>(node) else {
        return String::new();
    };
    let provider_id = node.spec.provider_id.as_deref().unwrap_or_default();
    let claims = ctx.mirror.claims_with_provider_id(provider_id);
    let [claim] = claims.as_slice() else {
        return String::new();
    };
    conditions::get(claim.conditions(), DISRUPTION_REASON).map_or_else(
        || NO_REASON.to_owned(),
        |condition| condition.reason.clone(),
    )
}
