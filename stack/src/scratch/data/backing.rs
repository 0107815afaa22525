//! The file that holds the content of a scratch tree: it has no name, so that nothing is left whatever ends the server.

use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, OFlag, fallocate, openat};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::{Mode, fstat};
use nix::sys::statvfs::{Statvfs, fstatvfs};
use nix::sys::uio::pwritev;
use nix::unistd::{UnlinkatFlags, unlinkat};

/// An open file without a name.
#[derive(Debug)]
pub struct Backing(File);

impl Backing {
    /// A file in `directory`, which has no name from the beginning; where the file system cannot do that, it has one for the moment in
    /// which nothing is in it yet. Only we can open it.
    ///
    /// # Errors
    /// Nothing can be made in the directory.
    pub fn beneath(directory: BorrowedFd<'_>) -> io::Result<Self> {
        let private = Mode::S_IRUSR | Mode::S_IWUSR;
        let nameless = OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_CLOEXEC | OFlag::O_EXCL;
        match openat(directory, ".", nameless, private) {
            Ok(file) => Ok(Self(file.into())),
            // A file system without it says the first, a kernel without it one of the others.
            Err(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::EINVAL | Errno::ENOENT) => Self::named(directory, private),
            Err(error) => Err(error.into()),
        }
    }

    fn named(directory: BorrowedFd<'_>, mode: Mode) -> io::Result<Self> {
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_RDWR | OFlag::O_CLOEXEC;
        for _ in 0..16 {
            let name = format!(".condatainer-{:016x}", RandomState::new().build_hasher().finish());
            match openat(directory, name.as_str(), flags, mode) {
                Err(Errno::EEXIST) => {}
                Err(error) => return Err(error.into()),
                Ok(file) => {
                    unlinkat(directory, name.as_str(), UnlinkatFlags::NoRemoveDir)?;
                    if fstat(&file)?.st_size != 0 {
                        return Err(Errno::EBUSY.into());
                    }
                    return Ok(Self(file.into()));
                }
            }
        }
        Err(Errno::EEXIST.into())
    }

    /// A file in memory, which counts as the server's.
    ///
    /// # Errors
    /// The kernel gives none.
    pub fn in_memory() -> io::Result<Self> {
        Ok(Self(memfd_create("condatainer-scratch", MFdFlags::MFD_CLOEXEC)?.into()))
    }

    /// Fills `buf` from `at` on, with zeros where the file ends or has a hole.
    pub(super) fn read(&self, at: u64, buf: &mut [u8]) -> Result<(), Errno> {
        let mut done = 0;
        while done < buf.len() {
            match self.0.read_at(&mut buf[done..], at + done as u64) {
                Ok(0) => {
                    buf[done..].fill(0);
                    return Ok(());
                }
                Ok(n) => done += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(errno(&error)),
            }
        }
        Ok(())
    }

    /// Writes the slices, one after the other, at `at`. It returns how much was written; less than all where the disk is full.
    pub(super) fn write(&self, at: u64, slices: &[IoSlice<'_>]) -> Result<usize, Errno> {
        let at = i64::try_from(at).map_err(|_| Errno::EFBIG)?;
        loop {
            match pwritev(&self.0, slices, at) {
                Err(Errno::EINTR) => {}
                result => return result,
            }
        }
    }

    /// Gives the disk back what lies there, which then reads as zeros.
    pub(super) fn punch(&self, at: u64, len: u64) -> Result<(), Errno> {
        self.fallocate(FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE, at, len)
    }

    /// Makes sure that the disk has room for what will be written there; what is a hole goes on reading as zeros.
    pub(super) fn reserve(&self, at: u64, len: u64) -> Result<(), Errno> {
        self.fallocate(FallocateFlags::empty(), at, len)
    }

    fn fallocate(&self, how: FallocateFlags, at: u64, len: u64) -> Result<(), Errno> {
        let (at, len) = (i64::try_from(at), i64::try_from(len));
        let (Ok(at), Ok(len)) = (at, len) else { return Err(Errno::EFBIG) };
        loop {
            match fallocate(self.0.as_fd(), how, at, len) {
                Err(Errno::EINTR) => {}
                result => return result,
            }
        }
    }

    pub(super) fn file_system(&self) -> Result<Statvfs, Errno> {
        fstatvfs(&self.0)
    }
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EIO as i32))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever made it, the directory shows nothing of it.
    #[test]
    fn it_has_no_name() {
        let directory = tempfile::tempdir().unwrap();
        let opened = File::open(directory.path()).unwrap();
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        for backing in [Backing::beneath(opened.as_fd()).unwrap(), Backing::named(opened.as_fd(), mode).unwrap()] {
            let stat = fstat(&backing.0).unwrap();
            assert_eq!((stat.st_nlink, stat.st_mode & 0o7777), (0, 0o600));
            assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        }
    }
}
