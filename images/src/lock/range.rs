//! A lock on a range of a file: whether it could be had now, asked without taking it, or taken for our own work.
//!
//! Apptainer places an open-file-description lock over the bytes of the ext partition, for writing or for reading; nothing
//! else (flock, POSIX locks of other programs) is seen by it, so we use the same. It is released when its file is closed,
//! also by a process that dies.

use std::fs::File;
use std::io;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use condatainer_formats::ext::Window;

/// The whole file, whatever its length will be: a range without length reaches to the end.
pub const WHOLE_FILE: Window = Window { offset: 0, size: 0 };

/// A place behind every image's end. Who waits until another program has locked an image for him holds this one meanwhile.
const TURN: Window = Window { offset: 1 << 62, size: 1 };

/// What somebody wants to do with an image, or does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Shared with other readers.
    Read,
    /// Alone.
    Write,
}

/// Whether a lock could be had at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    /// Nobody is in the way.
    Free,
    /// Somebody holds a lock of this kind that is in the way.
    Held(Access),
    /// This file system has no such locks; two writers would not see each other.
    Unsupported(Errno),
}

/// Why a lock was not had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else holds it.
    #[error("in use by another process ({})", match .0 { Access::Write => "writing", Access::Read => "reading" })]
    Busy(Access),
    /// The system refused for another reason.
    #[error("cannot be locked: {0}")]
    Io(#[from] io::Error),
}

/// A lock that is held until this value is dropped.
#[derive(Debug)]
pub struct Guard {
    file: File,
    range: Window,
    /// Set where the file system has no locks, so that the caller can say so aloud.
    pub unsupported: Option<Errno>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        // The descriptor shares its description with the caller's file, so closing it would not release the lock. A failure
        // cannot be helped here, and the lock ends with the description anyway.
        let _ = request(libc::F_UNLCK, self.range).map(|lock| fcntl(&self.file, FcntlArg::F_OFD_SETLK(&lock)));
    }
}

/// Asks whether `range` of `file` could be locked. Takes nothing, so it cannot disturb anyone.
///
/// # Errors
/// A range that no lock can express, or an unexpected answer of the system.
pub fn query(file: &File, range: Window, wanted: Access) -> io::Result<Availability> {
    let mut lock = request(kind_of(wanted), range)?;
    match fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock)) {
        Ok(_) => Ok(availability(&lock)),
        Err(errno) if is_unsupported(errno) => Ok(Availability::Unsupported(errno)),
        Err(errno) => Err(errno.into()),
    }
}

/// The process whose lock is in the way. The kernel knows it for locks that belong to a process, and Apptainer's do not.
pub(super) fn conflicting_process(file: &File, range: Window, wanted: Access) -> Option<u32> {
    let mut lock = request(kind_of(wanted), range).ok()?;
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock)).ok()?;
    let is_held = libc::c_int::from(lock.l_type) != libc::F_UNLCK;
    u32::try_from(lock.l_pid).ok().filter(|pid| is_held && *pid > 0)
}

/// Takes the lock without waiting. For [`Access::Write`] `file` must be open for writing.
///
/// Where the file system has no locks the guard says so and guards nothing, as with Apptainer.
///
/// # Errors
/// [`LockError::Busy`], or an unexpected answer of the system.
pub fn take(file: &File, range: Window, wanted: Access) -> Result<Guard, LockError> {
    let lock = request(kind_of(wanted), range)?;
    let guard = |unsupported| Ok(Guard { file: file.try_clone()?, range, unsupported });
    match fcntl(file, FcntlArg::F_OFD_SETLK(&lock)) {
        Ok(_) => guard(None),
        Err(Errno::EAGAIN | Errno::EACCES) => Err(LockError::Busy(holder_kind(file, range, wanted))),
        Err(errno) if is_unsupported(errno) => guard(Some(errno)),
        Err(errno) => Err(LockError::Io(errno.into())),
    }
}

/// Takes the turn of an image: until it is dropped nobody else of us locks the image in a way that excludes this access, or lets another
/// program do so. `None` where there are no such locks: it is no lock on the image, and nothing depends on it.
///
/// # Errors
/// [`LockError::Busy`]: somebody is at it.
pub fn take_turn(file: &File, wanted: Access) -> Result<Option<Guard>, LockError> {
    match take(file, TURN, wanted) {
        Err(LockError::Busy(kind)) => Err(LockError::Busy(kind)),
        taken => Ok(taken.ok().filter(|guard| guard.unsupported.is_none())),
    }
}

/// What kind of lock was in the way; it may be gone by now, then it is taken for the stronger one.
fn holder_kind(file: &File, range: Window, wanted: Access) -> Access {
    match query(file, range, wanted) {
        Ok(Availability::Held(kind)) => kind,
        _ => Access::Write,
    }
}

fn availability(lock: &libc::flock) -> Availability {
    match libc::c_int::from(lock.l_type) {
        libc::F_UNLCK => Availability::Free,
        libc::F_RDLCK => Availability::Held(Access::Read),
        _ => Availability::Held(Access::Write),
    }
}

fn kind_of(wanted: Access) -> libc::c_int {
    match wanted {
        Access::Read => libc::F_RDLCK,
        Access::Write => libc::F_WRLCK,
    }
}

fn is_unsupported(errno: Errno) -> bool {
    matches!(errno, Errno::ENOLCK | Errno::EOPNOTSUPP | Errno::ENOSYS)
}

fn request(kind: libc::c_int, range: Window) -> io::Result<libc::flock> {
    let too_large = |_| io::Error::from(io::ErrorKind::InvalidInput);
    Ok(libc::flock {
        l_type: libc::c_short::try_from(kind).map_err(too_large)?,
        l_whence: 0, // SEEK_SET
        l_start: i64::try_from(range.offset).map_err(too_large)?,
        l_len: i64::try_from(range.size).map_err(too_large)?,
        l_pid: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGE: Window = Window { offset: 4096, size: 8192 };

    fn two_handles() -> (File, File) {
        let file = tempfile::NamedTempFile::new().unwrap();
        (file.reopen().unwrap(), file.reopen().unwrap())
    }

    #[test]
    fn a_query_takes_nothing() {
        let (a, b) = two_handles();
        assert_eq!(query(&a, RANGE, Access::Write).unwrap(), Availability::Free);
        assert!(take(&b, RANGE, Access::Write).is_ok());
    }

    #[test]
    fn a_writer_is_alone_and_readers_share() {
        let (a, b) = two_handles();
        let reader = take(&a, RANGE, Access::Read).unwrap();
        assert_eq!(query(&b, RANGE, Access::Read).unwrap(), Availability::Free);
        assert_eq!(query(&b, RANGE, Access::Write).unwrap(), Availability::Held(Access::Read));
        assert!(matches!(take(&b, RANGE, Access::Write), Err(LockError::Busy(Access::Read))));
        drop(reader);
        let _writer = take(&b, RANGE, Access::Write).unwrap();
        assert_eq!(query(&a, RANGE, Access::Read).unwrap(), Availability::Held(Access::Write));
    }

    #[test]
    fn a_turn_is_no_lock_on_the_image_and_keeps_others_waiting() {
        let (a, b) = two_handles();
        let turn = take_turn(&a, Access::Write).unwrap().unwrap();
        assert_eq!(query(&b, RANGE, Access::Write).unwrap(), Availability::Free);
        assert!(matches!(take_turn(&b, Access::Read), Err(LockError::Busy(Access::Write))));
        drop(turn);
        let _reader = take_turn(&a, Access::Read).unwrap().unwrap();
        assert!(take_turn(&b, Access::Read).unwrap().is_some());
        assert!(matches!(take_turn(&b, Access::Write), Err(LockError::Busy(Access::Read))));
    }

    #[test]
    fn other_ranges_are_other_locks() {
        let (a, b) = two_handles();
        let _held = take(&a, RANGE, Access::Write).unwrap();
        let elsewhere = Window { offset: 0, size: 4096 };
        assert_eq!(query(&b, elsewhere, Access::Write).unwrap(), Availability::Free);
    }

    /// No file system without these locks can be had for a test.
    #[test]
    fn answers_that_mean_no_locks_here() {
        for errno in [Errno::ENOLCK, Errno::EOPNOTSUPP, Errno::ENOSYS] {
            assert!(is_unsupported(errno), "{errno}");
        }
        for errno in [Errno::EAGAIN, Errno::EACCES, Errno::EBADF, Errno::EINTR] {
            assert!(!is_unsupported(errno), "{errno}");
        }
    }

    #[test]
    fn impossible_ranges_are_errors() {
        let (a, _) = two_handles();
        assert!(query(&a, Window { offset: u64::MAX, size: 1 }, Access::Read).is_err());
    }
}
