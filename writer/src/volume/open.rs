//! How an image is opened for writing: what is not written is refused by name, and its journal is replayed.

use std::sync::Arc;

use condatainer_formats::ext::raw::{Fs, GroupDescriptor, state_of};
use condatainer_formats::ext::{ExtError, Features, Window};
use parking_lot::Mutex;

use super::base::{ContentLocks, Users, Volume};
use super::orphan;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::geometry::Geometry;
use crate::journal::{Journal, replay};
use crate::store::Store;

/// The features that are written, or do no harm to who does not know them.
const COMPAT: u32 = 0x4 | 0x8 | 0x10 | 0x20;
const INCOMPAT: u32 = 0x2 | 0x4 | 0x10;
const RO_COMPAT: u32 = 0x1 | 0x2;
const LARGEST_BLOCK: u32 = 4096;

impl Volume {
    /// Opens a file system: replays its journal, and carries out what is left of deletions. Nothing else is written to it before the first
    /// change.
    ///
    /// # Errors
    /// It is damaged, or has features that are not written.
    pub fn open(device: Arc<dyn Device>) -> Result<Self> {
        require_written(&*device)?;
        replay(&*device)?;
        // The journal may have had another superblock.
        require_written(&*device)?;
        let mut geometry = Geometry::read(&*device, device.size())?;
        let journal = Journal::open(&device, &geometry)?;
        geometry.claim(journal.pieces());
        let geometry = Arc::new(geometry);
        let mut store = Store::new(Arc::clone(&device), Arc::clone(&geometry), journal.next(), journal.limits());
        recount(&mut store)?;
        let (flusher, journal, store) = (journal.flusher(), Mutex::new(journal), Mutex::new(store));
        let (contents, users, untold) = (ContentLocks::new(), Users::default(), Mutex::default());
        let volume = Self { device, geometry, journal, store, flusher, contents, users, untold };
        orphan::clean_up(&volume)?;
        Ok(volume)
    }
}

/// Counts what is free: the kernel does so when it mounts, and leaves the superblock's figures as they are until it unmounts.
fn recount(store: &mut Store) -> Result<()> {
    let mut handle = store.begin();
    let geometry = handle.geometry();
    let (mut blocks, mut inodes) = (0_u32, 0_u32);
    for group in 0..geometry.groups().len() {
        let (block, within) = geometry.descriptor_place(group)?;
        let table = handle.block(block)?;
        let descriptor = GroupDescriptor::from_bytes(table.get(within..).unwrap_or_default());
        blocks = blocks.saturating_add(descriptor.bg_free_blocks_count_lo.get().into());
        inodes = inodes.saturating_add(descriptor.bg_free_inodes_count_lo.get().into());
    }
    let raw = handle.superblock()?;
    if (raw.s_free_blocks_count_lo.get(), raw.s_free_inodes_count.get()) != (blocks, inodes) {
        handle.change_superblock(|raw| {
            raw.s_free_blocks_count_lo.set(blocks);
            raw.s_free_inodes_count.set(inodes);
        })?;
    }
    handle.done();
    Ok(())
}

/// What in a file system is not written, in words: its features, or the sizes of its blocks or inodes, in bytes.
#[must_use]
pub fn unwritten(features: Features, block_size: u32, inode_size: u16) -> Option<String> {
    let Features { compat, incompat, ro_compat } = features;
    let (compat, incompat, ro_compat) = (compat & !COMPAT, incompat & !INCOMPAT, ro_compat & !RO_COMPAT);
    let newer = Features { compat, incompat, ro_compat }.names();
    match newer.as_slice() {
        _ if !features.has_journal() => Some("has no journal".into()),
        [one] => Some(format!("has the file system feature {one}")),
        [_, ..] => Some(format!("has the file system features {}", newer.join(", "))),
        [] if block_size > LARGEST_BLOCK => Some(format!("has blocks of {block_size} bytes")),
        [] if !matches!(inode_size, 128 | 256) => Some(format!("has inodes of {inode_size} bytes")),
        [] => None,
    }
}

/// An error if the file system has something that is not written.
pub(super) fn require_written(device: &dyn Device) -> Result<()> {
    let sb = Fs::open(&device, Window::whole(device.size()), u64::MAX)?.sb;
    let refuse = |what: String| Err(Error::Image(ExtError::unsupported(what)));
    if let Some(what) = unwritten(sb.features, sb.block_size, sb.inode_size) {
        return refuse(format!("writing to what {what}"));
    }
    let state = state_of(&sb);
    // Bitmaps are right in what was mounted with its journal, however it ended; else only in what was unmounted.
    match state {
        _ if state.errors => refuse("writing to a file system with errors: it must be checked first (e2fsck)".into()),
        _ if !state.valid => {
            refuse("writing to a file system that was not unmounted: it must be checked first (e2fsck)".into())
        }
        _ => Ok(()),
    }
}
