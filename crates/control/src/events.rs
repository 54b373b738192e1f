//! Reasons for people: Kubernetes Event objects, de-duplicated as upstream does it.
//!
//! The key of a duplicate is the reason and the values that the event names, usually the object's
//! uid: within the window the first explanation wins. What remains is written by one task, in order,
//! so that publishing never waits and never fails. Time is the injected clock's.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1 as core,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{Api, Client, Resource, api::PostParams};
use tokio::sync::mpsc;
use tracing::debug;

use crate::{client::Bucket, clock::Clock};

/// Upstream's usual window.
pub const WINDOW: Duration = Duration::from_mins(2);
/// The source component of every event.
const COMPONENT: &str = "karpenter";
/// The namespace of events about cluster-wide objects.
const CLUSTER_WIDE: &str = "default";

/// Whether an event asks for attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something happened.
    Normal,
    /// Something is wrong.
    Warning,
}

/// Something worth telling about an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The object.
    pub about: core::ObjectReference,
    /// Whether it asks for attention.
    pub severity: Severity,
    /// One word in CamelCase.
    pub reason: String,
    /// A sentence.
    pub message: String,
    /// What makes two events of this reason the same.
    pub same: Vec<String>,
    /// For how long the same event is not repeated; zero for events that are never suppressed.
    pub window: Duration,
    /// True for events that share the small budget of events a second.
    pub limited: bool,
}

impl Event {
    /// An event about an object; the same again within two minutes (by uid) is dropped.
    pub fn new<K: Resource<DynamicType = ()>>(
        severity: Severity,
        object: &K,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self::about(object.object_ref(&()), severity, reason, message)
    }

    /// A normal event.
    pub fn normal<K: Resource<DynamicType = ()>>(
        object: &K,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self::new(Severity::Normal, object, reason, message)
    }

    /// A warning.
    pub fn warning<K: Resource<DynamicType = ()>>(
        object: &K,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self::new(Severity::Warning, object, reason, message)
    }

    /// An event about an object that only a reference is at hand of.
    pub fn about(
        about: core::ObjectReference,
        severity: Severity,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        let same = vec![about.uid.clone().unwrap_or_default()];
        Self {
            about,
            severity,
            reason: reason.into(),
            message: message.into(),
            same,
            window: WINDOW,
            limited: false,
        }
    }

    /// Sets what makes two events of this reason the same.
    pub fn same(mut self, values: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.same = values.into_iter().map(Into::into).collect();
        self
    }

    /// Tells it apart from events of this reason about the same object by one more value.
    pub fn and(mut self, value: impl Into<String>) -> Self {
        self.same.push(value.into());
        self
    }

    /// Sets for how long the same event is not repeated.
    pub fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// Puts the event under the limit of 5 a second, 10 at once, that `Nominated` events share.
    pub fn limited(mut self) -> Self {
        self.limited = true;
        self
    }

    fn key(&self) -> String {
        let mut key = self.reason.to_lowercase();
        for value in &self.same {
            key.push('-');
            key.push_str(value);
        }
        key
    }
}

/// Takes events. Clones are handles to the same recorder.
#[derive(Clone)]
pub struct Recorder {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Clock,
    memory: Mutex<Memory>,
    sender: mpsc::UnboundedSender<core::Event>,
}

struct Memory {
    /// Until when an event is a duplicate, by key.
    seen: BTreeMap<String, Timestamp>,
    bucket: Bucket,
    counter: u64,
}

/// The other end of a recorder: whoever runs [`Writer::run`] writes the events.
pub struct Writer {
    receiver: mpsc::UnboundedReceiver<core::Event>,
}

impl Recorder {
    /// A recorder and the writer that it feeds.
    pub fn new(clock: Clock) -> (Self, Writer) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let memory = Mutex::new(Memory {
            seen: BTreeMap::new(),
            bucket: Bucket::new(5, 10),
            counter: 0,
        });
        (
            Self {
                shared: Arc::new(Shared {
                    clock,
                    memory,
                    sender,
                }),
            },
            Writer { receiver },
        )
    }

    /// A recorder whose events go nowhere.
    pub fn discarding() -> Self {
        Self::new(Clock::Real).0
    }

    /// Tells about something, unless the same was told a moment ago.
    pub fn publish(&self, event: Event) {
        let now = self.shared.clock.now();
        let counter = {
            let mut memory = self
                .shared
                .memory
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let key = event.key();
            if memory.seen.get(&key).is_some_and(|until| now < *until) {
                return;
            }
            memory.seen.retain(|_, until| now < *until);
            if !event.window.is_zero() {
                memory
                    .seen
                    .insert(key, now.saturating_add(event.window).unwrap_or(now));
            }
            if event.limited && !memory.bucket.try_take() {
                return;
            }
            memory.counter += 1;
            memory.counter
        };
        // Nobody listens when events are discarded or the process is ending.
        let _ = self.shared.sender.send(manifest(event, now, counter));
    }
}

impl Writer {
    /// Writes events until the recorder is gone. A failed write is a lost event.
    pub async fn run(mut self, client: Client) {
        while let Some(event) = self.receiver.recv().await {
            let namespace = event.metadata.namespace.as_deref().unwrap_or(CLUSTER_WIDE);
            let api: Api<core::Event> = Api::namespaced(client.clone(), namespace);
            if let Err(error) = api.create(&PostParams::default(), &event).await {
                debug!(%error, "an event was not written");
            }
        }
    }
}

/// The object as it is written. Nanoseconds and a counter make the name unique, as client-go's does.
fn manifest(event: Event, now: Timestamp, counter: u64) -> core::Event {
    let namespace = event
        .about
        .namespace
        .clone()
        .unwrap_or_else(|| CLUSTER_WIDE.to_owned());
    let name = event.about.name.clone().unwrap_or_default();
    let stamp = u64::try_from(now.as_nanosecond())
        .unwrap_or_default()
        .wrapping_add(counter);
    core::Event {
        metadata: ObjectMeta {
            name: Some(format!("{name}.{stamp:x}")),
            namespace: Some(namespace),
            ..ObjectMeta::default()
        },
        involved_object: event.about,
        type_: Some(format!("{:?}", event.severity)),
        reason: Some(event.reason),
        message: Some(event.message),
        count: Some(1),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        source: Some(core::EventSource {
            component: Some(COMPONENT.to_owned()),
            ..core::EventSource::default()
        }),
        reporting_component: Some(COMPONENT.to_owned()),
        reporting_instance: Some(String::new()),
        ..core::Event::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(uid: &str) -> core::ObjectReference {
        core::ObjectReference {
            uid: Some(uid.to_owned()),
            ..core::ObjectReference::default()
        }
    }

    fn event(uid: &str, reason: &str, message: &str) -> Event {
        Event::about(about(uid), Severity::Warning, reason, message)
    }

    /// Publishes events at given seconds and returns the messages that got through.
    async fn check(events: Vec<(u64, Event)>) -> Vec<String> {
        let clock = Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
        let (recorder, mut writer) = Recorder::new(clock);
        let start = tokio::time::Instant::now();
        for (second, event) in events {
            tokio::time::sleep_until(start + Duration::from_secs(second)).await;
            recorder.publish(event);
        }
        drop(recorder);
        let mut messages = Vec::new();
        while let Some(event) = writer.receiver.recv().await {
            messages.push(event.message.unwrap());
        }
        messages
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_event_is_told_once_in_its_window() {
        let five = |message| event("1", "FailedScheduling", message).window(Duration::from_mins(5));
        let told = check(vec![
            (0, five("a")),
            // The first explanation wins until the window ends, even if the cause changes.
            (200, five("b")),
            (299, five("c")),
            (300, five("d")),
        ])
        .await;
        assert_eq!(told, ["a", "d"], "operations/O29");
        let told = check(vec![
            (0, event("1", "X", "first")),
            (1, event("2", "X", "another object")),
            (2, event("1", "Y", "another reason")),
            (3, event("1", "X", "other values").same(["1", "more"])),
            (119, event("1", "X", "suppressed")),
            (120, event("1", "X", "again")),
        ])
        .await;
        assert_eq!(
            told,
            [
                "first",
                "another object",
                "another reason",
                "other values",
                "again"
            ]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_blocks_a_disruption_is_told_every_two_minutes() {
        let blocked = |second| (second, event("node", "DisruptionBlocked", "x"));
        let told = check(vec![blocked(0), blocked(60)]).await;
        assert_eq!(told.len(), 1, "operations/O31");
        let told = check(vec![blocked(0), blocked(60), blocked(120)]).await;
        assert_eq!(told.len(), 2, "operations/O31");
    }

    #[tokio::test(start_paused = true)]
    async fn limited_events_share_a_budget() {
        let nominated = |pod: u64| event(&pod.to_string(), "Nominated", "x").limited();
        let burst = (0..100).map(|pod| (0, nominated(pod)));
        assert_eq!(check(burst.collect()).await.len(), 10, "operations/O30");
        // What has used up the burst gets five a second from there on.
        let again = (0..200).map(|pod| (pod / 100, nominated(pod)));
        assert_eq!(check(again.collect()).await.len(), 15, "operations/O30");
        let steady = (0..20)
            .map(|pod| (pod, event(&pod.to_string(), "Nominated", "x").limited()))
            .collect();
        assert_eq!(check(steady).await.len(), 20);
    }
}
