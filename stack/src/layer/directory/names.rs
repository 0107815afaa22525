//! Which name of which directory a key stands for.
//!
//! The kernel keeps a node as long as it likes and asks for it by its number only, so every name that was listed is remembered: some 100
//! bytes for each, and no more than a fixed number of them. What the kernel keeps of each is ten times as much.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;

use nix::errno::Errno;

use super::stat::Identity;

/// The number of the root directory.
pub(super) const ROOT: u32 = 0;

/// Bytes that are kept of all names of one directory of the host: about three million names.
const MOST: usize = 256 << 20;
/// What is kept of each beside its bytes, about.
const OF_EACH: usize = 64;
/// Other names that are kept of a file with many.
const MOST_OTHERS: usize = 64;

/// An [`Identity`] in eight bytes, by a hash that nobody can foresee.
type Mark = u64;
/// Of what nobody has looked at.
const UNSEEN: Mark = 0;

/// One name.
#[derive(Debug, Clone, Copy)]
struct Record {
    directory: u32,
    start: u32,
    length: u8,
    /// The next one whose hash is the same, if any.
    next: u32,
    /// What it was when it was looked at first.
    was: Mark,
}

/// Every name that was listed, each with a number that it keeps.
#[derive(Debug, Default)]
pub(super) struct Names {
    bytes: Vec<u8>,
    records: Vec<Record>,
    by_hash: HashMap<u64, u32>,
    hasher: RandomState,
    /// Of files with several names: those that were looked at. The first is the one that they are shown under.
    several: HashMap<Mark, Vec<u32>>,
    /// Bytes that may be kept.
    most: usize,
}

impl Names {
    /// Only the root directory is known.
    pub(super) fn new() -> Self {
        let root = Record { directory: ROOT, start: 0, length: 0, next: ROOT, was: UNSEEN };
        Self { records: vec![root], most: MOST, ..Self::default() }
    }

    /// The number of a name in a directory, which is given one where it is new.
    pub(super) fn number(&mut self, directory: u32, name: &[u8]) -> io::Result<u32> {
        let hash = self.hasher.hash_one((directory, name));
        let first = self.by_hash.get(&hash).copied().unwrap_or(ROOT);
        let mut at = first;
        while at != ROOT {
            let record = self.records.get(at as usize).copied().ok_or(Errno::ESTALE)?;
            if record.directory == directory && self.name_of(record) == name {
                return Ok(at);
            }
            at = record.next;
        }
        let start = u32::try_from(self.bytes.len()).map_err(|_| Errno::ENOMEM)?;
        let length = u8::try_from(name.len()).map_err(|_| Errno::ENAMETOOLONG)?;
        self.bytes.extend_from_slice(name);
        self.add(hash, Record { directory, start, length, next: first, was: UNSEEN })
    }

    fn add(&mut self, hash: u64, record: Record) -> io::Result<u32> {
        if self.bytes.len() + self.records.len() * OF_EACH > self.most {
            let why = "has more names than condatainer keeps of a directory; put them into an image";
            return Err(io::Error::new(io::ErrorKind::OutOfMemory, why));
        }
        let number = u32::try_from(self.records.len()).map_err(|_| Errno::ENOMEM)?;
        self.records.push(record);
        self.by_hash.insert(hash, number);
        Ok(number)
    }

    /// The number for what a name stands for now. Where that is another file than before it gets a new one, which it keeps.
    pub(super) fn number_of(&mut self, number: u32, is: Identity) -> io::Result<u32> {
        let is = self.mark(is);
        let (directory, name) = self.place(number)?;
        let newest = self.number(directory, &name)?;
        let record = self.records.get_mut(newest as usize).ok_or(Errno::ESTALE)?;
        match record.was {
            was if was != UNSEEN && was != is => {
                let hash = self.hasher.hash_one((directory, name.as_slice()));
                let next = self.by_hash.get(&hash).copied().unwrap_or(ROOT);
                let record = Record { next, was: is, ..*record };
                self.add(hash, record)
            }
            _ => {
                record.was = is;
                Ok(newest)
            }
        }
    }

    /// Whether a number stands for this file; one that nobody has looked at may.
    pub(super) fn is(&self, number: u32, file: Identity) -> bool {
        let record = self.records.get(number as usize);
        record.is_some_and(|record| record.was == UNSEEN || record.was == self.mark(file))
    }

    fn mark(&self, file: Identity) -> Mark {
        self.hasher.hash_one(file).max(UNSEEN + 1)
    }

    /// The directory of a number, and its name in there.
    pub(super) fn place(&self, number: u32) -> io::Result<(u32, Vec<u8>)> {
        let record = self.records.get(number as usize).copied().ok_or(Errno::ESTALE)?;
        Ok((record.directory, self.name_of(record).to_vec()))
    }

    /// Under which number a file is shown that has this one: all its names have the same, which is `several` from the first look on.
    pub(super) fn shown_as(&mut self, file: Identity, number: u32, several: bool) -> u32 {
        let mark = self.mark(file);
        if several {
            self.several.entry(mark).or_default();
        }
        let Some(known) = self.several.get_mut(&mark) else { return number };
        if known.len() < MOST_OTHERS && !known.contains(&number) {
            known.push(number);
        }
        known.first().copied().unwrap_or(number)
    }

    /// The other names of the file that a number was.
    pub(super) fn others(&self, number: u32) -> Vec<u32> {
        let known = self.records.get(number as usize).and_then(|record| self.several.get(&record.was));
        known.into_iter().flatten().copied().filter(|other| *other != number).collect()
    }

    fn name_of(&self, record: Record) -> &[u8] {
        let start = record.start as usize;
        self.bytes.get(start..start + usize::from(record.length)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(inode: u64) -> Identity {
        Identity { device: (0, 1), inode, since: (1, 0) }
    }

    #[test]
    fn a_name_keeps_its_number() {
        let mut names = Names::new();
        let (a, b) = (names.number(ROOT, b"a").unwrap(), names.number(ROOT, b"b").unwrap());
        let inner = names.number(a, b"a").unwrap();
        assert_eq!([a, b, inner], [1, 2, 3]);
        for _ in 0..2 {
            assert_eq!(names.number(a, b"a").unwrap(), inner);
            assert_eq!(names.number(ROOT, b"a").unwrap(), a);
        }
        assert_eq!(names.place(inner).unwrap(), (a, b"a".to_vec()));
        assert_eq!(names.place(9).unwrap_err().raw_os_error(), Some(Errno::ESTALE as i32));
    }

    #[test]
    fn what_has_taken_a_name_gets_a_number_of_its_own() {
        let mut names = Names::new();
        let first = names.number(ROOT, b"a").unwrap();
        assert_eq!(names.number_of(first, file(5)).unwrap(), first);
        let second = names.number_of(first, file(6)).unwrap();
        assert_ne!(first, second);
        assert_eq!([names.number(ROOT, b"a").unwrap(), names.number_of(first, file(6)).unwrap()], [second; 2]);
        assert!(names.is(first, file(5)) && !names.is(first, file(6)) && names.is(second, file(6)));
        assert_eq!(names.place(second).unwrap(), (ROOT, b"a".to_vec()));
    }

    #[test]
    fn a_number_that_is_used_again_is_another_file() {
        let mut names = Names::new();
        let first = names.number(ROOT, b"a").unwrap();
        names.number_of(first, file(5)).unwrap();
        let again = Identity { since: (2, 0), ..file(5) };
        assert!(!names.is(first, again) && names.number_of(first, again).unwrap() != first);
    }

    #[test]
    fn other_names_of_a_file_are_known() {
        let mut names = Names::new();
        let numbers = [b"a", b"b", b"c"].map(|name| names.number(ROOT, name).unwrap());
        for number in numbers {
            let newest = names.number_of(number, file(5)).unwrap();
            assert_eq!(names.shown_as(file(5), newest, true), numbers[0]);
        }
        assert_eq!(names.shown_as(file(5), numbers[2], false), numbers[0], "also when only one is left");
        assert_eq!(names.others(numbers[0]), numbers[1..]);
        let alone = names.number(ROOT, b"d").unwrap();
        assert_eq!((names.shown_as(file(6), alone, false), names.others(alone)), (alone, Vec::new()));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut names = Names { most: 10_000, ..Names::new() };
        let number = |names: &mut Names, n: u32| names.number(ROOT, &n.to_le_bytes());
        let kept = (0..1000).take_while(|n| number(&mut names, *n).is_ok()).count();
        assert!((100..200).contains(&kept), "{kept}");
        let error = number(&mut names, 5000).unwrap_err();
        assert_eq!((error.kind(), error.raw_os_error()), (io::ErrorKind::OutOfMemory, None));
        assert_eq!(number(&mut names, 0).unwrap(), 1, "what is known is known");
        names.number_of(1, file(5)).unwrap();
        assert!(names.number_of(1, file(6)).is_err(), "and so is what takes its name, without end");
    }

    #[test]
    fn names_with_one_hash_are_told_apart() {
        let mut names = Names::new();
        let numbers: Vec<u32> = (0..1000).map(|n: u32| names.number(ROOT, &n.to_le_bytes()).unwrap()).collect();
        // As if all had the same.
        names.by_hash.values_mut().for_each(|first| *first = 1000);
        for at in 1..names.records.len() {
            names.records[at].next = at as u32 - 1;
        }
        for (n, number) in numbers.iter().enumerate() {
            assert_eq!(names.number(ROOT, &(n as u32).to_le_bytes()).unwrap(), *number);
        }
    }
}
