//! Which whiteouts can be translated, and where their names stand.

use std::collections::{BTreeMap, BTreeSet};

use crate::overlay::upper::is_users;
use condatainer_formats::ext::raw::{Entries, block_count, flag};
use condatainer_formats::ext::{ExtError, FileType, Ids, Node, Tree, Walk};
use condatainer_formats::overlayfs::{Meaning, is_of_fuse, is_opaque_for_everybody, is_whiteout, meaning};

/// fuse-overlayfs takes its own mark `.wh..wh..opq` for a whiteout of `.wh..opq`, and then makes a device of that name.
const MISUNDERSTOOD_MARK: &[u8] = b".wh..opq";

/// What is to become of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// It becomes this one, and its file a device.
    Rename(Vec<u8>),
    /// It is taken away, with its file.
    Remove,
}

/// A name that is to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edit {
    /// The inode behind it.
    pub ino: u32,
    /// Where its record begins, in bytes from the start of its block.
    pub at: usize,
    pub(super) change: Change,
}

/// The names that are to change in one block of a directory.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) edits: Vec<Edit>,
    /// The directory, and which of its blocks this is.
    pub(super) place: (u32, u64),
    /// Where the number of this block stands, in bytes within the file system, if it is to be moved.
    pub(super) pointer: Option<u64>,
}

impl Block {
    /// Whether a name in it becomes another.
    pub(super) fn renames(&self) -> bool {
        self.edits.iter().any(|edit| matches!(edit.change, Change::Rename(_)))
    }
}

/// Everything that is to be rewritten.
#[derive(Debug)]
pub(super) struct Findings {
    /// Owner of `upper`.
    pub(super) owner: Ids,
    /// By the number of the directory block on disk.
    pub(super) blocks: BTreeMap<u64, Block>,
    /// Directories whose index would no longer fit their names.
    pub(super) indexed: BTreeSet<u32>,
    /// The files that become devices.
    pub(super) devices: BTreeSet<u32>,
    /// The files that go.
    pub(super) removed: BTreeSet<u32>,
    /// Whiteouts that stay as they are.
    pub(super) left: u64,
    /// Free blocks to move others to.
    pub(super) free: Vec<u64>,
}

/// A name of one directory that begins as those of fuse-overlayfs do.
struct Candidate {
    ino: u32,
    block: u64,
    place: (u32, u64),
    at: usize,
    name: Vec<u8>,
}

/// A directory, as far as it decides about the names in it.
struct Directory {
    opaque: bool,
    names: BTreeSet<Vec<u8>>,
}

impl Findings {
    pub(super) fn of(tree: &Tree<'_>) -> Result<Self, ExtError> {
        let upper = tree.upper()?;
        let mut found = Self::none(upper.ids);
        let mut walk = Walk::from(upper.ino, ());
        while let Some(visit) = walk.step() {
            if visit.is_first {
                found.look_into(tree, &tree.node(visit.ino)?, &mut walk)?;
            }
        }
        Ok(found)
    }

    pub(super) fn none(owner: Ids) -> Self {
        let (blocks, indexed) = (BTreeMap::new(), BTreeSet::new());
        let (devices, removed) = (BTreeSet::new(), BTreeSet::new());
        Self { owner, blocks, indexed, devices, removed, left: 0, free: Vec::new() }
    }

    fn look_into(&mut self, tree: &Tree<'_>, dir: &Node, walk: &mut Walk<()>) -> Result<(), ExtError> {
        let (mut names, mut candidates) = (BTreeSet::new(), Vec::new());
        for logical in 0..block_count(&tree.fs().sb, dir.inode()) {
            let (number, block) = tree.directory_block(dir, logical)?;
            for entry in Entries::of(&block, &tree.fs().sb) {
                let entry = entry?;
                if meaning(entry.name) != Meaning::Itself && !is_users(tree, entry.ino) {
                    let name = entry.name.to_vec();
                    let place = (dir.ino, logical);
                    candidates.push(Candidate { ino: entry.ino, block: number, place, at: entry.at, name });
                } else if is_directory(tree, entry.ino, entry.name, entry.file_type)? {
                    walk.add(entry.ino, ());
                }
                names.insert(entry.name.to_vec());
            }
        }
        if candidates.is_empty() {
            return Ok(());
        }
        let opaque = tree.xattrs(dir)?.iter().any(is_opaque_for_everybody);
        let (directory, before) = (Directory { opaque, names }, self.devices.len());
        candidates.into_iter().try_for_each(|candidate| self.judge(tree, candidate, &directory))?;
        if dir.inode().has(flag::INDEX) && self.devices.len() > before {
            self.indexed.insert(dir.ino);
        }
        Ok(())
    }

    /// Only what fuse-overlayfs itself makes is taken: an empty file, or a device 0/0, with one name. A device is also what a killed
    /// run left.
    fn judge(&mut self, tree: &Tree<'_>, candidate: Candidate, directory: &Directory) -> Result<(), ExtError> {
        let node = tree.node(candidate.ino)?;
        let bare = is_whiteout(node.kind, node.device) || !node.inode().has_blocks(&tree.fs().sb);
        let ours = is_of_fuse(&node) && bare && !node.inode().has(flag::INLINE_DATA);
        let plain = ours && !node.has_attribute_block();
        match becomes(&candidate.name, directory) {
            Some(Change::Remove) if plain => self.take(candidate, Change::Remove),
            Some(Change::Rename(name)) if ours => self.take(candidate, Change::Rename(name)),
            _ => self.left += 1,
        }
        Ok(())
    }

    /// An inode that a damaged directory names twice is changed once.
    fn take(&mut self, candidate: Candidate, change: Change) {
        let inodes = match change {
            Change::Rename(_) => &mut self.devices,
            Change::Remove => &mut self.removed,
        };
        if inodes.insert(candidate.ino) {
            let none = || Block { edits: Vec::new(), place: candidate.place, pointer: None };
            let block = self.blocks.entry(candidate.block).or_insert_with(none);
            block.edits.push(Edit { ino: candidate.ino, at: candidate.at, change });
        }
    }
}

/// What is to become of a name; nothing where it has to stay.
fn becomes(name: &[u8], directory: &Directory) -> Option<Change> {
    match meaning(name) {
        Meaning::Opaque => directory.opaque.then_some(Change::Remove),
        Meaning::Hides(_) if name == MISUNDERSTOOD_MARK => directory.opaque.then_some(Change::Remove),
        Meaning::Hides(hidden) => {
            let free = is_translatable(hidden) && !directory.names.contains(hidden);
            free.then(|| Change::Rename(hidden.to_vec()))
        }
        Meaning::Itself => None,
    }
}

fn is_directory(tree: &Tree<'_>, ino: u32, name: &[u8], claimed: Option<FileType>) -> Result<bool, ExtError> {
    let kind = match claimed {
        _ if name == b"." || name == b".." => return Ok(false),
        Some(kind) => kind,
        None => tree.node(ino)?.kind,
    };
    Ok(kind == FileType::Directory)
}

/// Not a name that no device can have, or that would be read as a whiteout again.
fn is_translatable(name: &[u8]) -> bool {
    meaning(name) == Meaning::Itself && name != b"." && name != b".."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_of_names() {
        let directory = |opaque| Directory { opaque, names: [b"both".to_vec()].into() };
        let becomes = |name: &[u8], opaque| becomes(name, &directory(opaque));
        assert_eq!(becomes(b".wh.gone", false), Some(Change::Rename(b"gone".to_vec())));
        assert_eq!(becomes(b".wh.both", false), None);
        assert_eq!(becomes(b".wh..wh.odd", false), None);
        assert_eq!(becomes(b".wh...", false), None);
        assert_eq!(becomes(b".wh..wh..opq", true), Some(Change::Remove));
        assert_eq!(becomes(b".wh..wh..opq", false), None);
        assert_eq!(becomes(b".wh..opq", true), Some(Change::Remove));
    }
}
