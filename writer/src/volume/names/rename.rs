//! Renaming, also over something, for something, and with a whiteout left behind.

use std::collections::HashSet;

use condatainer_formats::ext::FileType;
use condatainer_formats::ext::raw::ROOT_INO;
use nix::errno::Errno;

use super::super::base::{Volume, now};
use super::super::flags::{may_change, may_gain};
use super::plain::{MOST_LINKS, check, close, directory_of, is_a_whiteout, live, names_changed, one_name_fewer};
use super::whiteouts::another;
use crate::directory::{self, Found};
use crate::error::{Error, Result};
use crate::inode::Node;
use crate::store::Handle;
use crate::xattr;

/// What renameat2(2) can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Renaming {
    /// EEXIST where the new name exists.
    pub no_replace: bool,
    /// Both names change places.
    pub exchange: bool,
    /// A device 0/0 takes the old name: one more name of `like` if that is one.
    pub whiteout: bool,
    /// An inode, or 0.
    pub like: u32,
    /// A device 0/0 that has the new name goes, also for a directory: nothing has the name then.
    pub over_whiteout: bool,
}

/// A name that is there.
pub(super) struct There {
    pub(super) found: Found,
    pub(super) node: Node,
    pub(super) is_directory: bool,
}

impl Volume {
    /// Gives what stands under one name another.
    ///
    /// # Errors
    /// As renameat2(2).
    pub fn rename(&self, from: (u32, &[u8]), to: (u32, &[u8]), how: Renaming) -> Result<()> {
        if how.exchange && (how.no_replace || how.whiteout) {
            return Err(Errno::EINVAL.into());
        }
        check(from.1)?;
        check(to.1)?;
        let gone = self.change_with_room(|handle| {
            let source = directory_of(handle, from.0)?;
            let target = directory_of(handle, to.0)?;
            let moved = there(handle, &source, from.1)?.ok_or(Errno::ENOENT)?;
            let replaced = there(handle, &target, to.1)?;
            if how.no_replace && replaced.is_some() {
                return Err(Errno::EEXIST.into());
            }
            if how.exchange && replaced.is_none() {
                return Err(Errno::ENOENT.into());
            }
            if moved.is_directory && is_within(handle, &moved.node, &target)? {
                return Err(Errno::EINVAL.into());
            }
            // As the kernel answers when it looks the names up, before it looks at what they are.
            if let Some(replaced) = replaced.as_ref().filter(|replaced| replaced.is_directory && !how.exchange)
                && is_within(handle, &replaced.node, &source)?
            {
                return Err(Errno::ENOTEMPTY.into());
            }
            if replaced.as_ref().is_none_or(|replaced| replaced.node.ino != moved.node.ino) {
                may_rename((&source, &moved), (&target, replaced.as_ref()))?;
            }
            match replaced {
                Some(replaced) if replaced.node.ino == moved.node.ino => Ok(None),
                Some(other) if how.exchange => {
                    if other.is_directory && is_within(handle, &other.node, &source)? {
                        return Err(Errno::EINVAL.into());
                    }
                    exchange(handle, (source, moved), (target, other)).map(|()| None)
                }
                replaced => move_over(handle, (source, from.1, moved), (target, to.1, replaced), how),
            }
        })?;
        self.free_unused(gone);
        Ok(())
    }
}

impl Volume {
    /// An empty file gets another name in its directory, and becomes what the kernel's OverlayFS leaves where something was: what
    /// fuse-overlayfs says by a name. That takes no inode, and all times stay. Where the new name is taken the file goes.
    ///
    /// # Errors
    /// It is not an empty file, or it cannot be written.
    pub fn turn_into_whiteout(&self, directory: u32, mark: &[u8], hidden: &[u8]) -> Result<()> {
        check(hidden)?;
        let gone = self.change_with_room(|handle| {
            let mut parent = directory_of(handle, directory)?;
            let Some(mut mark) = there(handle, &parent, mark)? else { return Ok(None) };
            // First, for its room.
            directory::remove(handle, &parent, &mark.found.place)?;
            if directory::find(handle, &parent, hidden)?.is_some() {
                let is_gone = one_name_fewer(handle, &mut mark.node)?;
                mark.node.write(handle)?;
                return Ok(is_gone.then_some(mark.node.ino));
            }
            let ids = parent.inode()?.ids();
            let inode = mark.node.inode_mut()?;
            match inode.file_type() {
                FileType::Regular if inode.size() == 0 && inode.i_block.iter().all(|block| block.get() == 0) => {
                    inode.set_permissions(0);
                    inode.make_whiteout(ids);
                }
                FileType::CharDevice => {}
                _ => return Err(Errno::EINVAL.into()),
            }
            directory::insert(handle, &mut parent, hidden, mark.node.ino, FileType::CharDevice)?;
            mark.node.write(handle)?;
            parent.write(handle)?;
            Ok(None)
        })?;
        self.free_unused(gone);
        Ok(())
    }

    /// A directory gets attributes that say that it hides everything below it, and loses the file that said so. All times stay.
    ///
    /// # Errors
    /// There is no room, or it cannot be written.
    pub fn make_opaque(&self, directory: u32, mark: &[u8], names: &[&[u8]]) -> Result<()> {
        let gone = self.change_with_room(|handle| {
            let mut node = directory_of(handle, directory)?;
            let mut gone = None;
            if let Some(mut mark) = there(handle, &node, mark)?.filter(|mark| !mark.is_directory) {
                directory::remove(handle, &node, &mark.found.place)?;
                let is_gone = one_name_fewer(handle, &mut mark.node)?;
                mark.node.write(handle)?;
                gone = is_gone.then_some(mark.node.ino);
            }
            for name in names {
                xattr::set(handle, &mut node, name, b"y", xattr::How::Any)?;
            }
            node.write(handle)?;
            Ok(gone)
        })?;
        self.free_unused(gone);
        Ok(())
    }
}

/// Whether both directories may lose, or gain, these names.
fn may_rename((source, moved): (&Node, &There), (target, replaced): (&Node, Option<&There>)) -> Result<()> {
    may_change(source)?;
    may_change(&moved.node)?;
    let Some(replaced) = replaced else { return may_gain(target) };
    may_change(target)?;
    may_change(&replaced.node)
}

/// Returns what stood under the new name, if it has no name any more.
fn move_over(
    handle: &mut Handle<'_>,
    (source, old_name, mut moved): (Node, &[u8], There),
    (target, new_name, replaced): (Node, &[u8], Option<There>),
    how: Renaming,
) -> Result<Option<u32>> {
    let mut pair = Pair::of(source, target);
    let kind = moved.node.inode()?.file_type();
    let is_more = match &replaced {
        None => true,
        Some(there) => how.over_whiteout && is_a_whiteout(handle, &there.node)?,
    };
    if moved.is_directory && !pair.is_one() && is_more && pair.target().links()? >= MOST_LINKS {
        return Err(Errno::EMLINK.into());
    }
    let mut gone = None;
    match replaced {
        Some(mut there) => {
            match (moved.is_directory, there.is_directory) {
                (false, true) => return Err(Errno::EISDIR.into()),
                (true, false) if !is_more => return Err(Errno::ENOTDIR.into()),
                (true, true) => {
                    close(handle, &there.node)?;
                    pair.target().fewer_links()?;
                }
                (true | false, false) => {}
            }
            directory::replace(handle, &there.found.place, moved.node.ino, kind)?;
            let is_gone = one_name_fewer(handle, &mut there.node)?;
            there.node.write(handle)?;
            gone = is_gone.then_some(there.node.ino);
        }
        None => directory::insert(handle, pair.target(), new_name, moved.node.ino, kind)?,
    }
    // The insertion may have moved entries of the same directory to other blocks.
    let old = directory::find(handle, pair.source(), old_name)?.ok_or(Errno::ENOENT)?;
    if how.whiteout {
        let whiteout = another(handle, pair.source(), how.like)?;
        directory::replace(handle, &old.place, whiteout, FileType::CharDevice)?;
    } else {
        directory::remove(handle, pair.source(), &old.place)?;
    }
    // Of the node as it is now: it may have lost a name just before.
    moved.node = Node::read(handle, moved.node.ino)?;
    moved.node.set_changed(now())?;
    if moved.is_directory && !pair.is_one() {
        set_parent(handle, &moved.node, pair.target().ino)?;
        pair.source().fewer_links()?;
        pair.target().more_links()?;
    }
    moved.node.write(handle)?;
    pair.write(handle)?;
    Ok(gone)
}

fn exchange(
    handle: &mut Handle<'_>,
    (source, mut moved): (Node, There),
    (target, mut other): (Node, There),
) -> Result<()> {
    let mut pair = Pair::of(source, target);
    let gains = match (moved.is_directory, other.is_directory) {
        (true, false) => Some(pair.target()),
        (false, true) => Some(pair.source()),
        _ => None,
    };
    let is_full = gains.map(|parent| parent.links()).transpose()?.is_some_and(|links| links >= MOST_LINKS);
    if is_full && !pair.is_one() {
        return Err(Errno::EMLINK.into());
    }
    let [moved_kind, other_kind] = [moved.node.inode()?.file_type(), other.node.inode()?.file_type()];
    directory::replace(handle, &moved.found.place, other.node.ino, other_kind)?;
    directory::replace(handle, &other.found.place, moved.node.ino, moved_kind)?;
    if !pair.is_one() {
        let (source, target) = (pair.source().ino, pair.target().ino);
        if moved.is_directory {
            set_parent(handle, &moved.node, target)?;
        }
        if other.is_directory {
            set_parent(handle, &other.node, source)?;
        }
        match (moved.is_directory, other.is_directory) {
            (true, false) => pair.directory_goes_from_source_to_target()?,
            (false, true) => pair.directory_goes_from_target_to_source()?,
            _ => {}
        }
    }
    for node in [&mut moved.node, &mut other.node] {
        node.set_changed(now())?;
        node.write(handle)?;
    }
    pair.write(handle)
}

/// The directories of the old and of the new name, which may be one.
struct Pair {
    source: Node,
    /// `None` where it is the source.
    target: Option<Node>,
}

impl Pair {
    fn of(source: Node, target: Node) -> Self {
        let target = (source.ino != target.ino).then_some(target);
        Self { source, target }
    }

    fn is_one(&self) -> bool {
        self.target.is_none()
    }

    fn source(&mut self) -> &mut Node {
        &mut self.source
    }

    fn target(&mut self) -> &mut Node {
        self.target.as_mut().unwrap_or(&mut self.source)
    }

    fn directory_goes_from_source_to_target(&mut self) -> Result<()> {
        self.source().fewer_links()?;
        self.target().more_links()
    }

    fn directory_goes_from_target_to_source(&mut self) -> Result<()> {
        self.target().fewer_links()?;
        self.source().more_links()
    }

    fn write(mut self, handle: &mut Handle<'_>) -> Result<()> {
        for node in [Some(&mut self.source), self.target.as_mut()].into_iter().flatten() {
            names_changed(node)?;
            node.write(handle)?;
        }
        Ok(())
    }
}

pub(super) fn there(handle: &mut Handle<'_>, directory: &Node, name: &[u8]) -> Result<Option<There>> {
    let Some(found) = directory::find(handle, directory, name)? else { return Ok(None) };
    let node = live(handle, found.ino)?;
    let is_directory = node.inode()?.file_type() == FileType::Directory;
    Ok(Some(There { found, node, is_directory }))
}

/// What a directory says of the one that it is in.
fn parent_of(handle: &mut Handle<'_>, directory: &Node) -> Result<Found> {
    directory::find(handle, directory, b"..")?.ok_or_else(|| Error::corrupt("a directory does not know what it is in"))
}

/// A directory has moved into another one.
fn set_parent(handle: &mut Handle<'_>, directory: &Node, parent: u32) -> Result<()> {
    let found = parent_of(handle, directory)?;
    directory::replace(handle, &found.place, parent, FileType::Directory)
}

/// Whether `inner` is `outer`, or lies somewhere in it.
fn is_within(handle: &mut Handle<'_>, outer: &Node, inner: &Node) -> Result<bool> {
    let (mut at, mut seen) = (inner.clone(), HashSet::new());
    while at.ino != outer.ino {
        if at.ino == ROOT_INO {
            return Ok(false);
        }
        if !seen.insert(at.ino) {
            return Err(Error::corrupt("directories lie in each other"));
        }
        let parent = parent_of(handle, &at)?.ino;
        at = directory_of(handle, parent)?;
    }
    Ok(true)
}
