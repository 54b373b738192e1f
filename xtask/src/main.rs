//! Every command that CI runs. `cargo xtask` lists them; `cargo xtask ci` runs them in order.

mod catalogue;
mod conformance;
mod control_plane;
mod mutants;
mod real;
mod run;

use std::process::ExitCode;

/// One thing CI does.
struct Task {
    name: &'static str,
    about: &'static str,
    run: fn() -> Result<(), String>,
}

const TASKS: &[Task] = &[
    Task {
        name: "fmt",
        about: "formatting is rustfmt's",
        run: run::fmt,
    },
    Task {
        name: "clippy",
        about: "no lint warns, tests included",
        run: run::clippy,
    },
    Task {
        name: "test",
        about: "the README's test command",
        run: run::test,
    },
    Task {
        name: "rows",
        about: "docs/rows.toml and docs/conformance.md agree with the tests",
        run: conformance::check,
    },
    Task {
        name: "each",
        about: "every crate builds alone",
        run: run::each,
    },
    Task {
        name: "doc",
        about: "the documentation builds without warnings",
        run: run::doc,
    },
    Task {
        name: "deny",
        about: "licenses, bans and sources of dependencies",
        run: run::deny,
    },
    Task {
        name: "release",
        about: "the release build",
        run: run::release,
    },
    Task {
        name: "smoke",
        about: "the README's main job, until settled",
        run: run::smoke,
    },
    Task {
        name: "system",
        about: "the scenarios on a real control plane; `-- NAME` runs one",
        run: real::system,
    },
];

/// Tasks that people run and CI does not.
const EXTRA: &[Task] = &[
    Task {
        name: "catalogue",
        about: "EC2's tables as a file of instance types; `-- FOLDER REGION FILE`",
        run: catalogue::write,
    },
    Task {
        name: "conformance",
        about: "rewrites docs/conformance.md from the tests",
        run: conformance::write,
    },
    Task {
        name: "control-plane",
        about: "builds a real control plane with Go, once",
        run: control_plane::task,
    },
    Task {
        name: "cluster",
        about: "a real control plane with our controller, until Ctrl-C",
        run: real::cluster,
    },
    Task {
        name: "verdicts",
        about: "records what a real API server says to our objects",
        run: real::verdicts,
    },
    Task {
        name: "worlds",
        about: "has a real kube-scheduler judge our placements in 300 random worlds",
        run: real::worlds,
    },
    Task {
        name: "figures",
        about: "one run of each figure on a real control plane; bench/real.sh runs three",
        run: real::figures,
    },
    Task {
        name: "mutants",
        about: "whether the tests notice changes to the core; `-- SHARD/SHARDS`",
        run: mutants::mutants,
    },
    Task {
        name: "bench",
        about: "the figures of docs/performance.md",
        run: run::bench,
    },
    Task {
        name: "counts",
        about: "instructions of fixed inputs, and that none grows with the square of the hosts; needs valgrind",
        run: run::counts,
    },
];

fn main() -> ExitCode {
    // Words after `--` are for the task.
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .take_while(|word| word != "--")
        .collect();
    if wanted.is_empty() {
        run::say("cargo xtask ci            all of these, in this order:");
        for task in TASKS {
            run::say(&format!("cargo xtask {:<13} {}", task.name, task.about));
        }
        run::say("besides:");
        for task in EXTRA {
            run::say(&format!("cargo xtask {:<13} {}", task.name, task.about));
        }
        return ExitCode::SUCCESS;
    }
    for name in &wanted {
        let chosen: Vec<&Task> = if name == "ci" {
            TASKS.iter().collect()
        } else {
            TASKS
                .iter()
                .chain(EXTRA)
                .filter(|task| task.name == name)
                .collect()
        };
        if chosen.is_empty() {
            run::say(&format!(
                "xtask: no task `{name}`; `cargo xtask` lists them"
            ));
            return ExitCode::from(2);
        }
        for task in chosen {
            run::say(&format!("== {}: {}", task.name, task.about));
            let start = std::time::Instant::now();
            if let Err(problem) = (task.run)() {
                run::say(&format!("== {} failed: {problem}", task.name));
                return ExitCode::FAILURE;
            }
            run::say(&format!(
                "== {} ok, {:.0} s",
                task.name,
                start.elapsed().as_secs_f64()
            ));
        }
    }
    run::say(&run::totals());
    ExitCode::SUCCESS
}
