//! A directory as a layer: whose it is, and whether it is shown as it is or through an `upper`.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::Serialize;

use super::top::Top;
use crate::image::ImageError;

/// What a directory has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DirectoryInfo {
    /// Names in it, without `.` and `..`.
    pub entries: u64,
    /// Owner and mode of its `upper`; null where there is none: then the directory itself is shown.
    pub upper: Option<Top>,
    /// Why an `upper` that is there cannot be used: `not-a-directory` or `unreadable: …`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upper_problem: Option<String>,
    /// OverlayFS's work directory.
    pub work: Option<Top>,
    /// As `upper_problem`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub work_problem: Option<String>,
}

impl DirectoryInfo {
    pub(super) fn of(path: &Path) -> Result<Self, ImageError> {
        let names = fs::read_dir(path).map_err(|error| ImageError::io(path, error))?;
        let entries = names.count() as u64;
        let (upper, upper_problem) = top(&path.join("upper"));
        let (work, work_problem) = top(&path.join("work"));
        Ok(Self { entries, upper, upper_problem, work, work_problem })
    }
}

fn top(path: &Path) -> (Option<Top>, Option<String>) {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => (Some(Top::new(meta.uid(), meta.gid(), meta.mode())), None),
        Ok(_) => (None, Some("not-a-directory".into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (None, None),
        Err(error) => (None, Some(format!("unreadable: {error}"))),
    }
}
