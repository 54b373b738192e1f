//! One look at every node: what the methods share is found once, then they are asked one by one.

use alloc::vec::Vec;

use super::{
    DisruptOptions, Round,
    allowance::allowances,
    balanced,
    candidate::{BlockReason, Candidate, Class, candidate},
    command::Command,
    method::Method,
    report::{self, DisruptReport, MethodReport},
    verdict::Verdict,
    whatif::WhatIfs,
};
use crate::{snapshot::Snapshot, vocabulary::NodeId};

/// A look at every node, method by method, for those who measure how long each takes. They are to be asked
/// in the order of [`Method::ORDER`], until one finds something.
pub struct Pass<'a> {
    round: Round<'a>,
    graceful: Vec<Candidate>,
    eventual: Vec<Candidate>,
    blocked: Vec<(NodeId, BlockReason)>,
    methods: Vec<MethodReport>,
    commands: Vec<Command>,
}

impl<'a> Pass<'a> {
    /// Finds the candidates and evaluates the budgets.
    pub fn new(snapshot: &'a Snapshot, options: DisruptOptions<'a>) -> Self {
        let commands = options.commands;
        let mut graceful = Vec::new();
        let mut eventual = Vec::new();
        let mut blocked = Vec::new();
        for id in snapshot.nodes.ids() {
            match candidate(snapshot, id, Class::Graceful, commands) {
                Ok(found) => {
                    eventual.push(found.clone());
                    graceful.push(found);
                }
                Err(reason) => {
                    if reason.pod().is_some() {
                        eventual.extend(candidate(snapshot, id, Class::Eventual, commands));
                    }
                    blocked.push((id, reason));
                }
            }
        }
        let round = Round {
            snapshot,
            options,
            allowances: allowances(snapshot, commands),
            what_ifs: WhatIfs::new(snapshot, &options, true),
            totals: balanced::totals(snapshot, &graceful),
        };
        Self {
            round,
            graceful,
            eventual,
            blocked,
            methods: Vec::new(),
            commands: Vec::new(),
        }
    }

    /// Asks one method. True when it has a command, which ends the pass.
    pub fn ask(&mut self, method: Method) -> bool {
        let candidates = match method.class() {
            Class::Graceful => &self.graceful,
            Class::Eventual => &self.eventual,
        };
        let is_off = method == Method::StaticDrift && !self.round.options.static_capacity;
        if candidates.is_empty() || is_off {
            return false;
        }
        let (report, commands) = self.round.ask(method, candidates);
        self.methods.push(report);
        self.commands = commands;
        !self.commands.is_empty()
    }

    /// The node as a candidate, of whichever class.
    pub fn candidate(&self, node: NodeId) -> Option<&Candidate> {
        self.eventual
            .iter()
            .find(|candidate| candidate.node == node)
    }

    /// Why a node is no candidate of the graceful methods.
    pub fn block_reason(&self, node: NodeId) -> Option<&BlockReason> {
        let own = self.blocked.iter().find(|(blocked, _)| *blocked == node);
        own.map(|(_, reason)| reason)
    }

    /// What each method makes of one node, as if nothing came before it. Methods for which it is no
    /// candidate are left out.
    pub fn verdicts_on(&self, node: NodeId) -> Vec<(Method, Verdict)> {
        let asked = Method::ORDER.into_iter().filter_map(|method| {
            let candidates = match method.class() {
                Class::Graceful => &self.graceful,
                Class::Eventual => &self.eventual,
            };
            let own = candidates.iter().find(|own| own.node == node)?;
            Some((method, self.round.verdict_on(method, own, candidates)))
        });
        asked.collect()
    }

    /// The commands, and why everything else stays.
    pub fn finish(self) -> (Vec<Command>, DisruptReport) {
        let report = DisruptReport {
            blocked: self.blocked,
            methods: self.methods,
            valid_until: report::valid_until(self.round.snapshot),
            allowances: self.round.allowances,
        };
        (self.commands, report)
    }
}
