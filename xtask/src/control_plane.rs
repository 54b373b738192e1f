//! The programs of a real Kubernetes control plane, built once by the Go toolchain from the pinned
//! modules in `tests/control-plane` into the cache folder.
//!
//! A program counts as built when a stamp beside it names the version that the modules ask for.
//! Programs are linked into a folder of this process and then renamed, and the stamp is renamed
//! after the program: a build that is killed leaves nothing that could be taken for a program.

use std::{
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::run::{cache, finish, root, say};

/// Where the harness of `karpenter-tests` looks for programs.
pub(crate) const FOLDER: &str = "KARPENTER_CONTROL_PLANE";

/// A program, and where its source is.
struct Program {
    name: &'static str,
    /// Folder of its module below `tests/control-plane`.
    module: &'static str,
    /// The module whose version is the program's.
    source: &'static str,
    /// The package, below the source module.
    package: &'static str,
    /// Whether a program in `KUBEBUILDER_ASSETS` does as well. Never so for kubectl: what it prints
    /// and how it drains is part of what is tested.
    asset: bool,
}

const KUBERNETES: &str = "k8s.io/kubernetes";

const PROGRAMS: &[Program] = &[
    Program {
        name: "etcd",
        module: "etcd",
        source: "go.etcd.io/etcd/server/v3",
        package: "",
        asset: true,
    },
    Program {
        name: "kube-apiserver",
        module: "kubernetes",
        source: KUBERNETES,
        package: "/cmd/kube-apiserver",
        asset: true,
    },
    Program {
        name: "kubectl",
        module: "kubernetes",
        source: KUBERNETES,
        package: "/cmd/kubectl",
        asset: false,
    },
    Program {
        name: "kube-controller-manager",
        module: "kubernetes",
        source: KUBERNETES,
        package: "/cmd/kube-controller-manager",
        asset: false,
    },
    Program {
        name: "kube-scheduler",
        module: "kubernetes",
        source: KUBERNETES,
        package: "/cmd/kube-scheduler",
        asset: false,
    },
    Program {
        name: "kwok",
        module: "kwok",
        source: "sigs.k8s.io/kwok",
        package: "/cmd/kwok",
        asset: false,
    },
];

/// The task: builds what is missing.
pub(crate) fn task() -> Result<(), String> {
    if let Some(folder) = ensure()? {
        say(&format!("{FOLDER}={}", folder.display()));
    }
    Ok(())
}

/// Builds what is missing and returns the folder; none where there is no Go and nobody insists.
pub(crate) fn ensure() -> Result<Option<PathBuf>, String> {
    let mut missing = Vec::new();
    let version = version(KUBERNETES, "kubernetes")?;
    let folder = cache()?.join("control-plane").join(version);
    for program in PROGRAMS {
        let stamp = program.stamp()?;
        if !program.in_assets() && !built(&folder, program.name, &stamp) {
            missing.push((program, stamp));
        }
    }
    if missing.is_empty() {
        return Ok(Some(folder));
    }
    if !has_go() {
        let names: Vec<&str> = missing.iter().map(|(program, _)| program.name).collect();
        let problem = format!("no Go toolchain in PATH to build {}", names.join(", "));
        if env::var("CI").is_ok_and(|value| value == "true") {
            return Err(problem);
        }
        say(&format!("SKIPPED: {problem}; install Go 1.26 or newer"));
        return Ok(None);
    }
    let workshop = Workshop::below(&folder)?;
    for (program, stamp) in missing {
        build(program, &stamp, &folder, &workshop.0)?;
    }
    Ok(Some(folder))
}

impl Program {
    fn in_assets(&self) -> bool {
        self.asset
            && env::var_os("KUBEBUILDER_ASSETS")
                .is_some_and(|assets| Path::new(&assets).join(self.name).is_file())
    }

    fn stamp(&self) -> Result<String, String> {
        Ok(format!(
            "{}{}@{}\n",
            self.source,
            self.package,
            version(self.source, self.module)?
        ))
    }
}

fn stamp_file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!(".{name}.version"))
}

fn built(folder: &Path, name: &str, stamp: &str) -> bool {
    folder.join(name).is_file()
        && fs::read_to_string(stamp_file(folder, name)).is_ok_and(|found| found == stamp)
}

fn modules(module: &str) -> PathBuf {
    root().join("tests/control-plane").join(module)
}

/// The version at which a `go.mod` requires a module: `go.mod` is the only place that states it.
fn version(source: &str, module: &str) -> Result<String, String> {
    let path = modules(module).join("go.mod");
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    text.lines()
        .map(|line| line.trim().trim_start_matches("require "))
        .find_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some(source))
                .then(|| words.next())
                .flatten()
        })
        .filter(|version| version.starts_with('v'))
        .map(ToOwned::to_owned)
        .ok_or_else(|| format!("{} does not require {source}", path.display()))
}

fn has_go() -> bool {
    Command::new("go")
        .arg("version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// A folder for what is being built, gone with the process that builds.
struct Workshop(PathBuf);

impl Workshop {
    const PREFIX: &str = ".building-";

    /// Makes the folder, and removes those that killed builds left.
    fn below(folder: &Path) -> Result<Self, String> {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(process) = name.strip_prefix(Self::PREFIX)
                && !Path::new("/proc").join(process).exists()
            {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let path = folder.join(format!("{}{}", Self::PREFIX, std::process::id()));
        fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn build(program: &Program, stamp: &str, folder: &Path, workshop: &Path) -> Result<(), String> {
    let version = version(program.source, program.module)?;
    let mut flags = "-s -w".to_owned();
    if program.source == KUBERNETES {
        // Without these the programs call themselves v0.0.0, and clients guess what the server knows.
        let mut numbers = version.trim_start_matches('v').split('.');
        let (major, minor) = (numbers.next(), numbers.next());
        for (name, value) in [
            ("gitVersion", version.as_str()),
            ("gitMajor", major.unwrap_or_default()),
            ("gitMinor", minor.unwrap_or_default()),
            ("gitTreeState", "clean"),
        ] {
            let _ = write!(flags, " -X k8s.io/component-base/version.{name}={value}");
        }
    }
    let output = workshop.join(program.name);
    let mut command = Command::new("go");
    command
        .current_dir(modules(program.module))
        .env("CGO_ENABLED", "0")
        .env("GOWORK", "off")
        .args(["build", "-mod=readonly", "-trimpath", "-ldflags", &flags])
        .arg("-o")
        .arg(&output)
        .arg(format!("{}{}", program.source, program.package));
    finish(command)?;
    let label = workshop.join("stamp");
    let renamed = || -> std::io::Result<()> {
        let target = stamp_file(folder, program.name);
        if target.exists() {
            fs::remove_file(&target)?;
        }
        fs::rename(&output, folder.join(program.name))?;
        fs::write(&label, stamp)?;
        fs::rename(&label, target)
    };
    renamed().map_err(|error| format!("{}: {error}", folder.display()))
}
