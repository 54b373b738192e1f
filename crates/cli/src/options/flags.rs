//! The controller's flags as a table: name, variable, default and what it means.
//!
//! Every flag is taken as text here and given its type in [`super::values`], because upstream treats
//! the text of a flag and of a variable differently.

use std::collections::BTreeMap;

use clap::{Arg, ArgAction, ArgMatches, Command};

/// What a value looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shape {
    Text,
    Number,
    Switch,
    Duration,
}

/// Who takes a flag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Taker {
    /// The controller only.
    Controller,
    /// Every command that schedules.
    Scheduling,
}

/// One flag and its environment variable.
#[derive(Debug)]
pub(crate) struct Flag {
    pub(crate) name: &'static str,
    pub(crate) variable: &'static str,
    pub(crate) default: &'static str,
    pub(crate) shape: Shape,
    pub(crate) taker: Taker,
    about: &'static str,
}

macro_rules! flags {
    ($($name:literal $variable:literal $default:literal $shape:ident $taker:ident $about:literal;)*) => {
        &[$(Flag {
            name: $name,
            variable: $variable,
            default: $default,
            shape: Shape::$shape,
            taker: Taker::$taker,
            about: $about,
        }),*]
    };
}

/// Upstream's core flags. The order is that of the help text.
pub(crate) const FLAGS: &[Flag] = flags! {
    "batch-idle-duration" "BATCH_IDLE_DURATION" "1s" Duration Controller
        "A batch of pods closes after this long without a new one";
    "batch-max-duration" "BATCH_MAX_DURATION" "10s" Duration Controller
        "A batch of pods closes after this long whatever comes";
    "preference-policy" "PREFERENCE_POLICY" "Respect" Text Scheduling
        "`Respect` or `Ignore`: whether preferences act as requirements while they can be met";
    "min-values-policy" "MIN_VALUES_POLICY" "Strict" Text Scheduling
        "`Strict` or `BestEffort`: whether minValues may be relaxed";
    "ignore-dra-requests" "IGNORE_DRA_REQUESTS" "true" Switch Scheduling
        "Whether pods with resource claims are left out";
    "scheduler-config" "SCHEDULER_CONFIG" "" Text Scheduling
        "YAML or JSON: `podTopologySpread.defaultConstraints` for pods that state no spread";
    "feature-gates" "FEATURE_GATES" "" Text Scheduling
        "`Gate=true,Other=false`; unknown gates are ignored";
    "metrics-port" "METRICS_PORT" "8080" Number Controller
        "The port of /metrics; 0 takes a free one";
    "health-probe-port" "HEALTH_PROBE_PORT" "8081" Number Controller
        "The port of /healthz and /readyz; 0 takes a free one";
    "enable-profiling" "ENABLE_PROFILING" "false" Switch Controller
        "Whether the metrics port answers below /debug/pprof";
    "log-level" "LOG_LEVEL" "info" Text Controller
        "`debug`, `info` or `error`";
    "log-output-paths" "LOG_OUTPUT_PATHS" "stdout" Text Controller
        "Where the log goes: `stdout`, `stderr` or files, separated by commas";
    "log-error-output-paths" "LOG_ERROR_OUTPUT_PATHS" "stderr" Text Controller
        "Where faults of the log itself go";
    "kube-client-qps" "KUBE_CLIENT_QPS" "200" Number Controller
        "Requests a second to the API server, in the long run";
    "kube-client-burst" "KUBE_CLIENT_BURST" "300" Number Controller
        "Requests that may come at once after a quiet time";
    "disable-leader-election" "DISABLE_LEADER_ELECTION" "false" Switch Controller
        "Run at once, without asking whether another replica does";
    "leader-election-name" "LEADER_ELECTION_NAME" "karpenter-leader-election" Text Controller
        "The name of the Lease";
    "leader-election-namespace" "LEADER_ELECTION_NAMESPACE" "" Text Controller
        "The namespace of the Lease; by default the one this runs in, else that of the kubeconfig";
    "disable-controller-warmup" "DISABLE_CONTROLLER_WARMUP" "true" Switch Controller
        "Whether replicas that wait for the Lease leave the cluster unwatched";
    "disable-cluster-state-observability" "DISABLE_CLUSTER_STATE_OBSERVABILITY" "false" Switch Controller
        "Leave out the metrics that grow with the cluster";
    "cpu-requests" "CPU_REQUESTS" "1000" Number Controller
        "Millicores that this process may use; worker numbers are computed from it, and told";
    "memory-limit" "MEMORY_LIMIT" "-1" Number Controller
        "Bytes that this process may use; a soft limit is computed from it, and told";
    "karpenter-service" "KARPENTER_SERVICE" "" Text Controller
        "Has no effect; accepted because deployments pass it";
};

impl Flag {
    fn argument(&self) -> Arg {
        let argument = Arg::new(self.name)
            .long(self.name)
            .action(ArgAction::Set)
            .allow_negative_numbers(true)
            .help(format!(
                "{} [{}{}]",
                self.about,
                self.variable,
                if self.default.is_empty() {
                    String::new()
                } else {
                    format!(", else {}", self.default)
                }
            ));
        match self.shape {
            Shape::Text => argument.value_name("TEXT"),
            Shape::Number => argument.value_name("NUMBER"),
            Shape::Duration => argument.value_name("DURATION"),
            Shape::Switch => argument
                .value_name("BOOL")
                .num_args(0..=1)
                .default_missing_value("true"),
        }
    }
}

/// The flags that were given, by name, as text. `ALL` takes the controller's flags, too.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given<const ALL: bool>(pub(crate) BTreeMap<&'static str, String>);

impl<const ALL: bool> Given<ALL> {
    fn flags() -> impl Iterator<Item = &'static Flag> {
        FLAGS
            .iter()
            .filter(|flag| ALL || flag.taker == Taker::Scheduling)
    }
}

impl<const ALL: bool> clap::Args for Given<ALL> {
    fn augment_args(command: Command) -> Command {
        // The last of several wins, as with upstream's parser.
        Self::flags().fold(command.args_override_self(true), |command, flag| {
            command.arg(flag.argument())
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<const ALL: bool> clap::FromArgMatches for Given<ALL> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = Self::flags().filter_map(|flag| {
            let text = matches.get_one::<String>(flag.name)?;
            Some((flag.name, text.clone()))
        });
        Ok(Self(given.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
