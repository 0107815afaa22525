//! The numbers by which the kernel knows the inodes of an image.
//!
//! The kernel's OverlayFS keeps a file under the name by which it has found it first, and loses it (`ESTALE`) when that name is removed, also
//! under its other names. So a file with several names has a number for each, and is a file of its own under each for the kernel, which asks
//! every time what has become of it; all of them show one inode number. Such a number is the inode's with a mark made of the name above it, so
//! nothing has to be remembered.

use std::hash::{BuildHasher, RandomState};

use condatainer_formats::ext::{FileType, Stat};
use nix::errno::Errno;

use crate::serve::tree::{Answer, WRITABLE};

/// Where the mark of a name begins.
const MARK: u32 = 32;
/// Bits of it; what is above says whose number it is.
const MARK_BITS: u32 = 28;

/// The number of an inode that has one name.
pub(super) fn of(ino: u32) -> u64 {
    WRITABLE | u64::from(ino)
}

/// The number of an inode under one of its names.
pub(super) fn under(hasher: &RandomState, (directory, name): (u32, &[u8]), ino: u32, stat: &Stat) -> u64 {
    let is_content = matches!(stat.kind, FileType::Regular | FileType::Symlink);
    if stat.links < 2 || !is_content {
        return of(ino);
    }
    let mark = hasher.hash_one((directory, name)) >> (64 - MARK_BITS);
    of(ino) | mark.max(1) << MARK
}

/// The inode that a number stands for.
pub(super) fn ino(number: u64) -> Answer<u32> {
    let ino = (number & u64::from(u32::MAX)) as u32;
    if number & WRITABLE != 0 && ino != 0 { Ok(ino) } else { Err(Errno::ESTALE) }
}

/// Whether it is the number of one name among several.
pub(super) fn is_marked(number: u64) -> bool {
    number >> MARK & ((1 << MARK_BITS) - 1) != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use condatainer_formats::ext::{Ids, Time};

    #[test]
    fn each_name_of_a_file_has_a_number_of_its_own() {
        let hasher = RandomState::new();
        let mut stat = Stat {
            kind: FileType::Regular,
            mode: 0o644,
            ids: Ids::ROOT,
            links: 1,
            size: 0,
            sectors: 0,
            device: (0, 0),
            accessed: Time::default(),
            modified: Time::default(),
            changed: Time::default(),
        };
        assert_eq!(under(&hasher, (2, b"a"), 12, &stat), of(12));
        stat.links = 2;
        let [a, b] = [&b"a"[..], b"b"].map(|name| under(&hasher, (2, name), 12, &stat));
        assert!(a != b && is_marked(a) && is_marked(b) && !is_marked(of(12)));
        assert_eq!([ino(a), ino(b), ino(of(12))], [Ok(12); 3]);
        assert_eq!(a & crate::serve::tree::SHARED, 0);
        assert_eq!([ino(12), ino(WRITABLE)], [Err(Errno::ESTALE); 2]);
        stat.kind = FileType::CharDevice;
        assert_eq!(under(&hasher, (2, b"a"), 12, &stat), of(12));
    }
}
