//! The walk through an image's upper directory, beside what lies below.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use super::changes::Changes;
use super::compare::Sides;
use super::entry::{Change, Entry, Facts};
use super::error::DiffError;
use super::summary::Totals;
use crate::overlay::lower::{Lower, LowerNode};
use crate::overlay::path::join;
use crate::overlay::upper::Names;
use condatainer_formats::ext::{ExtError, FileType, Ids, Node, Tree, Visit, Walk};
use condatainer_formats::overlayfs::{is_redirect, is_whiteout};

/// What is deleted is told up to so many times: names of a layer below take next to nothing there, so a small one could fill the
/// memory. What is added takes place in the image. Paths that are longer than so many bytes count by their length.
const MOST_DELETED: usize = 250_000;
const LONG_PATH: usize = 100;

/// The comparison under way.
pub(super) struct Comparison<'a, 'b> {
    sides: Sides<'a, 'b>,
    walk: Walk<Directory>,
    changes: Changes,
    /// Bytes of the paths that are told as deleted, and more for short ones.
    deleted: usize,
}

/// A directory of the image that is still to be entered.
struct Directory {
    path: Vec<u8>,
    /// Whether there is a directory below it with which it merges.
    merges: bool,
    /// Whether a whiteout of its own name hides what is below.
    hides: bool,
}

impl<'a, 'b> Comparison<'a, 'b> {
    pub(super) fn new(path: &'a Path, tree: &'a Tree<'b>, lower: &'a Lower, owner: Ids) -> Self {
        let sides = Sides { path, tree, lower, owner };
        Self { sides, walk: Walk::default(), changes: Changes::default(), deleted: 0 }
    }

    /// Everything from the directory `upper` on.
    pub(super) fn all(mut self, upper: u32) -> Result<Changes, DiffError> {
        self.walk.add(upper, Directory { path: Vec::new(), merges: true, hides: false });
        while let Some(Visit { ino, note: directory, is_first }) = self.walk.step() {
            if !is_first {
                return Err(self.ext(ExtError::corrupt("a directory has two names")));
            }
            self.enter(ino, &directory)?;
        }
        Ok(self.finish())
    }

    fn finish(mut self) -> Changes {
        self.changes.entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        link(&mut self.changes.entries);
        self.changes.totals = Totals::of(&self.changes.entries);
        self.changes
    }

    fn enter(&mut self, ino: u32, directory: &Directory) -> Result<(), DiffError> {
        let Names { mut real, hidden, opaque } = self.names(ino)?;
        // By inode, because that is how they lie on disk.
        real.sort_unstable();
        let (mut there, mut gone) = (BTreeSet::new(), BTreeSet::new());
        for (ino, name) in real {
            let node = self.node(ino)?;
            if is_whiteout(node.kind, node.device) {
                gone.insert(name);
            } else {
                self.meet(directory, &name, &node, hidden.contains(&name))?;
                there.insert(name);
            }
        }
        if !directory.merges {
            return Ok(());
        }
        if opaque || directory.hides {
            // All of them go, what is hidden by its own name among them. They may be many: no list is made.
            let lower = self.sides.lower;
            return lower.each_name(&directory.path, &mut |name| match there.contains(name) {
                true => Ok(()),
                false => self.delete(&join(&directory.path, name)),
            });
        }
        gone.extend(hidden);
        gone.difference(&there).try_for_each(|name| self.delete(&join(&directory.path, name)))
    }

    fn names(&mut self, directory: u32) -> Result<Names, DiffError> {
        let node = self.node(directory)?;
        let xattrs = self.sides.tree.xattrs(&node).map_err(|error| self.ext(error))?;
        self.changes.renamed_directories += u64::from(xattrs.iter().any(is_redirect));
        Names::of(self.sides.tree, &node, &xattrs).map_err(|error| self.ext(error))
    }

    /// Something that is there.
    fn meet(&mut self, directory: &Directory, name: &[u8], node: &Node, hides: bool) -> Result<(), DiffError> {
        let path = join(&directory.path, name);
        let before = if directory.merges { self.sides.lower.get(&path)? } else { None };
        let both = before.as_ref().is_some_and(|before| before.kind == FileType::Directory);
        match before {
            None => self.push(Change::Added, &path, None, Some(node)),
            Some(before) => self.change(&path, &before, node)?,
        }
        if node.kind == FileType::Directory {
            self.walk.add(node.ino, Directory { path, merges: both, hides });
        }
        Ok(())
    }

    fn change(&mut self, path: &[u8], before: &LowerNode, node: &Node) -> Result<(), DiffError> {
        let what = self.sides.compare(before, node)?;
        let directory = before.kind == FileType::Directory;
        if what.is_empty() {
            self.changes.copies.files += u64::from(!directory);
            self.changes.copies.bytes += now(node).bytes();
            return Ok(());
        }
        let below =
            (directory && node.kind != FileType::Directory).then(|| self.sides.lower.below(path)).transpose()?;
        self.push(Change::Changed, path, Some(before), Some(node));
        if let Some(entry) = self.changes.entries.last_mut() {
            (entry.what, entry.below) = (what, below);
        }
        Ok(())
    }

    /// Something that is hidden, if it is there at all.
    fn delete(&mut self, path: &[u8]) -> Result<(), DiffError> {
        let Some(before) = self.sides.lower.get(path)? else { return Ok(()) };
        self.deleted += path.len().max(LONG_PATH);
        if self.deleted > MOST_DELETED * LONG_PATH {
            return Err(self.sides.lower.too_many_deleted(&before, MOST_DELETED).into());
        }
        let below = (before.kind == FileType::Directory).then(|| self.sides.lower.below(path)).transpose()?;
        self.push(Change::Deleted, path, Some(&before), None);
        if let Some(entry) = self.changes.entries.last_mut() {
            entry.below = below;
        }
        Ok(())
    }

    fn push(&mut self, change: Change, path: &[u8], before: Option<&LowerNode>, after: Option<&Node>) {
        let shared = after.filter(|node| node.links > 1 && node.kind != FileType::Directory).map(|node| node.ino);
        self.changes.entries.push(Entry {
            path: [b"/", path].concat(),
            change,
            before: before.map(|node| Facts::new(node.kind, node.size, node.mode, node.ids)),
            after: after.map(now),
            what: Vec::new(),
            below: None,
            hard_link_to: None,
            shared,
        });
    }

    fn node(&self, ino: u32) -> Result<Node, DiffError> {
        self.sides.tree.node(ino).map_err(|error| self.ext(error))
    }

    fn ext(&self, error: ExtError) -> DiffError {
        DiffError::ext(self.sides.path, error)
    }
}

fn now(node: &Node) -> Facts {
    Facts::new(node.kind, node.size, node.mode, node.ids)
}

/// Says of every further name of a file which is the first.
fn link(entries: &mut [Entry]) {
    let mut first: HashMap<u32, Vec<u8>> = HashMap::new();
    for entry in entries {
        let Some(ino) = entry.shared else { continue };
        match first.get(&ino) {
            Some(first) => entry.hard_link_to = Some(first.clone()),
            None => {
                first.insert(ino, entry.path.clone());
            }
        }
    }
}
