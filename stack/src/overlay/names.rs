//! Names are made, taken away and changed. What the layers have under a name that goes is hidden in the same change of the image.

use condatainer_formats::ext::FileType;
use nix::errno::Errno;

use super::Overlay;
use super::copy::Place;
use super::decide::Shows;
use super::find::Found;
use crate::serve::tree::{Answer, Entry, New, Renaming, Tree, WRITABLE};
use crate::workspace::above::is_forbidden;
use crate::workspace::{ino_of, number_of};

/// A name in a directory.
type Name<'a> = (u64, &'a [u8]);

impl Overlay {
    /// As [`Tree::make`].
    pub(super) fn make_name(&self, directory: u64, name: &[u8], new: &New<'_>) -> Answer<Entry> {
        if is_forbidden(new) {
            return Err(Errno::EPERM);
        }
        self.require_free(directory, name)?;
        let parent = self.up(directory)?;
        // Whatever layers are below in another session.
        let is_opaque = self.shows_layers(directory);
        self.upper.make_over(parent, name, new, is_opaque)
    }

    /// As [`Tree::link`].
    pub(super) fn link_name(&self, node: u64, directory: u64, name: &[u8]) -> Answer<Entry> {
        self.require_free(directory, name)?;
        let (ino, parent) = (self.up(node)?, self.up(directory)?);
        let entry = self.upper.link_over(ino, (parent, name))?;
        self.given(entry)
    }

    /// Nothing shows under a name.
    fn require_free(&self, directory: u64, name: &[u8]) -> Answer<()> {
        match self.find(directory, name)?.shows {
            Shows::Nothing => Ok(()),
            _ => Err(Errno::EEXIST),
        }
    }

    /// What the kernel is given of something that the image has, which is in use once more.
    pub(super) fn given(&self, entry: Entry) -> Answer<Entry> {
        let Some(number) = self.known.original(ino_of(entry.node)?) else { return Ok(entry) };
        self.known.is_given_again(number);
        self.upper.forget(entry.node, 1);
        Ok(Entry { node: number, attributes: self.with_links(number, entry.attributes) })
    }

    /// As [`Tree::remove`].
    pub(super) fn remove_name(&self, directory: u64, name: &[u8], directory_wanted: bool) -> Answer<()> {
        let found = self.find(directory, name)?;
        match (found.kind(), directory_wanted) {
            (None, _) => return Err(Errno::ENOENT),
            (Some(FileType::Directory), false) => return Err(Errno::EISDIR),
            (Some(kind), true) if kind != FileType::Directory => return Err(Errno::ENOTDIR),
            _ => {}
        }
        if directory_wanted {
            self.empty(&found)?;
        }
        if found.below.is_some() {
            self.upper.hide((self.up(directory)?, name), directory_wanted)?;
        } else {
            let parent = self.in_image(directory).ok_or(Errno::ENOENT)?;
            self.upper.remove(number_of(parent), name, directory_wanted)?;
        }
        self.is_covered(&found);
        Ok(())
    }

    /// What showed under a name does so no more. What is changed of it is to last under the others.
    fn is_covered(&self, found: &Found) {
        if let (Shows::Below, Some((number, _))) = (found.shows, found.below) {
            self.known.loses_name(number);
        } else if let Some(number) = found.ino().and_then(|ino| self.known.original(ino)) {
            // If not now, then when it is changed next.
            let _ = self.keep_names(number);
        }
    }

    /// A directory that shows no names has none in the image from now on either. What is below it shows at no time.
    fn empty(&self, found: &Found) -> Answer<()> {
        let number = match (found.number_below(), found.ino()) {
            (Some(number), _) => number,
            (None, Some(ino)) => self.number(ino),
            (None, None) => return Err(Errno::ENOENT),
        };
        let is_empty = match found.shows {
            Shows::Both | Shows::Below => !self.shows_names_of(number, found)?,
            _ => !self.shows_names(number)?,
        };
        if !is_empty {
            return Err(Errno::ENOTEMPTY);
        }
        let Some(ino) = found.ino().filter(|ino| self.upper.has_names(*ino).unwrap_or(true)) else { return Ok(()) };
        if found.shows == Shows::Both {
            self.upper.set_opaque(ino)?;
        }
        self.upper.clear_whiteouts(ino)
    }

    /// The kernel has looked it up, so it is known that both have it.
    fn shows_names_of(&self, number: u64, found: &Found) -> Answer<bool> {
        match (found.shows, self.known.copy(number)) {
            (Shows::Both, None) => Err(Errno::ESTALE),
            _ => self.shows_names(number),
        }
    }

    /// As [`Tree::rename`].
    pub(super) fn rename_name(&self, from: Name<'_>, to: Name<'_>, how: Renaming) -> Answer<()> {
        if how.whiteout || how.exchange && how.no_replace {
            return Err(Errno::EINVAL);
        }
        let (moved, over) = (self.find(from.0, from.1)?, self.find(to.0, to.1)?);
        match over.kind() {
            _ if moved.kind().is_none() => return Err(Errno::ENOENT),
            Some(_) if how.no_replace => return Err(Errno::EEXIST),
            None if how.exchange => return Err(Errno::ENOENT),
            Some(_) if self.number_of_found(&moved) == self.number_of_found(&over) => return Ok(()),
            Some(_) if how.exchange => {}
            Some(FileType::Directory) if !moved.is_directory() => return Err(Errno::EISDIR),
            Some(kind) if kind != FileType::Directory && moved.is_directory() => return Err(Errno::ENOTDIR),
            _ => {}
        }
        if how.exchange {
            return self.exchange((from, moved), (to, over));
        }
        // First, for it may be too large.
        let ino = self.whole(from, &moved)?;
        if over.is_directory() {
            self.empty(&over)?;
        }
        let (source, target) = (self.up(from.0)?, self.up(to.0)?);
        if moved.is_directory() && (over.below.is_some() || self.shows_layers(to.0)) {
            self.upper.set_opaque(ino)?;
        }
        self.upper.move_over(((source, from.1), (target, to.1)), false, moved.below.is_some())?;
        self.is_covered(&over);
        Ok(())
    }

    fn exchange(&self, (from, one): (Name<'_>, Found), (to, other): (Name<'_>, Found)) -> Answer<()> {
        for (at, name, found) in [(to.0, from, &one), (from.0, to, &other)] {
            let ino = self.whole(name, found)?;
            if found.is_directory() && self.shows_layers(at) {
                self.upper.set_opaque(ino)?;
            }
        }
        let (source, target) = (self.up(from.0)?, self.up(to.0)?);
        self.upper.move_over(((source, from.1), (target, to.1)), true, false)
    }

    fn number_of_found(&self, found: &Found) -> Option<u64> {
        found.number_below().or_else(|| found.ino().map(|ino| self.number(ino)))
    }

    /// What has a name is in the image, and a directory with all that is in it.
    fn whole(&self, (directory, name): Name<'_>, found: &Found) -> Answer<u32> {
        match (found.number_below(), found.ino()) {
            (Some(number), _) if found.is_directory() => self.make_whole(directory, name, number),
            (Some(number), _) => self.up_from(directory, name, number),
            (None, Some(ino)) => Ok(ino),
            (None, None) => Err(Errno::ENOENT),
        }
    }

    /// As [`Self::up`], of something under this name. Another name of a file that was copied gets to be one of the copy.
    pub(super) fn up_from(&self, directory: u64, name: &[u8], number: u64) -> Answer<u32> {
        let parent = self.up(directory)?;
        let this = || Place { directory: parent, name: name.to_vec() };
        let is_this = |place: &Place| (place.directory, &*place.name) == (parent, name);
        let (_known, mut places) = match self.in_image(number) {
            Some(_) => (None, Vec::new()),
            None => (Some(self.look_up_names(number)?), self.places(number)?),
        };
        places.retain(|place| !is_this(place));
        places.insert(0, this());
        let _turn = self.turns.take(number);
        let Some(ino) = self.in_image(number) else { return self.copy(number, &places, u64::MAX) };
        if number & WRITABLE == 0 && self.find(directory, name)?.ino().is_none() {
            self.name_too(number, ino, &this())?;
        }
        Ok(ino)
    }
}
