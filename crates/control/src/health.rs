//! Whether this process is alive and ready, as a kubelet asks: named checks, one by one or together.
//!
//! Liveness depends on nothing but that we answer. Readiness asks whether what is needed to work is
//! there: the definitions of our kinds, and, for whoever leads, the first lists of everything that is
//! watched.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use kube::Client;
use tokio::sync::watch;

use crate::{ctx::Ctx, lease::Standing};

/// A kubelet does not wait for long either.
const PATIENCE: Duration = Duration::from_secs(3);
/// The kinds without which there is nothing to do.
const KINDS: [&str; 2] = ["NodePool", "NodeClaim"];
const VERSION: &str = "karpenter.sh/v1";

type Verdict = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// One named question.
pub struct Check {
    name: &'static str,
    ask: Box<dyn Fn() -> Verdict + Send + Sync>,
}

/// An answer to a probe: fine or not, and the words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Everything that was asked for is fine.
    Fine(String),
    /// Something is not.
    Failing(String),
    /// There is no such check.
    Unknown,
}

impl Check {
    /// A question that is fine whenever somebody is there to answer it.
    pub fn ping(name: &'static str) -> Self {
        Self::new(name, || async { Ok(()) })
    }

    fn new<Asked>(name: &'static str, ask: impl Fn() -> Asked + Send + Sync + 'static) -> Self
    where
        Asked: Future<Output = Result<(), String>> + Send + 'static,
    {
        Self {
            name,
            ask: Box::new(move || Box::pin(ask())),
        }
    }

    /// Whether everything that is watched was listed. Whoever waits for the lease watches nothing, and
    /// is ready to take over.
    pub fn manager(ctx: Arc<Ctx>, standing: watch::Receiver<Standing>) -> Self {
        Self::new("manager", move || {
            let verdict = match *standing.borrow() {
                Standing::Unknown => Err("the lease has not been seen yet".to_owned()),
                Standing::Waiting => Ok(()),
                Standing::Leading if ctx.mirror.is_listed() => Ok(()),
                Standing::Leading => Err("not every kind has been listed yet".to_owned()),
            };
            async move { verdict }
        })
    }

    /// Whether the API server knows our kinds. Once it did it is not asked again.
    pub fn crd(client: Client) -> Self {
        let known = Arc::new(AtomicBool::new(false));
        Self::new("crd", move || {
            let (client, known) = (client.clone(), Arc::clone(&known));
            async move {
                if known.load(Ordering::Relaxed) {
                    return Ok(());
                }
                let kinds =
                    tokio::time::timeout(PATIENCE, client.list_api_group_resources(VERSION))
                        .await
                        .map_err(|_| "the API server does not answer".to_owned())?;
                let kinds = match kinds {
                    Ok(found) => found.resources,
                    Err(kube::Error::Api(status)) if status.is_not_found() => Vec::new(),
                    Err(error) => return Err(error.to_string()),
                };
                let missing = KINDS
                    .iter()
                    .find(|kind| !kinds.iter().any(|found| found.kind == **kind));
                if let Some(kind) = missing {
                    return Err(format!(
                        "the API server does not know {kind}; install the CRDs"
                    ));
                }
                known.store(true, Ordering::Relaxed);
                Ok(())
            }
        })
    }
}

/// Answers `/<probe>` and `/<probe>/<check>`. `query` may hold `verbose` and `exclude=<check>`.
pub async fn answer(probe: &str, checks: &[Check], rest: Option<&str>, query: &str) -> Answer {
    if let Some(name) = rest {
        return match checks.iter().find(|check| check.name == name) {
            None => Answer::Unknown,
            Some(check) => match (check.ask)().await {
                Ok(()) => Answer::Fine("ok".to_owned()),
                Err(why) => Answer::Failing(format!("{why}\n")),
            },
        };
    }
    let excluded: Vec<&str> = query
        .split('&')
        .filter_map(|pair| pair.strip_prefix("exclude="))
        .collect();
    let mut text = String::new();
    let mut fine = true;
    for check in checks {
        let line = if excluded.contains(&check.name) {
            format!("[+]{} excluded: ok\n", check.name)
        } else {
            match (check.ask)().await {
                Ok(()) => format!("[+]{} ok\n", check.name),
                Err(why) => {
                    fine = false;
                    format!("[-]{} failed: {why}\n", check.name)
                }
            }
        };
        text.push_str(&line);
    }
    if !fine {
        return Answer::Failing(format!("{text}{probe} check failed\n"));
    }
    let verbose = query
        .split('&')
        .any(|pair| pair.split('=').next() == Some("verbose"));
    Answer::Fine(if verbose {
        format!("{text}{probe} check passed\n")
    } else {
        "ok".to_owned()
    })
}
