//! The guard of a fuse2fs: the process that the engine takes for it.
//!
//! When a mount is gone fuse2fs still writes what it has in memory, and syncs. Apptainer gives it a second until it sends SIGTERM, and
//! another until SIGKILL (imagedriver.go, `stop`): on a slow disk the image would never be unmounted in order. That SIGKILL meets
//! the guard instead, and Apptainer goes on waiting, for the end of what fuse2fs may print. A start that fails sends SIGTERM as
//! well, with the mount still there: then fuse2fs is asked to unmount.

use crate::freestanding::process::call_itself;
use crate::freestanding::signals::{self, Change};
use crate::kernel::{self, Process};

/// How often fuse2fs is looked at until it has mounted, in milliseconds; no container is gone again as soon as that.
const INTERVAL: u64 = 20;

/// Waits for the program, and ends as it does.
pub(crate) fn guard(program: Process) -> u8 {
    signals::change_mask(Change::Block, signals::ALL);
    kernel::close_all_files();
    call_itself(c"fuse2fs-guard");
    let mut has_mounted = false;
    loop {
        if let Some(code) = program.ended() {
            return code;
        }
        has_mounted = has_mounted || program.handles_hangup();
        let is_asked = kernel::asked_to_end(if has_mounted { None } else { Some(INTERVAL) });
        if is_asked && program.handles_hangup() {
            program.hang_up();
        } else if is_asked && !has_mounted {
            // It has nothing to lose yet. One that has mounted, and does not handle the signal any more, is writing at this moment.
            program.kill();
        }
    }
}
