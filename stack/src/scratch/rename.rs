//! Renaming, also over something, for something, and with a whiteout left behind.

use nix::errno::Errno;

use super::fs::Scratch;
use super::names::{close, whiteout};
use super::node::{Named, Node, now};
use crate::serve::tree::{Answer, Renaming};

/// A name in a directory.
type Place<'a> = (&'a Node, &'a [u8]);

impl Scratch {
    pub(super) fn rename_node(&self, from: (u64, &[u8]), to: (u64, &[u8]), how: Renaming) -> Answer<()> {
        if how.exchange && (how.no_replace || how.whiteout) {
            return Err(Errno::EINVAL);
        }
        let (source, target) = (self.node(from.0)?, self.node(to.0)?);
        let (from, to) = ((&*source, from.1), (&*target, to.1));
        let structure = self.structure.write();
        let moved = self.named(from)?.ok_or(Errno::ENOENT)?;
        let there = self.named(to)?;
        if how.no_replace && there.is_some() {
            return Err(Errno::EEXIST);
        }
        if self.is_within(&moved, to.0)? {
            return Err(Errno::EINVAL);
        }
        match there {
            Some(there) if there.node.number == moved.node.number => Ok(()),
            Some(there) if how.exchange => {
                if self.is_within(&there, from.0)? {
                    return Err(Errno::EINVAL);
                }
                self.put(from, &there)?;
                self.put(to, &moved)?;
                moved.meta.lock().changed = now();
                there.meta.lock().changed = now();
                self.follow(&moved, from.0, to.0, 0);
                self.follow(&there, to.0, from.0, 0);
                Ok(())
            }
            None if how.exchange => Err(Errno::ENOENT),
            there => {
                if let Some(there) = &there {
                    make_way(&moved, there)?;
                }
                self.put(to, &moved)?;
                self.leave(from, how.whiteout)?;
                moved.meta.lock().changed = now();
                let fewer = there.as_ref().is_some_and(|there| there.is_directory());
                self.follow(&moved, from.0, to.0, -i32::from(fewer));
                drop(structure);
                if let Some(there) = there {
                    self.one_name_fewer(&there);
                }
                Ok(())
            }
        }
    }

    fn named(&self, (directory, name): Place<'_>) -> Answer<Option<Named>> {
        Ok(directory.directory()?.read().get(&self.hasher, name).cloned())
    }

    /// Lets a name stand for a node, in the place that it has or in a new one.
    fn put(&self, (directory, name): Place<'_>, node: &Named) -> Answer<()> {
        let mut names = directory.directory()?.write();
        match names.find(&self.hasher, name) {
            Some(place) => names.change(place, node.clone()),
            None => {
                let place = names.place(&self.hasher, name)?;
                names.put(place, name, node.clone());
            }
        }
        Ok(())
    }

    /// Takes a name away, or lets it stand for a whiteout.
    fn leave(&self, (directory, name): Place<'_>, as_whiteout: bool) -> Answer<()> {
        let mut names = directory.directory()?.write();
        let place = names.find(&self.hasher, name).ok_or(Errno::ENOENT)?;
        if as_whiteout {
            let ids = directory.meta.lock().ids;
            names.change(place, Named::first(self.nodes.add(whiteout(ids))));
        } else {
            names.take(place);
        }
        Ok(())
    }

    /// A node has moved from one directory to another, where `more` directories are added besides.
    fn follow(&self, node: &Node, from: &Node, to: &Node, more: i32) {
        let mut moved = 0;
        if let Ok(names) = node.directory()
            && from.number != to.number
        {
            names.write().parent = Some(to.number);
            moved = 1;
        }
        from.names_changed(-moved);
        to.names_changed(moved + more);
    }

    /// Whether `inner` is `outer`, or lies somewhere in it.
    fn is_within(&self, outer: &Node, inner: &Node) -> Answer<bool> {
        if !outer.is_directory() {
            return Ok(false);
        }
        let mut number = Some(inner.number);
        while let Some(at) = number {
            if at == outer.number {
                return Ok(true);
            }
            number = self.node(at)?.directory()?.read().parent;
        }
        Ok(false)
    }
}

/// What is there has to go, if it is of the same kind and empty.
fn make_way(moved: &Node, there: &Node) -> Answer<()> {
    match (moved.is_directory(), there.is_directory()) {
        (false, true) => Err(Errno::EISDIR),
        (true, false) => Err(Errno::ENOTDIR),
        (false, false) => Ok(()),
        (true, true) => close(there),
    }
}
