//! The names of a directory that the image and the layers have.
//!
//! First come those of the layers, in their order, unless they are hidden, then those that only the image has. So a name has its place whether it was
//! copied or not, and what happens while somebody lists the directory neither shows a name twice nor leaves one out.

use condatainer_formats::ext::FileType;
use nix::errno::Errno;

use super::Overlay;
use super::decide::Shows;
use crate::serve::tree::{Answer, Listed, Tree, WRITABLE};
use crate::workspace::{ino_of, number_of};

impl Overlay {
    /// As [`Tree::list`].
    pub(super) fn list_names(
        &self,
        directory: u64,
        from: u64,
        visit: &mut dyn FnMut(&Listed<'_>) -> bool,
    ) -> Answer<()> {
        if directory & WRITABLE != 0 {
            return self.list_image(ino_of(directory)?, from, visit);
        }
        if self.in_image(directory).is_none() {
            return self.lower.list(directory, from, visit);
        }
        let places = match self.lower.listed(directory, b"") {
            Ok((_, places)) => places,
            // It was copied as a part of another one, before the kernel knew it.
            Err(Errno::ESTALE) if self.known.is_whole(directory) => {
                return self.list_image(self.in_image(directory).ok_or(Errno::ESTALE)?, from, visit);
            }
            Err(error) => return Err(error),
        };
        if from < places && !self.list_layers(directory, from, visit)? {
            return Ok(());
        }
        let Some(ino) = self.in_image(directory) else { return Err(Errno::ESTALE) };
        let mut failed = Ok(());
        self.list_image(
            ino,
            from.saturating_sub(places),
            &mut |listed| match self.lower.listed(directory, listed.name) {
                Ok((true, _)) => true,
                Ok((false, _)) => visit(&Listed { next: listed.next.saturating_add(places), ..*listed }),
                Err(error) => {
                    failed = Err(error);
                    false
                }
            },
        )?;
        failed
    }

    /// Those of the layers that show. Returns whether all could be visited.
    fn list_layers(&self, directory: u64, from: u64, visit: &mut dyn FnMut(&Listed<'_>) -> bool) -> Answer<bool> {
        let mut all = Ok(true);
        self.lower.list(directory, from, &mut |listed| {
            let shown = self.find(directory, listed.name).map(|found| {
                let number = match (found.shows, found.ino()) {
                    (Shows::Upper, Some(ino)) => self.number(ino),
                    _ => found.number_below().unwrap_or(listed.node),
                };
                found.kind().map(|kind| Listed { node: number, kind, ..*listed })
            });
            match shown {
                Ok(Some(shown)) => all = Ok(visit(&shown)),
                Ok(None) => {}
                Err(error) => all = Err(error),
            }
            all == Ok(true)
        })?;
        all
    }

    fn list_image(&self, ino: u32, from: u64, visit: &mut dyn FnMut(&Listed<'_>) -> bool) -> Answer<()> {
        self.upper.list(number_of(ino), from, &mut |listed| {
            if listed.kind == FileType::CharDevice && self.is_whiteout(listed.node) {
                return true;
            }
            let node = ino_of(listed.node).map_or(listed.node, |ino| self.number(ino));
            visit(&Listed { node, ..*listed })
        })
    }

    fn is_whiteout(&self, number: u64) -> bool {
        self.upper.attributes(number).is_ok_and(|says| crate::workspace::above::hides(&says))
    }

    /// The number that an inode of the image has.
    pub(super) fn number(&self, ino: u32) -> u64 {
        self.known.original(ino).unwrap_or_else(|| number_of(ino))
    }

    /// Whether a directory shows any name.
    pub(super) fn shows_names(&self, directory: u64) -> Answer<bool> {
        let mut any = false;
        self.list_names(directory, 0, &mut |_| {
            any = true;
            false
        })?;
        Ok(any)
    }
}
