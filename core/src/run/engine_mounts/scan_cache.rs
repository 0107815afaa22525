//! What is known about the images of a read-only start, kept through it.
//!
//! fuse2fs changes the superblock when it mounts, also for reading only, and once more when it ends, so that what was found in the
//! image would have to be searched for again. While we hold a lock for reading ourselves no writer can come in between, and what was
//! known at the start is known at the end.

use std::fs::File;

use crate::plan::{Plan, Watch};
use condatainer_formats::ext::{self, Stamp, Window};
use condatainer_images::image;
use condatainer_images::lock::{self, Access, Guard};
use condatainer_images::overlay::whiteout::{self, Found};

/// One image and what is known about it.
pub(crate) struct CachedScan {
    file: File,
    window: Window,
    stamp: Stamp,
    found: Found,
    // Released last.
    _guard: Guard,
}

/// Takes note of the images that the plan relies on. Called while the engine holds its locks.
pub(crate) fn of_layers(plan: &Plan) -> Vec<CachedScan> {
    plan.watch.iter().filter(|watch| watch.stamp.is_some()).filter_map(CachedScan::of).collect()
}

impl CachedScan {
    fn of(watch: &Watch) -> Option<Self> {
        let opened = image::open(&watch.path).ok()?;
        let window = opened.image.ext_window()?;
        let guard = lock::take(&opened.file, window, Access::Read).ok().filter(|guard| guard.unsupported.is_none())?;
        let stamp = ext::stamp(&opened.file, window).ok()?;
        let found = whiteout::remembered(&opened.file, &stamp)?;
        Some(Self { file: opened.file, window, stamp, found, _guard: guard })
    }

    /// Remembers it for the image as it is now, when the engine has unmounted it.
    pub(crate) fn renew(self) {
        if let Ok(now) = ext::stamp(&self.file, self.window)
            && now.differs_only_by_mounts(&self.stamp)
        {
            whiteout::remember(&self.file, &now, &self.found);
        }
    }
}
