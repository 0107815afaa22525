//! The way through a tree: depth first, the directory that was added last comes first, and each is entered once.
//!
//! Nothing here reads; the caller looks into each directory that comes, and adds what it finds there. A directory that contains itself, or
//! has two names, so costs nothing but a look at a number. What waits takes as much memory as the caller notes about it.

use crate::ext::inode::InoSet;

/// The directories that are still to be entered, with what the caller notes about each.
#[derive(Debug)]
pub struct Walk<T> {
    pending: Vec<(u32, T)>,
    entered: InoSet,
}

/// A directory whose turn it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visit<T> {
    /// Its inode number.
    pub ino: u32,
    /// What was noted about it.
    pub note: T,
    /// Whether it comes for the first time. Otherwise it has two names, which only damage explains, or malice.
    pub is_first: bool,
}

impl<T> Default for Walk<T> {
    fn default() -> Self {
        Self { pending: Vec::new(), entered: InoSet::default() }
    }
}

impl<T> Walk<T> {
    /// Begins at directory `ino`.
    #[must_use]
    pub fn from(ino: u32, note: T) -> Self {
        Self { pending: vec![(ino, note)], ..Self::default() }
    }

    /// Directory `ino` is to be entered, before all that wait already.
    pub fn add(&mut self, ino: u32, note: T) {
        self.pending.push((ino, note));
    }

    /// The next directory; none at the end.
    pub fn step(&mut self) -> Option<Visit<T>> {
        let (ino, note) = self.pending.pop()?;
        Some(Visit { ino, note, is_first: self.entered.insert(ino) })
    }

    /// All directories that were entered.
    #[must_use]
    pub fn into_entered(self) -> InoSet {
        self.entered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_comes_first_and_is_known_again() {
        let mut walk = Walk::from(2, "root");
        assert_eq!(walk.step(), Some(Visit { ino: 2, note: "root", is_first: true }));
        walk.add(12, "a");
        walk.add(13, "b");
        walk.add(12, "a again");
        let order: Vec<_> = std::iter::from_fn(|| walk.step().map(|visit| (visit.note, visit.is_first))).collect();
        assert_eq!(order, [("a again", true), ("b", true), ("a", false)]);
        let entered = walk.into_entered();
        assert!(entered.contains(2) && entered.contains(13) && !entered.contains(14));
    }
}
