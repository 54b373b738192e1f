//! Rules that look at other pods: spread over domains, attraction and repulsion. The surroundings of a shape are
//! counted once and then asked for each node.

use std::collections::{BTreeMap, BTreeSet};

use super::board::{Board, Count, Seat};
use super::filter::Verdict;
use super::shape::{Shape, Spread, Term, TopologyTerm};
use crate::objects::TaintEffect;

/// Pods counted per domain: the value that the nodes of one place share.
type Domains<'a> = BTreeMap<&'a str, i64>;

/// What one shape sees around it.
pub(crate) struct Surroundings<'a> {
    shape: &'a Shape,
    spreads: Vec<Evenness<'a>>,
    /// Per term of attraction, the domains where the pods are that match every term.
    attracted: Vec<(&'a str, BTreeSet<&'a str>)>,
    /// The pod may start a group of its own: nobody matches its terms yet, and it matches them itself.
    first_of_its_group: bool,
    /// Domains that the pod keeps out of, by key.
    avoided: BTreeSet<(&'a str, &'a str)>,
    /// Domains whose pods keep this one out, by key.
    forbidden: BTreeSet<(&'a str, &'a str)>,
}

struct Evenness<'a> {
    spread: &'a Spread,
    counts: Domains<'a>,
    /// The count of the emptiest domain.
    least: i64,
    /// One, if the pod itself is counted once it is placed.
    itself: i64,
}

impl<'a> Surroundings<'a> {
    pub(crate) fn of(shape: &'a Shape, board: &'a Board) -> Self {
        let spreads = shape
            .spreads
            .iter()
            .map(|spread| Evenness::of(spread, shape, board))
            .collect();
        let attracted: Vec<_> = shape
            .attracted
            .iter()
            .map(|term| {
                (
                    term.topology_key.as_str(),
                    domains_of_all(&shape.attracted, term, board),
                )
            })
            .collect();
        let first_of_its_group = attracted.iter().all(|(_, domains)| domains.is_empty())
            && shape
                .attracted
                .iter()
                .all(|own| own.term.matches(&shape.identity, board.namespaces()));
        let avoided = shape
            .repelled
            .iter()
            .flat_map(|own| {
                let key = own.topology_key.as_str();
                count_by_domain(&own.term, key, board, |count| count.all)
                    .into_keys()
                    .map(move |value| (key, value))
            })
            .collect();
        let forbidden = board
            .repelling()
            .filter(|(theirs, _)| theirs.term.matches(&shape.identity, board.namespaces()))
            .flat_map(|(theirs, spots)| {
                let key = theirs.topology_key.as_str();
                spots
                    .keys()
                    .filter_map(move |node| Some((key, domain(board.seat_of(node)?, key)?)))
            })
            .collect();
        Self {
            shape,
            spreads,
            attracted,
            first_of_its_group,
            avoided,
            forbidden,
        }
    }

    /// Whether the pod may go to this node, in kube-scheduler's order of rules.
    pub(crate) fn verdict(&self, seat: &Seat) -> Verdict {
        for evenness in &self.spreads {
            let Some(value) = domain(seat, &evenness.spread.over.topology_key) else {
                return Verdict::refused(
                    "node(s) didn't match pod topology spread constraints (missing required label)",
                );
            };
            let here = evenness.counts.get(value).copied().unwrap_or_default();
            if here + evenness.itself - evenness.least > evenness.spread.max_skew {
                return Verdict::refused("node(s) didn't match pod topology spread constraints");
            }
        }
        if !self.attraction_holds(seat) {
            return Verdict::refused("node(s) didn't match pod affinity rules");
        }
        let within = |domains: &BTreeSet<(&str, &str)>| {
            domains
                .iter()
                .any(|(key, value)| domain(seat, key) == Some(value))
        };
        if within(&self.avoided) {
            return Verdict::refused("node(s) didn't match pod anti-affinity rules");
        }
        if within(&self.forbidden) {
            return Verdict::refused("node(s) didn't satisfy existing pods anti-affinity rules");
        }
        Verdict::Fits
    }

    fn attraction_holds(&self, seat: &Seat) -> bool {
        let everywhere = self
            .attracted
            .iter()
            .all(|(key, _)| domain(seat, key).is_some());
        everywhere
            && (self.shape.attracted.is_empty()
                || self.first_of_its_group
                || self.attracted.iter().all(|(key, domains)| {
                    domain(seat, key).is_some_and(|value| domains.contains(value))
                }))
    }
}

impl<'a> Evenness<'a> {
    fn of(spread: &'a Spread, shape: &Shape, board: &'a Board) -> Self {
        let key = spread.over.topology_key.as_str();
        // Only nodes that carry the keys of all constraints, and that the pod could use by its own rules, are
        // domains: 1. every key, 2. node affinity unless ignored, 3. taints if honoured.
        let eligible = |seat: &Seat| {
            shape
                .spreads
                .iter()
                .all(|other| domain(seat, &other.over.topology_key).is_some())
                && (!spread.honor_affinity
                    || shape.spec.wants_node(seat.node.name(), seat.node.labels()))
                && (!spread.honor_taints
                    || shape
                        .spec
                        .untolerated(
                            &seat.taints,
                            &[TaintEffect::NoSchedule, TaintEffect::NoExecute],
                        )
                        .is_none())
        };
        let mut counts = Domains::new();
        let mut nodes = BTreeSet::new();
        for seat in board.seats().filter(|seat| eligible(seat)) {
            if let Some(value) = domain(seat, key) {
                counts.entry(value).or_default();
                nodes.insert(seat.node.name());
            }
        }
        for (identity, spots) in board.spots() {
            if !spread.over.term.matches(identity, board.namespaces()) {
                continue;
            }
            for (node, count) in spots {
                if !nodes.contains(&**node) {
                    continue;
                }
                if let Some(value) = board.seat_of(node).and_then(|seat| domain(seat, key)) {
                    *counts.entry(value).or_default() += count.staying;
                }
            }
        }
        let enough = i64::try_from(counts.len()).unwrap_or(i64::MAX) >= spread.min_domains;
        let least = if enough {
            counts.values().copied().min().unwrap_or_default()
        } else {
            0
        };
        let itself = i64::from(
            spread
                .over
                .term
                .matches(&shape.identity, board.namespaces()),
        );
        Self {
            spread,
            counts,
            least,
            itself,
        }
    }
}

fn domain<'a>(seat: &'a Seat, key: &str) -> Option<&'a str> {
    seat.node.labels().get(key).map(String::as_str)
}

fn count_by_domain<'a>(
    term: &Term,
    key: &str,
    board: &'a Board,
    which: impl Fn(&Count) -> i64,
) -> Domains<'a> {
    let mut domains = Domains::new();
    for (identity, spots) in board.spots() {
        if !term.matches(identity, board.namespaces()) {
            continue;
        }
        for (node, count) in spots {
            if let Some(value) = board.seat_of(node).and_then(|seat| domain(seat, key)) {
                *domains.entry(value).or_default() += which(count);
            }
        }
    }
    domains
}

/// The domains, by one term's key, of the pods that match every term.
fn domains_of_all<'a>(
    all: &[TopologyTerm],
    of: &TopologyTerm,
    board: &'a Board,
) -> BTreeSet<&'a str> {
    let mut domains = BTreeSet::new();
    for (identity, spots) in board.spots() {
        if !all
            .iter()
            .all(|term| term.term.matches(identity, board.namespaces()))
        {
            continue;
        }
        for node in spots.keys() {
            if let Some(value) = board
                .seat_of(node)
                .and_then(|seat| domain(seat, &of.topology_key))
            {
                domains.insert(value);
            }
        }
    }
    domains
}
