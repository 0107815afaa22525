//! Asks about the image's lock, and really takes one on a file of our own beside it, which a signal takes away.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use tempfile::Builder;

use super::facts::{Facts, Lock, Trial};
use super::system;
use condatainer_images::image;
use condatainer_images::lock::{self, Access, Availability};
use condatainer_images::temporary::on_signal::RemovedOnSignal;

pub(crate) fn read(path: &Path) -> Facts {
    let found = if path.is_dir() { Ok(None) } else { image(path).map(Some) };
    let directory = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("/")) };
    Facts {
        path: path.into(),
        problem: found.as_ref().err().cloned(),
        trial: if found.is_ok() { trial(directory) } else { Trial::NoFile("there is nothing".into()) },
        image: found.ok().flatten(),
        system: system::of(path),
    }
}

/// The kind of the image and its lock, which is only asked about.
fn image(path: &Path) -> Result<(&'static str, Lock), String> {
    let opened = image::open(path).map_err(|error| error.to_string())?;
    let kind = opened.image.kind.name();
    let Some(window) = opened.image.ext_window() else { return Ok((kind, Lock::None)) };
    let lock = match lock::query(&opened.file, window, Access::Write).map_err(|error| error.to_string())? {
        Availability::Free => Lock::Free,
        Availability::Held(_) => Lock::Held,
        Availability::Unsupported(errno) => Lock::Unsupported(errno.desc().into()),
    };
    Ok((kind, lock))
}

fn trial(directory: &Path) -> Trial {
    match try_locks(directory) {
        Ok(trial) => trial,
        Err(error) => Trial::NoFile(error.to_string()),
    }
}

fn try_locks(directory: &Path) -> io::Result<Trial> {
    let make = |path: &Path| OpenOptions::new().read(true).write(true).create_new(true).open(path);
    let file =
        Builder::new().prefix(".condatainer-doctor-").make_in(directory, |path| RemovedOnSignal::file(path, make))?;
    let (_on_signal, first) = file.as_file();
    let second = File::open(file.path())?;
    let guard = match lock::take(first, lock::WHOLE_FILE, Access::Write) {
        Ok(guard) => guard,
        Err(error) => return Err(io::Error::other(error.to_string())),
    };
    if let Some(errno) = guard.unsupported {
        return Ok(Trial::Unsupported(errno.desc().into()));
    }
    Ok(match lock::query(&second, lock::WHOLE_FILE, Access::Write)? {
        Availability::Held(_) => Trial::Seen,
        Availability::Free => Trial::Unseen,
        Availability::Unsupported(errno) => Trial::Unsupported(errno.desc().into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_taken_and_nothing_stays() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(trial(dir.path()), Trial::Seen);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(matches!(trial(Path::new("/proc/self")), Trial::NoFile(_)));
    }
}
