//! What a mount does first: what a killed writer left in the journal is written to its places.
//!
//! The journal is left as it is until all of that lasts, so that whoever is killed in here has done no harm: the next one begins again.

use condatainer_formats::ext::raw::{Fs, JournalMap};
use condatainer_formats::jbd2::Place;
use condatainer_formats::source::{Window, read_exact_at};

use super::batch::Batch;
use super::superblock::mark_clean;
use crate::device::Device;
use crate::error::{Error, Result};

/// What a replay has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Replayed {
    /// The superblock asked for it.
    pub was_needed: bool,
    /// How many transactions were in the journal.
    pub transactions: u32,
    /// How many blocks were written to their places.
    pub blocks: usize,
}

/// Replays the journal of a file system that needs it, and says in its superblock that it is done. One that does not need it is not
/// written to.
///
/// # Errors
/// The journal is damaged or uses something that is not understood, or the device fails. The file system still needs its journal then.
pub fn replay(device: &dyn Device) -> Result<Replayed> {
    let window = Window::whole(device.size());
    let fs = Fs::open(&device, window, u64::MAX)?;
    if !fs.sb.features.needs_recovery() {
        return Ok(Replayed::default());
    }
    let map = JournalMap::of(&fs)?;
    let mut sb = map.superblock(&device, window)?;
    if sb.s_errno != 0 {
        // The kernel gave it up, and what it has is not all: e2fsck says so in the superblock.
        return Err(Error::corrupt("its journal was aborted"));
    }
    let replay = map.recover(&device, window)?;
    let block_size = fs.sb.block_size as usize;
    let mut own: Vec<_> = map.pieces().collect();
    own.sort_unstable_by_key(|piece| piece.start);
    let mut batch = Batch::new(device, block_size);
    let (mut content, mut next) = (vec![0; block_size], 0);
    while let Some(place) = replay.next_from(next) {
        // The journal could not be read a second time.
        let is_own = own.get(own.partition_point(|piece| piece.end <= place.block));
        if is_own.is_some_and(|piece| piece.start <= place.block) {
            return Err(Error::corrupt("its journal has a block of itself"));
        }
        let (physical, _) = map.find(place.at.into())?;
        read_exact_at(device, &mut content, physical * block_size as u64)?;
        if place.is_escaped {
            content.iter_mut().zip(Place::ESCAPED).for_each(|(to, from)| *to = from);
        }
        batch.put(place.block, &content)?;
        next = place.block + 1;
    }
    batch.end()?;
    device.flush()?;
    sb.set_empty(replay.next_sequence);
    let (physical, _) = map.find(0)?;
    device.write_at(sb.bytes(), physical * block_size as u64)?;
    device.flush()?;
    mark_clean(device)?;
    device.flush()?;
    Ok(Replayed { was_needed: true, transactions: replay.transactions, blocks: replay.len() })
}
