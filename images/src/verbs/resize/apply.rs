//! A resize that is decided, done on a copy or on the image itself.

use std::fs::File;
use std::io;
use std::path::Path;

use super::error::ResizeError;
use super::report::{Report, Stage};
use super::shape::Shape;
use super::size::{self, Wish};
use super::tools::Tools;
use crate::acquire::LockedImage;
use crate::replace::{Group, Replacement};
use crate::sparse::{self, Copied};
use crate::system::file_size_limit;
use crate::system::stop::Stop;
use crate::temporary::Kind;
use crate::tools::ToolError;

/// So often the size is corrected when less is free than was foreseen.
const ROUNDS: u32 = 5;

/// What is decided.
pub(super) struct Decided<'a> {
    pub(super) path: &'a Path,
    pub(super) locked: &'a LockedImage,
    pub(super) wish: Wish,
    pub(super) before: Shape,
    /// The new number of blocks.
    pub(super) blocks: u64,
    pub(super) stop: &'a Stop,
}

/// Why the work on a file ended early.
enum Trouble {
    Io(io::Error),
    /// Before anything was resized.
    Damaged(ToolError),
    Tool(ToolError),
    Lost(String),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Decided<'_> {
    pub(super) fn apply(
        self,
        in_place: bool,
        report: Report,
        tell: &mut dyn FnMut(Stage),
    ) -> Result<Report, ResizeError> {
        let size = self.blocks * u64::from(self.before.sb.block_size);
        if let Some(limit) = file_size_limit::get().filter(|limit| size > *limit) {
            return Err(ResizeError::FileLimit { path: self.path.into(), size, limit });
        }
        if in_place { self.in_place(report, tell) } else { self.by_copy(report, tell) }
    }

    fn by_copy(&self, report: Report, tell: &mut dyn FnMut(Stage)) -> Result<Report, ResizeError> {
        let no_copy = |error| ResizeError::replace(self.path, error);
        let copy = Replacement::beside(self.locked, Kind::Resized, Group::Same).map_err(no_copy)?;
        let mut tell_copied = |done, total| {
            tell(Stage::Copying(done, total));
            if self.stop.is_asked() { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
        };
        let copied = copy.fill(self.locked, self.tables(), &mut tell_copied).map_err(no_copy)?;
        let tools = Tools::on_copy(copy.draft(), self.stop).map_err(|e| ResizeError::io(self.path, e))?;
        let (after, repaired) =
            self.work(copy.draft().file(), &tools, tell).map_err(|trouble| self.explain(trouble))?;
        if self.stop.is_asked() {
            return Err(ResizeError::Interrupted { path: self.path.into() });
        }
        // Locked until the report is made.
        let _taken = copy.take_place(self.locked, false).map_err(no_copy)?;
        Ok(Report { copied, repaired: report.repaired || repaired, ..finished(report, &after) })
    }

    /// Not safe to be cut off, in either direction: resize2fs marks the file system as damaged, moves data and tables, and
    /// writes descriptors and superblock at its end. When it was killed at random instants (250 times growing, 350 times
    /// shrinking) `e2fsck -p` was enough all but a dozen times, `e2fsck -y` always; nothing was lost, but nothing in it promises
    /// that, least of all when the disk decides what is written first.
    fn in_place(&self, report: Report, tell: &mut dyn FnMut(Stage)) -> Result<Report, ResizeError> {
        tell(Stage::InPlace);
        let file = &self.locked.file;
        let tools = Tools::on_image(self.locked).map_err(|e| ResizeError::io(self.path, e))?;
        let (after, repaired) = self.work(file, &tools, tell).map_err(|trouble| self.explain_in_place(trouble))?;
        let copied = Copied::None;
        Ok(Report { in_place: true, copied, repaired: report.repaired || repaired, ..finished(report, &after) })
    }

    /// Checks, resizes and checks again; tells what came out, and whether there was something to repair.
    fn work(&self, file: &File, tools: &Tools<'_>, tell: &mut dyn FnMut(Stage)) -> Result<(Shape, bool), Trouble> {
        tell(Stage::Checking);
        let repaired = tools.check_and_repair().map_err(Trouble::Damaged)?;
        let before = shape_of(file)?;
        let after = self.change(file, tools, tell)?;
        sparse::dig(file, before.bytes()..after.bytes());
        file.sync_all()?;
        match before.lost_in(&after) {
            Some(what) => Err(Trouble::Lost(what.into())),
            None => Ok((after, repaired)),
        }
    }

    /// Resizes until the wish is fulfilled: how much will be free is foreseen to within a few blocks only.
    fn change(&self, file: &File, tools: &Tools<'_>, tell: &mut dyn FnMut(Stage)) -> Result<Shape, Trouble> {
        let mut blocks = self.blocks;
        for _ in 0..ROUNDS {
            tell(Stage::Resizing);
            self.change_to(blocks, file, tools)?;
            tell(Stage::Checking);
            let after = sound(file, tools)?;
            match self.wish {
                Wish::Free(_) => blocks = size::blocks_for(self.wish, &after.sb).unwrap_or(after.sb.blocks_count),
                _ => return Ok(after),
            }
            if blocks == after.sb.blocks_count {
                return Ok(after);
            }
        }
        Err(Trouble::Lost("less is free than was asked for".into()))
    }

    fn change_to(&self, blocks: u64, file: &File, tools: &Tools<'_>) -> Result<(), Trouble> {
        let bytes = blocks * u64::from(self.before.sb.block_size);
        if bytes > file.metadata()?.len() {
            // A write behind the limit would end this process.
            if file_size_limit::get().is_some_and(|limit| bytes > limit) {
                return Err(Trouble::Io(io::ErrorKind::FileTooLarge.into()));
            }
            file.set_len(bytes)?;
        }
        tools.resize(blocks).map_err(Trouble::Tool)?;
        file.set_len(shape_of(file)?.bytes())?;
        Ok(())
    }

    /// What resize2fs reserves for the inode tables of new groups, in bytes, until it is given back.
    fn tables(&self) -> u64 {
        let sb = &self.before.sb;
        let added = self.blocks.saturating_sub(sb.blocks_count).div_ceil(u64::from(sb.blocks_per_group));
        added.saturating_mul(u64::from(sb.inodes_per_group) * u64::from(sb.inode_size))
    }

    fn explain(&self, trouble: Trouble) -> ResizeError {
        let path = self.path.to_owned();
        match trouble {
            _ if self.stop.is_asked() => ResizeError::Interrupted { path },
            Trouble::Io(error) => ResizeError::Io { path, error },
            Trouble::Damaged(error @ ToolError::Failed { .. }) => ResizeError::Damaged { path, error },
            Trouble::Damaged(error) | Trouble::Tool(error) => ResizeError::Tool { path, error },
            Trouble::Lost(what) => ResizeError::Unverified { path, what },
        }
    }

    fn explain_in_place(&self, trouble: Trouble) -> ResizeError {
        let path = self.path.to_owned();
        match trouble {
            Trouble::Damaged(error @ ToolError::Failed { .. }) => ResizeError::Damaged { path, error },
            Trouble::Damaged(error) | Trouble::Tool(error @ (ToolError::Missing { .. } | ToolError::Start { .. })) => {
                ResizeError::Tool { path, error }
            }
            Trouble::Io(error) => ResizeError::InPlace { path, what: error.to_string() },
            Trouble::Tool(error) => ResizeError::InPlace { path, what: error.to_string() },
            Trouble::Lost(what) => ResizeError::InPlace { path, what },
        }
    }
}

/// What came out, when e2fsck finds nothing in it. resize2fs 1.47.0 forgets a bit in the bitmaps of some sparse_super2, which
/// e2fsck puts right.
fn sound(file: &File, tools: &Tools<'_>) -> Result<Shape, Trouble> {
    if tools.check().is_err() {
        tools.check_and_repair().and_then(|_| tools.check()).map_err(|error| Trouble::Lost(error.to_string()))?;
    }
    shape_of(file)
}

fn shape_of(file: &File) -> Result<Shape, Trouble> {
    Shape::of(file).map_err(|error| Trouble::Lost(error.to_string()))
}

fn finished(report: Report, after: &Shape) -> Report {
    let blocks_free = after.usable_bytes() / u64::from(after.sb.block_size);
    Report { after_bytes: after.bytes(), blocks_free, ..report }
}
