//! The directory that a zsh in a container reads in the place of the user's: what is in it reads his own files first, and then has
//! the container's programs in front again. The container need not show it: a descriptor leads there.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;

use nix::libc::{O_CLOEXEC, O_DIRECTORY, O_PATH};

use crate::machine::libexec;

/// The directory, as `make install` makes it beside the directory of our program; `None` where there is none.
pub(crate) fn directory() -> Option<OwnedFd> {
    let path = libexec::directory()?.join("zsh");
    let opened = File::options().read(true).custom_flags(O_PATH | O_DIRECTORY | O_CLOEXEC).open(path);
    opened.ok().map(OwnedFd::from)
}
