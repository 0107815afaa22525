//! What an overlay of our own does in the image: each of these is one change of it.

use std::sync::atomic::Ordering;

use condatainer_formats::ext::FileType;
use condatainer_formats::overlayfs::{OWN_FILE, is_whiteout};
use condatainer_writer::{Copied, How, New as Make, Renaming as Rename, Volume};

use super::marks::{OPAQUE, OPAQUE_FOR_ROOT};
use super::tree::may_be_taken_for_mark;
use super::{Workspace, number};
use crate::layer::{Attributes, Time};
use crate::serve::tree::{Answer, Entry, New};

/// Attributes that are copied with a file: names and values.
pub(crate) type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// A name in a directory of the image.
pub(crate) type Place<'a> = (u32, &'a [u8]);

/// A name that is given something else.
type Moved<'a> = (Place<'a>, Place<'a>);

impl Workspace {
    pub(crate) fn volume(&self) -> &Volume {
        &self.volume
    }

    /// As [`crate::serve::tree::Tree::make`], also over a whiteout; a new directory hides what is below where `is_opaque`.
    pub(crate) fn make_over(&self, directory: u32, name: &[u8], new: &New<'_>, is_opaque: bool) -> Answer<Entry> {
        let directory = self.directory_to_change(number::of(directory))?;
        let opaque: [(&[u8], &[u8]); 2] = [(OPAQUE, b"y"), (OPAQUE_FOR_ROOT, b"y")];
        let more = if is_opaque && new.kind == FileType::Directory { &opaque[..] } else { &[] };
        let named = self.make_in(directory, name, new, more, |make| self.volume.make_over(directory, name, make))?;
        Ok(self.entry_of(&named))
    }

    /// As [`crate::serve::tree::Tree::link`], also over a whiteout.
    pub(crate) fn link_over(&self, ino: u32, (directory, name): Place<'_>) -> Answer<Entry> {
        let directory = self.directory_to_change(number::of(directory))?;
        self.keep_own(name, || Ok(ino))?;
        let named = self.with_room(|| self.volume.link_over(ino, directory, name))?;
        Ok(self.entry_of(&named))
    }

    /// A file that was copied gets another of the names that the layers have for it, unless the image has anything there.
    pub(crate) fn name_copy(&self, ino: u32, (directory, name): Place<'_>) -> Answer<()> {
        self.keep_own(name, || Ok(ino))?;
        self.with_room(|| self.volume.name_copy(ino, directory, name))
    }

    /// Takes a name away, where the image has it, and leaves a whiteout.
    pub(crate) fn hide(&self, (directory, name): Place<'_>, directory_wanted: bool) -> Answer<()> {
        let directory = self.directory_to_change(number::of(directory))?;
        let like = self.whiteout.load(Ordering::Relaxed);
        let made = self.with_room(|| self.volume.hide(directory, name, directory_wanted, like))?;
        self.whiteout.store(made, Ordering::Relaxed);
        Ok(())
    }

    /// As [`crate::serve::tree::Tree::rename`], also over a whiteout, of which nothing is left.
    pub(crate) fn move_over(&self, (from, to): Moved<'_>, exchange: bool, whiteout: bool) -> Answer<()> {
        let source = self.directory_to_change(number::of(from.0))?;
        let target = self.directory_to_change(number::of(to.0))?;
        self.keep_own(to.1, || self.ino_of(source, from.1))?;
        if exchange {
            self.keep_own(from.1, || self.ino_of(target, to.1))?;
        }
        let like = self.whiteout.load(Ordering::Relaxed);
        let how = Rename { no_replace: false, exchange, whiteout, like, over_whiteout: true };
        self.with_room(|| self.volume.rename((source, from.1), (target, to.1), how))
    }

    /// A directory hides what is below it from now on, for every overlay.
    pub(crate) fn set_opaque(&self, directory: u32) -> Answer<()> {
        self.with_room(|| self.volume.set_xattrs(directory, &[OPAQUE, OPAQUE_FOR_ROOT], b"y", How::Any))
    }

    pub(crate) fn is_opaque(&self, directory: u32) -> Answer<bool> {
        self.answer(self.marks.is_opaque(&self.volume, directory))
    }

    /// Takes the whiteouts out of a directory, which keeps its times.
    pub(crate) fn clear_whiteouts(&self, directory: u32) -> Answer<()> {
        self.with_room(|| self.volume.clear_whiteouts(directory))
    }

    /// Whether a directory has any name.
    pub(crate) fn has_names(&self, directory: u32) -> Answer<bool> {
        let mut any = false;
        self.answer(self.volume.list(directory, 0, &mut |_| {
            any = true;
            false
        }))?;
        Ok(any)
    }

    /// Copies something without content; it is in use then.
    pub(crate) fn copy(
        &self,
        (directory, name): Place<'_>,
        says: &Attributes,
        target: &[u8],
        xattrs: &Xattrs,
    ) -> Answer<u32> {
        let xattrs = borrowed(xattrs);
        let copied = self.copied(says, target, &xattrs);
        let named = self.with_room(|| self.volume.copy(directory, name, &copied))?;
        if says.kind == FileType::Directory {
            self.marks.is_new(named.ino);
        }
        Ok(named.ino)
    }

    /// The empty file that something is copied to; it is in use.
    pub(crate) fn begin_copy(&self, near: u32, says: &Attributes) -> Answer<u32> {
        self.keep_inodes()?;
        let copied = self.copied(says, &[], &[]);
        Ok(self.with_room(|| self.volume.make_nameless(near, &copied.new))?.ino)
    }

    /// It has its content.
    pub(crate) fn end_copy(&self, ino: u32, places: &[Place<'_>], says: &Attributes, xattrs: &Xattrs) -> Answer<()> {
        let mut xattrs = borrowed(xattrs);
        if places.iter().any(|(_, name)| may_be_taken_for_mark(name, FileType::Regular)) {
            xattrs.push((OWN_FILE, b"y"));
        }
        let copied = self.copied(says, &[], &xattrs);
        self.with_room(|| self.volume.finish(ino, places, &copied)).map(drop)
    }

    fn copied<'a>(&self, says: &Attributes, target: &'a [u8], xattrs: &'a [(&'a [u8], &'a [u8])]) -> Copied<'a> {
        let time = |time: Time| condatainer_formats::ext::Time { seconds: time.seconds, nanoseconds: time.nanoseconds };
        let (kind, mode, ids, device) = (says.kind, says.mode, self.owners.on_disk(says.ids), says.device);
        Copied {
            new: Make { kind, mode, ids, device, target, xattrs },
            accessed: time(says.accessed),
            modified: time(says.modified),
        }
    }
}

fn borrowed(xattrs: &Xattrs) -> Vec<(&[u8], &[u8])> {
    xattrs.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect()
}

/// Whether nobody may make it: it would hide what is below.
pub(crate) fn is_forbidden(new: &New<'_>) -> bool {
    is_whiteout(new.kind, new.device)
}

/// Whether it stands for a name that is hidden.
pub(crate) fn hides(says: &Attributes) -> bool {
    is_whiteout(says.kind, says.device)
}
