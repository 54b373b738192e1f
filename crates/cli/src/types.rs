//! `karpenter types`: the catalogue as the scheduler sees it.

use karpenter_kwok::describe;

use crate::{
    Verdict, offline,
    options::{Catalogue, Scheduling},
    output::{self, Format},
};

#[derive(clap::Args)]
#[group(skip)]
pub(crate) struct Arguments {
    #[command(flatten)]
    catalogue: Catalogue,
    #[command(flatten)]
    scheduling: Scheduling,
    /// NodePools: only types that one of them could launch are shown.
    #[arg(short, long = "filename", value_name = "FILE|DIR|-")]
    files: Vec<String>,
    /// Only types whose nodes can carry these labels: `key=value,key=value`.
    #[arg(short = 'l', long = "selector", value_name = "LABELS")]
    selector: Option<String>,
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Verdict> {
    // Nothing here depends on them yet, but what a controller refuses is refused.
    arguments.scheduling.read()?;
    let mut types = arguments.catalogue.read()?;
    for pair in arguments.selector.iter().flat_map(|text| text.split(',')) {
        let Some((key, value)) = pair.split_once('=') else {
            anyhow::bail!("--selector {pair:?} is not `key=value`");
        };
        let value = value.trim_start_matches('=');
        types.retain(|instance_type| describe::can_carry(instance_type, key.trim(), value.trim()));
    }
    let mut verdict = Verdict::Yes;
    if !arguments.files.is_empty() {
        let world = offline::build_from(
            &arguments.files,
            types.clone(),
            None,
            &karpenter_control::ctx::Options::default(),
        )?;
        for refused in &world.refused {
            output::complain(&format!("karpenter: {refused}"));
            verdict = Verdict::No;
        }
        types.retain(|instance_type| world.could_launch(&instance_type.name));
    }
    let described = karpenter_kwok::describe(&types);
    output::answer(&described, arguments.output, || {
        karpenter_kwok::table::table(&described).join("\n")
    })?;
    Ok(verdict)
}
