//! One watch per kind, lowered and merged into a single stream in a fixed order. Objects that do not decode are set
//! aside with a warning: one of them must not stop the watch of its kind.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::Duration;

use futures::stream::{BoxStream, SelectAll, StreamExt, select_all};
use kube::core::DeserializeGuard;
use kube::runtime::watcher;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tracing::warn;

use crate::cluster::{Kind, Object};
use crate::objects::{
    BudgetWire, DaemonSetWire, DeploymentWire, JobWire, Key, Meta, NamespaceWire, NodeWire,
    PodWire, ReplicaSetWire,
};

/// What a watch says.
#[derive(Debug)]
pub(crate) enum Event {
    Applied(Box<Object>),
    Deleted(Kind, Key, u64),
    /// A list was read: there is nothing of this kind but these.
    Listed(Kind, BTreeSet<Key>),
}

/// How long a watch waits before it asks again after an error.
const PAUSE: Duration = Duration::from_secs(1);

/// The server may close watches sooner; there is no reason for us to.
const TIMEOUT_SECONDS: u32 = 24 * 60 * 60;

/// The events of all kinds that the control plane reads.
pub(crate) fn events(client: &Client) -> SelectAll<BoxStream<'static, Event>> {
    select_all(Kind::ALL.map(|kind| match kind {
        Kind::Namespace => {
            watch::<NamespaceWire>(client, kind, |wire| Object::Namespace(wire.into()))
        }
        Kind::Node => watch::<NodeWire>(client, kind, |wire| Object::Node(wire.into())),
        Kind::Deployment => {
            watch::<DeploymentWire>(client, kind, |wire| Object::Deployment(wire.into()))
        }
        Kind::ReplicaSet => {
            watch::<ReplicaSetWire>(client, kind, |wire| Object::ReplicaSet(wire.into()))
        }
        Kind::DaemonSet => {
            watch::<DaemonSetWire>(client, kind, |wire| Object::DaemonSet(wire.into()))
        }
        Kind::Job => watch::<JobWire>(client, kind, |wire| Object::Job(wire.into())),
        Kind::Budget => watch::<BudgetWire>(client, kind, |wire| Object::Budget(wire.into())),
        Kind::Pod => watch::<PodWire>(client, kind, |wire| Object::Pod(wire.into())),
    }))
}

fn watch<K>(client: &Client, kind: Kind, lower: fn(K) -> Object) -> BoxStream<'static, Event>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let api: Api<DeserializeGuard<K>> = Api::all(client.clone());
    let config = watcher::Config::default().timeout(TIMEOUT_SECONDS);
    let mut listed = BTreeSet::new();
    watcher(api, config)
        .then(|event| async {
            if event.is_err() {
                tokio::time::sleep(PAUSE).await;
            }
            event
        })
        .filter_map(move |event| {
            let event = match event {
                Ok(watcher::Event::Apply(wire)) => {
                    decoded(kind, wire).map(|wire| Event::Applied(Box::new(lower(wire))))
                }
                Ok(watcher::Event::InitApply(wire)) => decoded(kind, wire).map(|wire| {
                    let object = lower(wire);
                    listed.insert(object.meta().key.clone());
                    Event::Applied(Box::new(object))
                }),
                Ok(watcher::Event::Delete(wire)) => {
                    let meta = Meta::from(match wire.0 {
                        Ok(mut wire) => std::mem::take(wire.meta_mut()),
                        Err(invalid) => invalid.metadata,
                    });
                    Some(Event::Deleted(kind, meta.key, meta.version))
                }
                Ok(watcher::Event::Init) => {
                    listed.clear();
                    None
                }
                Ok(watcher::Event::InitDone) => {
                    Some(Event::Listed(kind, std::mem::take(&mut listed)))
                }
                Err(error) => {
                    warn!(?kind, %error, "watch failed");
                    None
                }
            };
            std::future::ready(event)
        })
        .boxed()
}

fn decoded<K>(kind: Kind, wire: DeserializeGuard<K>) -> Option<K> {
    wire.0
        .inspect_err(|error| warn!(?kind, name = ?error.metadata.name, %error, "object set aside"))
        .ok()
}
