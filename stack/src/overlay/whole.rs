//! A directory of the layers that gets another name.
//!
//! The kernel's overlay can note in an attribute where a directory was before; nobody who does not know that attribute sees what is in it, and a user's overlay
//! refuses it. So everything in the directory is copied, and then it hides what is below. mv(1) would do the same by itself, file by file, after
//! `EXDEV`; that is still the answer where it is much, since nobody can look into the directories meanwhile.

use condatainer_formats::ext::FileType;
use nix::errno::Errno;

use super::Overlay;
use crate::serve::tree::{Answer, Tree, WRITABLE};

/// Names that are copied for a rename, at most.
const MOST_NAMES: u64 = 2000;
/// Bytes, at most: copying them takes well below a second.
const MOST_BYTES: u64 = 64 << 20;
/// Directories in each other, at most.
const DEEPEST: usize = 100;

/// A name in a directory, its number and what it is.
type Named = (Vec<u8>, u64, FileType);

#[derive(Debug, Default)]
struct Amount {
    names: u64,
    bytes: u64,
}

impl Overlay {
    /// The image has all of a directory afterwards, which has this name. Returns its inode.
    pub(super) fn make_whole(&self, directory: u64, name: &[u8], number: u64) -> Answer<u32> {
        self.count(number, &mut Amount::default(), DEEPEST)?;
        self.copy_all(directory, name, number)
    }

    fn named(&self, directory: u64) -> Answer<Vec<Named>> {
        let mut names = Vec::new();
        self.list_names(directory, 0, &mut |listed| {
            names.push((listed.name.to_vec(), listed.node, listed.kind));
            names.len() as u64 <= MOST_NAMES
        })?;
        Ok(names)
    }

    /// The kernel may not have looked up a directory that several layers share; only then it is known what it consists of.
    fn while_known<T>(
        &self,
        directory: u64,
        name: &[u8],
        number: u64,
        work: impl FnOnce(u64) -> Answer<T>,
    ) -> Answer<T> {
        let held =
            if self.below(directory, name)?.is_some() { Some(self.lower.lookup(directory, name)?) } else { None };
        let done = work(number);
        if let Some(held) = held {
            self.lower.forget(held.node, 1);
        }
        done
    }

    fn count(&self, directory: u64, amount: &mut Amount, depth: usize) -> Answer<()> {
        let depth = depth.checked_sub(1).ok_or(Errno::EXDEV)?;
        for (name, number, kind) in self.named(directory)? {
            amount.names += 1;
            if self.in_image(number).is_none() && kind == FileType::Regular {
                amount.bytes = amount.bytes.saturating_add(self.lower.attributes(number)?.size);
            }
            if amount.names > MOST_NAMES || amount.bytes > MOST_BYTES {
                return Err(Errno::EXDEV);
            }
            if kind == FileType::Directory && number & WRITABLE == 0 && self.shows_layers(number) {
                self.while_known(directory, &name, number, |number| self.count(number, amount, depth))?;
            }
        }
        Ok(())
    }

    /// What is in a directory first: it hides what is below it only when it has all of that.
    fn copy_all(&self, parent: u64, name: &[u8], directory: u64) -> Answer<u32> {
        let ino = self.up_from(parent, name, directory)?;
        for (name, number, kind) in self.named(directory)? {
            match kind {
                FileType::Directory if number & WRITABLE == 0 && self.shows_layers(number) => {
                    self.while_known(directory, &name, number, |number| self.copy_all(directory, &name, number))?;
                }
                FileType::Directory => {}
                _ => drop(self.up_from(directory, &name, number)?),
            }
            // What the kernel never had it does not forget.
            self.forget(number, 0);
        }
        self.upper.set_opaque(ino)?;
        self.known.note_whole(directory);
        // There is nothing below that they could hide, and the kernel's overlay would list them.
        self.upper.clear_whiteouts(ino)?;
        Ok(ino)
    }
}
