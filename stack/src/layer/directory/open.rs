//! What is kept open of a directory of the host: some of its directories, from which everything else is reached by one name, and some of
//! its files. No link is followed on the way, so nothing outside of it can be reached.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use parking_lot::Mutex;
use rustix::fs::{AtFlags, StatxAttributes, StatxFlags, statx};

use super::names::{Names, ROOT};

/// Of each kind, in one generation of two.
const MOST: usize = 32;
/// What lies deeper is not entered: no path that a program can give is as long.
const DEEPEST: usize = 4096;

const COMMON: OFlag = OFlag::O_NOFOLLOW.union(OFlag::O_CLOEXEC);
const DIRECTORY: OFlag = COMMON.union(OFlag::O_DIRECTORY).union(OFlag::O_PATH);
/// Something else may have taken a file's name: a fifo must keep nobody waiting.
const FILE: OFlag = COMMON.union(OFlag::O_RDONLY).union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY);

/// See the module.
pub(super) struct Open {
    root: Arc<File>,
    directories: Mutex<Kept>,
    files: Mutex<Kept>,
}

/// Two generations: what was used lately, and what before. The older one is closed when the younger one is full.
#[derive(Default)]
struct Kept {
    young: HashMap<u32, Arc<File>>,
    old: HashMap<u32, Arc<File>>,
}

impl Open {
    pub(super) fn new(root: File) -> Self {
        Self { root: Arc::new(root), directories: Mutex::default(), files: Mutex::default() }
    }

    /// A directory, to reach something by its name in it.
    pub(super) fn directory(&self, number: u32, names: &Mutex<Names>) -> io::Result<Arc<File>> {
        let (mut ahead, mut at) = (Vec::new(), number);
        let mut open = loop {
            if at == ROOT {
                break Arc::clone(&self.root);
            }
            if let Some(open) = self.directories.lock().find(at) {
                break open;
            }
            let (above, name) = names.lock().place(at)?;
            ahead.push((at, name));
            if ahead.len() > DEEPEST {
                return Err(Errno::ENAMETOOLONG.into());
            }
            at = above;
        };
        for (number, name) in ahead.into_iter().rev() {
            open = Arc::new(opened(&open, &name, DIRECTORY, number, names)?);
            self.directories.lock().keep(number, Arc::clone(&open));
        }
        Ok(open)
    }

    /// A directory that is listed, or asked for its attributes.
    pub(super) fn listing(&self, number: u32, names: &Mutex<Names>) -> io::Result<File> {
        let directory = self.directory(number, names)?;
        Ok(openat(directory.as_fd(), ".", FILE | OFlag::O_DIRECTORY, Mode::empty()).map(File::from)?)
    }

    /// A file that is read.
    pub(super) fn file(&self, number: u32, names: &Mutex<Names>) -> io::Result<Arc<File>> {
        if let Some(open) = self.files.lock().find(number) {
            return Ok(open);
        }
        let (directory, name) = names.lock().place(number)?;
        let directory = self.directory(directory, names)?;
        let open = Arc::new(opened(&directory, &name, FILE, number, names)?);
        self.files.lock().keep(number, Arc::clone(&open));
        Ok(open)
    }
}

/// What has the name by now may be another file, which is not the one that is meant. Where something is mounted, nothing is kept open: whose it
/// is may want to take it away.
fn opened(directory: &File, name: &[u8], flags: OFlag, number: u32, names: &Mutex<Names>) -> io::Result<File> {
    let open = File::from(openat(directory.as_fd(), name, flags, Mode::empty())?);
    // A kernel that cannot tell shows it.
    let begins = statx(&open, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS);
    if begins.is_ok_and(|says| says.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)) {
        return Err(Errno::EXDEV.into());
    }
    let says = open.metadata()?;
    if names.lock().is(number, (says.dev(), says.ino())) { Ok(open) } else { Err(Errno::ESTALE.into()) }
}

/// Whether this is the error of something that is mounted.
pub(super) fn is_mounted(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EXDEV as i32)
}

impl Kept {
    fn find(&mut self, number: u32) -> Option<Arc<File>> {
        if let Some(open) = self.young.get(&number) {
            return Some(Arc::clone(open));
        }
        let open = self.old.remove(&number)?;
        self.keep(number, Arc::clone(&open));
        Some(open)
    }

    fn keep(&mut self, number: u32, open: Arc<File>) {
        if self.young.len() >= MOST {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(number, open);
    }
}
