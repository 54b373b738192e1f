//! `karpenter local`: a whole cluster in one process.
//!
//! An embedded Kubernetes API on loopback, a pod scheduler, fake kubelets, the KWOK provider and the
//! same controllers as production. The command owns the socket, the kubeconfig and what people see;
//! the cluster itself is `karpenter_sim`'s.

mod apply;
mod board;
mod show;
mod watch;

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use karpenter_api::GoDuration;
use karpenter_apiserver::kubeconfig;
use karpenter_control::{ctx, status::Settled};
use karpenter_sim::Assembly;
use tokio::{net::TcpListener, time::Instant};

use self::{board::Board, show::Screen};
use crate::{
    Verdict, input,
    options::{Catalogue, Scheduling},
    output::{self, Format},
};

/// How long nothing may have been written before the cluster counts as settled.
const QUIET: SignedDuration = SignedDuration::from_secs(5);
/// How often the board is shown and settling is looked at.
const TICK: Duration = Duration::from_millis(200);

#[derive(clap::Args)]
#[group(skip)]
pub(crate) struct Arguments {
    /// Manifests to apply at the start. A NodePool among them replaces the sample one. May be
    /// repeated.
    #[arg(short, long = "filename", value_name = "FILE|DIR|-")]
    files: Vec<String>,
    #[command(flatten)]
    catalogue: Catalogue,
    #[command(flatten)]
    scheduling: Scheduling,
    /// The simulated AWS account.
    #[arg(long, value_name = "FILE")]
    account: Option<String>,
    /// Leave our controllers out, so that one can be run from outside.
    #[arg(long)]
    no_controller: bool,
    /// The API's port on 127.0.0.1; a free one by default.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Where the kubeconfig goes; a fresh temporary folder by default.
    #[arg(long, value_name = "PATH")]
    kubeconfig: Option<PathBuf>,
    /// End when nothing is left to do, and print a summary.
    #[arg(long)]
    until_settled: bool,
    /// The longest to wait for that, such as `90s`.
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    timeout: String,
    /// The form of the summary.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Verdict> {
    anyhow::ensure!(arguments.account.is_none(), crate::options::NO_AWS);
    let timeout: GoDuration = arguments
        .timeout
        .parse()
        .map_err(|error| anyhow::anyhow!("--timeout {:?}: {error}", arguments.timeout))?;
    let timeout = timeout.to_std();
    // One thread: the work is small, and memory per thread is not.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(arguments, timeout))
}

async fn serve(arguments: &Arguments, timeout: Duration) -> anyhow::Result<Verdict> {
    let scheduling = arguments.scheduling.controller()?;
    let instance_types = arguments.catalogue.read()?;
    let mut documents = input::read(&arguments.files)?;
    if !documents
        .iter()
        .any(|document| document.kind() == "NodePool")
    {
        let classes = documents
            .iter()
            .any(|document| document.kind() == "KWOKNodeClass");
        let mut sample = Vec::new();
        input::parse(
            "the sample NodePool",
            include_str!("sample.yaml"),
            &mut sample,
        )?;
        sample.retain(|document| !classes || document.kind() == "NodePool");
        sample.append(&mut documents);
        documents = sample;
    }
    let listener = TcpListener::bind(("127.0.0.1", arguments.port))
        .await
        .with_context(|| {
            format!(
                "cannot listen on 127.0.0.1:{}; is it in use? try another --port",
                arguments.port
            )
        })?;
    let url = format!("http://{}", listener.local_addr()?);
    let file = write_kubeconfig(arguments.kubeconfig.as_deref(), &kubeconfig(&url))?;

    let data = arguments.output != Format::Table;
    let mut screen = Screen::new(data);
    screen.say(&format!("kubeconfig: {}", file.display()));
    screen.say(&format!(
        "try: kubectl --kubeconfig {} get nodepools,nodeclaims,nodes,pods",
        file.display()
    ));

    let seed = u64::from(std::process::id());
    let assembly = Assembly::start(karpenter_sim::Options {
        instance_types,
        controller: (!arguments.no_controller).then_some(ctx::Options { seed, ..scheduling }),
        ..karpenter_sim::Options::new(Timestamp::now(), seed)
    })
    .await?;
    let client = assembly.client.clone();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let socket = tokio::spawn(karpenter_apiserver::http::serve(
        assembly.server.clone(),
        listener,
        async move {
            let _ = stopped.await;
        },
    ));
    let mut sights = watch::sights(&client);
    let complaints = apply::apply(&client, documents).await;
    for complaint in &complaints {
        output::complain(&format!("karpenter: {complaint}"));
    }

    let mut board = Board::default();
    let started = Instant::now();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut interrupted = std::pin::pin!(interrupt());
    let settled = loop {
        tokio::select! {
            biased;
            () = &mut interrupted => break None,
            Some(sight) = sights.recv() => watch::take(&mut board, sight),
            _ = tick.tick() => {
                screen.update(&mut board);
                if arguments.until_settled {
                    if let Some(refused) = settled(&assembly) {
                        break Some(Ok(refused));
                    }
                    if started.elapsed() >= timeout {
                        break Some(Err(left(&assembly)));
                    }
                }
            }
        }
    };
    screen.update(&mut board);
    let verdict = match settled {
        None if !arguments.until_settled => Verdict::Yes,
        None => Verdict::No,
        Some(outcome) => finish(arguments, &mut screen, &board, outcome)?,
    };
    assembly.stop().await;
    let _ = stop.send(());
    socket.abort();
    if arguments.kubeconfig.is_none()
        && let Some(folder) = file.parent()
    {
        let _ = fs::remove_dir_all(folder);
    }
    Ok(if complaints.is_empty() {
        verdict
    } else {
        Verdict::No
    })
}

/// The refused pods, once nothing has been written for a while and nothing is left to do.
fn settled(assembly: &Assembly) -> Option<Vec<(String, String)>> {
    let quiet = assembly
        .clock
        .now()
        .duration_since(assembly.server.last_material_write());
    if quiet < QUIET {
        return None;
    }
    match left(assembly) {
        Settled::Yes(refused) => Some(
            refused
                .into_iter()
                .map(|(key, reason)| (key.to_string(), reason))
                .collect(),
        ),
        Settled::No(_) => None,
    }
}

/// What our controllers still have to do; nothing if none runs.
fn left(assembly: &Assembly) -> Settled {
    assembly
        .controller
        .as_ref()
        .map_or_else(|| Settled::Yes(Vec::new()), |ctx| ctx.settled())
}

/// Prints the summary and decides the verdict.
fn finish(
    arguments: &Arguments,
    screen: &mut Screen,
    board: &Board,
    outcome: Result<Vec<(String, String)>, Settled>,
) -> anyhow::Result<Verdict> {
    let (refused, late) = match outcome {
        Ok(refused) => (refused, None),
        Err(Settled::No(what)) => (Vec::new(), Some(what)),
        Err(Settled::Yes(refused)) => (
            refused
                .into_iter()
                .map(|(key, reason)| (key.to_string(), reason))
                .collect(),
            Some("something still writes".to_owned()),
        ),
    };
    let summary = board.summary(|pod| {
        refused
            .iter()
            .find(|(key, _)| key == pod)
            .map(|(_, reason)| reason.clone())
    });
    match arguments.output {
        Format::Table => screen.say(&summary.lines()),
        format @ (Format::Json | Format::Yaml) => {
            output::data(&output::render(&summary, format)?);
        }
    }
    if let Some(what) = &late {
        output::complain(&format!(
            "karpenter: not settled within {}: {what}",
            arguments.timeout
        ));
    }
    let yes = late.is_none() && summary.pods_pending.is_empty();
    Ok(if yes { Verdict::Yes } else { Verdict::No })
}

/// Writes the kubeconfig for its owner's eyes only.
fn write_kubeconfig(wanted: Option<&Path>, text: &str) -> anyhow::Result<PathBuf> {
    let path = match wanted {
        Some(path) => path.to_owned(),
        None => fresh_folder()?.join("kubeconfig"),
    };
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(&path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write the kubeconfig to {}", path.display()))?;
    Ok(path)
}

fn fresh_folder() -> anyhow::Result<PathBuf> {
    let process = std::process::id();
    for attempt in 0..100 {
        let folder = std::env::temp_dir().join(format!("karpenter-{process}-{attempt}"));
        match fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot create {}", folder.display()));
            }
        }
    }
    anyhow::bail!(
        "no fresh folder in {}; name a file with --kubeconfig",
        std::env::temp_dir().display()
    )
}

/// Ctrl-C, or the signal that asks a process to end.
async fn interrupt() {
    let interrupted = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminated) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = interrupted => {}
                _ = terminated.recv() => {}
            }
            return;
        }
    }
    let _ = interrupted.await;
}
