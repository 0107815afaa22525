//! Temporary files that exist at this moment, so that a signal which ends the program can take them away.
//!
//! Values with a `Drop` do that for every other end; a signal runs no `Drop`, and after a SIGKILL nobody can tidy up but the next
//! who comes along.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::system::stop;
use crate::trust::open_dir::{self, Identity, OpenDir};

static KNOWN: Mutex<Vec<Known>> = Mutex::new(Vec::new());
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A file or directory that is taken away on a signal as long as this lives. It removes nothing by itself.
#[derive(Debug)]
pub struct RemovedOnSignal(u64);

/// What is known of it: not its path, which may lead elsewhere by the time of the signal.
#[derive(Debug)]
struct Known {
    number: u64,
    place: OpenDir,
    name: OsString,
    what: What,
}

#[derive(Debug)]
enum What {
    File(Identity),
    Directory(OpenDir),
}

impl RemovedOnSignal {
    /// Makes a file at `path` and knows it from that very instant.
    pub fn file<F: AsFd>(path: &Path, make: impl FnOnce(&Path) -> io::Result<F>) -> io::Result<(Self, F)> {
        let place = OpenDir::at(path.parent().unwrap_or(Path::new(".")))?;
        let mut known = known();
        let file = make(path)?;
        let identity = open_dir::identity(&rustix::fs::fstat(&file)?);
        let name = path.file_name().unwrap_or_default().to_owned();
        Ok((Self::add(&mut known, place, name, What::File(identity)), file))
    }

    /// The same with a directory.
    pub(crate) fn directory(
        place: &OpenDir,
        name: &OsStr,
        make: impl FnOnce(&OpenDir) -> io::Result<OpenDir>,
    ) -> io::Result<(Self, OpenDir)> {
        let (place, mut known) = (place.try_clone()?, known());
        let dir = make(&place)?;
        let what = What::Directory(dir.try_clone()?);
        Ok((Self::add(&mut known, place, name.to_owned(), what), dir))
    }

    fn add(known: &mut Vec<Known>, place: OpenDir, name: OsString, what: What) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        known.push(Known { number, place, name, what });
        Self(number)
    }
}

impl Known {
    /// There is nobody left who could be told of a failure.
    fn remove(&self) {
        let _ = match &self.what {
            What::File(identity) => self.place.remove_file(&self.name, *identity),
            What::Directory(dir) => self.place.remove_tree(&self.name, dir),
        };
    }
}

impl Drop for RemovedOnSignal {
    fn drop(&mut self) {
        let mut known = known();
        if let Some(at) = known.iter().position(|known| known.number == self.0) {
            known.swap_remove(at);
        }
    }
}

fn known() -> MutexGuard<'static, Vec<Known>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on SIGINT, SIGTERM and SIGHUP take the temporary files away before they end the program, each unless it was
/// ignored (`nohup`). Work that brings itself to an end in order is left to do so: a [`crate::system::stop::Stop`] listens then.
///
/// A thread waits for them: this is for programs of one verb, never for a library in somebody else's process.
///
/// # Errors
/// The handlers cannot be set up.
pub fn remove_on_signals() -> io::Result<()> {
    let mut signals = Signals::new(stop::meant_for_us())?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            // Held to the end, so that nothing new can be made.
            let known = known();
            if !stop::is_listened_to() {
                known.iter().for_each(Known::remove);
                let _ = emulate_default_handler(signal);
            }
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::fs::{self, File};

    #[test]
    fn known_as_long_as_it_lives_and_removed_by_what_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("draft");
        let with =
            |number: u64, what: &dyn Fn(&Known)| known().iter().filter(|known| known.number == number).for_each(what);
        let (file, _file) = RemovedOnSignal::file(&path, |path| File::create(path)).unwrap();
        let number = file.0;
        // Another file has its name by now.
        fs::write(dir.path().join("new"), "precious").unwrap();
        fs::rename(&path, dir.path().join("old")).unwrap();
        fs::rename(dir.path().join("new"), &path).unwrap();
        with(number, &Known::remove);
        assert!(path.exists());
        fs::rename(dir.path().join("old"), &path).unwrap();
        with(number, &Known::remove);
        assert!(!path.exists());
        drop(file);
        with(number, &|_| panic!("it is known still"));
        assert!(RemovedOnSignal::file(&path, |_| Err::<File, _>(io::ErrorKind::NotFound.into())).is_err());
    }
}
