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
            "{} {}, ${:.4}/h; pods: {} pending, {} starting, {} running",
            nodes.len(),
            if nodes.len() == 1 { "node" } else { "nodes" },
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

#[cfg(test)]
mod tests {
    use super::*;
    use karpenter_api::objects::Node;

    fn board(nodes: usize) -> Board {
        let mut board = Board::default();
        for index in 0..nodes {
            let node: Node = serde_json::from_value(serde_json::json!({
                "metadata": { "name": format!("node-{index:02}"), "labels": {
                    "node.kubernetes.io/instance-type": "c-2x-amd64-linux",
                    "karpenter.sh/capacity-type": "spot",
                    "topology.kubernetes.io/zone": "test-zone-a",
                } },
                "spec": {},
                "status": { "conditions": [{ "type": "Ready", "status": "True" }] },
            }))
            .unwrap();
            board.node(&node);
        }
        board
    }

    /// Each drawing replaces the one before: it goes up by as many lines as that had.
    #[test]
    fn the_live_table_is_drawn_over_the_last_one() {
        let mut live = Live::default();
        live.history.push_back("    0.1s  node node-00".into());
        let first = live.draw(&board(1));
        let lines: Vec<&str> = first.lines().collect();
        assert_eq!(lines[0], "    0.1s  node node-00");
        assert_eq!(
            lines[2],
            "1 node, $0.0000/h; pods: 0 pending, 0 starting, 0 running"
        );
        assert!(lines[3].starts_with("NODE"), "{first}");
        let words: Vec<&str> = lines[4].split_whitespace().collect();
        assert_eq!(
            words[..4],
            ["node-00", "c-2x-amd64-linux", "spot", "test-zone-a"]
        );
        assert_eq!(lines.len(), 5);

        let second = live.draw(&board(ROWS + 3));
        assert!(second.starts_with("\x1b[5F\x1b[J"), "{second:?}");
        assert!(second.ends_with("and 3 more\n"), "{second}");
        assert_eq!(second.lines().count(), 4 + ROWS + 1);
    }
}
