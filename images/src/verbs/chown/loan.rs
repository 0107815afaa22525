//! The note of a loan, on the image itself: whose it was before root got it ([`crate::verbs::with_root`]). It is struck out where an
//! image is given to somebody for good.
//!
//! It is an extended attribute of the image file, so it goes wherever the file goes and no byte of the image changes. It is on disk
//! before the first owner changes and is struck out when all are back, so an image that carries one is on the way, and whoever
//! finds it knows where to.

use std::fs::File;
use std::io;
use std::path::Path;

use nix::unistd::Uid;
use serde::{Deserialize, Serialize};
use xattr::FileExt;

use crate::image::attributes::LOAN;
use crate::system::process::{Process, host_name};
use condatainer_formats::ext::Ids;

const VERSION: u32 = 1;

/// Whose an image was, and who has lent it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    v: u32,
    /// Owner of `upper` before.
    uid: u32,
    /// Its group.
    gid: u32,
    /// The user who has lent it.
    by: u32,
    /// The process that will give it back, and its host.
    host: String,
    pid: u32,
}

impl Note {
    /// Of a loan by this process.
    pub(crate) fn of(owner: Ids) -> Self {
        let (uid, gid) = (owner.uid, owner.gid);
        Self { v: VERSION, uid, gid, by: Uid::effective().as_raw(), host: host_name(), pid: std::process::id() }
    }

    pub(crate) fn read(file: &File) -> Option<Self> {
        Self::parse(&file.get_xattr(LOAN).ok()??)
    }

    pub(crate) fn read_at(image: &Path) -> Option<Self> {
        Self::parse(&xattr::get_deref(image, LOAN).ok()??)
    }

    fn parse(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok().filter(|note: &Self| note.v == VERSION)
    }

    /// Puts it on the image, on disk before this returns.
    pub(crate) fn write(&self, file: &File) -> io::Result<()> {
        file.set_xattr(LOAN, &serde_json::to_vec(self)?)?;
        file.sync_all()
    }

    pub(crate) fn owner(&self) -> Ids {
        Ids { uid: self.uid, gid: self.gid }
    }

    /// Whether this user has lent it, and the process that was to give it back is gone. Of a process on another host nobody here can
    /// tell; what it has in use is locked.
    pub(crate) fn is_left_by_me(&self) -> bool {
        let is_at_work = self.host == host_name() && Process::numbered(self.pid).is_one_of_ours();
        self.by == Uid::effective().as_raw() && !is_at_work
    }
}

/// Strikes the note out, if there is one.
pub(crate) fn strike(file: &File) {
    if Note::read(file).is_some() {
        let _ = file.remove_xattr(LOAN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: Ids = Ids { uid: 1001, gid: 50 };

    #[test]
    fn written_read_and_struck_out() {
        let file = tempfile::tempfile_in("/var/tmp").unwrap();
        assert_eq!(Note::read(&file), None);
        Note::of(OWNER).write(&file).unwrap();
        assert_eq!(Note::read(&file).unwrap().owner(), OWNER);
        strike(&file);
        assert_eq!(Note::read(&file), None);
        file.set_xattr(LOAN, b"{\"v\":2}").unwrap();
        assert_eq!(Note::read(&file), None, "of another release");
    }

    #[test]
    fn only_what_a_dead_process_of_mine_has_left() {
        let note = Note::of(OWNER);
        assert!(!note.is_left_by_me(), "this process lives");
        assert!(Note { pid: u32::MAX, ..note.clone() }.is_left_by_me());
        let mut other = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let foreign = Note { pid: other.id(), ..note.clone() }.is_left_by_me();
        other.kill().and_then(|()| other.wait()).unwrap();
        assert!(foreign, "the number is another program's by now");
        assert!(Note { host: "elsewhere".into(), ..note.clone() }.is_left_by_me());
        assert!(!Note { pid: u32::MAX, by: note.by + 1, ..note }.is_left_by_me());
    }
}
