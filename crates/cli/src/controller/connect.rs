//! Which cluster: what a flag names, what `KUBECONFIG` names, the one this runs in, or the file at
//! home, in the order of upstream's library.

use std::{env, path::Path};

use anyhow::Context as _;
use kube::{
    Config,
    config::{KubeConfigOptions, Kubeconfig},
};

/// Requests say who sends them.
const AGENT: &str = concat!("karpenter/", env!("CARGO_PKG_VERSION"));

/// How to reach the cluster.
pub(super) async fn config(file: Option<&Path>, context: Option<&str>) -> anyhow::Result<Config> {
    let options = KubeConfigOptions {
        context: context.map(str::to_owned),
        ..KubeConfigOptions::default()
    };
    let mut config = if let Some(path) = file {
        let kubeconfig = Kubeconfig::read_from(path)
            .with_context(|| format!("cannot read the kubeconfig {}", path.display()))?;
        Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .with_context(|| format!("cannot use the kubeconfig {}", path.display()))?
    } else if context.is_none() && !is_set("KUBECONFIG") && is_set("KUBERNETES_SERVICE_HOST") {
        Config::incluster().context("cannot use the service account of this pod")?
    } else {
        Config::from_kubeconfig(&options)
            .await
            .context("found no cluster; give --kubeconfig or set KUBECONFIG")?
    };
    config.headers.push((
        http::header::USER_AGENT,
        http::HeaderValue::from_static(AGENT),
    ));
    Ok(config)
}

/// Where the lease is: in the namespace that is asked for, else in the one that the chart says this
/// runs in, else in that of the service account or of the kubeconfig's context.
pub(super) fn lease_namespace(asked: &str, config: &Config) -> String {
    if !asked.is_empty() {
        return asked.to_owned();
    }
    env::var("SYSTEM_NAMESPACE")
        .ok()
        .filter(|namespace| !namespace.is_empty())
        .unwrap_or_else(|| config.default_namespace.clone())
}

fn is_set(name: &str) -> bool {
    env::var_os(name).is_some_and(|value| !value.is_empty())
}
