//! The loop of the mini control plane: changes in, decisions of each controller in turn, writes out, one after the
//! other. One task, one order: that is what makes two runs the same. It sleeps until something changes or a
//! controller's appointment comes.
//!
//! The answer to each write is taken into the [`Cluster`] at once, so no controller decides twice about the same
//! thing while the watch is still on its way.

use std::collections::BTreeSet;

use futures::FutureExt;
use futures::stream::{BoxStream, SelectAll, StreamExt};
use kube::Client;
use tokio::time::Instant;
use tracing::debug;

use crate::clock::Clock;
use crate::cluster::{Change, Cluster, Kind};
use crate::controller::{Controller, View};
use crate::watch::{Event, events};
use crate::write::Write;
use crate::writer::Writer;

/// The control plane before it runs.
pub(crate) struct Plane {
    clock: Clock,
    cluster: Cluster,
    controllers: Vec<Box<dyn Controller>>,
    events: SelectAll<BoxStream<'static, Event>>,
    writer: Writer,
    /// Kinds whose first list has not come yet: nobody decides before.
    unlisted: BTreeSet<Kind>,
}

impl Plane {
    pub(crate) fn new(
        client: &Client,
        clock: Clock,
        controllers: Vec<Box<dyn Controller>>,
    ) -> Self {
        Self {
            clock,
            cluster: Cluster::default(),
            controllers,
            events: events(client),
            writer: Writer::new(client.clone()),
            unlisted: Kind::ALL.into(),
        }
    }

    /// Runs until dropped.
    pub(crate) async fn run(mut self) {
        loop {
            self.take_ready_events();
            if self.unlisted.is_empty() && self.work().await {
                continue;
            }
            let wake = self
                .controllers
                .iter()
                .filter_map(|controller| controller.wake())
                .min();
            let wake = wake.filter(|_| self.unlisted.is_empty());
            tokio::select! {
                biased;
                event = self.events.next() => match event {
                    Some(event) => self.take(event),
                    // Every watch ended, which a watcher never does of its own accord.
                    None => return,
                },
                () = until(wake) => {}
            }
        }
    }

    /// Takes in everything that has arrived.
    fn take_ready_events(&mut self) {
        while let Some(Some(event)) = self.events.next().now_or_never() {
            self.take(event);
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Applied(object) => {
                let change = self.cluster.put(*object);
                self.note(change);
            }
            Event::Deleted(kind, key, version) => {
                let change = self.cluster.remove(kind, &key, Some(version));
                self.note(change);
            }
            Event::Listed(kind, keys) => {
                for key in self.cluster.keys(kind).difference(&keys) {
                    let change = self.cluster.remove(kind, key, None);
                    self.note(change);
                }
                self.unlisted.remove(&kind);
            }
        }
    }

    fn note(&mut self, change: Option<Change>) {
        let Some(change) = change else { return };
        let view = View {
            cluster: &self.cluster,
            clock: self.clock,
            now: Instant::now(),
        };
        for controller in &mut self.controllers {
            controller.observe(&change, &view);
        }
    }

    /// Asks each controller once; says whether any of them wrote.
    async fn work(&mut self) -> bool {
        let mut wrote = false;
        for index in 0..self.controllers.len() {
            let view = View {
                cluster: &self.cluster,
                clock: self.clock,
                now: Instant::now(),
            };
            let writes = self.controllers[index].work(&view);
            for write in writes {
                wrote = true;
                self.write(index, &write).await;
            }
        }
        wrote
    }

    async fn write(&mut self, index: usize, write: &Write) {
        match self.writer.perform(&write.action).await {
            Ok(answer) => {
                let change = answer.and_then(|object| self.cluster.put(object));
                self.note(change);
            }
            Err(error) => {
                debug!(on_behalf_of = %write.on_behalf_of, %error, "write failed");
                let view = View {
                    cluster: &self.cluster,
                    clock: self.clock,
                    now: Instant::now(),
                };
                self.controllers[index].failed(write, &view);
            }
        }
    }
}

/// Sleeps until an instant, or for ever.
async fn until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake).await,
        None => std::future::pending().await,
    }
}
