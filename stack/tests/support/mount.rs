//! A mount of the server, in this process or in one of its own.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use condatainer_formats::ext::Ids;
use condatainer_stack::ids::Show;
use condatainer_stack::layer::Time;
use condatainer_stack::merge::{Merged, Stacked};
use condatainer_stack::scratch::{Backing, Scratch};
use condatainer_stack::serve::tree::Tree;
use condatainer_stack::serve::{Lower, Options, Requests, Top, Trouble, run};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

use super::counted::Counted;

/// Mounted while it lives.
pub struct Mount {
    at: TempDir,
    server: Option<JoinHandle<io::Result<()>>>,
    pub tree: Arc<Counted>,
    /// What was told.
    pub told: Arc<Mutex<Vec<String>>>,
}

impl Mount {
    pub fn new(layers: Vec<Stacked>) -> Self {
        Self::shown(layers, Show::everything())
    }

    pub fn shown(layers: Vec<Stacked>, show: Show) -> Self {
        Self::of(Merged::new(layers).unwrap(), show)
    }

    pub fn of(merged: Merged, show: Show) -> Self {
        Self::with(merged, show, None)
    }

    /// With a tree that can be written to, which keeps content in memory.
    pub fn writable(merged: Merged) -> Self {
        let scratch = Scratch::new(Backing::in_memory().unwrap(), None, Ids::ROOT, 0o755);
        let tops = vec![Top { name: "upper", node: scratch.upper() }, Top { name: "work", node: scratch.work() }];
        Self::with(merged, Show::everything(), Some((Arc::new(scratch), tops)))
    }

    fn with(merged: Merged, show: Show, scratch: Option<(Arc<dyn Tree>, Vec<Top>)>) -> Self {
        let told = Arc::new(Mutex::new(Vec::new()));
        let note = Arc::clone(&told);
        let trouble = Trouble::with(move |line| note.lock().unwrap().push(line.to_owned()));
        let options = Options { threads: 4, acls: show.shows_acls() };
        let tree = Counted::new(Lower::new(merged, show, Arc::new(trouble)));
        let (ids, node) = (Ids::ROOT, tree.lower.root());
        let flags = if scratch.is_some() { FLAGS.difference(MsFlags::MS_RDONLY) } else { FLAGS };
        let requests = Requests::new((Arc::clone(&tree) as _, node), scratch, ids, Time::default());
        let at = tempfile::tempdir().unwrap();
        let device = attach_with(at.path(), flags).unwrap();
        let server = Some(std::thread::spawn(move || run(requests, device, options, || {})));
        Self { at, server, tree, told }
    }

    /// The merged tree.
    pub fn path(&self) -> PathBuf {
        self.at.path().join("lower")
    }

    /// Makes the kernel drop every name that nobody uses: a mount that is changed starts anew.
    pub fn drop_names(&self) {
        mount(None::<&str>, self.at.path(), None::<&str>, FLAGS | MsFlags::MS_REMOUNT, None::<&str>).unwrap();
    }

    /// The mount's root.
    pub fn root(&self) -> &Path {
        self.at.path()
    }
}

/// How it is mounted.
const FLAGS: MsFlags = MsFlags::MS_NODEV.union(MsFlags::MS_NOSUID).union(MsFlags::MS_RDONLY);

/// Mounts a fresh `/dev/fuse` at a directory, and returns it to be served.
pub fn attach(at: &Path) -> io::Result<OwnedFd> {
    attach_with(at, FLAGS)
}

fn attach_with(at: &Path, flags: MsFlags) -> io::Result<OwnedFd> {
    let device = OpenOptions::new().read(true).write(true).open("/dev/fuse")?;
    let data = format!("fd={},rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other", device.as_raw_fd());
    mount(Some("condatainer"), at, Some("fuse"), flags, Some(&*data))?;
    Ok(device.into())
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = umount2(self.at.path(), MntFlags::MNT_DETACH);
        let ended = self.server.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            ended.unwrap().unwrap().unwrap();
        }
    }
}
