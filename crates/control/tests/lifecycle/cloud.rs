//! A provider that does as it is told.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use karpenter_api::{labels::Provider, nodeclaim::NodeClaim, nodepool::NodePool};
use karpenter_cloud::{
    Cloud, DriftReason, Error, HookOutcome, Instance, LaunchError, Launched, NodeClassKind,
    RegistrationHook, RepairPolicy, Termination,
};
use karpenter_plan::{WellKnown, catalog::CatalogFeed};

pub const KIND: NodeClassKind = NodeClassKind {
    group: "karpenter.kwok.sh",
    kind: "KWOKNodeClass",
    plural: "kwoknodeclasses",
    version: "v1alpha1",
};

/// What the provider was told, and what it did.
#[derive(Default)]
pub struct State {
    /// Answers to the next launches; when there are none left, launches succeed.
    pub answers: VecDeque<LaunchError>,
    /// The answer to every launch that has none of its own.
    pub refuse_all: Option<String>,
    /// Labels that a launch decides.
    pub labels: BTreeMap<String, String>,
    /// The names of claims in the order of their successful launches.
    pub launched: Vec<String>,
    /// Attempts to launch.
    pub attempts: usize,
    /// The instance of each claim, by uid: a launch that is asked for again finds it.
    made: BTreeMap<String, Launched>,
    /// Instances that exist.
    pub instances: BTreeMap<String, Instance>,
    /// How many more requests to terminate find the instance still there.
    pub lingering: usize,
    /// Requests to terminate fail while this is set.
    pub broken: bool,
    /// Requests to terminate, by provider id.
    pub terminations: Vec<String>,
}

pub struct FakeCloud {
    state: Mutex<State>,
    hooks: Vec<Arc<dyn RegistrationHook>>,
    well_known: WellKnown,
}

impl FakeCloud {
    pub fn new(hooks: Vec<Arc<Hook>>) -> Self {
        let well_known = WellKnown {
            labels: Provider::Kwok.well_known().map(str::to_owned).collect(),
            restricted_domains: vec![Provider::Kwok.domain().to_owned()],
            aliases: Vec::new(),
            node_classes: vec![(KIND.group.to_owned(), KIND.kind.to_owned())],
            ..WellKnown::default()
        };
        let hooks = hooks
            .into_iter()
            .map(|hook| hook as Arc<dyn RegistrationHook>)
            .collect();
        Self {
            state: Mutex::default(),
            hooks,
            well_known,
        }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

#[async_trait]
impl Cloud for FakeCloud {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn node_class_kinds(&self) -> &[NodeClassKind] {
        &[KIND]
    }

    fn well_known(&self) -> &WellKnown {
        &self.well_known
    }

    async fn catalog(&self, _: &NodePool) -> Result<CatalogFeed, Error> {
        Ok(CatalogFeed {
            generation: 1,
            types: Vec::new().into(),
        })
    }

    async fn launch(&self, claim: &NodeClaim) -> Result<Launched, LaunchError> {
        let mut state = self.state();
        state.attempts += 1;
        if let Some(answer) = state.answers.pop_front() {
            return Err(answer);
        }
        if let Some(message) = &state.refuse_all {
            return Err(LaunchError::Other(message.clone()));
        }
        let uid = claim.metadata.uid.clone().unwrap();
        if let Some(made) = state.made.get(&uid) {
            return Ok(made.clone());
        }
        let name = claim.metadata.name.clone().unwrap();
        state.launched.push(name.clone());
        // A number per launch, so that a second launch makes a second instance.
        let provider_id = format!("fake://{name}-{}", state.launched.len());
        let capacity = BTreeMap::from([("cpu".to_owned(), "4".parse().unwrap())]);
        let instance = Instance {
            provider_id: provider_id.clone(),
            ..Instance::default()
        };
        state.instances.insert(provider_id.clone(), instance);
        let launched = Launched {
            provider_id,
            labels: state.labels.clone(),
            capacity: capacity.clone(),
            allocatable: capacity,
            ..Launched::default()
        };
        state.made.insert(uid, launched.clone());
        Ok(launched)
    }

    async fn terminate(&self, claim: &NodeClaim) -> Result<Termination, Error> {
        let mut state = self.state();
        let provider_id = claim.status.as_ref().unwrap().provider_id.clone().unwrap();
        state.terminations.push(provider_id.clone());
        if state.broken {
            return Err(Error::message("the cloud is broken"));
        }
        if state.lingering > 0 && state.instances.contains_key(&provider_id) {
            state.lingering -= 1;
            return Ok(Termination::Accepted);
        }
        state.instances.remove(&provider_id);
        Ok(Termination::Gone)
    }

    async fn get(&self, provider_id: &str) -> Result<Option<Instance>, Error> {
        Ok(self.state().instances.get(provider_id).cloned())
    }

    async fn list(&self) -> Result<Vec<Instance>, Error> {
        Ok(self.state().instances.values().cloned().collect())
    }

    async fn drifted(&self, _: &NodeClaim) -> Result<Option<DriftReason>, Error> {
        Ok(None)
    }

    fn repair_policies(&self) -> &[RepairPolicy] {
        &[]
    }

    fn registration_hooks(&self) -> &[Arc<dyn RegistrationHook>] {
        &self.hooks
    }
}

/// A hook that answers what it was last told.
pub struct Hook {
    name: &'static str,
    answer: Mutex<Result<HookOutcome, String>>,
    asked: Mutex<usize>,
}

impl Hook {
    pub fn pending(name: &'static str) -> Arc<Self> {
        let again = HookOutcome::Pending {
            again_after: Some(Duration::from_secs(5)),
        };
        Arc::new(Self {
            name,
            answer: Mutex::new(Ok(again)),
            asked: Mutex::new(0),
        })
    }

    pub fn done(name: &'static str) -> Arc<Self> {
        let hook = Self::pending(name);
        hook.answer(Ok(HookOutcome::done()));
        hook
    }

    pub fn answer(&self, answer: Result<HookOutcome, String>) {
        *self.answer.lock().unwrap() = answer;
    }

    pub fn asked(&self) -> usize {
        *self.asked.lock().unwrap()
    }
}

#[async_trait]
impl RegistrationHook for Hook {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn registered(&self, _: &NodeClaim) -> Result<HookOutcome, Error> {
        *self.asked.lock().unwrap() += 1;
        self.answer.lock().unwrap().clone().map_err(Error::message)
    }
}
