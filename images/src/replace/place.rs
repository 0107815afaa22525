//! Where an image really lies, so that its new version takes its place and not that of a link to it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::image::Image;
use crate::temporary::{Draft, Kind, sweep};
use crate::trust::open_dir::directory_of;

/// See the module.
#[derive(Debug)]
pub(crate) struct Place {
    file: PathBuf,
}

impl Place {
    /// The place of an image that is locked.
    pub(crate) fn of(image: &Image) -> io::Result<Self> {
        let place = Self { file: fs::canonicalize(&image.path)? };
        match place.has(image) {
            true => Ok(place),
            false => Err(io::Error::other("it was replaced by another file just now")),
        }
    }

    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    pub(crate) fn directory(&self) -> &Path {
        directory_of(&self.file)
    }

    /// Whether the image is still there, also by the path that it was given by.
    pub(crate) fn has(&self, image: &Image) -> bool {
        image.is_still_at(&self.file) && image.is_still_at(&image.path)
    }

    /// An empty draft beside the image. What killed makers have left is taken away first.
    pub(crate) fn draft(&self, kind: Kind) -> io::Result<Draft> {
        sweep(self.directory());
        Draft::new(self.directory(), self.file.file_name().unwrap_or_default(), kind)
    }
}
