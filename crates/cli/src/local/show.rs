//! Shows the board: a compact live table on a terminal, plain lines on a pipe.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    io::{IsTerminal as _, Write as _},
};

use tokio::time::Instant;

use super::board::Board;
use crate::output;

/// Rows of the live table; a longer list ends in a count.
const ROWS: usize = 16;
/// Lines of history above the live table.
const HISTORY: usize = 6;

/// Where and how the board is shown.
pub(crate) struct Screen {
    start: Instant,
    /// Data goes to standard output, so words go to standard error.
    to_error: bool,
    live: Option<Live>,
}

/// The state of a live table.
#[derive(Default)]
struct Live {
    history: VecDeque<String>,
    drawn: usize,
}

impl Screen {
    /// A screen for people; `data` says that standard output is for programs.
    pub(crate) fn new(data: bool) -> Self {
        let terminal = if data {
            std::io::stderr().is_terminal()
        } else {
            output::on_terminal()
        };
        Self {
            start: Instant::now(),
            to_error: data,
            live: terminal.then(Live::default),
        }
    }

    /// Says one line that stays.
    pub(crate) fn say(&mut self, line: &str) {
        self.write(&format!("{line}\n"));
    }

    /// Shows what changed on the board.
    pub(crate) fn update(&mut self, board: &mut Board) {
        let at = self.start.elapsed().as_secs_f64();
        let news = board.news();
        if news.is_empty() {
            return;
        }
        let news = news.into_iter().map(|line| format!("{at:7.1}s  {line}"));
        let text = match &mut self.live {
            None => news.fold(String::new(), |text, line| text + &line + "\n"),
            Some(live) => {
                live.history.extend(news);
                while live.history.len() > HISTORY {
                    live.history.pop_front();
                }
                live.draw(board)
            }
        };
        self.write(&text);
    }

    fn write(&self, text: &str) {
        // A reader that went away ends what we show, not what we do.
        if self.to_error {
            let _ = std::io::stderr().lock().write_all(text.as_bytes());
        } else {
            let mut out = std::io::stdout().lock();
            let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        }
    }
}

impl Live {
    /// The table, preceded by what moves the cursor over the last one.
    fn draw(&mut self, board: &Board) -> String {
        let mut lines: Vec<String> = self.history.iter().cloned().collect();
        let nodes = board.nodes();
        let counts = board.counts();
        lines.push(String::new());
        lines.push(format!(
            "{} nodes, ${:.4}/h; pods: {} pending, {} starting, {} running",
            nodes.len(),
            board.price(),
            counts.pending,
            counts.starting,
            counts.running
        ));
        let mut rows = vec![
            ["NODE", "TYPE", "CAPACITY", "ZONE", "$/H", "PODS", "STATE"]
                .map(String::from)
                .to_vec(),
        ];
        for (name, row, pods) in nodes.iter().take(ROWS) {
            rows.push(vec![
                name.clone(),
                row.instance_type.clone(),
                row.capacity_type.clone(),
                row.zone.clone(),
                row.price
                    .map_or_else(|| "-".into(), |price| format!("{price:.4}")),
                pods.to_string(),
                row.state.to_owned(),
            ]);
        }
        lines.extend(output::table(&rows).lines().map(ToOwned::to_owned));
        if nodes.len() > ROWS {
            lines.push(format!("and {} more", nodes.len() - ROWS));
        }
        let mut text = String::new();
        if self.drawn > 0 {
            let _ = write!(text, "\x1b[{}F\x1b[J", self.drawn);
        }
        for line in &lines {
            text.push_str(line);
            text.push('\n');
        }
        self.drawn = lines.len();
        text
    }
}
