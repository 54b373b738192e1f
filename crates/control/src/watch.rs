//! One watch per kind, decoded once, into the mirror.
//!
//! Custom kinds are decoded one by one, so that an object of a newer release that does not decode is
//! set aside by name instead of stopping the watch of its kind. What we never read (managed fields)
//! is dropped before anything is kept. Deletions reach the mirror like any other change.

use std::{fmt::Debug, sync::Arc, time::Duration};

use futures::{Stream, StreamExt};
use karpenter_api::{
    CapacityBuffer, NodeClaim, NodeOverlay, NodePool,
    labels::NODEPOOL,
    objects::{
        CSINode, DaemonSet, Deployment, DeviceClass, Namespace, Node, PersistentVolume,
        PersistentVolumeClaim, Pod, PodDisruptionBudget, ReplicaSet, ReplicationController,
        ResourceClaim, ResourceSlice, Service, StatefulSet, StorageClass, workload::PodTemplate,
    },
};
use karpenter_cloud::NodeClassKind;
use kube::{
    Api, Resource, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind},
    core::DeserializeGuard,
    runtime::watcher::{self, Event, watcher},
};
use serde::de::DeserializeOwned;
use tracing::{debug, warn};

use crate::{
    Task,
    ctx::{Ctx, Listing},
    mirror::{Key, Mirror, Mirrored, NodeClass, Written},
};

/// The pause after a failed watch; it doubles up to [`LONGEST_PAUSE`] while failures go on.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A restart of the API server ends every watch once; what fails more often in a row needs somebody.
const WORTH_TELLING: u32 = 3;

/// The watches of every kind that is read, in the order in which they start.
pub(crate) fn tasks(ctx: &Arc<Ctx>) -> Vec<Task> {
    let mut tasks: Vec<Task> = vec![
        Box::pin(custom::<NodePool>(Arc::clone(ctx))),
        Box::pin(custom::<NodeClaim>(Arc::clone(ctx))),
        Box::pin(built_in::<Node>(Arc::clone(ctx))),
        Box::pin(built_in::<DaemonSet>(Arc::clone(ctx))),
        Box::pin(built_in::<PodDisruptionBudget>(Arc::clone(ctx))),
        Box::pin(built_in::<Namespace>(Arc::clone(ctx))),
        Box::pin(built_in::<StorageClass>(Arc::clone(ctx))),
        Box::pin(built_in::<PersistentVolume>(Arc::clone(ctx))),
        Box::pin(built_in::<PersistentVolumeClaim>(Arc::clone(ctx))),
        Box::pin(built_in::<CSINode>(Arc::clone(ctx))),
    ];
    let gates = &ctx.options.gates;
    if gates.node_overlay {
        tasks.push(Box::pin(custom::<NodeOverlay>(Arc::clone(ctx))));
    }
    if gates.capacity_buffer {
        tasks.push(Box::pin(custom::<CapacityBuffer>(Arc::clone(ctx))));
        tasks.push(Box::pin(built_in::<PodTemplate>(Arc::clone(ctx))));
        tasks.push(Box::pin(built_in::<Deployment>(Arc::clone(ctx))));
    }
    let has_default_constraints = !ctx.options.default_constraints.is_empty();
    if has_default_constraints {
        tasks.push(Box::pin(built_in::<Service>(Arc::clone(ctx))));
        tasks.push(Box::pin(built_in::<ReplicationController>(Arc::clone(ctx))));
    }
    if has_default_constraints || gates.capacity_buffer {
        tasks.push(Box::pin(built_in::<ReplicaSet>(Arc::clone(ctx))));
        tasks.push(Box::pin(built_in::<StatefulSet>(Arc::clone(ctx))));
    }
    if !ctx.options.ignore_dra_requests {
        tasks.push(Box::pin(built_in::<DeviceClass>(Arc::clone(ctx))));
        tasks.push(Box::pin(built_in::<ResourceSlice>(Arc::clone(ctx))));
        tasks.push(Box::pin(built_in::<ResourceClaim>(Arc::clone(ctx))));
    }
    for kind in ctx.cloud.node_class_kinds() {
        tasks.push(Box::pin(node_classes(Arc::clone(ctx), *kind)));
    }
    // Last: a pod of the first list finds its node lowered already.
    tasks.push(Box::pin(built_in::<Pod>(Arc::clone(ctx))));
    tasks
}

fn config(listing: Listing) -> watcher::Config {
    match listing {
        Listing::Paged => watcher::Config::default(),
        Listing::Streamed => watcher::Config::default().streaming_lists(),
    }
}

/// A kind whose objects always decode, since nothing in the read model is required.
async fn built_in<K>(ctx: Arc<Ctx>)
where
    K: Written,
{
    let api: Api<K> = Api::all(ctx.client.clone());
    follow::<K, K>(
        &ctx,
        &K::kind(&()),
        watcher(api, config(ctx.options.listing)),
        |object| Ok(object),
    )
    .await;
}

/// A kind whose objects may be of a newer release than we are.
async fn custom<K>(ctx: Arc<Ctx>)
where
    K: Written,
    DeserializeGuard<K>: Resource<DynamicType = ()> + DeserializeOwned,
{
    let api: Api<DeserializeGuard<K>> = Api::all(ctx.client.clone());
    follow::<K, _>(
        &ctx,
        &K::kind(&()),
        watcher(api, config(ctx.options.listing)),
        |guard| {
            guard.0.map_err(|invalid| {
                let labels = invalid.metadata.labels.as_ref();
                Undecoded {
                    key: Key::of(&invalid.metadata),
                    pool: labels.and_then(|labels| labels.get(NODEPOOL)).cloned(),
                    error: invalid.error,
                }
            })
        },
    )
    .await;
}

/// The node classes of one kind, of which only metadata and conditions are read.
async fn node_classes(ctx: Arc<Ctx>, kind: NodeClassKind) {
    let resource = ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk(kind.group, kind.version, kind.kind),
        kind.plural,
    );
    let api: Api<DynamicObject> = Api::all_with(ctx.client.clone(), &resource);
    follow::<NodeClass, _>(
        &ctx,
        kind.kind,
        watcher(api, config(ctx.options.listing)),
        move |object| Ok(NodeClass::new(kind.group, kind.kind, &object)),
    )
    .await;
}

/// An object that is there but not of a shape we know.
struct Undecoded {
    key: Key,
    pool: Option<String>,
    error: String,
}

/// Feeds the events of one watch into the mirror, for ever.
async fn follow<K, Raw>(
    ctx: &Ctx,
    kind: &str,
    events: impl Stream<Item = watcher::Result<Event<Raw>>>,
    decode: impl Fn(Raw) -> Result<K, Undecoded>,
) where
    K: Mirrored,
    Raw: ResourceExt + Debug,
{
    let mirror = &ctx.mirror;
    let mut failures = 0_u32;
    futures::pin_mut!(events);
    while let Some(event) = events.next().await {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                let pause = FIRST_PAUSE
                    .saturating_mul(1 << failures.min(8))
                    .min(LONGEST_PAUSE);
                failures += 1;
                if failures == WORTH_TELLING {
                    warn!(kind, %error, "watch fails again and again");
                } else {
                    debug!(kind, %error, "watch failed, trying again");
                }
                tokio::time::sleep(pause).await;
                continue;
            }
        };
        failures = 0;
        let event = event.modify(|object| object.managed_fields_mut().clear());
        match event {
            Event::Init => {
                mirror.begin_list::<K>();
            }
            Event::InitApply(raw) => {
                let key = take_in(mirror, kind, decode(raw));
                mirror.see::<K>(&key);
            }
            Event::Apply(raw) => {
                take_in(mirror, kind, decode(raw));
            }
            Event::InitDone => {
                mirror.end_list::<K>();
            }
            Event::Delete(raw) => {
                let uid = raw.uid().unwrap_or_default();
                let key = match decode(raw) {
                    Ok(object) => object.key(),
                    Err(undecoded) => undecoded.key,
                };
                mirror.accept::<K>(&key);
                mirror.delete::<K>(&key, &uid);
            }
        }
    }
}

/// An object as the server has it; one that cannot be read is set aside by name.
fn take_in<K: Mirrored>(mirror: &Mirror, kind: &str, decoded: Result<K, Undecoded>) -> Key {
    match decoded {
        Ok(object) => {
            let key = object.key();
            mirror.accept::<K>(&key);
            mirror.apply(object);
            key
        }
        Err(Undecoded { key, pool, error }) => {
            warn!(kind, %key, %error, "object does not decode and is set aside");
            mirror.set_aside::<K>(key.clone(), pool, error);
            key
        }
    }
}
