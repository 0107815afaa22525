//! What the machine says of a file, and by what it is known: its number alone is another file's as soon as it is deleted.

use std::fs::File;
use std::io;

use condatainer_formats::ext::FileType;
use rustix::fs::{AtFlags, Statx, StatxFlags, statx};

const WANTED: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME);

/// A file of the machine: device, inode, and since when it is that file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    pub(super) device: (u32, u32),
    pub(super) inode: u64,
    pub(super) since: (i64, u32),
}

/// Of what a name in a directory stands for.
pub(super) fn of_name(directory: &File, name: &[u8]) -> io::Result<Statx> {
    Ok(statx(directory, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT, WANTED)?)
}

/// Of what is open.
pub(super) fn of_file(file: &File) -> io::Result<Statx> {
    Ok(statx(file, c"", AtFlags::EMPTY_PATH, WANTED)?)
}

/// A file is as old as its birth. Where the file system keeps none, a regular one counts as another after each change of it; of others the
/// number has to do.
pub(super) fn identity(says: &Statx) -> Identity {
    let born = StatxFlags::from_bits_retain(says.stx_mask).contains(StatxFlags::BTIME).then_some(says.stx_btime);
    let since = match born.filter(|born| born.tv_sec != 0) {
        Some(born) => (born.tv_sec, born.tv_nsec),
        None if kind(says) == FileType::Regular => (says.stx_ctime.tv_sec, says.stx_ctime.tv_nsec),
        None => (0, 0),
    };
    Identity { device: (says.stx_dev_major, says.stx_dev_minor), inode: says.stx_ino, since }
}

pub(super) fn kind(says: &Statx) -> FileType {
    FileType::from_mode(says.stx_mode)
}
