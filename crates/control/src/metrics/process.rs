//! The process as the operating system sees it, under the usual names. Where there is no `/proc`,
//! there are no figures.

use std::fs;

use super::page::{Labels, Page};

/// Ticks of the kernel's clock in a second, as programs see them: the same on every Linux.
const TICKS: f64 = 100.0;

/// Writes what `/proc` says of this process.
pub(super) fn write(page: &mut Page) {
    let read = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).ok();
    let Some(facts) = read("stat").and_then(|stat| Facts::of(&stat)) else {
        return;
    };
    let status = read("status").unwrap_or_default();
    let limits = read("limits").unwrap_or_default();
    let boot = fs::read_to_string("/proc/stat")
        .ok()
        .and_then(|stat| number(&stat, "btime"));
    let open = fs::read_dir("/proc/self/fd").ok().map(Iterator::count);
    let bytes = |name| number(&status, name).map(|kilobytes| kilobytes * 1024.0);
    let limit = |name| number(&limits, name);
    let figures = [
        (
            "process_cpu_seconds_total",
            "Seconds of processor time that this process has used.",
            "counter",
            Some(facts.cpu_ticks / TICKS),
        ),
        (
            "process_resident_memory_bytes",
            "Memory that this process occupies.",
            "gauge",
            bytes("VmRSS:"),
        ),
        (
            "process_virtual_memory_bytes",
            "Address space that this process has mapped.",
            "gauge",
            bytes("VmSize:"),
        ),
        (
            "process_virtual_memory_max_bytes",
            "Address space that this process may map; -1 without a limit.",
            "gauge",
            Some(limit("Max address space").unwrap_or(-1.0)),
        ),
        (
            "process_open_fds",
            "Files that this process has open.",
            "gauge",
            open.map(|open| open as f64),
        ),
        (
            "process_max_fds",
            "Files that this process may have open.",
            "gauge",
            limit("Max open files"),
        ),
        (
            "process_start_time_seconds",
            "When this process was started, in seconds since 1970.",
            "gauge",
            boot.map(|boot| boot + facts.start_ticks / TICKS),
        ),
    ];
    for (name, help, kind, value) in figures {
        if let Some(value) = value {
            page.sample(name, help, kind, &Labels::default(), value);
        }
    }
}

/// What is read of `/proc/self/stat`.
#[derive(Debug, PartialEq)]
struct Facts {
    cpu_ticks: f64,
    start_ticks: f64,
}

impl Facts {
    /// The second field is the program's name in parentheses, and may hold anything.
    fn of(stat: &str) -> Option<Self> {
        let (_, rest) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // The first of these is the third of all.
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        Some(Self {
            cpu_ticks: field(14)? + field(15)?,
            start_ticks: field(22)?,
        })
    }
}

/// The number that follows a name at the beginning of a line.
fn number(text: &str, name: &str) -> Option<f64> {
    let mut lines = text.lines();
    let rest = lines.find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_kernel_are_read() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4 1 0 0 0 250 50 0 0 20 0 3 0 1234 9 9";
        let expected = Facts {
            cpu_ticks: 300.0,
            start_ticks: 1234.0,
        };
        assert_eq!(Facts::of(stat), Some(expected));
        assert_eq!(Facts::of("7 (a) S"), None);
        let status = "VmSize:\t  2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(number(status, "VmRSS:"), Some(1024.0));
        let limits = "Max open files   1024  4096  files\nMax address space  unlimited unlimited\n";
        assert_eq!(number(limits, "Max open files"), Some(1024.0));
        assert_eq!(number(limits, "Max address space"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_figures() {
        let mut page = Page::default();
        write(&mut page);
        let text = page.finish();
        assert!(text.contains("# TYPE process_cpu_seconds_total counter\n"));
        assert!(text.contains("\nprocess_resident_memory_bytes "));
    }
}
