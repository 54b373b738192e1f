//! Everything that an operator may set, with its type and checked.

use std::sync::Arc;

use karpenter_api::objects::pod::TopologySpreadConstraint;
use karpenter_control::{
    client::Limits,
    ctx::{self, MinValues, Preferences},
    gates::FeatureGates,
};
use karpenter_plan::{DisruptOptions, Options};

use super::values::Values;

/// What every command that schedules goes by.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Policies {
    preferences: Preferences,
    min_values: MinValues,
    ignore_dra_requests: bool,
    gates: FeatureGates,
    default_constraints: Arc<[TopologySpreadConstraint]>,
}

impl Policies {
    pub(super) fn read(values: &Values<'_>) -> anyhow::Result<Self> {
        let gates = values.text("feature-gates");
        Ok(Self {
            preferences: match values.text("preference-policy").as_str() {
                "Respect" => Preferences::Respect,
                "Ignore" => Preferences::Ignore,
                other => {
                    anyhow::bail!("invalid PREFERENCE_POLICY {other:?}; use Respect or Ignore")
                }
            },
            min_values: match values.text("min-values-policy").as_str() {
                "Strict" => MinValues::Strict,
                "BestEffort" => MinValues::BestEffort,
                other => {
                    anyhow::bail!("invalid MIN_VALUES_POLICY {other:?}; use Strict or BestEffort")
                }
            },
            ignore_dra_requests: values.switch("ignore-dra-requests")?,
            default_constraints: default_constraints(&values.text("scheduler-config"))?.into(),
            gates: gates
                .parse()
                .map_err(|error| anyhow::anyhow!("invalid FEATURE_GATES {gates:?}: {error}"))?,
        })
    }

    /// For a question that is answered once.
    pub(crate) fn plan(&self) -> Options {
        self.controller().scheduling(0)
    }

    /// For a question about disruption.
    pub(crate) fn disruption(&self) -> DisruptOptions<'static> {
        self.controller().disruption(&[], 0)
    }

    /// For controllers that run.
    pub(crate) fn controller(&self) -> ctx::Options {
        ctx::Options {
            preferences: self.preferences,
            min_values: self.min_values,
            ignore_dra_requests: self.ignore_dra_requests,
            gates: self.gates,
            default_constraints: Arc::clone(&self.default_constraints),
            ..ctx::Options::default()
        }
    }
}

/// The constraints of a document in YAML or JSON; none when it is empty.
fn default_constraints(text: &str) -> anyhow::Result<Vec<TopologySpreadConstraint>> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let document = serde_saphyr::from_str(text).map_err(|fault| {
        anyhow::anyhow!("invalid SCHEDULER_CONFIG, decoding scheduler config, {fault}")
    })?;
    karpenter_api::scheduler_config::default_constraints(&document)
        .map_err(|fault| anyhow::anyhow!("invalid SCHEDULER_CONFIG, {fault}"))
}

/// How much is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogLevel {
    Debug,
    Info,
    Error,
}

/// Everything that `karpenter controller` may be told, but for the provider and the kubeconfig.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// What the controllers go by.
    pub(crate) options: ctx::Options,
    /// The rate of the client.
    pub(crate) limits: Limits,
    pub(crate) metrics_port: u16,
    pub(crate) health_probe_port: u16,
    pub(crate) profiling: bool,
    pub(crate) log_level: LogLevel,
    pub(crate) log_output_paths: Vec<String>,
    pub(crate) log_error_output_paths: Vec<String>,
    pub(crate) leader_election: bool,
    pub(crate) leader_election_name: String,
    /// Empty for the namespace that the process finds itself in.
    pub(crate) leader_election_namespace: String,
    /// Whether the cluster is watched before the lease is won.
    pub(crate) warm_up: bool,
    /// Whether metrics may grow with the cluster.
    pub(crate) cluster_state_observability: bool,
    /// Bytes; none at all if not positive.
    pub(crate) memory_limit: i64,
}

impl Settings {
    pub(super) fn read(values: &Values<'_>) -> anyhow::Result<Self> {
        let options = ctx::Options {
            batch_idle: values.duration("batch-idle-duration")?,
            batch_max: values.duration("batch-max-duration")?,
            cpu_requests: cpu_requests(values.number("cpu-requests")?),
            ..Policies::read(values)?.controller()
        };
        let log_level = match values.text("log-level").as_str() {
            "" | "info" => LogLevel::Info,
            "debug" => LogLevel::Debug,
            "error" => LogLevel::Error,
            other => anyhow::bail!("invalid LOG_LEVEL {other:?}; use debug, info or error"),
        };
        // Has no effect, but a flag that deployments pass must be known.
        let _ = values.text("karpenter-service");
        Ok(Self {
            options,
            limits: Limits {
                queries_per_second: rate(values.number("kube-client-qps")?, 5),
                burst: rate(values.number("kube-client-burst")?, 10),
                ..Limits::default()
            },
            metrics_port: port(values, "metrics-port")?,
            health_probe_port: port(values, "health-probe-port")?,
            profiling: values.switch("enable-profiling")?,
            log_level,
            log_output_paths: paths(&values.text("log-output-paths")),
            log_error_output_paths: paths(&values.text("log-error-output-paths")),
            leader_election: !values.switch("disable-leader-election")?,
            leader_election_name: values.text("leader-election-name"),
            leader_election_namespace: values.text("leader-election-namespace"),
            warm_up: !values.switch("disable-controller-warmup")?,
            cluster_state_observability: !values.switch("disable-cluster-state-observability")?,
            memory_limit: values.number("memory-limit")?,
        })
    }
}

/// A container without a request reports none, which upstream takes for one core.
fn cpu_requests(millicores: i64) -> u32 {
    if millicores <= 0 {
        return 1000;
    }
    u32::try_from(millicores).unwrap_or(u32::MAX)
}

/// None asks for the default of upstream's client library, and a negative number for no limit.
fn rate(number: i64, unset: u32) -> u32 {
    match number {
        0 => unset,
        ..0 => u32::MAX,
        _ => u32::try_from(number).unwrap_or(u32::MAX),
    }
}

fn port(values: &Values<'_>, name: &str) -> anyhow::Result<u16> {
    let number = values.number(name)?;
    u16::try_from(number)
        .map_err(|_| anyhow::anyhow!("invalid --{name} {number}; a port is 0 to 65535"))
}

fn paths(text: &str) -> Vec<String> {
    text.split(',')
        .map(str::trim)
        .filter(|path| !path.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use clap::{Args as _, Command, FromArgMatches as _};

    use super::*;
    use crate::options::flags::{FLAGS, Given, Shape};

    /// Reads settings from flags as typed and variables as `NAME=value`.
    fn settings(flags: &[&str], variables: &[&str]) -> Result<Settings, String> {
        let command = Given::<true>::augment_args(Command::new("karpenter").no_binary_name(true));
        let given = command
            .try_get_matches_from(flags)
            .and_then(|matches| Given::<true>::from_arg_matches(&matches))
            .map_err(|error| error.to_string())?;
        let variables: BTreeMap<&str, &str> = variables
            .iter()
            .map(|pair| pair.split_once('=').unwrap())
            .collect();
        let values = Values {
            given: &given.0,
            variable: &|name| variables.get(name).map(|text| (*text).to_owned()),
        };
        Settings::read(&values).map_err(|error| error.to_string())
    }

    /// One fact about what was read.
    fn check<T: PartialEq + std::fmt::Debug>(
        row: &str,
        flags: &[&str],
        variables: &[&str],
        fact: impl Fn(&Settings) -> T,
        expected: &T,
    ) {
        match settings(flags, variables) {
            Ok(settings) => assert_eq!(fact(&settings), *expected, "{row}"),
            Err(error) => panic!("{row}: {error}"),
        }
    }

    fn refused(row: &str, flags: &[&str], variables: &[&str], words: &[&str]) {
        let error = settings(flags, variables).unwrap_err();
        for word in words {
            assert!(error.contains(word), "{row}: no {word:?} in {error}");
        }
    }

    #[test]
    fn a_variable_that_cannot_be_read_is_as_good_as_absent_and_a_flag_is_an_error() {
        check(
            "operations/O1",
            &[],
            &["BATCH_IDLE_DURATION=abc"],
            |read| read.options.batch_idle,
            &Duration::from_secs(1),
        );
        let words = ["--batch-idle-duration", "\"abc\"", "duration"];
        refused("operations/O2", &["--batch-idle-duration=abc"], &[], &words);
        let profiling = |read: &Settings| read.profiling;
        check(
            "operations/O3",
            &[],
            &["ENABLE_PROFILING=T"],
            profiling,
            &true,
        );
        let words = ["--enable-profiling", "true or false"];
        refused("operations/O4", &["--enable-profiling=T"], &[], &words);
        check(
            "operations/O5",
            &["--log-level=debug"],
            &["LOG_LEVEL=info"],
            |read| read.log_level,
            &LogLevel::Debug,
        );
        let port = |read: &Settings| read.metrics_port;
        check("not a number", &[], &["METRICS_PORT=http"], port, &8080);
        check("decimal only", &[], &["METRICS_PORT=0x10"], port, &8080);
        check("as in Go", &["--metrics-port", "0x10"], &[], port, &16);
        refused("no port", &["--metrics-port=70000"], &[], &["70000"]);
        refused("no number", &["--metrics-port=http"], &[], &["\"http\""]);
        refused("unknown", &["--cluster-name=x"], &[], &["--cluster-name"]);
    }

    #[test]
    fn a_text_is_checked_wherever_it_came_from() {
        let level = |read: &Settings| read.log_level;
        refused(
            "operations/O6",
            &[],
            &["LOG_LEVEL=warn"],
            &["LOG_LEVEL", "warn"],
        );
        check(
            "operations/O7",
            &[],
            &["LOG_LEVEL="],
            level,
            &LogLevel::Info,
        );
        let words = ["PREFERENCE_POLICY", "\"respect\"", "Respect or Ignore"];
        refused("operations/O8", &[], &["PREFERENCE_POLICY=respect"], &words);
        check(
            "operations/O9",
            &[],
            &["MIN_VALUES_POLICY=BestEffort"],
            |read| read.options.min_values,
            &MinValues::BestEffort,
        );
        refused(
            "scheduling/C8",
            &[],
            &["SCHEDULER_CONFIG=podTopologySpread: {constraints: []}"],
            &[
                "SCHEDULER_CONFIG",
                "decoding scheduler config",
                "unknown field",
            ],
        );
        let gates = |read: &Settings| read.options.gates;
        check(
            "operations/O10",
            &[],
            &["FEATURE_GATES=NodeRepair=true, Unknown=true"],
            gates,
            &FeatureGates {
                node_repair: true,
                ..FeatureGates::default()
            },
        );
        check(
            "operations/O10",
            &[],
            &["FEATURE_GATES=NodeRepair=true, Unknown=true"],
            |read| read.options.gates.reserved_capacity,
            &true,
        );
        let words = ["FEATURE_GATES", "NodeRepair"];
        refused("operations/O11", &[], &["FEATURE_GATES=NodeRepair"], &words);
        check(
            "operations/O12",
            &[],
            &["FEATURE_GATES="],
            gates,
            &FeatureGates::default(),
        );
    }

    #[test]
    fn numbers_that_mean_something_else() {
        let cpu = |read: &Settings| read.options.cpu_requests;
        check("operations/O13", &[], &["CPU_REQUESTS=0"], cpu, &1000);
        check("negative", &["--cpu-requests=-5"], &[], cpu, &1000);
        check("as given", &[], &["CPU_REQUESTS=1500"], cpu, &1500);
        let memory = |read: &Settings| read.memory_limit;
        check(
            "a negative value",
            &["--memory-limit", "-1"],
            &[],
            memory,
            &-1,
        );
        let rates = |read: &Settings| (read.limits.queries_per_second, read.limits.burst);
        check("upstream's rates", &[], &[], rates, &(200, 300));
        check(
            "the library's rates",
            &["--kube-client-qps=0", "--kube-client-burst=0"],
            &[],
            rates,
            &(5, 10),
        );
        check(
            "no rate",
            &["--kube-client-qps=-1"],
            &[],
            rates,
            &(u32::MAX, 300),
        );
    }

    #[test]
    fn switches_stand_alone_and_the_last_of_several_counts() {
        let facts = |read: &Settings| (read.leader_election, read.warm_up, read.log_level);
        check("defaults", &[], &[], facts, &(true, false, LogLevel::Info));
        let bare = ["--disable-leader-election", "--log-level", "error"];
        check("bare", &bare, &[], facts, &(false, false, LogLevel::Error));
        let apart = [
            "--disable-controller-warmup",
            "false",
            "--disable-leader-election=false",
        ];
        let other = ["DISABLE_LEADER_ELECTION=1"];
        check(
            "spelled out",
            &apart,
            &other,
            facts,
            &(true, true, LogLevel::Info),
        );
        let twice = ["--log-level=error", "--log-level=debug"];
        check("twice", &twice, &[], facts, &(true, false, LogLevel::Debug));
        let paths = |read: &Settings| read.log_output_paths.join(" ");
        check(
            "paths",
            &["--log-output-paths=stdout, /var/log/k"],
            &[],
            paths,
            &"stdout /var/log/k".into(),
        );
    }

    const DEFAULT_ZONES: &str = "podTopologySpread: {defaultConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}]}";

    #[test]
    fn every_flag_is_read_from_its_variable_too() {
        let defaults = format!("{:?}", settings(&[], &[]).unwrap());
        for flag in FLAGS {
            let value = match (flag.name, flag.shape) {
                ("preference-policy", _) => "Ignore",
                ("min-values-policy", _) => "BestEffort",
                ("log-level", _) => "debug",
                ("feature-gates", _) => "NodeRepair=true",
                ("scheduler-config", _) => DEFAULT_ZONES,
                // Nothing listens to it.
                ("karpenter-service", _) => continue,
                (_, Shape::Text) => "other",
                (_, Shape::Number) => "77",
                (_, Shape::Duration) => "77s",
                (_, Shape::Switch) if flag.default == "true" => "false",
                (_, Shape::Switch) => "true",
            };
            let by_flag = settings(&[&format!("--{}={value}", flag.name)], &[]).unwrap();
            let by_variable = settings(&[], &[&format!("{}={value}", flag.variable)]).unwrap();
            assert_eq!(
                format!("{by_flag:?}"),
                format!("{by_variable:?}"),
                "{}",
                flag.name
            );
            assert_ne!(
                format!("{by_flag:?}"),
                defaults,
                "{} changes nothing",
                flag.name
            );
            let derived = flag.name.to_uppercase().replace('-', "_");
            assert_eq!(flag.variable, derived);
        }
    }
}
