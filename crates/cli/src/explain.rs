//! `karpenter explain`: the why behind one object.

use karpenter_plan::explain::{Verdict as Place, explain_pod_with};

use crate::{
    Verdict, offline,
    options::Scheduling,
    output::{self, Format},
};

#[derive(clap::Args)]
#[group(skip)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    object: Object,
}

#[derive(clap::Subcommand)]
enum Object {
    /// Why a pod has no home, or where it would go.
    Pod(PodArguments),
}

#[derive(clap::Args)]
#[group(skip)]
struct PodArguments {
    /// The pod: `namespace/name`, or a name in namespace `default`.
    #[arg(value_name = "NAMESPACE/NAME")]
    pod: String,
    #[command(flatten)]
    input: offline::Arguments,
    #[command(flatten)]
    scheduling: Scheduling,
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Verdict> {
    match &arguments.object {
        Object::Pod(arguments) => pod(arguments),
    }
}

fn pod(arguments: &PodArguments) -> anyhow::Result<Verdict> {
    let options = arguments.scheduling.read()?;
    let world = offline::build(&arguments.input, &arguments.scheduling)?;
    for refused in &world.refused {
        output::complain(&format!("karpenter: {refused}"));
    }
    let (namespace, name) = arguments
        .pod
        .split_once('/')
        .unwrap_or(("default", &arguments.pod));
    let Some(pod) = world.snapshot.pod_named(namespace, name) else {
        let near: Vec<String> = world
            .snapshot
            .pods
            .values()
            .filter(|pod| pod.name.contains(name) || name.contains(&*pod.name))
            .take(3)
            .map(|pod| pod.display_name())
            .collect();
        let hint = if near.is_empty() {
            String::new()
        } else {
            format!("; did you mean {}?", near.join(", "))
        };
        anyhow::bail!("the input holds no pod {namespace}/{name}{hint}");
    };
    let explanation = explain_pod_with(&world.snapshot, pod, &options);
    output::answer(&explanation, arguments.output, || {
        explanation.lines().join("\n")
    })?;
    let no = matches!(explanation.verdict, Place::Unschedulable) || !world.refused.is_empty();
    Ok(if no { Verdict::No } else { Verdict::Yes })
}
