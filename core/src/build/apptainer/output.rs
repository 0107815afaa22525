//! What Apptainer has said, in one line, and what helps. Its own last lines are kept beside.

use crate::build::last_lines::{LastLines, cut};
use condatainer_images::system::fakeroot::Fakeroot;
use condatainer_images::tools::disk_full;

/// So many last lines are kept.
const KEPT: usize = 20;

/// What was said so far.
#[derive(Debug)]
pub(super) struct Output {
    last: LastLines,
    fatal: Option<String>,
    full: bool,
    has_no_fakeroot: bool,
    no_ids: bool,
}

impl Default for Output {
    fn default() -> Self {
        Self { last: LastLines::new(KEPT), fatal: None, full: false, has_no_fakeroot: false, no_ids: false }
    }
}

impl Output {
    pub(super) fn hear(&mut self, line: &str) {
        self.full |= disk_full::is_said(line);
        self.has_no_fakeroot |= line.contains("fakeroot command not found");
        self.no_ids |= line.contains("failed to change uid and gids") || line.contains("lchown");
        if let Some((_, why)) = line.split_once("FATAL:").or_else(|| line.split_once("FATAL ERROR:")) {
            self.fatal.get_or_insert_with(|| why.trim().into());
        }
        // Each state of a progress bar is a line, but nothing that anybody has to know.
        if !is_progress(line) {
            self.last.hear(line);
        }
    }

    /// Whether a disk was full.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    pub(super) fn last_lines(&self) -> Vec<String> {
        self.last.to_vec()
    }

    /// Why it failed.
    pub(super) fn reason(&self) -> Option<String> {
        let line = self.fatal.as_deref().or_else(|| self.last.newest())?;
        // A tool's output hangs on the line.
        Some(cut(line.split(": WARNING:").next().unwrap_or(line)))
    }

    /// What helps.
    pub(super) fn advice(&self, remote: bool, fakeroot: Option<Fakeroot>) -> Option<&'static str> {
        let has = |words: &[&str]| words.iter().any(|word| self.last.lines().any(|line| line.contains(word)));
        let mapped = fakeroot == Some(Fakeroot::RootMapped);
        match () {
            () if remote && has(&UNREACHABLE) => Some(OFFLINE),
            () if has(&DENIED) => Some("log in first: 'apptainer registry login', or check the name"),
            () if has(&UNKNOWN) => Some("check the name and the tag"),
            () if mapped && self.no_ids => Some(NO_IDS),
            () if mapped && self.has_no_fakeroot => Some(NO_FAKEROOT),
            () if mapped && has(&["libs/fakeroot: "]) => Some(FOREIGN),
            () if mapped => Some(MAPPED),
            () if has(&NO_NAMESPACE) => Some(NAMESPACES),
            () => None,
        }
    }
}

const UNREACHABLE: [&str; 7] = [
    "dial tcp",
    "no such host",
    "connection refused",
    "network is unreachable",
    "i/o timeout",
    "TLS handshake",
    "context deadline exceeded",
];
const DENIED: [&str; 4] = ["unauthorized", "authentication required", "denied: ", "403 Forbidden"];
const UNKNOWN: [&str; 3] = ["manifest unknown", "name unknown", "NAME_UNKNOWN"];
const NO_NAMESPACE: [&str; 3] = ["user namespace", "newuidmap", "newgidmap"];

const OFFLINE: &str = "this machine does not reach the registry: build where it can be reached (a login node), or bring the image as an archive ('skopeo copy docker://IMAGE oci-archive:image.tar', then -s image.tar)";
const NO_IDS: &str = "without a subuid range you cannot have files of other users than root, and the image that it starts from has some: 'condatainer create --no-fakeroot -s THAT -p flat.sqf' makes one in which all belongs to root, to start from; or ask your administrator for a range ('usermod --add-subuids')";
const NO_FAKEROOT: &str = "you have no subuid range and the command 'fakeroot' is not installed, so %post cannot change owners, as apt and dnf do: ask your administrator for either";
const FOREIGN: &str = "the command 'fakeroot' of this machine does not run in that image, for it needs a shell, getopt and the same libc there: do without ('-- --ignore-fakeroot-command'), or ask your administrator for a subuid range";
const MAPPED: &str = "you have no subuid range, so only root exists in the build and some packages cannot be installed: ask your administrator for a range ('usermod --add-subuids')";
const NAMESPACES: &str = "this machine does not let you make the user namespace that --fakeroot needs: ask your administrator, or build on another machine";

fn is_progress(line: &str) -> bool {
    line.trim_start().starts_with('[') && line.trim_end().ends_with('%')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(lines: &[&str]) -> Output {
        let mut output = Output::default();
        lines.iter().for_each(|line| output.hear(line));
        output
    }

    #[test]
    fn the_fatal_line_is_the_reason() {
        let output =
            output(&["INFO:    Starting build...", "FATAL:   While performing build: x", "more of it", "[==| ] 3%"]);
        assert_eq!(output.reason().as_deref(), Some("While performing build: x"));
        assert_eq!(output.last_lines().len(), 3);
        assert_eq!(output.advice(true, Some(Fakeroot::Subuid)), None);
        assert_eq!(Output::default().reason(), None);
    }

    #[test]
    fn advice() {
        let offline = output(&["FATAL: pinging: Get \"https://r/v2/\": dial tcp: lookup r: no such host"]);
        assert_eq!(offline.advice(true, Some(Fakeroot::Subuid)), Some(OFFLINE));
        assert_eq!(offline.advice(false, Some(Fakeroot::Subuid)), None);
        let ids = output(&["set_attributes: failed to change uid and gids on /x, because Invalid argument"]);
        assert_eq!(ids.advice(false, Some(Fakeroot::RootMapped)), Some(NO_IDS));
        assert_eq!(ids.advice(false, Some(Fakeroot::Subuid)), None);
        let foreign = output(&["/.singularity.d/libs/fakeroot: 1: getopt: not found", "FATAL: x"]);
        assert_eq!(foreign.advice(false, Some(Fakeroot::RootMapped)), Some(FOREIGN));
        assert!(output(&["write x: no space left on device"]).is_full());
    }
}
