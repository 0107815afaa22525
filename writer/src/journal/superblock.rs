//! What the file system's superblock says of the journal: that it counts. It also counts mounts, as the kernel does.

use std::time::{SystemTime, UNIX_EPOCH};

use condatainer_formats::ext::raw::{RawSuperblock, SUPERBLOCK_OFFSET};
use condatainer_formats::source::read_exact_at;
use zerocopy::{FromZeros, IntoBytes};

use crate::device::Device;
use crate::error::Result;
use crate::store::Store;

/// Notes in the running transaction that the image is in use from now on.
pub(crate) fn note_mount(store: &mut Store) -> Result<()> {
    let mut handle = store.begin();
    handle.change_superblock(note)?;
    handle.done();
    Ok(())
}

/// Says on the disk that the journal counts. It lasts with the first flush of the first commit.
pub(super) fn mark_in_use(device: &dyn Device) -> Result<()> {
    rewrite(device, note)
}

/// Says on the disk that the journal is empty.
pub(super) fn mark_clean(device: &dyn Device) -> Result<()> {
    rewrite(device, |raw| {
        raw.set_needs_recovery(false);
        set_written(raw);
    })
}

fn note(raw: &mut RawSuperblock) {
    if !raw.needs_recovery() {
        raw.set_needs_recovery(true);
        raw.s_mnt_count.set(raw.s_mnt_count.get().wrapping_add(1));
        let (low, high) = now();
        (raw.s_mtime, raw.s_mtime_hi) = (low.into(), high);
        set_written(raw);
    }
}

fn set_written(raw: &mut RawSuperblock) {
    let (low, high) = now();
    (raw.s_wtime, raw.s_wtime_hi) = (low.into(), high);
}

/// Seconds since 1970, in the two fields that a time has in the superblock.
fn now() -> (u32, u8) {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    (seconds as u32, (seconds >> 32) as u8)
}

fn rewrite(device: &dyn Device, change: impl FnOnce(&mut RawSuperblock)) -> Result<()> {
    let mut raw = RawSuperblock::new_zeroed();
    read_exact_at(device, raw.as_mut_bytes(), SUPERBLOCK_OFFSET)?;
    change(&mut raw);
    raw.set_checksum();
    Ok(device.write_at(raw.bytes(), SUPERBLOCK_OFFSET)?)
}
