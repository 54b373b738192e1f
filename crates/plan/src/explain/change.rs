//! The smallest changes that would make a pool take a pod. Each is tried before it is told.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Reverse;

use crate::check::{Set, Terms};
use crate::pod::Pod;
use crate::price::Price;
use crate::requirement::Requirement;
use crate::resources::ResourceId;
use crate::vocabulary::TypeId;

use super::Change;
use super::constraint::Constraint;
use super::pool::{PoolView, Stock, amount, room};

/// One of anything, in the thousandths that resources are counted in.
const ONE: i64 = 1000;

/// So many values of a requirement are shown.
const SHOWN_VALUES: usize = 5;

impl PoolView<'_> {
    /// Changes any one of which would make this pool take the pod.
    pub(super) fn changes(&self, pod: &Pod) -> Vec<Change> {
        let Ok(stock) = &self.stock else {
            return Vec::new();
        };
        if !self.fitting(stock, pod, &|_| true).is_empty() {
            return Vec::new();
        }
        let constraints = self.constraints(pod);
        let changes: Vec<Change> = constraints
            .iter()
            .filter_map(|waived| self.change(stock, pod, *waived))
            .collect();
        if changes.is_empty() {
            self.smaller_in_all(stock, pod).into_iter().collect()
        } else {
            changes
        }
    }

    /// The smallest change of one constraint that makes some type fit.
    fn change(&self, stock: &Stock<'_>, pod: &Pod, waived: Constraint<'_>) -> Option<Change> {
        let fitting = self.fitting(stock, pod, &|one| one != waived);
        let &(cheapest, _) = fitting.first()?;
        let fits = |id: TypeId| format!("fits {}", stock.catalog.types[id].name);
        match waived {
            Constraint::Resource(resource, _) => self.smaller(stock, pod, &[resource], &fitting),
            Constraint::Requirement(requirement) => {
                Some(self.other_values(stock, pod, requirement, &fitting, fits(cheapest)))
            }
            Constraint::Taint(taint) => Some(Change {
                change: format!(
                    "tolerate taint {}={}:{}",
                    taint.key, taint.value, taint.effect
                ),
                result: format!("{} of nodepool {}", fits(cheapest), self.pool.name),
            }),
            Constraint::Port(port) => Some(Change {
                change: format!("another hostPort than {}/{}", port.port, port.protocol),
                result: fits(cheapest),
            }),
            // There is nothing to name: volumes do not move.
            Constraint::Volumes => None,
            Constraint::Limit(resource, left) => {
                let needed = |id: TypeId| match resource {
                    ResourceId::NODES => ONE,
                    other => stock.catalog.types[id].capacity.get(other),
                };
                let least = fitting
                    .iter()
                    .min_by_key(|&&(id, price)| (needed(id), price, id));
                let (best, _) = *least?;
                let limit = self.pool.limits.get(resource) - left + needed(best);
                let name = self.snapshot.vocabulary.resource_name(resource);
                let limit = amount(self.snapshot, resource, limit);
                Some(Change {
                    change: format!("limits.{name} of nodepool {} >= {limit}", self.pool.name),
                    result: fits(best),
                })
            }
        }
    }

    /// Some requests reduced to what one of the types has; the roomiest for which that is enough.
    fn smaller(
        &self,
        stock: &Stock<'_>,
        pod: &Pod,
        resources: &[ResourceId],
        fitting: &[(TypeId, Price)],
    ) -> Option<Change> {
        let template = Terms::of(&self.pool.requirements, &self.snapshot.vocabulary);
        let reduced = |id: TypeId| -> Vec<(ResourceId, i64)> {
            let kind = stock.kind(id);
            let room = |resource| room(kind, kind.deals(&template), resource);
            let kept = |&resource: &ResourceId| (resource, room(resource));
            let is_less = |&(resource, room): &(ResourceId, i64)| room < pod.requests.get(resource);
            resources.iter().map(kept).filter(is_less).collect()
        };
        // Fewest reductions first, then the largest rooms, then the cheapest.
        let mut order: Vec<_> = fitting
            .iter()
            .map(|&(id, price)| {
                let reduced = reduced(id);
                let rooms: Vec<i64> = reduced.iter().map(|(_, room)| *room).collect();
                (reduced.len(), Reverse(rooms), price, id, reduced)
            })
            .collect();
        order.sort();
        order.into_iter().find_map(|(.., id, reduced)| {
            let mut smaller = pod.clone();
            for &(resource, room) in &reduced {
                smaller.requests.set(resource, room);
            }
            let helps = !reduced.is_empty()
                && reduced.iter().all(|(_, room)| *room > 0)
                && self
                    .fitting(stock, &smaller, &|_| true)
                    .iter()
                    .any(|(found, _)| *found == id);
            let changes: Vec<String> = reduced
                .iter()
                .map(|&(resource, room)| {
                    let name = self.snapshot.vocabulary.resource_name(resource);
                    format!(
                        "requests.{name} <= {}",
                        amount(self.snapshot, resource, room)
                    )
                })
                .collect();
            helps.then(|| Change {
                change: changes.join(" and "),
                result: format!("fits {}", stock.catalog.types[id].name),
            })
        })
    }

    /// The values of a key with which the pod would be taken; when none can be named, to do without.
    fn other_values(
        &self,
        stock: &Stock<'_>,
        pod: &Pod,
        requirement: &Requirement,
        fitting: &[(TypeId, Price)],
        result: String,
    ) -> Change {
        let vocabulary = &*self.snapshot.vocabulary;
        let key = vocabulary.key_name(requirement.key());
        let template = Terms::of(&self.pool.requirements, vocabulary);
        let mut values: Vec<&Arc<str>> = match template.get(key).and_then(Set::listed) {
            Some(listed) => listed.iter().collect(),
            None => fitting
                .iter()
                .filter_map(|&(id, _)| stock.kind(id).labels.get(key)?.listed())
                .flatten()
                .collect(),
        };
        values.sort_unstable();
        values.dedup();
        values.retain(|value| {
            let Some(value) = vocabulary.value(value) else {
                return false;
            };
            let mut shape = (*pod.shape).clone();
            for alternative in &mut shape.alternatives {
                if alternative.get(requirement.key()) == Some(requirement) {
                    alternative.replace(Requirement::any_of(requirement.key(), [value]));
                }
            }
            let changed = Pod {
                shape: Arc::new(shape),
                ..pod.clone()
            };
            !self.fitting(stock, &changed, &|_| true).is_empty()
        });
        let more = values.len().saturating_sub(SHOWN_VALUES);
        let shown: Vec<&str> = values[..values.len() - more]
            .iter()
            .map(|value| &***value)
            .collect();
        let shown = shown.join(", ");
        let change = match (values.is_empty(), more) {
            (true, _) => format!("drop the requirement on {key}"),
            (false, 0) => format!("{key} in [{shown}]"),
            (false, more) => format!("{key} in [{shown}] or {more} others"),
        };
        Change { change, result }
    }

    /// When no single change helps: all requests reduced to what one of the types has.
    fn smaller_in_all(&self, stock: &Stock<'_>, pod: &Pod) -> Option<Change> {
        let mut light = pod.clone();
        light.requests = [(ResourceId::PODS, ONE)].into_iter().collect();
        let fitting = self.fitting(stock, &light, &|_| true);
        let mut resources: Vec<ResourceId> = pod.requests.iter().map(|(id, _)| id).collect();
        resources.sort_by_key(|id| self.snapshot.vocabulary.resource_name(*id));
        self.smaller(stock, pod, &resources, &fitting)
    }
}
