//! The ext file system in an image: looked at (`examine`), repaired as far as that is allowed (`repair`), and looked at again.
//!
//! What is looked at is what e2fsck says (`fsck`, sorted by `problems`), the features (`features`), `upper` and `work` (`layout`), and
//! the whiteouts. What cannot be repaired in place is repaired on a `copy`.

mod copy;
mod examine;
mod features;
mod fsck;
mod layout;
mod probe;
mod problems;
mod repair;
mod whiteouts;

use std::path::Path;

use crate::acquire::{LockedImage, Purpose, automatic_repair};
use crate::verbs::check::error::CheckError;
use crate::verbs::check::finding::Finding;
use crate::verbs::check::report::Report;
use crate::verbs::check::request::{Fix, Request};
use examine::{Examination, examine};

/// Checks the image at `path`, whose file system is an ext. `progress` is told percent of the step under way.
pub(super) fn check(path: &Path, request: &Request, progress: &mut dyn FnMut(u64, u64)) -> Result<Report, CheckError> {
    let purpose = if request.fix == Fix::No { Purpose::Read } else { Purpose::Change };
    let locked = LockedImage::open(path, purpose)?.announce("overlay check");
    let first = examine(&locked, request, progress)?;
    if first.findings.is_empty() && request.fix != Fix::No {
        automatic_repair::unhide_index(&locked).map_err(|error| CheckError::tool(path, error))?;
    }
    if first.findings.is_empty() || request.fix == Fix::No {
        return Ok(report(&locked, first));
    }
    let repaired = repair::repair(locked, &first, request, progress)?;
    let last = examine(&repaired.locked, request, progress)?;
    let report = report(&repaired.locked, last);
    let e2fsck = [first.lines, repaired.lines, report.e2fsck].concat();
    let findings = settled([first.findings, repaired.findings].concat(), report.findings);
    Ok(Report { findings, kept: repaired.kept, e2fsck, ..report })
}

fn report(locked: &LockedImage, seen: Examination) -> Report {
    Report {
        readers: seen.readers,
        unlocked: locked.lock_unsupported().is_some(),
        other_owners: seen.other_owners,
        lost_and_found: seen.lost_and_found,
        e2fsck: seen.lines,
        ..Report::plain(&locked.image.path, locked.image.kind.name(), seen.findings)
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
