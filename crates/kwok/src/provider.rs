//! The provider's side of the seam.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use k8s_openapi::api::core::v1 as core;
use karpenter_api::{
    GoDuration, KWOK_GROUP, KWOK_VERSION, KWOKNodeClass, NodeClaim, NodePool, conditions,
    labels::{Provider, REGISTERED, is_well_known},
    objects::Node,
};
use karpenter_cloud::{
    Cloud, DriftReason, Error, Instance, LaunchError, Launched, NodeClassKind, RepairPolicy,
    Termination,
};
use karpenter_plan::{CatalogFeed, InstanceType, WellKnown};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Preconditions},
};

use crate::{
    name::node_of,
    node::{Blueprint, instance},
    register::{Registration, Registrations},
    seed::Seed,
    select::Selector,
};

const KINDS: [NodeClassKind; 1] = [NodeClassKind {
    group: KWOK_GROUP,
    kind: "KWOKNodeClass",
    plural: "kwoknodeclasses",
    version: KWOK_VERSION,
}];

/// A fake kubelet that has said nothing for so long is taken for dead.
const REPAIR_AFTER: Duration = Duration::from_mins(10);

const REPAIRS: [RepairPolicy; 2] = [
    RepairPolicy {
        condition: "Ready",
        status: "False",
        toleration: REPAIR_AFTER,
    },
    RepairPolicy {
        condition: "Ready",
        status: "Unknown",
        toleration: REPAIR_AFTER,
    },
];

/// What the provider is made from.
pub struct KwokOptions {
    /// The cluster in which nodes appear.
    pub client: Client,
    /// What can be launched: [`crate::catalog::generated`] or the types of a file.
    pub instance_types: Vec<InstanceType>,
    /// Decides names of nodes and ties between equally cheap offerings.
    pub seed: u64,
}

/// The provider.
pub struct Kwok {
    client: Client,
    types: Arc<[InstanceType]>,
    selector: Selector,
    well_known: WellKnown,
    seed: Seed,
    registrations: Registrations,
}

impl Kwok {
    /// A provider over a fixed list of types. It keeps no state that outlives it but the Node objects;
    /// dropping it gives up the nodes that were still to come.
    pub fn new(options: KwokOptions) -> Self {
        let KwokOptions {
            client,
            instance_types,
            seed,
        } = options;
        let types: Arc<[InstanceType]> = instance_types.into();
        Self {
            selector: Selector::new(Arc::clone(&types)),
            well_known: well_known(&types),
            types,
            seed: Seed(seed),
            registrations: Registrations::new(client.clone()),
            client,
        }
    }

    /// Makes the nodes that a process before this one owed: it had launched their claims and ended
    /// before the machines appeared. Without this such a claim would wait until it is given up,
    /// fifteen minutes later. To be called once, by who leads; it tries until it has seen the claims.
    pub async fn resume(&self) {
        const PAUSE: Duration = Duration::from_secs(5);
        let claims: Api<NodeClaim> = Api::all(self.client.clone());
        let listed = loop {
            match claims.list(&ListParams::default()).await {
                Ok(listed) => break listed,
                Err(error) => {
                    tracing::warn!(%error, retry_after = ?PAUSE, "listing claims failed");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        };
        for claim in &listed.items {
            let Some(owed) = Blueprint::owed(claim) else {
                continue;
            };
            // A node that exists already is found when it is created again.
            let registration = Registration {
                delay: Duration::ZERO,
                claim: claim.metadata.name.clone().unwrap_or_default(),
                uid: claim.metadata.uid.clone(),
                node: owed.node(),
            };
            self.registrations.start(&owed.name, registration);
        }
    }

    /// How long nodes of the claim's class take to appear.
    async fn registration_delay(&self, claim: &NodeClaim) -> Result<Duration, LaunchError> {
        let name = claim.spec.node_class_ref.name.as_str();
        let classes: Api<KWOKNodeClass> = Api::all(self.client.clone());
        let class = classes
            .get_opt(name)
            .await
            .map_err(|error| LaunchError::Other(format!("reading node class {name:?}: {error}")))?
            .filter(|class| class.metadata.deletion_timestamp.is_none())
            .ok_or_else(|| {
                LaunchError::InsufficientCapacity(format!(
                    "node class {name:?} does not exist or is being deleted, create it"
                ))
            })?;
        let stated = class
            .status
            .and_then(|status| status.conditions)
            .unwrap_or_default();
        match conditions::get(&stated, "Ready") {
            Some(ready) if ready.is_true() => {}
            Some(ready) if ready.is_false() => {
                return Err(LaunchError::NodeClassNotReady(ready.message.clone()));
            }
            // The CRD's default says True, and nothing else ever sets it.
            Some(_) | None => {
                return Err(LaunchError::Create {
                    reason: "NodeClassReadinessUnknown".to_owned(),
                    message: format!(
                        "node class {name:?} does not say whether it is ready, set its Ready condition"
                    ),
                });
            }
        }
        let delay = class.spec.and_then(|spec| spec.node_registration_delay);
        Ok(delay.map(GoDuration::to_std).unwrap_or_default())
    }

    async fn node(&self, name: &str) -> Result<Option<Node>, Error> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        nodes
            .get_opt(name)
            .await
            .map_err(|error| Error::request(format!("reading node {name:?}"), error))
    }

    /// Deletes a claim's node that never registered.
    ///
    /// A registered node is deleted, and waited for, before anybody asks to terminate; an unregistered
    /// one is left to the cloud. With this provider nobody else plays the cloud, so such a node would
    /// stay for ever, although its machine was reported gone.
    async fn remove_unregistered(&self, name: &str) -> Result<(), Error> {
        let Some(node) = self.node(name).await? else {
            return Ok(());
        };
        let labels = node.metadata.labels.unwrap_or_default();
        if labels.contains_key(REGISTERED) || node.metadata.deletion_timestamp.is_some() {
            return Ok(());
        }
        let nodes: Api<core::Node> = Api::all(self.client.clone());
        deleted(
            nodes
                .delete(name, &same_object(node.metadata.uid))
                .await
                .map(drop),
        )
        .map_err(|error| Error::request(format!("deleting node {name:?}"), error))
    }
}

#[async_trait]
impl Cloud for Kwok {
    fn name(&self) -> &'static str {
        "kwok"
    }

    fn node_class_kinds(&self) -> &[NodeClassKind] {
        &KINDS
    }

    fn well_known(&self) -> &WellKnown {
        &self.well_known
    }

    async fn catalog(&self, _pool: &NodePool) -> Result<CatalogFeed, Error> {
        // The same fixed list for every pool, so there is only ever one generation.
        Ok(CatalogFeed {
            generation: 1,
            types: self.types.clone(),
        })
    }

    async fn launch(&self, claim: &NodeClaim) -> Result<Launched, LaunchError> {
        let delay = self.registration_delay(claim).await?;
        let name = claim.metadata.name.clone().unwrap_or_default();
        let identity = claim.metadata.uid.as_deref().unwrap_or(&name);
        let choice = self.selector.choose(claim, identity, self.seed)?;
        let blueprint = Blueprint::new(claim, &choice, identity, self.seed);
        self.registrations.start(
            &blueprint.name,
            Registration {
                delay,
                uid: claim.metadata.uid.clone(),
                node: blueprint.node(),
                claim: name,
            },
        );
        Ok(blueprint.launched())
    }

    async fn terminate(&self, claim: &NodeClaim) -> Result<Termination, Error> {
        let id = claim
            .status
            .as_ref()
            .and_then(|status| status.provider_id.as_deref());
        let node = id.and_then(node_of);
        if let Some(node) = node {
            self.registrations.cancel(node).await;
        }
        let name = claim.metadata.name.as_deref().unwrap_or_default();
        if claim.metadata.deletion_timestamp.is_none() {
            let claims: Api<NodeClaim> = Api::all(self.client.clone());
            let parameters = same_object(claim.metadata.uid.clone());
            deleted(claims.delete(name, &parameters).await.map(drop))
                .map_err(|error| Error::request(format!("deleting claim {name:?}"), error))?;
        }
        if let Some(node) = node {
            self.remove_unregistered(node).await?;
        }
        Ok(Termination::Gone)
    }

    async fn get(&self, provider_id: &str) -> Result<Option<Instance>, Error> {
        let Some(name) = node_of(provider_id) else {
            return Ok(None);
        };
        let node = self.node(name).await?;
        Ok(node
            .as_ref()
            .and_then(instance)
            .filter(|found| found.provider_id == provider_id))
    }

    async fn list(&self) -> Result<Vec<Instance>, Error> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let listed = nodes
            .list(&ListParams::default())
            .await
            .map_err(|error| Error::request("listing nodes", error))?;
        let mut instances: Vec<Instance> = listed.items.iter().filter_map(instance).collect();
        instances.sort_by(|one, other| one.provider_id.cmp(&other.provider_id));
        Ok(instances)
    }

    async fn drifted(&self, _claim: &NodeClaim) -> Result<Option<DriftReason>, Error> {
        Ok(None)
    }

    fn repair_policies(&self) -> &[RepairPolicy] {
        &REPAIRS
    }
}

/// The provider's labels, and every further key by which an offering sets itself apart.
fn well_known(types: &[InstanceType]) -> WellKnown {
    let offered: BTreeSet<String> = types
        .iter()
        .flat_map(|one| &one.offerings)
        .flat_map(|offering| &offering.requirements)
        .map(|one| one.key.clone())
        .filter(|key| !is_well_known(key, Provider::Kwok))
        .collect();
    let own = Provider::Kwok.well_known().map(str::to_owned);
    WellKnown {
        labels: own.chain(offered).collect(),
        restricted_domains: vec![Provider::Kwok.domain().to_owned()],
        aliases: Vec::new(),
        node_classes: KINDS
            .iter()
            .map(|one| (one.group.to_owned(), one.kind.to_owned()))
            .collect(),
        ..WellKnown::default()
    }
}

/// Parameters that spare another object of the same name.
fn same_object(uid: Option<String>) -> DeleteParams {
    let preconditions = uid.map(|uid| Preconditions {
        uid: Some(uid),
        resource_version: None,
    });
    DeleteParams {
        preconditions,
        ..DeleteParams::default()
    }
}

/// An object that is gone, or that was replaced by another of its name, is as good as deleted.
fn deleted(outcome: Result<(), kube::Error>) -> Result<(), kube::Error> {
    match outcome {
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
        outcome => outcome,
    }
}
