//! Check of an image: what e2fsck finds, what it does not know, and the repairs that lose nothing.
//!
//! An image is looked at under Apptainer's lock for reading, and changed under that for writing. Repairs that could lose data are
//! made only when they are asked for, on a copy, and the original is kept.

mod directory;
mod error;
mod examine;
mod features;
mod finding;
mod fsck;
mod layout;
mod problems;
mod repair;
mod squashfs;
mod twin;
mod whiteouts;

use std::path::{Path, PathBuf};

pub use error::CheckError;
use examine::{Examination, examine};
pub use finding::{Code, Finding, Severity};

use crate::image::{self, Kind, Opened, PartitionFs};
use crate::lock::held::{Held, Purpose};
use crate::system::user::Caller;
use crate::tools::preen;

/// What may be repaired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fix {
    /// Nothing; the image is only read.
    #[default]
    No,
    /// What loses nothing.
    Safe,
    /// Everything, also where data may be lost; the image as it was is kept beside.
    Force,
}

/// What is to be done, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What may be repaired.
    pub fix: Fix,
    /// Who wants to use the image.
    pub caller: Caller,
}

/// What was found, and what was done about it. The field names are the contract of `--json`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// As given.
    #[serde(serialize_with = "crate::system::shown::path")]
    pub path: PathBuf,
    /// `ext3`, `squashfs`, `sif`, `directory`.
    pub kind: &'static str,
    /// Nothing is wrong, or nothing is any more.
    pub ok: bool,
    /// By kind; those that were repaired too.
    pub findings: Vec<Finding>,
    /// Whether somebody was reading it meanwhile.
    pub readers: bool,
    /// Whether the image could not be locked, because the file system that holds it has no locks.
    pub unlocked: bool,
    /// Files that belong to other users than `upper` does; `None` where they were not counted.
    pub other_owners: Option<u64>,
    /// Names in `lost+found`, where e2fsck puts what has lost its own.
    pub lost_and_found: Vec<String>,
    /// Where the image is kept as it was before a repair that could lose data.
    #[serde(serialize_with = "crate::system::shown::maybe")]
    pub kept: Option<PathBuf>,
    /// What e2fsck said, the first thousand lines.
    pub e2fsck: Vec<String>,
}

impl Report {
    fn plain(path: &Path, kind: &'static str, findings: Vec<Finding>) -> Self {
        let ok = !findings.iter().any(Finding::is_left);
        let (lost_and_found, e2fsck) = (Vec::new(), Vec::new());
        let (readers, unlocked, other_owners, kept) = (false, false, None, None);
        Self { path: path.into(), kind, ok, findings, readers, unlocked, other_owners, lost_and_found, kept, e2fsck }
    }
}

/// Checks the image at `path`. `progress` is told percent of the step under way.
///
/// # Errors
/// See [`CheckError`]; an image that cannot even be looked at. What is wrong with one that can is in the report.
pub fn check(path: &Path, request: &Request, progress: &mut dyn FnMut(u64, u64)) -> Result<Report, CheckError> {
    let opened = image::open(path)?;
    let kind = opened.image.kind.name();
    match &opened.image.kind {
        _ if opened.image.ext_window().is_some() => ext(path, request, progress),
        Kind::Directory => Ok(Report::plain(path, kind, directory::findings(path))),
        _ => packed(path, &opened).map(|findings| Report::plain(path, kind, findings)),
    }
}

/// A squashfs, or a SIF whose system is one.
fn packed(path: &Path, opened: &Opened) -> Result<Vec<Finding>, CheckError> {
    let window = match &opened.image.kind {
        Kind::Sif(sif) => sif.primary().filter(|system| system.fs == PartitionFs::Squashfs).map(|system| system.window),
        _ => Some(opened.image.content),
    };
    window.map_or(Ok(Vec::new()), |window| squashfs::findings(path, &opened.file, window))
}

fn ext(path: &Path, request: &Request, progress: &mut dyn FnMut(u64, u64)) -> Result<Report, CheckError> {
    let purpose = if request.fix == Fix::No { Purpose::Read } else { Purpose::Change };
    let held = Held::open(path, purpose)?.announce("overlay check");
    let first = examine(&held, request, progress)?;
    if first.findings.is_empty() && request.fix != Fix::No {
        preen::complete(&held).map_err(|error| CheckError::tool(path, error))?;
    }
    if first.findings.is_empty() || request.fix == Fix::No {
        return Ok(report(&held, first));
    }
    let repaired = repair::repair(held, &first, request, progress)?;
    let last = examine(&repaired.held, request, progress)?;
    let report = report(&repaired.held, last);
    let e2fsck = [first.lines, repaired.lines, report.e2fsck].concat();
    let findings = settled([first.findings, repaired.findings].concat(), report.findings);
    Ok(Report { findings, kept: repaired.kept, e2fsck, ..report })
}

fn report(held: &Held, seen: Examination) -> Report {
    Report {
        readers: seen.readers,
        unlocked: held.lock_unsupported().is_some(),
        other_owners: seen.other_owners,
        lost_and_found: seen.lost_and_found,
        e2fsck: seen.lines,
        ..Report::plain(&held.image.path, held.image.kind.name(), seen.findings)
    }
}

/// What was there before and is gone now was fixed; what is there now is left.
fn settled(before: Vec<Finding>, now: Vec<Finding>) -> Vec<Finding> {
    let mut all: Vec<Finding> = Vec::new();
    for finding in before {
        let known = |other: &Finding| other.code == finding.code;
        if !now.iter().any(known) && !all.iter().any(known) {
            all.push(Finding { fixed: true, ..finding });
        }
    }
    all.extend(now);
    all
}
