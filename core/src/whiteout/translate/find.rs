//! Which whiteouts can be translated, and where their names stand.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;

use crate::chown::InoSet;
use crate::ext::raw::{Entries, block_count, flag};
use crate::ext::{ExtError, FileType, Node, Tree};
use crate::whiteout::{Meaning, meaning};

/// A name that is to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edit {
    /// Where its record begins, in bytes from the start of its block.
    pub(super) at: usize,
    /// What it becomes.
    pub(super) name: Vec<u8>,
}

/// Everything that is to be rewritten.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// By the number of the directory block on disk.
    pub(super) edits: BTreeMap<u64, Vec<Edit>>,
    /// Directories whose index would no longer fit their names.
    pub(super) indexed: BTreeSet<u32>,
    /// The files that become devices.
    pub(super) inodes: BTreeSet<u32>,
    /// Whiteouts that stay as they are.
    pub(super) left: u64,
}

/// A whiteout of one directory.
struct Candidate {
    ino: u32,
    block: u64,
    edit: Edit,
}

impl Findings {
    pub(super) fn of(tree: &Tree<'_, File>) -> Result<Self, ExtError> {
        let [upper, _] = tree.upper_and_work()?;
        let upper = upper.ok_or_else(|| ExtError::unsupported("a layout without a directory upper/"))?;
        let (mut found, mut pending, mut entered) = (Self::default(), vec![upper], InoSet::default());
        while let Some(ino) = pending.pop() {
            if entered.insert(ino) {
                found.look_into(tree, &tree.node(ino)?, &mut pending)?;
            }
        }
        Ok(found)
    }

    fn look_into(&mut self, tree: &Tree<'_, File>, dir: &Node, pending: &mut Vec<u32>) -> Result<(), ExtError> {
        let (mut names, mut candidates) = (BTreeSet::new(), Vec::new());
        for logical in 0..block_count(&tree.fs().sb, dir.inode()) {
            let (number, block) = tree.directory_block(dir, logical)?;
            for entry in Entries::of(&block, &tree.fs().sb) {
                let entry = entry?;
                if let Meaning::Hides(name) = meaning(entry.name) {
                    let edit = Edit { at: entry.at, name: name.to_vec() };
                    candidates.push(Candidate { ino: entry.ino, block: number, edit });
                } else if is_directory(tree, entry.ino, entry.name, entry.file_type)? {
                    pending.push(entry.ino);
                }
                names.insert(entry.name.to_vec());
            }
        }
        let before = self.inodes.len();
        candidates.into_iter().try_for_each(|candidate| self.judge(tree, candidate, &names))?;
        if dir.inode().has(flag::INDEX) && self.inodes.len() > before {
            self.indexed.insert(dir.ino);
        }
        Ok(())
    }

    /// Only what fuse-overlayfs itself makes is taken: an empty file with one name. A device is what a killed run left.
    fn judge(
        &mut self,
        tree: &Tree<'_, File>,
        candidate: Candidate,
        names: &BTreeSet<Vec<u8>>,
    ) -> Result<(), ExtError> {
        let node = tree.node(candidate.ino)?;
        let empty = node.kind == FileType::Regular && node.size == 0 && !node.inode().has_blocks(&tree.fs().sb);
        let ours = node.links == 1 && (empty || node.is_kernel_whiteout()) && !node.inode().has(flag::INLINE_DATA);
        let name = &candidate.edit.name;
        if ours && is_translatable(name) && !names.contains(name) && self.inodes.insert(candidate.ino) {
            self.edits.entry(candidate.block).or_default().push(candidate.edit);
        } else {
            self.left += 1;
        }
        Ok(())
    }
}

fn is_directory(tree: &Tree<'_, File>, ino: u32, name: &[u8], claimed: Option<FileType>) -> Result<bool, ExtError> {
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
