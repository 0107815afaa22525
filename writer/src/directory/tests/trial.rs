//! A directory whose names are links of a few files.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use condatainer_formats::ext::raw::FileType;

use crate::directory;
use crate::directory::listing::Listed;
use crate::error::Result;
use crate::inode::Node;
use crate::store::Handle;
use crate::testing::{Image, Opened};

/// How many files there are; each may have 65,000 names.
const FILES: usize = 8;

pub(super) struct Trial {
    pub(super) image: Image,
    pub(super) dir: u32,
    files: Vec<u32>,
}

impl Trial {
    /// Of an image that mke2fs makes with these options. The kernel makes the directory `d`, and what `fill` makes in it.
    pub(super) fn new(mebibytes: u64, options: &[&str], fill: impl FnOnce(&Path)) -> Self {
        let image = Image::new(mebibytes << 10, options, &[]);
        Self::of(image, fill)
    }

    pub(super) fn of(image: Image, fill: impl FnOnce(&Path)) -> Self {
        let mount = image.mount();
        let ino = |path: &Path| u32::try_from(path.metadata().unwrap().ino()).unwrap();
        let files = (0..FILES).map(|number| {
            let path = mount.join(format!("file{number}"));
            std::fs::write(&path, number.to_string()).unwrap();
            ino(&path)
        });
        let files = files.collect();
        std::fs::create_dir(mount.join("d")).unwrap();
        fill(&mount.join("d"));
        let dir = ino(&mount.join("d"));
        drop(mount);
        Self { image, dir, files }
    }

    /// The file that a name stands for.
    pub(super) fn file_of(&self, name: &[u8]) -> u32 {
        let sum = name.iter().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
        self.files[sum % FILES]
    }

    /// Returns how many blocks were changed.
    pub(super) fn insert(&self, opened: &mut Opened, name: &[u8]) -> Result<usize> {
        let (dir, file) = (self.dir, self.file_of(name));
        opened.change(|handle| {
            let mut dir = Node::read(handle, dir)?;
            directory::insert(handle, &mut dir, name, file, FileType::Regular)?;
            dir.write(handle)?;
            add_links(handle, file, 1)?;
            Ok(handle.effort())
        })
    }

    /// Whether there was such a name.
    pub(super) fn remove(&self, opened: &mut Opened, name: &[u8]) -> Result<bool> {
        let dir = self.dir;
        opened.change(|handle| {
            let dir = Node::read(handle, dir)?;
            let Some(found) = directory::find(handle, &dir, name)? else { return Ok(false) };
            directory::remove(handle, &dir, &found.place)?;
            add_links(handle, found.ino, -1)?;
            Ok(true)
        })
    }

    pub(super) fn find(&self, opened: &mut Opened, name: &[u8]) -> Result<Option<u32>> {
        let dir = self.dir;
        opened.change(|handle| {
            let dir = Node::read(handle, dir)?;
            Ok(directory::find(handle, &dir, name)?.map(|found| found.ino))
        })
    }

    /// All names, asked for `at_once` at a time.
    pub(super) fn list(&self, opened: &mut Opened, at_once: usize) -> Result<Vec<Vec<u8>>> {
        let (mut names, mut from) = (Vec::new(), 0);
        loop {
            let (mut left, before) = (at_once, from);
            let mut visit = |listed: &Listed<'_>| {
                if left == 0 {
                    return false;
                }
                assert!(listed.next > from, "a listing goes backwards");
                names.push(listed.name.to_vec());
                (left, from) = (left - 1, listed.next);
                true
            };
            let dir = self.dir;
            opened.change(|handle| {
                let dir = Node::read(handle, dir)?;
                directory::list(handle, &dir, before, &mut visit)
            })?;
            if from == before {
                return Ok(names);
            }
        }
    }

    /// e2fsck is content, and the kernel lists these names and opens each.
    #[track_caller]
    pub(super) fn check(&self, names: &BTreeSet<Vec<u8>>) {
        self.image.assert_sound();
        let mount = self.image.mount();
        let mut shown = BTreeSet::new();
        for entry in std::fs::read_dir(mount.join("d")).unwrap() {
            let entry = entry.unwrap();
            let (name, ino) = (entry.file_name().into_vec(), u32::try_from(entry.metadata().unwrap().ino()).unwrap());
            assert!(ino == self.file_of(&name) || !self.files.contains(&ino), "another file");
            assert!(shown.insert(name), "shown twice");
        }
        assert!(&shown == names, "the kernel shows other names");
    }
}

fn add_links(handle: &mut Handle<'_>, ino: u32, more: i16) -> Result<()> {
    let mut node = Node::read(handle, ino)?;
    let links = &mut node.inode_mut()?.i_links_count;
    links.set(links.get().wrapping_add_signed(more));
    node.write(handle)
}

/// A few names that the legacy hash makes equal, so long that four fill a block of 1 KiB.
pub(super) fn colliding() -> Vec<Vec<u8>> {
    const ENDS: [&str; 16] = [
        "a5ochbq", "g0kmnbo", "u6qgsb5", "m3rslc5", "brwqzch", "lguc1c1", "zmuv8c2", "wlv9zer", "yn5kafa", "a4ao4jx",
        "d4dt7jb", "lk8m5k6", "0d4uol2", "ssb28lk", "04vd9no", "08sx6qw",
    ];
    ENDS.iter().map(|end| format!("{}{end}", "x".repeat(232)).into_bytes()).collect()
}
