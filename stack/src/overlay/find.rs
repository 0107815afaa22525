//! What a name stands for, in the image and in the layers.

use condatainer_formats::ext::FileType;
use nix::errno::Errno;

use super::Overlay;
use super::decide::{Shows, Upper, shows};
use crate::layer::Attributes;
use crate::serve::tree::{Answer, Entry, Tree, WRITABLE};
use crate::workspace::{above::hides, ino_of, number_of};

/// What was found under a name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) shows: Shows,
    /// What the image has, if that is no whiteout.
    pub(super) upper: Option<(u32, Attributes)>,
    /// What the layers have, whether it shows or not.
    pub(super) below: Option<(u64, FileType)>,
}

impl Found {
    /// What it is, if anything shows.
    pub(super) fn kind(&self) -> Option<FileType> {
        match (self.shows, self.upper, self.below) {
            (Shows::Nothing, ..) => None,
            (Shows::Below, _, Some((_, kind))) => Some(kind),
            (_, Some((_, says)), _) => Some(says.kind),
            _ => None,
        }
    }

    pub(super) fn is_directory(&self) -> bool {
        self.kind() == Some(FileType::Directory)
    }

    /// The layers' number of it, if they have it and it shows.
    pub(super) fn number_below(&self) -> Option<u64> {
        self.below.map(|(number, _)| number).filter(|_| matches!(self.shows, Shows::Below | Shows::Both))
    }

    /// The image's inode of it, if that has it.
    pub(super) fn ino(&self) -> Option<u32> {
        self.upper.map(|(ino, _)| ino)
    }
}

impl Overlay {
    /// The inode of what the kernel has by a number, if the image has it.
    pub(super) fn in_image(&self, number: u64) -> Option<u32> {
        if number & WRITABLE == 0 { self.known.copy(number) } else { ino_of(number).ok() }
    }

    /// Whether a directory shows what the layers have in it.
    pub(super) fn shows_layers(&self, directory: u64) -> bool {
        directory & WRITABLE == 0 && !self.known.is_whole(directory)
    }

    /// What the layers have under a name, whether something hides it or not.
    pub(super) fn below(&self, directory: u64, name: &[u8]) -> Answer<Option<(u64, FileType)>> {
        if self.shows_layers(directory) { self.lower.find(directory, name) } else { Ok(None) }
    }

    /// What a name stands for. What the image has of it is in use once more then.
    pub(super) fn take(&self, directory: u64, name: &[u8]) -> Answer<Found> {
        let below = || self.below(directory, name);
        let Some(ino) = self.in_image(directory) else {
            let below = below()?;
            return Ok(Found { shows: shows(Upper::Nothing, below.map(|(_, kind)| kind)), upper: None, below });
        };
        let upper = match self.upper.lookup(number_of(ino), name) {
            Ok(entry) => Some(entry),
            Err(Errno::ENOENT) => None,
            Err(error) => return Err(error),
        };
        let found = self.compare(upper, below);
        if let (Err(_), Some(upper)) | (Ok(Found { upper: None, .. }), Some(upper)) = (&found, upper) {
            self.upper.forget(upper.node, 1);
        }
        found
    }

    fn compare(&self, upper: Option<Entry>, below: impl FnOnce() -> Answer<Option<(u64, FileType)>>) -> Answer<Found> {
        let Some(Entry { node, attributes }) = upper else {
            let below = below()?;
            return Ok(Found { shows: shows(Upper::Nothing, below.map(|(_, kind)| kind)), upper: None, below });
        };
        let (ino, below) = (ino_of(node)?, below()?);
        if hides(&attributes) {
            return Ok(Found { shows: shows(Upper::Whiteout, None), upper: None, below });
        }
        // Asked only where it decides.
        let may_be_both = attributes.kind == FileType::Directory && below.is_some();
        let is_opaque = may_be_both && self.upper.is_opaque(ino)?;
        let upper = Upper::Is(attributes.kind, is_opaque);
        let shows = shows(upper, below.map(|(_, kind)| kind));
        Ok(Found { shows, upper: Some((ino, attributes)), below })
    }

    /// The same; nothing is in use for it.
    pub(super) fn find(&self, directory: u64, name: &[u8]) -> Answer<Found> {
        let found = self.take(directory, name)?;
        if let Some(ino) = found.ino() {
            self.upper.forget(number_of(ino), 1);
        }
        Ok(found)
    }

    /// What is said of something that the layers have, or had.
    pub(super) fn says(&self, number: u64) -> Answer<Attributes> {
        match self.known.copy(number) {
            Some(ino) => Ok(self.with_links(number, self.upper.attributes(number_of(ino))?)),
            None => {
                let says = self.lower.attributes(number)?;
                let links = match says.kind {
                    FileType::Directory => says.links,
                    _ => says.links.saturating_sub(self.known.gone(number)),
                };
                Ok(Attributes { links, ..says })
            }
        }
    }

    /// Of something that was copied, what the image says of it: with those names that are the layers' still. Those of directories are not counted where
    /// both have some.
    pub(super) fn with_links(&self, number: u64, says: Attributes) -> Attributes {
        let links = match says.kind {
            FileType::Directory if self.known.is_whole(number) || says.links == 0 => says.links,
            FileType::Directory => 1,
            _ => says.links + self.names_below(number),
        };
        Attributes { links, ..says }
    }

    /// How many names of a file are the layers'.
    pub(super) fn names_below(&self, number: u64) -> u32 {
        let links = self.lower.attributes(number).map_or(0, |says| says.links);
        links.saturating_sub(self.known.gone(number))
    }
}
