//! The board's own watches of the local cluster: it sees what `kubectl` would see, no more.

use futures::StreamExt as _;
use karpenter_api::{
    NodeClaim,
    objects::{Node, Pod},
};
use kube::{
    Api, Client, Resource,
    runtime::watcher::{self, Event, watcher},
};
use serde::de::DeserializeOwned;
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::Instant,
};

use super::board::Board;

/// Something seen.
pub(super) enum Sight {
    Pod(Box<Pod>, Instant),
    PodGone(Box<Pod>),
    Node(Box<Node>),
    NodeGone(Box<Node>),
    Claim(Box<NodeClaim>),
    ClaimGone(Box<NodeClaim>),
}

/// Starts the watches. They end with the runtime.
pub(super) fn sights(client: &Client) -> UnboundedReceiver<Sight> {
    let (sender, receiver) = unbounded_channel();
    follow::<Pod>(
        client,
        &sender,
        |pod| Sight::Pod(Box::new(pod), Instant::now()),
        |pod| Sight::PodGone(Box::new(pod)),
    );
    follow::<Node>(
        client,
        &sender,
        |node| Sight::Node(Box::new(node)),
        |node| Sight::NodeGone(Box::new(node)),
    );
    follow::<NodeClaim>(
        client,
        &sender,
        |claim| Sight::Claim(Box::new(claim)),
        |claim| Sight::ClaimGone(Box::new(claim)),
    );
    receiver
}

fn follow<K>(
    client: &Client,
    sender: &UnboundedSender<Sight>,
    seen: fn(K) -> Sight,
    gone: fn(K) -> Sight,
) where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + std::fmt::Debug + Send + 'static,
{
    let (api, sender) = (Api::<K>::all(client.clone()), sender.clone());
    tokio::spawn(async move {
        let mut events = std::pin::pin!(watcher(api, watcher::Config::default()));
        while let Some(event) = events.next().await {
            let sight = match event {
                Ok(Event::Apply(object) | Event::InitApply(object)) => seen(object),
                Ok(Event::Delete(object)) => gone(object),
                Ok(Event::Init | Event::InitDone) => continue,
                // The watcher comes back by itself; give the server a moment.
                Err(_) => {
                    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
                    continue;
                }
            };
            if sender.send(sight).is_err() {
                return;
            }
        }
    });
}

/// Puts what was seen on the board.
pub(super) fn take(board: &mut Board, sight: Sight) {
    match sight {
        Sight::Pod(pod, at) => board.pod(&pod, at),
        Sight::PodGone(pod) => board.pod_gone(&pod),
        Sight::Node(node) => board.node(&node),
        Sight::NodeGone(node) => board.node_gone(&node),
        Sight::Claim(claim) => board.claim(&claim),
        Sight::ClaimGone(claim) => board.claim_gone(&claim),
    }
}
