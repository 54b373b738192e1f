//! `karpenter plan`: which nodes would be launched for these pods, which pods have no home and why.

use std::{collections::BTreeMap, fmt::Write as _};

use karpenter_plan::{
    Cost, DisruptOptions, NewClaim, OfferingId, Plan, Pod, PodId, PoolId, Report, Snapshot,
    node_claim, pod::Owner, schedule::SkipReason,
};
use serde::Serialize;
use serde_json::Value;

mod disruption;

use self::disruption::Disruptions;
use crate::{
    Verdict,
    offline::{self, World},
    options::Scheduling,
    output::{self, Format},
};

#[derive(clap::Args)]
#[group(skip)]
pub(crate) struct Arguments {
    #[command(flatten)]
    input: offline::Arguments,
    #[command(flatten)]
    scheduling: Scheduling,
    /// Also ask the disruption methods what they would do now, and why the other nodes stay.
    #[arg(long)]
    disrupt: bool,
    /// With --disrupt: take every node for quiet.
    #[arg(long, requires = "disrupt")]
    ignore_consolidate_after: bool,
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
}

/// The answer (`cli.md`): its JSON form is a contract.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    api_version: &'static str,
    new_node_claims: Vec<Claim>,
    existing_nodes: Vec<Existing>,
    unschedulable: Vec<Unschedulable>,
    ignored: Vec<Message>,
    skipped: Vec<Skipped>,
    #[serde(flatten)]
    disruptions: Disruptions,
    summary: Summary,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Claim {
    name: String,
    node_pool: String,
    instance_types: Vec<String>,
    cheapest: Option<Cheapest>,
    requirements: Vec<karpenter_api::Requirement>,
    requests: Value,
    pods: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Cheapest {
    instance_type: String,
    zone: Option<String>,
    capacity_type: Option<String>,
    price_per_hour: f64,
}

#[derive(Serialize)]
struct Existing {
    name: String,
    pods: Vec<String>,
}

#[derive(Serialize)]
struct Unschedulable {
    pod: String,
    reasons: Vec<PoolReason>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PoolReason {
    #[serde(skip_serializing_if = "Option::is_none")]
    node_pool: Option<String>,
    message: String,
}

#[derive(Serialize)]
struct Message {
    pod: String,
    message: String,
}

#[derive(Serialize)]
struct Skipped {
    pod: String,
    reason: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    pods: usize,
    scheduled: usize,
    unschedulable: usize,
    new_nodes: usize,
    cost_per_hour: BeforeAfter,
    lower_bound_per_hour: Option<f64>,
    skipped_kinds: BTreeMap<String, usize>,
}

#[derive(Serialize)]
struct BeforeAfter {
    before: f64,
    after: f64,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Verdict> {
    let options = arguments.scheduling.read()?;
    let world = offline::build(&arguments.input, &arguments.scheduling)?;
    let (plan, report) = karpenter_plan::schedule(&world.snapshot, &options);
    let mut answer = answer(&world, &plan, &report);
    if arguments.disrupt {
        let asked = DisruptOptions {
            ignore_consolidate_after: arguments.ignore_consolidate_after,
            ..arguments.scheduling.disruption()?
        };
        answer.disruptions = disruption::ask(&world.snapshot, &asked);
    }
    output::answer(&answer, arguments.output, || table(&answer))?;
    for refused in &world.refused {
        output::complain(&format!("karpenter: {refused}"));
    }
    let no = !answer.unschedulable.is_empty() || !world.refused.is_empty();
    Ok(if no { Verdict::No } else { Verdict::Yes })
}

fn answer(world: &World, plan: &Plan, report: &Report) -> Answer {
    let snapshot = &*world.snapshot;
    let name = |pod: PodId| snapshot.pods[pod].display_name();
    let mut ordinals: BTreeMap<PoolId, usize> = BTreeMap::new();
    let new_node_claims: Vec<Claim> = plan
        .claims
        .iter()
        .map(|new| {
            let ordinal = ordinals.entry(new.pool).or_default();
            *ordinal += 1;
            claim(snapshot, new, *ordinal)
        })
        .collect();
    let mut existing: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (pod, node) in &plan.bindings {
        existing
            .entry(snapshot.nodes[*node].name.to_string())
            .or_default()
            .push(name(*pod));
    }
    let mut unschedulable: Vec<Unschedulable> = report
        .unplaced
        .iter()
        .map(|(pod, refusal)| Unschedulable {
            pod: name(*pod),
            reasons: vec![PoolReason {
                node_pool: None,
                message: refusal.message(snapshot, *pod),
            }],
        })
        .collect();
    unschedulable.sort_by(|a, b| a.pod.cmp(&b.pod));
    let mut skipped: Vec<Skipped> = report
        .skipped
        .iter()
        .map(|(pod, reason)| Skipped {
            pod: name(*pod),
            reason: skip_text(snapshot, *reason),
        })
        .collect();
    skipped.extend(not_ours(snapshot));
    skipped.sort_by(|a, b| a.pod.cmp(&b.pod));
    let before: Cost = world.costs().map(Cost::from).sum();
    let after = before
        + plan
            .claims
            .iter()
            .map(|claim| Cost::from(claim.price))
            .sum();
    let scheduled = plan.bindings.len()
        + plan
            .claims
            .iter()
            .map(|claim| claim.pods.len())
            .sum::<usize>();
    Answer {
        api_version: "plan.karpenter.sh/v1",
        existing_nodes: existing
            .into_iter()
            .map(|(name, mut pods)| {
                pods.sort();
                Existing { name, pods }
            })
            .collect(),
        ignored: report
            .ignored
            .iter()
            .map(|(pod, ignored)| Message {
                pod: name(*pod),
                message: ignored.message.to_string(),
            })
            .collect(),
        summary: Summary {
            pods: scheduled + unschedulable.len(),
            scheduled,
            unschedulable: unschedulable.len(),
            new_nodes: new_node_claims.len(),
            cost_per_hour: BeforeAfter {
                before: rounded(before),
                after: rounded(after),
            },
            lower_bound_per_hour: None,
            skipped_kinds: world.skipped_kinds.clone(),
        },
        new_node_claims,
        unschedulable,
        skipped,
        disruptions: Disruptions::default(),
    }
}

/// Dollars to a billionth, which hides nothing that a price list could hold.
fn rounded(cost: Cost) -> f64 {
    (cost.dollars() * 1e9).round() / 1e9
}

fn claim(snapshot: &Snapshot, new: &NewClaim, ordinal: usize) -> Claim {
    let object = node_claim(snapshot, new);
    let catalog = snapshot.catalogs[new.pool].as_ref().ok();
    let pool = &snapshot.pools[new.pool].name;
    let mut pods: Vec<String> = new
        .pods
        .iter()
        .map(|pod| snapshot.pods[*pod].display_name())
        .collect();
    pods.sort();
    Claim {
        name: format!("{pool}-{ordinal}"),
        node_pool: pool.to_string(),
        instance_types: new
            .instance_types
            .iter()
            .filter_map(|id| Some(catalog?.types[*id].name.to_string()))
            .collect(),
        cheapest: new
            .cheapest
            .and_then(|offering| cheapest(snapshot, new.pool, offering)),
        requirements: without_types(object.spec.requirements),
        requests: object
            .spec
            .resources
            .and_then(|resources| serde_json::to_value(resources.requests).ok())
            .unwrap_or_default(),
        pods,
    }
}

/// Requirements in order, without the instance types, which are listed by themselves.
fn without_types(
    mut requirements: Vec<karpenter_api::Requirement>,
) -> Vec<karpenter_api::Requirement> {
    requirements.retain(|requirement| requirement.key != "node.kubernetes.io/instance-type");
    requirements.sort_by(|a, b| (&a.key, &a.operator).cmp(&(&b.key, &b.operator)));
    requirements
}

fn cheapest(snapshot: &Snapshot, pool: PoolId, offering: OfferingId) -> Option<Cheapest> {
    let catalog = snapshot.catalogs[pool].as_ref().ok()?;
    let offering = &catalog.offerings[offering];
    let text = |value| snapshot.vocabulary.value_text(value).to_string();
    Some(Cheapest {
        instance_type: catalog.types[offering.instance_type].name.to_string(),
        zone: offering.zone.map(text),
        capacity_type: offering.capacity_type.map(text),
        price_per_hour: rounded(Cost::from(offering.price)),
    })
}

fn skip_text(snapshot: &Snapshot, reason: SkipReason) -> String {
    match reason {
        SkipReason::Expected(node) => format!("expected on {}", snapshot.nodes[node].name),
        SkipReason::NotMovable => "may not be moved".into(),
    }
}

/// Unbound pods that are none of our business, and why.
fn not_ours(snapshot: &Snapshot) -> Vec<Skipped> {
    snapshot
        .pods
        .values()
        .filter(|pod| pod.node.is_none() && !pod.is_terminal() && !pod.is_provisionable())
        .map(|pod| Skipped {
            pod: pod.display_name(),
            reason: standing(pod).to_owned(),
        })
        .collect()
}

/// Why a pod without a node is left to others.
fn standing(pod: &Pod) -> &'static str {
    match pod.owner {
        Owner::DaemonSet => "daemonset",
        Owner::Node => "static",
        Owner::StatefulSet | Owner::Other | Owner::None if pod.nominated => "nominated",
        Owner::StatefulSet | Owner::Other | Owner::None => "not-judged-yet",
    }
}

fn table(answer: &Answer) -> String {
    let mut text = String::new();
    if !answer.new_node_claims.is_empty() {
        let mut rows = vec![
            [
                "NODECLAIM",
                "CHEAPEST",
                "CAPACITY",
                "ZONE",
                "$/H",
                "TYPES",
                "PODS",
            ]
            .map(String::from)
            .to_vec(),
        ];
        for claim in &answer.new_node_claims {
            let cheapest = claim.cheapest.as_ref();
            let cell = |text: Option<&String>| text.cloned().unwrap_or_else(|| "-".into());
            rows.push(vec![
                claim.name.clone(),
                cell(cheapest.map(|cheapest| &cheapest.instance_type)),
                cell(cheapest.and_then(|cheapest| cheapest.capacity_type.as_ref())),
                cell(cheapest.and_then(|cheapest| cheapest.zone.as_ref())),
                cheapest.map_or("-".into(), |cheapest| {
                    format!("{:.4}", cheapest.price_per_hour)
                }),
                claim.instance_types.len().to_string(),
                claim.pods.len().to_string(),
            ]);
        }
        text.push_str(&output::table(&rows));
        text.push('\n');
    }
    if !answer.existing_nodes.is_empty() {
        let mut rows = vec![["NODE", "PODS"].map(String::from).to_vec()];
        for node in &answer.existing_nodes {
            rows.push(vec![node.name.clone(), node.pods.join(" ")]);
        }
        text.push_str(&output::table(&rows));
        text.push('\n');
    }
    for pod in &answer.unschedulable {
        for reason in &pod.reasons {
            let pool = reason
                .node_pool
                .as_deref()
                .map_or(String::new(), |pool| format!("{pool}: "));
            let _ = writeln!(text, "{} has no home: {pool}{}", pod.pod, reason.message);
        }
    }
    for pod in &answer.ignored {
        let _ = writeln!(text, "{} is ignored: {}", pod.pod, pod.message);
    }
    for pod in &answer.skipped {
        let _ = writeln!(text, "{} is skipped: {}", pod.pod, pod.reason);
    }
    text.push_str(&disruption::lines(&answer.disruptions));
    let summary = &answer.summary;
    let _ = writeln!(
        text,
        "{} pods: {} scheduled, {} without a home; {} new nodes; ${:.4}/h before, ${:.4}/h after",
        summary.pods,
        summary.scheduled,
        summary.unschedulable,
        summary.new_nodes,
        summary.cost_per_hour.before,
        summary.cost_per_hour.after,
    );
    for (kind, count) in &summary.skipped_kinds {
        let _ = writeln!(text, "{count} of kind {kind} not read");
    }
    text
}
