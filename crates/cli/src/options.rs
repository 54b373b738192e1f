//! Flags that several commands share, read like the controller reads them: a flag, else its
//! environment variable, else the default.

use std::env;

use karpenter_control::ctx;
use karpenter_plan::{InstanceType, Options, schedule::MinValuesPolicy};

use crate::output;

/// What every path that needs the AWS provider answers.
pub(crate) const NO_AWS: &str =
    "this build has no AWS provider; use `--provider kwok`, which is the default here";

/// Which cloud.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub(crate) enum Provider {
    Aws,
    #[default]
    Kwok,
}

/// The provider, and where its instance types come from.
#[derive(clap::Args)]
#[group(skip)]
pub(crate) struct Catalogue {
    /// Which provider's instance types.
    #[arg(long, value_enum, default_value = "kwok")]
    provider: Provider,
    /// Instance types in the KWOK provider's JSON, instead of the built-in ones.
    #[arg(long, alias = "instance-types-file-path", value_name = "FILE")]
    instance_types: Option<String>,
    /// The AWS region.
    #[arg(long)]
    region: Option<String>,
}

impl Catalogue {
    /// The instance types.
    ///
    /// # Errors
    /// When the provider is not in this build, or the file cannot be read.
    pub(crate) fn read(&self) -> anyhow::Result<Vec<InstanceType>> {
        if self.provider == Provider::Aws || self.region.is_some() {
            anyhow::bail!(NO_AWS);
        }
        let file = self
            .instance_types
            .clone()
            .or_else(|| variable("INSTANCE_TYPES_FILE_PATH"));
        Ok(match file {
            Some(path) => {
                let file = karpenter_kwok::file::read(path.as_ref())?;
                for warning in &file.warnings {
                    output::complain(&format!("karpenter: {warning}"));
                }
                file.types
            }
            None => karpenter_kwok::catalog::generated(),
        })
    }
}

/// The controller's options that change what is scheduled.
#[derive(clap::Args)]
#[group(skip)]
pub(crate) struct Scheduling {
    /// `Respect` or `Ignore`: whether preferences act as requirements while they can be met.
    #[arg(long, value_name = "POLICY")]
    preference_policy: Option<String>,
    /// `Strict` or `BestEffort`: whether minValues may be relaxed.
    #[arg(long, value_name = "POLICY")]
    min_values_policy: Option<String>,
    /// `Gate=true,Other=false`; unknown gates are ignored.
    #[arg(long, value_name = "GATES")]
    feature_gates: Option<String>,
    /// Whether pods with resource claims are refused.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    ignore_dra_requests: Option<String>,
}

impl Scheduling {
    /// The same for controllers that run.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(crate) fn controller(&self) -> anyhow::Result<ctx::Options> {
        let options = self.read()?;
        Ok(ctx::Options {
            preferences: if options.ignore_preferences {
                ctx::Preferences::Ignore
            } else {
                ctx::Preferences::Respect
            },
            min_values: match options.min_values {
                MinValuesPolicy::Strict => ctx::MinValues::Strict,
                MinValuesPolicy::BestEffort => ctx::MinValues::BestEffort,
            },
            ..ctx::Options::default()
        })
    }

    /// The options.
    ///
    /// # Errors
    /// When a policy has no such value.
    pub(crate) fn read(&self) -> anyhow::Result<Options> {
        let text = |flag: &Option<String>, name: &str, default: &str| {
            flag.clone()
                .or_else(|| variable(name))
                .unwrap_or_else(|| default.to_owned())
        };
        let preferences = text(&self.preference_policy, "PREFERENCE_POLICY", "Respect");
        let ignore_preferences = match preferences.as_str() {
            "Respect" => false,
            "Ignore" => true,
            other => anyhow::bail!("invalid PREFERENCE_POLICY {other:?}; use Respect or Ignore"),
        };
        let minimum = text(&self.min_values_policy, "MIN_VALUES_POLICY", "Strict");
        let min_values = match minimum.as_str() {
            "Strict" => MinValuesPolicy::Strict,
            "BestEffort" => MinValuesPolicy::BestEffort,
            other => anyhow::bail!("invalid MIN_VALUES_POLICY {other:?}; use Strict or BestEffort"),
        };
        // Read and accepted, since scripts pass them; neither changes anything in this build.
        let _ = text(&self.feature_gates, "FEATURE_GATES", "");
        let _ = text(&self.ignore_dra_requests, "IGNORE_DRA_REQUESTS", "true");
        Ok(Options {
            ignore_preferences,
            min_values,
            ..Options::default()
        })
    }
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
