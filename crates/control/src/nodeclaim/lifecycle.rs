//! The controller that performs a claim's steps, one at a time.
//!
//! [`super::step`] and [`super::finalize`] decide; this file asks the provider, writes, and tells.
//! After each write the claim is looked at again, because the mirror already knows what was written.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use karpenter_api::{
    conditions::{INITIALIZED, LAUNCHED},
    labels::{self, TERMINATION_FINALIZER, annotations},
    nodeclaim::NodeClaim,
    objects::Node,
};
use karpenter_cloud::{Launched, Termination};
use kube::Api;
use serde_json::json;
use tracing::{error, info};

use super::{
    draft::Conditioned,
    drivers, finalize,
    launch::{self, Answers, Memory, Verdict},
    liveness::Limits,
    registration::{self, Conclusion},
    step::{self, Step},
    write,
};
use crate::{
    Task,
    ctx::Ctx,
    decision::Decision,
    effect,
    events::Event,
    mirror::Change,
    nodepool::outcomes::Outcomes,
    queue::{self, Failure, Next, Policy, Queue},
    termination,
    upkeep::{Pace, listed, touched},
};

/// What the controller keeps between looks.
struct Lifecycle {
    ctx: Arc<Ctx>,
    answers: Answers,
    limits: Limits,
    outcomes: Arc<Outcomes>,
    pace: Pace,
}

/// The controller, subscribed to claims and to the nodes they become.
pub(crate) fn tasks(ctx: &Arc<Ctx>, outcomes: &Arc<Outcomes>) -> Vec<Task> {
    let queue: Queue<String> = Queue::new();
    let lifecycle = Arc::new(Lifecycle {
        ctx: Arc::clone(ctx),
        answers: Answers::default(),
        limits: Limits::default(),
        outcomes: Arc::clone(outcomes),
        pace: Pace::default(),
    });
    {
        let (queue, lifecycle) = (queue.clone(), Arc::clone(&lifecycle));
        ctx.mirror
            .subscribe::<NodeClaim>(move |change| match (&change.new, &change.old) {
                (Some(_), _) => queue.add(change.key.name.to_string()),
                (None, Some(gone)) => {
                    lifecycle
                        .answers
                        .forget(gone.metadata.uid.as_deref().unwrap_or_default());
                }
                (None, None) => {}
            });
    }
    {
        let (queue, ctx) = (queue.clone(), Arc::clone(ctx));
        let mirror = Arc::downgrade(&ctx.mirror);
        ctx.mirror
            .subscribe::<Node>(move |change: &Change<Arc<Node>>| {
                let (Some(mirror), true) = (mirror.upgrade(), touched(change)) else {
                    return;
                };
                let id = change.last().and_then(|node| node.spec.provider_id.clone());
                for claim in mirror.claims_with_provider_id(id.as_deref().unwrap_or_default()) {
                    queue.add(claim.metadata.name.clone().unwrap_or_default());
                }
            });
    }
    drivers::subscribe(ctx, queue.clone());
    let ctx = Arc::clone(ctx);
    vec![Box::pin(async move {
        listed(&ctx).await;
        queue::run(
            "nodeclaim.lifecycle",
            Policy::LIFECYCLE,
            Arc::clone(&ctx.metrics),
            queue,
            |name| {
                let lifecycle = Arc::clone(&lifecycle);
                async move { lifecycle.reconcile(&name).await }
            },
        )
        .await;
    })]
}

impl Lifecycle {
    async fn reconcile(&self, name: &str) -> Result<Next, Failure> {
        let mirror = &self.ctx.mirror;
        let Some(claim) = mirror.named::<NodeClaim>(name) else {
            return Ok(Next::Wait);
        };
        let class = &claim.spec.node_class_ref;
        if !self.ctx.cloud.manages(&class.group, &class.kind) {
            return Ok(Next::Wait);
        }
        let nodes = mirror.nodes_with_provider_id(provider_id(&claim));
        let uid = claim.metadata.uid.clone().unwrap_or_default();
        if karpenter_api::conditions::is_true(claim.conditions(), LAUNCHED) {
            self.answers.forget(&uid);
        }
        let memory = self.answers.of(&uid);
        let now = self.ctx.clock.now();
        if claim.metadata.deletion_timestamp.is_some() {
            let untold = match memory {
                Some(Memory::Launched(launched)) => Some(launched),
                Some(Memory::Failed { .. }) | None => None,
            };
            return self
                .finalize(&claim, &finalize::Facts { nodes, untold }, now)
                .await;
        }
        let facts = step::Facts {
            nodes,
            memory,
            limits: self.limits,
            published: drivers::published_for(&self.ctx, &claim),
        };
        let step = step::next_step(&claim, &facts, now);
        let done = match step {
            Step::Wait(until) => return Ok(until.map_or(Next::Wait, Next::At)),
            Step::AddFinalizer => self.add_finalizer(&claim).await,
            Step::GiveUp(cause) => self.give_up(&claim, cause).await,
            Step::Launch => return self.launch(&claim).await,
            Step::Store(launched) => self.store(&claim, &launched).await,
            Step::Register(node) => return self.register(&claim, &node).await,
            Step::Initialize(node) => self.initialize(&claim, &node, now).await,
            Step::Report(wanted) => write::status(&self.ctx, &*claim, &wanted).await.map(drop),
        };
        done.map_or_else(write::again, |()| Ok(Next::Wait))
    }

    /// The finalizer, and the label that tells whose claim it is if its maker left it out.
    async fn add_finalizer(&self, claim: &NodeClaim) -> Result<(), effect::Error> {
        let mut wanted = claim.clone();
        let finalizers = wanted.metadata.finalizers.get_or_insert_default();
        finalizers.push(TERMINATION_FINALIZER.to_owned());
        let class = &claim.spec.node_class_ref;
        let key = labels::node_class_label(&class.group, &class.kind);
        let all = wanted.metadata.labels.get_or_insert_default();
        all.entry(key).or_insert_with(|| class.name.clone());
        write::changes(&self.ctx, claim, &wanted).await.map(drop)
    }

    async fn give_up(&self, claim: &NodeClaim, cause: &str) -> Result<(), effect::Error> {
        effect::delete_by_uid(&self.ctx, claim).await?;
        self.ctx.metrics.claim_disrupted(claim, cause);
        self.outcomes.failed(claim);
        info!(
            nodeclaim = name(claim),
            reason = cause,
            "deleting a claim that became no node"
        );
        Ok(())
    }

    async fn launch(&self, claim: &NodeClaim) -> Result<Next, Failure> {
        let uid = claim.metadata.uid.clone().unwrap_or_default();
        let verdict = launch::judge(self.ctx.cloud.launch(claim).await);
        let now = self.ctx.clock.now();
        let done = match verdict {
            Verdict::Launched(launched) => {
                self.answers.succeeded(&uid, &launched, now);
                self.store(claim, &launched).await
            }
            Verdict::Impossible {
                cause,
                message,
                told,
            } => {
                error!(nodeclaim = name(claim), reason = cause, %message, "launch is impossible");
                if told {
                    let text = format!("NodeClaim {} event: {message}", name(claim));
                    self.ctx.events.publish(Event::warning(
                        claim,
                        "InsufficientCapacityError",
                        text,
                    ));
                }
                let deleted = effect::delete_by_uid(&self.ctx, claim).await;
                if deleted.is_ok() {
                    self.ctx.metrics.claim_disrupted(claim, cause);
                }
                deleted
            }
            Verdict::Failed { reason, message } => {
                error!(nodeclaim = name(claim), %reason, %message, "launch failed");
                let again = self.answers.failed(&uid, now);
                let wanted = step::launch_failed(claim, &reason, &message, now);
                return match write::status(&self.ctx, claim, &wanted).await {
                    Ok(_) => Ok(Next::At(again)),
                    Err(error) => write::again(error),
                };
            }
        };
        done.map_or_else(write::again, |()| Ok(Next::Wait))
    }

    /// Tells the claim about its machine.
    async fn store(&self, claim: &NodeClaim, launched: &Launched) -> Result<(), effect::Error> {
        let wanted = step::launched(claim, launched, self.ctx.clock.now());
        let patched = write::changes(&self.ctx, claim, &wanted).await?;
        let claim = patched.as_deref().unwrap_or(claim);
        if write::status(&self.ctx, claim, &wanted).await?.is_some() {
            let id = &launched.provider_id;
            info!(nodeclaim = name(claim), provider_id = %id, "launched nodeclaim");
            self.reached(claim, "launched", machine(&wanted));
        }
        Ok(())
    }

    /// Asks the hooks, syncs the node, and registers it unless a hook objects.
    async fn register(&self, claim: &NodeClaim, node: &Node) -> Result<Next, Failure> {
        if registration::lacks_taint(node) {
            let text = "Missing karpenter.sh/unregistered taint which prevents registration \
                        related race conditions on Karpenter-managed nodes";
            error!(
                nodeclaim = name(claim),
                "the node came without the unregistered taint"
            );
            self.ctx
                .events
                .publish(Event::warning(claim, "UnregisteredTaintMissing", text));
        }
        let hooks = self.ctx.cloud.registration_hooks();
        let answers = join_all(hooks.iter().map(|hook| async move {
            (
                hook.name(),
                hook.registered(claim)
                    .await
                    .map_err(|error| error.to_string()),
            )
        }))
        .await;
        let done = match registration::conclude(answers) {
            Conclusion::Done { labels } => self.registered(claim, node, labels).await,
            Conclusion::Pending {
                message,
                again_after,
                errors,
            } => {
                let synced = registration::synced(node, claim);
                let wanted = step::hooks_pending(claim, &message, self.ctx.clock.now());
                let written = match write::changes(&self.ctx, node, &synced).await {
                    Ok(_) => write::status(&self.ctx, claim, &wanted).await.map(drop),
                    Err(error) => Err(error),
                };
                return match (written, errors.is_empty()) {
                    (Err(error), _) => write::again(error),
                    (Ok(()), false) => Err(Failure::new(errors.join("; "))),
                    (Ok(()), true) => Ok(again_after.map_or(Next::Wait, Next::After)),
                };
            }
        };
        done.map_or_else(write::again, |()| Ok(Next::Wait))
    }

    async fn registered(
        &self,
        claim: &NodeClaim,
        node: &Node,
        learned: std::collections::BTreeMap<String, String>,
    ) -> Result<(), effect::Error> {
        let mut labelled = claim.clone();
        if !learned.is_empty() {
            labelled
                .metadata
                .labels
                .get_or_insert_default()
                .extend(learned);
        }
        let patched = write::changes(&self.ctx, claim, &labelled).await?;
        let claim = patched.as_deref().unwrap_or(claim);
        let finished = registration::registered(registration::synced(node, claim));
        let written = write::changes(&self.ctx, node, &finished).await?;
        let node = written.as_deref().unwrap_or(node);
        let wanted = step::registered(claim, node, self.ctx.clock.now());
        if write::status(&self.ctx, claim, &wanted).await?.is_some() {
            info!(
                nodeclaim = name(claim),
                node = node.metadata.name,
                "registered nodeclaim"
            );
            self.reached(
                claim,
                "registered",
                node.metadata.name.clone().unwrap_or_default(),
            );
            self.ctx.metrics.lifecycle.node_registered(claim);
            self.outcomes.succeeded(claim);
        }
        Ok(())
    }

    async fn initialize(
        &self,
        claim: &NodeClaim,
        node: &Node,
        now: Timestamp,
    ) -> Result<(), effect::Error> {
        let mut labelled = node.clone();
        let all = labelled.metadata.labels.get_or_insert_default();
        all.insert(labels::INITIALIZED.to_owned(), "true".to_owned());
        write::changes(&self.ctx, node, &labelled).await?;
        let wanted = step::initialized(claim, now);
        if write::status(&self.ctx, claim, &wanted).await?.is_some() {
            info!(
                nodeclaim = name(claim),
                node = node.metadata.name,
                "initialized nodeclaim"
            );
            self.reached(
                claim,
                "initialized",
                node.metadata.name.clone().unwrap_or_default(),
            );
        }
        debug_assert!(karpenter_api::conditions::is_true(
            wanted.conditions(),
            INITIALIZED
        ));
        Ok(())
    }

    async fn finalize(
        &self,
        claim: &NodeClaim,
        facts: &finalize::Facts,
        now: Timestamp,
    ) -> Result<Next, Failure> {
        let done = match finalize::next_step(claim, facts, now) {
            finalize::Step::Wait => return Ok(Next::Wait),
            finalize::Step::SetDeadline(deadline) => self.set_deadline(claim, deadline).await,
            finalize::Step::DeleteNodes(nodes) => self.delete_nodes(&nodes).await,
            finalize::Step::Terminate(provider_id) => {
                return self.terminate(claim, facts, &provider_id).await;
            }
            finalize::Step::Release => self.release(claim).await,
        };
        done.map_or_else(write::again, |()| Ok(Next::Wait))
    }

    async fn set_deadline(
        &self,
        claim: &NodeClaim,
        deadline: Timestamp,
    ) -> Result<(), effect::Error> {
        let deadline = deadline.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let patch = json!({"metadata": {"annotations": {
            annotations::TERMINATION_TIMESTAMP: deadline,
        }}});
        effect::patch(&self.ctx, claim, patch).await?;
        let text = format!("All pods will be deleted by {deadline}");
        let event = Event::warning(claim, "TerminationGracePeriodExpiring", text);
        self.ctx.events.publish(event.same([name(claim)]));
        Ok(())
    }

    async fn delete_nodes(&self, nodes: &[Arc<Node>]) -> Result<(), effect::Error> {
        for node in nodes {
            match effect::delete_by_uid(&self.ctx, &**node).await {
                Err(error) if !error.is_not_found() => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Ends the machine, and lets the claim go once there is none.
    async fn terminate(
        &self,
        claim: &NodeClaim,
        facts: &finalize::Facts,
        provider_id: &str,
    ) -> Result<Next, Failure> {
        let uid = claim.metadata.uid.as_deref().unwrap_or_default();
        if let Some(until) = self.pace.until(uid, self.ctx.clock.now()) {
            return Ok(Next::At(until));
        }
        // The mirror may lag behind, and a machine does not come back: the node is asked for live.
        if let Some(node) = claim
            .status
            .as_ref()
            .and_then(|status| status.node_name.as_deref())
        {
            let api: Api<Node> = Api::all(self.ctx.client.clone());
            let found = api.get_opt(node).await.map_err(Failure::new)?;
            if found.is_some_and(|node| node.spec.provider_id.as_deref() == Some(provider_id)) {
                return Ok(Next::After(Duration::from_secs(1)));
            }
        }
        let mut full = claim.clone();
        if let Some(launched) = &facts.untold {
            launch::merge(&mut full, launched);
        }
        match self
            .ctx
            .cloud
            .terminate(&full)
            .await
            .map_err(Failure::new)?
        {
            Termination::Accepted => {
                let now = self.ctx.clock.now();
                let again = self.pace.asked(uid, now);
                let wanted = termination::node::terminating(claim, now);
                match write::status(&self.ctx, claim, &wanted).await {
                    Ok(_) => Ok(Next::At(again)),
                    Err(error) => write::again(error),
                }
            }
            Termination::Gone => {
                let ended = self.ctx.clock.now();
                self.release(claim)
                    .await
                    .inspect(|()| self.ctx.metrics.lifecycle.instance_terminated(claim, ended))
                    .map_or_else(write::again, |()| Ok(Next::Wait))
            }
        }
    }

    async fn release(&self, claim: &NodeClaim) -> Result<(), effect::Error> {
        if write::release(&self.ctx, claim, TERMINATION_FINALIZER)
            .await?
            .is_some()
        {
            info!(nodeclaim = name(claim), "deleted nodeclaim");
            let now = self.ctx.clock.now();
            self.ctx.metrics.lifecycle.claim_terminated(claim, now);
            self.ctx.decisions.tell(Decision::Removed {
                claim: name(claim).to_owned(),
            });
        }
        Ok(())
    }

    fn reached(&self, claim: &NodeClaim, stage: &str, detail: String) {
        self.ctx.decisions.tell(Decision::Reached {
            claim: name(claim).to_owned(),
            stage: stage.to_owned(),
            detail,
        });
    }
}

/// The provider's name of the claim's machine; empty before the launch.
fn provider_id(claim: &NodeClaim) -> &str {
    claim
        .status
        .as_ref()
        .and_then(|status| status.provider_id.as_deref())
        .unwrap_or_default()
}

fn name(claim: &NodeClaim) -> &str {
    claim.metadata.name.as_deref().unwrap_or_default()
}

/// The type, zone and capacity type of a launched claim, for people.
fn machine(claim: &NodeClaim) -> String {
    let label = |key: &str| claim.metadata.labels.as_ref()?.get(key).cloned();
    [labels::INSTANCE_TYPE, labels::ZONE, labels::CAPACITY_TYPE]
        .into_iter()
        .filter_map(label)
        .collect::<Vec<_>>()
        .join(", ")
}
