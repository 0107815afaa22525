//! The images that a step writes, as its srun sees them: by the time that their container ends, Slurm has taken the tasks' exit codes,
//! so nobody on the node can say any more that what the tasks wrote is lost.
//!
//! An image is looked at before the step and after it. It takes no lock, and whatever cannot be told counts as well: the tasks'
//! own codes are not to be lost for a guess.

use std::path::{Path, PathBuf};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use crate::config::Config;
use crate::machine::survey;
use crate::request::layer::Mode;
use crate::request::{Part, Request};
use crate::run::images::lost::lost;
use crate::run::images::server_end::{self, End, Note};
use condatainer_formats::ext::{Room, Stamp};
use condatainer_images::acquire::usage::Usage;
use condatainer_images::image::{self, Opened};
use condatainer_images::lock;

/// A superblock ends before this, in bytes from the file system's beginning.
const SUPERBLOCK_END: i64 = 4096;

/// The images that the steps of this request write, and that are the same file here as on a node.
#[must_use]
pub fn images(request: &Request, config: &Config) -> Vec<PathBuf> {
    let written = request.layers.iter().filter(|layer| layer.mode == Some(Mode::Rw));
    let is_step = !request.is_off() && request.scope.covers(Part::Step);
    written.filter(|layer| is_step && !config.is_node_path(&layer.path)).map(|layer| layer.path.clone()).collect()
}

/// An image as it was before the step.
#[derive(Debug)]
pub struct Written {
    path: PathBuf,
    identity: (u64, u64),
    stamp: Stamp,
    room: Room,
    note: Option<Note>,
}

impl Written {
    /// Looks at the image at `path`; `None` where that is no ext image that can be read.
    #[must_use]
    pub fn look(path: &Path) -> Option<Self> {
        let opened = image::open(path).ok()?;
        let probe = opened.probe().ok()??;
        let note = server_end::noted(&opened.file, &probe.stamp);
        Some(Self { path: path.into(), identity: identity(&opened), stamp: probe.stamp, room: probe.room, note })
    }

    /// A line for the user if somebody has written to the image since, nobody has it now, and it is not as its writer believes.
    #[must_use]
    pub fn lost(&self) -> Option<String> {
        let opened = image::open(&self.path).ok().filter(|opened| identity(opened) == self.identity)?;
        forget_superblock(&opened);
        let probe = opened.probe().ok()??;
        let note = server_end::noted(&opened.file, &probe.stamp).filter(|note| self.note.as_ref() != Some(note));
        if (probe.stamp == self.stamp && note.is_none()) || survey::usage(&opened) != Usage::Free {
            return None;
        }
        match note.map(|note| note.end) {
            Some(End::Whole) => return None,
            // Nothing of what was written need be in the image.
            Some(End::Killed) => {
                let path = self.path.display();
                return Some(format!("{path}: what wrote it was killed: what was written last may be lost"));
            }
            None => {}
        }
        let is_dirty = !probe.state.is_clean();
        // Plain fuse2fs takes no lock.
        if is_dirty && !lock::writers(opened.image.dev, opened.image.ino).is_empty() {
            return None;
        }
        lost(&opened.image, &opened.file, is_dirty, Some(self.room), Some(probe.room))
    }
}

fn identity(opened: &Opened) -> (u64, u64) {
    (opened.image.dev, opened.image.ino)
}

/// A file server that is not asked at every open (`nocto`) may have shown this machine the image in the midst of the step.
fn forget_superblock(opened: &Opened) {
    let start = opened.image.ext_window().and_then(|window| i64::try_from(window.offset).ok()).unwrap_or(0);
    let _ = posix_fadvise(&opened.file, start, SUPERBLOCK_END, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::fs::OpenOptions;
    use std::os::unix::fs::FileExt;

    use nix::unistd::{getegid, geteuid};

    use crate::request::Scope;
    use crate::request::layer::Layer;
    use condatainer_formats::ext::Ids;
    use condatainer_images::lock::Access;
    use condatainer_images::verbs::create::{Spec, create};

    /// `s_state` and `s_mnt_count` of the superblock.
    const STATE_AT: u64 = 1024 + 0x3A;
    const MOUNTS_AT: u64 = 1024 + 0x34;
    /// `s_free_inodes_count`, of two such words.
    const FREE_INODES_AT: u64 = 1024 + 0x10;

    /// An image, and how to write to its superblock.
    fn image() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("env.img");
        let owner = Ids { uid: geteuid().as_raw(), gid: getegid().as_raw() };
        create(&Spec::new(path.clone(), 64 << 20, owner), &mut |_, _| {}).unwrap();
        (dir, path)
    }

    fn put(path: &Path, at: u64, value: u16) {
        let file = OpenOptions::new().write(true).open(path).unwrap();
        file.write_all_at(&value.to_le_bytes(), at).unwrap();
    }

    #[test]
    fn what_a_killed_writer_leaves_is_told() {
        let (_dir, path) = image();
        let written = Written::look(&path).unwrap();
        assert_eq!(written.lost(), None, "nothing has happened");
        put(&path, MOUNTS_AT, 7);
        assert_eq!(written.lost(), None, "a writer has closed it");
        put(&path, STATE_AT, 0);
        let line = written.lost().unwrap();
        assert!(line.starts_with(&format!("{}: it could not be unmounted cleanly: ", path.display())), "{line}");
        assert_eq!(Written::look(&path).unwrap().lost(), None, "it was so before");
    }

    #[test]
    fn a_killed_server_is_told_until_somebody_writes() {
        let (_dir, path) = image();
        let note = |end| {
            let opened = image::open(&path).unwrap();
            server_end::note(&opened.file, opened.image.ext_window().unwrap(), end);
        };
        let written = Written::look(&path).unwrap();
        note(End::Killed);
        let line = format!("{}: what wrote it was killed: what was written last may be lost", path.display());
        assert_eq!(written.lost(), Some(line), "before anything was in the image");
        let next = Written::look(&path).unwrap();
        assert_eq!(next.lost(), None, "that was before");
        put(&path, MOUNTS_AT, 7);
        assert_eq!(next.lost(), None, "its own server was not killed");
        note(End::Killed);
        assert!(next.lost().is_some());
    }

    #[test]
    fn who_was_told_of_a_full_image_has_lost_nothing() {
        let (_dir, path) = image();
        let written = Written::look(&path).unwrap();
        put(&path, FREE_INODES_AT, 0);
        put(&path, FREE_INODES_AT + 2, 0);
        put(&path, MOUNTS_AT, 7);
        assert!(written.lost().is_some_and(|line| line.contains(": is full (no inodes are left")));
        let opened = image::open(&path).unwrap();
        server_end::note(&opened.file, opened.image.ext_window().unwrap(), End::Whole);
        assert_eq!(written.lost(), None);
    }

    #[test]
    fn what_another_has_is_not_judged() {
        let (_dir, path) = image();
        let written = Written::look(&path).unwrap();
        put(&path, STATE_AT, 0);
        let other = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let window = image::open(&path).unwrap().image.ext_window().unwrap();
        let guard = lock::take(&other, window, Access::Write).unwrap();
        assert_eq!(written.lost(), None, "locked");
        drop((guard, other));
        assert!(written.lost().is_some());
        std::fs::rename(&path, path.with_extension("old")).unwrap();
        assert_eq!(written.lost(), None, "gone");
        std::fs::copy(path.with_extension("old"), &path).unwrap();
        assert_eq!(written.lost(), None, "another file");
    }

    #[test]
    fn a_fifo_is_no_image_and_makes_nobody_wait() {
        let (_dir, path) = image();
        let written = Written::look(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(written.lost(), None);
        assert!(Written::look(&path).is_none());
    }

    #[test]
    fn only_what_a_step_writes_and_this_machine_has() {
        let layer = |path: &str, mode| Layer { mode, ..Layer::at(path) };
        let layers = vec![layer("/a", Some(Mode::Rw)), layer("/local/b", Some(Mode::Rw)), layer("/c", Some(Mode::Ro))];
        let request = Request { layers, ..Request::default() };
        let mut config = Config::default();
        config.node_paths.push("/local".into());
        assert_eq!(images(&request, &config), [PathBuf::from("/a")]);
        assert!(images(&Request { scope: Scope::Batch, ..request }, &config).is_empty());
        assert!(images(&Request::off(), &config).is_empty());
    }
}
