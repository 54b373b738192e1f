//! CapacityBuffers: what each was resolved to and whether its room is there, in its status
//! (scheduling 10.1).
//!
//! Where snapshots are made buffers become virtual pods, and rounds place those like any other. Here it
//! is told what came of it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use karpenter_api::{
    CapacityBuffer, PodTemplateReference,
    objects::{Deployment, ReplicaSet, StatefulSet, workload::PodTemplate},
};
use karpenter_plan::{
    Snapshot,
    buffer::Buffer,
    schedule::{Plan, Report},
};

use crate::{
    Task,
    ctx::Ctx,
    mirror::{Key, Mirrored},
    nodeclaim::{
        draft::{Draft, conditioned},
        write,
    },
    queue::{self, Failure, Next, Policy, Queue},
    upkeep::listed,
};

/// How often buffers are looked at without a reason.
const INTERVAL: Duration = Duration::from_secs(30);
/// Changes of what buffers refer to are gathered for so long.
const GATHERING: Duration = Duration::from_secs(1);

const READY_FOR_PROVISIONING: &str = "ReadyForProvisioning";
const PROVISIONING: &str = "Provisioning";

conditioned!(CapacityBuffer, &[]);

/// What a round did with the virtual pods of a buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Observation {
    /// All of them.
    pub(crate) pods: usize,
    /// Those for which a claim was opened.
    pub(crate) on_new: usize,
    /// Those without a place.
    pub(crate) failed: usize,
}

/// What the last round did with each buffer.
pub(crate) struct Observations {
    all: Mutex<BTreeMap<Key, Observation>>,
    queue: Queue<()>,
}

impl Observations {
    /// A round has come to this: it is remembered, and nodes that host virtual pods are not empty.
    pub(crate) fn decided(&self, ctx: &Ctx, snapshot: &Snapshot, plan: &Plan, report: &Report) {
        if !ctx.options.gates.capacity_buffer {
            return;
        }
        let seen = observe(snapshot, plan, report);
        let mut hosts: BTreeMap<String, u32> = BTreeMap::new();
        for (pod, node) in &plan.bindings {
            if snapshot.pods[*pod].buffer.is_some() {
                *hosts
                    .entry(snapshot.nodes[*node].name.to_string())
                    .or_default() += 1;
            }
        }
        ctx.mirror.set_buffer_hosts(hosts);
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if *all != seen {
            *all = seen;
            self.queue.add(());
        }
    }

    fn of(&self, key: &Key) -> Option<Observation> {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(key).copied()
    }
}

fn observe(snapshot: &Snapshot, plan: &Plan, report: &Report) -> BTreeMap<Key, Observation> {
    let mut seen: BTreeMap<Key, Observation> = BTreeMap::new();
    let mut count = |pod, note: fn(&mut Observation)| {
        let pod = &snapshot.pods[pod];
        if let Some(buffer) = &pod.buffer {
            let observation = seen
                .entry(Key::new(&*pod.namespace, &**buffer))
                .or_default();
            observation.pods += 1;
            note(observation);
        }
    };
    for (pod, _) in &plan.bindings {
        count(*pod, |_| {});
    }
    for pod in plan.claims.iter().flat_map(|claim| &claim.pods) {
        count(*pod, |observation| observation.on_new += 1);
    }
    let ignored = report.ignored.iter().map(|(pod, _)| *pod);
    for pod in report.unplaced.iter().map(|(pod, _)| *pod).chain(ignored) {
        count(pod, |observation| observation.failed += 1);
    }
    seen
}

/// The controller, and where rounds tell what they did. It does nothing while the gate is closed.
pub(crate) fn tasks(ctx: &Arc<Ctx>) -> (Vec<Task>, Arc<Observations>) {
    let queue: Queue<()> = Queue::new();
    let observations = Arc::new(Observations {
        all: Mutex::default(),
        queue: queue.clone(),
    });
    if !ctx.options.gates.capacity_buffer {
        return (Vec::new(), observations);
    }
    wakes::<CapacityBuffer>(ctx, &queue);
    wakes::<PodTemplate>(ctx, &queue);
    wakes::<Deployment>(ctx, &queue);
    wakes::<ReplicaSet>(ctx, &queue);
    wakes::<StatefulSet>(ctx, &queue);
    let (ctx, seen) = (Arc::clone(ctx), Arc::clone(&observations));
    let task: Task = Box::pin(async move {
        listed(&ctx).await;
        queue::run(
            "capacitybuffer",
            Policy::DEFAULT,
            Arc::clone(&ctx.metrics),
            queue,
            |()| {
                let (ctx, seen) = (Arc::clone(&ctx), Arc::clone(&seen));
                async move { reconcile(&ctx, &seen).await }
            },
        )
        .await;
    });
    (vec![task], observations)
}

/// Changes of this kind may change what buffers come to, or need a round.
fn wakes<K: Mirrored>(ctx: &Ctx, queue: &Queue<()>) {
    let (queue, batcher) = (queue.clone(), ctx.batcher.clone());
    let mirror = Arc::downgrade(&ctx.mirror);
    ctx.mirror.subscribe::<K>(move |change| {
        let has_buffers = mirror.upgrade().is_some_and(|mirror| mirror.has_buffers());
        if has_buffers || K::NAME == CapacityBuffer::NAME {
            queue.add_after((), GATHERING);
            batcher.trigger(&format!("{}/{}", K::NAME, change.key));
        }
    });
}

async fn reconcile(ctx: &Ctx, observations: &Observations) -> Result<Next, Failure> {
    let now = ctx.clock.now();
    for resolved in ctx.mirror.resolved_buffers(now) {
        let key = Key::new(&*resolved.namespace, &*resolved.name);
        let Some(buffer) = ctx.mirror.get::<CapacityBuffer>(&key) else {
            continue;
        };
        let mut draft = Draft::new(&*buffer, now);
        consider(&mut draft, &resolved, observations.of(&key));
        if let Err(error) = write::status(ctx, &*buffer, &draft.finish()).await {
            return write::again(error);
        }
    }
    Ok(Next::After(INTERVAL))
}

/// Puts the status together.
fn consider(draft: &mut Draft<CapacityBuffer>, buffer: &Buffer, seen: Option<Observation>) {
    let resolved = match &buffer.outcome {
        Ok(resolved) => resolved,
        Err(fault) => {
            draft.set_false(READY_FOR_PROVISIONING, fault.reason(), &fault.message());
            draft.set_false(
                PROVISIONING,
                "NotReadyForProvisioning",
                "the buffer is not ready for provisioning",
            );
            return;
        }
    };
    let message = "Pod template resolved successfully";
    draft.set_true_because(READY_FOR_PROVISIONING, "Resolved", message);
    let status = draft.object.status.get_or_insert_default();
    status.replicas = Some(resolved.replicas);
    status.provisioning_strategy = Some(resolved.strategy.to_string());
    let template = resolved.template.as_ref();
    status.pod_template_ref = template.map(|(name, _)| PodTemplateReference {
        name: name.to_string(),
    });
    status.pod_template_generation = template.map(|(_, generation)| *generation);
    if resolved.replicas == 0 {
        draft.set_false(PROVISIONING, "BufferEmpty", "the buffer has no replicas");
        return;
    }
    let Some(Observation {
        pods,
        on_new,
        failed,
    }) = seen
    else {
        return;
    };
    if on_new + failed > 0 {
        let message =
            format!("{on_new}/{pods} virtual pods required new capacity, {failed} failed");
        draft.set_false(PROVISIONING, "RequiresNewCapacity", &message);
    } else {
        let message = format!("All {pods} virtual pods fit on existing capacity");
        draft.set_true_because(PROVISIONING, "FitsExistingCapacity", &message);
    }
}
