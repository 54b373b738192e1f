//! What stands between a pool and a pod, one constraint at a time.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Reverse;

use crate::check::Terms;
use crate::pod::{HostPort, Pod};
use crate::requirement::{Operator, Requirement};
use crate::resources::{ResourceId, Resources};
use crate::taint::Taint;
use crate::vocabulary::TypeId;

use super::ConstraintVerdict;
use super::pool::{PoolView, Stock, amount, is_tolerated, narrowed, room};

/// One thing that a pod or a pool asks for.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Constraint<'a> {
    Taint(&'a Taint),
    Requirement(&'a Requirement),
    Resource(ResourceId, i64),
    Port(&'a HostPort),
    Limit(ResourceId, i64),
    /// The places of all volumes of the pod.
    Volumes,
}

/// What keeps every instance type of a pool out.
pub(super) enum Blockers<'a> {
    /// Nothing that the pool or the pod says by itself.
    None,
    /// Each of these does by itself.
    Alone(Vec<Constraint<'a>>),
    /// The fewest that do together; none of them when DaemonSets leave no room at all.
    Together(Vec<Constraint<'a>>),
}

impl<'a> PoolView<'a> {
    /// What keeps every type out: whatever does by itself, or else the fewest that do together.
    pub(super) fn blockers<'b>(&self, stock: &Stock<'_>, pod: &'b Pod) -> Blockers<'b>
    where
        'a: 'b,
    {
        if !self.fitting(stock, pod, &|_| true).is_empty() {
            return Blockers::None;
        }
        let all = self.constraints(pod);
        let keeps_out = |few: &[Constraint<'_>]| {
            let is_kept = |one: Constraint<'_>| few.contains(&one);
            self.fitting(stock, pod, &is_kept).is_empty()
        };
        if keeps_out(&[]) {
            return Blockers::Together(Vec::new());
        }
        let alone: Vec<Constraint<'b>> = all
            .iter()
            .filter(|one| keeps_out(&[**one]))
            .copied()
            .collect();
        if !alone.is_empty() {
            return Blockers::Alone(alone);
        }
        let mut few = all.clone();
        for one in &all {
            let fewer: Vec<Constraint<'b>> =
                few.iter().filter(|other| *other != one).copied().collect();
            if keeps_out(&fewer) {
                few = fewer;
            }
        }
        Blockers::Together(few)
    }

    /// All constraints between the pool and the pod, of all of the pod's alternatives.
    pub(super) fn constraints<'b>(&self, pod: &'b Pod) -> Vec<Constraint<'b>>
    where
        'a: 'b,
    {
        // Ids follow the order of events, so everything is listed by name.
        let by_name = |amounts: &Resources| -> Vec<(ResourceId, i64)> {
            let mut amounts: Vec<(ResourceId, i64)> = amounts.iter().collect();
            amounts.sort_by_key(|(id, _)| self.snapshot.vocabulary.resource_name(*id));
            amounts
        };
        let requests = by_name(&pod.requests)
            .into_iter()
            .filter(|&(_, amount)| amount > 0);
        let mut constraints: Vec<Constraint<'b>> = requests
            .map(|(id, amount)| Constraint::Resource(id, amount))
            .collect();
        let mut requirements: Vec<&Requirement> = Vec::new();
        for requirement in pod.shape.alternatives.iter().flatten() {
            if !requirements.contains(&requirement) {
                requirements.push(requirement);
            }
        }
        let name =
            |requirement: &&Requirement| self.snapshot.vocabulary.key_name(requirement.key());
        requirements.sort_by(|one, other| name(one).cmp(name(other)));
        constraints.extend(requirements.into_iter().map(Constraint::Requirement));
        constraints.extend(self.pool.taints.iter().map(Constraint::Taint));
        constraints.extend(pod.shape.ports.iter().map(Constraint::Port));
        let limits = by_name(&self.remaining).into_iter();
        constraints.extend(limits.map(|(id, left)| Constraint::Limit(id, left)));
        if !self.places.is_empty() {
            constraints.push(Constraint::Volumes);
        }
        constraints
            .into_iter()
            .filter(|constraint| match constraint {
                Constraint::Taint(taint) => !is_tolerated(pod, taint),
                Constraint::Requirement(_)
                | Constraint::Resource(..)
                | Constraint::Port(_)
                | Constraint::Volumes
                | Constraint::Limit(..) => true,
            })
            .collect()
    }

    /// The types that satisfy one constraint, the pool's own requirements granted.
    pub(super) fn verdict(
        &self,
        stock: &Stock<'_>,
        constraint: Constraint<'_>,
    ) -> ConstraintVerdict {
        let (snapshot, vocabulary) = (self.snapshot, &*self.snapshot.vocabulary);
        let template = Terms::of(&self.pool.requirements, vocabulary);
        let passes = |id: TypeId| {
            let kind = stock.kind(id);
            match constraint {
                // Tolerated taints are not listed.
                Constraint::Taint(_) => false,
                Constraint::Requirement(requirement) => {
                    let wanted = [requirement.clone()];
                    let both = narrowed(&self.pool.requirements, &wanted, vocabulary);
                    self.may_ask_for(&wanted)
                        && both.intersect(&kind.labels)
                        && kind.deals(&both).next().is_some()
                }
                Constraint::Resource(resource, asked) => {
                    room(kind, kind.deals(&template), resource) >= asked
                }
                Constraint::Port(port) => kind.leaves_ports(&[port]),
                Constraint::Volumes => self.places.iter().any(|place| {
                    let both = narrowed(&self.pool.requirements, place, vocabulary);
                    self.may_ask_for(place)
                        && both.intersect(&kind.labels)
                        && kind.deals(&both).next().is_some()
                }),
                Constraint::Limit(ResourceId::NODES, left) => left > 0,
                Constraint::Limit(resource, left) => {
                    stock.catalog.types[id].capacity.get(resource) <= left
                }
            }
        };
        let passing = stock.usable.iter().filter(|&&id| passes(id)).count();
        let nearest = || match constraint {
            Constraint::Resource(resource, _) => {
                let room = |id: TypeId| {
                    let kind = stock.kind(id);
                    room(kind, kind.deals(&template), resource)
                };
                let id = stock
                    .usable
                    .iter()
                    .copied()
                    .max_by_key(|&id| (room(id), Reverse(id)))?;
                Some(stock.nearest(id, amount(snapshot, resource, room(id).max(0))))
            }
            Constraint::Limit(resource, _) if resource != ResourceId::NODES => {
                let has = |id: TypeId| stock.catalog.types[id].capacity.get(resource);
                let id = stock
                    .usable
                    .iter()
                    .copied()
                    .min_by_key(|&id| (has(id), id))?;
                Some(stock.nearest(id, amount(snapshot, resource, has(id))))
            }
            Constraint::Taint(_)
            | Constraint::Requirement(_)
            | Constraint::Port(_)
            | Constraint::Volumes
            | Constraint::Limit(..) => None,
        };
        ConstraintVerdict {
            constraint: self.name(constraint),
            asked: self.asked(constraint),
            passing,
            of: stock.usable.len(),
            nearest: if passing == 0 { nearest() } else { None },
        }
    }

    fn name(&self, constraint: Constraint<'_>) -> String {
        let resource_name = |id| self.snapshot.vocabulary.resource_name(id);
        match constraint {
            Constraint::Taint(taint) => {
                format!("taint {}={}:{}", taint.key, taint.value, taint.effect)
            }
            Constraint::Requirement(requirement) => {
                format!(
                    "requirement {}",
                    self.snapshot.vocabulary.key_name(requirement.key())
                )
            }
            Constraint::Resource(id, _) => format!("resources.{}", resource_name(id)),
            Constraint::Port(port) => format!("hostPort {}/{}", port.port, port.protocol),
            Constraint::Limit(id, _) => format!("limits.{}", resource_name(id)),
            Constraint::Volumes => "volumes".into(),
        }
    }

    fn asked(&self, constraint: Constraint<'_>) -> String {
        match constraint {
            Constraint::Taint(_) => "a toleration".into(),
            Constraint::Requirement(requirement) => {
                operand(requirement, &requirement.render(&self.snapshot.vocabulary))
            }
            Constraint::Resource(id, asked) => amount(self.snapshot, id, asked),
            Constraint::Port(port) => format!("free on {}", port.ip),
            Constraint::Volumes => "where the volumes are".into(),
            Constraint::Limit(id, left) => {
                format!("at most {}", amount(self.snapshot, id, left.max(0)))
            }
        }
    }
}

/// A rendered requirement without its key.
fn operand(requirement: &Requirement, rendered: &str) -> String {
    let text = rendered
        .split_once(' ')
        .map_or(rendered, |(_, operand)| operand);
    let is_bounded = requirement.at_least().is_some() || requirement.at_most().is_some();
    match text.strip_prefix("Exists ") {
        Some(bounds) if is_bounded && requirement.operator() == Operator::Exists => bounds.into(),
        Some(_) | None => text.into(),
    }
}
