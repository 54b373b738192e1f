//! Quantiles over the last minutes, which the prometheus crate does not offer but upstream shows.
//!
//! Every sample of the window is kept: what is summed up here happens a few times a minute. Old
//! samples are dropped when new ones come and when somebody asks.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write as _,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::page::{Labels, Page};

/// For how long a sample counts.
const WINDOW: Duration = Duration::from_mins(10);
/// Samples beyond this number push out the oldest, so that a storm cannot fill the memory.
const KEPT: usize = 4096;
/// The quantiles that upstream shows.
const QUANTILES: [(f64, &str); 5] = [
    (0.0, "0"),
    (0.5, "0.5"),
    (0.9, "0.9"),
    (0.99, "0.99"),
    (1.0, "1"),
];

/// A family of summaries with at most one label.
pub(super) struct Summary {
    name: &'static str,
    help: &'static str,
    label: Option<&'static str>,
    series: Mutex<BTreeMap<String, Series>>,
}

#[derive(Default)]
struct Series {
    recent: VecDeque<(Instant, f64)>,
    sum: f64,
    count: u64,
}

impl Summary {
    pub(super) fn new(name: &'static str, help: &'static str, label: Option<&'static str>) -> Self {
        Self {
            name,
            help,
            label,
            series: Mutex::default(),
        }
    }

    /// Takes in a sample; `value` is the label's.
    pub(super) fn observe(&self, value: &str, sample: f64) {
        let now = Instant::now();
        let mut all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let series = all.entry(value.to_owned()).or_default();
        series.sum += sample;
        series.count += 1;
        series.recent.push_back((now, sample));
        if series.recent.len() > KEPT {
            series.recent.pop_front();
        }
        series.forget(now);
    }

    pub(super) fn write(&self, page: &mut Page) {
        let now = Instant::now();
        let mut all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        if all.is_empty() {
            return;
        }
        let text = page.begin(self.name, self.help, "summary");
        for (value, series) in &mut *all {
            series.forget(now);
            let mut sorted: Vec<f64> = series.recent.iter().map(|(_, sample)| *sample).collect();
            sorted.sort_by(f64::total_cmp);
            let labels = Labels::new(self.label.map(|label| (label, value.as_str())));
            for (quantile, shown) in QUANTILES {
                let with_quantile = labels.with("quantile", shown);
                let found = at(&sorted, quantile);
                let _ = writeln!(text, "{}{with_quantile} {found}", self.name);
            }
            let _ = writeln!(text, "{}_sum{labels} {}", self.name, series.sum);
            let _ = writeln!(text, "{}_count{labels} {}", self.name, series.count);
        }
    }
}

impl Series {
    fn forget(&mut self, now: Instant) {
        while let Some((at, _)) = self.recent.front()
            && now.duration_since(*at) > WINDOW
        {
            self.recent.pop_front();
        }
    }
}

/// The smallest sample that at least this share of the samples does not exceed.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rank lies between zero and the number of samples"
)]
fn at(sorted: &[f64], quantile: f64) -> f64 {
    let rank = (quantile * sorted.len() as f64).ceil() as usize;
    sorted
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(summary: &Summary) -> String {
        let mut page = Page::default();
        summary.write(&mut page);
        page.finish()
    }

    #[tokio::test(start_paused = true)]
    async fn quantiles_of_the_last_ten_minutes() {
        let summary = Summary::new("x_seconds", "How long x takes.", Some("nodepool"));
        assert_eq!(
            text(&summary),
            "",
            "nothing is shown before the first sample"
        );
        for sample in 1..=10 {
            summary.observe("a", f64::from(sample));
        }
        let head = "# HELP x_seconds How long x takes.\n# TYPE x_seconds summary\n";
        let tail = "x_seconds_sum{nodepool=\"a\"} 55\nx_seconds_count{nodepool=\"a\"} 10\n";
        let quantiles = |values: [&str; 5]| -> String {
            let lines = QUANTILES.iter().zip(values).map(|((_, shown), value)| {
                format!("x_seconds{{nodepool=\"a\",quantile=\"{shown}\"}} {value}\n")
            });
            lines.collect::<Vec<_>>().concat()
        };
        let expected = quantiles(["1", "5", "9", "10", "10"]);
        assert_eq!(text(&summary), format!("{head}{expected}{tail}"));
        tokio::time::sleep(WINDOW + Duration::from_secs(1)).await;
        let expected = quantiles(["NaN"; 5]);
        assert_eq!(text(&summary), format!("{head}{expected}{tail}"));
    }
}
