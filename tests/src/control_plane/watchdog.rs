//! Ends our children when we cannot: a shell that waits on a pipe and kills what it was told of when
//! the pipe closes, whatever closed it.

use std::{
    fs,
    io::Write,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, Result};

const SCRIPT: &str = r#"
children=" "
while read -r change child; do
    case "$change" in
        born) children="$children$child " ;;
        dead) children="${children%% $child *} ${children#* $child }" ;;
    esac
done
for child in $children; do kill -9 "$child" 2>/dev/null; done
rm -rf "$1"
"#;

/// The shell, and the pipe that tells it that we live.
pub(crate) struct Watchdog {
    shell: Child,
    pipe: Mutex<Option<ChildStdin>>,
}

impl Watchdog {
    /// A watchdog that in the end also removes a folder.
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "watchdog"])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C goes to the foreground group: the watchdog must outlive it.
            .process_group(0)
            .spawn()
            .context("sh")?;
        let pipe = Mutex::new(shell.stdin.take());
        Ok(Self { shell, pipe })
    }

    /// A child was started.
    pub(crate) fn born(&self, child: u32) {
        self.tell("born", child);
    }

    /// A child was waited for: its number may soon be somebody else's.
    pub(crate) fn dead(&self, child: u32) {
        self.tell("dead", child);
    }

    fn tell(&self, change: &str, child: u32) {
        let mut pipe = self.pipe.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pipe) = pipe.as_mut() {
            // A watchdog that was killed watches nothing; the children are ended by their owners.
            let _ = writeln!(pipe, "{change} {child}");
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.pipe
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let _ = self.shell.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper() -> Child {
        Command::new("sleep").arg("600").spawn().unwrap()
    }

    #[test]
    fn what_was_not_waited_for_is_killed() {
        let folder = std::env::temp_dir().join(format!("watchdog-{}", std::process::id()));
        let watchdog = Watchdog::new(&folder).unwrap();
        let mut children: Vec<Child> = (0..3).map(|_| sleeper()).collect();
        for child in &children {
            watchdog.born(child.id());
        }
        watchdog.dead(children[1].id());
        drop(watchdog);
        let ended = |child: &mut Child| child.try_wait().unwrap().is_some();
        assert!(!ended(&mut children[1]), "it was said to be dead");
        children[1].kill().unwrap();
        for child in &mut children {
            child.wait().unwrap();
        }
        assert!(!folder.exists());
    }
}
