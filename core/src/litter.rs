//! Temporary files that exist at this moment, so that a signal which ends the program can take them away.
//!
//! Values with a `Drop` do that for every other end; a signal runs no `Drop`, and after a SIGKILL nobody can tidy up but the next
//! who comes along.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::stop;

static KNOWN: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A path that is taken away on a signal as long as this lives. It removes nothing by itself.
#[derive(Debug)]
pub(crate) struct Litter(PathBuf);

impl Litter {
    /// Makes something at `path` and knows it from that very instant.
    pub(crate) fn made<T>(path: &Path, make: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<(Self, T)> {
        let mut known = known();
        let made = make(path)?;
        known.push(path.into());
        Ok((Self(path.into()), made))
    }
}

impl Drop for Litter {
    fn drop(&mut self) {
        let mut known = known();
        if let Some(at) = known.iter().position(|path| *path == self.0) {
            known.swap_remove(at);
        }
    }
}

fn known() -> MutexGuard<'static, Vec<PathBuf>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on SIGINT, SIGTERM and SIGHUP take the temporary files away before they end the program, each unless it was
/// ignored (`nohup`). Work that brings itself to an end in order is left to do so: a [`crate::stop::Stop`] listens then.
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
                known.iter().for_each(|path| remove(path));
                let _ = emulate_default_handler(signal);
            }
        }
    })?;
    Ok(())
}

/// There is nobody left who could be told of a failure.
fn remove(path: &Path) {
    let is_directory = fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
    let _ = if is_directory { fs::remove_dir_all(path) } else { fs::remove_file(path) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_as_long_as_it_lives() {
        let path = Path::new("/nowhere/of-this-test");
        let is_known = || known().iter().any(|known| known == path);
        let (litter, ()) = Litter::made(path, |_| Ok(())).unwrap();
        assert!(is_known());
        drop(litter);
        assert!(!is_known());
        assert!(Litter::made(path, |_| Err::<(), _>(io::ErrorKind::NotFound.into())).is_err());
        assert!(!is_known());
    }
}
