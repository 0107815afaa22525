//! Whether there is room: asked before anything is made, of the file system, of the quotas, and of the process's own limits.

use std::path::Path;

use nix::sys::statvfs::statvfs;

use super::error::{CreateError, Limit};
use super::format::metadata_bytes;
use super::spec::Spec;
use crate::system::{disk_quota, file_size_limit};

/// What one limit leaves; `None` where it does not count that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Room {
    limit: Limit,
    bytes: Option<u64>,
    files: Option<u64>,
}

/// Refuses what cannot come to a good end.
pub(super) fn check(spec: &Spec, directory: &Path) -> Result<(), CreateError> {
    check_file_limit(spec)?;
    let at_once = metadata_bytes(spec.size_bytes);
    if let Some(workshop) = &spec.tmpdir {
        check_room(spec, workshop, at_once.min(spec.size_bytes))?;
    }
    check_room(spec, directory, if spec.allocate { spec.size_bytes } else { at_once.min(spec.size_bytes) })
}

fn check_file_limit(spec: &Spec) -> Result<(), CreateError> {
    match file_size_limit::get() {
        Some(limit) if limit < spec.size_bytes => {
            Err(CreateError::FileLimit { path: spec.path.clone(), size: spec.size_bytes, limit })
        }
        _ => Ok(()),
    }
}

fn check_room(spec: &Spec, directory: &Path, needed: u64) -> Result<(), CreateError> {
    let rooms = rooms(directory).map_err(|error| CreateError::io(&spec.path, error))?;
    for Room { limit, bytes, files } in rooms {
        let (path, directory) = (spec.path.clone(), directory.to_owned());
        if let Some(available) = bytes.filter(|&bytes| bytes < needed) {
            return Err(CreateError::NoSpace { path, directory, needed, available, limit, allocate: spec.allocate });
        }
        if files == Some(0) {
            return Err(CreateError::NoFiles { path, directory, limit });
        }
    }
    Ok(())
}

fn rooms(directory: &Path) -> std::io::Result<Vec<Room>> {
    let stat = statvfs(directory)?;
    // Some file systems do not count: no blocks or no files at all.
    let bytes = (stat.blocks() > 0).then(|| stat.blocks_available().saturating_mul(stat.fragment_size()));
    let files = (stat.files() > 0).then(|| stat.files_available());
    let of_quota = |left: disk_quota::Left| {
        let limit = if left.group { Limit::Group } else { Limit::User };
        Room { limit, bytes: left.bytes, files: left.files }
    };
    let quotas = disk_quota::left(directory).into_iter().map(of_quota);
    Ok([Room { limit: Limit::FileSystem, bytes, files }].into_iter().chain(quotas).collect())
}

/// What can still be written in `directory`, in bytes, by whatever limit is the nearest.
pub fn free(directory: &Path) -> Option<u64> {
    rooms(directory).ok()?.into_iter().filter_map(|room| room.bytes).min()
}
