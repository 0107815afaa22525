//! What goes wrong behind what a program has asked for. A file has lost its name, and that its room cannot be freed is no error of unlink(2).

use std::mem;

use super::base::Volume;
use super::orphan;
use crate::error::{Error, Result};

/// More are not kept for whoever asks.
const MOST: usize = 20;

impl Volume {
    /// What has gone wrong where nobody could be told, since this was asked the last time.
    #[must_use]
    pub fn untold(&self) -> Vec<Error> {
        mem::take(&mut *self.untold.lock())
    }

    /// Frees what has neither name nor user any more. If that fails it stays on the list of orphans; where the image contradicts itself, it
    /// says so of itself from now on, as the kernel's would, so that it is checked before it is used again.
    pub(super) fn free(&self, ino: u32) {
        if self.store.lock().check_thread().is_err() {
            // Whoever ends the image frees it.
            return;
        }
        if let Err(error) = orphan::release(self, ino) {
            if matches!(error, Error::Image(_)) {
                let _ = self.note_damage(false);
            }
            self.tell(error);
        }
    }

    /// The superblock says that there is damage; the list of orphans is given up where that is it.
    pub(super) fn note_damage(&self, in_list: bool) -> Result<()> {
        self.change(|handle| {
            handle.change_superblock(|raw| {
                raw.set_errors();
                if in_list {
                    raw.s_last_orphan = 0.into();
                }
            })
        })
    }

    pub(super) fn tell(&self, error: Error) {
        let mut untold = self.untold.lock();
        if untold.len() < MOST {
            untold.push(error);
        }
    }
}
