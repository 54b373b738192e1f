//! What is in use: devices, parts of devices that are shared, and counters.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
};

use karpenter_api::Quantity;

use crate::{
    device::{Amounts, CounterSet, Device, DeviceName},
    requirement::Requirements,
};

/// A device of this round: published, or promised by an instance type. A promised one exists once for each
/// machine and instance type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum DeviceKey {
    Published(u32),
    Promised(u32),
}

/// A device that may be chosen.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) key: DeviceKey,
    pub(super) device: Arc<Device>,
    /// What nodes must be to use it.
    pub(super) topology: Option<Rc<Requirements>>,
    /// Only the node that published it, or will, can use it.
    pub(super) is_local: bool,
}

/// What names a counter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CounterKey {
    is_promised: bool,
    driver: Arc<str>,
    pool: Arc<str>,
    set: Arc<str>,
    counter: Arc<str>,
}

/// How much counters have.
pub(super) type Totals = BTreeMap<CounterKey, Quantity>;

/// Adds the counters of a pool.
pub(super) fn add_totals(
    totals: &mut Totals,
    is_promised: bool,
    (driver, pool): (&Arc<str>, &Arc<str>),
    sets: &[CounterSet],
) {
    for set in sets {
        for (counter, amount) in &set.counters {
            let key = CounterKey {
                is_promised,
                driver: driver.clone(),
                pool: pool.clone(),
                set: set.name.clone(),
                counter: counter.clone(),
            };
            totals.insert(key, *amount);
        }
    }
}

fn draws(key: DeviceKey, device: &Device) -> impl Iterator<Item = (CounterKey, Quantity)> + '_ {
    let DeviceName { driver, pool, .. } = &device.name;
    device.draws.iter().map(move |draw| {
        let counter = CounterKey {
            is_promised: matches!(key, DeviceKey::Promised(_)),
            driver: driver.clone(),
            pool: pool.clone(),
            set: draw.set.clone(),
            counter: draw.counter.clone(),
        };
        (counter, draw.amount)
    })
}

/// What is in use.
#[derive(Clone, Debug, Default)]
pub(super) struct Usage {
    /// Devices that are taken whole.
    whole: BTreeSet<DeviceKey>,
    /// Shares of each device that is shared, and what they come to.
    shares: BTreeMap<DeviceKey, (usize, Amounts)>,
    counters: BTreeMap<CounterKey, Quantity>,
}

impl Usage {
    /// The device is free, or as much of it as is asked for, and so are the counters that it draws on.
    pub(super) fn allows(
        &self,
        key: DeviceKey,
        device: &Device,
        amounts: &Amounts,
        totals: &Totals,
    ) -> bool {
        if self.whole.contains(&key) {
            return false;
        }
        let shares = self.shares.get(&key);
        let has_room = |(name, amount): (&Arc<str>, &Quantity)| {
            let used = shares.and_then(|(_, used)| used.get(name)).copied();
            let total = device.capacity.get(name).map(|capacity| capacity.value);
            total.is_some_and(|total| used.unwrap_or(Quantity::ZERO) + *amount <= total)
        };
        if !amounts.iter().all(has_room) {
            return false;
        }
        if shares.is_some() {
            // The first share has paid.
            return device.is_shared;
        }
        draws(key, device).all(|(counter, amount)| {
            let used = self.counters.get(&counter).copied();
            let total = totals.get(&counter);
            total.is_some_and(|total| used.unwrap_or(Quantity::ZERO) + amount <= *total)
        })
    }

    /// Takes the device, or a share of it.
    pub(super) fn take(&mut self, key: DeviceKey, device: &Device, amounts: &Amounts) {
        let is_first = if device.is_shared {
            let (count, used) = self.shares.entry(key).or_default();
            *count += 1;
            for (name, amount) in amounts {
                *used.entry(name.clone()).or_insert(Quantity::ZERO) += *amount;
            }
            *count == 1
        } else {
            self.whole.insert(key)
        };
        if is_first {
            for (counter, amount) in draws(key, device) {
                *self.counters.entry(counter).or_insert(Quantity::ZERO) += amount;
            }
        }
    }

    /// Gives back what [`take`](Self::take) took.
    pub(super) fn give_back(&mut self, key: DeviceKey, device: &Device, amounts: &Amounts) {
        let is_last = if device.is_shared {
            let Some((count, used)) = self.shares.get_mut(&key) else {
                return;
            };
            *count -= 1;
            for (name, amount) in amounts {
                *used.entry(name.clone()).or_insert(Quantity::ZERO) -= *amount;
            }
            let is_last = *count == 0;
            if is_last {
                self.shares.remove(&key);
            }
            is_last
        } else {
            self.whole.remove(&key)
        };
        if is_last {
            for (counter, amount) in draws(key, device) {
                *self.counters.entry(counter).or_insert(Quantity::ZERO) -= amount;
            }
        }
    }

    /// What of it is published rather than promised, and so seen by other machines.
    pub(super) fn published(&self) -> Self {
        let is_published = |key: &DeviceKey| matches!(key, DeviceKey::Published(_));
        let mut published = self.clone();
        published.whole.retain(is_published);
        published.shares.retain(|key, _| is_published(key));
        published.counters.retain(|counter, _| !counter.is_promised);
        published
    }

    /// The most of each, for a machine that may become one or the other.
    pub(super) fn maximum(&mut self, other: &Self) {
        self.merge(other, Quantity::max, usize::max);
    }

    /// The sum, for two machines.
    pub(super) fn add(&mut self, other: &Self) {
        self.merge(other, |a, b| a + b, |a, b| a + b);
    }

    fn merge(
        &mut self,
        other: &Self,
        amount: fn(Quantity, Quantity) -> Quantity,
        count: fn(usize, usize) -> usize,
    ) {
        self.whole.extend(other.whole.iter().copied());
        for (key, (others, amounts)) in &other.shares {
            let (own, used) = self.shares.entry(*key).or_default();
            *own = count(*own, *others);
            for (name, value) in amounts {
                let used = used.entry(name.clone()).or_insert(Quantity::ZERO);
                *used = amount(*used, *value);
            }
        }
        for (counter, value) in &other.counters {
            let used = self
                .counters
                .entry(counter.clone())
                .or_insert(Quantity::ZERO);
            *used = amount(*used, *value);
        }
    }

    /// Counts a device of the cluster as in use, whether or not it is one that is shared by now.
    pub(super) fn occupy(&mut self, key: DeviceKey, device: &Device, consumed: Option<&Amounts>) {
        match consumed {
            Some(amounts) if device.is_shared => self.take(key, device, amounts),
            Some(_) | None => {
                let is_new = !self.shares.contains_key(&key) && self.whole.insert(key);
                if is_new {
                    for (counter, amount) in draws(key, device) {
                        *self.counters.entry(counter).or_insert(Quantity::ZERO) += amount;
                    }
                }
            }
        }
    }
}
