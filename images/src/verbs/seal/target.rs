//! Where the layer goes: made under a name of its own beside its place, and put there when it is whole.

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
use crate::temporary::{Draft, Kind, attributes, sweep};
use crate::trust::open_dir::directory_of;

/// A place that was looked at.
pub(super) struct Target {
    path: PathBuf,
    directory: PathBuf,
    force: bool,
}

impl Target {
    /// Refuses a place that is taken, unless it may be replaced.
    pub(super) fn new(path: &Path, force: bool) -> Result<Self, SealError> {
        let directory = directory_of(path);
        let target = Self { path: path.into(), directory: directory.into(), force };
        if path.file_name().is_none() {
            return Err(SealError::NotAPlace { path: path.into(), what: "is a directory" });
        }
        if !directory.is_dir() {
            return Err(SealError::NoDirectory { path: path.into(), directory: directory.into() });
        }
        target.require_free(path)?;
        target.require_space()?;
        Ok(target)
    }

    fn require_free(&self, path: &Path) -> Result<(), SealError> {
        match fs::symlink_metadata(path) {
            Ok(meta) if meta.is_dir() => Err(SealError::NotAPlace { path: path.into(), what: "is a directory" }),
            Ok(_) if !self.force => Err(SealError::Exists { path: path.into() }),
            _ => Ok(()),
        }
    }

    /// How much a layer will take cannot be told before it is made; none at all is too little.
    fn require_space(&self) -> Result<(), SealError> {
        let stat = statvfs(&self.directory).map_err(|errno| SealError::io(&self.path, errno.into()))?;
        if stat.blocks_available() == 0 { Err(SealError::no_space(&self.path)) } else { Ok(()) }
    }

    /// An image is never replaced by its own layer.
    pub(super) fn refuse_image(&self, image: &Image) -> Result<(), SealError> {
        match fs::metadata(&self.path) {
            Ok(meta) if (meta.dev(), meta.ino()) == (image.dev, image.ino) => {
                Err(SealError::NotAPlace { path: self.path.clone(), what: "is the image itself" })
            }
            _ => Ok(()),
        }
    }

    /// An empty file beside the place. What killed makers have left is taken away first.
    pub(super) fn draft(&self) -> Result<Draft, SealError> {
        sweep(&self.directory);
        let name = self.path.file_name().unwrap_or_default();
        Draft::new(&self.directory, name, Kind::New).map_err(|error| SealError::io(&self.path, error))
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
        let published = self.put(layer, readers, &self.path);
        if published.is_err()
            && let Some(beside) = &beside
            && !self.force
        {
            let _ = fs::remove_file(beside);
        }
        published.map(|()| beside)
    }

    fn publish_variables(&self, variables: &Variables) -> Result<PathBuf, SealError> {
        let path = sidecar::path_of(&self.path);
        let draft = self.draft()?;
        draft.file().write_all(variables.text.as_bytes()).map_err(|error| SealError::io(&path, error))?;
        self.put(draft, variables.readers, &path)?;
        Ok(path)
    }

    fn put(&self, draft: Draft, readers: u32, path: &Path) -> Result<(), SealError> {
        let io = |error| SealError::io(path, error);
        draft.open_to(0o600 | (readers & 0o044)).map_err(io)?;
        if let Some(old) = self.replaced(path) {
            attributes::share_alike(&old, draft.file());
        }
        if path != self.path {
            // Nobody believes variables that others can write.
            attributes::keep_from_writers(draft.file()).map_err(io)?;
        }
        let put = if self.force { draft.replace(path) } else { draft.finish(path) };
        put.map(drop).map_err(io)
    }

    /// The caller's own file that the new one replaces.
    fn replaced(&self, path: &Path) -> Option<File> {
        let flags = O_NOFOLLOW | O_NONBLOCK;
        let old = OpenOptions::new().read(true).custom_flags(flags).open(path).ok().filter(|_| self.force)?;
        let is_own = old.metadata().is_ok_and(|meta| meta.is_file() && meta.uid() == geteuid().as_raw());
        is_own.then_some(old)
    }

    /// Refuses a file of variables that is there already.
    pub(super) fn require_free_beside(&self) -> Result<(), SealError> {
        self.require_free(&sidecar::path_of(&self.path))
    }
}
