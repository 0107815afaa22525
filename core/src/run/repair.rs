//! Repairs an image whose last writer was killed, before it is written again.
//!
//! fuse2fs keeps no journal: after a SIGKILL the free counts and bitmaps on disk are stale, and writing on would let two files
//! share a block. `e2fsck -p` makes only repairs that lose nothing, and gives up otherwise.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::image;
use crate::lock::{self, Access, LockError};
use crate::run::RunError;
use crate::survey::find_program;

/// e2fsck(8): errors were corrected, no reboot needed.
const CORRECTED: i32 = 1;

/// Runs `e2fsck -p` while holding the image's lock.
pub(crate) fn repair(path: &Path, say: &mut dyn FnMut(&str)) -> Result<(), RunError> {
    let failed = |why: String| RunError::Repair { path: path.into(), why };
    say(&format!("{}: its last writer was killed: repairing it (e2fsck -p)", path.display()));
    let opened = image::open(path).map_err(|e| failed(e.to_string()))?;
    let window = opened.image.ext_window().ok_or_else(|| failed("it is no ext image any more".into()))?;
    let file = std::fs::File::options().read(true).write(true).open(path).map_err(|e| failed(e.to_string()))?;
    let _lock = lock::take(&file, window, Access::Write).map_err(|e| match e {
        LockError::Busy(_) => failed("somebody else has just taken it".into()),
        other => failed(format!("it {other}")),
    })?;
    if window.offset != 0 {
        return Err(failed("it lies inside a SIF, where e2fsck cannot reach it".into()));
    }
    let program =
        find_program("e2fsck").ok_or_else(|| failed("e2fsck (package e2fsprogs) is not installed here".into()))?;
    let mut e2fsck = Command::new(program);
    e2fsck.arg("-p").arg(path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match e2fsck.status() {
        Ok(status) if status.code().is_some_and(|code| code <= CORRECTED) => Ok(()),
        Ok(status) => Err(failed(format!("e2fsck -p found more than it may repair by itself ({status})"))),
        Err(e) => Err(failed(format!("e2fsck cannot be started: {e}"))),
    }
}
