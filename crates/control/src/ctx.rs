//! The only bag of dependencies: what every controller is given, and nothing else is global.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use karpenter_api::objects::pod::TopologySpreadConstraint;
use karpenter_cloud::Cloud;
use karpenter_plan::{
    Command, DisruptOptions,
    schedule::{self, MinValuesPolicy, ReservedPolicy},
};
use kube::Client;

use crate::{
    batch::Batcher,
    clock::Clock,
    decision::Decisions,
    events::{Recorder, Writer},
    gates::FeatureGates,
    metrics::Metrics,
    mirror::Mirror,
    status::{Settled, Status},
};

/// Client, cloud, clock, options, mirror, and where results are told.
pub struct Ctx {
    /// The cluster, with our layers around it (see [`crate::client`]).
    pub client: Client,
    /// Whatever makes machines.
    pub cloud: Arc<dyn Cloud>,
    /// What time it is.
    pub clock: Clock,
    /// What the operator chose.
    pub options: Options,
    /// What is known of the cluster.
    pub mirror: Arc<Mirror>,
    /// Kubernetes events.
    pub events: Recorder,
    /// What was decided, for people who watch.
    pub decisions: Decisions,
    /// What starts scheduling rounds.
    pub batcher: Batcher,
    /// Whether anything is left to do.
    pub status: Status,
    /// What is counted and measured.
    pub metrics: Arc<Metrics>,
    /// Writes the events; taken by [`crate::run`].
    pub(crate) writer: Mutex<Option<Writer>>,
}

impl Ctx {
    /// Everything that controllers need, around a client, a cloud and a clock.
    pub fn new(client: Client, cloud: Arc<dyn Cloud>, clock: Clock, options: Options) -> Arc<Self> {
        let metrics = Arc::new(Metrics::new(clock));
        Self::measured(client, cloud, clock, options, metrics)
    }

    /// The same with metrics that others count in, too: the layers of the client, for instance.
    pub fn measured(
        client: Client,
        cloud: Arc<dyn Cloud>,
        clock: Clock,
        options: Options,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let (events, writer) = Recorder::new(clock);
        let mirror =
            Mirror::with_nomination_window(cloud.well_known(), options.nomination_window());
        mirror.set_gates(options.gates);
        mirror.set_default_constraints(Arc::clone(&options.default_constraints));
        if !options.ignore_dra_requests {
            mirror.honor_devices();
        }
        let mirror = Arc::new(mirror);
        metrics.observe(&mirror, &*cloud);
        let cloud = metrics.measured(cloud);
        let ctx = Self {
            client,
            cloud,
            clock,
            options,
            mirror,
            events,
            decisions: Decisions::default(),
            batcher: Batcher::default(),
            status: Status::default(),
            metrics,
            writer: Mutex::new(Some(writer)),
        };
        Arc::new(ctx)
    }

    /// Whether anything is left to do.
    pub fn settled(&self) -> Settled {
        self.status.settled(&self.mirror, &self.batcher)
    }
}

/// What the operator chose. The defaults are upstream's.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// A batch closes after this long without a new trigger.
    pub batch_idle: Duration,
    /// A batch closes after this long whatever comes.
    pub batch_max: Duration,
    /// Millicores that this process may use; drives concurrency.
    pub cpu_requests: u32,
    /// Whether preferences act as requirements while they can be met.
    pub preferences: Preferences,
    /// Whether `minValues` may be relaxed.
    pub min_values: MinValues,
    /// Whether pods with resource claims are left out.
    pub ignore_dra_requests: bool,
    /// Spreads for pods that state none.
    pub default_constraints: Arc<[TopologySpreadConstraint]>,
    /// Which features are on.
    pub gates: FeatureGates,
    /// Seed of everything that is random.
    pub seed: u64,
    /// Where rounds are computed.
    pub computing: Computing,
    /// How watches get their first state.
    pub listing: Listing,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            batch_idle: Duration::from_secs(1),
            batch_max: Duration::from_secs(10),
            cpu_requests: 1000,
            preferences: Preferences::Respect,
            min_values: MinValues::Strict,
            ignore_dra_requests: true,
            default_constraints: Arc::default(),
            gates: FeatureGates::default(),
            seed: 0,
            computing: Computing::OffThread,
            listing: Listing::Paged,
        }
    }
}

impl Options {
    /// What the core is asked with in a round of disruption.
    pub fn disruption<'a>(&self, commands: &'a [Command], round: u64) -> DisruptOptions<'a> {
        DisruptOptions {
            commands,
            ignore_consolidate_after: false,
            spot_to_spot: self.gates.spot_to_spot_consolidation,
            static_capacity: self.gates.static_capacity,
            scheduling: self.scheduling(round),
        }
    }

    /// What the core is asked with in a round of scheduling; rounds differ by seed only.
    pub fn scheduling(&self, round: u64) -> schedule::Options {
        schedule::Options {
            seed: self.seed.wrapping_add(round),
            min_values: match self.min_values {
                MinValues::Strict => MinValuesPolicy::Strict,
                MinValues::BestEffort => MinValuesPolicy::BestEffort,
            },
            reserved: if self.gates.reserved_capacity {
                ReservedPolicy::Strict
            } else {
                ReservedPolicy::Ignored
            },
            ignore_preferences: self.preferences == Preferences::Ignore,
        }
    }

    /// How long a node stays nominated for the pods that were placed on it.
    pub fn nomination_window(&self) -> Duration {
        (2 * self.batch_max).max(Duration::from_secs(10))
    }
}

/// Whether preferences act as requirements while they can be met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preferences {
    /// They do, and are dropped one by one.
    #[default]
    Respect,
    /// They do not.
    Ignore,
}

/// Whether `minValues` may be relaxed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinValues {
    /// They may not.
    #[default]
    Strict,
    /// They may, when a new claim is opened.
    BestEffort,
}

/// Where rounds are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Computing {
    /// On the calling task: in virtual time a second thread would race the tasks that are ready.
    Inline,
    /// On a thread of its own, so that the runtime keeps serving.
    #[default]
    OffThread,
}

impl Computing {
    /// Runs a computation where the strategy says.
    pub async fn run<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> T {
        match self {
            Self::Inline => work(),
            Self::OffThread => match tokio::task::spawn_blocking(work).await {
                Ok(result) => result,
                Err(failure) => std::panic::resume_unwind(failure.into_panic()),
            },
        }
    }
}

/// How watches get their first state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Listing {
    /// Lists in pages, then a watch: every server can do it.
    #[default]
    Paged,
    /// A watch that begins with the state (servers from 1.34 on).
    Streamed,
}
