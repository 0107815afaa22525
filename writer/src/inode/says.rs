//! What an inode says of itself, and how that is changed.

use condatainer_formats::ext::{Stat, Time};
use zerocopy::IntoBytes;

use super::node::Node;
use crate::error::Result;
use crate::geometry::Geometry;

impl Node {
    /// As stat(2) would show it.
    pub(crate) fn stat(&self, geometry: &Geometry) -> Result<Stat> {
        Ok(Stat::of(self.record()?, &geometry.sb))
    }

    /// Number of names; of a directory also those of its own and of the directories in it.
    pub(crate) fn links(&self) -> Result<u16> {
        Ok(self.inode()?.i_links_count.get())
    }

    pub(crate) fn set_links(&mut self, links: u16) -> Result<()> {
        self.inode_mut()?.i_links_count.set(links);
        Ok(())
    }

    /// A directory has one directory more in it.
    pub(crate) fn more_links(&mut self) -> Result<()> {
        self.set_links(self.links()?.saturating_add(1))
    }

    /// It has one fewer. What has no name any more is told by 0, so that is never reached here.
    pub(crate) fn fewer_links(&mut self) -> Result<()> {
        self.set_links(self.links()?.saturating_sub(1).max(1))
    }

    /// Its content, or the names in it, have changed.
    pub(crate) fn set_modified(&mut self, time: Time) -> Result<()> {
        let record = self.record_mut()?;
        record.set_mtime((time.seconds, time.nanoseconds));
        record.set_ctime((time.seconds, time.nanoseconds));
        Ok(())
    }

    /// Something of it has changed.
    pub(crate) fn set_changed(&mut self, time: Time) -> Result<()> {
        self.record_mut()?.set_ctime((time.seconds, time.nanoseconds));
        Ok(())
    }

    /// Where a symbolic link leads that keeps that in the inode; `None` where a block has it.
    pub(crate) fn fast_target(&self, geometry: &Geometry) -> Result<Option<Vec<u8>>> {
        let inode = self.inode()?;
        let length = usize::try_from(inode.size()).unwrap_or(usize::MAX);
        let is_fast = inode.is_fast_symlink(&geometry.sb);
        Ok(is_fast.then(|| inode.i_block.as_bytes().get(..length).unwrap_or_default().to_vec()))
    }
}
