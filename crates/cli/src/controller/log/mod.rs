//! The log of the controller: one JSON object per line, under upstream's keys, because pipelines index
//! them.
//!
//! Controllers tell what happened through `tracing`; `line` decides what a line looks like, `sample`
//! which lines are dropped, `sink` where they go. Nothing here knows what is logged.

mod line;
mod sample;
mod sink;

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use tracing::{
    Event, Metadata, Subscriber,
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    Layer,
    filter::filter_fn,
    layer::{Context, SubscriberExt as _},
    registry::{LookupSpan, Scope},
    util::SubscriberInitExt as _,
};

use self::{line::Fields, sample::Sampler, sink::Sinks};
use crate::options::{LogLevel, Settings};

/// The revision, as lines carry it.
pub(super) fn commit() -> Option<&'static str> {
    let commit = option_env!("KARPENTER_COMMIT").filter(|commit| !commit.is_empty())?;
    if commit.ends_with("-dirty") {
        return Some(commit);
    }
    commit.get(..7).or(Some(commit))
}

/// Logs from here on.
///
/// # Errors
/// When a file of the log cannot be opened.
pub(super) fn start(settings: &Settings) -> anyhow::Result<()> {
    let sinks = Sinks::open(&settings.log_output_paths, &settings.log_error_output_paths)?;
    let level = match settings.log_level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Error => LevelFilter::ERROR,
    };
    let journal = Journal {
        with_caller: settings.log_level == LogLevel::Debug,
        commit: commit(),
        now: Timestamp::now,
        state: Mutex::new((Sampler::default(), sinks)),
    };
    tracing_subscriber::registry()
        .with(journal.with_filter(filter_fn(move |about| is_told(about, level))))
        .init();
    Ok(())
}

/// Ours up to the level, without the writing of events, which would flood a debug log. What the
/// libraries below have to say comes back as errors, and is told by whoever asked them.
fn is_told(about: &Metadata<'_>, level: LevelFilter) -> bool {
    *about.level() <= level
        && about.target().starts_with("karpenter")
        && about.target() != "karpenter_control::events"
}

/// Turns what is told into lines.
struct Journal<Out> {
    with_caller: bool,
    commit: Option<&'static str>,
    now: fn() -> Timestamp,
    state: Mutex<(Sampler, Out)>,
}

/// Where finished lines go.
trait Out: 'static {
    fn line(&mut self, line: &str);
}

impl<S, O> Layer<S> for Journal<O>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    O: Out,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut own = Fields::default();
        event.record(&mut own);
        let now = (self.now)();
        let about = event.metadata();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (sampler, out) = &mut *state;
        if !sampler.admits(now, *about.level(), own.message()) {
            return;
        }
        let mut line = line::Line::new(*about.level(), now, own.message());
        if self.with_caller
            && let (Some(file), Some(number)) = (about.file(), about.line())
        {
            line.text("caller", &format!("{file}:{number}"));
        }
        if let Some(commit) = self.commit {
            line.text("commit", commit);
        }
        for span in context
            .event_scope(event)
            .into_iter()
            .flat_map(Scope::from_root)
        {
            if let Some(fields) = span.extensions().get::<Fields>() {
                line.fields(fields);
            }
        }
        line.fields(&own);
        out.line(&line.finish());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tracing::{debug, error, info, info_span, warn};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<String>>>);

    impl Out for Lines {
        fn line(&mut self, line: &str) {
            self.0.lock().unwrap().push(line.trim_end().to_owned());
        }
    }

    fn check(level: LevelFilter, with_caller: bool, tell: impl FnOnce(), expected: &[&str]) {
        let lines = Lines::default();
        let journal = Journal {
            with_caller,
            commit: Some("0a1b2c3"),
            now: || "2025-05-01T10:00:00.123987Z".parse().unwrap(),
            state: Mutex::new((Sampler::default(), lines.clone())),
        };
        let told = filter_fn(move |about| is_told(about, level));
        let subscriber = tracing_subscriber::registry().with(journal.with_filter(told));
        tracing::subscriber::with_default(subscriber, tell);
        assert_eq!(*lines.0.lock().unwrap(), expected);
    }

    #[test]
    fn lines_carry_upstreams_keys() {
        check(
            LevelFilter::INFO,
            false,
            || {
                let span = info_span!(
                    "reconcile",
                    controller = "nodeclaim.lifecycle",
                    namespace = "",
                    name = "web-7xk2p",
                    reconcile_id = "5f0e",
                    nodeclaim = "web-7xk2p",
                );
                let _entered = span.enter();
                let id = "aws:///us-west-2a/i-0aa";
                info!(nodeclaim = "web-7xk2p", provider_id = %id, pods = 3, "launched nodeclaim");
                info!(disrupted_nodes = b"[{}]".as_slice(), "disrupting node(s)");
                debug!("not told");
                warn!(
                    pod = "shop/web-1",
                    error = "no \"room\"",
                    "could not schedule pod"
                );
            },
            &[
                r#"{"level":"INFO","time":"2025-05-01T10:00:00.123Z","logger":"controller","message":"launched nodeclaim","commit":"0a1b2c3","controller":"nodeclaim.lifecycle","namespace":"","name":"web-7xk2p","reconcileID":"5f0e","NodeClaim":{"name":"web-7xk2p"},"provider-id":"aws:///us-west-2a/i-0aa","pods":3}"#,
                r#"{"level":"INFO","time":"2025-05-01T10:00:00.123Z","logger":"controller","message":"disrupting node(s)","commit":"0a1b2c3","controller":"nodeclaim.lifecycle","namespace":"","name":"web-7xk2p","reconcileID":"5f0e","NodeClaim":{"name":"web-7xk2p"},"disrupted-nodes":[{}]}"#,
                r#"{"level":"WARN","time":"2025-05-01T10:00:00.123Z","logger":"controller","message":"could not schedule pod","commit":"0a1b2c3","controller":"nodeclaim.lifecycle","namespace":"","name":"web-7xk2p","reconcileID":"5f0e","NodeClaim":{"name":"web-7xk2p"},"Pod":{"namespace":"shop","name":"web-1"},"error":"no \"room\""}"#,
            ],
        );
    }

    #[test]
    fn levels_hide_what_is_below_and_others_are_not_heard() {
        let tell = || {
            info!("info");
            warn!("warn");
            error!("error");
            error!(target: "kube_client::client", "not ours");
            error!(target: "karpenter_control::events", "a flood");
        };
        let line = r#"{"level":"ERROR","time":"2025-05-01T10:00:00.123Z","logger":"controller","message":"error","commit":"0a1b2c3"}"#;
        check(LevelFilter::ERROR, false, tell, &[line]);
    }

    #[test]
    fn a_debug_log_says_where() {
        let expected = format!(
            r#"{{"level":"DEBUG","time":"2025-05-01T10:00:00.123Z","logger":"controller","message":"here","caller":"{}:{}","commit":"0a1b2c3"}}"#,
            file!(),
            line!() + 2
        );
        check(LevelFilter::DEBUG, true, || debug!("here"), &[&expected]);
    }

    #[test]
    fn repeated_lines_are_sampled() {
        let lines = Lines::default();
        let journal = Journal {
            with_caller: false,
            commit: None,
            now: || "2025-05-01T10:00:00Z".parse().unwrap(),
            state: Mutex::new((Sampler::default(), lines.clone())),
        };
        let subscriber = tracing_subscriber::registry().with(journal);
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..350 {
                info!(number, "the same");
            }
            info!("another");
        });
        // A hundred, then the two hundredth and the three hundredth.
        assert_eq!(lines.0.lock().unwrap().len(), 103);
    }
}
