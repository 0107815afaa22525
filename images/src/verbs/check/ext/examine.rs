//! One look at an ext image: everything that is wrong with it at this moment.

use std::path::Path;

use super::fsck::e2fsck;
use super::probe::probe;
use super::{features, layout, whiteouts};
use crate::acquire::LockedImage;
use crate::image::ImageError;
use crate::tools::e2fsck::Answer;
use crate::verbs::check::error::CheckError;
use crate::verbs::check::finding::{Code, Finding, fix, quoted};
use crate::verbs::check::request::Request;
use crate::verbs::chown::count_other_owners;
use condatainer_formats::ext::{self, ExtError, State, Tree};

/// Names that a report lists; there may be thousands.
const MOST_NAMES: usize = 100;

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Examination {
    pub(crate) findings: Vec<Finding>,
    pub(crate) lines: Vec<String>,
    pub(crate) readers: bool,
    pub(crate) other_owners: Option<u64>,
    pub(crate) lost_and_found: Vec<String>,
    /// Whether e2fsck has something to do.
    pub(crate) unsound: bool,
}

/// Looks at the image. Before its journal is replayed nothing else can be told about it.
pub(crate) fn examine(
    locked: &LockedImage,
    request: &Request,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Examination, CheckError> {
    let path = &locked.image.path;
    let probe = probe(locked)?;
    let mut seen = Examination { readers: locked.has_readers(), ..Examination::default() };
    if !probe.state.is_clean() && !seen.readers {
        locked.refuse_silent_users()?;
    }
    if probe.state.needs_recovery {
        seen.unsound = true;
        seen.findings = state(probe.state, seen.readers, &fix(path));
        return Ok(seen);
    }
    let outcome = e2fsck(locked, Answer::Look, progress).map_err(|error| CheckError::tool(path, error))?;
    seen.findings = state(probe.state, seen.readers, &outcome.problems.cure(path));
    seen.findings.extend(outcome.problems.findings(path));
    merge_orphans(&mut seen.findings, path, probe.state);
    seen.unsound = !seen.findings.is_empty();
    seen.lines = outcome.lines;
    seen.findings.extend(features::findings(path, probe.features));
    seen.findings.extend(layout::findings(path, &probe, request));
    if !outcome.uncorrected {
        // What our own reader does not know (inline_data, for instance) is not wrong for that.
        seen.look_inside(locked).or_else(|error| ignore_unsupported(path, error))?;
    }
    Ok(seen)
}

/// What the superblock says. A reader's fuse2fs marks the image as not clean while it has it; e2fsck -p that gives up leaves
/// the mark of errors.
fn state(state: State, readers: bool, cure: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |code, message: &str| findings.push(Finding::error(code, message, cure));
    if state.needs_recovery {
        add(Code::NeedsRecovery, "its journal has not been replayed (a crash); nothing else can be told before that");
    } else if !state.valid && !readers {
        add(Code::NotClean, "it was not unmounted cleanly: its last user was killed, or found the disk full");
    }
    if state.errors {
        add(Code::ErrorsRecorded, "errors were recorded in it while it was used");
    }
    findings
}

/// The list of orphans in the superblock and the orphans themselves are one thing to a user.
fn merge_orphans(findings: &mut Vec<Finding>, path: &Path, state: State) {
    let known = findings.iter().any(|finding| finding.code == Code::OrphanedInodes);
    if state.orphans && !known {
        findings.push(Finding::error(Code::OrphanedInodes, "deleted files were not freed", fix(path)));
    }
}

fn ignore_unsupported(path: &Path, error: ExtError) -> Result<(), CheckError> {
    match error {
        ExtError::Unsupported(_) => Ok(()),
        error => Err(CheckError::Image(ImageError::ext(path, error))),
    }
}

impl Examination {
    fn look_inside(&mut self, locked: &LockedImage) -> Result<(), ExtError> {
        self.look_for_lost(locked)?;
        self.other_owners = Some(count_other_owners(locked)?);
        self.findings.extend(whiteouts::finding(&locked.image.path, locked)?);
        Ok(())
    }

    fn look_for_lost(&mut self, locked: &LockedImage) -> Result<(), ExtError> {
        let tree = Tree::open(&locked.file, locked.window)?;
        let Some(directory) = tree.child(&tree.root()?, b"lost+found")? else { return Ok(()) };
        let names = tree.names(&tree.node(directory)?)?;
        let shown = |name: &ext::Name| String::from_utf8_lossy(&name.name).escape_debug().to_string();
        self.lost_and_found = names.iter().take(MOST_NAMES).map(shown).collect();
        if !names.is_empty() {
            let cure = format!("debugfs -R 'rdump /lost+found .' {}", quoted(&locked.image.path));
            let message =
                format!("{} files that have lost their names are in lost+found, which no container shows", names.len());
            self.findings.push(Finding::note(Code::LostAndFound, names.len() as u64, message, Some(cure)));
        }
        Ok(())
    }
}
