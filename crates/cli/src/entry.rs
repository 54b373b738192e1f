//! What the words on the command line mean before they are parsed.
//!
//! Upstream's image has no commands: its entry point is the bare binary, configured by variables and
//! flags, with one dash or two. So a command line that begins with a flag, or one that is empty where
//! nobody could be asking for help, is the controller's.

/// Where the binary was started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Some variable of the controller is set.
    pub(crate) has_variables: bool,
    /// A person is reading.
    pub(crate) on_terminal: bool,
}

/// The command line with its command named and the controller's flags in two dashes. The first word
/// is the program.
pub(crate) fn rewritten(words: impl IntoIterator<Item = String>, place: Place) -> Vec<String> {
    let mut words: Vec<String> = words.into_iter().collect();
    let is_bare = match words.get(1).map(String::as_str) {
        None => place.has_variables || !place.on_terminal,
        Some("-h" | "-help" | "--help" | "-V" | "-version" | "--version") => false,
        Some(word) => word.starts_with('-'),
    };
    if is_bare {
        let at = words.len().min(1);
        words.insert(at, "controller".to_owned());
    }
    if words.get(1).is_some_and(|word| word == "controller") {
        for word in words.iter_mut().skip(2) {
            if is_long_flag(word) {
                word.insert(0, '-');
            }
        }
    }
    words
}

/// One dash and a name of more than one letter.
fn is_long_flag(word: &str) -> bool {
    let Some(name) = word.strip_prefix('-') else {
        return false;
    };
    name.len() > 1 && name.starts_with(|first: char| first.is_ascii_lowercase())
}

/// Whether the controller is asked for help, or for a provider other than the default.
pub(crate) fn settles_provider(words: &[String]) -> bool {
    words.iter().any(|word| {
        matches!(word.as_str(), "-h" | "--help" | "--provider") || word.starts_with("--provider=")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHELL: Place = Place {
        has_variables: false,
        on_terminal: true,
    };
    const IMAGE: Place = Place {
        has_variables: true,
        on_terminal: false,
    };

    fn check(place: Place, line: &str, expected: &str) {
        let words = format!("karpenter {line}");
        let words = words.split_whitespace().map(str::to_owned);
        assert_eq!(
            rewritten(words, place).join(" "),
            format!("karpenter {expected}").trim_end(),
            "{line:?} {place:?}"
        );
    }

    #[test]
    fn a_line_without_a_command_is_the_controllers() {
        check(IMAGE, "", "controller");
        check(
            Place {
                on_terminal: true,
                ..IMAGE
            },
            "",
            "controller",
        );
        check(
            Place {
                has_variables: false,
                ..IMAGE
            },
            "",
            "controller",
        );
        check(SHELL, "", "");
        for place in [SHELL, IMAGE] {
            check(place, "--log-level debug", "controller --log-level debug");
            check(place, "-log-level=debug", "controller --log-level=debug");
            check(
                place,
                "controller -memory-limit -1 -h",
                "controller --memory-limit -1 -h",
            );
            check(
                place,
                "controller --provider kwok",
                "controller --provider kwok",
            );
            for untouched in [
                "--help",
                "-h",
                "-V",
                "plan -f x.yaml -ojson",
                "local -f -",
                "help",
            ] {
                check(place, untouched, untouched);
            }
        }
    }
}
