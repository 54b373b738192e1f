//! `karpenter explain`: the why behind one object.

use karpenter_plan::explain::{Verdict as Place, explain_node, explain_pod_with};

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
    /// Why a node is or is not disrupted: each method's verdict and the numbers behind it.
    Node(NodeArguments),
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

#[derive(clap::Args)]
#[group(skip)]
struct NodeArguments {
    /// The node.
    #[arg(value_name = "NAME")]
    node: String,
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
        Object::Node(arguments) => node(arguments),
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
        let pods = world.snapshot.pods.values();
        let near = pods.filter(|pod| pod.name.contains(name) || name.contains(&*pod.name));
        let hint = hint(near.map(|pod| pod.display_name()));
        anyhow::bail!("the input holds no pod {namespace}/{name}{hint}");
    };
    let explanation = explain_pod_with(&world.snapshot, pod, &options);
    output::answer(&explanation, arguments.output, || {
        explanation.lines().join("\n")
    })?;
    let no = matches!(explanation.verdict, Place::Unschedulable) || !world.refused.is_empty();
    Ok(if no { Verdict::No } else { Verdict::Yes })
}

/// Names that may have been meant.
fn hint(near: impl Iterator<Item = String>) -> String {
    let near: Vec<String> = near.take(3).collect();
    if near.is_empty() {
        String::new()
    } else {
        format!("; did you mean {}?", near.join(", "))
    }
}

fn node(arguments: &NodeArguments) -> anyhow::Result<Verdict> {
    let options = arguments.scheduling.disruption()?;
    let world = offline::build(&arguments.input, &arguments.scheduling)?;
    for refused in &world.refused {
        output::complain(&format!("karpenter: {refused}"));
    }
    let name = &*arguments.node;
    let Some(node) = world.snapshot.node_named(name) else {
        let nodes = world.snapshot.nodes.values();
        let near = nodes.filter(|node| node.name.contains(name) || name.contains(&*node.name));
        let hint = hint(near.map(|node| node.name.to_string()));
        anyhow::bail!("the input holds no node {name}{hint}");
    };
    let explanation = explain_node(&world.snapshot, node, &options);
    output::answer(&explanation, arguments.output, || {
        explanation.lines().join("\n")
    })?;
    Ok(if world.refused.is_empty() {
        Verdict::Yes
    } else {
        Verdict::No
    })
}
