//! What the kernel has of the layers, and what of them was copied into the image.
//!
//! By a number alone nobody could tell where something has to be copied to, so it is kept in which directories it was found, for as long as
//! the kernel has it. What was copied keeps the number that the kernel has it by.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::given::Given;

/// So many copies keep their numbers also when the kernel has forgotten them: they take some 100 bytes each.
const MOST_COPIES: usize = 100_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Known {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    given: Given,
    /// By the layers' numbers: what is not as they have it.
    changed: HashMap<u64, Changed>,
    /// By the inodes that they were copied to.
    copies: HashMap<u32, u64>,
    /// In which other directories files were found that have several names.
    others: HashMap<u64, Vec<u64>>,
}

/// Something of the layers that was changed.
#[derive(Debug, Clone, Copy, Default)]
struct Changed {
    /// How many of its names are not the layers' any more: they are the image's, or gone.
    gone: u32,
    /// The inode that it was copied to; 0 if it was not.
    copy: u32,
    /// A directory of which the image has all.
    is_whole: bool,
    /// It was copied, and has several names in the layers.
    has_several: bool,
    /// The kernel may know names of it by now that are still the layers' alone.
    has_new_names: bool,
}

/// Something that the kernel has no more.
pub(super) struct Forgotten {
    /// How many of its names are not the layers' any more.
    pub(super) gone: u32,
    /// The inode that it was copied to.
    pub(super) copy: Option<u32>,
    /// It is a directory of which the image has all.
    pub(super) is_whole: bool,
    /// So many copies are known that none is to be known without need.
    pub(super) are_many: bool,
}

impl State {
    fn changed(&self, number: u64) -> Changed {
        self.changed.get(&number).copied().unwrap_or_default()
    }

    fn change(&mut self, number: u64) -> &mut Changed {
        self.changed.entry(number).or_default()
    }

    fn knows(&self, number: u64) -> bool {
        self.given.get(number).is_some() || self.changed.contains_key(&number)
    }
}

impl Known {
    /// The kernel is given something that was found in a directory.
    pub(super) fn is_given(&self, number: u64, parent: u64) {
        let mut state = self.state.lock();
        let before = state.given.add(number, parent);
        if let Some(changed) = state.changed.get_mut(&number) {
            changed.has_new_names |= changed.copy != 0;
        }
        if before != 0 && before != parent {
            let others = state.others.entry(number).or_default();
            others.retain(|other| *other != parent && *other != before);
            others.push(before);
        }
    }

    /// The kernel is given once more what it has, or what was copied.
    pub(super) fn is_given_again(&self, number: u64) {
        self.state.lock().given.add_again(number);
    }

    /// The directories that something may be in, the last one first. Those that the kernel has forgotten are left out: it may have a file that has
    /// several names by another one, and what is known of them would have to be found anew.
    pub(super) fn parents(&self, number: u64) -> Vec<u64> {
        let state = self.state.lock();
        let others = state.others.get(&number).into_iter().flatten().rev().copied();
        state.given.get(number).into_iter().chain(others).filter(|parent| state.knows(*parent)).collect()
    }

    /// The inode that something was copied to.
    pub(super) fn copy(&self, number: u64) -> Option<u32> {
        self.state.lock().changed.get(&number).map(|changed| changed.copy).filter(|ino| *ino != 0)
    }

    /// What was copied to an inode.
    pub(super) fn original(&self, ino: u32) -> Option<u64> {
        self.state.lock().copies.get(&ino).copied()
    }

    /// Something was copied to an inode, which stays in use for as long as this is known.
    pub(super) fn is_copied(&self, number: u64, ino: u32) {
        let mut state = self.state.lock();
        state.change(number).copy = ino;
        state.copies.insert(ino, number);
    }

    /// What was copied has several names in the layers.
    pub(super) fn note_several(&self, number: u64) {
        self.state.lock().change(number).has_several = true;
    }

    pub(super) fn has_several(&self, number: u64) -> bool {
        self.state.lock().changed(number).has_several
    }

    /// Names of a copy may be the layers' alone.
    pub(super) fn note_new_names(&self, number: u64) {
        self.state.lock().change(number).has_new_names = true;
    }

    /// Whether that is so; it is asked for once.
    pub(super) fn takes_new_names(&self, number: u64) -> bool {
        let mut state = self.state.lock();
        state.changed.get_mut(&number).is_some_and(|changed| std::mem::take(&mut changed.has_new_names))
    }

    /// One of its names is not the layers' any more.
    pub(super) fn loses_name(&self, number: u64) {
        let mut state = self.state.lock();
        let changed = state.change(number);
        changed.gone = changed.gone.saturating_add(1);
    }

    /// How many are not.
    pub(super) fn gone(&self, number: u64) -> u32 {
        self.state.lock().changed(number).gone
    }

    /// The image has all of a directory.
    pub(super) fn note_whole(&self, number: u64) {
        self.state.lock().change(number).is_whole = true;
    }

    pub(super) fn is_whole(&self, number: u64) -> bool {
        self.state.lock().changed(number).is_whole
    }

    /// The kernel has something so often less. Once it has it no more, `is_needed` says whether it is to be known on. Returns the inode that it
    /// was copied to, if it is not.
    pub(super) fn forget(&self, number: u64, count: u64, is_needed: impl FnOnce(&Forgotten) -> bool) -> Option<u32> {
        let mut state = self.state.lock();
        if !state.knows(number) {
            return None;
        }
        let is_had = state.given.take(number, count);
        let Changed { gone, copy, is_whole, .. } = state.changed(number);
        let copy = Some(copy).filter(|ino| *ino != 0);
        let forgotten = Forgotten { gone, copy, is_whole, are_many: state.copies.len() > MOST_COPIES };
        if is_had || is_needed(&forgotten) {
            return None;
        }
        state.given.remove(number);
        state.changed.remove(&number);
        state.others.remove(&number);
        if let Some(ino) = copy {
            state.copies.remove(&ino);
        }
        copy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_copied_keeps_its_number_until_it_is_forgotten() {
        let known = Known::default();
        known.is_given(7, 3);
        known.is_given(7, 4);
        known.is_given(7, 3);
        assert_eq!((known.parents(7), known.parents(8)), (vec![], vec![]), "the kernel has none of them");
        known.is_given(3, 1);
        known.is_given(4, 1);
        assert_eq!(known.parents(7), [3, 4]);
        known.forget(3, 1, |_| false);
        assert_eq!(known.parents(7), [4]);
        known.is_copied(7, 12);
        known.loses_name(7);
        assert_eq!((known.copy(7), known.original(12), known.gone(7)), (Some(12), Some(7), 1));
        assert_eq!(known.forget(7, 2, |_| panic!("the kernel has it")), None);
        assert_eq!(known.forget(7, 1, |it| (it.gone, it.copy, it.are_many) == (1, Some(12), false)), None);
        assert_eq!(known.forget(7, 1, |_| false), Some(12));
        assert_eq!((known.copy(7), known.original(12), known.parents(7)), (None, None, vec![]));
    }
}
