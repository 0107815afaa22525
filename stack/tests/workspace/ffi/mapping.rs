//! A file in memory, shared: what mmap(2) gives.
#![allow(unsafe_code, reason = "the system's own interface")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;

/// Bytes of a file; written ones are the kernel's to bring to it.
pub(crate) struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

impl Mapping {
    /// The first `length` bytes.
    pub(crate) fn new(file: &File, length: usize) -> io::Result<Self> {
        let rights = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the kernel chooses the place; nothing else is there.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), length, rights, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        match NonNull::new(at.cast()).filter(|_| at != libc::MAP_FAILED) {
            Some(start) => Ok(Self { start, length }),
            None => Err(io::Error::last_os_error()),
        }
    }

    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: mapped by `new` for as long as this lives, and borrowed with it. No test makes the file shorter meanwhile.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }

    /// Waits until the file has it.
    pub(crate) fn sync(&self) -> io::Result<()> {
        // SAFETY: the whole of the mapping.
        let done = unsafe { libc::msync(self.start.as_ptr().cast(), self.length, libc::MS_SYNC) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the whole of the mapping, which nobody has any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}
