//! The search for whiteouts in a whole image.

use std::ops::ControlFlow;
use std::time::Instant;

use super::{Meaning, is_opaque, meaning};
use crate::chown::InoSet;
use crate::ext::{ExtError, FileType, Met, ReadAt, Tree};

/// What an image has of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kinds {
    /// Files `.wh.NAME`.
    pub fuse: u64,
    /// Directories that are opaque by `.wh..wh..opq` or an attribute; in a user namespace only fuse-overlayfs honours them.
    pub opaque: u64,
    /// Devices 0/0, which everybody understands.
    pub kernel: u64,
}

impl Kinds {
    /// The word of the contract: `none`, `fuse`, `kernel` or `mixed`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match (self.needs_fuse(), self.kernel > 0) {
            (false, false) => "none",
            (true, false) => "fuse",
            (false, true) => "kernel",
            (true, true) => "mixed",
        }
    }

    /// Whether a kernel overlay would show something that is deleted.
    #[must_use]
    pub fn needs_fuse(&self) -> bool {
        self.fuse > 0 || self.opaque > 0
    }
}

/// When to end a search before its natural end.
#[derive(Debug, Clone, Copy, Default)]
pub struct Until {
    /// At the first whiteout that a kernel overlay would not honour.
    pub first: bool,
    /// At this time.
    pub deadline: Option<Instant>,
}

/// Counts the whiteouts in `upper`; `None` when the time was over before the end.
///
/// # Errors
/// A tree that cannot be read, or has no `upper`.
pub fn scan<R: ReadAt + ?Sized>(tree: &Tree<'_, R>, until: Until) -> Result<Option<Kinds>, ExtError> {
    let [upper, _] = tree.upper_and_work()?;
    let upper = upper.ok_or_else(|| ExtError::unsupported("a layout without a directory upper/"))?;
    let mut search = Search { tree, kinds: Kinds::default(), pending: vec![upper], entered: InoSet::default() };
    while let Some(ino) = search.pending.pop() {
        search.enter(ino)?;
        if until.first && search.kinds.needs_fuse() {
            break;
        }
        if until.deadline.is_some_and(|deadline| Instant::now() > deadline) {
            return Ok(None);
        }
    }
    Ok(Some(search.kinds))
}

struct Search<'a, 'b, R: ?Sized> {
    tree: &'a Tree<'b, R>,
    kinds: Kinds,
    pending: Vec<u32>,
    entered: InoSet,
}

impl<R: ReadAt + ?Sized> Search<'_, '_, R> {
    fn enter(&mut self, ino: u32) -> Result<(), ExtError> {
        if !self.entered.insert(ino) {
            return Ok(());
        }
        let (tree, directory) = (self.tree, self.tree.node(ino)?);
        let (mut opaque, mut failed) = (tree.xattrs(&directory)?.iter().any(is_opaque), None);
        let _ = tree.each_name(&directory, &mut |met| match self.meet(met) {
            Ok(marks) => {
                opaque |= marks;
                ControlFlow::Continue(())
            }
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        })?;
        self.kinds.opaque += u64::from(opaque);
        failed.map_or(Ok(()), Err)
    }

    /// True when the name makes its directory opaque.
    fn meet(&mut self, met: Met<'_>) -> Result<bool, ExtError> {
        match meaning(met.name) {
            Meaning::Opaque => return Ok(true),
            Meaning::Hides(_) => self.kinds.fuse += 1,
            Meaning::Itself => self.look(met)?,
        }
        Ok(false)
    }

    /// Only directories and devices need their inode; the other kinds are believed to be what the directory claims.
    fn look(&mut self, met: Met<'_>) -> Result<(), ExtError> {
        match met.kind {
            Some(FileType::Directory) => self.pending.push(met.ino),
            Some(FileType::CharDevice) | None => {
                let node = self.tree.node(met.ino)?;
                self.kinds.kernel += u64::from(node.is_kernel_whiteout());
                self.pending.extend((node.kind == FileType::Directory).then_some(met.ino));
            }
            Some(_) => {}
        }
        Ok(())
    }
}
