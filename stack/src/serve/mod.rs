//! The FUSE server: it answers the kernel's requests about the trees below the mount's root.
//!
//! The root has a fixed directory for each [`tree`]: `lower`, the layers as one tree, and, where something is written, `upper` and
//! `work`. `requests` is what each request comes to, and can be asked without a kernel; `kernel` brings the requests and carries the answers.
//! `lower` is the layers as a tree, and `trouble` tells what is wrong with an image. `guarded` keeps a mistake of ours from ending the mount. `asker`
//! and `privilege` are what the kernel does not tell of who asks.

pub(crate) mod asker;
mod guarded;
mod kernel;
mod lower;
mod privilege;
mod requests;
pub mod tree;
mod trouble;

use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;

use fuser::{Config, Session, SessionACL};
use nix::errno::Errno;

pub use guarded::Guarded;
pub(crate) use guarded::note_panics;
use kernel::Kernel;
pub use lower::Lower;
pub use requests::{Requests, Top};
pub use trouble::Trouble;

/// How requests are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How many requests are answered at the same time.
    pub threads: usize,
    /// Whether lists of access rights are obeyed. Where they are not shown, the kernel need not ask for them. What can be written to has them
    /// in any case.
    pub acls: bool,
}

/// Serves on a descriptor of `/dev/fuse` that has been mounted, until the mount is gone. Calls `ready` when the kernel's first request is
/// answered.
///
/// # Errors
/// The kernel speaks no protocol that we know, or a thread cannot be started.
pub fn run(requests: Requests, device: OwnedFd, options: Options, ready: impl FnOnce()) -> io::Result<()> {
    let mut config = Config::default();
    config.n_threads = Some(options.threads.max(1));
    // Each thread reads its own descriptor, so that none waits for another's lock; without that they share one.
    config.clone_fd = OpenOptions::new().read(true).write(true).open("/dev/fuse").is_ok();
    let acls = options.acls || requests.can_be_written();
    let kernel = Kernel::new(requests, acls, &device, options.threads)?;
    let session = Session::from_fd(kernel, device, SessionACL::All, config)?;
    ready();
    until_the_end(session.run())
}

/// A thread that has just taken a request when the mount goes is told this instead of ENODEV; nobody waits for that answer any more.
fn until_the_end(ended: io::Result<()>) -> io::Result<()> {
    match ended {
        Err(error) if error.raw_os_error() == Some(Errno::ECONNABORTED as i32) => Ok(()),
        ended => ended,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_comes_with_the_end_is_no_trouble() {
        let of = |errno: Errno| until_the_end(Err(errno.into())).is_ok();
        assert!(of(Errno::ECONNABORTED) && !of(Errno::EIO) && until_the_end(Ok(())).is_ok());
    }
}
