//! How many messages each thing costs that a program does: each is an answer that it waits for.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex};

use condatainer_formats::ext::Ids;
use condatainer_formats::source::Window;
use condatainer_stack::ids::Show;
use condatainer_stack::layer::directory::{DirectoryLayer, Sight};
use condatainer_stack::layer::{Attributes, Time};
use condatainer_stack::merge::{Merged, Stacked};
use condatainer_stack::overlay::Overlay;
use condatainer_stack::process::server::{Opened, Say, Serve};
use condatainer_stack::serve::tree::{Answer, Changes, Entry, Listed, New, Renaming, Room, Tree};
use condatainer_stack::serve::{self, Lower, Options, Requests, Trouble};
use condatainer_stack::workspace::{Owners, Workspace};
use condatainer_writer::Volume;
use condatainer_writer::device::FileDevice;

use super::Test;
use super::place::{NOBODY, Place, Who};

pub(crate) const TESTS: &[Test] = &[("no_message_is_sent_that_is_not_needed", no_message_is_sent_that_is_not_needed)];

/// A file that a program looks for when one part of its work is done.
const PART: &str = "@";
const FILES: u64 = 100;

/// Each thing, and how many messages a file costs at most: what Linux 6.18 sends. It asks for a directory's attributes again when names of it
/// have changed, and for capabilities before the first write to a file. Of what it has written it reads no whole page.
const MOST: [(&str, u64); 11] = [
    ("create", 5),
    ("stat", 1),
    ("read", 0),
    ("overwrite", 4),
    ("append", 2),
    ("rename", 3),
    ("chmod", 1),
    ("unlink", 2),
    ("mkdir", 3),
    ("rmdir", 2),
    ("symlink", 3),
];

fn no_message_is_sent_that_is_not_needed() -> Result<(), String> {
    let place = Place::new(32, &[], |_, lower| fs::write(lower.join("lower"), "x").unwrap());
    let program = place.path("program");
    let mut command = place.command(Who::Plain, &[program.to_str().unwrap(), super::INSIDE, "messages"]);
    let output = command.env("TRIED", "counted").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut wrong = Vec::new();
    for (part, most) in MOST {
        let start = format!("server: {part}: ");
        let count: Option<u64> =
            said.lines().find_map(|line| line.strip_prefix(&start)?.split(' ').next()?.parse().ok());
        match count {
            Some(count) if count <= most * FILES + FILES / 2 => {}
            count => wrong.push(format!("{part}: {count:?}, more than {most} each")),
        }
    }
    if wrong.is_empty() && output.status.success() { Ok(()) } else { Err(format!("{}\n{said}", wrong.join("\n"))) }
}

/// The work.
pub(crate) fn work(d: &Path) {
    let part = |name: &str| assert!(!d.join(format!("{PART}{name}")).exists());
    let each = |work: &dyn Fn(u64)| (0..FILES).for_each(work);
    let file = |n: u64| d.join(format!("d/f{n}"));
    fs::create_dir(d.join("d")).unwrap();
    fs::write(d.join("d/first"), "x").unwrap();
    part("start");
    each(&|n| fs::write(file(n), vec![1; 4096]).unwrap());
    part("create");
    each(&|n| assert!(fs::metadata(file(n)).is_ok()));
    part("stat");
    each(&|n| drop(fs::read(file(n)).unwrap()));
    part("read");
    each(&|n| fs::write(file(n), vec![2; 2000]).unwrap());
    part("overwrite");
    let open = fs::File::options().append(true).open(d.join("d/first")).unwrap();
    each(&|_| io::Write::write_all(&mut &open, &[1; 2000]).unwrap());
    part("append");
    each(&|n| fs::rename(file(n), d.join(format!("d/g{n}"))).unwrap());
    part("rename");
    each(&|n| {
        fs::set_permissions(d.join(format!("d/g{n}")), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap()
    });
    part("chmod");
    each(&|n| fs::remove_file(d.join(format!("d/g{n}"))).unwrap());
    part("unlink");
    each(&|n| fs::create_dir(file(n)).unwrap());
    part("mkdir");
    each(&|n| fs::remove_dir(file(n)).unwrap());
    part("rmdir");
    each(&|n| std::os::unix::fs::symlink("x", file(n)).unwrap());
    part("symlink");
}

/// What serves it: the same as [`condatainer_stack::process::tree::open`] makes, counted.
pub(crate) fn open(opened: Opened, say: Say) -> io::Result<Box<dyn Serve>> {
    let own = Ids { uid: NOBODY, gid: NOBODY };
    let mut images = opened.images.into_iter();
    let (Some((_, lower)), Some((image, file))) = (images.next(), images.next()) else { panic!("two images") };
    let layer = Arc::new(DirectoryLayer::new(lower, Sight::AsCallers));
    let merged = Merged::new(vec![Stacked { path: "lower".into(), bytes: 0, layer }])?;
    let trouble = Arc::new(Trouble::on_stderr());
    let lower = Lower::new(merged, Show::Plain(own), Arc::clone(&trouble));
    let root = lower.root();
    let device = FileDevice::new(file, Window::whole(image.size));
    let volume = Arc::new(Volume::open(Arc::new(device)).unwrap());
    let owners = Owners::new(Show::Plain(own), own, own);
    let tree = Workspace::new(Arc::clone(&volume), owners, trouble, "image".into()).unwrap();
    let tree = Counted { tree: Box::new(Overlay::new(tree, lower)), counts: Mutex::default(), say };
    let requests = Requests::one(&(Arc::new(tree) as Arc<dyn Tree>), root, own, Time::default());
    Ok(Box::new(Served { requests, volume }))
}

struct Served {
    requests: Requests,
    volume: Arc<Volume>,
}

impl Serve for Served {
    fn serve(self: Box<Self>, mount: OwnedFd, ready: &mut dyn FnMut()) -> io::Result<()> {
        serve::run(self.requests, mount, Options { threads: 4, acls: false }, ready)?;
        self.volume.end().map_err(|error| io::Error::other(error.to_string()))
    }
}

struct Counted {
    tree: Box<dyn Tree>,
    counts: Mutex<BTreeMap<&'static str, u64>>,
    say: Say,
}

impl Counted {
    fn count(&self, what: &'static str) -> &dyn Tree {
        *self.counts.lock().unwrap().entry(what).or_default() += 1;
        &*self.tree
    }

    /// Says what there was in a part.
    fn part(&self, name: &str) {
        let counts = std::mem::take(&mut *self.counts.lock().unwrap());
        (self.say)(&format!("{name}: {} {counts:?}", counts.values().sum::<u64>()));
    }
}

impl Tree for Counted {
    fn lookup(&self, directory: u64, name: &[u8]) -> Answer<Entry> {
        if let Some(part) = name.strip_prefix(PART.as_bytes()) {
            self.part(&String::from_utf8_lossy(part));
        }
        self.count("LOOKUP").lookup(directory, name)
    }

    fn entry(&self, directory: u64, listed: &Listed<'_>) -> Answer<Entry> {
        self.tree.entry(directory, listed)
    }

    fn forget(&self, node: u64, count: u64) {
        self.tree.forget(node, count);
    }

    fn shared(&self, node: u64) -> Option<u64> {
        self.tree.shared(node)
    }

    fn attributes(&self, node: u64) -> Answer<Attributes> {
        self.count("GETATTR").attributes(node)
    }

    // No message, but a part of the answer to others.
    fn has_set_ids(&self, node: u64) -> Answer<bool> {
        self.tree.has_set_ids(node)
    }

    fn list(&self, directory: u64, from: u64, visit: &mut dyn FnMut(&Listed<'_>) -> bool) -> Answer<()> {
        self.count("READDIR").list(directory, from, visit)
    }

    fn read(&self, file: u64, offset: u64, buf: &mut [u8]) -> Answer<usize> {
        self.count("READ").read(file, offset, buf)
    }

    fn seek(&self, file: u64, offset: u64, hole: bool) -> Answer<u64> {
        self.count("LSEEK").seek(file, offset, hole)
    }

    fn target(&self, link: u64) -> Answer<Vec<u8>> {
        self.count("READLINK").target(link)
    }

    fn xattr(&self, node: u64, name: &[u8]) -> Answer<Vec<u8>> {
        self.count(match name {
            b"user.overlay.opaque" => "GETXATTR opaque",
            b"user.overlay.origin" => "GETXATTR origin",
            b"security.capability" => "GETXATTR capability",
            b"system.posix_acl_access" => "GETXATTR access",
            b"system.posix_acl_default" => "GETXATTR default",
            _ if name.starts_with(b"user.overlay") => "GETXATTR overlay",
            _ => "GETXATTR",
        })
        .xattr(node, name)
    }

    fn xattrs(&self, node: u64) -> Answer<Vec<u8>> {
        self.count("LISTXATTR").xattrs(node)
    }

    fn room(&self) -> Room {
        self.tree.room()
    }

    fn make(&self, directory: u64, name: &[u8], new: &New<'_>) -> Answer<Entry> {
        self.count("MKNOD").make(directory, name, new)
    }

    fn link(&self, node: u64, directory: u64, name: &[u8]) -> Answer<Entry> {
        self.count("LINK").link(node, directory, name)
    }

    fn remove(&self, directory: u64, name: &[u8], directory_wanted: bool) -> Answer<()> {
        self.count("UNLINK").remove(directory, name, directory_wanted)
    }

    fn rename(&self, from: (u64, &[u8]), to: (u64, &[u8]), how: Renaming) -> Answer<()> {
        self.count("RENAME").rename(from, to, how)
    }

    fn change(&self, node: u64, changes: &Changes) -> Answer<Attributes> {
        self.count("SETATTR").change(node, changes)
    }

    fn write(&self, file: u64, offset: u64, data: &[u8], strip: bool) -> Answer<usize> {
        self.count("WRITE").write(file, offset, data, strip)
    }

    fn allocate(&self, file: u64, offset: u64, length: u64, mode: i32, strip: bool) -> Answer<()> {
        self.count("FALLOCATE").allocate(file, offset, length, mode, strip)
    }

    fn set_xattr(&self, node: u64, name: &[u8], value: &[u8], flags: i32) -> Answer<()> {
        self.count("SETXATTR").set_xattr(node, name, value, flags)
    }

    fn remove_xattr(&self, node: u64, name: &[u8]) -> Answer<()> {
        self.count("REMOVEXATTR").remove_xattr(node, name)
    }

    fn sync(&self, node: u64, only_data: bool) -> Answer<()> {
        self.count("FSYNC").sync(node, only_data)
    }
}
