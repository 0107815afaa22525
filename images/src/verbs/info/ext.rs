//! What an ext image says, with who uses it and what a kernel overlay would show wrongly.

use serde::Serialize;

use super::top::Top;
use crate::acquire::usage::{Usage, usage};
use crate::image;
use crate::image::state::State;
use crate::image::{ImageError, Opened};
use crate::overlay::whiteout::{self, Kinds};
use crate::verbs::with_root;
use condatainer_formats::ext::{Found, Ids, Window};

/// What an ext image has, or the ext overlay in a SIF.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExtInfo {
    /// In bytes.
    pub block_size: u32,
    /// In blocks.
    pub blocks_total: u64,
    /// In blocks.
    pub blocks_free: u64,
    /// Number of inodes.
    pub inodes_total: u32,
    /// Number of unused inodes.
    pub inodes_free: u32,
    /// The directory with the overlay's content; null where it is not a directory that can be read.
    pub upper: Option<Top>,
    /// Then this says why: `missing`, `not-a-directory: …` or `unreadable: …`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upper_problem: Option<String>,
    /// OverlayFS's work directory.
    pub work: Option<Top>,
    /// As `upper_problem`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub work_problem: Option<String>,
    /// `clean`, `in-use`, `dirty`, `needs-recovery` or `errors`.
    pub state: &'static str,
    /// `none`, `fuse`, `kernel` or `mixed`; only after a scan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub whiteouts: Option<&'static str>,
    /// How many of each kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub whiteout_counts: Option<WhiteoutCounts>,
    /// Under the names that e2fsprogs prints.
    pub features: Vec<String>,
    /// Of the file system.
    pub uuid: String,
    /// Of the volume; often empty.
    pub label: String,
    /// Whether Apptainer takes the image.
    pub apptainer_accepts: bool,
    /// Why it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apptainer_reason: Option<String>,
    /// Who uses it, as far as that can be told; null for nobody.
    pub locked_by: Option<String>,
    /// To whom it goes back: an `overlay with-root` is at work, or was killed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lent_by: Option<Ids>,
}

/// Whiteouts by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct WhiteoutCounts {
    /// Files `.wh.NAME`.
    pub fuse: u64,
    /// Opaque directories.
    pub opaque: u64,
    /// Devices 0/0.
    pub kernel: u64,
}

impl ExtInfo {
    /// `None` where there is no ext file system.
    pub(super) fn of(opened: &Opened, scan: bool) -> Result<Option<Self>, ImageError> {
        let (Some(probe), Some(window)) = (opened.probe()?, opened.image.ext_window()) else { return Ok(None) };
        let usage = usage(opened);
        let kinds = match probe.upper {
            Found::Directory(_) if scan => Some(scanned(opened, window)?),
            _ => None,
        };
        Ok(Some(Self {
            block_size: probe.block_size,
            blocks_total: probe.blocks_total,
            blocks_free: probe.blocks_free,
            inodes_total: probe.inodes_total,
            inodes_free: probe.inodes_free,
            upper: top(&probe.upper),
            upper_problem: problem(&probe.upper),
            work: top(&probe.work),
            work_problem: problem(&probe.work),
            state: state(image::state::state(probe.state), &usage),
            whiteouts: kinds.map(|kinds| kinds.name()),
            whiteout_counts: kinds.map(|Kinds { fuse, opaque, kernel, .. }| WhiteoutCounts { fuse, opaque, kernel }),
            features: probe.features.names(),
            uuid: probe.uuid,
            label: probe.label,
            apptainer_accepts: probe.apptainer.is_ok(),
            apptainer_reason: probe.apptainer.err(),
            locked_by: locked_by(&usage),
            lent_by: with_root::lent_by(&opened.image.path),
        }))
    }
}

/// A search of any length; what it finds is remembered for the starts that follow.
fn scanned(opened: &Opened, window: Window) -> Result<Kinds, ImageError> {
    let found =
        whiteout::find(&opened.file, window, None).map_err(|error| ImageError::ext(&opened.image.path, error))?;
    Ok(found.unwrap_or_default().kinds)
}

fn top(found: &Found) -> Option<Top> {
    found.owner().map(|owner| Top::new(owner.uid, owner.gid, owner.mode.into()))
}

fn problem(found: &Found) -> Option<String> {
    match found {
        Found::Directory(_) => None,
        Found::Missing => Some("missing".into()),
        Found::Other(kind) => Some(format!("not-a-directory: it is {}", kind.describe())),
        Found::Unreadable(why) => Some(format!("unreadable: {why}")),
    }
}

/// An image that is not cleanly unmounted and locked by somebody is simply in use.
fn state(state: State, usage: &Usage) -> &'static str {
    match (state, usage) {
        (State::Errors, _) => "errors",
        (_, Usage::Readers { .. } | Usage::Writer { .. }) => "in-use",
        (State::Clean, _) => "clean",
        (State::Dirty, _) => "dirty",
        (State::NeedsRecovery, _) => "needs-recovery",
    }
}

fn locked_by(usage: &Usage) -> Option<String> {
    match usage {
        Usage::Free => None,
        Usage::Readers { seen: None } => Some("readers".into()),
        Usage::Readers { seen: Some(seen) } => Some(format!("readers: {seen}")),
        Usage::Writer { holder: Some(holder), .. } => Some(holder.to_string()),
        Usage::Writer { seen, .. } => Some(seen.clone().unwrap_or_else(|| "unknown".into())),
        Usage::Unknown { reason } => Some(format!("not to be told: {reason}")),
    }
}
