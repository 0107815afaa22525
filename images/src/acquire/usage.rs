//! Who uses an image, asked without taking a lock.

use serde::Serialize;

use super::holder::{self, Holder};
use crate::image::Opened;
use crate::lock::{self, Access, Availability};

/// Who uses an image.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Usage {
    /// Nobody.
    Free,
    /// One or more readers.
    Readers {
        /// Who they are, as far as the machine tells.
        seen: Option<String>,
    },
    /// A writer, or something else that excludes everybody.
    Writer {
        /// What the writer published about itself, when that still holds.
        holder: Option<Holder>,
        /// What else the machine tells (own processes, loop devices).
        seen: Option<String>,
    },
    /// The file system has no such locks; nobody can tell.
    Unknown {
        /// What the system answered.
        reason: String,
    },
}

/// Who uses the image, asked without taking a lock: for writing, because that finds readers too. A mount by the kernel may come
/// with a lock (SingularityCE's, whose writer has left a note) or without one (root's, by hand).
#[must_use]
pub fn usage(opened: &Opened) -> Usage {
    let image = &opened.image;
    let Some(window) = image.ext_window() else { return Usage::Free };
    let lock = lock::query(&opened.file, window, Access::Write);
    let who = || lock::who(&image.path, &opened.file, window, Access::Write);
    if let Ok(Availability::Held(Access::Write)) = lock {
        return Usage::Writer { holder: holder::read(&image.path), seen: who() };
    }
    let attached = lock::loops(image.dev, image.ino);
    let mounted = || attached.iter().filter(|device| device.touches(window));
    if let Some(device) = mounted().find(|device| !device.read_only) {
        let seen = Some(format!("the loop device {} (mounted by root?)", device.name));
        return Usage::Writer { holder: None, seen };
    }
    match lock {
        Ok(Availability::Held(_)) => Usage::Readers { seen: who() },
        _ if mounted().next().is_some() => Usage::Readers { seen: None },
        Ok(Availability::Free) => Usage::Free,
        Ok(Availability::Unsupported(errno)) => Usage::Unknown { reason: errno.desc().into() },
        Err(error) => Usage::Unknown { reason: error.to_string() },
    }
}
