//! What can be known of an image: all that the kernel shows of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use condatainer_formats::ext::{Ids, Window};

use crate::support::{Mounted, fsck};

/// One name as the kernel shows it. Everything but the ids must survive a chown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub ids: Ids,
    /// Mode with type and suid bits, inode, links, size, device, blocks.
    numbers: [u64; 6],
    /// Access, change and modification, with nanoseconds.
    times: [(i64, i64); 3],
    /// Of a file, a hash of its bytes; of a symbolic link, its target.
    content: Vec<u8>,
    /// Access control lists and capabilities too.
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Seen {
    fn ino(&self) -> u64 {
        self.numbers[1]
    }
}

pub type View = BTreeMap<PathBuf, Seen>;

/// An image, and where in it the file system lies.
#[derive(Debug, Clone)]
pub struct Image {
    pub path: PathBuf,
    pub window: Window,
}

impl Image {
    pub fn whole(path: PathBuf) -> Self {
        let window = Window::whole(fs::metadata(&path).unwrap().len());
        Self { path, window }
    }

    /// Through a mount by the kernel that changes nothing.
    pub fn view(&self) -> View {
        let Window { offset, size } = self.window;
        let mounted = Mounted::new(&self.path, &format!("ro,offset={offset},sizelimit={size}"));
        let mut all = View::new();
        visit(mounted.at.path(), mounted.at.path(), &mut all);
        all
    }

    /// The word of e2fsck.
    pub fn fsck(&self) -> Result<(), String> {
        match self.window.offset {
            0 => fsck(&self.path),
            offset => fsck(Path::new(&format!("{}?offset={offset}", self.path.display()))),
        }
    }
}

fn visit(root: &Path, at: &Path, all: &mut View) {
    let meta = fs::symlink_metadata(at).unwrap();
    if meta.is_dir() {
        for entry in fs::read_dir(at).unwrap() {
            visit(root, &entry.unwrap().path(), all);
        }
    }
    let seen = Seen {
        ids: Ids { uid: meta.uid(), gid: meta.gid() },
        numbers: [meta.mode().into(), meta.ino(), meta.nlink(), meta.size(), meta.rdev(), meta.blocks()],
        times: [
            (meta.atime(), meta.atime_nsec()),
            (meta.ctime(), meta.ctime_nsec()),
            (meta.mtime(), meta.mtime_nsec()),
        ],
        content: content(at, &meta),
        xattrs: xattrs(at),
    };
    all.insert(at.strip_prefix(root).unwrap().to_owned(), seen);
}

fn content(path: &Path, meta: &fs::Metadata) -> Vec<u8> {
    if meta.is_symlink() {
        return fs::read_link(path).unwrap().as_os_str().as_bytes().to_vec();
    }
    let mut hasher = DefaultHasher::new();
    if meta.is_file() {
        fs::read(path).unwrap().hash(&mut hasher);
    }
    hasher.finish().to_le_bytes().to_vec()
}

fn xattrs(path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let names = xattr::list(path).unwrap().filter(|name| name != "system.data");
    let mut all: Vec<_> =
        names.map(|name| (name.as_bytes().to_vec(), xattr::get(path, &name).unwrap().unwrap())).collect();
    all.sort();
    all
}

/// The rule of the contract in the test's own words: of all that has a name below upper or work, the owner's ids and 0 become the
/// target's.
pub fn moved(before: &View, owner: Ids, target: Ids) -> View {
    let ours = before.iter().filter(|(path, _)| path.starts_with("upper") || path.starts_with("work"));
    let ours: BTreeSet<u64> = ours.map(|(_, seen)| seen.ino()).collect();
    let mut after = before.clone();
    for seen in after.values_mut().filter(|seen| ours.contains(&seen.ino())) {
        let of = |id: u32, old: u32, new: u32| if id == old || id == 0 { new } else { id };
        seen.ids = Ids { uid: of(seen.ids.uid, owner.uid, target.uid), gid: of(seen.ids.gid, owner.gid, target.gid) };
    }
    after
}
