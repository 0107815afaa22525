//! The repairs, in an order in which each finds what it relies on: the journal and e2fsck's own business first, the shape of the
//! image next, the owners last.

use std::path::PathBuf;

use super::copy::RepairCopy;
use super::examine::Examination;
use super::fsck::{Outcome, e2fsck};
use super::probe::probe;
use super::{features, layout, whiteouts};
use crate::acquire::LockedImage;
use crate::tools::e2fsck::Answer;
use crate::verbs::check::error::CheckError;
use crate::verbs::check::finding::Finding;
use crate::verbs::check::request::{Fix, Request};
use condatainer_formats::ext::Found;

/// An image after the repairs; it may be another file than before.
pub(crate) struct Repaired {
    pub(crate) locked: LockedImage,
    /// What was met on the way.
    pub(crate) findings: Vec<Finding>,
    pub(crate) lines: Vec<String>,
    pub(crate) kept: Option<PathBuf>,
}

/// Does what the request allows about what was seen. Whether it helped, another look must tell.
pub(crate) fn repair(
    locked: LockedImage,
    seen: &Examination,
    request: &Request,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Repaired, CheckError> {
    let mut repaired = Repaired { locked, findings: Vec::new(), lines: Vec::new(), kept: None };
    let sound = !seen.unsound || repaired.repair_file_system(request, progress)?;
    // Nothing is written into a file system that contradicts itself.
    if sound {
        repaired.reshape(request, progress)?;
        layout::give(&repaired.locked, &probe(&repaired.locked)?, request)?;
        whiteouts::fix(&repaired.locked)?;
    }
    Ok(repaired)
}

impl Repaired {
    /// True when the file system is in order.
    fn repair_file_system(
        &mut self,
        request: &Request,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<bool, CheckError> {
        let outcome = self.ask(Answer::Automatic, progress)?;
        let uncorrected = outcome.uncorrected;
        self.note(outcome);
        match (uncorrected, request.fix) {
            (false, _) => Ok(true),
            (true, Fix::Force) => self.force(progress).map(|()| true),
            (true, _) => Ok(false),
        }
    }

    fn ask(&self, answer: Answer, progress: &mut dyn FnMut(u64, u64)) -> Result<Outcome, CheckError> {
        e2fsck(&self.locked, answer, progress).map_err(|error| CheckError::tool(&self.locked.image.path, error))
    }

    fn note(&mut self, outcome: Outcome) {
        self.findings.extend(outcome.problems.findings(&self.locked.image.path));
        self.lines.extend(outcome.lines);
    }

    /// Everything that e2fsck proposes, on a copy. The original is kept: only its owner can tell what was lost.
    fn force(&mut self, progress: &mut dyn FnMut(u64, u64)) -> Result<(), CheckError> {
        let copy = RepairCopy::of(&self.locked, progress)?;
        let outcome = finish(&copy, Answer::Yes, progress)?;
        self.note(outcome);
        self.adopt(copy, true)
    }

    fn adopt(&mut self, copy: RepairCopy, keep: bool) -> Result<(), CheckError> {
        let kept = copy.replace(&mut self.locked, keep)?;
        self.kept = kept.or(self.kept.take());
        Ok(())
    }

    /// Directories that are missing and features that Apptainer refuses, on a copy.
    fn reshape(&mut self, request: &Request, progress: &mut dyn FnMut(u64, u64)) -> Result<(), CheckError> {
        let probe = probe(&self.locked)?;
        let (missing, convert) = (layout::missing(&probe, request), features::is_convertible(probe.features));
        if missing.is_empty() && !convert {
            return Ok(());
        }
        let copy = RepairCopy::of(&self.locked, progress)?;
        if convert {
            features::convert(&copy.locked, probe.features)?;
            finish(&copy, Answer::Automatic, progress)?;
        }
        for (name, owner) in missing {
            layout::make(&copy.locked, name, owner)?;
        }
        finish(&copy, Answer::Automatic, progress)?;
        self.require_directories(&copy)?;
        self.adopt(copy, false)
    }

    /// debugfs does not tell when there was no room for a directory.
    fn require_directories(&self, copy: &RepairCopy) -> Result<(), CheckError> {
        let made = probe(&copy.locked)?;
        match made.upper == Found::Missing || made.work == Found::Missing {
            true => Err(CheckError::copy(
                &self.locked.image.path,
                std::io::Error::other("debugfs could not make a directory, perhaps the image is full"),
            )),
            false => Ok(()),
        }
    }
}

/// Lets e2fsck put a copy in order, and makes sure that it is.
fn finish(copy: &RepairCopy, answer: Answer, progress: &mut dyn FnMut(u64, u64)) -> Result<Outcome, CheckError> {
    let path = &copy.locked.image.path;
    let tool = |error| CheckError::tool(path, error);
    let outcome = e2fsck(&copy.locked, answer, progress).map_err(tool)?;
    let left = e2fsck(&copy.locked, Answer::Look, progress).map_err(tool)?;
    match left.uncorrected || !copy.locked.state()?.is_clean() {
        true => Err(CheckError::NotSound { path: path.clone() }),
        false => Ok(outcome),
    }
}
