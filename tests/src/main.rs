//! The programs behind `cargo xtask system`, `cluster`, `figures`, `verdicts` and `worlds`.

use std::{
    collections::BTreeMap,
    env,
    fmt::Write as _,
    fs,
    io::Write,
    path::Path,
    process::ExitCode,
    sync::Mutex,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use karpenter_tests::{
    cluster::{Cluster as _, Real},
    control_plane::{ControlPlane, Parts},
    figures,
    scenarios::{self, Scenario},
    verdicts, worlds,
};
use tokio::runtime::Runtime;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            say(&format!("{problem:#}"));
            ExitCode::FAILURE
        }
    }
}

fn say(line: &str) {
    // A closed pipe is the reader's choice.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

fn run(arguments: &[String]) -> Result<()> {
    let command = arguments
        .first()
        .context("which program? system, cluster, figures, plane, verdicts or worlds")?;
    match command.as_str() {
        "system" => system(&arguments[1..]),
        "cluster" => cluster(),
        "figures" => measure(&arguments[1..]),
        "plane" => plane(),
        "verdicts" => record_verdicts(),
        "worlds" => judge_worlds(&arguments[1..]),
        other => bail!("no program {other:?}"),
    }
}

/// A bare control plane, until Ctrl-C.
fn plane() -> Result<()> {
    let runtime = Runtime::new()?;
    runtime.block_on(async {
        let plane = ControlPlane::start(&env::temp_dir(), Parts::All).await?;
        say(&format!(
            "export KUBECONFIG={}",
            plane.kubeconfig().display()
        ));
        tokio::signal::ctrl_c().await?;
        Ok(())
    })
}

/// Asks a real API server, and keeps what it says.
fn record_verdicts() -> Result<()> {
    let runtime = Runtime::new()?;
    runtime.block_on(async {
        let plane = ControlPlane::start(&env::temp_dir(), Parts::Api).await?;
        let client = plane.client().await?;
        verdicts::install_definitions(&client).await?;
        let mut said = BTreeMap::new();
        for case in verdicts::cases()? {
            let verdict = verdicts::ask(&client, &case).await?;
            said.insert(case.name, verdict);
        }
        fs::write(verdicts::recorded_file(), verdicts::printed(&said)?)?;
        let refused = said
            .values()
            .filter(|verdict| matches!(verdict, verdicts::Verdict::Refused(_)))
            .count();
        say(&format!("{} cases, {refused} refused", said.len()));
        Ok(())
    })
}

/// How long a real scheduler may take for a world: it waits up to ten seconds between two tries.
const SCHEDULER_PATIENCE: Duration = Duration::from_secs(40);

/// Has a real kube-scheduler judge the worlds of the seeds from one number on, and keeps what it says.
fn judge_worlds(arguments: &[String]) -> Result<()> {
    let number = |at: usize, default: u64| {
        let given = arguments.get(at).map(|text| text.parse());
        given.unwrap_or(Ok(default)).context("a seed and a count")
    };
    let (first, count) = (number(0, 1)?, number(1, 300)?);
    let runtime = Runtime::new()?;
    let start = Instant::now();
    let mut outcome = worlds::Outcome::default();
    runtime.block_on(async {
        let spreads = worlds::default_spreads();
        let plane = ControlPlane::start_scheduler(&env::temp_dir(), &spreads).await?;
        let scheduler = worlds::Scheduler {
            client: plane.client().await?,
            patience: SCHEDULER_PATIENCE,
            has_default_spreads: true,
        };
        for seed in first..first + count {
            worlds::world(&scheduler, seed, &mut outcome)
                .await
                .with_context(|| format!("seed {seed}"))?;
            if outcome.worlds % 10 == 0 {
                say(&format!(
                    "{} worlds, {} pods placed, {} refused",
                    outcome.worlds,
                    outcome.placed,
                    outcome.refused.len()
                ));
            }
        }
        anyhow::Ok(())
    })?;
    let mut text = format!(
        "# Worlds judged by a real kube-scheduler\n\n\
         Written by `cargo xtask worlds -- {first} {count}`; `tests/src/worlds` says how.\n\n\
         | Seeds | Pods placed | of them with rules between pods | Pods without a place | New nodes | \
         Placements refused | Seconds | Machine |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- |\n\
         | {first} to {} | {} | {} | {} | {} | {} | {} | {} |\n\n{}\n",
        first + count - 1,
        outcome.placed,
        outcome.ruled,
        outcome.unplaced,
        outcome.new_nodes,
        outcome.refused.len(),
        start.elapsed().as_secs(),
        figures::load(),
        worlds::LEFT_OUT,
    );
    for refused in &outcome.refused {
        let _ = write!(text, "\n- {refused}");
    }
    say(&text);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/worlds.md");
    fs::write(file, text + "\n")?;
    ensure!(
        outcome.refused.is_empty(),
        "{} placements were refused",
        outcome.refused.len()
    );
    Ok(())
}

/// How many control planes share the scenarios: they mostly wait.
const WORKERS: usize = 2;

/// The scenarios on real control planes, all or those named; the rest goes on after a failure.
///
/// Two control planes at once are much for a small machine, and the wall's clock is not ours: what
/// failed beside others has another try alone, on a new control plane. Both outcomes are printed.
fn system(names: &[String]) -> Result<()> {
    let wanted = |name: &str| names.is_empty() || names.iter().any(|one| one == name);
    let all = scenarios::shared::<Real>()
        .into_iter()
        .chain(scenarios::real());
    let mut all: Vec<_> = all.filter(|scenario| wanted(scenario.0)).collect();
    ensure!(
        !all.is_empty(),
        "no scenario is named {}",
        names.join(" or ")
    );
    all.reverse();
    let queue = Mutex::new(all);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                let mut cluster = None;
                // The lock is not held while a scenario runs.
                let next = || queue.lock().ok().and_then(|mut queue| queue.pop());
                while let Some(scenario) = next() {
                    if !passes(&mut cluster, &scenario)
                        && let Ok(mut failures) = failures.lock()
                    {
                        failures.push(scenario);
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap_or_default();
    failures.retain(|scenario| {
        say(&format!(
            "{} failed beside others; again, alone",
            scenario.0
        ));
        !passes(&mut None, scenario)
    });
    let failures: Vec<&str> = failures.into_iter().map(|scenario| scenario.0).collect();
    ensure!(failures.is_empty(), "failed: {}", failures.join(", "));
    Ok(())
}

/// Runs a scenario on a worker's cluster and says how it went.
fn passes(cluster: &mut Option<Real>, scenario: &Scenario<Real>) -> bool {
    let start = Instant::now();
    let mut found = String::new();
    let result = match cluster {
        Some(_) => Ok(()),
        None => Real::start().map(|started| *cluster = Some(started)),
    };
    let result = result.and_then(|()| {
        let real = cluster.as_mut().context("no cluster")?;
        found = scenarios::run(real, scenario).with_context(|| real.logs())?;
        Ok(())
    });
    let seconds = start.elapsed().as_secs();
    match result {
        Ok(()) => say(&format!("test {} ... ok, {seconds} s: {found}", scenario.0)),
        Err(problem) => {
            say(&format!(
                "test {} ... FAILED, {seconds} s: {problem:#}",
                scenario.0
            ));
            // What it left would fail the next ones.
            *cluster = None;
            return false;
        }
    }
    true
}

/// A control plane with our CRDs and our controller for people, until Ctrl-C.
fn cluster() -> Result<()> {
    let mut cluster = Real::start()?;
    let kubectl = karpenter_tests::control_plane::program("kubectl")?;
    say(&format!(
        "export KUBECONFIG={}\nalias kubectl={}\nlogs are in {}; Ctrl-C stops and removes everything",
        cluster.plane.kubeconfig().display(),
        kubectl.display(),
        cluster.plane.folder().display(),
    ));
    cluster.run(tokio::signal::ctrl_c())?;
    if let Some(controller) = cluster.controller() {
        controller.stop()?;
    }
    Ok(())
}

/// One run of each figure, or of those named.
fn measure(names: &[String]) -> Result<()> {
    let all: Vec<String> = figures::ALL.map(ToOwned::to_owned).into();
    for name in if names.is_empty() { &all } else { names } {
        let before = figures::load();
        say(&format!("{} ({before} before)", figures::measure(name)?));
    }
    Ok(())
}
