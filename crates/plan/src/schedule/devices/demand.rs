//! What claims ask for, ready for the search: classes and requests joined, conditions compiled.

use alloc::{rc::Rc, sync::Arc, vec::Vec};

use rustc_hash::FxHashMap;

use super::DeviceRefusal;
use crate::device::{
    Alternative, Amounts, Claim, Constraint, Device, Devices, Evaluator, MAX_DEVICES, Selector,
    SelectorResult, Verdict,
};

/// One of the alternatives of a request.
#[derive(Debug)]
pub(super) struct Wanted {
    /// `parent/sub` for an alternative.
    pub(super) name: Arc<str>,
    /// All of them must hold.
    pub(super) selectors: Vec<Arc<Selector>>,
    /// How many devices; all of them when nothing is said.
    pub(super) count: Option<usize>,
    pub(super) amounts: Amounts,
}

/// What a claim asks for.
#[derive(Debug)]
pub(super) struct Demand {
    pub(super) claim: Arc<Claim>,
    pub(super) requests: Vec<Vec<Wanted>>,
    /// Attributes whose value must be one, and the requests that are meant.
    pub(super) matches: Vec<(Arc<str>, Vec<Arc<str>>)>,
}

impl Demand {
    /// Joins a claim with the classes that it names (section 9.7 of scheduling.md).
    pub(super) fn of(claim: &Arc<Claim>, devices: &Devices) -> Result<Self, DeviceRefusal> {
        let refuse = |text: alloc::string::String| DeviceRefusal::claim(claim, &text);
        let mut requests = Vec::new();
        let mut least = 0;
        for request in &claim.requests {
            let wanted: Vec<Wanted> = request
                .alternatives
                .iter()
                .map(|alternative| wanted(alternative, devices).map_err(refuse))
                .collect::<Result<_, _>>()?;
            let counts = wanted.iter().map(|own| own.count.unwrap_or(0));
            least += counts.min().unwrap_or(0);
            requests.push(wanted);
        }
        if least > MAX_DEVICES {
            return Err(refuse(alloc::format!(
                "{least} devices are requested, a claim can have {MAX_DEVICES}"
            )));
        }
        let mut matches = Vec::new();
        for constraint in &claim.constraints {
            match constraint {
                Constraint::Match {
                    attribute,
                    requests,
                } => matches.push((attribute.clone(), requests.clone())),
                Constraint::Unsupported(kind) => {
                    return Err(refuse(alloc::format!("constraint {kind} is not supported")));
                }
            }
        }
        Ok(Self {
            claim: claim.clone(),
            requests,
            matches,
        })
    }
}

fn wanted(alternative: &Alternative, devices: &Devices) -> Result<Wanted, alloc::string::String> {
    let Alternative {
        name,
        class,
        selectors,
        count,
        amounts,
    } = alternative;
    let Some(found) = devices.class(class) else {
        return Err(alloc::format!(
            "request {name}, deviceclass \"{class}\" not found"
        ));
    };
    let compiled = |(of, selector): (&Arc<str>, &SelectorResult)| {
        selector
            .clone()
            .map_err(|error| alloc::format!("selector of {of} does not compile, {error}"))
    };
    let of_class = found.selectors.iter().map(|own| (&found.name, own));
    let of_request = selectors.iter().map(|own| (name, own));
    Ok(Wanted {
        name: name.clone(),
        selectors: of_class
            .chain(of_request)
            .map(compiled)
            .collect::<Result<_, _>>()?,
        count: *count,
        amounts: amounts.clone(),
    })
}

/// Remembers what conditions say of devices.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    evaluator: Option<Evaluator>,
    /// By the addresses of condition and device, which stay where they are for the round.
    known: FxHashMap<(usize, usize), Verdict>,
    demands: FxHashMap<usize, Result<Rc<Demand>, DeviceRefusal>>,
}

impl Verdicts {
    /// Whether all conditions hold; an error of the first that has no value.
    pub(super) fn all_hold(
        &mut self,
        wanted: &Wanted,
        device: &Arc<Device>,
    ) -> Result<bool, Arc<str>> {
        for selector in &wanted.selectors {
            let key = (Arc::as_ptr(selector).addr(), Arc::as_ptr(device).addr());
            let evaluator = self.evaluator.get_or_insert_default();
            let verdict = self
                .known
                .entry(key)
                .or_insert_with(|| evaluator.verdict(selector, device));
            match verdict {
                Verdict::Holds => {}
                Verdict::Fails => return Ok(false),
                Verdict::Error(error) => return Err(error.clone()),
            }
        }
        Ok(true)
    }

    /// What a claim asks for, worked out once.
    pub(super) fn demand(
        &mut self,
        claim: &Arc<Claim>,
        devices: &Devices,
    ) -> Result<Rc<Demand>, DeviceRefusal> {
        let known = self.demands.entry(Arc::as_ptr(claim).addr());
        known
            .or_insert_with(|| Demand::of(claim, devices).map(Rc::new))
            .clone()
    }
}
