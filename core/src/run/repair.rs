//! Repairs an image whose last writer was killed, before it is written again.
//!
//! fuse2fs keeps no journal: after a SIGKILL the free counts and bitmaps on disk are stale, and writing on would let two files
//! share a block. `e2fsck -p` makes only repairs that lose nothing, and gives up otherwise.

use std::path::Path;

use crate::held::{Held, HeldError, Purpose};

/// Runs `e2fsck -p` while holding the image's lock, which is free again afterwards.
pub(crate) fn repair(path: &Path, say: &mut dyn FnMut(&str)) -> Result<(), HeldError> {
    say(&format!("{}: its last writer was killed: repairing it (e2fsck -p)", path.display()));
    Held::open(path, Purpose::Change)?.make_clean(true).map(drop)
}
