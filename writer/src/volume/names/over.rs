//! What an overlay does to the names of its upper directory. Each is one change: no crash shows what lies below in between.

use condatainer_formats::ext::FileType;
use nix::errno::Errno;

use super::super::base::Volume;
use super::super::flags::may_change;
use super::plain::{
    MOST_LINKS, Named, New, check, close, directory_of, is_a_whiteout, make_node, names_changed, one_name_fewer,
};
use super::rename::{there, whiteout};
use crate::directory;
use crate::error::Result;
use crate::inode::Node;
use crate::store::Handle;

impl Volume {
    /// As [`Self::make`], also where a whiteout has the name.
    ///
    /// # Errors
    /// As [`Self::make`].
    pub fn make_over(&self, directory: u32, name: &[u8], new: &New<'_>) -> Result<Named> {
        self.make_at(directory, name, new, true)
    }

    /// As [`Self::link`], also where a whiteout has the name.
    ///
    /// # Errors
    /// As [`Self::link`].
    pub fn link_over(&self, ino: u32, directory: u32, name: &[u8]) -> Result<Named> {
        self.link_at(ino, directory, name, true)
    }

    /// Takes a name away, where there is one, and leaves a whiteout: one more name of `like` if that is one, else a new one. Returns its inode.
    ///
    /// # Errors
    /// What has the name is not of that kind or not empty, there is no room, …
    pub fn hide(&self, directory: u32, name: &[u8], directory_wanted: bool, like: u32) -> Result<u32> {
        check(name)?;
        let (hides, gone) = self.change_with_room(|handle| {
            let mut parent = directory_of(handle, directory)?;
            may_change(&parent)?;
            let Some(mut there) = there(handle, &parent, name)? else {
                let hides = another(handle, &mut parent, like)?;
                directory::insert(handle, &mut parent, name, hides, FileType::CharDevice)?;
                names_changed(&mut parent)?;
                parent.write(handle)?;
                return Ok((hides, None));
            };
            if is_a_whiteout(handle, &there.node)? {
                return Ok((there.node.ino, None));
            }
            may_change(&there.node)?;
            match (there.is_directory, directory_wanted) {
                (true, false) => return Err(Errno::EISDIR.into()),
                (false, true) => return Err(Errno::ENOTDIR.into()),
                _ => {}
            }
            if there.is_directory {
                close(handle, &there.node)?;
                parent.fewer_links()?;
            }
            let hides = another(handle, &mut parent, like)?;
            directory::replace(handle, &there.found.place, hides, FileType::CharDevice)?;
            let is_gone = one_name_fewer(handle, &mut there.node)?;
            there.node.write(handle)?;
            names_changed(&mut parent)?;
            parent.write(handle)?;
            Ok((hides, is_gone.then_some(there.node.ino)))
        })?;
        self.free_unused(gone);
        Ok(hides)
    }
}

/// A whiteout with one name more. All share an inode, as far as that has names: what is deleted is to take no room.
fn another(handle: &mut Handle<'_>, parent: &mut Node, like: u32) -> Result<u32> {
    if like != 0 {
        let mut node = Node::read(handle, like)?;
        let links = node.links()?;
        if (1..MOST_LINKS).contains(&links) && is_a_whiteout(handle, &node)? {
            node.set_links(links + 1)?;
            node.write(handle)?;
            return Ok(like);
        }
    }
    let ids = parent.inode()?.ids();
    Ok(make_node(handle, parent, &whiteout(ids))?.ino)
}
