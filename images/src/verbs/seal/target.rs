//! Where the layer goes, and the file of variables beside it: neither is there unless both are whole.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use nix::sys::statvfs::statvfs;
use nix::unistd::geteuid;

use super::error::SealError;
use super::sidecar::{self, Variables};
use crate::image::Image;
use crate::temporary::{Draft, Target, Unfit, attributes};
use crate::trust::open_dir::directory_of;

/// A place that was looked at.
pub(super) struct LayerTarget(Target);

impl LayerTarget {
    /// Refuses a place that is taken, unless it may be replaced.
    pub(super) fn new(path: &Path, force: bool) -> Result<Self, SealError> {
        let target = Self(look(path, force)?);
        target.require_space()?;
        Ok(target)
    }

    /// How much a layer will take cannot be told before it is made; none at all is too little.
    fn require_space(&self) -> Result<(), SealError> {
        let stat = statvfs(self.0.directory()).map_err(|errno| SealError::io(self.0.path(), errno.into()))?;
        if stat.blocks_available() == 0 { Err(SealError::no_space(self.0.path())) } else { Ok(()) }
    }

    /// An image is never replaced by its own layer.
    pub(super) fn refuse_image(&self, image: &Image) -> Result<(), SealError> {
        match fs::metadata(self.0.path()) {
            Ok(meta) if (meta.dev(), meta.ino()) == (image.dev, image.ino) => {
                Err(SealError::NotAPlace { path: self.0.path().into(), what: "is the image itself" })
            }
            _ => Ok(()),
        }
    }

    /// An empty file beside the place. What killed makers have left is taken away first.
    pub(super) fn draft(&self) -> Result<Draft, SealError> {
        self.0.draft().map_err(|error| SealError::io(self.0.path(), error))
    }

    /// Puts the variables and then the layer in their places; when it fails, neither is there. A layer holds what the image holds,
    /// so `readers` are those of the image.
    pub(super) fn publish(
        &self,
        layer: Draft,
        readers: u32,
        variables: Option<&Variables>,
    ) -> Result<Option<PathBuf>, SealError> {
        let beside = variables.map(|variables| self.publish_variables(variables)).transpose()?;
        let published = self.put(layer, readers, &self.0);
        if published.is_err()
            && let Some(beside) = &beside
            && !self.0.replaces()
        {
            let _ = fs::remove_file(beside);
        }
        published.map(|()| beside)
    }

    fn publish_variables(&self, variables: &Variables) -> Result<PathBuf, SealError> {
        let beside = self.beside()?;
        let draft = self.draft()?;
        let written = draft.file().write_all(variables.text.as_bytes());
        written.map_err(|error| SealError::io(beside.path(), error))?;
        self.put(draft, variables.readers, &beside)?;
        Ok(beside.path().into())
    }

    fn put(&self, draft: Draft, readers: u32, target: &Target) -> Result<(), SealError> {
        let io = |error| SealError::io(target.path(), error);
        let old = self.replaced(target.path());
        target.share(&draft, 0o600 | (readers & 0o044), old.as_ref()).map_err(io)?;
        if target.path() != self.0.path() {
            // Nobody believes variables that others can write.
            attributes::keep_from_writers(draft.file()).map_err(io)?;
        }
        target.put(draft).map(drop).map_err(io)
    }

    /// The caller's own file that the new one replaces.
    fn replaced(&self, path: &Path) -> Option<File> {
        let flags = O_NOFOLLOW | O_NONBLOCK;
        let old = OpenOptions::new().read(true).custom_flags(flags).open(path).ok().filter(|_| self.0.replaces())?;
        let is_own = old.metadata().is_ok_and(|meta| meta.is_file() && meta.uid() == geteuid().as_raw());
        is_own.then_some(old)
    }

    /// Refuses a file of variables that is there already.
    pub(super) fn require_free_beside(&self) -> Result<(), SealError> {
        self.beside().map(drop)
    }

    fn beside(&self) -> Result<Target, SealError> {
        look(&sidecar::path_of(self.0.path()), self.0.replaces())
    }
}

fn look(path: &Path, force: bool) -> Result<Target, SealError> {
    Target::look(path, force).map_err(|unfit| match unfit {
        Unfit::NoName | Unfit::IsDirectory => SealError::NotAPlace { path: path.into(), what: "is a directory" },
        Unfit::NoDirectory => SealError::NoDirectory { path: path.into(), directory: directory_of(path).into() },
        Unfit::Exists => SealError::Exists { path: path.into() },
    })
}
