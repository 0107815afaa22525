//! What is copied into the image from elsewhere, and is there whole or not at all: a file has no name until it has all of its content. The times of
//! its directory stay: nothing is new there.

use condatainer_formats::ext::{FileType, Stat, Time};
use nix::errno::Errno;

use super::super::base::{Volume, now};
use super::super::flags::may_gain;
use super::super::orphan;
use super::plain::{MOST_LINKS, Named, New, check, directory_of, make_node};
use crate::directory;
use crate::error::Result;
use crate::inode::Node;
use crate::store::Handle;
use crate::xattr;

/// What is copied.
#[derive(Debug, Clone, Copy)]
pub struct Copied<'a> {
    /// What it is, whose, and its attributes.
    pub new: New<'a>,
    /// When it was last read.
    pub accessed: Time,
    /// When its content was last changed.
    pub modified: Time,
}

impl Volume {
    /// Makes something that has no content, as it is elsewhere; it is in use then.
    ///
    /// # Errors
    /// As [`Self::make`].
    pub fn copy(&self, directory: u32, name: &[u8], copied: &Copied<'_>) -> Result<Named> {
        check(name)?;
        self.change_with_room(|handle| {
            let mut parent = without(handle, directory, name)?;
            let mut node = make_node(handle, &mut parent, &copied.new)?;
            set_times(&mut node, copied)?;
            node.write(handle)?;
            directory::insert(handle, &mut parent, name, node.ino, copied.new.kind)?;
            parent.write(handle)?;
            self.named(handle, node.ino)
        })
    }

    /// Makes an empty file without a name, near a directory; it is in use then, and goes when it is [released](Self::release) or after a crash.
    ///
    /// # Errors
    /// There is no room, or it cannot be written.
    pub fn make_nameless(&self, near: u32, new: &New<'_>) -> Result<Named> {
        if new.kind != FileType::Regular {
            return Err(Errno::EINVAL.into());
        }
        self.change_with_room(|handle| {
            let mut parent = directory_of(handle, near)?;
            let mut node = make_node(handle, &mut parent, new)?;
            node.set_links(0)?;
            orphan::add(handle, &mut node)?;
            node.write(handle)?;
            self.users.add(node.ino);
            Ok(Named { ino: node.ino, stat: node.stat(&handle.geometry())? })
        })
    }

    /// A file without a name has its content: it gets its attributes and times, and names, each in a directory.
    ///
    /// # Errors
    /// A name exists, the file has one, there is no room, …
    pub fn finish(&self, ino: u32, places: &[(u32, &[u8])], copied: &Copied<'_>) -> Result<Stat> {
        places.iter().try_for_each(|(_, name)| check(name))?;
        self.change_with_room(|handle| {
            let mut node = Node::read(handle, ino)?;
            // A directory that has lost its name has lost what is in it.
            if node.links()? != 0 || node.inode()?.file_type() == FileType::Directory {
                return Err(Errno::EEXIST.into());
            }
            for (name, value) in copied.new.xattrs {
                xattr::set(handle, &mut node, name, value, xattr::How::Any)?;
            }
            set_times(&mut node, copied)?;
            node.set_changed(now())?;
            if !places.is_empty() {
                let links = u16::try_from(places.len()).ok().filter(|links| *links <= MOST_LINKS);
                orphan::remove(handle, &mut node)?;
                node.set_links(links.ok_or(Errno::EMLINK)?)?;
            }
            for (directory, name) in places {
                let mut parent = without(handle, *directory, name)?;
                directory::insert(handle, &mut parent, name, ino, copied.new.kind)?;
                parent.write(handle)?;
            }
            node.write(handle)?;
            node.stat(&handle.geometry())
        })
    }
}

impl Volume {
    /// A file that was copied has this name too, elsewhere: here it gets it, unless anything has it. The directory's times stay, and the file's.
    ///
    /// # Errors
    /// Something has the name (`EEXIST`), the file has as many names as it can have (`EMLINK`), there is no room, …
    pub fn name_copy(&self, ino: u32, directory: u32, name: &[u8]) -> Result<()> {
        check(name)?;
        self.change_with_room(|handle| {
            let mut parent = without(handle, directory, name)?;
            let mut node = Node::read(handle, ino)?;
            let kind = node.inode()?.file_type();
            match node.links()? {
                _ if kind == FileType::Directory => return Err(Errno::EPERM.into()),
                0 => orphan::remove(handle, &mut node)?,
                MOST_LINKS.. => return Err(Errno::EMLINK.into()),
                _ => {}
            }
            node.set_links(node.links()? + 1)?;
            node.write(handle)?;
            directory::insert(handle, &mut parent, name, ino, kind)?;
            parent.write(handle)
        })
    }
}

fn without(handle: &mut Handle<'_>, directory: u32, name: &[u8]) -> Result<Node> {
    let parent = directory_of(handle, directory)?;
    if directory::find(handle, &parent, name)?.is_some() {
        return Err(Errno::EEXIST.into());
    }
    may_gain(&parent)?;
    Ok(parent)
}

fn set_times(node: &mut Node, copied: &Copied<'_>) -> Result<()> {
    let record = node.record_mut()?;
    record.set_atime((copied.accessed.seconds, copied.accessed.nanoseconds));
    record.set_mtime((copied.modified.seconds, copied.modified.nanoseconds));
    Ok(())
}
