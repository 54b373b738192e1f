//! Flags that several commands share, read like the controller reads them: a flag, else its
//! environment variable, else the default.

mod flags;
mod settings;
mod values;

use std::env;

use karpenter_control::ctx;
use karpenter_plan::{DisruptOptions, InstanceType, Options};

pub(crate) use self::settings::{LogLevel, Settings};
use self::{
    flags::{FLAGS, Given},
    settings::Policies,
    values::Values,
};
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
        instance_types(self.instance_types.clone())
    }
}

/// The instance types of a file, else of the file that a variable names, else the built-in ones.
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn instance_types(file: Option<String>) -> anyhow::Result<Vec<InstanceType>> {
    let file = file.or_else(|| variable("INSTANCE_TYPES_FILE_PATH"));
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

/// The controller's options that change what is scheduled.
#[derive(clap::Args)]
#[group(skip)]
pub(crate) struct Scheduling {
    #[command(flatten)]
    given: Given<false>,
}

impl Scheduling {
    /// For controllers that run.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(crate) fn controller(&self) -> anyhow::Result<ctx::Options> {
        Ok(self.policies()?.controller())
    }

    /// For a question that is answered once.
    ///
    /// # Errors
    /// When an option has no such value.
    pub(crate) fn read(&self) -> anyhow::Result<Options> {
        Ok(self.policies()?.plan())
    }

    /// For a question about disruption.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(crate) fn disruption(&self) -> anyhow::Result<DisruptOptions<'static>> {
        Ok(self.policies()?.disruption())
    }

    fn policies(&self) -> anyhow::Result<Policies> {
        Policies::read(&Values {
            given: &self.given.0,
            variable: &|name| env::var(name).ok(),
        })
    }
}

/// All options of the controller.
#[derive(clap::Args)]
#[group(skip)]
pub(crate) struct Operating {
    #[command(flatten)]
    given: Given<true>,
}

impl Operating {
    /// The settings, from flags and the environment.
    ///
    /// # Errors
    /// When an option has no such value.
    pub(crate) fn read(&self) -> anyhow::Result<Settings> {
        Settings::read(&Values {
            given: &self.given.0,
            variable: &|name| env::var(name).ok(),
        })
    }
}

/// Whether the environment holds anything that is meant for the controller.
pub(crate) fn has_variables() -> bool {
    FLAGS
        .iter()
        .map(|flag| flag.variable)
        // What Kubernetes sets in every container.
        .chain(["KUBERNETES_SERVICE_HOST"])
        .any(|name| env::var_os(name).is_some())
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
