//! Where the layer goes: looked at before the long work, made under a name of its own beside its place, put there when it is whole.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::libc::O_NONBLOCK;

use super::error::BuildError;
use condatainer_images::image::{self, ImageError};
use condatainer_images::temporary::{self, Draft, Unfit, in_the_making};
use condatainer_images::trust::open_dir::directory_of;
use condatainer_images::verbs::create::free_space;

/// A place that was looked at, and the draft in it.
#[derive(Debug)]
pub(super) struct Target {
    place: temporary::Target,
    /// What it replaces.
    old: Option<File>,
    draft: Draft,
}

impl Target {
    /// Refuses a place that is taken, unless the layer is to be rebuilt, and one where somebody is at it already.
    pub(super) fn new(asked: &Path, update: bool) -> Result<Self, BuildError> {
        let path = real(asked, update);
        let target = temporary::Target::look(&path, update).map_err(|unfit| match unfit {
            Unfit::NoName | Unfit::NoDirectory => {
                BuildError::NoDirectory { path: path.clone(), directory: directory_of(&path).into() }
            }
            Unfit::IsDirectory => BuildError::IsDirectory { path: path.clone() },
            Unfit::Exists => BuildError::Exists { path: path.clone() },
        })?;
        let old = old(&path)?;
        let draft = target.draft().map_err(|error| BuildError::io(&path, error))?;
        // One look, after the own draft can be seen: of two who have come at the same instant one sees the other at least.
        let other = in_the_making(target.directory(), path.file_name().unwrap_or_default())
            .find(|other| other.file_name() != draft.path().file_name());
        if let Some(other) = other {
            return Err(BuildError::InHand { path, draft: other });
        }
        Ok(Self { place: target, old, draft })
    }

    pub(super) fn path(&self) -> &Path {
        self.place.path()
    }

    pub(super) fn directory(&self) -> &Path {
        self.place.directory()
    }

    pub(super) fn draft(&self) -> &Draft {
        &self.draft
    }

    /// Whether it takes the place of an older one.
    pub(super) fn replaces(&self) -> bool {
        self.old.is_some()
    }

    /// Refuses where there are not `needed` bytes.
    pub(super) fn require_space(&self, needed: u64) -> Result<(), BuildError> {
        require_space(self.path(), self.directory(), needed)
    }

    /// Puts the layer in its place.
    pub(super) fn publish(self) -> Result<(), BuildError> {
        // A layer is made of what others have too, and is made for others.
        let shared = self.place.share(&self.draft, 0o666, self.old.as_ref());
        let put = shared.and_then(|()| self.place.put(self.draft));
        put.map(drop).map_err(|error| BuildError::io(self.place.path(), error))
    }
}

/// What is there to be replaced: anything but a user's work, a damaged layer too.
///
/// # Errors
/// It is a workspace image, or cannot be looked at.
pub(super) fn old(path: &Path) -> Result<Option<File>, BuildError> {
    // Opening a fifo would wait for a writer.
    let file = match OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ImageError::io(path, error).into()),
    };
    match image::may_hold_work(path, &file)? {
        true => Err(BuildError::IsWorkspace { path: path.into() }),
        false => Ok(Some(file)),
    }
}

/// A link to a layer stays a link.
pub(super) fn real(asked: &Path, update: bool) -> PathBuf {
    let target = update.then(|| fs::canonicalize(asked).ok()).flatten();
    target.unwrap_or_else(|| asked.into())
}

/// Refuses where there are not `needed` bytes for `path` in `directory`.
pub(super) fn require_space(path: &Path, directory: &Path, needed: u64) -> Result<(), BuildError> {
    match free_space(directory) {
        Some(available) if available < needed => {
            Err(BuildError::NoSpace { path: path.into(), directory: directory.into(), needed: Some(needed), available })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use condatainer_formats::ext::Ids;
    use condatainer_images::verbs::create::{self, Spec};

    fn image(path: &Path) {
        create::create(&Spec::new(path.into(), 64 << 20, Ids::ROOT), &mut |_, _| {}).unwrap();
    }

    #[test]
    fn a_users_work_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        image(&at("env.img"));
        image(&at("damaged.img"));
        File::options().write(true).open(at("damaged.img")).unwrap().set_len(1 << 20).unwrap();
        std::os::unix::fs::symlink("env.img", at("link.sqf")).unwrap();
        for name in ["env.img", "damaged.img", "link.sqf"] {
            let error = Target::new(&at(name), true).unwrap_err().to_string();
            assert!(error.contains(".img: is a workspace image, not a layer: "), "{error}");
        }
        // A copy that was broken off, and what no tool can read any more.
        for (name, text) in [("short.sqf", "hsqs"), ("empty.sqf", ""), ("zeros.sqf", "\0\0\0\0")] {
            fs::write(at(name), text).unwrap();
            let target = Target::new(&at(name), true).unwrap();
            assert!(target.replaces());
            target.publish().unwrap();
        }
        assert!(!Target::new(&at("new.sqf"), true).unwrap().replaces());
    }
    #[test]
    fn nobody_is_at_it_twice() {
        let dir = tempfile::tempdir().unwrap();
        let layer = dir.path().join("a.sqf");
        let first = Target::new(&layer, false).unwrap();
        assert!(
            matches!(Target::new(&layer, false), Err(BuildError::InHand { draft, .. }) if draft == first.draft.path())
        );
        assert!(Target::new(&dir.path().join("b.sqf"), false).is_ok());
        drop(first);
        // All at the same instant: never two.
        for _ in 0..50 {
            let start = std::sync::Barrier::new(4);
            let come = || {
                start.wait();
                let target = Target::new(&layer, false);
                start.wait();
                usize::from(target.is_ok())
            };
            let made: usize = std::thread::scope(|scope| {
                let threads = [(); 4].map(|()| scope.spawn(come));
                threads.into_iter().map(|thread| thread.join().unwrap()).sum()
            });
            assert!(made <= 1, "{made}");
        }
    }
}
