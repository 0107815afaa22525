//! What is kept open of a directory of the host: some of its directories, from which everything else is reached by one name, and some of
//! its files. No link is followed on the way, so nothing outside of it can be reached.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use parking_lot::Mutex;
use rustix::fs::StatxAttributes;

use super::names::{Names, ROOT};
use super::stat;
use condatainer_formats::ext::FileType;

/// Of each kind, in one generation of two.
const MOST: usize = 32;
/// Files that programs have open, which stay open. Of more the name has to do.
const MOST_HELD: usize = 512;
/// How long is waited for whoever has a lease of a file: it is told, and has to let go. Few can wait at the same time.
const LEASE: Duration = Duration::from_secs(2);
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
    /// What programs have open, and how often.
    held: Mutex<HashMap<u32, (Arc<File>, u64)>>,
}

/// Two generations: what was used lately, and what before. The older one is closed when the younger one is full.
#[derive(Default)]
struct Kept {
    young: HashMap<u32, Arc<File>>,
    old: HashMap<u32, Arc<File>>,
}

impl Open {
    pub(super) fn new(root: File) -> Self {
        let (directories, files, held) = Default::default();
        Self { root: Arc::new(root), directories, files, held }
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

    /// A file that is open.
    pub(super) fn at_hand(&self, number: u32) -> Option<Arc<File>> {
        let held = self.held.lock().get(&number).map(|(open, _)| Arc::clone(open));
        held.or_else(|| self.files.lock().find(number))
    }

    /// A program has opened a file, which stays the same one from now on, whatever happens to its name.
    pub(super) fn hold(&self, number: u32, open: Arc<File>) {
        let mut held = self.held.lock();
        if held.len() < MOST_HELD || held.contains_key(&number) {
            held.entry(number).or_insert((open, 0)).1 += 1;
        }
    }

    /// It has closed it.
    pub(super) fn release(&self, number: u32) {
        let mut held = self.held.lock();
        let Some((_, count)) = held.get_mut(&number) else { return };
        *count -= 1;
        if *count == 0 {
            held.remove(&number);
        }
    }

    /// A file that is read, under one of its names.
    pub(super) fn file(&self, number: u32, under: u32, names: &Mutex<Names>) -> io::Result<Arc<File>> {
        if let Some(open) = self.at_hand(number) {
            return Ok(open);
        }
        let (directory, name) = names.lock().place(under)?;
        let directory = self.directory(directory, names)?;
        let open = Arc::new(opened(&directory, &name, FILE, number, names)?);
        self.files.lock().keep(number, Arc::clone(&open));
        Ok(open)
    }
}

/// What has the name by now may be another file, which is not the one that is meant. Where something is mounted, nothing is kept open: whose it
/// is may want to take it away.
fn opened(directory: &File, name: &[u8], flags: OFlag, number: u32, names: &Mutex<Names>) -> io::Result<File> {
    let open = in_time(|| openat(directory.as_fd(), name, flags, Mode::empty()).map(File::from))?;
    let says = stat::of_file(&open)?;
    // A kernel that cannot tell shows it.
    if says.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
        return Err(Errno::EXDEV.into());
    }
    let is_file = stat::kind(&says) == FileType::Regular || flags.contains(OFlag::O_DIRECTORY);
    let is_meant = is_file && names.lock().is(number, stat::identity(&says));
    if is_meant { Ok(open) } else { Err(Errno::ESTALE.into()) }
}

/// A file of which somebody has a lease cannot be opened at once by whoever does not wait.
fn in_time(open: impl Fn() -> nix::Result<File>) -> nix::Result<File> {
    let start = Instant::now();
    loop {
        match open() {
            Err(Errno::EAGAIN) if start.elapsed() < LEASE => std::thread::sleep(LEASE / 100),
            result => return result,
        }
    }
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
