//! The numbers by which the kernel knows the inodes of an image.
//!
//! The kernel's OverlayFS keeps a file under the name by which it has found it first, and loses it (`ESTALE`) when that name is removed, also
//! under its other names. So a file with several names has a number for each, and is a file of its own under each for the kernel, which asks
//! every time what has become of it; all of them show one inode number. Such a number is the inode's with a mark above it.
//!
//! What the kernel has under one name must not get another number there, or the overlay loses it as well. So the name that a file had when it
//! got its second one goes on without a mark, and a marked name stays marked when it is the last. Both are remembered for as long as
//! the kernel has the file.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use condatainer_formats::ext::{FileType, Stat};
use condatainer_formats::overlayfs::is_whiteout;
use nix::errno::Errno;
use parking_lot::Mutex;

use crate::serve::tree::{Answer, WRITABLE};

/// Where the mark of a name begins.
const MARK: u32 = 32;
/// Bits of it; what is above says whose number it is.
const MARKS: u32 = (1 << 28) - 1;

/// The number of an inode that has one name.
pub(super) fn of(ino: u32) -> u64 {
    WRITABLE | u64::from(ino)
}

/// The inode that a number stands for.
pub(super) fn ino(number: u64) -> Answer<u32> {
    let ino = (number & u64::from(u32::MAX)) as u32;
    if number & WRITABLE != 0 && ino != 0 { Ok(ino) } else { Err(Errno::ESTALE) }
}

/// Whether it is the number of one name among several.
pub(super) fn is_marked(number: u64) -> bool {
    number >> MARK & u64::from(MARKS) != 0
}

/// A name in a directory.
pub(super) type Name<'a> = (u32, &'a [u8]);

/// The numbers of files that have several names, or had.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    hasher: RandomState,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// By the hash of each marked name its number.
    names: HashMap<u64, u64>,
    files: HashMap<u32, File>,
    last: u32,
}

#[derive(Debug, Default)]
struct File {
    /// It had a name without a mark when it got another.
    has_plain: bool,
    /// The hashes of its marked names.
    marked: Vec<u64>,
    /// How often its content was changed.
    writes: u32,
}

impl Numbers {
    /// The number of an inode, which says `stat`, under a name that it has.
    pub(super) fn under(&self, name: Name<'_>, ino: u32, stat: &Stat) -> u64 {
        // Of whiteouts, which are one file with many names, the kernel uses none.
        if stat.kind == FileType::Directory || is_whiteout(stat.kind, stat.device) {
            return of(ino);
        }
        let mut known = self.known.lock();
        if stat.links < 2 && !known.files.contains_key(&ino) {
            return of(ino);
        }
        let hash = self.hash(name);
        match known.names.get(&hash) {
            Some(number) if self::ino(*number) == Ok(ino) => *number,
            _ if known.files.get(&ino).is_some_and(|file| file.has_plain) => of(ino),
            _ => known.mark(hash, ino),
        }
    }

    /// A file, which the kernel has by this number, gets one more name. Returns what [`Self::not_linked`] wants if it does not.
    pub(super) fn is_linked(&self, number: u64, name: Name<'_>) -> Option<Linked> {
        let (ino, hash) = (ino(number).ok()?, self.hash(name));
        let mut known = self.known.lock();
        known.files.entry(ino).or_insert_with(|| File { has_plain: !is_marked(number), ..File::default() });
        let before = known.names.get(&hash).copied();
        known.unmark(hash);
        known.mark(hash, ino);
        Some(Linked { hash, before })
    }

    /// It did not get it after all: what had that name has it still.
    pub(super) fn not_linked(&self, linked: Option<Linked>) {
        let Some(Linked { hash, before }) = linked else { return };
        let mut known = self.known.lock();
        known.unmark(hash);
        if let Some(number) = before {
            known.keep(hash, number);
        }
    }

    /// A name is gone.
    pub(super) fn is_removed(&self, name: Name<'_>) {
        let hash = self.hash(name);
        self.known.lock().unmark(hash);
    }

    /// What had the one name has the other. What had that is gone, or has the first one.
    pub(super) fn is_renamed(&self, from: Name<'_>, to: Name<'_>, exchanged: bool) {
        let (from, to) = (self.hash(from), self.hash(to));
        let mut known = self.known.lock();
        let (moved, over) = (known.unmark(from), known.unmark(to));
        if let Some(number) = moved {
            known.keep(to, number);
        }
        if let Some(number) = over.filter(|_| exchanged) {
            known.keep(from, number);
        }
    }

    /// Whether the kernel may have an inode by several numbers.
    pub(super) fn has_several(&self, ino: u32) -> bool {
        self.known.lock().files.contains_key(&ino)
    }

    /// Its content is changed.
    pub(super) fn is_written(&self, ino: u32) {
        if let Some(file) = self.known.lock().files.get_mut(&ino) {
            file.writes = (file.writes + 1) % 1_000_000_000;
        }
    }

    /// How often the content of an inode was changed that the kernel may have by several numbers.
    pub(super) fn writes(&self, ino: u32) -> u32 {
        self.known.lock().files.get(&ino).map_or(0, |file| file.writes)
    }

    /// The kernel has forgotten something of an inode, and all of it unless that `is_used`.
    pub(super) fn forget(&self, ino: u32, is_used: impl FnOnce() -> bool) {
        let mut known = self.known.lock();
        // Whoever is given it meanwhile waits for this lock.
        if known.files.contains_key(&ino) && !is_used() {
            let file = known.files.remove(&ino).unwrap_or_default();
            for hash in file.marked {
                known.names.remove(&hash);
            }
        }
    }

    fn hash(&self, name: Name<'_>) -> u64 {
        self.hasher.hash_one(name)
    }
}

/// A name that a file has got.
pub(super) struct Linked {
    hash: u64,
    before: Option<u64>,
}

impl Known {
    /// A number that no name has had lately.
    fn mark(&mut self, hash: u64, ino: u32) -> u64 {
        self.last = self.last % MARKS + 1;
        let number = of(ino) | u64::from(self.last) << MARK;
        self.keep(hash, number);
        number
    }

    fn keep(&mut self, hash: u64, number: u64) {
        if let Ok(ino) = ino(number) {
            self.names.insert(hash, number);
            self.files.entry(ino).or_default().marked.push(hash);
        }
    }

    fn unmark(&mut self, hash: u64) -> Option<u64> {
        let number = self.names.remove(&hash)?;
        let file = ino(number).ok().and_then(|ino| self.files.get_mut(&ino));
        if let Some(file) = file
            && let Some(at) = file.marked.iter().position(|one| *one == hash)
        {
            file.marked.swap_remove(at);
        }
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use condatainer_formats::ext::{Ids, Time};

    const A: Name<'_> = (2, b"a");
    const B: Name<'_> = (2, b"b");
    const C: Name<'_> = (3, b"a");

    fn stat(links: u16) -> Stat {
        Stat {
            kind: FileType::Regular,
            mode: 0o644,
            ids: Ids::ROOT,
            links,
            size: 0,
            sectors: 0,
            device: (0, 0),
            accessed: Time::default(),
            modified: Time::default(),
            changed: Time::default(),
        }
    }

    #[test]
    fn each_name_of_a_file_has_a_number_of_its_own() {
        let numbers = Numbers::default();
        assert_eq!(numbers.under(A, 12, &stat(1)), of(12));
        let [a, b] = [A, B].map(|name| numbers.under(name, 12, &stat(2)));
        assert!(a != b && is_marked(a) && is_marked(b) && !is_marked(of(12)));
        assert_eq!([ino(a), ino(b), ino(of(12))], [Ok(12); 3]);
        assert_eq!(a & crate::serve::tree::SHARED, 0);
        assert_eq!([ino(12), ino(WRITABLE)], [Err(Errno::ESTALE); 2]);
        let device = Stat { kind: FileType::CharDevice, ..stat(2) };
        assert_eq!(numbers.under(A, 13, &device), of(13));
        let pipe = Stat { kind: FileType::Fifo, ..stat(2) };
        assert_ne!(numbers.under(A, 15, &pipe), numbers.under(C, 15, &pipe));
    }

    #[test]
    fn a_name_keeps_its_number() {
        let numbers = Numbers::default();
        // Linked by this kernel: the first name has no mark, now and later.
        numbers.is_linked(of(12), B);
        let b = numbers.under(B, 12, &stat(2));
        assert!(numbers.under(A, 12, &stat(2)) == of(12) && is_marked(b) && numbers.has_several(12));
        numbers.is_removed(A);
        assert_eq!(numbers.under(B, 12, &stat(1)), b);
        numbers.is_linked(b, A);
        let a = numbers.under(A, 12, &stat(2));
        assert!(is_marked(a) && a != b);
        // A name takes its number along, and no other gets it.
        numbers.is_renamed(B, C, false);
        assert_eq!(numbers.under(C, 12, &stat(2)), b);
        numbers.is_linked(a, B);
        let third = numbers.under(B, 12, &stat(3));
        assert!(is_marked(third) && ![a, b].contains(&third));
        numbers.is_renamed(A, C, true);
        assert_eq!([A, C].map(|name| numbers.under(name, 12, &stat(3))), [b, a]);
        // What takes a name away takes its number away too.
        numbers.is_renamed((2, b"other"), A, false);
        assert_eq!(numbers.under(A, 14, &stat(1)), of(14));
    }

    #[test]
    fn what_was_not_linked_is_as_before() {
        let numbers = Numbers::default();
        let b = numbers.under(B, 13, &stat(2));
        let linked = numbers.is_linked(of(12), B);
        numbers.not_linked(linked);
        assert_eq!((numbers.under(B, 13, &stat(2)), numbers.under(A, 12, &stat(1))), (b, of(12)));
    }

    #[test]
    fn what_the_kernel_has_forgotten_is_forgotten() {
        let numbers = Numbers::default();
        numbers.is_linked(of(12), B);
        numbers.forget(12, || true);
        assert!(numbers.has_several(12));
        numbers.forget(12, || false);
        let known = numbers.known.lock();
        assert!(known.names.is_empty() && known.files.is_empty());
    }
}
