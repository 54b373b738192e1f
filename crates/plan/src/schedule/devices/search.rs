//! The search for devices: depth first over claims, their requests, and the slots of each request (section
//! 9.7 of scheduling.md).
//!
//! A device is tried if it is free, its counters suffice, its conditions hold, the constraints allow it, and
//! machines that reach it can still exist; whatever it changes is taken back when the rest fails. Slots of
//! a request are alike, so their devices come in ascending order, which spares permutations.

use alloc::{rc::Rc, sync::Arc, vec::Vec};

use super::{
    DeviceRefusal,
    demand::{Demand, Verdicts, Wanted},
    usage::{Choice, Totals, Usage},
};
use crate::{
    device::{Amounts, Attribute, Binding, Constraint, MAX_DEVICES},
    requirement::{Requirements, Undefined},
    vocabulary::Vocabulary,
};

/// A device given to a request.
#[derive(Clone, Debug)]
pub(super) struct Pick {
    /// Index of the claim among those that are searched for.
    pub(super) claim: usize,
    /// The request, `parent/sub` for an alternative.
    pub(super) request: Arc<str>,
    pub(super) choice: Rc<Choice>,
    /// What is taken of a device that is shared.
    pub(super) amounts: Amounts,
}

/// What the first device of a constraint has settled.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Pin {
    Value(Attribute),
    /// Index of a binding.
    Bound(usize),
}

/// What the search goes through.
pub(super) struct Search<'s> {
    pub(super) demands: &'s [Rc<Demand>],
    /// Published devices first, then those that the instance type promises.
    pub(super) choices: Vec<Rc<Choice>>,
    /// A pool that is not complete or not valid.
    pub(super) flaw: Option<Arc<str>>,
    pub(super) bindings: &'s [Binding],
    pub(super) totals: &'s Totals,
    pub(super) vocabulary: &'s Vocabulary,
    pub(super) verdicts: &'s mut Verdicts,
    /// What is in use besides.
    pub(super) usage: Usage,
    /// Requirements of the machine, narrower with each device that needs it.
    pub(super) requirements: Vec<Rc<Requirements>>,
    /// Devices that may still be tried.
    pub(super) tries: &'s mut usize,
    pub(super) picks: Vec<Pick>,
}

/// What each constraint of each claim has settled.
type Pins = Vec<Vec<Option<Pin>>>;

impl Search<'_> {
    /// Finds devices for all claims, which are then in `picks`. False when there are none.
    pub(super) fn run(&mut self) -> Result<bool, DeviceRefusal> {
        let demands = self.demands.iter();
        let mut pins: Pins = demands
            .map(|demand| demand.matches.iter().map(|_| None).collect())
            .collect();
        self.request(0, 0, &mut pins)
    }

    fn request(
        &mut self,
        claim: usize,
        request: usize,
        pins: &mut Pins,
    ) -> Result<bool, DeviceRefusal> {
        let demands = self.demands;
        let Some(demand) = demands.get(claim) else {
            return Ok(true);
        };
        let Some(alternatives) = demand.requests.get(request) else {
            return self.request(claim + 1, 0, pins);
        };
        for wanted in alternatives {
            let found = match wanted.count {
                Some(count) => self.slot((claim, request), wanted, (count, 0), pins)?,
                None => self.all((claim, request), wanted, pins)?,
            };
            if found {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Fills the slots that are left, with devices from this one on.
    fn slot(
        &mut self,
        at: (usize, usize),
        wanted: &Wanted,
        (left, from): (usize, usize),
        pins: &mut Pins,
    ) -> Result<bool, DeviceRefusal> {
        if left == 0 {
            return self.request(at.0, at.1 + 1, pins);
        }
        for index in from..self.choices.len() {
            let choice = self.choices[index].clone();
            // An error of the evaluation means that the condition does not hold.
            if self.verdicts.all_hold(wanted, &choice.device) != Ok(true) {
                continue;
            }
            let before = pins[at.0].clone();
            if !self.take(at.0, wanted, &choice, pins)? {
                continue;
            }
            let next = if choice.device.is_shared {
                index
            } else {
                index + 1
            };
            if self.slot(at, wanted, (left - 1, next), pins)? {
                return Ok(true);
            }
            self.give_back();
            pins[at.0] = before;
        }
        Ok(false)
    }

    /// Takes every device that the conditions hold for.
    fn all(
        &mut self,
        at: (usize, usize),
        wanted: &Wanted,
        pins: &mut Pins,
    ) -> Result<bool, DeviceRefusal> {
        let claim = &self.demands[at.0].claim;
        if let Some(flaw) = &self.flaw {
            return Err(DeviceRefusal::claim(claim, flaw));
        }
        let mut meant = Vec::new();
        for choice in &self.choices {
            match self.verdicts.all_hold(wanted, &choice.device) {
                Ok(true) => meant.push(choice.clone()),
                Ok(false) => {}
                Err(error) => return Err(DeviceRefusal::claim(claim, &error)),
            }
        }
        if meant.is_empty() {
            return Ok(false);
        }
        let before = pins[at.0].clone();
        let mut taken = 0;
        let mut fits = true;
        for choice in &meant {
            fits = self.take(at.0, wanted, choice, pins)?;
            if !fits {
                break;
            }
            taken += 1;
        }
        if fits && self.request(at.0, at.1 + 1, pins)? {
            return Ok(true);
        }
        for _ in 0..taken {
            self.give_back();
        }
        pins[at.0] = before;
        Ok(false)
    }

    /// Takes a device if it may be taken.
    fn take(
        &mut self,
        claim: usize,
        wanted: &Wanted,
        choice: &Rc<Choice>,
        pins: &mut Pins,
    ) -> Result<bool, DeviceRefusal> {
        if *self.tries == 0 {
            return Err(DeviceRefusal::Exhausted);
        }
        *self.tries -= 1;
        let of_claim = self.picks.iter().filter(|pick| pick.claim == claim);
        if of_claim.count() >= MAX_DEVICES {
            return Ok(false);
        }
        let Some(amounts) = choice.device.consumption(&wanted.amounts) else {
            return Ok(false);
        };
        let free = self
            .usage
            .allows(choice.key, &choice.device, &amounts, self.totals);
        if !free {
            return Ok(false);
        }
        let before = pins[claim].clone();
        if !self.pin(claim, wanted, choice, &mut pins[claim]) {
            pins[claim] = before;
            return Ok(false);
        }
        let Some(current) = self.requirements.last().cloned() else {
            return Ok(false);
        };
        let narrowed = match &choice.topology {
            None => current,
            Some(topology) => {
                let undefined = Undefined::AllowedIfWellKnown;
                if !current.compatible(topology, undefined, self.vocabulary) {
                    pins[claim] = before;
                    return Ok(false);
                }
                let mut both = (*current).clone();
                both.add_all(topology, self.vocabulary);
                Rc::new(both)
            }
        };
        self.requirements.push(narrowed);
        self.usage.take(choice.key, &choice.device, &amounts);
        self.picks.push(Pick {
            claim,
            request: wanted.name.clone(),
            choice: choice.clone(),
            amounts,
        });
        Ok(true)
    }

    fn give_back(&mut self) {
        self.requirements.pop();
        if let Some(pick) = self.picks.pop() {
            let Choice { key, device, .. } = &*pick.choice;
            self.usage.give_back(*key, device, &pick.amounts);
        }
    }

    /// The constraints of the claim allow the device; the first one settles the value. What is known now
    /// and what a binding promises for later are never mixed.
    fn pin(
        &self,
        claim: usize,
        wanted: &Wanted,
        choice: &Choice,
        pins: &mut [Option<Pin>],
    ) -> bool {
        let matches = self.demands[claim].matches.iter().zip(pins);
        for ((attribute, requests), pin) in matches {
            if !Constraint::covers(requests, &wanted.name) {
                continue;
            }
            let value = choice.device.attributes.get(attribute).cloned();
            let bound = || {
                self.bindings.iter().position(|binding| {
                    let is_bound = || binding.devices.binary_search(&choice.device.name);
                    binding.attribute == *attribute && is_bound().is_ok()
                })
            };
            let own = value.map(Pin::Value).or_else(|| bound().map(Pin::Bound));
            let Some(own) = own else {
                return false;
            };
            match pin {
                Some(pin) if *pin != own => return false,
                Some(_) => {}
                None => *pin = Some(own),
            }
        }
        true
    }
}
