//! Images that were made before, kept in memory: most tests work on one of a few kinds, and the tools that make one cost more than many
//! a test. What is written down is another file, with the same bytes and holes; an ext image gets a UUID of its own.

use std::collections::HashMap;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use anyhow::Result;

static KEPT: LazyLock<Mutex<HashMap<String, Arc<Kept>>>> = LazyLock::new(Mutex::default);
static COPIES: AtomicU64 = AtomicU64::new(1);

const BLOCK: usize = 4096;
/// More than that in an image is made anew each time.
const MOST_BLOCKS: usize = 512;
/// Where an ext image has its UUID.
const UUID: usize = 1024 + 0x68;

/// An image: its blocks that are not empty, by number, and what the file is like.
pub(super) struct Kept {
    size: u64,
    blocks: Vec<(usize, Vec<u8>)>,
    owner: (u32, u32),
    mode: u32,
    is_ext: bool,
}

/// What this recipe has made before.
pub(super) fn of(recipe: &str) -> Option<Arc<Kept>> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner).get(recipe).cloned()
}

/// Keeps what this recipe has made, if it is small. An ext image gets another UUID in each copy.
pub(super) fn keep(recipe: String, path: &Path, is_ext: bool) -> Result<()> {
    let (meta, bytes) = (fs::metadata(path)?, fs::read(path)?);
    let is_empty = |block: &[u8]| *block == [0; BLOCK][..block.len()];
    let full = bytes.chunks(BLOCK).enumerate().filter(|(_, block)| !is_empty(block));
    let blocks: Vec<_> = full.map(|(number, block)| (number, block.to_vec())).take(MOST_BLOCKS + 1).collect();
    if blocks.len() <= MOST_BLOCKS {
        let (owner, mode) = ((meta.uid(), meta.gid()), meta.mode() & 0o7777);
        let kept = Kept { size: meta.len(), blocks, owner, mode, is_ext };
        KEPT.lock().unwrap_or_else(PoisonError::into_inner).insert(recipe, Arc::new(kept));
    }
    Ok(())
}

impl Kept {
    /// Writes it down, also over a file that is there.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let file = File::create(path)?;
        for (number, block) in &self.blocks {
            file.write_all_at(block, (number * BLOCK) as u64)?;
        }
        file.set_len(self.size)?;
        if self.is_ext {
            let copy = COPIES.fetch_add(1, Ordering::Relaxed);
            file.write_all_at(&copy.to_be_bytes(), UUID as u64)?;
        }
        file.set_permissions(Permissions::from_mode(self.mode))?;
        Ok(chown(path, Some(self.owner.0), Some(self.owner.1))?)
    }
}
