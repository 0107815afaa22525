//! The names of one directory, in an order that stays the same while names come and go.
//!
//! A name's place follows from its hash, as on ext4. So one search tree serves to find a name and to go on with a listing, and a
//! program that renames what it lists comes to an end: a place at the end for each new name would show it the same file again and again.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

use nix::errno::Errno;

use crate::serve::tree::Answer;

/// Names with the same hash lie next to each other; so many of them fit.
const SAME: u64 = 1 << 8;
/// The longest name.
const MOST: usize = 255;

/// A directory of nodes.
#[derive(Debug)]
pub(super) struct Directory<N> {
    names: BTreeMap<u64, Name<N>>,
    /// The directory that it is in; none for the top ones.
    pub(super) parent: Option<u64>,
    /// It has been removed, and takes no names any more.
    pub(super) gone: bool,
}

/// A name and what it stands for.
#[derive(Debug)]
pub(super) struct Name<N> {
    pub(super) name: Box<[u8]>,
    pub(super) node: N,
}

impl<N: Clone> Directory<N> {
    pub(super) fn new(parent: Option<u64>) -> Self {
        Self { names: BTreeMap::new(), parent, gone: false }
    }

    pub(super) fn get(&self, hasher: &RandomState, name: &[u8]) -> Option<&N> {
        self.at(self.find(hasher, name)?)
    }

    /// The place of a name that is there.
    pub(super) fn find(&self, hasher: &RandomState, name: &[u8]) -> Option<u64> {
        let begin = begin(hasher, name);
        self.names.range(begin..begin + SAME).find(|(_, entry)| *entry.name == *name).map(|(&place, _)| place)
    }

    pub(super) fn at(&self, place: u64) -> Option<&N> {
        self.names.get(&place).map(|entry| &entry.node)
    }

    /// A place for a name that is not there.
    pub(super) fn place(&self, hasher: &RandomState, name: &[u8]) -> Answer<u64> {
        check(name)?;
        if self.gone {
            return Err(Errno::ENOENT);
        }
        let begin = begin(hasher, name);
        let mut free = begin;
        for (&place, entry) in self.names.range(begin..begin + SAME) {
            if *entry.name == *name {
                return Err(Errno::EEXIST);
            }
            free += u64::from(place == free);
        }
        if free < begin + SAME { Ok(free) } else { Err(Errno::ENOSPC) }
    }

    pub(super) fn put(&mut self, place: u64, name: &[u8], node: N) {
        self.names.insert(place, Name { name: name.into(), node });
    }

    /// Lets a name stand for something else.
    pub(super) fn change(&mut self, place: u64, node: N) {
        if let Some(entry) = self.names.get_mut(&place) {
            entry.node = node;
        }
    }

    pub(super) fn take(&mut self, place: u64) {
        self.names.remove(&place);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub(super) fn from(&self, place: u64) -> impl Iterator<Item = (u64, &Name<N>)> {
        self.names.range(place..).map(|(&place, name)| (place, name))
    }
}

fn begin(hasher: &RandomState, name: &[u8]) -> u64 {
    // 54 bits of the hash: no place is negative for those who take it as signed, and there is room for more above. 0 is the beginning.
    ((hasher.hash_one(name) >> 10) << 8).max(SAME)
}

fn check(name: &[u8]) -> Answer<()> {
    match name {
        b"" | b"." | b".." => Err(Errno::EINVAL),
        _ if name.len() > MOST => Err(Errno::ENAMETOOLONG),
        _ if name.contains(&b'/') || name.contains(&0) => Err(Errno::EINVAL),
        _ => Ok(()),
    }
}
