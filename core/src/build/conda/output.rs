//! What the tool has said, in one line, and what helps. Its own last lines are kept beside.

use crate::build::last_lines::{LastLines, cut};
use condatainer_images::tools::disk_full;

/// So many last lines are kept: a solver explains itself at length.
const KEPT: usize = 40;

/// What went wrong, as far as that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// A disk or quota is full.
    Full,
    /// A channel was not reached.
    Unreachable,
    /// There is no such set of packages.
    Unsolvable,
    /// A program that the tool needs is not in the base.
    NotInBase,
    /// Something else.
    Other,
}

/// Words of micromamba, mamba and conda. The first that fits decides.
const WORDS: [(Trouble, &[&str]); 4] = [
    (Trouble::Full, &disk_full::WORDS),
    (
        Trouble::Unreachable,
        &[
            "Could not resolve host",
            "Could not connect",
            "Couldn't connect",
            "Failed to connect",
            "Connection refused",
            "Connection timed out",
            "Network is unreachable",
            "CondaHTTPError",
            "CondaSSLError",
            "ProxyError",
            "Download error",
            "download error",
            "UnavailableInvalidChannel",
            "No CA certificates",
            "error sending request",
            "Could not load repodata",
        ],
    ),
    (
        Trouble::Unsolvable,
        &[
            "Could not solve",
            "could not solve",
            "Cannot solve the request",
            "LibMambaUnsatisfiableError",
            "UnsatisfiableError",
            "PackagesNotFoundError",
            "PackagesNotFoundInChannelsError",
            "ResolvePackageNotFound",
            "nothing provides",
            "does not exist (perhaps",
        ],
    ),
    (
        Trouble::NotInBase,
        &[
            "cannot execute: required file not found",
            "/bin/sh: not found",
            "GLIBC_",
            "error while loading shared libraries",
        ],
    ),
];

/// How lines end that only lead to an explanation.
const LEADING: [&str; 4] = [":", "would require", "could not be installed", "are incompatible"];

/// What was said so far.
#[derive(Debug)]
pub(super) struct Output {
    last: LastLines,
    trouble: Option<(usize, Trouble)>,
    error: Option<String>,
}

impl Default for Output {
    fn default() -> Self {
        Self { last: LastLines::new(KEPT), trouble: None, error: None }
    }
}

impl Output {
    pub(super) fn hear(&mut self, line: &str) {
        let found = WORDS.iter().enumerate().find(|(_, (_, words))| words.iter().any(|word| line.contains(word)));
        if let Some((rank, (trouble, _))) = found
            && self.trouble.is_none_or(|(known, _)| rank < known)
        {
            self.trouble = Some((rank, *trouble));
        }
        if let Some(why) = error_of(line) {
            self.error.get_or_insert_with(|| why.into());
        }
        self.last.hear(line);
    }

    /// What went wrong.
    pub(super) fn trouble(&self) -> Trouble {
        self.trouble.map_or(Trouble::Other, |(_, trouble)| trouble)
    }

    pub(super) fn last_lines(&self) -> Vec<String> {
        self.last.to_vec()
    }

    /// Why it failed: the leaf of the solver's explanation, else the first line that is called an error, else how it ended and
    /// what it said last.
    pub(super) fn reason(&self, ended: &str) -> String {
        let leaf = self.last.lines().find_map(leaf).filter(|_| self.trouble() == Trouble::Unsolvable);
        let line = match (leaf.or(self.error.as_deref()), self.last.newest()) {
            (Some(line), _) => line.to_owned(),
            (None, Some(last)) => format!("{ended}; its last words: {last}"),
            (None, None) => ended.to_owned(),
        };
        cut(&line)
    }
}

/// `error    libmamba WHY`, `critical libmamba WHY`, `SomethingError: WHY`, `error: WHY`.
fn error_of(line: &str) -> Option<&str> {
    let line = line.trim();
    let of_mamba =
        ["error", "critical"].iter().find_map(|level| line.strip_prefix(level)?.trim_start().strip_prefix("libmamba"));
    let of_conda = || {
        let (kind, why) = line.split_once(": ")?;
        let is_kind = (kind.ends_with("Error") || kind == "error") && !kind.contains(' ');
        is_kind.then_some(if why.trim().is_empty() { line } else { why })
    };
    of_mamba.or_else(of_conda).map(str::trim).filter(|why| !why.is_empty())
}

/// `└─ nosuch =* * does not exist` in a tree.
fn leaf(line: &str) -> Option<&str> {
    let rest = line.trim_start_matches([' ', '│', '\u{a0}']);
    let text = ["└─ ", "├─ "].iter().find_map(|branch| rest.strip_prefix(branch))?.trim();
    let text = text.trim_end_matches([',', ';', '.']);
    let leads = LEADING.iter().any(|ending| text.ends_with(ending));
    (!leads && !text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(text: &str) -> Output {
        let mut output = Output::default();
        text.lines().for_each(|line| output.hear(line));
        output
    }

    #[test]
    fn a_solver_explains() {
        let output = output(
            "error    libmamba Could not solve for environment specs\n    The following package could not be installed\n    \
             └─ nosuch =* * does not exist (perhaps a typo or a missing channel).\n\
             critical libmamba Could not solve for environment specs",
        );
        assert_eq!(output.trouble(), Trouble::Unsolvable);
        assert_eq!(output.reason(""), "nosuch =* * does not exist (perhaps a typo or a missing channel)");
        assert_eq!(output.last_lines().len(), 4);
    }

    #[test]
    fn the_end_of_the_explanation_counts() {
        let output = output(
            "Cannot solve the request because of: a * cannot be installed because there are no viable options:\n\
             └─ a 1.0 would require\n   └─ b >=7, for which no candidates were found.",
        );
        assert_eq!(output.reason(""), "b >=7, for which no candidates were found");
    }

    #[test]
    fn conda_names_its_errors() {
        let output = output(
            "Solving environment: failed\n\nPackagesNotFoundError: The following packages are not available:\n\n  - x",
        );
        assert_eq!(
            (output.trouble(), output.reason("").as_str()),
            (Trouble::Unsolvable, "The following packages are not available:")
        );
    }

    #[test]
    fn the_graver_trouble_counts() {
        assert_eq!(
            output("Could not solve x\nDownload error (6) Could not resolve host").trouble(),
            Trouble::Unreachable
        );
        assert_eq!(output("Download error\nwrite: No space left on device").trouble(), Trouble::Full);
        let other = output("x\ny");
        assert_eq!((other.trouble(), other.reason("exit 3").as_str()), (Trouble::Other, "exit 3; its last words: y"));
        assert_eq!(Output::default().reason("exit 3"), "exit 3");
    }
}
