//! Images for tests: made by mke2fs, changed through a store, written out, and looked at by e2fsck.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;

use condatainer_formats::source::Window;

use crate::alloc;
use crate::device::{Device, FileDevice};
use crate::error::Result;
use crate::geometry::Geometry;
use crate::inode::Node;
use crate::map::{self, Run};
use crate::store::{Handle, Store};

/// What ext3 images have here, but for the journal, which is not what these tests are about.
pub(crate) const FEATURES: &str = "none,ext_attr,resize_inode,dir_index,filetype,sparse_super,large_file";

/// An image in a directory of its own.
pub(crate) struct Image {
    directory: tempfile::TempDir,
    /// Where it lies.
    pub(crate) path: PathBuf,
}

impl Image {
    /// Of so many KiB, made with these arguments besides; the files of `fill` are in it, all empty.
    pub(crate) fn new(kibibytes: u64, arguments: &[&str], fill: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (path, tree) = (directory.path().join("image"), directory.path().join("tree"));
        std::fs::create_dir(&tree).unwrap();
        for name in fill {
            File::create(tree.join(name)).unwrap();
        }
        File::create(&path).unwrap().set_len(kibibytes * 1024).unwrap();
        let mut mke2fs = Command::new("mke2fs");
        mke2fs.args(["-q", "-F", "-m", "0", "-O", FEATURES, "-d"]).arg(&tree).args(arguments).arg(&path);
        run(&mut mke2fs);
        Self { directory, path }
    }

    /// A directory for what else a test needs.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Its blocks.
    pub(crate) fn store(&self) -> Store {
        store(Arc::new(self.device()))
    }

    /// Its bytes.
    pub(crate) fn device(&self) -> FileDevice {
        let file = File::options().read(true).write(true).open(&self.path).unwrap();
        let size = file.metadata().unwrap().len();
        FileDevice::new(file, Window::whole(size))
    }

    /// e2fsck has nothing to say.
    pub(crate) fn assert_sound(&self) {
        let output = Command::new("e2fsck").arg("-fn").arg(&self.path).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }

    /// e2fsck mends it.
    pub(crate) fn mended(&self) -> ExitStatus {
        let mut status = Command::new("e2fsck").arg("-fy").arg(&self.path).stdout(Stdio::null()).status().unwrap();
        if status.code() == Some(1) {
            status = ExitStatus::default();
        }
        status
    }

    /// What debugfs answers.
    pub(crate) fn debugfs(&self, request: &str) -> String {
        let output = Command::new("debugfs").args(["-R", request]).arg(&self.path).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Lets debugfs change something.
    pub(crate) fn spoil(&self, request: &str) {
        run(Command::new("debugfs").args(["-w", "-R", request]).arg(&self.path));
    }

    /// What the superblock counts: free blocks, free inodes.
    pub(crate) fn free(&self) -> (u64, u64) {
        let text = self.debugfs("show_super_stats -h");
        let value = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().last().unwrap().parse().unwrap()
        };
        (value("Free blocks:"), value("Free inodes:"))
    }

    /// Lets us have it.
    pub(crate) fn open(&self) -> Opened {
        Opened { store: self.store() }
    }

    /// Lets the kernel have it.
    pub(crate) fn mount(&self) -> Mount {
        let directory = self.directory().join("mount");
        std::fs::create_dir_all(&directory).unwrap();
        let mut keeper = Command::new("unshare");
        keeper.args(["-m", "--propagation", "private", "sh", "-c", KEEPER, "sh"]).arg(&self.path).arg(&directory);
        let mut keeper = keeper.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut answer = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut answer).unwrap();
        assert_eq!(answer, "mounted\n");
        let inside = Path::new("/proc").join(keeper.id().to_string()).join("root");
        Mount { directory: inside.join(directory.strip_prefix("/").unwrap()), keeper }
    }

    /// The inode of a name in the root directory.
    pub(crate) fn inode(&self, name: &str) -> u32 {
        let stat = self.debugfs(&format!("stat /{name}"));
        stat.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

/// The blocks of what a device has.
pub(crate) fn store(device: Arc<dyn Device>) -> Store {
    let geometry = Geometry::read(&*device, device.size()).unwrap();
    Store::new(device, Arc::new(geometry), 1, crate::store::Limits::NONE)
}

/// Ends the running transaction and writes its blocks to their places, without a journal.
pub(crate) fn commit(store: &mut Store) {
    let frozen = store.freeze();
    let block_size = u64::from(store.geometry.sb.block_size);
    for (block, bytes) in &frozen.blocks {
        store.device.write_at(bytes, block * block_size).unwrap();
    }
    store.committed();
}

/// An image that we change.
pub(crate) struct Opened {
    store: Store,
}

impl Opened {
    pub(crate) fn change<T>(&mut self, change: impl FnOnce(&mut Handle<'_>) -> Result<T>) -> Result<T> {
        let mut handle = self.store.begin();
        let value = change(&mut handle)?;
        handle.done();
        Ok(value)
    }

    /// Writes all changes to their places.
    pub(crate) fn write(&mut self) {
        commit(&mut self.store);
    }

    pub(crate) fn close(mut self) {
        self.write();
    }

    pub(crate) fn node(&mut self, ino: u32) -> Node {
        self.change(|handle| Node::read(handle, ino)).unwrap()
    }
}

/// Mounts an image where nobody else is, who would keep it mounted: a container begins with all mounts of its host. Our own children have
/// our descriptors for a moment.
const KEEPER: &str = r#"
    mount -t ext4 -o loop,acl,user_xattr "$1" "$2" && echo mounted && read -r line
    for attempt in $(seq 1000); do umount "$2" 2>/dev/null && exit 0; sleep 0.05; done
    exit 1
"#;

/// The kernel has the image until this is dropped.
pub(crate) struct Mount {
    directory: PathBuf,
    keeper: Child,
}

impl Deref for Mount {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.directory
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let status = self.keeper.wait().unwrap();
        assert!(status.success() || std::thread::panicking(), "the image stays mounted");
    }
}

/// Writes blocks of a file, in as many handles as there are runs.
pub(crate) fn fill(store: &mut Store, ino: u32, logical: u64, blocks: u64) {
    try_fill(store, ino, logical, blocks).unwrap();
}

/// The same; what there is room for is written.
pub(crate) fn try_fill(store: &mut Store, ino: u32, logical: u64, blocks: u64) -> Result<()> {
    let (block_size, device) = (u64::from(store.geometry.sb.block_size), Arc::clone(&store.device));
    let mut done = 0;
    while done < blocks {
        let at = logical + done;
        let mut handle = store.begin();
        let mut node = Node::read(&mut handle, ino)?;
        let hole = map::find(&mut handle, &node, at, blocks - done)?;
        done += hole.blocks;
        if hole.physical.is_none() {
            let goal = map::goal(&mut handle, &node, at)?;
            let held = alloc::hold(&mut handle, ino, goal, hole.blocks)?;
            let taken = held.blocks();
            for block in taken.clone() {
                device.write_at(&content(ino, at + block - taken.start, block_size), block * block_size)?;
            }
            alloc::take(&mut handle, &held)?;
            let run = Run { logical: at, physical: Some(taken.start), blocks: taken.end - taken.start };
            map::insert(&mut handle, &mut node, run)?;
            done = done - hole.blocks + run.blocks;
        }
        let size = node.inode()?.size().max((logical + done) * block_size);
        node.set_size(&mut handle, size)?;
        node.write(&mut handle)?;
        handle.done();
    }
    Ok(())
}

/// What is written in a block of a file.
pub(crate) fn content(ino: u32, logical: u64, block_size: u64) -> Vec<u8> {
    let line = format!("{ino}:{logical};");
    line.bytes().cycle().take(block_size as usize).collect()
}

/// Takes blocks of a file away, in as many handles as that takes.
pub(crate) fn cut(store: &mut Store, ino: u32, from: u64, to: u64) {
    try_cut(store, ino, from, to).unwrap();
}

/// The same.
pub(crate) fn try_cut(store: &mut Store, ino: u32, from: u64, to: u64) -> Result<()> {
    let mut end = to;
    while end > from {
        let mut handle = store.begin();
        let mut node = Node::read(&mut handle, ino)?;
        end = map::punch(&mut handle, &mut node, from, end)?;
        node.write(&mut handle)?;
        assert!(handle.effort() < 100, "{}", handle.effort());
        handle.done();
    }
    Ok(())
}

#[track_caller]
fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", text(&output));
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
