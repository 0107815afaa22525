//! A directory of the machine as a layer. What is asked for is counted.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use condatainer_formats::ext::{FileType, Ids, Xattr};
use condatainer_stack::layer::{Attributes, Entry, Key, Layer, Time};
use nix::errno::Errno;
use nix::sys::stat::{major, minor};

pub struct HostLayer {
    pub root: Key,
    pub paths: Mutex<HashMap<Key, PathBuf>>,
    pub listed: AtomicUsize,
    pub asked: AtomicUsize,
    /// Whether directories say what their names stand for.
    pub says_kinds: bool,
}

impl HostLayer {
    pub fn new(root: &Path) -> Self {
        let key = Key(root.symlink_metadata().unwrap().ino());
        Self {
            root: key,
            paths: Mutex::new(HashMap::from([(key, root.to_owned())])),
            listed: AtomicUsize::new(0),
            asked: AtomicUsize::new(0),
            says_kinds: true,
        }
    }

    fn path(&self, key: Key) -> io::Result<PathBuf> {
        self.paths.lock().unwrap().get(&key).cloned().ok_or_else(|| io::Error::other("no such inode"))
    }
}

impl Layer for HostLayer {
    fn root(&self) -> Key {
        self.root
    }

    fn attributes(&self, key: Key) -> io::Result<Attributes> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let says = self.path(key)?.symlink_metadata()?;
        let time = |seconds, nanoseconds: i64| Time { seconds, nanoseconds: nanoseconds as u32 };
        let kind = FileType::from_mode(says.mode() as u16);
        let device = match kind {
            FileType::CharDevice | FileType::BlockDevice => (major(says.rdev()) as u32, minor(says.rdev()) as u32),
            _ => (0, 0),
        };
        Ok(Attributes {
            kind,
            mode: (says.mode() & 0o7777) as u16,
            ids: Ids { uid: says.uid(), gid: says.gid() },
            size: says.size(),
            blocks: says.blocks(),
            links: says.nlink() as u32,
            device,
            accessed: time(says.atime(), says.atime_nsec()),
            modified: time(says.mtime(), says.mtime_nsec()),
            changed: time(says.ctime(), says.ctime_nsec()),
        })
    }

    fn entries(&self, directory: Key, visit: &mut dyn FnMut(Entry<'_>) -> bool) -> io::Result<()> {
        self.listed.fetch_add(1, Ordering::Relaxed);
        let path = self.path(directory)?;
        if !path.is_dir() {
            return Err(Errno::ENOTDIR.into());
        }
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let says = entry.path().symlink_metadata()?;
            let key = Key(says.ino());
            self.paths.lock().unwrap().insert(key, entry.path());
            let kind = self.says_kinds.then(|| FileType::from_mode(says.mode() as u16));
            if !visit(Entry { name: entry.file_name().as_bytes(), key, kind }) {
                break;
            }
        }
        Ok(())
    }

    fn read(&self, file: Key, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let path = self.path(file)?;
        if !path.symlink_metadata()?.is_file() {
            return Err(Errno::EINVAL.into());
        }
        let (file, mut done) = (File::open(path)?, 0);
        while done < buf.len() {
            match file.read_at(&mut buf[done..], offset + done as u64)? {
                0 => break,
                more => done += more,
            }
        }
        Ok(done)
    }

    fn target(&self, link: Key) -> io::Result<Vec<u8>> {
        Ok(fs::read_link(self.path(link)?)?.into_os_string().into_vec())
    }

    fn xattrs(&self, key: Key) -> io::Result<Vec<Xattr>> {
        let path = self.path(key)?;
        let names = xattr::list(&path)?;
        let value = |name: &std::ffi::OsStr| xattr::get(&path, name).map(Option::unwrap_or_default);
        names.map(|name| Ok(Xattr { value: value(&name)?, name: name.into_vec() })).collect()
    }

    fn seek(&self, file: Key, offset: u64, hole: bool) -> io::Result<Option<u64>> {
        use nix::unistd::{Whence, lseek};
        let file = File::open(self.path(file)?)?;
        let whence = if hole { Whence::SeekHole } else { Whence::SeekData };
        match lseek(&file, offset as i64, whence) {
            Ok(place) => Ok(Some(place as u64)),
            Err(Errno::ENXIO) => Ok(None),
            Err(code) => Err(code.into()),
        }
    }
}
