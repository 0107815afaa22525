//! The repairs, in an order in which each finds what it relies on: the journal and e2fsck's own business first, the shape of the
//! image next, the owners last.

use std::path::PathBuf;

use super::examine::{Examination, probe};
use super::finding::Finding;
use super::fsck::{Answer, Outcome, e2fsck};
use super::twin::Twin;
use super::{CheckError, Fix, Request, features, layout, whiteouts};
use crate::lock::held::Held;
use condatainer_formats::ext::Found;

/// An image after the repairs; it may be another file than before.
pub(crate) struct Repaired {
    pub(crate) held: Held,
    /// What was met on the way.
    pub(crate) findings: Vec<Finding>,
    pub(crate) lines: Vec<String>,
    pub(crate) kept: Option<PathBuf>,
}

/// Does what the request allows about what was seen. Whether it helped, another look must tell.
pub(crate) fn repair(
    held: Held,
    seen: &Examination,
    request: &Request,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Repaired, CheckError> {
    let mut repaired = Repaired { held, findings: Vec::new(), lines: Vec::new(), kept: None };
    let sound = !seen.unsound || repaired.run_e2fsck(request, progress)?;
    // Nothing is written into a file system that contradicts itself.
    if sound {
        repaired.reshape(request, progress)?;
        layout::give(&repaired.held, &probe(&repaired.held)?, request)?;
        whiteouts::fix(&repaired.held)?;
    }
    Ok(repaired)
}

impl Repaired {
    /// True when the file system is in order.
    fn run_e2fsck(&mut self, request: &Request, progress: &mut dyn FnMut(u64, u64)) -> Result<bool, CheckError> {
        let outcome = self.ask(Answer::Preen, progress)?;
        let uncorrected = outcome.uncorrected;
        self.note(outcome);
        match (uncorrected, request.fix) {
            (false, _) => Ok(true),
            (true, Fix::Force) => self.force(progress).map(|()| true),
            (true, _) => Ok(false),
        }
    }

    fn ask(&self, answer: Answer, progress: &mut dyn FnMut(u64, u64)) -> Result<Outcome, CheckError> {
        e2fsck(&self.held, answer, progress).map_err(|error| CheckError::tool(&self.held.image.path, error))
    }

    fn note(&mut self, outcome: Outcome) {
        self.findings.extend(outcome.problems.findings(&self.held.image.path));
        self.lines.extend(outcome.lines);
    }

    /// Everything that e2fsck proposes, on a copy. The original is kept: only its owner can tell what was lost.
    fn force(&mut self, progress: &mut dyn FnMut(u64, u64)) -> Result<(), CheckError> {
        let twin = Twin::of(&self.held, progress)?;
        let outcome = finish(&twin, Answer::Yes, progress)?;
        self.note(outcome);
        self.adopt(twin, true)
    }

    fn adopt(&mut self, twin: Twin, keep: bool) -> Result<(), CheckError> {
        let kept = twin.replace(&mut self.held, keep)?;
        self.kept = kept.or(self.kept.take());
        Ok(())
    }

    /// Directories that are missing and features that Apptainer refuses, on a copy.
    fn reshape(&mut self, request: &Request, progress: &mut dyn FnMut(u64, u64)) -> Result<(), CheckError> {
        let probe = probe(&self.held)?;
        let (missing, convert) = (layout::missing(&probe, request), features::is_convertible(probe.features));
        if missing.is_empty() && !convert {
            return Ok(());
        }
        let twin = Twin::of(&self.held, progress)?;
        if convert {
            features::convert(&twin.held, probe.features)?;
            finish(&twin, Answer::Preen, progress)?;
        }
        for (name, owner) in missing {
            layout::make(&twin.held, name, owner)?;
        }
        finish(&twin, Answer::Preen, progress)?;
        self.require_directories(&twin)?;
        self.adopt(twin, false)
    }

    /// debugfs does not tell when there was no room for a directory.
    fn require_directories(&self, twin: &Twin) -> Result<(), CheckError> {
        let made = probe(&twin.held)?;
        match made.upper == Found::Missing || made.work == Found::Missing {
            true => Err(CheckError::copy(
                &self.held.image.path,
                std::io::Error::other("debugfs could not make a directory, perhaps the image is full"),
            )),
            false => Ok(()),
        }
    }
}

/// Lets e2fsck put a copy in order, and makes sure that it is.
fn finish(twin: &Twin, answer: Answer, progress: &mut dyn FnMut(u64, u64)) -> Result<Outcome, CheckError> {
    let path = &twin.held.image.path;
    let tool = |error| CheckError::tool(path, error);
    let outcome = e2fsck(&twin.held, answer, progress).map_err(tool)?;
    let left = e2fsck(&twin.held, Answer::Look, progress).map_err(tool)?;
    match left.uncorrected || !twin.held.state()?.is_clean() {
        true => Err(CheckError::NotSound { path: path.clone() }),
        false => Ok(outcome),
    }
}
