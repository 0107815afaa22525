//! What an overlay does to the names of its upper directory. Each is one change: no crash shows what lies below in between.

use condatainer_formats::ext::FileType;
use nix::errno::Errno;

use super::super::base::Volume;
use super::super::flags::may_change;
use super::plain::{Named, New, check, close, directory_of, is_a_whiteout, names_changed, one_name_fewer};
use super::rename::there;
use super::whiteouts::another;
use crate::directory;
use crate::error::Result;

/// So many whiteouts are taken away in one change.
const AT_ONCE: usize = 64;

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

    /// Takes the whiteouts out of a directory, which keeps its times: no name that anybody has seen is gone.
    ///
    /// # Errors
    /// Not a directory, or it cannot be written.
    pub fn clear_whiteouts(&self, directory: u32) -> Result<()> {
        let mut names = Vec::new();
        self.list(directory, 0, &mut |listed| {
            if listed.kind.is_none_or(|kind| kind == FileType::CharDevice) {
                names.push(listed.name.clone());
            }
            true
        })?;
        for names in names.chunks(AT_ONCE) {
            let gone = self.change(|handle| {
                let parent = directory_of(handle, directory)?;
                may_change(&parent)?;
                let mut gone = Vec::new();
                for name in names {
                    let Some(mut there) = there(handle, &parent, name)? else { continue };
                    if is_a_whiteout(handle, &there.node)? {
                        directory::remove(handle, &parent, &there.found.place)?;
                        gone.extend(one_name_fewer(handle, &mut there.node)?.then_some(there.node.ino));
                        there.node.write(handle)?;
                    }
                }
                parent.write(handle)?;
                Ok(gone)
            })?;
            gone.into_iter().for_each(|ino| self.free_unused(Some(ino)));
        }
        Ok(())
    }
}
