//! Images that were made before, kept in memory: most tests work on one of a few kinds, and the tools that make one cost more than many
//! a test. What is written down is another file, with the same bytes and holes; an ext image gets a UUID of its own.

use std::collections::HashMap;
use std::fs::{File, Permissions};
use std::io::{self, Read, Seek};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use anyhow::Result;
use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

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
    let file = File::open(path)?;
    let (meta, blocks) = (file.metadata()?, full_blocks(&file)?);
    if blocks.len() <= MOST_BLOCKS {
        let (owner, mode) = ((meta.uid(), meta.gid()), meta.mode() & 0o7777);
        let kept = Kept { size: meta.len(), blocks, owner, mode, is_ext };
        KEPT.lock().unwrap_or_else(PoisonError::into_inner).insert(recipe, Arc::new(kept));
    }
    Ok(())
}

/// The blocks that are not empty, by number, or one more than are kept. Most of an image is a hole, and to read holes takes longer than all else.
fn full_blocks(file: &File) -> Result<Vec<(usize, Vec<u8>)>> {
    let (mut blocks, mut at) = (Vec::new(), 0);
    while blocks.len() <= MOST_BLOCKS {
        let number = match seek(file, SeekFrom::Data(at)) {
            Ok(data) => data as usize / BLOCK,
            // Nothing more.
            Err(Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let (mut block, start) = (Vec::new(), (number * BLOCK) as u64);
        (&*file).seek(io::SeekFrom::Start(start))?;
        file.take(BLOCK as u64).read_to_end(&mut block)?;
        at = start + BLOCK as u64;
        if block.iter().any(|byte| *byte != 0) {
            blocks.push((number, block));
        }
    }
    Ok(blocks)
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
