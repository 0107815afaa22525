//! The search for whiteouts in a whole image.

use std::ops::ControlFlow;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::paths::pack;
use crate::overlay::path::join;
use crate::overlay::upper::is_users;
use condatainer_formats::ext::{Entry, ExtError, FileType, Tree, Walk, Xattr};
use condatainer_formats::overlayfs::{Meaning, is_of_fuse, is_opaque, is_whiteout, meaning};

/// Paths of opaque directories are gathered up to this many bytes.
const MOST_PATHS: usize = 64 << 10;

/// What an image has of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Kinds {
    /// Files `.wh.NAME` and `.wh..wh..opq` of fuse-overlayfs: to the kernel's overlay they are ordinary files.
    pub fuse: u64,
    /// Files with such names that fuse-overlayfs did not make, but takes for its own.
    pub ordinary: u64,
    /// Directories that are opaque, by a mark `.wh..wh..opq` or by an attribute. In a user namespace only fuse-overlayfs knows
    /// that; it makes every new directory opaque, so what counts is whether the layers below have one of that name.
    pub opaque: u64,
    /// Devices 0/0, which everybody understands.
    pub kernel: u64,
}

impl Kinds {
    /// The word of the contract: `none`, `fuse`, `kernel` or `mixed`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match (self.fuse > 0, self.kernel > 0) {
            (false, false) => "none",
            (true, false) => "fuse",
            (false, true) => "kernel",
            (true, true) => "mixed",
        }
    }
}

/// All that a search finds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// How many of each kind.
    pub kinds: Kinds,
    /// The opaque directories that lie below no other, as paths from `upper`; `None` where they are too many to be remembered.
    pub opaque: Option<Vec<Vec<u8>>>,
}

/// Counts the whiteouts in `upper`; `None` when `deadline` came before the end.
///
/// # Errors
/// A tree that cannot be read, or has no `upper`.
pub fn scan(tree: &Tree<'_>, deadline: Option<Instant>) -> Result<Option<Found>, ExtError> {
    let found = scan_with(tree, deadline, |xattrs| xattrs.iter().any(is_opaque))?;
    // Whether it is remembered must not decide what a start does, so what it has no room for counts as unknown at once.
    let memorable = |mut paths: Vec<Vec<u8>>| pack(&mut paths).map(|_| paths);
    Ok(found.map(|found| Found { opaque: found.opaque.and_then(memorable), ..found }))
}

/// As [`scan`], where `opaque` says which attributes of a directory count.
pub(super) fn scan_with(
    tree: &Tree<'_>,
    deadline: Option<Instant>,
    opaque: fn(&[Xattr]) -> bool,
) -> Result<Option<Found>, ExtError> {
    let upper = tree.upper()?.ino;
    let found = Found { opaque: Some(Vec::new()), ..Found::default() };
    let mut search = Search { tree, opaque, found, bytes: 0, walk: Walk::from(upper, Some(Vec::new())) };
    while let Some(visit) = search.walk.step() {
        if visit.is_first {
            search.enter(visit.ino, visit.note)?;
        }
        if deadline.is_some_and(|deadline| Instant::now() > deadline) {
            return Ok(None);
        }
    }
    Ok(Some(search.found))
}

/// A directory's path from `upper`; nobody asks for it below an opaque one.
type Path = Option<Vec<u8>>;

struct Search<'a, 'b> {
    tree: &'a Tree<'b>,
    opaque: fn(&[Xattr]) -> bool,
    found: Found,
    /// Of the paths in `found`.
    bytes: usize,
    walk: Walk<Path>,
}

impl Search<'_, '_> {
    fn enter(&mut self, ino: u32, path: Path) -> Result<(), ExtError> {
        let (tree, directory) = (self.tree, self.tree.node(ino)?);
        let (mut opaque, mut failed) = ((self.opaque)(&tree.xattrs(&directory)?), None);
        let mut below = Vec::new();
        let _ = tree.each_name(&directory, &mut |entry| match self.meet(entry, &mut below) {
            Ok(marks) => {
                opaque |= marks;
                ControlFlow::Continue(())
            }
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        })?;
        self.found.kinds.opaque += u64::from(opaque);
        self.queue(below, path, opaque);
        failed.map_or(Ok(()), Err)
    }

    /// Directories are entered later; their paths count until one of them is opaque.
    fn queue(&mut self, below: Vec<(Vec<u8>, u32)>, path: Path, opaque: bool) {
        let path = if opaque { path.and_then(|path| self.end_at(path)) } else { path };
        let inner = |name: Vec<u8>| path.as_ref().map(|path| join(path, &name));
        below.into_iter().for_each(|(name, ino)| self.walk.add(ino, inner(name)));
    }

    fn end_at(&mut self, path: Vec<u8>) -> Path {
        self.bytes += path.len() + 1;
        match &mut self.found.opaque {
            Some(all) if self.bytes <= MOST_PATHS => all.push(path),
            _ => self.found.opaque = None,
        }
        None
    }

    /// True when the name makes its directory opaque.
    fn meet(&mut self, entry: Entry<'_>, below: &mut Vec<(Vec<u8>, u32)>) -> Result<bool, ExtError> {
        let meaning = match meaning(entry.name) {
            Meaning::Opaque | Meaning::Hides(_) if is_users(self.tree, entry.ino) => Meaning::Itself,
            meaning => meaning,
        };
        match meaning {
            Meaning::Opaque => {
                self.count(entry);
                return Ok(true);
            }
            Meaning::Hides(_) => self.count(entry),
            Meaning::Itself => match self.kind(entry)? {
                FileType::Directory => below.push((entry.name.to_vec(), entry.ino)),
                FileType::CharDevice => {
                    let node = self.tree.node(entry.ino)?;
                    self.found.kinds.kernel += u64::from(is_whiteout(node.kind, node.device));
                }
                _ => {}
            },
        }
        Ok(false)
    }

    /// A name of fuse-overlayfs's kind. One that leads nowhere may be its, too.
    fn count(&mut self, entry: Entry<'_>) {
        let of_fuse = self.tree.node(entry.ino).map_or(true, |node| is_of_fuse(&node));
        self.found.kinds.fuse += u64::from(of_fuse);
        self.found.kinds.ordinary += u64::from(!of_fuse);
    }

    /// What the directory claims is believed; only where it claims nothing the inode is read.
    fn kind(&self, entry: Entry<'_>) -> Result<FileType, ExtError> {
        entry.file_type.map_or_else(|| self.tree.node(entry.ino).map(|node| node.kind), Ok)
    }
}
