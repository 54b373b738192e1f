//! `karpenter crds`: the CustomResourceDefinitions that `local`, the charts and the tests install.

use crate::{
    Verdict,
    options::{NO_AWS, Provider},
    output::{self, Format},
};

#[derive(clap::Args)]
#[group(skip)]
pub(crate) struct Arguments {
    /// Print the node class of this provider only; the default is every kind that this build has.
    #[arg(long)]
    provider: Option<Provider>,
    /// A YAML stream, or one JSON list.
    #[arg(short, long, value_enum, default_value = "yaml")]
    output: Format,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Verdict> {
    if arguments.provider == Some(Provider::Aws) {
        anyhow::bail!(NO_AWS);
    }
    let crds = karpenter_api::crds::all();
    let text = match arguments.output {
        Format::Json => output::render(
            &serde_json::json!({"apiVersion": "v1", "kind": "List", "items": crds}),
            Format::Json,
        )?,
        Format::Yaml => {
            let mut text = String::new();
            for crd in &crds {
                text.push_str("---\n");
                text.push_str(&output::render(crd, Format::Yaml)?);
                if !text.ends_with('\n') {
                    text.push('\n');
                }
            }
            text
        }
        Format::Table => {
            let mut rows = vec![vec![
                "NAME".to_owned(),
                "KIND".to_owned(),
                "SCOPE".to_owned(),
            ]];
            for crd in &crds {
                rows.push(vec![
                    crd.metadata.name.clone().unwrap_or_default(),
                    crd.spec.names.kind.clone(),
                    crd.spec.scope.clone(),
                ]);
            }
            output::table(&rows)
        }
    };
    output::data(&text);
    Ok(Verdict::Yes)
}
