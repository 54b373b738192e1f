//! A real Kubernetes control plane on loopback, in a folder that goes with it.
//!
//! etcd and kube-apiserver always; kube-controller-manager, kube-scheduler and kwok where pods shall
//! run. Everything is killed by its number when the value is dropped, and by the watchdog when this
//! process dies in another way. It knows nothing of Karpenter.

mod key;
pub(crate) mod process;
mod programs;
pub(crate) mod watchdog;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt::Write as _,
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};

use process::{Process, Program};
pub use programs::{FOLDER, program};
use watchdog::Watchdog;

const STAGES: &str = include_str!("../../control-plane/kwok/stages.yaml");

/// From nothing to ready takes four seconds; on a machine that also builds, many times that.
const PATIENCE: Duration = Duration::from_mins(2);

/// What a control plane runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parts {
    /// The API alone: objects are stored, and nothing happens.
    Api,
    /// Pods get places, and nothing else happens.
    Scheduler,
    /// Workloads get pods, pods get places, and kwok plays the kubelets.
    All,
}

/// A running control plane.
pub struct ControlPlane {
    // Dropped in this order: those who ask before those who answer, the watchdog and its folder last.
    others: Vec<Process>,
    api_server: Process,
    etcd: Process,
    folder: PathBuf,
    etcd_url: String,
    watchdog: Arc<Watchdog>,
}

impl ControlPlane {
    /// Starts it and waits until it answers. Its logs and its kubeconfig are below `parent`.
    pub async fn start(parent: &Path, parts: Parts) -> Result<Self> {
        Self::start_with(parent, parts, &json!([])).await
    }

    /// Starts one where pods get places and nothing else happens, and pods that say nothing spread like
    /// this.
    pub async fn start_scheduler(parent: &Path, default_spreads: &Value) -> Result<Self> {
        Self::start_with(parent, Parts::Scheduler, default_spreads).await
    }

    async fn start_with(parent: &Path, parts: Parts, default_spreads: &Value) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = parent.join(format!("karpenter-{}-{number}", std::process::id()));
        let watchdog = Arc::new(Watchdog::new(&folder)?);
        fs::write(folder.join("key.pem"), key::fresh()?)?;
        fs::write(folder.join("stages.yaml"), STAGES)?;
        // One user, who may do everything. The token need not be secret: who could read it here
        // could read etcd as well.
        fs::write(
            folder.join("tokens.csv"),
            "admin,admin,admin,system:masters\n",
        )?;

        let [client, peer, secure] = free_ports()?;
        let etcd_url = format!("http://127.0.0.1:{client}");
        let url = format!("https://127.0.0.1:{secure}");
        fs::write(folder.join("kubeconfig"), kubeconfig(&url, &folder)?)?;

        let start = |name: &str, arguments: Vec<String>| {
            Process::start(described(name, arguments, &folder)?, &watchdog)
        };
        let etcd = start("etcd", etcd_arguments(&etcd_url, peer, &folder))?;
        let api_server = start(
            "kube-apiserver",
            api_server_arguments(&etcd_url, secure, &folder),
        )?;
        let mut plane = Self {
            others: Vec::new(),
            api_server,
            etcd,
            folder: folder.clone(),
            etcd_url,
            watchdog: Arc::clone(&watchdog),
        };
        plane.ready().await?;
        let kubeconfig = plane.kubeconfig();
        let scheduler = ("kube-scheduler", controller_arguments(&kubeconfig));
        let others = match parts {
            Parts::Api => Vec::new(),
            Parts::Scheduler => {
                let configuration = scheduler_configuration(&kubeconfig, default_spreads);
                let file = folder.join("scheduler.yaml");
                fs::write(&file, serde_saphyr::to_string(&configuration)?)?;
                let arguments = vec![
                    format!("--config={}", file.display()),
                    "--secure-port=0".into(),
                ];
                vec![("kube-scheduler", arguments)]
            }
            Parts::All => vec![
                ("kube-controller-manager", controller_arguments(&kubeconfig)),
                scheduler,
                ("kwok", kwok_arguments(&kubeconfig, &folder)),
            ],
        };
        for (name, arguments) in others {
            plane.others.push(start(name, arguments)?);
        }
        Ok(plane)
    }

    /// The file that clients read.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// Logs, keys and data: gone with the control plane.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// How to reach the API.
    pub async fn config(&self) -> Result<Config> {
        let kubeconfig = Kubeconfig::read_from(self.kubeconfig())?;
        Ok(Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?)
    }

    /// A client of the API.
    pub async fn client(&self) -> Result<Client> {
        Ok(Client::try_from(self.config().await?)?)
    }

    /// Waits until the API server says that it is ready.
    pub async fn ready(&mut self) -> Result<()> {
        let start = Instant::now();
        loop {
            // The server writes its certificate when it starts: until then there is no client either.
            let problem = match self.answer().await {
                Ok(()) => return Ok(()),
                Err(problem) => problem,
            };
            self.all_run()?;
            if start.elapsed() > PATIENCE {
                bail!("not ready after {PATIENCE:?}: {problem:#}\n{}", self.logs());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn answer(&self) -> Result<()> {
        let request = http::Request::get("/readyz").body(Vec::new())?;
        let client = self.client().await?;
        tokio::time::timeout(Duration::from_secs(5), client.request_text(request)).await??;
        Ok(())
    }

    /// Fails when a program has ended by itself.
    pub fn all_run(&mut self) -> Result<()> {
        let mut ended = None;
        for process in [&mut self.etcd, &mut self.api_server]
            .into_iter()
            .chain(&mut self.others)
        {
            if let Some(status) = process.ended() {
                ended = Some(format!(
                    "{} ended with {status}:\n{}",
                    process.name(),
                    process.tail(20)
                ));
            }
        }
        match ended {
            Some(problem) => bail!(problem),
            None => Ok(()),
        }
    }

    /// Ends the API server as `kill -9` does.
    pub fn kill_api_server(&mut self) {
        self.api_server.kill();
    }

    /// Starts the API server again, at the same address, and waits until it answers.
    pub async fn restart_api_server(&mut self) -> Result<()> {
        self.api_server.restart()?;
        self.ready().await
    }

    /// Lets etcd forget everything but the present, as it does by itself every five minutes.
    pub async fn compact(&self) -> Result<i64> {
        let client = Client::try_from(Config::new(self.etcd_url.parse()?))?;
        let post = async |path: &str, body: Value| -> Result<Value> {
            let request = http::Request::post(path).body(serde_json::to_vec(&body)?)?;
            Ok(client.request(request).await?)
        };
        let status = post("/v3/maintenance/status", json!({})).await?;
        let revision = status
            .pointer("/header/revision")
            .and_then(Value::as_str)
            .and_then(|revision| revision.parse().ok())
            .context("etcd did not say its revision")?;
        post(
            "/v3/kv/compaction",
            json!({"revision": revision, "physical": true}),
        )
        .await?;
        Ok(revision)
    }

    pub(crate) fn watchdog(&self) -> &Arc<Watchdog> {
        &self.watchdog
    }

    /// The ends of all logs, for a failure.
    pub fn logs(&self) -> String {
        let mut text = String::new();
        let all = [&self.etcd, &self.api_server].into_iter();
        for process in all.chain(&self.others) {
            let _ = writeln!(text, "--- {}\n{}", process.name(), process.tail(2));
        }
        text
    }
}

/// Ports that nobody listens on. Another process may take one before we do; then the start fails
/// with the log of who could not bind.
pub(crate) fn free_ports<const COUNT: usize>() -> Result<[u16; COUNT]> {
    let mut listeners = Vec::with_capacity(COUNT);
    let mut ports = [0; COUNT];
    for port in &mut ports {
        let listener = TcpListener::bind("127.0.0.1:0").context("a port on loopback")?;
        *port = listener.local_addr()?.port();
        // All are held until all are known: none comes twice.
        listeners.push(listener);
    }
    Ok(ports)
}

fn described(name: &str, arguments: Vec<String>, folder: &Path) -> Result<Program> {
    Ok(Program {
        name: name.to_owned(),
        path: program(name)?,
        arguments: arguments.into_iter().map(OsString::from).collect(),
        variables: BTreeMap::new(),
        log: folder.join(format!("{name}.log")),
    })
}

fn etcd_arguments(url: &str, peer: u16, folder: &Path) -> Vec<String> {
    let peer = format!("http://127.0.0.1:{peer}");
    vec![
        format!("--data-dir={}", folder.join("etcd").display()),
        format!("--listen-client-urls={url}"),
        format!("--advertise-client-urls={url}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        // The data goes with the folder: a power failure may take it.
        "--unsafe-no-fsync".into(),
        "--log-level=warn".into(),
    ]
}

fn api_server_arguments(etcd: &str, port: u16, folder: &Path) -> Vec<String> {
    let key = folder.join("key.pem").display().to_string();
    vec![
        format!("--etcd-servers={etcd}"),
        "--bind-address=127.0.0.1".into(),
        "--advertise-address=127.0.0.1".into(),
        format!("--secure-port={port}"),
        format!("--cert-dir={}", folder.join("certificates").display()),
        format!("--token-auth-file={}", folder.join("tokens.csv").display()),
        "--authorization-mode=RBAC".into(),
        "--service-cluster-ip-range=10.0.0.0/24".into(),
        "--service-account-issuer=https://kubernetes.default.svc".into(),
        format!("--service-account-key-file={key}"),
        format!("--service-account-signing-key-file={key}"),
        // Nobody mounts tokens, so pods need not wait for their namespace's account.
        "--disable-admission-plugins=ServiceAccount".into(),
        // Hundreds of fake kubelets come from one address.
        "--max-requests-inflight=3000".into(),
        "--max-mutating-requests-inflight=1500".into(),
    ]
}

fn controller_arguments(kubeconfig: &Path) -> Vec<String> {
    vec![
        format!("--kubeconfig={}", kubeconfig.display()),
        "--leader-elect=false".into(),
        "--secure-port=0".into(),
        "--kube-api-qps=500".into(),
        "--kube-api-burst=1000".into(),
    ]
}

/// What the arguments of controllers say, and how pods spread by default.
fn scheduler_configuration(kubeconfig: &Path, default_spreads: &Value) -> Value {
    json!({
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "clientConnection": {"kubeconfig": kubeconfig, "qps": 500, "burst": 1000},
        "leaderElection": {"leaderElect": false},
        "profiles": [{
            "schedulerName": "default-scheduler",
            "pluginConfig": [{
                "name": "PodTopologySpread",
                "args": {"defaultingType": "List", "defaultConstraints": default_spreads},
            }],
        }],
    })
}

fn kwok_arguments(kubeconfig: &Path, folder: &Path) -> Vec<String> {
    vec![
        format!("--kubeconfig={}", kubeconfig.display()),
        format!("--config={}", folder.join("stages.yaml").display()),
        "--manage-all-nodes=false".into(),
        "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake".into(),
        "--node-lease-duration-seconds=40".into(),
    ]
}

fn kubeconfig(url: &str, folder: &Path) -> Result<String> {
    let authority = folder.join("certificates").join("apiserver.crt");
    let value = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "karpenter",
        "contexts": [{
            "name": "karpenter",
            "context": {"cluster": "karpenter", "user": "admin"},
        }],
        "clusters": [{
            "name": "karpenter",
            "cluster": {"server": url, "certificate-authority": authority},
        }],
        "users": [{"name": "admin", "user": {"token": "admin"}}],
    });
    serde_saphyr::to_string(&value).context("kubeconfig")
}
