//! All names that a file of the layers has, also those that the kernel has not looked up.

use std::cell::Cell;
use std::time::{Duration, Instant};

use condatainer_formats::ext::FileType;
use nix::errno::Errno;

use super::Overlay;
use crate::serve::asker;
use crate::serve::tree::{Answer, Entry, Tree};

/// So often it is looked whether somebody waits for them still.
const LOOK: Duration = Duration::from_millis(100);

/// What was looked up as the kernel does it. It is forgotten when this goes.
pub(super) struct LookedUp<'a> {
    overlay: &'a Overlay,
    nodes: Vec<u64>,
}

impl Overlay {
    /// Looks up the names of a file, so that it is known where they are for as long as the answer is there.
    pub(super) fn look_up_names(&self, number: u64) -> Answer<LookedUp<'_>> {
        let mut found = LookedUp { overlay: self, nodes: Vec::new() };
        let says = self.lower.attributes(number)?;
        if says.links < 2 || says.kind == FileType::Directory {
            return Ok(found);
        }
        let looked = Cell::new(Instant::now());
        let go_on = || {
            if looked.get().elapsed() < LOOK {
                return true;
            }
            looked.set(Instant::now());
            !asker::is_killed()
        };
        let ways = self.lower.ways_to(number, &go_on)?.ok_or(Errno::EINTR)?;
        ways.iter().try_for_each(|way| found.follow(way, number))?;
        Ok(found)
    }
}

impl LookedUp<'_> {
    /// To a directory, and there to one of the file's names, if it shows.
    fn follow(&mut self, way: &[Box<[u8]>], number: u64) -> Answer<()> {
        let mut directory = self.overlay.root;
        for name in way {
            match self.look_up(directory, name)? {
                Some(Entry { node, attributes }) if attributes.kind == FileType::Directory => directory = node,
                // The image has something else there, or has taken it away.
                _ => return Ok(()),
            }
        }
        for name in self.overlay.names(directory, number, false)? {
            self.look_up(directory, &name)?;
        }
        Ok(())
    }

    fn look_up(&mut self, directory: u64, name: &[u8]) -> Answer<Option<Entry>> {
        match self.overlay.lookup(directory, name) {
            Ok(entry) => {
                self.nodes.push(entry.node);
                Ok(Some(entry))
            }
            Err(Errno::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Drop for LookedUp<'_> {
    fn drop(&mut self) {
        for node in self.nodes.drain(..) {
            self.overlay.forget(node, 1);
        }
    }
}
